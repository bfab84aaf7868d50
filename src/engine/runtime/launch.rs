//! Creating and starting processes of containers: the parent's side.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::StepError;
use crate::engine::oci::{CgroupPlan, ConsoleSize, LaunchPlan, ProcessPlan};

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

/// A container whose first process is set up and waits for [`Created::start`]. Dropped, it is killed.
#[derive(Debug)]
pub struct Created {
    /// The process, as the caller's pid namespace counts.
    pub pid: u32,
    /// The process, safe from reuse of its number; readable when it ended.
    pub pidfd: OwnedFd,
    /// The terminal's master.
    pub pty_master: Option<OwnedFd>,
}

impl Created {
    /// Lets the process execute its program.
    ///
    /// # Errors
    /// The step that failed; the process is then gone and reaped. [`StepError::exit_code`] says 126 or 127.
    pub fn start(self) -> Result<Running, StepError> {
        todo!()
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
/// `netns` is needed when the plan says [`NetNs::Inherited`](crate::engine::oci::NetNs::Inherited). The caller must
/// have one thread.
///
/// # Errors
/// The step that failed; nothing is left behind then.
pub fn create(plan: &LaunchPlan, stdio: Stdio, netns: Option<BorrowedFd<'_>>) -> Result<Created, StepError> {
    let _ = (plan, stdio, netns);
    todo!()
}

/// Runs a further process in a container; it becomes a child of the caller, who must have one thread.
///
/// # Errors
/// The step that failed; [`StepError::exit_code`] says 126 or 127 when it was the program.
pub fn exec(target: ExecTarget<'_>, plan: &ProcessPlan, stdio: Stdio) -> Result<Running, StepError> {
    let _ = (target, plan, stdio);
    todo!()
}
