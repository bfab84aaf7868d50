//! A further process of a running container, from its clone to its program: joins the namespaces of the first one.

use std::convert::Infallible;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use rustix::fs::{Mode, OFlags};

use super::process::{self, MissingDirectory, Prepared};
use super::step::During;
use super::talk::{Message, Talk};
use super::{Stdio, Step, StepError, terminal};
use crate::engine::oci::ProcessPlan;
use crate::sys::process::exit_now;

/// Joins the container of the process `container` and becomes the plan's program; failing, tells the parent and ends.
pub(super) fn run(plan: &ProcessPlan, container: BorrowedFd<'_>, stdio: Stdio, talk: &Talk) -> ! {
    let Err(error) = set_up(plan, container, stdio, talk);
    let _ = talk.send(&Message::Failed(error), None); // without a parent nobody wants to know
    exit_now(1)
}

fn set_up(plan: &ProcessPlan, container: BorrowedFd<'_>, stdio: Stdio, talk: &Talk) -> Result<Infallible, StepError> {
    process::leave_parent(plan)?;
    process::write_own_proc(plan)?;
    talk.expect(&Message::Attached)?; // only then the container's limits hold
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    setns(container, namespaces).during(Step::JoinNamespace, "of the container")?;
    let wants_terminal = process::take_stdio(stdio, plan.preserve_fds, talk)?;
    let root: OwnedFd = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .during(Step::JoinNamespace, "/")?;
    let terminal = match wants_terminal {
        Some(size) => Some(terminal::open(&root, size.or(plan.console_size))?),
        None => None,
    };
    Prepared::new(plan, "exec", &root, MissingDirectory::Refuse)?.run(plan, terminal, talk)
}
