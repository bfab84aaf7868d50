//! What has to stand before another runtime is called: the container's root, mounts that only we can find, the user's
//! numbers. All of it in a mount namespace that lasts as long as the call.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountPropagationFlags;

use super::ExternalError;
use crate::engine::oci::spec::Device;
use crate::engine::oci::spec::bundle::{Found, FoundUser, has_to_be_prepared, named_block_devices};
use crate::engine::oci::{LaunchPlan, ProcessPlan};
use crate::engine::runtime::devices::{self, Node};
use crate::engine::runtime::path::{Leaf, leaf_for};
use crate::engine::runtime::step::During;
use crate::engine::runtime::user::{UserFiles, look_up};
use crate::engine::runtime::{Step, StepError, mounts, root};

/// Does `work` with everything in its place below `place`, and takes it away again.
pub(super) fn with_mounts(
    plan: &LaunchPlan,
    place: &Path,
    work: impl FnOnce(Found) -> Result<(), ExternalError>,
) -> Result<(), ExternalError> {
    let gathered = devices::gather(&plan.devices)?;
    // from the host's namespace: a tree that is to stay shared has to be a peer of the host's own mount
    let mut trees = Vec::new();
    for (number, mount) in plan.mounts.iter().enumerate().filter(|(_, mount)| has_to_be_prepared(mount)) {
        trees.extend(mounts::open_tree_of(mount, plan)?.map(|tree| (number, tree)));
    }
    let root = place.join("rootfs");
    make_directory(&root)?;
    apart(|| {
        mount_root(plan, &root)?;
        let prepared = attach(trees, &place.join("mounts"))?;
        work(Found {
            user: user(&open_directory(&root)?, &plan.process)?,
            root,
            netns: None,
            devices: gathered.nodes.iter().map(written).collect(),
            device_rules: gathered.rules,
            block_devices: block_devices(plan)?,
            prepared,
        })
    })
}

/// Does `work` in a mount namespace of its own, which sees what the host mounts but shows it nothing.
fn apart(work: impl FnOnce() -> Result<(), ExternalError>) -> Result<(), ExternalError> {
    let home = File::open("/proc/self/ns/mnt").during(Step::JoinNamespace, "own mnt")?;
    unshare(CloneFlags::CLONE_NEWNS).during(Step::Unshare, "mnt")?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    let done = rustix::mount::mount_change("/", slave)
        .during(Step::Mount, "/ as slave")
        .map_err(ExternalError::from)
        .and_then(|()| work());
    setns(home, CloneFlags::CLONE_NEWNS).during(Step::JoinNamespace, "own mnt")?;
    done
}

fn mount_root(plan: &LaunchPlan, place: &Path) -> Result<(), StepError> {
    let new = root::open(&plan.root)?;
    let tree = root::detach(new, &plan.root)?;
    mounts::attach(&tree, &open_directory(place)?).during(Step::Mount, place.display().to_string())
}

/// Attaches each tree at a place of its own.
fn attach(trees: Vec<(usize, OwnedFd)>, folder: &Path) -> Result<HashMap<usize, PathBuf>, ExternalError> {
    let mut places = HashMap::new();
    if trees.is_empty() {
        return Ok(places);
    }
    make_directory(folder)?;
    for (number, tree) in trees {
        let place = folder.join(number.to_string());
        let subject = place.display().to_string();
        match leaf_for(&tree).during(Step::Mount, &subject)? {
            Leaf::Directory => make_directory(&place)?,
            Leaf::File => drop(File::create(&place).map_err(|error| ExternalError::io("create", &place, error))?),
        }
        let target = rustix::fs::open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        mounts::attach(&tree, &target.during(Step::Mount, &subject)?).during(Step::Mount, &subject)?;
        places.insert(number, place);
    }
    Ok(places)
}

fn make_directory(path: &Path) -> Result<(), ExternalError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| ExternalError::io("create", path, error))
}

fn open_directory(path: &Path) -> Result<OwnedFd, StepError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).during(Step::ReadUsers, path.display().to_string())
}

/// The user of `plan`, in the container of process `init`.
pub(super) fn user_in(init: u32, plan: &ProcessPlan) -> Result<FoundUser, StepError> {
    user(&open_directory(Path::new(&format!("/proc/{init}/root")))?, plan)
}

fn user(root: &OwnedFd, plan: &ProcessPlan) -> Result<FoundUser, StepError> {
    let identity = look_up(&plan.user, &plan.additional_groups, &UserFiles::read(root)?)?;
    Ok(FoundUser { uid: identity.uid, gid: identity.gid, groups: identity.groups, home: identity.home })
}

fn written(node: &Node) -> Device {
    Device {
        kind: node.kind.letter().to_string(),
        path: node.path.to_string_lossy().into_owned(),
        major: node.major.into(),
        minor: node.minor.into(),
        file_mode: Some(node.mode),
        uid: Some(node.uid),
        gid: Some(node.gid),
    }
}

fn block_devices(plan: &LaunchPlan) -> Result<HashMap<String, (u32, u32)>, StepError> {
    let number = |path: &str| {
        let found = fs::metadata(path).during(Step::FindDevice, path)?.rdev();
        Ok((path.to_owned(), (rustix::fs::major(found), rustix::fs::minor(found))))
    };
    named_block_devices(&plan.cgroup.limits).map(number).collect()
}
