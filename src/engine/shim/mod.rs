//! The one small process per container: stdio, log files, exit status, DNS.
//!
//! A container has to live while no engine does. So its first process is the child of a shim: a process of its own
//! session that owns the container's pipes or terminal, writes its log, waits for its end and puts that on record
//! before it tells anybody. Engines come and go on its control socket ([`protocol`]); [`Shim`] is their end of it,
//! [`process`] is the shim itself, [`logs`] is read and written without either.
//!
//! Absent on purpose: a shim has one thread and one `epoll` loop, no tokio, nothing it waits for but that loop.

mod binary;
mod driver;
mod errand;
mod error;
mod handle;
mod health;
pub mod logs;
pub mod process;
pub mod protocol;
mod restart;
mod spec;
mod userns;

pub use binary::ShimBinary;
pub use driver::ShimEvents;
pub use error::ShimError;
pub use handle::{ExecStarted, Shim, Started, Summoned};
pub use health::{Health, HealthSpec, HealthStatus, HealthTimes, ProbeResult};
pub use protocol::{Attach, ExecRequest, Hello, RunningExec, ShimEvent, Target};
pub use restart::{Asked, RestartPolicy, pause_after};
pub use spec::{
    Bundle, Decided, ExitRecord, LogDriver, LogSpec, ProcessIdentity, RestartNote, RestartSpec, ShimSpec, StdinMode,
    VERSION,
};
pub use userns::user_sandbox;
