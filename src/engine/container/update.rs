//! Changing a container's limits and restart policy, also while it runs.

use std::path::Path;

use bollard_stubs::models as docker;

use super::create::discarded;
use super::live::Container;
use super::restart::policy_of;
use super::room::Room;
use super::state::State;
use super::validate;
use crate::engine::EngineError;
use crate::engine::oci::{Limits, limits as oci_limits};
use crate::engine::runtime::HostFacts;
use crate::engine::shim::{Bundle, RestartPolicy, ShimSpec};
use crate::engine::store::{RecordError, read_record, write_volatile_record};

impl Room {
    /// `POST /containers/{id}/update`.
    pub async fn update(
        &self,
        id: &str,
        body: docker::ContainerUpdateBody,
    ) -> Result<docker::ContainerUpdateResponse, EngineError> {
        let container = self.index.find(id)?;
        let _verb = container.verb.lock().await;
        let record = container.record();
        if matches!(record.state, State::Removing { .. } | State::Dead { .. }) {
            return Err(EngineError::conflict(format!(
                "Cannot update container {}: container is marked for removal and cannot be \"update\"",
                container.id
            )));
        }
        validate::restart_policy(body.restart_policy.as_ref())?;
        let restarts = body.restart_policy.as_ref().and_then(|policy| policy.name).is_some_and(|name| {
            !matches!(name, docker::RestartPolicyNameEnum::EMPTY | docker::RestartPolicyNameEnum::NO)
        });
        if record.is_auto_removed() && restarts {
            return Err(EngineError::invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        refuse_fixed(&body)?;
        refuse_conflicts(&record.host_config, &body)
            .map_err(|error| EngineError::invalid(format!("Cannot update container {}: {error}", container.id)))?;
        let warnings = discarded(&updated(docker::HostConfig::default(), &body), &self.rooms.host);
        let updated = updated(record.host_config.clone(), &body);
        validate::resources(&updated, usize::try_from(self.rooms.host.cpus).unwrap_or(1))?;
        validate::realtime(&updated, self.rooms.host.cgroups.is_v2())?;
        if record.state.alive().is_some() {
            let limits = Limits { devices: None, ..oci_limits(&updated, &self.rooms.host)? };
            let before = Limits { devices: None, ..oci_limits(&record.host_config, &self.rooms.host)? };
            let before = as_before(before, &limits, &self.rooms.host);
            let (cgroups, path) = (self.cgroups.clone(), self.cgroup_of(&record));
            Self::blocking(move || {
                cgroups.update(&path, &limits).map_err(|error| {
                    // of several limits the first ones may be in force already
                    if let Err(stuck) = cgroups.update(&path, &before) {
                        tracing::warn!(%stuck, "a refused update could not be taken back whole");
                    }
                    EngineError::system(error.to_string()).because(error)
                })
            })
            .await
            .map_err(|error| EngineError::system(format!("Cannot update container {}: {error}", container.id)))?;
        }
        container
            .change(|record| {
                record.host_config = updated;
                Ok(())
            })
            .await?;
        self.tell_shim(&container).await;
        container.publish(&self.rooms.events, "update", []);
        Ok(docker::ContainerUpdateResponse { warnings: Some(warnings) })
    }
}

impl Room {
    /// A shim restarts its container by itself: it has to know the policy and the limits for that.
    async fn tell_shim(&self, container: &Container) {
        let Some(shim) = container.shim() else { return };
        let record = container.record();
        let policy = policy_of(record.host_config.restart_policy.as_ref());
        if let Err(error) = shim.set_restart_policy(policy).await {
            tracing::debug!(container = container.id, %error, "its engine applies the restart policy");
            return;
        }
        let path = Bundle::new(&container.folder.bundle).spec();
        let limits = oci_limits(&record.host_config, &self.rooms.host);
        let noted = Self::blocking(move || note_limits(&path, policy, limits?)).await;
        if let Err(error) = noted {
            tracing::warn!(container = container.id, %error, "its next restart has the old limits");
        }
    }
}

/// Changes what the shim reads before it restarts the container. The rules for devices stay.
fn note_limits(path: &Path, policy: RestartPolicy, limits: Limits) -> Result<(), EngineError> {
    let failed = |error: RecordError| EngineError::system(error.to_string()).because(error);
    let Some(mut spec) = read_record::<ShimSpec>(path).map_err(failed)? else { return Ok(()) };
    let devices = spec.plan.cgroup.limits.devices.take();
    spec.plan.cgroup.limits = Limits { devices, ..limits };
    if let Some(restart) = &mut spec.restart {
        restart.policy = policy;
    }
    write_volatile_record(path, &spec).map_err(failed)
}

/// The host configuration with what the update names; zero and empty mean: not named, as in Docker.
fn updated(mut host: docker::HostConfig, body: &docker::ContainerUpdateBody) -> docker::HostConfig {
    let number = |mine: &mut Option<i64>, theirs: Option<i64>| {
        if theirs.is_some_and(|value| value != 0) {
            *mine = theirs;
        }
    };
    let text = |mine: &mut Option<String>, theirs: &Option<String>| {
        if theirs.as_ref().is_some_and(|value| !value.is_empty()) {
            mine.clone_from(theirs);
        }
    };
    number(&mut host.cpu_shares, body.cpu_shares);
    number(&mut host.memory, body.memory);
    number(&mut host.memory_swap, body.memory_swap);
    number(&mut host.memory_reservation, body.memory_reservation);
    number(&mut host.cpu_period, body.cpu_period);
    number(&mut host.cpu_quota, body.cpu_quota);
    number(&mut host.nano_cpus, body.nano_cpus);
    number(&mut host.cpu_realtime_period, body.cpu_realtime_period);
    number(&mut host.cpu_realtime_runtime, body.cpu_realtime_runtime);
    // zero lifts it, as -1 does
    host.pids_limit = body.pids_limit.map(|limit| if limit > 0 { limit } else { -1 }).or(host.pids_limit);
    host.memory_swappiness = body.memory_swappiness.or(host.memory_swappiness);
    host.oom_kill_disable = body.oom_kill_disable.or(host.oom_kill_disable);
    text(&mut host.cpuset_cpus, &body.cpuset_cpus);
    text(&mut host.cpuset_mems, &body.cpuset_mems);
    if body.blkio_weight.is_some_and(|weight| weight != 0) {
        host.blkio_weight = body.blkio_weight;
    }
    given(&mut host.blkio_weight_device, &body.blkio_weight_device);
    given(&mut host.blkio_device_read_bps, &body.blkio_device_read_bps);
    given(&mut host.blkio_device_write_bps, &body.blkio_device_write_bps);
    given(&mut host.blkio_device_read_iops, &body.blkio_device_read_iops);
    given(&mut host.blkio_device_write_iops, &body.blkio_device_write_iops);
    if body
        .restart_policy
        .as_ref()
        .is_some_and(|policy| policy.name.is_some_and(|name| name != docker::RestartPolicyNameEnum::EMPTY))
    {
        host.restart_policy.clone_from(&body.restart_policy);
    }
    host
}

fn given<T: Clone>(mine: &mut Option<Vec<T>>, theirs: &Option<Vec<T>>) {
    if theirs.as_ref().is_some_and(|list| !list.is_empty()) {
        mine.clone_from(theirs);
    }
}

/// What a container keeps for its life.
fn refuse_fixed(body: &docker::ContainerUpdateBody) -> Result<(), EngineError> {
    fn any<T>(list: &Option<Vec<T>>) -> bool {
        list.as_ref().is_some_and(|list| !list.is_empty())
    }
    let fixed = [
        ("Devices", any(&body.devices)),
        ("DeviceCgroupRules", any(&body.device_cgroup_rules)),
        ("DeviceRequests", any(&body.device_requests)),
        ("Ulimits", any(&body.ulimits)),
        ("CgroupParent", body.cgroup_parent.as_ref().is_some_and(|parent| !parent.is_empty())),
        ("Init", body.init == Some(true)),
        ("CpuCount", body.cpu_count.unwrap_or_default() != 0),
        ("CpuPercent", body.cpu_percent.unwrap_or_default() != 0),
        ("IOMaximumIOps", body.io_maximum_iops.unwrap_or_default() != 0),
        ("IOMaximumBandwidth", body.io_maximum_bandwidth.unwrap_or_default() != 0),
    ];
    match fixed.iter().find(|(_, is_named)| *is_named) {
        Some((field, _)) => Err(EngineError::invalid(format!("{field} cannot be updated"))),
        None => Ok(()),
    }
}

/// What goes against a limit that the update does not name.
fn refuse_conflicts(host: &docker::HostConfig, body: &docker::ContainerUpdateBody) -> Result<(), EngineError> {
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    let refuse = |words: &str| Err(EngineError::invalid(words));
    let has_nano = set(host.nano_cpus).is_some();
    if has_nano && set(body.cpu_period).is_some() {
        return refuse("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
    }
    if has_nano && set(body.cpu_quota).is_some() {
        return refuse("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    if set(body.nano_cpus).is_some() && set(host.cpu_quota).is_some() {
        return refuse("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set");
    }
    if set(body.nano_cpus).is_some() && set(host.cpu_period).is_some() {
        return refuse("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set");
    }
    let swap = set(host.memory_swap).filter(|swap| *swap > 0);
    match (set(body.memory), set(body.memory_swap), swap) {
        (Some(memory), None, Some(swap)) if memory > swap => refuse(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        _ => Ok(()),
    }
}

/// The limits to go back to after a refusal: what `new` names and the container had not is lifted again.
fn as_before(old: Limits, new: &Limits, host: &HostFacts) -> Limits {
    fn lifted<T>(old: Option<T>, new: &Option<T>, none: T) -> Option<T> {
        old.or_else(|| new.is_some().then_some(none))
    }
    Limits {
        memory: lifted(old.memory, &new.memory, -1),
        memory_swap: lifted(old.memory_swap, &new.memory_swap, -1),
        memory_reservation: lifted(old.memory_reservation, &new.memory_reservation, -1),
        cpu_shares: lifted(old.cpu_shares, &new.cpu_shares, 1024),
        cpu_quota: lifted(old.cpu_quota, &new.cpu_quota, -1),
        cpu_period: lifted(old.cpu_period, &new.cpu_period, 100_000),
        cpuset_cpus: lifted(old.cpuset_cpus, &new.cpuset_cpus, host.cpu_list.clone()),
        cpuset_mems: lifted(old.cpuset_mems, &new.cpuset_mems, host.memory_nodes.clone()),
        pids: lifted(old.pids, &new.pids, -1),
        ..old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_changes_only_what_it_names() {
        let host = docker::HostConfig { memory: Some(100 << 20), cpu_shares: Some(512), ..Default::default() };
        let body = docker::ContainerUpdateBody { memory: Some(200 << 20), cpu_shares: Some(0), ..Default::default() };
        let new = updated(host, &body);
        assert_eq!((new.memory, new.cpu_shares), (Some(200 << 20), Some(512)));
    }

    #[test]
    fn an_update_against_what_stands_is_refused() {
        let words = |host: docker::HostConfig, body: docker::ContainerUpdateBody| {
            refuse_fixed(&body)
                .and_then(|()| refuse_conflicts(&host, &body))
                .map_err(|error| error.message().to_owned())
        };
        let half = docker::HostConfig { nano_cpus: Some(500_000_000), ..Default::default() };
        let quota = docker::ContainerUpdateBody { cpu_quota: Some(5000), ..Default::default() };
        let taken = "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set";
        assert_eq!(words(half, quota), Err(taken.to_owned()));
        let small = docker::HostConfig { memory: Some(8 << 20), memory_swap: Some(16 << 20), ..Default::default() };
        let more = docker::ContainerUpdateBody { memory: Some(32 << 20), ..Default::default() };
        assert!(
            words(small.clone(), more.clone()).unwrap_err().starts_with("Memory limit should be smaller than already")
        );
        assert_eq!(words(small, docker::ContainerUpdateBody { memory_swap: Some(-1), ..more }), Ok(()));
        let init = docker::ContainerUpdateBody { init: Some(true), ..Default::default() };
        assert_eq!(words(docker::HostConfig::default(), init), Err("Init cannot be updated".to_owned()));
    }

    #[test]
    fn a_refused_update_is_lifted_again() {
        let old = Limits { memory: Some(7), ..Limits::default() };
        let new = Limits { memory: Some(9), pids: Some(5), ..Limits::default() };
        let back = as_before(old, &new, &HostFacts::default());
        assert_eq!((back.memory, back.pids, back.cpu_shares), (Some(7), Some(-1), None));
    }
}
