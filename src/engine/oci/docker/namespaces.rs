//! Which namespaces a container shares, and the kernel settings that belong to its own ones.

use bollard_stubs::models as docker;

use super::{PlanInput, filled};
use crate::engine::EngineError;
use crate::engine::oci::sysctl::{Own, judge};
use crate::engine::oci::{IpcNs, NamespacePlan, NetNs, PidNs, Sharing};

pub(super) fn plan(input: &PlanInput<'_>) -> Result<NamespacePlan, EngineError> {
    let host_config = input.host_config;
    if let Some(mode) = filled(host_config.userns_mode.as_ref()).filter(|mode| mode != "host") {
        return Err(EngineError::invalid(format!("invalid user namespace mode: \"{mode}\"")));
    }
    Ok(NamespacePlan {
        net: input.net,
        pid: pid(host_config.pid_mode.as_deref().unwrap_or_default(), input.peers.pid)?,
        ipc: ipc(host_config.ipc_mode.as_deref().unwrap_or_default(), input.peers.ipc)?,
        uts: uts(host_config)?,
        cgroup: match host_config.cgroupns_mode {
            Some(docker::HostConfigCgroupnsModeEnum::HOST) => Sharing::Host,
            _ => Sharing::Private,
        },
        joined: Vec::new(),
        user: input.user.clone(),
    })
}

fn pid(mode: &str, peer: Option<u32>) -> Result<PidNs, EngineError> {
    match (mode, mode.strip_prefix("container:")) {
        ("" | "private", _) => Ok(PidNs::Private),
        ("host", _) => Ok(PidNs::Host),
        (_, Some(other)) => peer.map(PidNs::JoinPid).ok_or_else(|| not_running("PID", other)),
        _ => Err(EngineError::invalid(format!("invalid PID mode: \"{mode}\""))),
    }
}

fn ipc(mode: &str, peer: Option<u32>) -> Result<IpcNs, EngineError> {
    match (mode, mode.strip_prefix("container:")) {
        ("" | "none" | "private" | "shareable", _) => Ok(IpcNs::Private),
        ("host", _) => Ok(IpcNs::Host),
        (_, Some(other)) => peer.map(IpcNs::JoinPid).ok_or_else(|| not_running("IPC", other)),
        _ => Err(EngineError::invalid(format!("invalid IPC mode: {mode}"))),
    }
}

fn not_running(kind: &str, other: &str) -> EngineError {
    EngineError::conflict(format!("cannot join {kind} of a non running container: {other}"))
}

fn uts(host_config: &docker::HostConfig) -> Result<Sharing, EngineError> {
    match host_config.uts_mode.as_deref().unwrap_or_default() {
        "" => Ok(Sharing::Private),
        "host" => Ok(Sharing::Host),
        other => Err(EngineError::invalid(format!("invalid UTS mode: {other}"))),
    }
}

/// The settings, each of a namespace that is the container's own: any other would change the host.
pub(super) fn sysctls(
    host_config: &docker::HostConfig,
    namespaces: &NamespacePlan,
) -> Result<Vec<(String, String)>, EngineError> {
    let mut sysctls: Vec<(String, String)> = host_config.sysctls.clone().unwrap_or_default().into_iter().collect();
    sysctls.sort();
    let own = Own { ipc: namespaces.ipc != IpcNs::Host, net: namespaces.net != NetNs::Host, uts: false };
    sysctls.iter().try_for_each(|(name, _)| judge(name, own)).map_err(EngineError::invalid)?;
    Ok(sysctls)
}
