//! Changing a container's limits and restart policy, also while it runs.

use bollard_stubs::models as docker;

use super::room::Room;
use super::state::State;
use super::validate;
use crate::engine::EngineError;
use crate::engine::oci::Limits;

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
        let updated = updated(record.host_config.clone(), &body);
        validate::resources(&updated, usize::try_from(self.rooms.host.cpus).unwrap_or(1))?;
        if record.state.alive().is_some() {
            let (cgroups, path, limits) = (self.cgroups.clone(), self.cgroup_of(&record), limits(&body, &updated));
            Self::blocking(move || {
                cgroups.update(&path, &limits).map_err(|error| EngineError::system(error.to_string()).because(error))
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
        container.publish(&self.rooms.events, "update", []);
        Ok(docker::ContainerUpdateResponse { warnings: Some(Vec::new()) })
    }
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
    number(&mut host.pids_limit, body.pids_limit);
    text(&mut host.cpuset_cpus, &body.cpuset_cpus);
    text(&mut host.cpuset_mems, &body.cpuset_mems);
    if body.blkio_weight.is_some_and(|weight| weight != 0) {
        host.blkio_weight = body.blkio_weight;
    }
    if body
        .restart_policy
        .as_ref()
        .is_some_and(|policy| policy.name.is_some_and(|name| name != docker::RestartPolicyNameEnum::EMPTY))
    {
        host.restart_policy.clone_from(&body.restart_policy);
    }
    host
}

/// What is to be written into the cgroup: only what the update names.
fn limits(body: &docker::ContainerUpdateBody, host: &docker::HostConfig) -> Limits {
    /// The period that a share of CPUs is counted in (the kernel's default).
    const PERIOD: i64 = 100_000;
    let named = |value: Option<i64>| value.filter(|value| *value != 0);
    let unsigned = |value: Option<i64>| named(value).and_then(|value| u64::try_from(value).ok());
    let filled = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let from_nano = named(body.nano_cpus).map(|nano| nano.saturating_mul(PERIOD) / 1_000_000_000);
    // Memory and swap are checked against one another by the kernel, so they go together.
    let memory_changes = named(body.memory).is_some() || named(body.memory_swap).is_some();
    Limits {
        memory: memory_changes.then(|| named(host.memory)).flatten(),
        memory_swap: memory_changes.then(|| named(host.memory_swap)).flatten(),
        memory_reservation: named(body.memory_reservation),
        cpu_shares: unsigned(body.cpu_shares),
        cpu_quota: from_nano.or(named(body.cpu_quota)),
        cpu_period: from_nano.and_then(|_| u64::try_from(PERIOD).ok()).or(unsigned(body.cpu_period)),
        cpuset_cpus: filled(&body.cpuset_cpus),
        cpuset_mems: filled(&body.cpuset_mems),
        pids: named(body.pids_limit),
        blkio_weight: body.blkio_weight.filter(|weight| *weight != 0),
        ..Limits::default()
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
        let limits = limits(&body, &new);
        assert_eq!((limits.memory, limits.cpu_shares, limits.pids), (Some(200 << 20), None, None));
    }

    #[test]
    fn cpus_become_quota_and_period() {
        let body = docker::ContainerUpdateBody { nano_cpus: Some(1_500_000_000), ..Default::default() };
        let limits = limits(&body, &docker::HostConfig::default());
        assert_eq!((limits.cpu_quota, limits.cpu_period), (Some(150_000), Some(100_000)));
    }
}
