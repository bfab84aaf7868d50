//! Hiding paths of a container and making them read-only.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags, fstat, major, minor};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::mounts::attach;
use super::path::{Inside, Leaf, leaf_for};
use super::step::During;
use super::{Step, StepError, root};
use crate::sys::mount::{Change, mount_setattr};

/// Puts nothing where each of `paths` is: an empty read-only directory (one for all) or `/dev/null`.
pub(super) fn mask(paths: &[String], root: &OwnedFd) -> Result<(), StepError> {
    let mut nothing: Option<OwnedFd> = None;
    for path in paths {
        let target = match root.open_inside(Path::new(path), OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other.during(Step::Mask, path)?,
        };
        match (leaf_for(&target).during(Step::Mask, path)?, &nothing) {
            (Leaf::File, _) => {
                let tree = clone_mount(&null_device(root)?).during(Step::Mask, path)?;
                attach(&tree, &target).during(Step::Mask, path)?;
            }
            (Leaf::Directory, Some(nothing)) => {
                let tree = clone_mount(nothing).during(Step::Mask, path)?;
                attach(&tree, &target).during(Step::Mask, path)?;
            }
            (Leaf::Directory, None) => {
                let options = ["mode=755", "nr_blocks=1", "nr_inodes=1"];
                let tree = root::filesystem("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_RDONLY, path)?;
                attach(&tree, &target).during(Step::Mask, path)?;
                nothing = Some(tree);
            }
        }
    }
    Ok(())
}

/// The container's `/dev/null`, proven to be that device and nothing the image made up.
fn null_device(root: &OwnedFd) -> Result<OwnedFd, StepError> {
    let path = "/dev/null";
    let null = root.open_inside(Path::new(path), OFlags::PATH | OFlags::NOFOLLOW).during(Step::Mask, path)?;
    let stat = fstat(&null).during(Step::Mask, path)?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    if is_null { Ok(null) } else { Err(StepError::refused(Step::Mask, "with /dev/null: it is not the null device")) }
}

fn clone_mount(of: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(of.as_fd(), "", flags)
}

/// Mounts each of `paths` over itself, read-only with all below.
pub(super) fn make_readonly(paths: &[String], root: &OwnedFd) -> Result<(), StepError> {
    for path in paths {
        let target = match root.open_inside(Path::new(path), OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other.during(Step::MakeReadonly, path)?,
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(target.as_fd(), "", flags).during(Step::MakeReadonly, path)?;
        mount_setattr(tree.as_fd(), read_only(), true).during(Step::MakeReadonly, path)?;
        attach(&tree, &target).during(Step::MakeReadonly, path)?;
    }
    Ok(())
}

/// Makes `/` read-only; mounts on it keep their own access.
pub(super) fn make_root_readonly(root: &OwnedFd) -> Result<(), StepError> {
    mount_setattr(root.as_fd(), read_only(), false).during(Step::MakeReadonly, "/")
}

fn read_only() -> Change {
    Change { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), ..Change::default() }
}
