//! Changing a container's limits and restart policy, also while it runs.

use bollard_stubs::models as docker;

use super::room::Room;
use super::state::State;
use super::validate;
use crate::engine::EngineError;
use crate::engine::oci::{Limits, limits};

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
            let limits = Limits { devices: None, ..limits(&updated, &self.rooms.host)? };
            let (cgroups, path) = (self.cgroups.clone(), self.cgroup_of(&record));
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
}
