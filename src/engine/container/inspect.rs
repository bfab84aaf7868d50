//! `docker inspect` of a container.

use std::collections::HashMap;

use bollard_stubs::models as docker;
use jiff::Timestamp;

use super::list::settings;
use super::merge::command_line;
use super::record::ContainerRecord;
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::network::ports::port_map;
use crate::engine::volume::MountedPoint;

/// What Go prints for a time that is not set.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Room {
    /// `GET /containers/{id}/json`.
    pub async fn inspect(&self, id: &str, size: bool) -> Result<docker::ContainerInspectResponse, EngineError> {
        let container = self.index.find(id)?;
        let record = container.record();
        let sizes = if size { Some(self.sizes(&container, &record).await?) } else { None };
        let words = command_line(&record.config);
        let folder = &container.folder;
        let path = |path: std::path::PathBuf| Some(path.to_string_lossy().into_owned());
        let has_files = folder.network_file("hosts").exists();
        let network_file = |name: &str| if has_files { path(folder.network_file(name)) } else { Some(String::new()) };
        let lowers = self.stack_of(&container, &record).map(|stack| stack.lowers).unwrap_or_default();
        let lowers: Vec<String> = lowers.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let graph = HashMap::from([
            ("LowerDir".to_owned(), lowers.join(":")),
            ("UpperDir".to_owned(), folder.upper().to_string_lossy().into_owned()),
            ("WorkDir".to_owned(), folder.work().to_string_lossy().into_owned()),
            ("MergedDir".to_owned(), String::new()),
            ("ID".to_owned(), record.id.clone()),
        ]);
        let execs = self.execs.live_of(&record.id);
        // As Docker: what the local driver writes is its own affair.
        let driver = record.host_config.log_config.as_ref().and_then(|log| log.typ.as_deref());
        let has_log = !matches!(driver, Some("none" | "local"));
        Ok(docker::ContainerInspectResponse {
            id: Some(record.id.clone()),
            created: Some(record.created.to_string()),
            path: Some(words.first().cloned().unwrap_or_default()),
            args: Some(words.into_iter().skip(1).collect()),
            state: Some(state(&record)),
            image: Some(record.image.as_ref().map(ToString::to_string).unwrap_or_default()),
            resolv_conf_path: network_file("resolv.conf"),
            hostname_path: network_file("hostname"),
            hosts_path: network_file("hosts"),
            log_path: if has_log { path(folder.log(&record.id)) } else { Some(String::new()) },
            name: Some(format!("/{}", record.name)),
            restart_count: Some(record.restart_count.into()),
            driver: Some("overlay2".to_owned()),
            platform: Some("linux".to_owned()),
            mount_label: Some(String::new()),
            process_label: Some(String::new()),
            app_armor_profile: Some(String::new()),
            exec_ids: (!execs.is_empty()).then_some(execs),
            host_config: Some(shown_host_config(&record)),
            graph_driver: Some(docker::DriverData { name: "overlay2".to_owned(), data: graph }),
            size_rw: sizes.map(|(written, _)| written),
            size_root_fs: sizes.map(|(_, whole)| whole),
            mounts: Some(record.mounts.iter().filter_map(MountedPoint::point).collect()),
            config: Some(shown_config(&record)),
            network_settings: Some(network_settings(&record)),
            ..Default::default()
        })
    }
}

fn state(record: &ContainerRecord) -> docker::ContainerState {
    let alive = record.state.alive();
    let exit = record.state.exit();
    let failure = match &record.state {
        State::Created { failure } => failure.as_ref(),
        _ => None,
    };
    let text = |time: Option<Timestamp>| Some(time.map_or_else(|| NEVER.to_owned(), |time| time.to_string()));
    let error = match &record.state {
        State::Dead { why, .. } => why.clone(),
        _ => failure
            .map(|failure| failure.message.clone())
            .or_else(|| exit.map(|exit| exit.error.clone()))
            .unwrap_or_default(),
    };
    docker::ContainerState {
        status: Some(record.state.status()),
        running: Some(record.state.is_running()),
        paused: Some(matches!(record.state, State::Paused(_))),
        restarting: Some(matches!(record.state, State::Restarting { .. })),
        oom_killed: Some(exit.is_some_and(|exit| exit.oom_killed) || alive.is_some_and(|alive| alive.oom_killed)),
        dead: Some(matches!(record.state, State::Dead { .. })),
        pid: Some(alive.map_or(0, |alive| alive.pid.into())),
        exit_code: Some(exit.map(|exit| exit.code).or_else(|| failure.map(|failure| failure.code)).unwrap_or(0)),
        error: Some(error),
        started_at: text(alive.map(|alive| alive.started_at).or_else(|| exit.map(|exit| exit.started_at))),
        // Of one that runs, when it ended the time before, as dockerd has it.
        finished_at: text(exit.or(record.last_exit.as_ref()).map(|exit| exit.finished_at)),
        health: record.health.as_ref().map(super::health::shown),
    }
}

/// The configuration with the fields that clients read without looking whether they are there.
fn shown_config(record: &ContainerRecord) -> docker::ContainerConfig {
    let mut config = record.config.clone();
    config.domainname.get_or_insert_default();
    config.hostname.get_or_insert_default();
    config.user.get_or_insert_default();
    config.working_dir.get_or_insert_default();
    config.env.get_or_insert_default();
    config.labels.get_or_insert_default();
    for flag in [
        &mut config.attach_stdin,
        &mut config.attach_stdout,
        &mut config.attach_stderr,
        &mut config.tty,
        &mut config.open_stdin,
        &mut config.stdin_once,
    ] {
        flag.get_or_insert(false);
    }
    config
}

fn shown_host_config(record: &ContainerRecord) -> docker::HostConfig {
    let mut host = record.host_config.clone();
    for flag in [
        &mut host.privileged,
        &mut host.auto_remove,
        &mut host.publish_all_ports,
        &mut host.readonly_rootfs,
        &mut host.init,
        &mut host.oom_kill_disable,
    ] {
        flag.get_or_insert(false);
    }
    for number in [
        &mut host.memory,
        &mut host.memory_swap,
        &mut host.memory_reservation,
        &mut host.nano_cpus,
        &mut host.cpu_shares,
        &mut host.cpu_period,
        &mut host.cpu_quota,
        &mut host.oom_score_adj,
    ] {
        number.get_or_insert(0);
    }
    for text in [
        &mut host.cpuset_cpus,
        &mut host.cpuset_mems,
        &mut host.cgroup_parent,
        &mut host.pid_mode,
        &mut host.uts_mode,
        &mut host.userns_mode,
        &mut host.container_id_file,
        &mut host.volume_driver,
        &mut host.cgroup,
    ] {
        text.get_or_insert_default();
    }
    host.port_bindings.get_or_insert_default();
    host.links.clone_from(&record.host_config.links);
    host
}

fn network_settings(record: &ContainerRecord) -> docker::NetworkSettings {
    let is_alive = record.state.alive().is_some();
    let published: Vec<_> = record.endpoints().flat_map(|endpoint| &endpoint.ports).collect();
    let ports = if is_alive { port_map(&record.exposed_ports(), published) } else { HashMap::new() };
    let sandbox = if is_alive { record.id.clone() } else { String::new() };
    let key = record.state.alive().map_or_else(String::new, |alive| format!("/proc/{}/ns/net", alive.pid));
    docker::NetworkSettings {
        sandbox_id: Some(sandbox),
        sandbox_key: Some(key),
        ports: Some(ports),
        networks: Some(record.networks.iter().map(|(name, place)| (name.clone(), settings(place))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::tests::record;
    use super::super::state::tests::{exited, running};
    use super::*;

    #[test]
    fn states_read_as_dockers() {
        let shown = state(&record("web", running()));
        assert_eq!((shown.running, shown.pid, shown.exit_code), (Some(true), Some(42), Some(0)));
        assert_eq!(shown.started_at.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(shown.finished_at.as_deref(), Some(NEVER));
        let shown = state(&record("web", exited(137)));
        assert_eq!((shown.running, shown.pid, shown.exit_code), (Some(false), Some(0), Some(137)));
    }

    #[test]
    fn a_failed_start_is_told() {
        let failure = super::super::state::StartFailure { code: 127, message: "not found".to_owned() };
        let shown = state(&record("web", State::Created { failure: Some(failure) }));
        assert_eq!((shown.exit_code, shown.error.as_deref()), (Some(127), Some("not found")));
        assert_eq!(shown.status, Some(docker::ContainerStateStatusEnum::CREATED));
    }
}
