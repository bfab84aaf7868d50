//! A further process of a running container, from its clone to its program: joins the namespaces of the first one.

use std::convert::Infallible;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use rustix::fs::{Mode, OFlags};

use super::cgroup::Cgroups;
use super::process::{self, MissingDirectory, Prepared};
use super::step::During;
use super::talk::{Message, Talk};
use super::{Stdio, Step, StepError, launch, mapping, terminal};
use crate::engine::oci::ProcessPlan;
use crate::engine::trace::Trace;
use crate::sys::process::exit_now;

/// The container's first process.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub pid: u32,
    pub process: BorrowedFd<'a>,
    pub group: Group<'a>,
}

/// The container's cgroup.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub cgroups: &'a Cgroups,
    pub path: &'a str,
}

impl Group<'_> {
    /// Takes this process into it: from then on the container's limits hold.
    pub(super) fn enter(&self) -> Result<(), StepError> {
        self.cgroups.enter_v1(self.path).map_err(|error| launch::cgroup_step(Step::AttachCgroup, &error))
    }
}

/// Joins the container of the process `container` and becomes the plan's program; failing, tells the parent and ends.
pub(super) fn run(plan: &ProcessPlan, container: Target<'_>, stdio: Stdio, talk: &Talk) -> ! {
    let Err(error) = set_up(plan, container, stdio, talk);
    let _ = talk.send(&Message::Failed(error), None); // without a parent nobody wants to know
    exit_now(1)
}

fn set_up(plan: &ProcessPlan, container: Target<'_>, stdio: Stdio, talk: &Talk) -> Result<Infallible, StepError> {
    container.group.enter()?;
    process::leave_parent(plan)?;
    process::write_own_proc(plan)?;
    let owner = root_of(container.pid)?;
    let mut namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    namespaces.set(CloneFlags::CLONE_NEWUSER, owner.is_some());
    if let Some((uid, gid)) = owner {
        process::give_to_root(&stdio, uid, gid)?;
    }
    setns(container.process, namespaces).during(Step::JoinNamespace, "of the container")?;
    let wants_terminal = process::take_stdio(stdio, plan.preserve_fds, talk)?;
    if owner.is_some() {
        process::become_root()?;
    }
    let root: OwnedFd = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .during(Step::JoinNamespace, "/")?;
    let terminal = match wants_terminal {
        Some(size) => Some(terminal::open(&root, size.or(plan.console_size))?),
        None => None,
    };
    Prepared::new(plan, "exec", &root, MissingDirectory::Refuse)?.run(plan, terminal, talk, &mut Trace::default())
}

/// Who of the host is root in the user namespace of process `pid`; `None` where it is ours.
fn root_of(pid: u32) -> Result<Option<(u32, u32)>, StepError> {
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/user")).during(Step::JoinNamespace, "user");
    if namespace("self")? == namespace(&pid.to_string())? {
        return Ok(None);
    }
    let first = |file: &str| mapping::first(format!("/proc/{pid}/{file}"));
    Ok(Some((first("uid_map")?, first("gid_map")?)))
}
