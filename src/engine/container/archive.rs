//! A container's files from outside: `docker cp` both ways, `export`, `diff`.
//!
//! Paths are resolved inside the container's root by descriptor (openat2, RESOLVE_IN_ROOT), so no symlink of its can
//! lead out. The root of one that runs is its first process's; that of one at rest is its overlay with its volumes and
//! binds in place, in a mount namespace that nobody else is in.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bollard_stubs::models as docker;
use bytes::Bytes;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use super::inside::resolve;
use super::live::Container;
use super::options::{ArchivePut, ByteStream, PathStat};
use super::record::ContainerRecord;
use super::room::Room;
use crate::engine::EngineError;
use crate::engine::error::ErrorKind;
use crate::engine::layer::{
    ApplyOptions, OverlayStack, Whiteouts, WriteOptions, apply_tar, changes, detached_root, inflater, write_tar,
};
use crate::engine::oci::{MountPlan, UserNs};
use crate::engine::remap::Shift;
use crate::engine::runtime::{AtRestError, at_rest, own_new_files_as};
use crate::engine::volume::MountedPoint;

/// How many bytes are handed on at once.
const PIECE: usize = 64 << 10;

/// A folder and a path below it: what a path in a container comes down to.
struct Spot {
    root: OwnedFd,
    below: PathBuf,
    /// Where that is once links are followed, the last one too; absolute, as the container sees it.
    resolved: PathBuf,
    /// Where the root is seen from outside of the container's user namespace.
    shift: Option<Shift>,
    /// Whether the root is that of a process, with the kernel's file systems in it.
    is_live: bool,
    /// What keeps the mounts of a root at rest.
    _namespace: Option<OwnedFd>,
}

impl Room {
    /// `GET /containers/{id}/changes`.
    pub async fn changes(&self, id: &str) -> Result<Vec<docker::FilesystemChange>, EngineError> {
        let container = self.index.find(id)?;
        let stack = self.stack_of(&container, &container.record())?;
        let all = Self::blocking(move || Ok(changes(&stack.upper, &stack.lowers)?)).await?;
        Ok(own_changes(all))
    }

    /// `GET /containers/{id}/export`. What is mounted in the container is not part of it.
    pub async fn export(&self, id: &str) -> Result<ByteStream, EngineError> {
        let container = self.index.find(id)?;
        let stack = self.stack_of(&container, &container.record())?;
        container.publish(&self.rooms.events, "export", []);
        let root = Self::blocking(move || Ok(detached_root(&read_only(stack))?)).await?;
        let (below, resolved) = (PathBuf::new(), PathBuf::from("/"));
        let spot = Spot { root, below, resolved, shift: None, is_live: false, _namespace: None };
        Ok(tar_stream(spot, WriteOptions::default()))
    }

    /// `HEAD /containers/{id}/archive`.
    pub async fn archive_stat(&self, id: &str, path: &str) -> Result<PathStat, EngineError> {
        let container = self.index.find(id)?;
        let (spot, asked) = (self.spot(&container, id, path).await?, Asked::new(id, path));
        Self::blocking(move || path_stat(&spot, &asked)).await
    }

    /// `GET /containers/{id}/archive`.
    pub async fn archive_get(&self, id: &str, path: &str) -> Result<(PathStat, ByteStream), EngineError> {
        let container = self.index.find(id)?;
        let (spot, asked) = (self.spot(&container, id, path).await?, Asked::new(id, path));
        let (stat, spot) = Self::blocking(move || path_stat(&spot, &asked).map(|stat| (stat, spot))).await?;
        container.publish(&self.rooms.events, "archive-path", []);
        // A path that ends in `/.` names the content: its entries stand below `.`, as clients expect.
        let name = PathBuf::from(&stat.name);
        let hollow = if spot.is_live { kernel_folders(&spot.resolved, &name) } else { Vec::new() };
        let options = WriteOptions { name, shift: spot.shift, hollow, ..WriteOptions::default() };
        Ok((stat, tar_stream(spot, options)))
    }

    /// `PUT /containers/{id}/archive`.
    pub async fn archive_put(
        &self,
        id: &str,
        path: &str,
        options: ArchivePut,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        let spot = self.spot(&container, id, path).await?;
        refuse_read_only(&container.record(), &spot)?;
        let asked = Asked::new(id, path);
        // A pipe of one thread into another: the archive is read by the async side, unpacked by the blocking one.
        let reader = SyncIoBridge::new(archive);
        Self::blocking(move || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder =
                openat2(&spot.root, below(&spot), flags, Mode::empty(), ResolveFlags::IN_ROOT).map_err(|errno| {
                    match errno {
                        Errno::NOENT => asked.not_found(),
                        Errno::NOTDIR => EngineError::invalid("extraction point is not a directory"),
                        errno => asked.failed("open", errno),
                    }
                })?;
            let apply = ApplyOptions {
                whiteouts: Whiteouts::AsIs,
                // As dockerd: owners are the archive's either way; clients set them as `cp` and `cp -a` want them.
                owner: None,
                keep_kinds: options.no_overwrite_dir_non_dir,
                shift: spot.shift,
                ..ApplyOptions::default()
            };
            let unpack = || {
                apply_tar(folder.as_fd(), inflated(reader)?, &apply)
                    .map(drop)
                    .map_err(|error| EngineError::invalid(error.to_string()).because(error))
            };
            match spot.shift {
                Some(shift) => as_root_of(shift, unpack),
                None => unpack(),
            }
        })
        .await?;
        container.publish(&self.rooms.events, "extract-to-dir", []);
        Ok(())
    }

    /// Where `path` is in the container that was asked for as `name`.
    async fn spot(&self, container: &Arc<Container>, name: &str, path: &str) -> Result<Spot, EngineError> {
        if path.is_empty() {
            return Err(EngineError::invalid("bad parameter: path cannot be empty"));
        }
        let record = container.record();
        let (below, asked) = (cleaned(path), Asked::new(name, path));
        let shift = match self.user_namespace(&record) {
            UserNs::Host => None,
            _ => self.rooms.instance.remap(),
        };
        if let Some(alive) = record.state.alive() {
            let root = open_folder(Path::new(&format!("/proc/{}/root", alive.pid)))?;
            // Opened by number: still the same process?
            if container.record().state.alive().is_some_and(|now| now.pid == alive.pid) {
                return Self::blocking(move || {
                    let resolved = asked.resolved(&root, &below)?;
                    Ok(Spot { root, below, resolved, shift, is_live: true, _namespace: None })
                })
                .await;
            }
        }
        let (stack, place) = (self.stack_of(container, &record)?, container.folder.state.clone());
        Self::blocking(move || {
            let plans: Vec<MountPlan> =
                record.mounts.iter().filter(|point| point.source.is_some()).map(MountedPoint::plan).collect();
            let (root, namespace) = if plans.is_empty() {
                (detached_root(&stack)?, None)
            } else {
                let told = |error: AtRestError| EngineError::system(error.to_string()).because(error);
                let view = at_rest(|| detached_root(&stack), &plans, &place).map_err(told)?;
                (view.root, Some(view.namespace))
            };
            let resolved = asked.resolved(&root, &below)?;
            // Layers and volumes have the container's ids on the disk; what is bound has the host's.
            let is_bound = mount_at(&record, &resolved).is_some_and(|point| point.volume.is_none());
            let shift = shift.filter(|_| is_bound);
            Ok(Spot { root, below, resolved, shift, is_live: false, _namespace: namespace })
        })
        .await
    }
}

/// What a client asked for, in its words, for refusals.
struct Asked {
    container: String,
    path: String,
}

impl Asked {
    fn new(container: &str, path: &str) -> Self {
        Self { container: container.to_owned(), path: path.to_owned() }
    }

    fn not_found(&self) -> EngineError {
        EngineError::not_found(format!("Could not find the file {} in container {}", self.path, self.container))
    }

    fn failed(&self, action: &str, errno: Errno) -> EngineError {
        EngineError::system(format!("{action} {}: {errno}", self.path))
    }

    fn resolved(&self, root: &OwnedFd, below: &Path) -> Result<PathBuf, EngineError> {
        resolve(root, below).map_err(|errno| match errno {
            Errno::LOOP => EngineError::system(format!("evalSymlinksInScope: too many links in {}", self.path)),
            errno => self.failed("look at", errno),
        })
    }
}

/// The folders of a running container that show the kernel's state, as an archive of `resolved` names them: their
/// content is no file of the container's.
fn kernel_folders(resolved: &Path, name: &Path) -> Vec<PathBuf> {
    if resolved == Path::new("/") {
        return ["dev", "proc", "sys"].map(|folder| name.join(folder)).to_vec();
    }
    if ["/proc", "/sys"].iter().any(|folder| resolved == Path::new(folder)) {
        vec![name.to_owned()]
    } else {
        Vec::new()
    }
}

/// Docker's refusals of writing where nothing may be written.
fn refuse_read_only(record: &ContainerRecord, spot: &Spot) -> Result<(), EngineError> {
    let refused = |words: &str| Err(EngineError::new(ErrorKind::Forbidden, words));
    // without a process there is no tmpfs: what is written goes to the root below it
    let mount = mount_at(record, &spot.resolved).filter(|point| spot.is_live || point.source.is_some());
    match mount {
        Some(point) if point.request.read_only => refused("mounted volume is marked read-only"),
        None if record.host_config.readonly_rootfs == Some(true) => refused("container rootfs is marked read-only"),
        _ => Ok(()),
    }
}

/// The stack for reading only, so that it can be mounted while the container has it mounted too.
fn read_only(stack: OverlayStack) -> OverlayStack {
    let lowers = std::iter::once(stack.upper).chain(stack.lowers).collect();
    OverlayStack { lowers, upper: PathBuf::new(), work: PathBuf::new(), is_volatile: false }
}

/// The targets of mounts that every container gets, and the mark of a container. They are made in its upper directory
/// when it is created or starts, and are no change of its own.
pub(super) const MOUNT_POINTS: &[&str] = &[
    MARK,
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/dev/console",
    "/dev/shm",
    "/dev/pts",
    "/dev/mqueue",
];

/// The empty file by which programs know that they are in a container.
pub(super) const MARK: &str = "/.dockerenv";

/// The mark's name in the root directory.
pub(super) fn mark_name() -> &'static std::ffi::OsStr {
    std::ffi::OsStr::new(MARK.trim_start_matches('/'))
}

/// The changes without those that only mounting made; a folder that is changed by nothing else goes with them.
fn own_changes(all: Vec<docker::FilesystemChange>) -> Vec<docker::FilesystemChange> {
    let is_made = |change: &docker::FilesystemChange| MOUNT_POINTS.contains(&change.path.as_str());
    let (made, own): (Vec<_>, Vec<_>) = all.into_iter().partition(is_made);
    let has_own = |folder: &str| own.iter().any(|change| change.path.starts_with(&format!("{folder}/")));
    let only_made =
        |folder: &str| made.iter().any(|change| change.path.starts_with(&format!("{folder}/"))) && !has_own(folder);
    own.iter().filter(|change| change.kind != docker::ChangeType::_0 || !only_made(&change.path)).cloned().collect()
}

/// Does `work` on a thread whose new files belong to the containers' root.
fn as_root_of<T: Send>(shift: Shift, work: impl FnOnce() -> Result<T, EngineError> + Send) -> Result<T, EngineError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("boxyard-unpack".to_owned()).spawn_scoped(scope, || {
            own_new_files_as(shift.uid.first, shift.gid.first)
                .map_err(|errno| EngineError::system(format!("become the containers' root: {errno}")))?;
            work()
        });
        let thread = thread.map_err(|error| EngineError::system(format!("start thread: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(EngineError::system("the unpacking thread panicked")))
    })
}

fn open_folder(path: &Path) -> Result<OwnedFd, EngineError> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| EngineError::system(format!("open {}: {errno}", path.display())))
}

/// The path without its leading slash, `..` resolved by name; a trailing `/.` or `/` stays, as it means the folder itself.
fn cleaned(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if (path.ends_with("/.") || path.ends_with('/')) && !clean.as_os_str().is_empty() {
        clean.push(".");
    }
    clean
}

/// The innermost mount that holds `path`.
fn mount_at<'a>(record: &'a ContainerRecord, path: &Path) -> Option<&'a MountedPoint> {
    let holds = |point: &&MountedPoint| path.starts_with(&point.request.target);
    record.mounts.iter().filter(holds).max_by_key(|point| point.request.target.len())
}

fn below(spot: &Spot) -> &Path {
    if spot.below.as_os_str().is_empty() { Path::new(".") } else { &spot.below }
}

fn path_stat(spot: &Spot, asked: &Asked) -> Result<PathStat, EngineError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place =
        openat2(&spot.root, below(spot), flags, Mode::empty(), ResolveFlags::IN_ROOT).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => asked.not_found(),
            errno => asked.failed("open", errno),
        })?;
    let stat = fstat(&place).map_err(|errno| asked.failed("look at", errno))?;
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    Ok(PathStat {
        name: base_name(&asked.path),
        size: stat.st_size,
        mode: go_mode(&stat),
        mtime: time_of(&stat),
        link_target: if is_link { spot.resolved.to_string_lossy().into_owned() } else { String::new() },
    })
}

/// The last part of a path: `.` for what ends in `/.`, `/` for the root.
fn base_name(path: &str) -> String {
    if path.ends_with("/.") {
        return ".".to_owned();
    }
    let clean = cleaned(path);
    clean.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Go's `os.FileMode` of a file (io/fs/fs.go).
fn go_mode(stat: &Stat) -> u32 {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 23), (0o2000, 22), (0o1000, 20)];
    let special = special.iter().filter(|(bit, _)| stat.st_mode & bit != 0).map(|(_, shift)| 1 << shift).sum::<u32>();
    kind | special | (stat.st_mode & 0o777)
}

fn time_of(stat: &Stat) -> String {
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    jiff::Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// The tar of a tree, made while it is read; whoever stops reading ends it.
fn tar_stream(spot: Spot, options: WriteOptions) -> ByteStream {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    tokio::task::spawn_blocking(move || {
        let spot = spot; // all of it: its mounts go with it
        let mut writer = io::BufWriter::with_capacity(PIECE, ChannelWriter(sender.clone()));
        let written = write_tar(spot.root.as_fd(), &spot.below, &options, &mut writer)
            .map_err(io::Error::other)
            .and_then(|()| writer.flush());
        if let Err(error) = written {
            // The reader may be gone; then there is nobody to tell.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Box::pin(futures_util::stream::unfold(
        receiver,
        |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
    ))
}

struct ChannelWriter(mpsc::Sender<io::Result<Bytes>>);

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The archive without its compression.
fn inflated(reader: impl Read + Send + 'static) -> Result<impl BufRead, EngineError> {
    let told = |error: io::Error| EngineError::invalid(format!("read the archive: {error}"));
    Ok(BufReader::with_capacity(PIECE, inflater(BufReader::with_capacity(PIECE, reader)).map_err(told)?))
}

/// Opened once more for reading, where only its path is known.
#[cfg(test)]
fn read(root: &OwnedFd, path: &str) -> String {
    let fd = openat2(root, path, OFlags::RDONLY, Mode::empty(), ResolveFlags::IN_ROOT).unwrap();
    let mut text = String::new();
    std::fs::File::from(fd).read_to_string(&mut text).unwrap();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_name() {
        let check = |path: &str, clean: &str, base: &str| {
            assert_eq!((cleaned(path).to_str().unwrap(), base_name(path).as_str()), (clean, base), "{path}");
        };
        check("/etc/passwd", "etc/passwd", "passwd");
        check("etc", "etc", "etc");
        check("/etc/", "etc/.", "etc");
        check("/etc/.", "etc/.", ".");
        check("/../../x", "x", "x");
        check("/", "", "/");
        check("/.", "", ".");
    }

    #[test]
    fn what_mounting_made_is_no_change() {
        let change = |path: &str, kind| docker::FilesystemChange { path: path.to_owned(), kind };
        let (changed, added) = (docker::ChangeType::_0, docker::ChangeType::_1);
        let only_mounts = vec![change("/dev", added), change("/etc", changed), change("/etc/hosts", added)];
        assert_eq!(own_changes(only_mounts), []);
        let both = vec![change("/etc", changed), change("/etc/hosts", added), change("/etc/motd", added)];
        assert_eq!(own_changes(both), [change("/etc", changed), change("/etc/motd", added)]);
    }

    #[test]
    fn links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("inside"), "inside").unwrap();
        std::os::unix::fs::symlink("/inside", folder.path().join("link")).unwrap();
        let root = open_folder(folder.path()).unwrap();
        assert_eq!(read(&root, "link"), "inside");
    }

    #[test]
    fn modes_are_gos() {
        let folder = tempfile::tempdir().unwrap();
        let stat = rustix::fs::stat(folder.path()).unwrap();
        assert_eq!(go_mode(&stat) >> 31, 1);
        let file = folder.path().join("f");
        std::fs::write(&file, "x").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
        assert_eq!(go_mode(&rustix::fs::stat(&file).unwrap()), 1 << 23 | 0o755);
    }
}
