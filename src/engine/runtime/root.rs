//! The container's `/`: mounting it and changing into it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use super::step::During;
use super::{Step, StepError};
use crate::engine::layer::OverlayStack;
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
        match overlay(&stack.lowers, Some((&stack.upper, &stack.work))) {
            Err(error) if error.errno == Errno::INVAL.raw_os_error() => {} // no lowerdir+ before Linux 6.8
            other => return other.map(NewRoot::Detached),
        }
    }
    mount_stack_the_old_way(stack).map(|()| NewRoot::Mounted)
}

/// An overlay of `lowers`, topmost first, mounted nowhere; read-only without an upper and work directory.
pub(super) fn overlay(lowers: &[std::path::PathBuf], upper: Option<(&Path, &Path)>) -> Result<OwnedFd, StepError> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).during(Step::Mount, "overlay")?;
    let told = |result: Result<(), Errno>, what: &str| {
        result.map_err(|errno| StepError::new(Step::Mount, errno, with_kernels_words(&context, what)))
    };
    told(fsconfig_set_string(&context, "source", "overlay"), "overlay")?;
    for lower in lowers {
        told(fsconfig_set_string(&context, "lowerdir+", lower), &format!("overlay over {}", lower.display()))?;
    }
    if let Some((upper, work)) = upper {
        told(fsconfig_set_string(&context, "upperdir", upper), &format!("overlay into {}", upper.display()))?;
        told(fsconfig_set_string(&context, "workdir", work), &format!("overlay with {}", work.display()))?;
        // the upper directory becomes an image layer some day: it must not refer to the ones below it
        for (key, value) in LAYERS_STAND_ALONE {
            let _ = fsconfig_set_string(&context, key, value); // a kernel without the feature does without the option
        }
    }
    told(fsconfig_create(&context), "overlay")?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).during(Step::Mount, "overlay")
}

const LAYERS_STAND_ALONE: [(&str, &str); 3] = [("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow")];

/// One option string of at most a page, for kernels that cannot take the lower directories one by one.
fn mount_stack_the_old_way(stack: &OverlayStack) -> Result<(), StepError> {
    let escaped = |path: &Path| path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,");
    let lowers: Vec<String> = stack.lowers.iter().map(|lower| escaped(lower)).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,redirect_dir=nofollow",
        lowers.join(":"),
        escaped(&stack.upper),
        escaped(&stack.work)
    );
    let options = std::ffi::CString::new(options).map_err(|_| StepError::new(Step::Mount, Errno::INVAL, "overlay"))?;
    rustix::mount::mount("overlay", &stack.upper, "overlay", rustix::mount::MountFlags::empty(), options.as_c_str())
        .during(Step::Mount, "overlay")
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
