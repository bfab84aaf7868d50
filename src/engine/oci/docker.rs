//! Docker's container and host configs to a launch plan.

use bollard_stubs::models as docker;

use super::{LaunchPlan, MountPlan, NetNs, ProcessPlan};
use crate::engine::EngineError;
use crate::engine::layer::OverlayStack;
use crate::engine::runtime::HostFacts;

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct PlanInput<'a> {
    /// The container's full id.
    pub id: &'a str,
    /// The container's config, merged with its image's.
    pub config: &'a docker::ContainerConfig,
    /// Limits, namespaces, rights.
    pub host_config: &'a docker::HostConfig,
    /// The container's root.
    pub root: OverlayStack,
    /// Binds, volumes, tmpfs and the network's files, made by the rooms that own them; order does not matter.
    pub mounts: Vec<MountPlan>,
    /// The network.
    pub net: NetNs,
    /// The engine's cgroup (`Instance::cgroup_parent`); the host config's own parent goes first.
    pub cgroup_parent: String,
    /// What this host is and has.
    pub host: &'a HostFacts,
    /// The containers whose namespaces it shares.
    pub peers: Peers,
}

/// First processes of the containers that `PidMode` and `IpcMode` name, found by the container room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peers {
    /// For `--pid container:x`.
    pub pid: Option<u32>,
    /// For `--ipc container:x`.
    pub ipc: Option<u32>,
}

/// What an exec's plan is made from.
#[derive(Debug, Clone)]
pub struct ExecInput<'a> {
    /// The container's config, merged with its image's.
    pub config: &'a docker::ContainerConfig,
    /// The container's host config.
    pub host_config: &'a docker::HostConfig,
    /// What to run.
    pub exec: &'a docker::ExecConfig,
    /// What this host is and has.
    pub host: &'a HostFacts,
}

/// The plan of a container.
///
/// # Errors
/// `InvalidParameter` in Docker's words for what makes no sense or what we do not support, by its name.
pub fn plan(input: &PlanInput<'_>) -> Result<LaunchPlan, EngineError> {
    let _ = input;
    todo!()
}

/// The plan of a further process in a running container.
///
/// # Errors
/// As [`plan`].
pub fn exec_plan(input: &ExecInput<'_>) -> Result<ProcessPlan, EngineError> {
    let _ = input;
    todo!()
}
