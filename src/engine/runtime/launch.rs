//! Creating and starting processes of containers: the parent's side.
//!
//! The new process is a clone of this one that enters its cgroups and sets itself up ([`init`](super::init),
//! [`enter`](super::enter)); they meet over a [`Talk`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

use super::cgroup::{CgroupError, Cgroups};
use super::devices::{self, Gathered};
use super::step::During;
use super::talk::{Message, Talk};
use super::{Step, StepError, enter, init};
use crate::engine::oci::{
    CgroupPlan, ConsoleSize, IpcNs, LaunchPlan, Limits, NamespaceKind, PidNs, ProcessPlan, Sharing, UserNs,
};
use crate::engine::trace::Trace;
use crate::sys::process::{Cloned, clone3};

/// Where a process's input comes from and its output goes.
#[derive(Debug)]
pub enum Stdio {
    /// Three descriptors, which the process gets as 0, 1 and 2.
    Fds {
        /// Its input.
        stdin: OwnedFd,
        /// Its output.
        stdout: OwnedFd,
        /// Its messages.
        stderr: OwnedFd,
    },
    /// A new terminal of the container's own devpts; its master comes back in [`Created`] or [`Running`].
    Terminal(Option<ConsoleSize>),
}

/// A container whose first process is set up and waits for [`Created::start`]. Dropped, the process ends by itself;
/// its parent then reaps it and removes the cgroup.
#[derive(Debug)]
pub struct Created {
    /// The process, as the caller's pid namespace counts.
    pub pid: u32,
    /// The process, safe from reuse of its number; readable when it ended.
    pub pidfd: OwnedFd,
    /// The terminal's master.
    pub pty_master: Option<OwnedFd>,
    /// The stages up to here, where traced.
    pub trace: Trace,
    talk: Talk,
}

impl Created {
    /// Lets the process execute its program.
    ///
    /// # Errors
    /// The step that failed; the process is then gone and reaped, its cgroup is still there.
    /// [`StepError::exit_code`] says 126 or 127.
    pub fn start(self) -> Result<Running, StepError> {
        let Created { pid, pidfd, pty_master, mut trace, talk } = self;
        trace.mark("start is asked for");
        match start(&talk, &mut trace) {
            Ok(()) => Ok(Running { pid, pidfd, pty_master, trace }),
            Err(error) => {
                end(pidfd.as_fd());
                Err(error)
            }
        }
    }
}

impl Created {
    /// Leaves the process to be started by whoever connects to `door` (see [`start_later`](super::start_later)), and
    /// to whoever is its parent once this process ended. Its terminal's master comes back.
    ///
    /// # Errors
    /// The process is gone already.
    pub fn leave(self, door: BorrowedFd<'_>) -> Result<Option<OwnedFd>, StepError> {
        let Created { pidfd, pty_master, talk, .. } = self;
        match talk.tell(&Message::StartLater, Some(door)).and_then(|()| talk.expect(&Message::Ready)) {
            Ok(_) => Ok(pty_master),
            Err(error) => {
                end(pidfd.as_fd());
                Err(error)
            }
        }
    }

    /// Ends the process, for a container that could not be made whole.
    pub fn abandon(self) {
        end(self.pidfd.as_fd());
    }
}

/// A process that executes its program. It is a child of the caller, who waits on it.
#[derive(Debug)]
pub struct Running {
    /// The process, as the caller's pid namespace counts.
    pub pid: u32,
    /// The process, safe from reuse of its number; readable when it ended.
    pub pidfd: OwnedFd,
    /// The terminal's master.
    pub pty_master: Option<OwnedFd>,
    /// The stages from [`Created::start`] on, where traced.
    pub trace: Trace,
}

/// The container to run a further process in.
#[derive(Debug, Clone, Copy)]
pub struct ExecTarget<'a> {
    /// Its first process.
    pub pid: u32,
    /// Its cgroup.
    pub cgroup: &'a CgroupPlan,
}

/// Makes a container: cgroup, namespaces, mounts; its first process waits before its program.
///
/// `netns` is needed when the plan says [`NetNs::Inherited`]. The caller must have one thread.
///
/// # Errors
/// The step that failed; nothing is left behind then.
pub fn create(plan: &LaunchPlan, stdio: Stdio, netns: Option<BorrowedFd<'_>>) -> Result<Created, StepError> {
    create_traced(plan, stdio, netns, Trace::default())
}

/// As [`create`], noting in `trace` when each stage ended.
///
/// # Errors
/// As [`create`].
pub fn create_traced(
    plan: &LaunchPlan,
    stdio: Stdio,
    netns: Option<BorrowedFd<'_>>,
    trace: Trace,
) -> Result<Created, StepError> {
    let nothing = Outside { meanwhile: &mut |_| {}, run_hooks: &mut |_| Ok(()) };
    create_container(plan, stdio, netns, nothing, trace)
}

/// What the caller does while a container is made.
pub struct Outside<'a> {
    /// Called once the process has its number and sets itself up.
    pub meanwhile: &'a mut dyn FnMut(u32),
    /// Runs the hooks outside of the container, whose first process has the number given, once its namespaces exist.
    pub run_hooks: &'a mut dyn FnMut(u32) -> Result<(), StepError>,
}

/// As [`create`], doing `outside` meanwhile; for plans with hooks there.
///
/// # Errors
/// As [`create`], and whatever the hooks' runner refuses.
pub fn create_with(
    plan: &LaunchPlan,
    stdio: Stdio,
    netns: Option<BorrowedFd<'_>>,
    outside: Outside<'_>,
) -> Result<Created, StepError> {
    create_container(plan, stdio, netns, outside, Trace::default())
}

fn create_container(
    plan: &LaunchPlan,
    stdio: Stdio,
    netns: Option<BorrowedFd<'_>>,
    outside: Outside<'_>,
    trace: Trace,
) -> Result<Created, StepError> {
    let devices = devices::gather(&plan.devices)?;
    let cgroups = Cgroups::new(plan.cgroup.layout.clone());
    let created = cgroups
        .make_unified(&plan.cgroup.path) // the process is born in it; the others follow while it begins
        .map_err(|error| cgroup_step(Step::Cgroup, &error))
        .and_then(|()| create_process(plan, &devices, stdio, netns, &cgroups, outside, trace));
    if created.is_err() {
        let _ = cgroups.remove(&plan.cgroup.path); // the first failure is the one to tell
    }
    created
}

fn create_process(
    plan: &LaunchPlan,
    devices: &Gathered,
    stdio: Stdio,
    netns: Option<BorrowedFd<'_>>,
    cgroups: &Cgroups,
    outside: Outside<'_>,
    mut trace: Trace,
) -> Result<Created, StepError> {
    let (talk, childs_talk) = Talk::pair()?;
    let joined = plan.namespaces.joined.iter().find(|one| one.kind == NamespaceKind::Pid);
    let peer = match (plan.namespaces.pid, joined) {
        (_, Some(joined)) => {
            let subject = joined.path.display().to_string();
            Some(std::fs::File::open(&joined.path).during(Step::JoinNamespace, subject)?.into())
        }
        (PidNs::JoinPid(pid), None) => Some(open_process(pid)?),
        (PidNs::Private | PidNs::Host, None) => None,
    };
    let cloned = clone_into(&plan.cgroup, cgroups, own_namespaces(plan), peer.as_ref())?;
    let Cloned::Parent { mut pid, mut pidfd } = cloned else {
        drop(talk);
        init::run(&init::Job { plan, devices, netns, cgroups }, stdio, &childs_talk, Trace::new("init", trace.is_on()))
    };
    trace.mark("clone");
    drop((childs_talk, stdio));
    let mut meet = || {
        let made = cgroups.make_rest(&plan.cgroup.path, &limits_of(plan, devices));
        made.map_err(|error| cgroup_step(Step::Cgroup, &error))?;
        talk.tell(&Message::Grouped, None)?;
        trace.mark("cgroup made, limits");
        if plan.namespaces.user != UserNs::Host {
            let preparer = std::mem::replace(&mut pidfd, moved(&talk)?);
            let _ = waitid(WaitId::PidFd(preparer.as_fd()), WaitIdOptions::EXITED); // it ends by itself
            pid = number_of(&pidfd)?;
        }
        (outside.meanwhile)(pid);
        let pty_master = ready(&talk, pid, outside.run_hooks, &mut trace)?;
        trace.mark("the container is set up");
        Ok(pty_master)
    };
    match meet() {
        Ok(pty_master) => Ok(Created { pid, pidfd, pty_master, trace, talk }),
        Err(error) => {
            end(pidfd.as_fd());
            Err(error)
        }
    }
}

/// The plan's limits; a list of allowed devices has those that are made, too.
fn limits_of(plan: &LaunchPlan, devices: &Gathered) -> Limits {
    let mut limits = plan.cgroup.limits.clone();
    if let Some(rules) = &mut limits.devices {
        rules.extend(devices.rules.iter().cloned());
    }
    limits
}

/// The namespaces that the clone makes. The cgroup namespace comes later, once the process is in its cgroup; so does the
/// network namespace, which takes longer to make than all others: meanwhile we make the cgroup.
fn own_namespaces(plan: &LaunchPlan) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWNS;
    if plan.namespaces.user != UserNs::Host {
        return flags; // the others have to belong to the user namespace, see `remap`
    }
    flags.set(CloneFlags::CLONE_NEWPID, plan.namespaces.pid == PidNs::Private);
    flags.set(CloneFlags::CLONE_NEWIPC, plan.namespaces.ipc == IpcNs::Private);
    flags.set(CloneFlags::CLONE_NEWUTS, plan.namespaces.uts == Sharing::Private);
    flags
}

/// Runs a further process in a container; it becomes a child of the caller, who must have one thread.
///
/// # Errors
/// The step that failed; [`StepError::exit_code`] says 126 or 127 when it was the program.
pub fn exec(target: ExecTarget<'_>, plan: &ProcessPlan, stdio: Stdio) -> Result<Running, StepError> {
    let (talk, childs_talk) = Talk::pair()?;
    let container = open_process(target.pid)?;
    let cgroups = Cgroups::new(target.cgroup.layout.clone());
    let cloned = clone_into(target.cgroup, &cgroups, CloneFlags::empty(), Some(&container))?;
    let Cloned::Parent { pid, pidfd } = cloned else {
        drop(talk);
        let group = enter::Group { cgroups: &cgroups, path: &target.cgroup.path };
        enter::run(plan, enter::Target { pid: target.pid, process: container.as_fd(), group }, stdio, &childs_talk)
    };
    drop((childs_talk, stdio));
    let mut trace = Trace::default();
    let met = talk.expect(&Message::Ready).and_then(|pty| start(&talk, &mut trace).map(|()| pty));
    match met {
        Ok(pty_master) => Ok(Running { pid, pidfd, pty_master, trace }),
        Err(error) => {
            end(pidfd.as_fd());
            Err(error)
        }
    }
}

/// Clones this process into the plan's version 2 cgroup, into new `namespaces` and into `peer`'s pid namespace.
fn clone_into(
    plan: &CgroupPlan,
    cgroups: &Cgroups,
    namespaces: CloneFlags,
    peer: Option<&OwnedFd>,
) -> Result<Cloned, StepError> {
    let unified = cgroups.unified_dir(&plan.path).map_err(|error| cgroup_step(Step::Cgroup, &error))?;
    let own_pid_namespace = match peer {
        Some(peer) => {
            let own = std::fs::File::open("/proc/self/ns/pid").during(Step::JoinNamespace, "pid")?;
            setns(peer, CloneFlags::CLONE_NEWPID).during(Step::JoinNamespace, "pid")?;
            Some(own)
        }
        None => None,
    };
    let bits = u64::from(namespaces.bits().unsigned_abs());
    let cloned = clone3(bits, unified.as_ref().map(AsFd::as_fd)).during(Step::Clone, "");
    if let (Some(own), Ok(Cloned::Parent { .. }) | Err(_)) = (own_pid_namespace, &cloned) {
        setns(own, CloneFlags::CLONE_NEWPID).during(Step::JoinNamespace, "own pid")?;
    }
    cloned
}

/// The process that goes on in the user namespace for the one that prepared it.
fn moved(talk: &Talk) -> Result<OwnedFd, StepError> {
    talk.expect(&Message::Moved)?.ok_or_else(|| StepError::new(Step::Talk, rustix::io::Errno::PROTO, "no process"))
}

/// The number of a process, from its descriptor.
fn number_of(pidfd: &OwnedFd) -> Result<u32, StepError> {
    let path = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(pidfd));
    let text = std::fs::read_to_string(path).during(Step::Clone, "number")?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    number.ok_or_else(|| StepError::new(Step::Clone, rustix::io::Errno::SRCH, "in the user namespace"))
}

/// Waits until the child is set up, running its hooks when it asks for them, and takes the terminal's master from it.
fn ready(
    talk: &Talk,
    pid: u32,
    run_hooks: &mut dyn FnMut(u32) -> Result<(), StepError>,
    trace: &mut Trace,
) -> Result<Option<OwnedFd>, StepError> {
    match talk.receive_traced(trace)? {
        Some((Message::Hooks, _)) => {
            run_hooks(pid)?;
            talk.tell(&Message::HooksRan, None)?;
            talk.expect_traced(&Message::Ready, trace)
        }
        Some((Message::Ready, master)) => Ok(master),
        Some((Message::Failed(error), _)) => Err(error),
        Some(_) => Err(StepError::new(Step::Talk, rustix::io::Errno::PROTO, "")),
        None => Err(StepError::new(Step::Talk, rustix::io::Errno::PIPE, "")),
    }
}

/// Says "start" and waits until the program runs, which closes the child's end.
fn start(talk: &Talk, trace: &mut Trace) -> Result<(), StepError> {
    talk.tell(&Message::Start, None)?;
    match talk.receive_traced(trace)? {
        None => {
            trace.mark("the program runs");
            Ok(())
        }
        Some((Message::Failed(error), _)) => Err(error),
        Some(_) => Err(StepError::new(Step::Talk, rustix::io::Errno::PROTO, "")),
    }
}

/// Kills and reaps a child whose set-up failed.
fn end(pidfd: BorrowedFd<'_>) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL); // gone already is as good
    let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
}

fn open_process(pid: u32) -> Result<OwnedFd, StepError> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| StepError::new(Step::JoinNamespace, rustix::io::Errno::SRCH, pid.to_string()))?;
    pidfd_open(number, PidfdFlags::empty()).during(Step::JoinNamespace, format!("of process {pid}"))
}

pub(super) fn cgroup_step(step: Step, error: &CgroupError) -> StepError {
    let errno = rustix::io::Errno::from_io_error(&error.source).unwrap_or(rustix::io::Errno::IO);
    StepError::new(step, errno, format!("{} {}", error.attempted, error.path.display()))
}
