//! Health checks as the API names them: what the shim is told, and what of its findings is shown.

use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models as docker;

use super::live::Container;
use super::record::ContainerRecord;
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::oci::{self, ExecInput};
use crate::engine::runtime::HostFacts;
use crate::engine::shim::{Health, HealthSpec, HealthStatus, HealthTimes};

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// The health check of a container; `None` where it has none.
///
/// # Errors
/// What the plan of its probe refuses.
pub fn spec_of(
    config: &docker::ContainerConfig,
    host_config: &docker::HostConfig,
    host: &HostFacts,
) -> Result<Option<HealthSpec>, EngineError> {
    let (Some(check), Some(command)) = (&config.healthcheck, probe_of(config)) else { return Ok(None) };
    let exec = docker::ExecConfig { cmd: Some(command), ..docker::ExecConfig::default() };
    let plan = oci::exec_plan(&ExecInput { config, host_config, exec: &exec, host })?;
    Ok(Some(HealthSpec { plan, times: times_of(check) }))
}

/// What a probe of this container runs; `None` where it has no health check.
fn probe_of(config: &docker::ContainerConfig) -> Option<Vec<String>> {
    command_of(config.healthcheck.as_ref()?.test.as_deref()?, config.shell.as_deref())
}

/// What a probe runs. A kind of test that dockerd does not know is no test there either.
fn command_of(test: &[String], shell: Option<&[String]>) -> Option<Vec<String>> {
    let (kind, rest) = test.split_first()?;
    match (kind.as_str(), rest) {
        ("CMD", command @ [_, ..]) => Some(command.to_vec()),
        ("CMD-SHELL", script @ [_, ..]) => {
            let usual = ["/bin/sh", "-c"].map(str::to_owned);
            let shell = shell.filter(|shell| !shell.is_empty()).unwrap_or(&usual);
            Some(shell.iter().chain(script).cloned().collect())
        }
        _ => None,
    }
}

fn times_of(check: &docker::HealthConfig) -> HealthTimes {
    let time = |nanoseconds: Option<i64>, usual: Duration| {
        let asked = nanoseconds.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
        asked.map_or(usual, Duration::from_nanos)
    };
    HealthTimes {
        interval: time(check.interval, INTERVAL),
        timeout: time(check.timeout, TIMEOUT),
        start_period: time(check.start_period, Duration::ZERO),
        start_interval: time(check.start_interval, START_INTERVAL),
        retries: check
            .retries
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| *count > 0)
            .unwrap_or(RETRIES),
    }
}

/// What inspect shows of it.
pub fn shown(health: &Health) -> docker::Health {
    let status = match health.status {
        HealthStatus::Starting => docker::HealthStatusEnum::STARTING,
        HealthStatus::Healthy => docker::HealthStatusEnum::HEALTHY,
        HealthStatus::Unhealthy => docker::HealthStatusEnum::UNHEALTHY,
    };
    let result = |result: &crate::engine::shim::ProbeResult| docker::HealthcheckResult {
        start: Some(result.start.to_string()),
        end: Some(result.end.to_string()),
        exit_code: Some(result.exit_code),
        output: Some(result.output.clone()),
    };
    docker::Health {
        status: Some(status),
        failing_streak: Some(health.failing_streak.into()),
        log: Some(health.log.iter().map(result).collect()),
    }
}

impl Room {
    /// The shim has begun a probe: told and shown as the exec that it is.
    pub fn note_probe(&self, container: &Container, exec_id: String, pid: Option<u32>) {
        let config = docker::ExecConfig {
            cmd: probe_of(&container.record().config),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..docker::ExecConfig::default()
        };
        let exec = self.execs.add_probe(exec_id, container.id.clone(), config, pid.unwrap_or_default());
        self.publish_exec(container, &exec, "exec_create");
        self.publish_exec(container, &exec, "exec_start");
        if pid.is_none() {
            self.execs.remove(&exec.id);
        }
    }

    /// The shim has news of its container's health.
    pub async fn note_health(&self, container: &Arc<Container>, mut health: Health) {
        let record = container.record();
        if matches!(record.state, State::Paused(_)) {
            health.status = HealthStatus::Unhealthy;
        }
        let (before, now) = (record.health.as_ref().map(|health| health.status), health.status);
        container.change_unwritten(|record| record.health = Some(health)).await;
        if now != HealthStatus::Starting && before != Some(now) {
            container.publish(&self.rooms.events, format!("health_status: {}", now.word()), []);
        }
    }
}

/// A container that ended or stands still is not healthy, whatever it was; that makes no event, as in Docker. The next
/// probe tells how one is that goes on.
pub fn note_rest(record: &mut ContainerRecord) {
    if let Some(health) = &mut record.health {
        health.status = HealthStatus::Unhealthy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_in_all_their_forms() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let shell = words("/bin/ash -c");
        let check = |test: &str, expected: Option<&str>| {
            assert_eq!(command_of(&words(test), None), expected.map(words), "{test}");
        };
        check("", None);
        check("NONE", None);
        check("CMD", None);
        check("CMD curl -f x", Some("curl -f x"));
        check("CMD-SHELL true", Some("/bin/sh -c true"));
        check("LEVITATE x", None);
        assert_eq!(command_of(&words("CMD-SHELL true"), Some(&shell)), Some(words("/bin/ash -c true")));
    }

    #[test]
    fn times_that_are_not_named_are_dockers() {
        let times = times_of(&docker::HealthConfig { interval: Some(1_000_000_000), ..Default::default() });
        assert_eq!((times.interval, times.timeout, times.retries), (Duration::from_secs(1), TIMEOUT, RETRIES));
    }
}
