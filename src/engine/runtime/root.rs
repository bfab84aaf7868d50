//! The container's `/`: mounting it and changing into it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use super::step::During;
use super::{Step, StepError};
use crate::engine::layer::{OverlayStack, VOLATILE};
use crate::engine::oci::RootPlan;

/// The longest string `fsconfig(2)` takes (fs/fsopen.c), its NUL included.
const LONGEST_OPTION: usize = 256;

/// A new root, mounted nowhere yet, or already at the place given by [`mounted_at`].
pub(super) enum NewRoot {
    Detached(OwnedFd),
    /// Too long for the new mount calls: mounted with the old one.
    Mounted,
}

/// Mounts the root without making it visible.
pub(super) fn open(plan: &RootPlan) -> Result<NewRoot, StepError> {
    match plan {
        // a stack of nothing but what the container writes is that directory itself
        RootPlan::Overlay(stack) if stack.lowers.is_empty() => clone_tree(&stack.upper).map(NewRoot::Detached),
        RootPlan::Overlay(stack) => mount_stack(stack),
        RootPlan::Directory(path) => clone_tree(path).map(NewRoot::Detached),
    }
}

/// Some directory of the host to hang the root from, for as long as it takes to change into it.
fn mounted_at(plan: &RootPlan) -> &Path {
    match plan {
        RootPlan::Overlay(stack) => &stack.upper,
        RootPlan::Directory(path) => path,
    }
}

/// The root as a descriptor alone, wherever it is mounted.
pub(super) fn detach(new: NewRoot, plan: &RootPlan) -> Result<OwnedFd, StepError> {
    match new {
        NewRoot::Detached(mount) => Ok(mount),
        NewRoot::Mounted => clone_tree(mounted_at(plan)),
    }
}

/// Changes into the root. The host's mounts are gone afterwards; what is returned is `/`.
pub(super) fn enter(new: NewRoot, plan: &RootPlan) -> Result<OwnedFd, StepError> {
    enter_at(new, mounted_at(plan))
}

/// The same, by way of the host's directory `place`, which the caller must be able to reach.
pub(super) fn enter_at(new: NewRoot, place: &Path) -> Result<OwnedFd, StepError> {
    let subject = place.display().to_string();
    let directory = match new {
        NewRoot::Detached(mount) => {
            move_mount(mount.as_fd(), "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .during(Step::PivotRoot, &subject)?;
            mount
        }
        NewRoot::Mounted => rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .during(Step::PivotRoot, &subject)?,
    };
    rustix::process::fchdir(directory.as_fd()).during(Step::PivotRoot, &subject)?;
    // both being ".", the old root ends up on top of the new one, and unmounting "." takes it away
    rustix::process::pivot_root(".", ".").during(Step::PivotRoot, &subject)?;
    unmount(".", UnmountFlags::DETACH).during(Step::PivotRoot, "unmount the host's root")?;
    rustix::process::chdir("/").during(Step::PivotRoot, "/")?;
    Ok(directory)
}

fn clone_tree(path: &Path) -> Result<OwnedFd, StepError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, path, flags).during(Step::Mount, path.display().to_string())?;
    let private = crate::sys::mount::Change { propagation: MS_PRIVATE, ..Default::default() };
    crate::sys::mount::mount_setattr(tree.as_fd(), private, true).during(Step::Mount, path.display().to_string())?;
    Ok(tree)
}

/// `MS_PRIVATE` (include/uapi/linux/mount.h).
const MS_PRIVATE: u64 = 1 << 18;

fn mount_stack(stack: &OverlayStack) -> Result<NewRoot, StepError> {
    let paths = stack.lowers.iter().chain([&stack.upper, &stack.work]);
    let fits = paths.into_iter().all(|path| path.as_os_str().len() < LONGEST_OPTION);
    if fits {
        match one_by_one(&stack.lowers, Some(stack)) {
            Err(error) if error.errno == Errno::INVAL.raw_os_error() => {} // no lowerdir+ before Linux 6.8
            other => return other.map(NewRoot::Detached),
        }
    }
    mount_stack_the_old_way(stack).map(|()| NewRoot::Mounted)
}

/// A read-only overlay of `lowers`, topmost first, mounted nowhere. What calls this has its working directory to itself.
pub(super) fn overlay(lowers: &[std::path::PathBuf]) -> Result<OwnedFd, StepError> {
    match one_by_one(lowers, None) {
        Err(error) if error.errno == Errno::INVAL.raw_os_error() => {} // no lowerdir+ before Linux 6.8
        other => return other,
    }
    let folders: Vec<&Path> = lowers.iter().map(std::path::PathBuf::as_path).collect();
    by_number(&folders, |numbers| {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).during(Step::Mount, "overlay")?;
        let subject = || format!("overlay of {} layers", numbers.len());
        fsconfig_set_string(&context, "lowerdir", numbers.join(":")).during(Step::Mount, subject())?;
        fsconfig_create(&context).during(Step::Mount, subject())?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).during(Step::Mount, subject())
    })
}

fn one_by_one(lowers: &[std::path::PathBuf], written: Option<&OverlayStack>) -> Result<OwnedFd, StepError> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).during(Step::Mount, "overlay")?;
    let told = |result: Result<(), Errno>, what: &str| {
        result.map_err(|errno| StepError::new(Step::Mount, errno, with_kernels_words(&context, what)))
    };
    told(fsconfig_set_string(&context, "source", "overlay"), "overlay")?;
    for lower in lowers {
        told(fsconfig_set_string(&context, "lowerdir+", lower), &format!("overlay over {}", lower.display()))?;
    }
    if let Some(OverlayStack { upper, work, is_volatile, .. }) = written {
        told(fsconfig_set_string(&context, "upperdir", upper), &format!("overlay into {}", upper.display()))?;
        told(fsconfig_set_string(&context, "workdir", work), &format!("overlay with {}", work.display()))?;
        // the upper directory becomes an image layer some day: it must not refer to the ones below it
        for (key, value) in LAYERS_STAND_ALONE {
            let _ = fsconfig_set_string(&context, key, value); // a kernel without the feature does without the option
        }
        if *is_volatile {
            let _ = fsconfig_set_flag(&context, VOLATILE);
        }
    }
    told(fsconfig_create(&context), "overlay")?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).during(Step::Mount, "overlay")
}

const LAYERS_STAND_ALONE: [(&str, &str); 3] = [("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow")];

/// One option string of at most a page, for kernels that cannot take the lower directories one by one.
fn mount_stack_the_old_way(stack: &OverlayStack) -> Result<(), StepError> {
    let lowers = stack.lowers.iter().map(std::path::PathBuf::as_path);
    let folders: Vec<&Path> = lowers.chain([stack.upper.as_path(), stack.work.as_path()]).collect();
    by_number(&folders, |numbers| {
        let [lowers @ .., upper, work] = numbers else {
            return Err(StepError::new(Step::Mount, Errno::INVAL, "overlay"));
        };
        let alone = LAYERS_STAND_ALONE.map(|(key, value)| format!("{key}={value}")).join(",");
        let options = format!("lowerdir={},upperdir={upper},workdir={work},{alone}", lowers.join(":"));
        let options =
            std::ffi::CString::new(options).map_err(|_| StepError::new(Step::Mount, Errno::INVAL, "overlay"))?;
        rustix::mount::mount("overlay", &stack.upper, "overlay", rustix::mount::MountFlags::empty(), options.as_c_str())
            .during(Step::Mount, format!("overlay of {} layers", lowers.len()))
    })
}

/// Has `mount` name the folders by the numbers of their descriptors, as it works in `/proc/self/fd`: the shortest names
/// there are, and none with a `:` or `,` in it.
fn by_number<T>(folders: &[&Path], mount: impl FnOnce(&[String]) -> Result<T, StepError>) -> Result<T, StepError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open =
        |path: &Path| rustix::fs::open(path, flags, Mode::empty()).during(Step::OpenSource, path.display().to_string());
    let opened: Vec<OwnedFd> = folders.iter().map(|folder| open(folder)).collect::<Result<_, _>>()?;
    let numbers: Vec<String> = opened.iter().map(|folder| folder.as_raw_fd().to_string()).collect();
    let before = open(Path::new("."))?;
    rustix::process::chdir("/proc/self/fd").during(Step::Mount, "overlay")?;
    let mounted = mount(&numbers);
    rustix::process::fchdir(&before).during(Step::Mount, "overlay")?;
    mounted
}

/// A file system of `kind`, mounted nowhere. An option is `key=value`, or a key alone.
pub(super) fn filesystem(
    kind: &str,
    options: &[impl AsRef<str>],
    attributes: MountAttrFlags,
    subject: &str,
) -> Result<OwnedFd, StepError> {
    filesystem_of(kind, kind, options, attributes, subject)
}

/// The same, mounted from `source`.
pub(super) fn filesystem_of(
    kind: &str,
    source: &str,
    options: &[impl AsRef<str>],
    attributes: MountAttrFlags,
    subject: &str,
) -> Result<OwnedFd, StepError> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).during(Step::Mount, subject)?;
    fsconfig_set_string(&context, "source", source).during(Step::Mount, subject)?;
    for option in options.iter().map(AsRef::as_ref) {
        let set = match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value),
            None => fsconfig_set_flag(&context, option),
        };
        set.during(Step::Mount, format!("{subject} with {option}"))?;
    }
    fsconfig_create(&context)
        .map_err(|errno| StepError::new(Step::Mount, errno, with_kernels_words(&context, subject)))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).during(Step::Mount, subject)
}

/// `what`, and what the kernel noted in the mount context, if anything ("e overlay: ...").
fn with_kernels_words(context: &OwnedFd, what: &str) -> String {
    let mut buffer = [0; 512];
    let length = rustix::io::read(context, &mut buffer).unwrap_or(0);
    let words = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).trim().to_owned();
    match words.strip_prefix("e ") {
        Some(words) => format!("{what} ({words})"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use nix::sched::{CloneFlags, unshare};
    use rustix::mount::{MountPropagationFlags, mount_change};

    use super::*;

    #[test]
    fn an_older_kernel_gets_more_layers_than_their_names_would_leave_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let dir = |name: String| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let lowers: Vec<PathBuf> = (0..100).map(|number| dir(format!("low,er:{number:0>90}"))).collect();
        lowers.iter().enumerate().for_each(|(number, lower)| fs::write(lower.join(number.to_string()), "").unwrap());
        let stack =
            OverlayStack { lowers, upper: dir("upper".to_owned()), work: dir("work".to_owned()), is_volatile: false };
        // a thread with a mount namespace, and so a working directory, of its own
        std::thread::scope(|scope| {
            scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
                mount_stack_the_old_way(&stack).unwrap();
                assert_eq!(fs::read_dir(&stack.upper).unwrap().count(), 100);
                fs::write(stack.upper.join("new"), "new").unwrap();
                let layers = by_number(&[&stack.lowers[0], &stack.lowers[1]], |numbers| {
                    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).during(Step::Mount, "")?;
                    fsconfig_set_string(&context, "lowerdir", numbers.join(":")).during(Step::Mount, "")?;
                    fsconfig_create(&context).during(Step::Mount, "")
                });
                assert!(layers.is_ok(), "{layers:?}");
            });
        });
        assert_eq!(fs::read_to_string(stack.upper.join("new")).unwrap(), "new");
    }
}
