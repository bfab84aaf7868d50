//! The mounts of a container, in two halves: sources are opened while the host is in sight, and attached once `/` is
//! the container's. What is attached is held by descriptor throughout, so no path of the host is walked twice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use rustix::fs::{CWD, OFlags};
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::cgroup::{CgroupLayout, Hierarchy};
use super::path::{Inside, Leaf, ensure, leaf_for};
use super::remap;
use super::step::During;
use super::{Step, StepError, ground, root};
use crate::engine::layer::{OverlayStack, detached_root};
use crate::engine::oci::{Access, LaunchPlan, MountFlags, MountKind, MountPlan, Propagation, Scratch, Sharing};
use crate::engine::volume::copy::copy_up;
use crate::sys::mount::{Change, mount_setattr};

// include/uapi/linux/mount.h
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;

/// What was opened for one mount while the host was in sight.
enum Source {
    /// Nothing: it is made of nothing of the host's.
    None,
    /// A detached tree.
    Tree(OwnedFd),
    /// The container's group in each hierarchy, by the name of its directory.
    Cgroups(Vec<(String, OwnedFd)>),
    /// What a file held.
    Content(Vec<u8>),
}

/// The opened sources of a plan's mounts, in their order.
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Opens them; the host's mounts must be in sight and not yet cut off from the host's (for shared propagation).
    pub(super) fn open(plan: &LaunchPlan) -> Result<Self, StepError> {
        plan.mounts.iter().map(|mount| open_source(mount, plan)).collect::<Result<_, _>>().map(Sources)
    }

    /// The same for a container with a user namespace: what is its own shows its ids. Layers come with
    /// [`Sources::add`], once mounts made here no longer reach the host.
    pub(super) fn open_shifted(plan: &LaunchPlan, user_namespace: BorrowedFd<'_>) -> Result<Self, StepError> {
        let open = |mount: &MountPlan| {
            if matches!(mount.kind, MountKind::Layers { .. }) {
                return Ok(Source::None);
            }
            let source = open_source(mount, plan)?;
            if let (Source::Tree(tree), true) = (&source, mount.flags.shifted) {
                remap::map_owners(tree, user_namespace, &mount.target)?;
            }
            Ok(source)
        };
        plan.mounts.iter().map(open).collect::<Result<_, _>>().map(Sources)
    }

    /// Adds what `make` has for those mounts that have no source yet; `None` leaves them to [`make`].
    pub(super) fn add(
        &mut self,
        plan: &LaunchPlan,
        make: impl Fn(&MountPlan) -> Result<Option<OwnedFd>, StepError>,
    ) -> Result<(), StepError> {
        for (mount, source) in plan.mounts.iter().zip(&mut self.0) {
            if let (Source::None, Some(tree)) = (&source, make(mount)?) {
                *source = Source::Tree(tree);
            }
        }
        Ok(())
    }
}

/// What a mount shows, as a detached tree, if it has a source on the host.
pub(super) fn open_tree_of(mount: &MountPlan, plan: &LaunchPlan) -> Result<Option<OwnedFd>, StepError> {
    match open_source(mount, plan)? {
        Source::Tree(tree) => Ok(Some(tree)),
        Source::None | Source::Cgroups(_) | Source::Content(_) => Ok(None),
    }
}

fn open_source(mount: &MountPlan, plan: &LaunchPlan) -> Result<Source, StepError> {
    match &mount.kind {
        MountKind::Bind { source, subpath, recursive, propagation } => {
            open_bind(source, subpath.as_deref(), *recursive, *propagation).map(Source::Tree)
        }
        MountKind::OfProcess { pid, path } => open_in_process(*pid, path).map(Source::Tree),
        MountKind::Layers { lowers, scratch, .. } => open_layers(lowers, scratch.as_ref()).map(Source::Tree),
        MountKind::Content { source, .. } => {
            std::fs::read(source).map(Source::Content).during(Step::OpenSource, "what a mount holds")
        }
        MountKind::Cgroup if plan.namespaces.cgroup == Sharing::Host => open_cgroups(plan).map(Source::Cgroups),
        _ => Ok(Source::None),
    }
}

/// Layers as one tree, mounted nowhere.
pub(super) fn open_layers(lowers: &[PathBuf], scratch: Option<&Scratch>) -> Result<OwnedFd, StepError> {
    match (lowers, scratch) {
        ([only], None) => open_bind(only, None, false, Propagation::Private),
        ([], None) => root::filesystem("tmpfs", &["size=4k"], MountAttrFlags::empty(), "no layers"),
        ([], Some(scratch)) => open_bind(&scratch.upper, None, false, Propagation::Private),
        (lowers, None) => root::overlay(lowers),
        (lowers, Some(scratch)) => {
            let (upper, work) = (scratch.upper.clone(), scratch.work.clone());
            let stack = OverlayStack { lowers: lowers.to_vec(), upper, work, is_volatile: true };
            detached_root(&stack).map_err(|error| StepError::refused(Step::Mount, error.to_string()))
        }
    }
}

pub(super) fn open_bind(
    source: &Path,
    subpath: Option<&Path>,
    recursive: bool,
    propagation: Propagation,
) -> Result<OwnedFd, StepError> {
    let subject = source.display().to_string();
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let tree = match subpath {
        None => open_tree(CWD, source, flags).during(Step::OpenSource, &subject)?,
        Some(subpath) => {
            let volume = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())
                .during(Step::OpenSource, &subject)?;
            let subject = format!("{subject}/{}", subpath.display());
            let inner = volume.open_inside(subpath, OFlags::PATH).during(Step::OpenSource, &subject)?;
            open_tree(inner.as_fd(), "", flags | OpenTreeFlags::AT_EMPTY_PATH).during(Step::OpenSource, &subject)?
        }
    };
    let (kind, all) = match propagation {
        Propagation::RecursivePrivate => (MS_PRIVATE, true),
        Propagation::Private => (MS_PRIVATE, false),
        Propagation::RecursiveSlave => (MS_SLAVE, true),
        Propagation::Slave => (MS_SLAVE, false),
        Propagation::RecursiveShared => (MS_SHARED, true),
        Propagation::Shared => (MS_SHARED, false),
    };
    let change = Change { propagation: kind, ..Change::default() };
    mount_setattr(tree.as_fd(), change, all && recursive).during(Step::OpenSource, &subject)?;
    Ok(tree)
}

/// A tree of another container: cloned inside its mount namespace, for only there it may be.
fn open_in_process(pid: u32, path: &Path) -> Result<OwnedFd, StepError> {
    let subject = format!("{} of process {pid}", path.display());
    let open = |path: String| std::fs::File::open(path).during(Step::JoinNamespace, &subject);
    let own = open("/proc/self/ns/mnt".to_owned())?;
    let theirs = open(format!("/proc/{pid}/ns/mnt"))?;
    setns(theirs, CloneFlags::CLONE_NEWNS).during(Step::JoinNamespace, &subject)?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    let tree = root.and_then(|root| root.open_inside(path, OFlags::PATH)).and_then(|inner| {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        open_tree(inner.as_fd(), "", flags)
    });
    setns(own, CloneFlags::CLONE_NEWNS).during(Step::JoinNamespace, &subject)?;
    tree.during(Step::OpenSource, &subject)
}

/// With the host's cgroup namespace, a container sees its own groups of version 1, and the whole tree of version 2.
fn open_cgroups(plan: &LaunchPlan) -> Result<Vec<(String, OwnedFd)>, StepError> {
    let layout = &plan.cgroup.layout;
    let v1 = layout.v1.iter().map(|one| (directory_name(one), one.mount.join(&plan.cgroup.path)));
    let v2 = layout.v2.iter().map(|root| (String::new(), root.clone()));
    let opened = v1.chain(v2).map(|(name, path)| {
        let tree = open_bind(&path, None, false, Propagation::Private)?;
        Ok((if name.is_empty() { unified_name(layout).to_owned() } else { name }, tree))
    });
    opened.collect()
}

/// Where the version 2 tree goes below `/sys/fs/cgroup`: all of it, or beside the version 1 hierarchies.
fn unified_name(layout: &CgroupLayout) -> &'static str {
    if layout.v1.is_empty() { "" } else { "unified" }
}

fn directory_name(hierarchy: &Hierarchy) -> String {
    hierarchy.mount.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Makes the plan's mounts, in the cgroup namespace that they are to show.
pub(super) fn make(plan: &LaunchPlan, sources: Sources, root: &OwnedFd) -> Result<(), StepError> {
    plan.mounts.iter().zip(sources.0).try_for_each(|(mount, source)| make_one(plan, mount, source, root))
}

fn make_one(plan: &LaunchPlan, mount: &MountPlan, source: Source, root: &OwnedFd) -> Result<(), StepError> {
    let subject = mount.target.display().to_string();
    let attributes = attributes(mount.flags);
    let new = |kind: &str, options: &[&str]| root::filesystem(kind, options, attributes, &subject);
    let tree = match (&mount.kind, source) {
        (MountKind::Cgroup, source) => return mount_cgroups(plan, mount, source, root),
        (MountKind::Layers { subpath: Some(subpath), .. }, Source::Tree(tree)) => {
            let tree = part_of(&tree, subpath, root, &subject)?;
            restrict(&tree, mount, &subject)?;
            tree
        }
        (MountKind::Content { mode, uid, gid, .. }, Source::Content(content)) => {
            let memory = memory_with(&content, *mode, *uid, *gid, &subject)?;
            let tree = part_of(&memory, Path::new(CONTENT), root, &subject)?;
            restrict(&tree, mount, &subject)?;
            tree
        }
        (_, Source::Tree(tree)) => {
            restrict(&tree, mount, &subject)?;
            tree
        }
        (MountKind::Tmpfs { options }, _) if mount.flags.copy_up => {
            let writable = attributes.difference(MountAttrFlags::MOUNT_ATTR_RDONLY);
            let tree = root::filesystem("tmpfs", options, writable, &subject)?;
            copy_up(root.as_fd(), &subject, tree.as_fd()).during(Step::Mount, &subject)?;
            restrict(&tree, mount, &subject)?;
            tree
        }
        (MountKind::Tmpfs { options }, _) => root::filesystem("tmpfs", options, attributes, &subject)?,
        (MountKind::Filesystem { kind, source, options }, _) => {
            root::filesystem_of(kind, source, options, attributes, &subject)?
        }
        (MountKind::Proc, _) => new("proc", &[])?,
        (MountKind::Sysfs, _) => new("sysfs", &[])?,
        (MountKind::Devpts, _) => new("devpts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])?,
        (MountKind::Mqueue, _) => new("mqueue", &[])?,
        (_, Source::None | Source::Cgroups(_) | Source::Content(_)) => {
            return Err(StepError::refused(Step::Mount, subject));
        }
    };
    let leaf = leaf_for(&tree).during(Step::Mount, &subject)?;
    if is_kernels(mount) {
        let target = ground::plain_directory(root, &mount.target)?;
        return attach(&tree, &target).during(Step::Mount, &subject);
    }
    let target = ensure(root, &mount.target, leaf)?;
    ground::refuse_hidden_proc(root, &mount.target, &target)?;
    attach(&tree, &target).during(Step::Mount, &subject)
}

/// The one file of [`memory_with`].
const CONTENT: &str = "content";

/// A file system of memory with one file, which holds `content`.
fn memory_with(content: &[u8], mode: u32, uid: u32, gid: u32, subject: &str) -> Result<OwnedFd, StepError> {
    let memory = root::filesystem("tmpfs", &["mode=0700", "size=1m", "nr_inodes=8"], MountAttrFlags::empty(), subject)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&memory, CONTENT, flags, rustix::fs::Mode::from_raw_mode(0o600));
    let file = std::fs::File::from(file.during(Step::Mount, subject)?);
    std::io::Write::write_all(&mut &file, content).during(Step::Mount, subject)?;
    let owner = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::fchown(&file, Some(owner.0), Some(owner.1)).during(Step::Mount, subject)?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode)).during(Step::Mount, subject)?;
    Ok(memory)
}

/// What is at `path` inside of `tree`, which is mounted nowhere, as a tree of its own. Before Linux 6.15 a part could only
/// be taken of what is mounted: for that moment it hangs over `/`.
fn part_of(tree: &OwnedFd, path: &Path, root: &OwnedFd, subject: &str) -> Result<OwnedFd, StepError> {
    let take = || {
        let inner = tree.open_inside(path, OFlags::PATH)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        open_tree(inner.as_fd(), "", flags)
    };
    match take() {
        Err(rustix::io::Errno::INVAL) => {}
        other => return other.during(Step::OpenSource, subject),
    }
    attach(tree, root).during(Step::Mount, subject)?;
    let part = take();
    rustix::process::fchdir(tree).during(Step::Mount, subject)?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).during(Step::Mount, subject)?;
    rustix::process::chdir("/").during(Step::Mount, subject)?;
    part.during(Step::OpenSource, subject)
}

/// Whether what is mounted must stand where its name says, as later steps find it by that name.
fn is_kernels(mount: &MountPlan) -> bool {
    let is_own_dev = matches!(mount.kind, MountKind::Tmpfs { .. }) && mount.target == Path::new("/dev");
    is_own_dev || matches!(mount.kind, MountKind::Proc | MountKind::Sysfs)
}

/// Gives a bound tree the mount's flags.
pub(super) fn restrict(tree: &OwnedFd, mount: &MountPlan, subject: &str) -> Result<(), StepError> {
    let is_read_only_below = mount.flags.access == Access::ReadOnly;
    let set = u64::from(attributes(mount.flags).bits());
    if set == 0 {
        return Ok(());
    }
    if is_read_only_below {
        let change = Change { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), ..Change::default() };
        mount_setattr(tree.as_fd(), change, true).during(Step::Mount, subject)?;
    }
    // an access time rule takes the place of another, so the old one must be named for clearing
    let clear = if mount.flags.noatime || mount.flags.strictatime {
        u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits())
    } else {
        0
    };
    mount_setattr(tree.as_fd(), Change { set, clear, propagation: 0 }, false).during(Step::Mount, subject)
}

pub(super) fn attributes(flags: MountFlags) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::empty();
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, flags.access != Access::ReadWrite);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, flags.nosuid);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, flags.nodev);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, flags.noexec);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOATIME, flags.noatime);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODIRATIME, flags.nodiratime);
    attributes.set(MountAttrFlags::MOUNT_ATTR_STRICTATIME, flags.strictatime && !flags.noatime);
    attributes
}

/// Attaches a detached tree to the directory or file `target`.
pub(super) fn attach(tree: &OwnedFd, target: &OwnedFd) -> Result<(), rustix::io::Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree.as_fd(), "", target.as_fd(), "", flags)
}

/// `/sys/fs/cgroup` as this host has it: one tree, or a directory for each hierarchy.
fn mount_cgroups(plan: &LaunchPlan, mount: &MountPlan, source: Source, root: &OwnedFd) -> Result<(), StepError> {
    let layout = &plan.cgroup.layout;
    let subject = mount.target.display().to_string();
    let attributes = attributes(mount.flags);
    let target = ensure(root, &mount.target, Leaf::Directory)?;
    let trees = match source {
        Source::Cgroups(trees) => trees,
        _ => new_cgroup_trees(layout, attributes, &subject)?,
    };
    if layout.v1.is_empty() {
        return match trees.into_iter().next() {
            Some((_, tree)) => {
                restrict(&tree, mount, &subject)?;
                attach(&tree, &target).during(Step::Mount, &subject)
            }
            None => Ok(()),
        };
    }
    let writable = attributes.difference(MountAttrFlags::MOUNT_ATTR_RDONLY);
    let directories = root::filesystem("tmpfs", &["mode=755"], writable, &subject)?;
    attach(&directories, &target).during(Step::Mount, &subject)?;
    for (name, tree) in trees {
        let subject = format!("{subject}/{name}");
        restrict(&tree, mount, &subject)?;
        let directory = ensure(&directories, Path::new(&name), Leaf::Directory)?;
        attach(&tree, &directory).during(Step::Mount, &subject)?;
    }
    for hierarchy in layout.v1.iter().filter(|hierarchy| hierarchy.controllers.len() > 1) {
        for controller in &hierarchy.controllers {
            let _ = rustix::fs::symlinkat(directory_name(hierarchy), &directories, controller); // a convenience
        }
    }
    restrict(
        &directories,
        &MountPlan { flags: MountFlags { access: top_only(mount.flags.access), ..mount.flags }, ..mount.clone() },
        &subject,
    )
}

fn top_only(access: Access) -> Access {
    if access == Access::ReadWrite { Access::ReadWrite } else { Access::ReadOnlyTop }
}

/// The hierarchies as seen from the container's own cgroup namespace.
fn new_cgroup_trees(
    layout: &CgroupLayout,
    attributes: MountAttrFlags,
    subject: &str,
) -> Result<Vec<(String, OwnedFd)>, StepError> {
    let mut trees = Vec::new();
    for hierarchy in &layout.v1 {
        let mut options = hierarchy.controllers.clone();
        if let Some(name) = &hierarchy.name {
            options.push("none".to_owned());
            options.push(format!("name={name}"));
        }
        let name = directory_name(hierarchy);
        trees.push((name.clone(), root::filesystem("cgroup", &options, attributes, &format!("{subject}/{name}"))?));
    }
    if layout.v2.is_some() {
        let none: [&str; 0] = [];
        trees.push((unified_name(layout).to_owned(), root::filesystem("cgroup2", &none, attributes, subject)?));
    }
    Ok(trees)
}
