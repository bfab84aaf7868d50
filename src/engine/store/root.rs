//! The folder that holds everything an engine owns, and the lock that makes one process its owner.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::record::HALF_WRITTEN;

/// Why the state root could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StateRootError {
    /// Another process owns it.
    #[error("{} is in use by another boxyard (pid {})", root.display(), holder.map_or("unknown".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// The state root.
        root: PathBuf,
        /// Its owner's process ID, where the lock file tells.
        holder: Option<u32>,
    },
    /// The disk or the permissions refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// An opened, locked state root. Dropping it lets the next engine in.
#[derive(Debug)]
pub struct StateRoot {
    path: PathBuf,
    _lock: File,
}

/// A folder that others may pass through, but not list.
const OPEN: u32 = 0o711;
/// A folder for root alone. Layers hold other systems' set-user-id programs, at names that anybody can compute; whoever
/// could reach them would be root of the host (CVE-2021-41091).
const CLOSED: u32 = 0o700;

impl StateRoot {
    /// Opens the state root at `path`, making it where it is missing, takes its lock and sweeps what a killed engine left
    /// in `tmp/` and `trash/`.
    ///
    /// # Errors
    /// [`StateRootError::Locked`] while another process has it; [`StateRootError::Io`] where it can't be made or read.
    pub fn open(path: &Path) -> Result<Self, StateRootError> {
        let io_error = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StateRootError::Io { action, path, source }
        };
        for folder in [path.to_owned(), path.join("tmp"), path.join("trash")] {
            DirBuilder::new().recursive(true).mode(OPEN).create(&folder).map_err(io_error("create", &folder))?;
        }
        let lock = take_lock(path)?;
        for folder in [path.join("tmp"), path.join("trash")] {
            sweep(&folder).map_err(io_error("sweep", &folder))?;
        }
        sweep_half_written(path).map_err(io_error("sweep", path))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of one room (`images`, `layers`, ...), made where it is missing.
    ///
    /// # Errors
    /// The disk's refusal.
    pub fn room(&self, name: &str) -> io::Result<PathBuf> {
        let room = self.path.join(name);
        DirBuilder::new().recursive(true).mode(CLOSED).create(&room)?;
        // volumes are shared with the host's own users on purpose; one made by an earlier version may stand open
        let mode = if name == "volumes" { OPEN } else { CLOSED };
        fs::set_permissions(&room, fs::Permissions::from_mode(mode))?;
        Ok(room)
    }

    /// A folder under `tmp/`, on the same file system as every room, that goes when dropped. To keep its content,
    /// rename it into a room and forget the handle (`TempDir::keep`).
    ///
    /// # Errors
    /// The disk's refusal.
    pub fn temp_dir(&self, purpose: &str) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix(&format!("{purpose}-")).tempdir_in(self.path.join("tmp"))
    }

    /// Makes `path` vanish at once by renaming it into `trash/`; its bytes go when the returned [`Trash`] is emptied.
    /// That nothing is there is success.
    ///
    /// # Errors
    /// The disk's refusal; `path` then still stands.
    pub fn discard(&self, path: &Path) -> io::Result<Trash> {
        let bin = tempfile::Builder::new().tempdir_in(self.path.join("trash"))?;
        match fs::rename(path, bin.path().join("it")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Trash { bin }),
        }
    }
}

/// Something that is already invisible and only waits for its bytes to be freed. Dropping it frees them too.
#[derive(Debug)]
pub struct Trash {
    bin: TempDir,
}

impl Trash {
    /// Frees the bytes; may take long for large trees, so call it off the async threads.
    ///
    /// # Errors
    /// The disk's refusal; what is left goes at the next start.
    pub fn empty(self) -> io::Result<()> {
        self.bin.close()
    }
}

/// How long the lock of a killed engine may live on: a process that it was just starting shares its descriptors until it
/// executes its program.
const HEIR_LIMIT: Duration = Duration::from_secs(5);

/// Whether process `pid` still does anything; a zombie does not.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn take_lock(root: &Path) -> Result<File, StateRootError> {
    let path = root.join("lock");
    let io_error = |source| StateRootError::Io { action: "lock", path: path.clone(), source };
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io_error)?;
    let until = Instant::now() + HEIR_LIMIT;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let text = fs::read_to_string(&path).map_err(io_error)?;
                let holder = text.trim().parse().ok();
                if holder.is_none_or(is_alive) || Instant::now() > until {
                    return Err(StateRootError::Locked { root: root.to_owned(), holder });
                }
                thread::sleep(Duration::from_millis(5));
            }
            Err(errno) => return Err(io_error(errno.into())),
        }
    }
    lock.set_len(0).map_err(io_error)?;
    // On a full disk the lock still holds; only the holder's number is missing from the refusal others read.
    let _ = writeln!(lock, "{}", std::process::id());
    Ok(lock)
}

fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

/// Removes the records that a killed engine was writing: beside a room's records, or one folder below. Not among the
/// containers, where a live shim may be writing how its container ended; theirs go with them.
fn sweep_half_written(root: &Path) -> io::Result<()> {
    let rooms = fs::read_dir(root)?.flatten().filter(|room| room.file_name() != "containers");
    for room in rooms.filter(|room| room.path().is_dir()) {
        for entry in fs::read_dir(room.path())?.flatten() {
            if is_half_written(&entry) {
                fs::remove_file(entry.path())?;
            } else if entry.file_type()?.is_dir() {
                for inner in fs::read_dir(entry.path())?.flatten().filter(is_half_written) {
                    fs::remove_file(inner.path())?;
                }
            }
        }
    }
    Ok(())
}

fn is_half_written(entry: &fs::DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(HALF_WRITTEN.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateRoot::open(folder.path()).unwrap();
        let refusal = StateRoot::open(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("pid {}", std::process::id())), "{refusal}");

        drop(first);
        StateRoot::open(folder.path()).unwrap();
    }

    #[test]
    fn opening_sweeps_what_a_killed_engine_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("tmp/pull-1/deep")).unwrap();
        fs::create_dir_all(folder.path().join("trash/2")).unwrap();
        fs::create_dir_all(folder.path().join("volumes/db")).unwrap();
        fs::write(folder.path().join("volumes/db/.record-x"), "{").unwrap();
        let root = StateRoot::open(folder.path()).unwrap();
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.path().join("trash")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(root.path().join("volumes/db")).unwrap().count(), 0);
    }

    #[test]
    fn discarded_things_vanish_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = StateRoot::open(folder.path()).unwrap();
        let layer = root.room("layers").unwrap().join("one");
        fs::create_dir(&layer).unwrap();
        let trash = root.discard(&layer).unwrap();
        assert!(!layer.exists());
        trash.empty().unwrap();
        assert_eq!(fs::read_dir(root.path().join("trash")).unwrap().count(), 0);
        root.discard(&layer).unwrap();
    }
}
