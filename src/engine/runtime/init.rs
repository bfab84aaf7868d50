//! A container's first process, from its clone to its program.
//!
//! Runs in the new namespaces with the host's mounts still in sight: first everything that needs the host (bind
//! sources, `/proc` for sysctls), then the root is changed and the host is gone for good, then the mounts are made by
//! paths that resolve inside, and at last rights are given up.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::MountPropagationFlags;

use super::cgroup::Cgroups;
use super::devices::{self, Gathered};
use super::mounts::{self, Sources};
use super::process::{self, MissingDirectory, Prepared};
use super::step::During;
use super::talk::{Message, Talk};
use super::{Stdio, Step, StepError, enter, hide, network, remap, root, terminal};
use crate::engine::oci::{ConsoleSize, IpcNs, JoinedNamespace, LaunchPlan, NamespaceKind, NetNs, Sharing, UserNs};
use crate::engine::trace::Trace;
use crate::sys::process::exit_now;

/// What the new process is to do.
pub(super) struct Job<'a> {
    pub plan: &'a LaunchPlan,
    pub devices: &'a Gathered,
    pub netns: Option<BorrowedFd<'a>>,
    pub cgroups: &'a Cgroups,
}

impl Job<'_> {
    /// Takes this process into the container's cgroups, once the parent has made them.
    pub(super) fn enter_cgroups(&self, talk: &Talk) -> Result<(), StepError> {
        talk.expect(&Message::Grouped)?;
        enter::Group { cgroups: self.cgroups, path: &self.plan.cgroup.path }.enter()
    }
}

/// Sets this process up as the container's first, and becomes its program; failing, tells the parent and ends.
pub(super) fn run(job: &Job<'_>, stdio: Stdio, talk: &Talk, mut trace: Trace) -> ! {
    let whole = process::with_read_variables(job.plan);
    let set_up = |whole: Option<LaunchPlan>| {
        let plan = whole.as_ref().unwrap_or(job.plan);
        let job = &Job { plan, devices: job.devices, netns: job.netns, cgroups: job.cgroups };
        match plan.namespaces.user {
            UserNs::Host => set_up(job, stdio, talk, &mut trace),
            _ => remap::set_up(job, stdio, talk, &mut trace),
        }
    };
    let Err(error) = whole.and_then(set_up);
    let _ = talk.send(&Message::Failed(error), None); // without a parent nobody wants to know
    exit_now(1)
}

fn set_up(job: &Job<'_>, stdio: Stdio, talk: &Talk, trace: &mut Trace) -> Result<std::convert::Infallible, StepError> {
    let plan = job.plan;
    trace.mark("clone");
    process::leave_parent(&plan.process)?;
    make_network(plan)?;
    trace.mark("session, limits, network namespace");
    job.enter_cgroups(talk)?;
    trace.mark("moved into its cgroups");
    join_namespaces(job)?;
    trace.mark("namespaces of others");
    let wants_terminal = process::take_stdio(stdio, plan.process.preserve_fds, talk)?;
    process::write_own_proc(&plan.process)?;
    write_sysctls(&plan.sysctls)?;
    name_host(plan)?;

    enter_cgroup_namespace(plan)?;
    trace.mark("streams, sysctls, host name, cgroup namespace");
    run_hooks(plan, talk)?;
    let sources = Sources::open(plan)?;
    trace.mark("sources of mounts");
    let detached = root::open(&plan.root)?;
    trace.mark("root file system");
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .during(Step::Mount, "/ as slave")?;
    let root = root::enter(detached, &plan.root)?;

    trace.mark("pivot_root");
    mounts::make(plan, sources, &root)?;
    trace.mark("mounts");
    devices::make(&job.devices.nodes, &plan.mounts, &root)?;
    finish(plan, &root, wants_terminal, talk, trace)
}

/// The last part, once everything is mounted: terminal, hidden paths, identity, program.
pub(super) fn finish(
    plan: &LaunchPlan,
    root: &OwnedFd,
    wants_terminal: Option<Option<ConsoleSize>>,
    talk: &Talk,
    trace: &mut Trace,
) -> Result<std::convert::Infallible, StepError> {
    let terminal = match wants_terminal {
        Some(size) => Some(terminal::open(root, size.or(plan.process.console_size))?),
        None => None,
    };
    if let Some(terminal) = &terminal {
        terminal.show_as_console(root)?;
    }
    trace.mark("devices, terminal");
    hide::mask(&plan.masked_paths, root)?;
    hide::make_readonly(&plan.readonly_paths, root)?;
    trace.mark("masked and read-only paths");
    let prepared = Prepared::new(&plan.process, &plan.id, root, MissingDirectory::Make)?;
    if plan.readonly_root {
        hide::make_root_readonly(root)?;
    }
    trace.mark("user, working directory, keyring");
    prepared.run_with(&plan.process, terminal, talk, &plan.hooks.start_container, trace)
}

/// Hooks that come before the host is out of sight.
pub(super) fn run_hooks(plan: &LaunchPlan, talk: &Talk) -> Result<(), StepError> {
    let hooks = &plan.hooks;
    if !hooks.outside && hooks.create_container.is_empty() {
        return Ok(());
    }
    if hooks.outside {
        talk.send(&Message::Hooks, None)?;
        talk.expect(&Message::HooksRan)?;
    }
    let state = super::hooks::state_inside(&plan.id, "creating");
    hooks.create_container.iter().try_for_each(|hook| super::hooks::run_hook(hook, &state))
}

/// Makes a network namespace where the plan wants one that nobody has made yet.
fn make_network(plan: &LaunchPlan) -> Result<(), StepError> {
    match plan.namespaces.net {
        NetNs::Fresh => {
            unshare(CloneFlags::CLONE_NEWNET).during(Step::Unshare, "net")?;
            network::raise_loopback()
        }
        NetNs::Inherited | NetNs::JoinPid(_) | NetNs::Host => Ok(()),
    }
}

pub(super) fn join_namespaces(job: &Job<'_>) -> Result<(), StepError> {
    for joined in &job.plan.namespaces.joined {
        join_by_path(joined)?;
    }
    match (job.plan.namespaces.net, job.netns) {
        (NetNs::Inherited, Some(netns)) => setns(netns, CloneFlags::CLONE_NEWNET).during(Step::JoinNamespace, "net")?,
        (NetNs::Inherited, None) => return Err(StepError::refused(Step::JoinNamespace, "net: none was handed over")),
        (NetNs::JoinPid(pid), _) => join(pid, "net", CloneFlags::CLONE_NEWNET)?,
        (NetNs::Fresh | NetNs::Host, _) => {}
    }
    match job.plan.namespaces.ipc {
        IpcNs::JoinPid(pid) => join(pid, "ipc", CloneFlags::CLONE_NEWIPC),
        IpcNs::Private | IpcNs::Host => Ok(()),
    }
}

/// The pid namespace was entered by the clone.
fn join_by_path(joined: &JoinedNamespace) -> Result<(), StepError> {
    let flag = match joined.kind {
        NamespaceKind::Pid => return Ok(()),
        NamespaceKind::Net => CloneFlags::CLONE_NEWNET,
        NamespaceKind::Ipc => CloneFlags::CLONE_NEWIPC,
        NamespaceKind::Uts => CloneFlags::CLONE_NEWUTS,
        NamespaceKind::Cgroup => CloneFlags::CLONE_NEWCGROUP,
    };
    let subject = joined.path.display().to_string();
    let namespace = std::fs::File::open(&joined.path).during(Step::JoinNamespace, &subject)?;
    setns(namespace, flag).during(Step::JoinNamespace, &subject)
}

fn join(pid: u32, kind: &str, flag: CloneFlags) -> Result<(), StepError> {
    let path = format!("/proc/{pid}/ns/{kind}");
    let namespace = std::fs::File::open(&path).during(Step::JoinNamespace, &path)?;
    setns(namespace, flag).during(Step::JoinNamespace, &path)
}

/// Once we are in our cgroups: what we see of their tree begins there.
pub(super) fn enter_cgroup_namespace(plan: &LaunchPlan) -> Result<(), StepError> {
    match plan.namespaces.cgroup {
        Sharing::Private => unshare(CloneFlags::CLONE_NEWCGROUP).during(Step::Unshare, "cgroup"),
        Sharing::Host => Ok(()),
    }
}

/// The host's own `/proc` is in sight still, and its `sys` shows the namespaces of whoever looks.
pub(super) fn write_sysctls(sysctls: &[(String, String)]) -> Result<(), StepError> {
    for (name, value) in sysctls {
        // put together, not joined: joining lets a name that begins with a dot name any file
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let subject = || format!("{name}={value}");
        let file = std::fs::OpenOptions::new().write(true).open(path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
            .during(Step::Sysctl, subject())?;
    }
    Ok(())
}

pub(super) fn name_host(plan: &LaunchPlan) -> Result<(), StepError> {
    if plan.namespaces.uts == Sharing::Host && !plan.namespaces.joins(NamespaceKind::Uts) {
        return Ok(());
    }
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).during(Step::Hostname, name)?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).during(Step::Hostname, name)?;
    }
    Ok(())
}
