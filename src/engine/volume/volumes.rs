//! The volumes themselves: made, listed, mounted, removed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bollard_stubs::models as docker;

use super::copy;
use super::options::{self, Device};
use super::plan::{MountRequest, MountSource, config_error};
use super::point::MountedPoint;
use super::propagation;
use super::record::{ANONYMOUS, VolumeRecord, check_name};
use super::usage::disk_usage;
use crate::engine::EngineError;
use crate::engine::events::Events;
use crate::engine::filters::Filters;
use crate::engine::oci::MountPlan;
use crate::engine::store::{StateRoot, read_record, write_record};

const DATA: &str = "_data";
const RECORD: &str = "volume.json";

/// Who uses a volume; the container room answers.
pub trait VolumeUsers: Send + Sync {
    /// The IDs of all containers, running or not, that have the volume `name` mounted.
    fn users_of(&self, name: &str) -> Vec<String>;
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListVolumes {
    /// `dangling`, `driver`, `label`, `name`.
    pub filters: Filters,
}

/// All volumes of this engine.
pub struct Volumes {
    inner: Arc<Inner>,
}

struct Inner {
    root: Arc<StateRoot>,
    folder: PathBuf,
    events: Arc<Events>,
    records: Mutex<BTreeMap<String, VolumeRecord>>,
    users: OnceLock<Arc<dyn VolumeUsers>>,
    // Which containers run with a volume whose device is mounted. Held while one is mounted or unmounted, so that two
    // containers that start at once don't mount it twice.
    devices: Mutex<HashMap<String, BTreeSet<String>>>,
}

impl Volumes {
    /// Reads the volumes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(root: Arc<StateRoot>, events: Arc<Events>) -> Result<Self, EngineError> {
        let folder = root.room("volumes").map_err(|error| disk("open", root.path(), error))?;
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(|error| disk("read", &folder, error))? {
            let path = entry.map_err(|error| disk("read", &folder, error))?.path();
            let record: Option<VolumeRecord> =
                read_record(&path.join(RECORD)).map_err(|error| EngineError::system(error.to_string()))?;
            match record {
                Some(record) => drop(records.insert(record.name.clone(), record)),
                None => tracing::warn!(path = %path.display(), "a volume without a record is left alone"),
            }
        }
        let inner = Inner {
            root,
            folder,
            events,
            records: Mutex::new(records),
            users: OnceLock::new(),
            devices: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Tells who knows the users of volumes; called once, before the engine's door opens. Later calls change nothing.
    pub fn set_users(&self, users: Arc<dyn VolumeUsers>) {
        let _ = self.inner.users.set(users);
    }

    /// `POST /volumes/create`; an existing volume of the same name is the answer, too.
    ///
    /// # Errors
    /// Docker's words for a malformed name or option (400) and an unknown driver (404).
    pub async fn create(&self, request: docker::VolumeCreateRequest) -> Result<docker::Volume, EngineError> {
        let name = request.name.filter(|name| !name.is_empty());
        let labels: BTreeMap<String, String> = request.labels.unwrap_or_default().into_iter().collect();
        let options: BTreeMap<String, String> = request.driver_opts.unwrap_or_default().into_iter().collect();
        let driver = request.driver.unwrap_or_default();
        self.blocking(move |inner| {
            let record = inner.ensure(name, &driver, options, labels, None)?;
            Ok(inner.show(&record))
        })
        .await
    }

    /// `GET /volumes`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(&self, list: &ListVolumes) -> Result<docker::VolumeListResponse, EngineError> {
        let filters = &list.filters;
        filters.accept(&["dangling", "driver", "label", "name"])?;
        let dangling = filters.flag("dangling")?;
        let records: Vec<VolumeRecord> = self.inner.records().values().cloned().collect();
        let volumes = records
            .iter()
            .filter(|record| filters.exact("driver", "local") && filters.pattern("name", &record.name))
            .filter(|record| filters.labels(&unsorted(&record.labels)))
            .filter(|record| dangling.is_none_or(|wanted| wanted == self.inner.users_of(&record.name).is_empty()))
            .map(|record| self.inner.show(record))
            .collect();
        Ok(docker::VolumeListResponse { volumes: Some(volumes), warnings: Some(Vec::new()) })
    }

    /// `GET /volumes/{name}`.
    ///
    /// # Errors
    /// `get x: no such volume` (404).
    pub fn inspect(&self, name: &str) -> Result<docker::Volume, EngineError> {
        self.inner.find(name).map(|record| self.inner.show(&record))
    }

    /// `DELETE /volumes/{name}`; with `force`, a missing one is success.
    ///
    /// # Errors
    /// Missing (404), in use (409).
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), EngineError> {
        if force && self.inner.find(name).is_err() {
            return Ok(());
        }
        let name = name.to_owned();
        self.blocking(move |inner| inner.remove(&name)).await.map(drop)
    }

    /// `POST /volumes/prune`: unused anonymous volumes, with `all=1` also named ones; `label`, `label!` filter.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<docker::VolumePruneResponse, EngineError> {
        filters.accept(&["all", "label", "label!"])?;
        let all = filters.flag("all")?.unwrap_or_default();
        let filters = filters.clone();
        self.blocking(move |inner| {
            let records: Vec<VolumeRecord> = inner.records().values().cloned().collect();
            let wanted = records
                .into_iter()
                .filter(|record| (all || record.is_anonymous()) && filters.labels(&unsorted(&record.labels)));
            let mut response =
                docker::VolumePruneResponse { volumes_deleted: Some(Vec::new()), space_reclaimed: Some(0) };
            for record in wanted {
                // One in use stays, and that is no failure.
                let Ok(bytes) = inner.remove(&record.name) else { continue };
                response.volumes_deleted.get_or_insert_default().push(record.name);
                *response.space_reclaimed.get_or_insert_default() += i64::try_from(bytes).unwrap_or(i64::MAX);
            }
            let bytes = response.space_reclaimed.unwrap_or_default().to_string();
            inner.events.publish(docker::EventMessageTypeEnum::VOLUME, "prune", "", [("reclaimed", bytes)]);
            Ok(response)
        })
        .await
    }

    /// All volumes with size and number of users, for `GET /system/df`. Walks the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn usage(&self) -> Result<Vec<docker::Volume>, EngineError> {
        self.blocking(|inner| {
            let records: Vec<VolumeRecord> = inner.records().values().cloned().collect();
            let with_size = |record: &VolumeRecord| docker::Volume {
                usage_data: Some(docker::VolumeUsageData {
                    size: i64::try_from(disk_usage(&inner.data(&record.name))).unwrap_or(i64::MAX),
                    ref_count: i64::try_from(inner.users_of(&record.name).len()).unwrap_or(i64::MAX),
                }),
                ..inner.show(record)
            };
            Ok(records.iter().map(with_size).collect())
        })
        .await
    }

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

    /// The folder with a volume's content.
    pub fn data(&self, name: &str) -> PathBuf {
        self.inner.data(name)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|_| Err(EngineError::system("the volume worker ended without an answer")))
    }
}

impl Inner {
    fn records(&self) -> MutexGuard<'_, BTreeMap<String, VolumeRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn devices(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> Result<VolumeRecord, EngineError> {
        let missing = || EngineError::not_found(format!("get {name}: no such volume"));
        self.records().get(name).cloned().ok_or_else(missing)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name).join(DATA)
    }

    fn device(&self, name: &str) -> Result<Device, EngineError> {
        let record = self.find(name)?;
        options::read(&record.options).map_err(|reason| EngineError::invalid(format!("create {name}: {reason}")))
    }

    fn users_of(&self, name: &str) -> Vec<String> {
        self.users.get().map(|users| users.users_of(name)).unwrap_or_default()
    }

    fn show(&self, record: &VolumeRecord) -> docker::Volume {
        docker::Volume {
            name: record.name.clone(),
            driver: "local".to_owned(),
            mountpoint: self.data(&record.name).display().to_string(),
            created_at: Some(record.created.clone()),
            status: None,
            labels: unsorted(&record.labels),
            scope: Some(docker::VolumeScopeEnum::LOCAL),
            cluster_volume: None,
            options: unsorted(&record.options),
            usage_data: None,
        }
    }

    /// The volume of that name, made where it is missing.
    fn ensure(
        &self,
        name: Option<String>,
        driver: &str,
        options: BTreeMap<String, String>,
        mut labels: BTreeMap<String, String>,
        made_for: Option<String>,
    ) -> Result<VolumeRecord, EngineError> {
        let name = name.unwrap_or_else(|| {
            labels.entry(ANONYMOUS.to_owned()).or_default();
            new_name()
        });
        if !matches!(driver, "" | "local") {
            let text = format!("create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found");
            return Err(EngineError::not_found(text));
        }
        let wrong = |reason: String| EngineError::invalid(format!("create {name}: {reason}"));
        check_name(&name).map_err(wrong)?;
        options::read(&options).map_err(wrong)?;
        if let Ok(existing) = self.find(&name) {
            return Ok(existing);
        }
        let record = VolumeRecord { name, created: jiff::Timestamp::now().to_string(), labels, options, made_for };
        self.keep(&record)
    }

    /// Makes the volume's folder beside its place and moves it there whole. Of two that make the same, one wins and both
    /// have it.
    fn keep(&self, record: &VolumeRecord) -> Result<VolumeRecord, EngineError> {
        let place = self.folder.join(&record.name);
        let refused = |error| disk("create", &place, error);
        let temp = self.root.temp_dir("volume").map_err(refused)?;
        // Docker's own modes: others may pass through to data that its owner opens to them.
        DirBuilder::new().mode(0o755).create(temp.path().join(DATA)).map_err(refused)?;
        write_record(&temp.path().join(RECORD), record).map_err(|error| EngineError::system(error.to_string()))?;
        fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o701)).map_err(refused)?;
        let mut records = self.records();
        if let Some(existing) = records.get(&record.name) {
            return Ok(existing.clone());
        }
        fs::rename(temp.keep(), &place).map_err(refused)?;
        records.insert(record.name.clone(), record.clone());
        drop(records);
        self.publish("create", &record.name, []);
        Ok(record.clone())
    }

    fn set_free(&self, name: &str) -> Result<(), EngineError> {
        let Ok(mut record) = self.find(name) else { return Ok(()) };
        record.made_for = None;
        write_record(&self.folder.join(name).join(RECORD), &record)
            .map_err(|error| EngineError::system(error.to_string()).because(error))?;
        self.records().insert(name.to_owned(), record);
        Ok(())
    }

    /// Removes a volume; the answer is how many bytes that freed.
    fn remove(&self, name: &str) -> Result<u64, EngineError> {
        self.find(name)?;
        let users = self.users_of(name);
        if !users.is_empty() {
            let text = format!("remove {name}: volume is in use - [{}]", users.join(", "));
            return Err(EngineError::conflict(text));
        }
        let place = self.folder.join(name);
        let bytes = disk_usage(&self.data(name));
        self.detach(name);
        let trash = self.root.discard(&place).map_err(|error| disk("remove", &place, error))?;
        self.records().remove(name);
        self.publish("destroy", name, []);
        // What can't be freed now is freed at the next start.
        let _ = trash.empty();
        Ok(bytes)
    }

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
    fn detach(&self, name: &str) {
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

    fn publish<'a>(&self, action: &str, name: &str, more: impl IntoIterator<Item = (&'a str, String)>) {
        let attributes = [("driver", "local".to_owned())].into_iter().chain(more);
        self.events.publish(docker::EventMessageTypeEnum::VOLUME, action, name, attributes);
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
fn is_mount_point(folder: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    folder.parent().is_some_and(|parent| device(parent) != device(folder))
}

fn disk(action: &str, path: &Path, error: io::Error) -> EngineError {
    EngineError::system(format!("{action} {}: {error}", path.display())).because(error)
}

fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// An anonymous volume's name: 64 random hex digits.
fn new_name() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::volume::plan::MountOrigin;

    struct Used(Vec<&'static str>);

    impl VolumeUsers for Used {
        fn users_of(&self, name: &str) -> Vec<String> {
            self.0.iter().filter(|used| **used == name).map(|_| "c1".to_owned()).collect()
        }
    }

    fn open(folder: &Path) -> Volumes {
        let root = Arc::new(StateRoot::open(folder).unwrap());
        Volumes::open(root, Arc::new(Events::default())).unwrap()
    }

    fn request(name: &str, options: &[(&str, &str)]) -> docker::VolumeCreateRequest {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        docker::VolumeCreateRequest { name: Some(name.to_owned()), driver_opts: Some(options), ..Default::default() }
    }

    fn mount_of(name: Option<&str>) -> MountRequest {
        let source = MountSource::Volume {
            name: name.map(str::to_owned),
            driver: String::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            copy: true,
            subpath: None,
        };
        MountRequest {
            target: "/data".to_owned(),
            source,
            read_only: false,
            mode: String::new(),
            origin: MountOrigin::Binds,
        }
    }

    fn words<T>(outcome: Result<T, EngineError>) -> String {
        outcome.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn volumes_come_stay_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = open(folder.path());
        let made = volumes.create(request("db", &[])).await.unwrap();
        fs::write(Path::new(&made.mountpoint).join("file"), "content").unwrap();
        drop(volumes);

        let volumes = open(folder.path());
        assert_eq!(volumes.inspect("db").unwrap().created_at, made.created_at);
        assert_eq!(volumes.create(request("db", &[])).await.unwrap().created_at, made.created_at);
        volumes.set_users(Arc::new(Used(vec!["db"])));
        assert_eq!(words(volumes.remove("db", true).await), "remove db: volume is in use - [c1]");
        assert_eq!(words(volumes.inspect("none")), "get none: no such volume");
        assert_eq!(words(volumes.remove("none", false).await), "get none: no such volume");
        volumes.remove("none", true).await.unwrap();

        volumes.create(request("idle", &[])).await.unwrap();
        volumes.remove("idle", false).await.unwrap();
        assert!(!folder.path().join("volumes/idle").exists());
    }

    #[tokio::test]
    async fn prune_takes_the_unused_anonymous_ones() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = open(folder.path());
        volumes.set_users(Arc::new(Used(vec!["used"])));
        for name in ["used", "idle"] {
            volumes.create(request(name, &[])).await.unwrap();
        }
        let anonymous = volumes.realise("c1", vec![mount_of(None)]).await.unwrap();
        assert!(anonymous[0].anonymous);
        let name = anonymous[0].volume.clone().unwrap();
        assert_eq!(name.len(), 64);

        let pruned = volumes.prune(&Filters::default()).await.unwrap();
        assert_eq!(pruned.volumes_deleted, Some(vec![name]));
        let pruned = volumes.prune(&Filters::default().with("all", "1")).await.unwrap();
        assert_eq!(pruned.volumes_deleted, Some(vec!["idle".to_owned()]));
    }

    #[tokio::test]
    async fn a_memory_volume_lives_as_long_as_its_users() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = open(folder.path());
        let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
        volumes.create(request("fast", &options)).await.unwrap();
        let points = volumes.realise("c1", vec![mount_of(Some("fast"))]).await.unwrap();
        let data = volumes.data("fast");

        volumes.mount("one", &points).await.unwrap();
        volumes.mount("two", &points).await.unwrap();
        assert!(is_mount_point(&data));
        volumes.unmount("one", &points).await;
        assert!(is_mount_point(&data));
        volumes.unmount("two", &points).await;
        assert!(!is_mount_point(&data));
    }

    #[tokio::test]
    async fn sources_of_binds_must_be_there_or_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = open(&folder.path().join("root"));
        let missing = folder.path().join("missing").display().to_string();
        let bind = |create| MountRequest {
            source: MountSource::Bind {
                path: missing.clone(),
                create,
                recursive: true,
                propagation: String::new(),
                writable_below: false,
            },
            ..mount_of(None)
        };
        assert_eq!(
            words(volumes.realise("c1", vec![bind(false)]).await),
            format!("invalid mount config for type \"bind\": bind source path does not exist: {missing}")
        );
        let points = volumes.realise("c1", vec![bind(true)]).await.unwrap();
        volumes.mount("one", &points).await.unwrap();
        assert!(Path::new(&missing).is_dir());
    }

    #[tokio::test]
    async fn a_new_volume_takes_the_images_content() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = open(&folder.path().join("root"));
        let image = folder.path().join("image");
        fs::create_dir_all(image.join("data")).unwrap();
        fs::write(image.join("data/seed"), "x").unwrap();
        let points = volumes.realise("c1", vec![mount_of(Some("db"))]).await.unwrap();
        volumes.copy_up(&points, File::open(&image).unwrap().into()).await.unwrap();
        assert!(volumes.data("db").join("seed").exists());
    }

    #[tokio::test]
    async fn refusals_are_dockers_words() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = open(folder.path());
        let strange = docker::VolumeCreateRequest { driver: Some("x".to_owned()), ..request("db", &[]) };
        assert_eq!(
            words(volumes.create(strange).await),
            "create db: error looking up volume plugin x: plugin \"x\" not found"
        );
        assert_eq!(
            words(volumes.create(request("db", &[("type", "tmpfs")])).await),
            "create db: missing required option: \"device\""
        );
    }

    #[tokio::test]
    async fn volumes_of_a_container_that_was_never_made_go_at_the_next_opening() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = open(folder.path());
        let point = |answer: Result<Vec<MountedPoint>, EngineError>| answer.unwrap().remove(0);
        let kept = point(volumes.realise("alive", vec![mount_of(None)]).await);
        let orphan = point(volumes.realise("never-made", vec![mount_of(None)]).await);
        let freed = point(volumes.realise("removed", vec![mount_of(None)]).await);
        let named = point(volumes.realise("never-made", vec![mount_of(Some("db"))]).await);
        volumes.set_free(std::slice::from_ref(&freed)).await.unwrap();
        drop(volumes);

        let volumes = open(folder.path());
        volumes.remove_orphans(|id| id == "alive").await.unwrap();
        let is_there = |point: &MountedPoint| volumes.inspect(point.volume.as_deref().unwrap()).is_ok();
        assert_eq!([&kept, &orphan, &freed, &named].map(is_there), [true, false, true, true]);
    }
}
