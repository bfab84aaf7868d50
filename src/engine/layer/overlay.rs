//! Stacks of directories that overlayfs shows as one root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use serde::{Deserialize, Serialize};

use super::place::proc_fd;

use super::LayerError;

/// The directories of one container's root. The mount itself is made where it is needed, never in the engine's own
/// mount table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayStack {
    /// The image's layers, top first; empty for an image without layers.
    pub lowers: Vec<PathBuf>,
    /// What the container has written.
    pub upper: PathBuf,
    /// Overlayfs's own work directory, on the same file system as `upper`.
    pub work: PathBuf,
}

/// The stack as one directory, mounted nowhere: the descriptor is the only way in, and closing it unmounts.
///
/// A stack without `upper` (an empty path) is read-only.
///
/// # Errors
/// [`LayerError::Io`] where the kernel refuses.
pub fn detached_root(stack: &OverlayStack) -> Result<OwnedFd, LayerError> {
    let told = |subject: &Path| {
        let subject = subject.to_owned();
        move |errno: Errno| LayerError::io("mount overlay of", subject, errno)
    };
    let has_upper = !stack.upper.as_os_str().is_empty();
    let top =
        if has_upper { stack.upper.as_path() } else { stack.lowers.first().map_or(Path::new(""), PathBuf::as_path) };
    match stack.lowers.as_slice() {
        [] if has_upper => return place(&stack.upper),
        [only] if !has_upper => return place(only),
        _ => {}
    }
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(told(top))?;
    // Named through descriptors: neither the length of a path nor a `:` or `,` in it can matter.
    let lowers: Vec<OwnedFd> = stack.lowers.iter().map(|lower| place(lower)).collect::<Result<_, _>>()?;
    let mut kept = Vec::new();
    set_lowers(&context, &lowers).map_err(told(top))?;
    if has_upper {
        for (key, path) in [("upperdir", &stack.upper), ("workdir", &stack.work)] {
            let fd = place(path)?;
            fsconfig_set_string(context.as_fd(), key, proc_fd(fd.as_fd()).as_slice()).map_err(told(path))?;
            kept.push(fd);
        }
    }
    // An upper directory must be able to stand alone as a layer, so nothing in it may refer to the ones below.
    for (key, value) in [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")] {
        fsconfig_set_string(context.as_fd(), key, value).map_err(told(top))?;
    }
    fsconfig_create(context.as_fd()).map_err(told(top))?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(told(top))
}

/// One `lowerdir+` per layer (Linux 6.8 and later), else all in one `lowerdir`.
fn set_lowers(context: &OwnedFd, lowers: &[OwnedFd]) -> Result<(), Errno> {
    for (at, lower) in lowers.iter().enumerate() {
        match fsconfig_set_string(context.as_fd(), "lowerdir+", proc_fd(lower.as_fd()).as_slice()) {
            Err(Errno::INVAL) if at == 0 => {
                let names: Vec<Vec<u8>> = lowers.iter().map(|lower| proc_fd(lower.as_fd())).collect();
                return fsconfig_set_string(context.as_fd(), "lowerdir", names.join(&b':').as_slice());
            }
            other => other?,
        }
    }
    Ok(())
}

fn place(path: &Path) -> Result<OwnedFd, LayerError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(|errno| LayerError::io("open", path, errno))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_detached_stack_is_written_without_being_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let dir = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let stack =
            OverlayStack { lowers: vec![dir("high:er"), dir("low,er")], upper: dir("upper"), work: dir("work") };
        fs::write(stack.lowers[0].join("both"), "high").unwrap();
        fs::write(stack.lowers[1].join("both"), "low").unwrap();
        fs::write(stack.lowers[1].join("below"), "low").unwrap();

        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        let root = detached_root(&stack).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root)));
        assert_eq!(fs::read_to_string(path.join("both")).unwrap(), "high");
        fs::write(path.join("below"), "new").unwrap();
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), mounts);
        drop(root);

        assert_eq!(fs::read_to_string(stack.upper.join("below")).unwrap(), "new");
        assert_eq!(fs::read_to_string(stack.lowers[1].join("below")).unwrap(), "low");
    }

    #[test]
    fn a_stack_without_upper_can_only_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let lowers: Vec<PathBuf> = ["a", "b"].iter().map(|name| folder.path().join(name)).collect();
        for lower in &lowers {
            fs::create_dir(lower).unwrap();
        }
        fs::write(lowers[1].join("file"), "x").unwrap();
        let stack = OverlayStack { lowers, upper: PathBuf::new(), work: PathBuf::new() };
        let root = detached_root(&stack).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}/file", std::os::fd::AsRawFd::as_raw_fd(&root)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
        assert!(fs::write(&path, "y").is_err());
    }
}
