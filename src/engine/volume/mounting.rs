//! A container's volumes and binds, from its making to its end: made and filled at create, mounted at start, given up when it
//! ends, removed with it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::copy;
use super::options::Device;
use super::plan::{MountRequest, MountSource, config_error};
use super::point::MountedPoint;
use super::propagation;
use super::record::VolumeRecord;
use super::volumes::{Inner, Volumes, disk};
use crate::engine::EngineError;
use crate::engine::oci::MountPlan;

impl Volumes {
    /// Makes the volumes that the requests name, and looks at the sources that must be there. At container create.
    ///
    /// # Errors
    /// Docker's words, like `invalid mount config for type "bind": bind source path does not exist: /x` (400).
    pub async fn realise(
        &self,
        container_id: &str,
        requests: Vec<MountRequest>,
    ) -> Result<Vec<MountedPoint>, EngineError> {
        let container = container_id.to_owned();
        self.blocking(move |inner| requests.into_iter().map(|request| inner.realise(&container, request)).collect())
            .await
    }

    /// Copies the image's content at the target into each volume that is empty and wants it. `image_root` is the
    /// image's file system as a directory (see `layer::detached_root`). At container create, before the first start.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn copy_up(&self, points: &[MountedPoint], image_root: OwnedFd) -> Result<(), EngineError> {
        let points: Vec<MountedPoint> = points.iter().filter(|point| wants_copy(point)).cloned().collect();
        if points.is_empty() {
            return Ok(());
        }
        self.blocking(move |inner| {
            for point in points {
                let name = point.volume.clone().unwrap_or_default();
                // Another folder, a share or memory is mounted at start only, and what is on it is not ours to fill.
                if !matches!(inner.device(&name)?, Device::None) {
                    continue;
                }
                let data = inner.data(&name);
                let folder = File::open(&data).map_err(|error| disk("open", &data, error))?;
                copy::copy_up(image_root.as_fd(), &point.request.target, folder.as_fd())
                    .map_err(|error| EngineError::system(error.to_string()).because(error))?;
            }
            Ok(())
        })
        .await
    }

    /// Makes the points ready at container start, and says what the runtime is to mount: volumes with a device are
    /// mounted, missing sources of `-v` are made. The answer has the order of `points`.
    ///
    /// # Errors
    /// Docker's words where a source is missing or a device can't be mounted; then nothing stays mounted.
    pub async fn mount(&self, container_id: &str, points: &[MountedPoint]) -> Result<Vec<MountPlan>, EngineError> {
        let (container, points) = (container_id.to_owned(), points.to_vec());
        self.blocking(move |inner| {
            let outcome: Result<Vec<MountPlan>, EngineError> =
                points.iter().map(|point| inner.mount(&container, point)).collect();
            if outcome.is_err() {
                inner.unmount(&container, &points);
            }
            outcome
        })
        .await
    }

    /// Takes note that a container runs on with these points, after a start of the engine.
    pub fn adopt(&self, container_id: &str, points: &[MountedPoint]) {
        for name in points.iter().filter_map(|point| point.volume.as_deref()) {
            if matches!(self.inner.device(name), Ok(Device::FileSystem { .. })) {
                self.inner.devices().entry(name.to_owned()).or_default().insert(container_id.to_owned());
            }
        }
    }

    /// Gives up what [`mount`](Self::mount) did for a container, when it has ended.
    pub async fn unmount(&self, container_id: &str, points: &[MountedPoint]) {
        let (container, points) = (container_id.to_owned(), points.to_vec());
        let done = self.blocking(move |inner| {
            inner.unmount(&container, &points);
            Ok(())
        });
        if let Err(error) = done.await {
            tracing::warn!(%error, "volumes stay mounted");
        }
    }

    /// Removes a container's anonymous volumes that nobody else uses, when it is removed with its volumes; call it once
    /// the container is no user of them any more.
    pub async fn release(&self, points: &[MountedPoint]) {
        let names: Vec<String> =
            points.iter().filter(|point| point.anonymous).filter_map(|point| point.volume.clone()).collect();
        for name in names {
            // Another container took it over by --volumes-from: it stays, and that is no failure.
            if let Err(error) = self.remove(&name, true).await {
                tracing::debug!(%error, "an anonymous volume stays");
            }
        }
    }

    /// Lets a container's anonymous volumes outlive it, as removal without its volumes wants; call it while the container
    /// is still there.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn set_free(&self, points: &[MountedPoint]) -> Result<(), EngineError> {
        let names: Vec<String> =
            points.iter().filter(|point| point.anonymous).filter_map(|point| point.volume.clone()).collect();
        if names.is_empty() {
            return Ok(());
        }
        self.blocking(move |inner| names.iter().try_for_each(|name| inner.set_free(name))).await
    }

    /// Removes the anonymous volumes of containers that are not there: an engine was killed when it had made a container's
    /// volumes and not the container, or had removed a container and not yet its volumes. `is_there` answers for an ID.
    ///
    /// # Errors
    /// The volumes' worker broke down; what can't be removed is told in the log.
    pub async fn remove_orphans(&self, is_there: impl Fn(&str) -> bool + Send + 'static) -> Result<(), EngineError> {
        self.blocking(move |inner| {
            let of_nobody = |record: &&VolumeRecord| record.made_for.as_deref().is_some_and(|id| !is_there(id));
            let orphans: Vec<String> =
                inner.records().values().filter(of_nobody).map(|record| record.name.clone()).collect();
            for name in orphans {
                if let Err(error) = inner.remove(&name) {
                    tracing::debug!(%error, "an anonymous volume stays");
                }
            }
            Ok(())
        })
        .await
    }
}

impl Inner {
    fn realise(&self, container: &str, request: MountRequest) -> Result<MountedPoint, EngineError> {
        let plain = |request, source| MountedPoint { request, volume: None, anonymous: false, source };
        match request.source.clone() {
            MountSource::Tmpfs { .. } => Ok(plain(request, None)),
            MountSource::Bind { path, create, .. } => {
                if !create && !Path::new(&path).exists() {
                    return Err(missing_source(&path));
                }
                Ok(plain(request, Some(PathBuf::from(path))))
            }
            MountSource::Volume { name, driver, options, labels, .. } => {
                let anonymous = name.is_none();
                let made_for = anonymous.then(|| container.to_owned());
                let record = self.ensure(name, &driver, options, labels, made_for)?;
                let source = self.data(&record.name);
                Ok(MountedPoint { request, volume: Some(record.name), anonymous, source: Some(source) })
            }
        }
    }

    fn mount(&self, container: &str, point: &MountedPoint) -> Result<MountPlan, EngineError> {
        let mut plan_of = point.clone();
        match (&point.request.source, &point.volume) {
            (MountSource::Bind { path, create, .. }, _) if !Path::new(path).exists() => {
                if !create {
                    return Err(missing_source(path));
                }
                let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
                made.map_err(|error| disk("create", Path::new(path), error))?;
            }
            (MountSource::Volume { .. }, Some(name)) => {
                let device = self.device(name)?;
                if let Device::Folder(folder) = &device {
                    if !folder.exists() {
                        return Err(self.mount_error(name, &device, "no such file or directory"));
                    }
                    plan_of.source = Some(folder.clone());
                } else {
                    self.attach(name, &device, container)?;
                }
                let access = if point.request.read_only { "false" } else { "true" };
                self.publish(
                    "mount",
                    name,
                    [
                        ("container", container.to_owned()),
                        ("destination", point.request.target.clone()),
                        ("read/write", access.to_owned()),
                        ("propagation", String::new()),
                    ],
                );
            }
            _ => {}
        }
        if let MountSource::Bind { path, propagation, .. } = &point.request.source {
            may_propagate(path, propagation)?;
        }
        Ok(plan_of.plan())
    }

    /// Mounts a volume's device for its first user.
    fn attach(&self, name: &str, device: &Device, container: &str) -> Result<(), EngineError> {
        let Device::FileSystem { kind, device: from, flags, data } = device else { return Ok(()) };
        let place = self.data(name);
        let mut devices = self.devices();
        if !is_mount_point(&place) {
            let text = std::ffi::CString::new(data.as_str())
                .map_err(|_| EngineError::invalid(format!("create {name}: invalid option: \"o\"")))?;
            rustix::mount::mount(from.as_str(), &place, kind.as_str(), *flags, Some(text.as_c_str()))
                .map_err(|errno| self.mount_error(name, device, &io::Error::from(errno).to_string()))?;
        }
        devices.entry(name.to_owned()).or_default().insert(container.to_owned());
        Ok(())
    }

    fn unmount(&self, container: &str, points: &[MountedPoint]) {
        for name in points.iter().filter_map(|point| point.volume.as_deref()) {
            let mut devices = self.devices();
            let is_last = devices.get_mut(name).is_some_and(|users| users.remove(container) && users.is_empty());
            if is_last {
                devices.remove(name);
                self.detach(name);
            }
            drop(devices);
            self.publish("unmount", name, [("container", container.to_owned())]);
        }
    }

    /// Unmounts what is mounted on a volume's folder, if anything is.
    pub(super) fn detach(&self, name: &str) {
        let place = self.data(name);
        if is_mount_point(&place)
            && let Err(errno) = rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH)
        {
            tracing::warn!(volume = name, %errno, "the volume's device stays mounted");
        }
    }

    fn mount_error(&self, name: &str, device: &Device, reason: &str) -> EngineError {
        let (from, data) = match device {
            Device::FileSystem { device, data, .. } => (device.clone(), data.clone()),
            Device::Folder(folder) => (folder.display().to_string(), "bind".to_owned()),
            Device::None => Default::default(),
        };
        let place = self.data(name);
        EngineError::system(format!(
            "error while mounting volume '{0}': failed to mount local volume: mount {from}:{0}, data: {data}: {reason}",
            place.display()
        ))
    }
}

fn wants_copy(point: &MountedPoint) -> bool {
    let wants = matches!(&point.request.source, MountSource::Volume { copy: true, subpath: None, .. });
    wants && point.volume.is_some()
}

/// Refuses a propagation that the source's mount does not allow.
fn may_propagate(path: &str, word: &str) -> Result<(), EngineError> {
    if matches!(word, "" | "private" | "rprivate") {
        return Ok(());
    }
    let refused = |error| disk("look at", Path::new(path), error);
    let source = fs::canonicalize(path).map_err(refused)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(refused)?;
    propagation::check(&mounts, &source, word).map_err(EngineError::invalid)
}

fn missing_source(path: &str) -> EngineError {
    EngineError::invalid(config_error("bind", &format!("bind source path does not exist: {path}")))
}

/// Whether something is mounted on the folder: it is on another device than the folder it is in.
pub(super) fn is_mount_point(folder: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    folder.parent().is_some_and(|parent| device(parent) != device(folder))
}
