//! Paths inside a container, resolved by descriptor so that no link of the container's leads out of it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, mkdirat, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;

use super::{Step, StepError};

/// How many links a missing path may lead through, as in the kernel.
const MOST_LINKS: u32 = 40;

/// What to make where there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Directory,
    File,
}

/// The root directory of a container, or any other that paths are resolved in.
pub(super) trait Inside {
    /// Opens `path` below this directory, which is `/` to it and to every link in it.
    fn open_inside(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno>;
}

impl Inside for OwnedFd {
    fn open_inside(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        loop {
            match openat2(self, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
                Err(Errno::AGAIN | Errno::INTR) => {} // a rename elsewhere on the host raced with the walk
                other => return other,
            }
        }
    }
}

/// Opens `path` in `root` (`O_PATH`), making it and its parents if missing.
pub(super) fn ensure(root: &OwnedFd, path: &Path, leaf: Leaf) -> Result<OwnedFd, StepError> {
    ensure_within(root, path, leaf, MOST_LINKS)
        .map_err(|errno| StepError::new(Step::MakeTarget, errno, path.display().to_string()))
}

fn ensure_within(root: &OwnedFd, path: &Path, leaf: Leaf, links_left: u32) -> Result<OwnedFd, Errno> {
    match root.open_inside(path, OFlags::PATH) {
        Err(Errno::NOENT) if links_left > 0 => {}
        Err(Errno::NOENT) => return Err(Errno::LOOP),
        other => return other,
    }
    let parent_path = path.parent().unwrap_or(Path::new("/"));
    let Some(Component::Normal(name)) = path.components().next_back() else { return Err(Errno::NOENT) };
    let parent = ensure_within(root, parent_path, Leaf::Directory, links_left)?;
    let made = match leaf {
        Leaf::Directory => mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
        Leaf::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(&parent, name, flags, Mode::from_raw_mode(0o755)).map(drop)
        }
    };
    match made {
        Ok(()) => root.open_inside(path, OFlags::PATH),
        // not a link one may follow by its text: where it leads is for the kernel to say, and that was refused
        Err(Errno::EXIST) if is_proc(&parent) => Err(Errno::LOOP),
        Err(Errno::EXIST) if is_link(&parent, name) => {
            // a link to something that is missing: make what it points to
            let target = PathBuf::from(std::ffi::OsString::from(
                readlinkat(&parent, name, Vec::new())?.to_string_lossy().into_owned(),
            ));
            ensure_within(root, &parent_path.join(target), leaf, links_left - 1)
        }
        Err(Errno::EXIST) => root.open_inside(path, OFlags::PATH),
        Err(errno) => Err(errno),
    }
}

/// Whether it is on a proc file system.
pub(super) fn is_proc(file: &OwnedFd) -> bool {
    // PROC_SUPER_MAGIC (include/uapi/linux/magic.h)
    fstatfs(file).is_ok_and(|system| u32::try_from(system.f_type).is_ok_and(|kind| kind == 0x9fa0))
}

fn is_link(parent: &OwnedFd, name: &std::ffi::OsStr) -> bool {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Which kind of leaf a mount of `source` needs.
pub(super) fn leaf_for(source: impl AsFd) -> Result<Leaf, Errno> {
    let is_directory = FileType::from_raw_mode(fstat(source)?.st_mode) == FileType::Directory;
    Ok(if is_directory { Leaf::Directory } else { Leaf::File })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_nowhere_else() {
        let temp = tempfile::tempdir().unwrap();
        let rootfs = temp.path().join("root");
        fs::create_dir(&rootfs).unwrap();
        symlink("/run", rootfs.join("var-run")).unwrap();
        symlink("../../../../escape", rootfs.join("up")).unwrap();
        let root: OwnedFd = fs::File::open(&rootfs).unwrap().into();

        ensure(&root, Path::new("/var-run/a/b"), Leaf::Directory).unwrap();
        ensure(&root, Path::new("/up/file"), Leaf::File).unwrap();
        assert!(rootfs.join("run/a/b").is_dir());
        assert!(rootfs.join("escape/file").is_file());
        assert!(!temp.path().join("escape").exists());
    }

    #[test]
    fn descriptors_are_no_way_out() {
        let root: OwnedFd = fs::File::open("/").unwrap().into();
        let outside = tempfile::tempdir().unwrap();
        let outside = fs::File::open(outside.path()).unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&outside));
        assert_eq!(root.open_inside(Path::new(&path), OFlags::PATH).unwrap_err(), Errno::LOOP);
        assert!(ensure(&root, Path::new(&path), Leaf::Directory).is_err());
    }

    #[test]
    fn a_link_to_itself_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        symlink("loop", temp.path().join("loop")).unwrap();
        let root: OwnedFd = fs::File::open(temp.path()).unwrap().into();
        let error = ensure(&root, Path::new("/loop/x"), Leaf::Directory).unwrap_err();
        assert_eq!(error.errno, Errno::LOOP.raw_os_error());
    }
}
