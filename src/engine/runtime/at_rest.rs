//! The root of a container that does not run, with its volumes and binds in place, for `docker cp`.
//!
//! Only in one piece do links lead where they lead in the container: out of a volume into the root, out of the root
//! into a volume. The pieces are put together in a mount namespace of its own, made by a thread that then ends; what
//! keeps it is a descriptor. So the host's mount table never shows it, and closing the descriptors unmounts it all.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, mount_change, open_tree};

use super::mounts::{attach, open_bind};
use super::path::{ensure, leaf_for};
use super::step::During;
use super::{Step, StepError};
use crate::engine::layer::LayerError;
use crate::engine::oci::{MountKind, MountPlan, Propagation};

/// A root with what is mounted in it.
#[derive(Debug)]
pub struct AtRest {
    /// The root directory; paths are to be resolved in it by descriptor.
    pub root: OwnedFd,
    /// The mount namespace that has it: where it goes, the mounts below `root` go.
    pub namespace: OwnedFd,
}

/// Why there is no such root.
#[derive(Debug, thiserror::Error)]
pub enum AtRestError {
    /// The root itself could not be opened.
    #[error(transparent)]
    Root(#[from] LayerError),
    /// A mount could not be made.
    #[error("{0}")]
    Step(StepError),
}

impl From<StepError> for AtRestError {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

/// Mounts what `plans` bind into the root that `open_root` opens. `place` is any directory: it is covered in the new
/// namespace. Directories that are missing for a mount are made in the root, as at a start. What is bound but no
/// longer there is left out; so are mounts that are made of nothing of the host's (tmpfs).
///
/// # Errors
/// The step that failed, or `open_root`'s refusal.
pub fn at_rest(
    open_root: impl FnOnce() -> Result<OwnedFd, LayerError> + Send,
    plans: &[MountPlan],
    place: &Path,
) -> Result<AtRest, AtRestError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("boxyard-at-rest".to_owned())
            .spawn_scoped(scope, || assemble(open_root, plans, place));
        let refused = |errno| StepError::new(Step::Clone, errno, "a thread for a mount namespace");
        let thread = thread.map_err(|error| refused(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))?;
        thread.join().unwrap_or_else(|_| Err(refused(Errno::IO).into()))
    })
}

fn assemble(
    open_root: impl FnOnce() -> Result<OwnedFd, LayerError>,
    plans: &[MountPlan],
    place: &Path,
) -> Result<AtRest, AtRestError> {
    unshare(CloneFlags::CLONE_NEWNS).during(Step::JoinNamespace, "mount")?;
    // nothing made here may reach the host; what the host unmounts must not be kept here
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .during(Step::Mount, "/ as slave")?;
    let mut trees = Vec::new();
    for plan in plans {
        if let Some(tree) = tree_of(plan)? {
            trees.push((plan, tree));
        }
    }
    let root = attached(open_root()?, place)?;
    for (plan, tree) in trees {
        let subject = plan.target.display().to_string();
        super::mounts::restrict(&tree, plan, &subject)?;
        let leaf = leaf_for(&tree).during(Step::Mount, &subject)?;
        let target = ensure(&root, &plan.target, leaf)?;
        attach(&tree, &target).during(Step::Mount, &subject)?;
    }
    let namespace = File::open("/proc/thread-self/ns/mnt").during(Step::JoinNamespace, "mount")?;
    Ok(AtRest { root, namespace: namespace.into() })
}

fn tree_of(plan: &MountPlan) -> Result<Option<OwnedFd>, StepError> {
    let tree = match &plan.kind {
        MountKind::Bind { source, subpath, recursive, .. } => {
            open_bind(source, subpath.as_deref(), *recursive, Propagation::Private)
        }
        MountKind::Layers { lowers, scratch, .. } => super::mounts::open_layers(lowers, scratch.as_ref()),
        _ => return Ok(None),
    };
    match tree {
        Err(error) if error.errno == Errno::NOENT.raw_os_error() => Ok(None),
        other => other.map(Some),
    }
}

/// Puts `root` over `place`, so that something can be mounted in it: before Linux 6.15 nothing could be in a tree
/// that is mounted nowhere.
fn attached(root: OwnedFd, place: &Path) -> Result<OwnedFd, StepError> {
    let subject = place.display().to_string();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = rustix::fs::open(place, flags, Mode::empty()).during(Step::Mount, &subject)?;
    match attach(&root, &target) {
        Ok(()) => Ok(root),
        // the root of an image without layers is no mount but a plain directory
        Err(Errno::INVAL) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let path = format!("/proc/thread-self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root));
            let path = std::fs::read_link(path).during(Step::Mount, &subject)?;
            let tree = open_tree(CWD, &path, flags).during(Step::Mount, &subject)?;
            attach(&tree, &target).during(Step::Mount, &subject)?;
            Ok(tree)
        }
        Err(errno) => Err(StepError::new(Step::Mount, errno, subject)),
    }
}
