//! Who carries a container's plan out: our own runtime, or the one the person named. The rest of the shim does not know.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::engine::oci::{CgroupPlan, ProcessPlan};
use crate::engine::runtime::external::{External, Waiting};
use crate::engine::runtime::{self, Created, ExecTarget, Running, Stdio};
use crate::engine::shim::protocol::{Refusal, RefusalKind};
use crate::engine::shim::spec::{Bundle, ShimSpec};
use crate::engine::trace::{Mark, Trace};

/// A first process that is set up and waits.
#[derive(Debug)]
pub(super) enum Init {
    /// Ours; dropped, it ends by itself.
    Own(Created),
    /// Another runtime's; it goes when that runtime is told to delete the container.
    Other(Box<Waiting>),
}

/// Makes the container of `spec`.
pub(super) fn create(
    spec: &ShimSpec,
    bundle: &Bundle,
    stdio: Stdio,
    netns: Option<BorrowedFd<'_>>,
    trace: Trace,
) -> Result<Init, Refusal> {
    let refused = |code, message| Refusal { kind: RefusalKind::Create, code, message };
    match external(spec, bundle) {
        None => runtime::create_traced(&spec.plan, stdio, netns, trace)
            .map(Init::Own)
            .map_err(|error| refused(error.exit_code(), error.docker_message())),
        Some(other) => other
            .create(&spec.plan, stdio, netns, trace)
            .map(|waiting| Init::Other(Box::new(waiting)))
            .map_err(|error| refused(error.exit_code(), error.docker_message())),
    }
}

/// The container as its runtime knows it, where that is not ours.
pub(super) fn external(spec: &ShimSpec, bundle: &Bundle) -> Option<External> {
    let runtime = spec.runtime.clone()?;
    Some(External::new(runtime, &spec.plan.id, bundle.folder()))
}

/// Runs a further process in the container whose first one is `pid`.
pub(super) fn exec(
    other: Option<&External>,
    pid: u32,
    cgroup: &CgroupPlan,
    plan: &ProcessPlan,
    stdio: Stdio,
) -> Result<Running, Refusal> {
    let refused = |code, message| Refusal { kind: RefusalKind::Start, code, message };
    match other {
        None => runtime::exec(ExecTarget { pid, cgroup }, plan, stdio)
            .map_err(|error| refused(error.exit_code(), error.docker_exec_message())),
        Some(other) => {
            other.exec(pid, plan, stdio).map_err(|error| refused(error.exit_code(), error.docker_exec_message()))
        }
    }
}

impl Init {
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Own(created) => created.pid,
            Self::Other(waiting) => waiting.pid,
        }
    }

    pub(super) fn pty_master(&self) -> Option<&OwnedFd> {
        match self {
            Self::Own(created) => created.pty_master.as_ref(),
            Self::Other(waiting) => waiting.pty_master.as_ref(),
        }
    }

    /// The stages it took to make it, where traced.
    pub(super) fn take_trace(&mut self) -> Vec<Mark> {
        match self {
            Self::Own(created) => created.trace.hand_over(),
            Self::Other(waiting) => waiting.trace.hand_over(),
        }
    }

    /// Lets it execute its program.
    pub(super) fn start(self) -> Result<Running, Refusal> {
        let refused = |code, message| Refusal { kind: RefusalKind::Start, code, message };
        match self {
            Self::Own(created) => created.start().map_err(|error| refused(error.exit_code(), error.docker_message())),
            Self::Other(waiting) => waiting.start().map_err(|error| refused(error.exit_code(), error.docker_message())),
        }
    }
}
