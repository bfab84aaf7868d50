//! A container with a user namespace: what is done for it with the host's rights, and what it then does with its own.
//!
//! Two processes, one after the other. The first has the host's rights and a mount namespace to work in: it opens the
//! sources of mounts, shows layers and volumes with the container's ids, mounts the root and makes the device nodes, all
//! mounted nowhere. Then it becomes root of the container's user namespace and clones the second into namespaces that
//! belong to it, as its parent's child; that one puts the mounts into place and goes on as any first process.
//!
//! An overlay's layers had to be mounted somewhere before Linux 6.15: in that first mount namespace, where nobody sees it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use rustix::fs::{CWD, FileType, fstat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::setsid;
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};

use super::init::{self, Job};
use super::mapping::{self, Root};
use super::mounts::{self, Sources};
use super::root::{self, NewRoot};
use super::step::During;
use super::talk::{Message, Talk};
use super::{Stdio, Step, StepError, devices, network, process};
use crate::engine::oci::{
    ConsoleSize, IpcNs, LaunchPlan, MountKind, MountPlan, NetNs, PidNs, RootPlan, Scratch, Sharing, UserNs,
};
use crate::engine::trace::Trace;
use crate::sys::process::{Cloned, clone3, exit_now};
use crate::sys::userns;

/// What the second process gets from the first.
struct Handed {
    root: OwnedFd,
    sources: Sources,
    wants_terminal: Option<Option<ConsoleSize>>,
}

/// The first process; returns in neither of the two but with an error.
pub(super) fn set_up(job: &Job<'_>, stdio: Stdio, talk: &Talk, trace: &mut Trace) -> Result<Infallible, StepError> {
    let plan = job.plan;
    trace.mark("clone");
    job.enter_cgroups(talk)?; // the clone is to be born in them
    process::leave_parent(&plan.process)?;
    init::join_namespaces(job)?;
    trace.mark("session, limits, namespaces");
    let wants_terminal = process::take_stdio(stdio, plan.process.preserve_fds, talk)?;
    let (namespace, owner) = mapping::namespace_of(&plan.namespaces)?;
    if wants_terminal.is_none() {
        process::give_streams_to_root(owner.uid, owner.gid)?;
    }
    process::write_own_proc(&plan.process)?;
    let handed = prepare(job, owner, namespace.as_fd(), wants_terminal)?;
    trace.mark("streams, sources of mounts, root file system");

    setns(&namespace, CloneFlags::CLONE_NEWUSER).during(Step::JoinNamespace, "user")?;
    process::become_root()?;
    drop(namespace);
    let bits = u64::from(own_namespaces(plan).bits().unsigned_abs());
    let (first_ended, first) = pipe_with(PipeFlags::CLOEXEC).during(Step::Clone, "pipe")?;
    match clone3(bits, None).during(Step::Clone, "in the user namespace")? {
        Cloned::Parent { pidfd, .. } => {
            talk.send(&Message::Moved, Some(pidfd.as_fd()))?;
            exit_now(0)
        }
        Cloned::Child => {
            drop(first);
            // Both speak over one socket: the first has to be done before the second says anything.
            let _ = rustix::io::read(&first_ended, &mut [0]);
            drop(first_ended);
            go_on(plan, handed, talk, trace)
        }
    }
}

/// The namespaces that are to belong to the user namespace, and whose child the clone is to be: the parent's.
fn own_namespaces(plan: &LaunchPlan) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_PARENT;
    flags.set(CloneFlags::CLONE_NEWPID, plan.namespaces.pid == PidNs::Private);
    flags.set(CloneFlags::CLONE_NEWIPC, plan.namespaces.ipc == IpcNs::Private);
    flags.set(CloneFlags::CLONE_NEWUTS, plan.namespaces.uts == Sharing::Private);
    flags.set(CloneFlags::CLONE_NEWNET, plan.namespaces.net == NetNs::Fresh);
    flags
}

/// Everything that takes the host's rights, mounted nowhere.
fn prepare(
    job: &Job<'_>,
    owner: Root,
    namespace: BorrowedFd<'_>,
    wants_terminal: Option<Option<ConsoleSize>>,
) -> Result<Handed, StepError> {
    let plan = job.plan;
    let mut sources = Sources::open_shifted(plan, namespace)?;
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .during(Step::Mount, "/ as slave")?;
    if matches!(plan.namespaces.user, UserNs::OfNetwork { .. }) {
        show_layers_shifted(plan, namespace)?;
    }
    own_new_files_as(owner.uid, owner.gid).during(Step::SetUser, "for files")?; // an overlay makes its work directory
    let root = root::detach(root::open(&plan.root)?, &plan.root)?;
    sources.add(plan, |mount| match &mount.kind {
        MountKind::Layers { lowers, scratch, .. } => layers(lowers, scratch.as_ref()).map(Some),
        MountKind::Tmpfs { options } if mount.target == Path::new("/dev") => dev(job, mount, options, owner).map(Some),
        // those of an IPC namespace that is not the container's own: only its owner may show them
        MountKind::Mqueue if plan.namespaces.ipc != IpcNs::Private => new_view("mqueue", mount).map(Some),
        _ => Ok(None),
    })?;
    Ok(Handed { root, sources, wants_terminal })
}

/// The second process, root of the user namespace: everything from here on is the container's own.
fn go_on(plan: &LaunchPlan, handed: Handed, talk: &Talk, trace: &mut Trace) -> Result<Infallible, StepError> {
    let Handed { root, mut sources, wants_terminal } = handed;
    trace.mark("clone in the user namespace");
    setsid().during(Step::Clone, "session")?;
    if plan.namespaces.net == NetNs::Fresh {
        network::raise_loopback()?;
    }
    init::write_sysctls(&plan.sysctls)?;
    init::name_host(plan)?;
    init::enter_cgroup_namespace(plan)?;
    init::run_hooks(plan, talk)?;
    // the kernel shows these to a user namespace only while it has the host's in sight
    sources.add(plan, |mount| {
        let kind = match mount.kind {
            MountKind::Proc => "proc",
            MountKind::Sysfs => "sysfs",
            _ => return Ok(None),
        };
        new_view(kind, mount).map(Some)
    })?;
    let root = root::enter_at(NewRoot::Detached(root), Path::new("/"))?;
    mounts::make(plan, sources, &root)?;
    trace.mark("pivot_root, mounts");
    devices::make(&[], &plan.mounts, &root)?;
    init::finish(plan, &root, wants_terminal, talk, trace)
}

/// A file system of the kernel's that shows a namespace of this process.
fn new_view(kind: &str, mount: &MountPlan) -> Result<OwnedFd, StepError> {
    let none: [&str; 0] = [];
    root::filesystem(kind, &none, mounts::attributes(mount.flags), &mount.target.display().to_string())
}

/// Mounts every directory that an overlay is to be made of over itself, owners shifted. All are opened before the
/// first is mounted, since one may lie inside of another.
fn show_layers_shifted(plan: &LaunchPlan, namespace: BorrowedFd<'_>) -> Result<(), StepError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let open = |place: PathBuf| {
        let tree = open_tree(CWD, &place, flags).during(Step::OpenSource, place.display().to_string())?;
        map_owners(&tree, namespace, &place)?;
        Ok((place, tree))
    };
    let trees: Vec<(PathBuf, OwnedFd)> = places(plan).into_iter().map(open).collect::<Result<_, _>>()?;
    for (place, tree) in trees {
        move_mount(tree.as_fd(), "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .during(Step::Mount, place.display().to_string())?;
    }
    Ok(())
}

/// Upper and work directory have to be on one mount: the directory that both are in.
fn places(plan: &LaunchPlan) -> BTreeSet<PathBuf> {
    let mut places = BTreeSet::new();
    match &plan.root {
        RootPlan::Overlay(stack) => {
            places.extend(stack.lowers.iter().cloned());
            places.extend(stack.upper.parent().map(Path::to_owned));
        }
        RootPlan::Directory(path) => drop(places.insert(path.clone())),
    }
    for mount in &plan.mounts {
        if let MountKind::Layers { lowers, scratch, .. } = &mount.kind {
            places.extend(lowers.iter().cloned());
            places.extend(scratch.iter().filter_map(|scratch| scratch.upper.parent()).map(Path::to_owned));
        }
    }
    places
}

fn layers(lowers: &[PathBuf], scratch: Option<&Scratch>) -> Result<OwnedFd, StepError> {
    match (lowers, scratch) {
        ([only], None) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            open_tree(CWD, only, flags).during(Step::OpenSource, only.display().to_string())
        }
        _ => mounts::open_layers(lowers, scratch),
    }
}

/// `/dev` with its nodes: a device of a file system that a user namespace mounted would be dead.
fn dev(job: &Job<'_>, mount: &MountPlan, options: &[String], owner: Root) -> Result<OwnedFd, StepError> {
    let mut options = options.to_vec();
    options.extend([format!("uid={}", owner.uid), format!("gid={}", owner.gid)]);
    let dev = root::filesystem("tmpfs", &options, mounts::attributes(mount.flags), "/dev")?;
    devices::make_in(&dev, &job.devices.nodes, owner.uid, owner.gid)?;
    Ok(dev)
}

/// From now on new files of this thread belong to the host's `uid` and `gid`; it keeps its rights. Through mounts that
/// shift owners, nothing can be made that belongs to somebody whom the container does not have, such as the host's root.
///
/// # Errors
/// The kernel's answer.
pub fn own_new_files_as(uid: u32, gid: u32) -> Result<(), Errno> {
    nix::unistd::setfsgid(gid.into());
    nix::unistd::setfsuid(uid.into());
    // leaving the host's root for files took the rights over files away
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets })
}

/// Lets the detached `tree` show owners as ids of the user namespace. Of a file system that can't, a file is shown as
/// it is: it can be read all the same.
pub(super) fn map_owners(tree: &OwnedFd, namespace: BorrowedFd<'_>, place: &Path) -> Result<(), StepError> {
    match userns::map_owners(tree.as_fd(), namespace) {
        Err(Errno::INVAL) if is_file(tree) => Ok(()),
        Err(Errno::INVAL) => {
            let subject = format!("{}: its file system can't be shown to a user namespace", place.display());
            Err(StepError::new(Step::Mount, Errno::INVAL, subject))
        }
        other => other.during(Step::Mount, place.display().to_string()),
    }
}

fn is_file(tree: &OwnedFd) -> bool {
    fstat(tree).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}
