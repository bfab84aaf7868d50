//! Stacks of directories that overlayfs shows as one root.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change, open_tree,
};
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
    /// Whether what is written means nothing after a power loss. The kernel then syncs the disk neither when it unmounts
    /// this, which it otherwise does for all of the disk, nor when a program asks. The two directories can be mounted
    /// so only once (overlayfs.rst, "Volatile mount").
    #[serde(default)]
    pub is_volatile: bool,
}

/// The mount option of [`OverlayStack::is_volatile`]; kernels before 5.10 lack it.
pub const VOLATILE: &str = "volatile";

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
        [] if has_upper => return folder(&stack.upper).map_err(told(top)),
        [only] if !has_upper => return folder(only).map_err(told(top)),
        _ => {}
    }
    match one_by_one(stack) {
        // no `lowerdir+` before Linux 6.8, which says so as late as at the mount itself before 6.5
        Err(Errno::INVAL) => all_in_one_text(stack, top),
        other => other,
    }
    .map_err(told(top))
}

/// An upper directory must be able to stand alone as a layer, so nothing in it may refer to the ones below.
const LAYERS_STAND_ALONE: [(&str, &str); 3] = [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// Mounts it with an option for each layer.
fn one_by_one(stack: &OverlayStack) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Named through descriptors: neither the length of a path nor a `:` or `,` in it can matter.
    let mut folders = Vec::new();
    let mut set = |key: &str, path: &Path| {
        let folder = folder(path)?;
        fsconfig_set_string(context.as_fd(), key, proc_fd(folder.as_fd()).as_slice())?;
        folders.push(folder);
        Ok::<(), Errno>(())
    };
    stack.lowers.iter().try_for_each(|lower| set("lowerdir+", lower))?;
    if !stack.upper.as_os_str().is_empty() {
        set("upperdir", &stack.upper)?;
        set("workdir", &stack.work)?;
    }
    for (key, value) in LAYERS_STAND_ALONE {
        fsconfig_set_string(context.as_fd(), key, value)?;
    }
    if stack.is_volatile && !stack.upper.as_os_str().is_empty() {
        // A kernel without it syncs.
        let _ = fsconfig_set_flag(context.as_fd(), VOLATILE);
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Mounts it by mount(2), whose options are one text of a page at most, and takes it off again: in a mount namespace that
/// lasts as long as the thread, so that nobody sees it.
fn all_in_one_text(stack: &OverlayStack, top: &Path) -> Result<OwnedFd, Errno> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("boxyard-overlay".to_owned()).spawn_scoped(scope, || {
            unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
            mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
            // opened in here: layers must be of the namespace that they are mounted in
            let lowers: Vec<OwnedFd> = stack.lowers.iter().map(|lower| folder(lower)).collect::<Result<_, _>>()?;
            let name = |folder: &OwnedFd| String::from_utf8_lossy(&proc_fd(folder.as_fd())).into_owned();
            let mut options = vec![format!("lowerdir={}", lowers.iter().map(name).collect::<Vec<_>>().join(":"))];
            let mut own = Vec::new();
            if !stack.upper.as_os_str().is_empty() {
                for (key, path) in [("upperdir", &stack.upper), ("workdir", &stack.work)] {
                    let folder = folder(path)?;
                    options.push(format!("{key}={}", name(&folder)));
                    own.push(folder);
                }
            }
            options.extend(LAYERS_STAND_ALONE.map(|(key, value)| format!("{key}={value}")));
            let options = CString::new(options.join(",")).map_err(|_| Errno::INVAL)?;
            mount("overlay", top, "overlay", MountFlags::empty(), options.as_c_str())?;
            open_tree(CWD, top, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        });
        let thread = thread.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        thread.join().unwrap_or(Err(Errno::IO))
    })
}

fn folder(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
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
        let stack = OverlayStack {
            lowers: vec![dir("high:er"), dir("low,er")],
            upper: dir("upper"),
            work: dir("work"),
            is_volatile: true,
        };
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
    fn an_older_kernel_gets_the_same_in_one_text() {
        let folder = tempfile::tempdir().unwrap();
        let dir = |name: String| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        // by their names, so many would not fit in a page
        let lowers: Vec<PathBuf> = (0..100).map(|number| dir(format!("low,er:{number:0>90}"))).collect();
        for (number, lower) in lowers.iter().enumerate() {
            fs::write(lower.join("all"), number.to_string()).unwrap();
            fs::write(lower.join(number.to_string()), "").unwrap();
        }
        let stack =
            OverlayStack { lowers, upper: dir("upper".to_owned()), work: dir("work".to_owned()), is_volatile: false };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        let root = all_in_one_text(&stack, &stack.upper).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root)));
        assert_eq!(fs::read_to_string(path.join("all")).unwrap(), "0");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 101);
        fs::write(path.join("new"), "new").unwrap();
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), mounts);
        drop(root);
        assert_eq!(fs::read_to_string(stack.upper.join("new")).unwrap(), "new");

        let read_only = OverlayStack { upper: PathBuf::new(), work: PathBuf::new(), ..stack };
        let root = all_in_one_text(&read_only, &read_only.lowers[0]).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root)));
        assert_eq!(fs::read_to_string(path.join("all")).unwrap(), "0");
        assert!(fs::write(path.join("all"), "y").is_err());
    }

    #[test]
    fn a_stack_without_upper_can_only_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let lowers: Vec<PathBuf> = ["a", "b"].iter().map(|name| folder.path().join(name)).collect();
        for lower in &lowers {
            fs::create_dir(lower).unwrap();
        }
        fs::write(lowers[1].join("file"), "x").unwrap();
        let stack = OverlayStack { lowers, upper: PathBuf::new(), work: PathBuf::new(), is_volatile: false };
        let root = detached_root(&stack).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}/file", std::os::fd::AsRawFd::as_raw_fd(&root)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
        assert!(fs::write(&path, "y").is_err());
    }
}
