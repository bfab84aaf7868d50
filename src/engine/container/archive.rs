//! A container's files from outside: `docker cp` both ways, `export`, `diff`.
//!
//! Paths are resolved inside the container's root by descriptor (openat2, RESOLVE_IN_ROOT), so no symlink of its can
//! lead out. The root of one that runs is its first process's; that of one at rest is its overlay, mounted nowhere, or
//! for a path below one of its mounts what is mounted there.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bollard_stubs::models as docker;
use bytes::Bytes;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use super::live::Container;
use super::options::{ArchivePut, ByteStream, PathStat};
use super::record::ContainerRecord;
use super::room::Room;
use crate::engine::EngineError;
use crate::engine::error::ErrorKind;
use crate::engine::layer::{
    ApplyOptions, OverlayStack, Whiteouts, WriteOptions, apply_tar, changes, detached_root, write_tar,
};
use crate::engine::oci::UserNs;
use crate::engine::remap::Shift;
use crate::engine::runtime::own_new_files_as;

/// How many bytes are handed on at once.
const PIECE: usize = 64 << 10;

/// A folder and a path below it: what a path in a container comes down to.
struct Spot {
    root: OwnedFd,
    below: PathBuf,
    /// Where the root is seen from outside of the container's user namespace.
    shift: Option<Shift>,
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
        Ok(tar_stream(root, PathBuf::new(), WriteOptions::default()))
    }

    /// `HEAD /containers/{id}/archive`.
    pub async fn archive_stat(&self, id: &str, path: &str) -> Result<PathStat, EngineError> {
        let container = self.index.find(id)?;
        let (spot, asked) = (self.spot(&container, path).await?, path.to_owned());
        Self::blocking(move || path_stat(&spot, &asked, &container)).await
    }

    /// `GET /containers/{id}/archive`.
    pub async fn archive_get(&self, id: &str, path: &str) -> Result<(PathStat, ByteStream), EngineError> {
        let container = self.index.find(id)?;
        let (spot, asked, of) = (self.spot(&container, path).await?, path.to_owned(), Arc::clone(&container));
        let (stat, spot) = Self::blocking(move || path_stat(&spot, &asked, &of).map(|stat| (stat, spot))).await?;
        container.publish(&self.rooms.events, "archive-path", []);
        // A path that ends in `/.` names the content: its entries stand below `.`, as clients expect.
        let name = if stat.name == "/" { PathBuf::new() } else { PathBuf::from(&stat.name) };
        let options = WriteOptions { name, shift: spot.shift, ..WriteOptions::default() };
        Ok((stat, tar_stream(spot.root, spot.below, options)))
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
        let record = container.record();
        if record.host_config.readonly_rootfs == Some(true) && writable_mount(&record, path).is_none() {
            return Err(EngineError::new(ErrorKind::Forbidden, "container rootfs is marked read-only"));
        }
        let spot = self.spot(&container, path).await?;
        let (asked, name) = (path.to_owned(), container.id.clone());
        // A pipe of one thread into another: the archive is read by the async side, unpacked by the blocking one.
        let reader = SyncIoBridge::new(archive);
        Self::blocking(move || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder =
                openat2(&spot.root, below(&spot), flags, Mode::empty(), ResolveFlags::IN_ROOT).map_err(|errno| {
                    match errno {
                        Errno::NOENT => not_found(&asked, &name),
                        Errno::NOTDIR => EngineError::invalid("extraction point is not a directory"),
                        errno => EngineError::system(format!("open {asked}: {errno}")),
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
                apply_tar(folder.as_fd(), plain(reader)?, &apply)
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

    /// Where `path` is.
    async fn spot(&self, container: &Arc<Container>, path: &str) -> Result<Spot, EngineError> {
        if path.is_empty() {
            return Err(EngineError::invalid("bad parameter: path cannot be empty"));
        }
        let record = container.record();
        let path = cleaned(path);
        let shift = match self.user_namespace(&record) {
            UserNs::Host => None,
            UserNs::OfNetwork { .. } => self.rooms.instance.remap(),
        };
        if let Some(alive) = record.state.alive() {
            let root = open_folder(Path::new(&format!("/proc/{}/root", alive.pid)))?;
            // Opened by number: still the same process?
            if container.record().state.alive().is_some_and(|now| now.pid == alive.pid) {
                return Ok(Spot { root, below: path, shift });
            }
        }
        if let Some((source, below, is_volume)) = mounted_at(&record, &path) {
            let shift = shift.filter(|_| !is_volume);
            return Ok(Spot { root: open_folder(&source)?, below, shift });
        }
        let stack = self.stack_of(container, &record)?;
        let root = Self::blocking(move || Ok(detached_root(&stack)?)).await?;
        Ok(Spot { root, below: path, shift: None })
    }
}

/// The stack for reading only, so that it can be mounted while the container has it mounted too.
fn read_only(stack: OverlayStack) -> OverlayStack {
    let lowers = std::iter::once(stack.upper).chain(stack.lowers).collect();
    OverlayStack { lowers, upper: PathBuf::new(), work: PathBuf::new() }
}

/// The targets of mounts that every container gets. They are made in its upper directory when it starts, and are no
/// change of its own.
pub(super) const MOUNT_POINTS: &[&str] = &[
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

/// The host folder of the innermost mount that holds `path`, what is left of the path below it, whether it is a volume.
fn mounted_at(record: &ContainerRecord, path: &Path) -> Option<(PathBuf, PathBuf, bool)> {
    let absolute = Path::new("/").join(path);
    record
        .mounts
        .iter()
        .filter_map(|point| {
            let below = absolute.strip_prefix(&point.request.target).ok()?;
            let source = point.source.clone().filter(|source| source.is_dir())?;
            Some((point.request.target.len(), source, below.to_owned(), point.volume.is_some()))
        })
        .max_by_key(|(length, ..)| *length)
        .map(|(_, source, below, is_volume)| (source, below, is_volume))
}

fn writable_mount(record: &ContainerRecord, path: &str) -> Option<PathBuf> {
    let absolute = Path::new("/").join(cleaned(path));
    let holds = |target: &str| absolute.starts_with(target);
    record
        .mounts
        .iter()
        .find(|point| !point.request.read_only && holds(&point.request.target))
        .map(|_| absolute.clone())
}

fn below(spot: &Spot) -> &Path {
    if spot.below.as_os_str().is_empty() { Path::new(".") } else { &spot.below }
}

fn not_found(path: &str, container: &str) -> EngineError {
    EngineError::not_found(format!("Could not find the file {path} in container {container}"))
}

fn path_stat(spot: &Spot, asked: &str, container: &Container) -> Result<PathStat, EngineError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place =
        openat2(&spot.root, below(spot), flags, Mode::empty(), ResolveFlags::IN_ROOT).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => not_found(asked, &container.id),
            errno => EngineError::system(format!("open {asked}: {errno}")),
        })?;
    let stat = fstat(&place).map_err(|errno| EngineError::system(format!("look at {asked}: {errno}")))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let link_target = if kind == FileType::Symlink {
        let target = readlinkat(&place, "", Vec::new())
            .map_err(|errno| EngineError::system(format!("read {asked}: {errno}")))?;
        let folder = Path::new("/").join(cleaned(asked).parent().unwrap_or(Path::new("")));
        let target = folder.join(target.to_string_lossy().as_ref());
        Path::new("/").join(cleaned(&target.to_string_lossy())).to_string_lossy().into_owned()
    } else {
        String::new()
    };
    Ok(PathStat {
        name: base_name(asked),
        size: stat.st_size,
        mode: go_mode(&stat),
        mtime: time_of(&stat),
        link_target,
    })
}

/// The last part of a path: `.` for what ends in `/.`, `/` for the root.
fn base_name(path: &str) -> String {
    if path.ends_with("/.") && path != "/." {
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
fn tar_stream(root: OwnedFd, below: PathBuf, options: WriteOptions) -> ByteStream {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    tokio::task::spawn_blocking(move || {
        let mut writer = io::BufWriter::with_capacity(PIECE, ChannelWriter(sender.clone()));
        let written = write_tar(root.as_fd(), &below, &options, &mut writer)
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

/// The archive without its compression, if it has one that `docker cp`'s clients use.
fn plain(reader: impl Read + 'static) -> Result<Box<dyn Read>, EngineError> {
    let mut reader = BufReader::with_capacity(PIECE, reader);
    let beginning = reader.fill_buf().map_err(|error| EngineError::invalid(format!("read the archive: {error}")))?;
    if beginning.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader)));
    }
    Ok(Box::new(reader))
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
