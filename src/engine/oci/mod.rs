//! From what a person asked for to what the runtime shall do: launch plans. Pure; nothing here asks the host.
//!
//! [`plan`] turns Docker's container and host configs into a [`LaunchPlan`], with Docker's defaults and Docker's words
//! for what it refuses. A plan is plain data with serde, so it crosses to the shim process as it is.

mod capability;
mod docker;
mod external;
pub mod fields;
mod launch;
mod limits;
mod mount;
mod process;
pub mod seccomp;
pub mod spec;
mod sysctl;

pub use capability::{CapSet, DEFAULT_CAPABILITIES};
pub use docker::{ExecInput, Peers, PlanInput, check, exec_plan, limits, plan, seccomp_for_others};
pub use external::ExternalRuntime;
pub use launch::{
    DevicePlan, HookPlan, IdRange, IpcNs, JoinedNamespace, LaunchPlan, NamespaceKind, NamespacePlan, NetNs, PidNs,
    RootPlan, Sharing, UserNs,
};
pub use limits::{CgroupPlan, DeviceAccess, DeviceKind, DeviceRule, DeviceThrottle, DeviceWeight, Limits};
pub use mount::{Access, MountFlags, MountKind, MountPlan, Propagation, Scratch};
pub use process::{CapabilitySets, ConsoleSize, EnvFrom, ProcessPlan, Rlimit, SeccompPlan};
