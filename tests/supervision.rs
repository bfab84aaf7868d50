//! What goes on while no engine runs: restarts, ends, and what the next engine makes of it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by its panic

mod support;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, HostConfig, RestartPolicy, RestartPolicyNameEnum,
};
use support::Yard;

fn restarts(name: RestartPolicyNameEnum, limit: Option<i64>) -> HostConfig {
    let policy = RestartPolicy { name: Some(name), maximum_retry_count: limit };
    HostConfig { restart_policy: Some(policy), ..HostConfig::default() }
}

fn status(found: &ContainerInspectResponse) -> Option<ContainerStateStatusEnum> {
    found.state.as_ref().and_then(|state| state.status)
}

#[tokio::test]
async fn a_container_restarts_while_no_engine_runs() {
    let mut yard = Yard::new();
    let id = yard.run_with("phoenix", "echo life; exit 3", restarts(RestartPolicyNameEnum::ALWAYS, None)).await;
    let before = yard.until("phoenix", |found| found.restart_count > Some(0)).await.restart_count.unwrap();
    yard.kill_engine();
    let log = format!("{id}-json.log");
    // A line of the first run, one of each restart that the engine told, and two more.
    let lines = usize::try_from(before).unwrap() + 3;
    yard.file_until(&id, &log, |text| text.matches("life").count() >= lines);
    yard.start_engine();
    let found = yard.until("phoenix", |found| status(found) == Some(ContainerStateStatusEnum::RESTARTING)).await;
    assert!(found.restart_count.unwrap() >= before + 2, "{found:?}");
    assert_eq!(found.state.unwrap().exit_code, Some(3));
    // A stop ends the waiting, and nothing starts it again.
    yard.docker().stop_container("phoenix", None).await.unwrap();
    assert_eq!(yard.exit_code("phoenix").await, 3);
    yard.kill_engine();
    yard.start_engine();
    let found = yard.docker().inspect_container("phoenix", None).await.unwrap();
    assert_eq!(status(&found), Some(ContainerStateStatusEnum::EXITED));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn on_failure_gives_up_after_its_limit_and_keeps_its_address() {
    let yard = Yard::new();
    let limit = restarts(RestartPolicyNameEnum::ON_FAILURE, Some(2));
    yard.run_with("unlucky", "cat /sys/class/net/eth0/address; exit 4", limit).await;
    let found = yard.until("unlucky", |found| status(found) == Some(ContainerStateStatusEnum::EXITED)).await;
    assert_eq!((found.restart_count, found.state.unwrap().exit_code), (Some(2), Some(4)));
    let log = yard.log("unlucky").await;
    let addresses: Vec<&str> = log.lines().collect();
    assert_eq!(addresses.len(), 3, "{log}");
    assert!(addresses.iter().all(|address| *address == addresses[0]), "the network stays: {log}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn die_and_start_are_told_in_order_and_an_update_ends_it() {
    let yard = Yard::new();
    let docker = yard.docker();
    let id = yard.create_with("again", "exit 1", restarts(RestartPolicyNameEnum::UNLESS_STOPPED, None)).await;
    docker.start_container("again", None).await.unwrap();
    let seen = yard.actions(&id, |action| ["start", "die"].contains(&action), |seen| seen.len() == 5).await;
    assert_eq!(seen, ["start", "die", "start", "die", "start"]);
    let update = bollard::models::ContainerUpdateBody {
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        ..Default::default()
    };
    docker.update_container("again", update).await.unwrap();
    yard.until("again", |found| status(found) == Some(ContainerStateStatusEnum::EXITED)).await;
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_killed_shim_is_a_dead_container_and_its_policy_applies() {
    let yard = Yard::new();
    let id = yard.run_with("orphan", "echo up; sleep 600", restarts(RestartPolicyNameEnum::ALWAYS, None)).await;
    yard.log_until("orphan", "up").await;
    let first = yard.docker().inspect_container("orphan", None).await.unwrap().state.unwrap().pid;
    kill_shim(&yard, &id);
    let again = |found: &ContainerInspectResponse| {
        status(found) == Some(ContainerStateStatusEnum::RUNNING)
            && found.state.as_ref().is_some_and(|state| state.pid != first)
    };
    let found = yard.until("orphan", again).await;
    assert_eq!(found.restart_count, Some(1));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn after_a_reboot_those_with_a_policy_run_again() {
    let mut yard = Yard::new();
    let always = yard.run_with("always", "sleep 600", restarts(RestartPolicyNameEnum::ALWAYS, None)).await;
    let plain = yard.run("plain", "sleep 600").await;
    yard.run_with("stopped", "sleep 600", restarts(RestartPolicyNameEnum::UNLESS_STOPPED, None)).await;
    let at_once = bollard::query_parameters::StopContainerOptionsBuilder::default().t(0).build();
    yard.docker().stop_container("stopped", Some(at_once)).await.unwrap();
    yard.kill_engine();
    // What a reboot does: no process survives, and the run root is empty.
    for id in [&always, &plain] {
        kill_shim(&yard, id);
        std::fs::remove_dir_all(yard.run_root().join("containers").join(id)).unwrap();
    }
    yard.start_engine();
    yard.until("always", |found| status(found) == Some(ContainerStateStatusEnum::RUNNING)).await;
    let found = yard.docker().inspect_container("plain", None).await.unwrap();
    assert_eq!(status(&found), Some(ContainerStateStatusEnum::EXITED));
    let found = yard.docker().inspect_container("stopped", None).await.unwrap();
    assert_eq!(status(&found), Some(ContainerStateStatusEnum::EXITED));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn an_oom_kill_is_told_before_the_end_and_apart_from_a_plain_kill() {
    let yard = Yard::new();
    let docker = yard.docker();
    let limits = HostConfig { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..HostConfig::default() };
    let eats = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    let id = yard.run_with("glutton", eats, limits).await;
    let seen = yard
        .actions(&id, |action| ["oom", "die"].contains(&action), |seen| seen.last().is_some_and(|it| it == "die"))
        .await;
    assert_eq!(seen.first().map(String::as_str), Some("oom"), "{seen:?}");
    assert_eq!(yard.exit_code("glutton").await, 137);
    let state = docker.inspect_container("glutton", None).await.unwrap().state.unwrap();
    assert_eq!(state.oom_killed, Some(true));
    yard.run("victim", "sleep 600").await;
    docker.kill_container("victim", None).await.unwrap();
    let state = docker.inspect_container("victim", None).await.unwrap().state.unwrap();
    assert_eq!((state.exit_code, state.oom_killed), (Some(137), Some(false)));
    yard.leaves_nothing_behind().await;
}

/// SIGKILL to the shim of container `id`, and waits until it is gone.
fn kill_shim(yard: &Yard, id: &str) {
    let note = std::fs::read_to_string(yard.run_root().join("containers").join(id).join("shim.pid")).unwrap();
    let note: serde_json::Value = serde_json::from_str(&note).unwrap();
    let pid = i32::try_from(note["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}
