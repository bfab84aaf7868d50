//! Metadata of directories that a layer's archive implies but does not name.
//!
//! A layer may hold `a/b` without `a/`. Unpacked on its own, `a` must be made up, and overlayfs would show the made-up
//! owner and mode instead of those below. So when the layer gets its place, they are copied from the layers below.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, fchmod, fchown, fstat, futimens, openat,
};
use rustix::io::Errno;

use super::LayerError;
use super::place::{failed, is_whiteout, open_inside, type_of};

/// Gives each of `paths` inside the layer directory `diff` the owner, mode and time it has in `lowers` (top first).
pub(super) fn directories(diff: &Path, paths: &[PathBuf], lowers: &[PathBuf]) -> Result<(), LayerError> {
    if paths.is_empty() || lowers.is_empty() {
        return Ok(());
    }
    let open = |path: &Path| {
        openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| LayerError::io("open", path, errno))
    };
    let root = open(diff)?;
    let lowers = lowers.iter().map(|lower| open(lower)).collect::<Result<Vec<_>, _>>()?;
    for path in paths {
        let path = path.as_os_str().as_bytes();
        for lower in &lowers {
            let below = match open_inside(lower.as_fd(), path, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(below) => below,
                Err(Errno::NOENT) => continue,
                Err(_) => break,
            };
            let stat = fstat(&below).map_err(|errno| failed("look at", path, errno))?;
            if is_whiteout(&stat) || type_of(&stat) != FileType::Directory {
                break;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let own = open_inside(root.as_fd(), path, flags).map_err(|errno| failed("open", path, errno))?;
            let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0) };
            let times = Timestamps { last_access: time, last_modification: time };
            fchown(&own, Some(owner), Some(group))
                .and_then(|()| fchmod(&own, Mode::from_raw_mode(stat.st_mode & 0o7777)))
                .and_then(|()| futimens(&own, &times))
                .map_err(|errno| failed("set owner and mode of", path, errno))?;
            break;
        }
    }
    Ok(())
}
