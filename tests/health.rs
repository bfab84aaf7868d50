//! Health checks: the shim probes, whether an engine runs or not; list, inspect, events and filters tell.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by its panic

mod support;

use std::collections::HashMap;

use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, Health, HealthConfig, HealthStatusEnum, HostConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
};
use support::{Yard, processes_naming};

const MILLISECOND: i64 = 1_000_000;

/// A health check that runs `script` in a shell every 200 ms; two failures in a row are enough.
fn check(script: &str) -> HealthConfig {
    HealthConfig {
        test: Some(vec!["CMD-SHELL".to_owned(), script.to_owned()]),
        interval: Some(200 * MILLISECOND),
        retries: Some(2),
        ..HealthConfig::default()
    }
}

async fn run(yard: &Yard, name: &str, script: &str, health: HealthConfig, host_config: HostConfig) -> String {
    let config = ContainerCreateBody {
        image: Some(yard.host_image().await),
        cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        healthcheck: Some(health),
        host_config: Some(host_config),
        ..Default::default()
    };
    start(yard, name, config).await
}

async fn start(yard: &Yard, name: &str, config: ContainerCreateBody) -> String {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let id = yard.docker().create_container(Some(options), config).await.unwrap().id;
    yard.docker().start_container(&id, None).await.unwrap();
    id
}

fn health(found: &ContainerInspectResponse) -> Health {
    found.state.clone().unwrap().health.unwrap_or_default()
}

fn is(status: HealthStatusEnum) -> impl Fn(&ContainerInspectResponse) -> bool {
    move |found| health(found).status == Some(status)
}

/// The names and status texts of all containers whose health is `wanted`.
async fn listed(yard: &Yard, wanted: &str) -> Vec<(String, String)> {
    let filters = HashMap::from([("health", vec![wanted])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = yard.docker().list_containers(Some(options)).await.unwrap();
    found.into_iter().map(|it| (it.names.unwrap().concat(), it.status.unwrap())).collect()
}

#[tokio::test]
async fn health_is_told_by_list_inspect_and_events_with_and_without_an_engine() {
    let mut yard = Yard::new();
    let id = run(&yard, "patient", "sleep 600", check("cat /fine"), HostConfig::default()).await;
    let started = yard.docker().inspect_container("patient", None).await.unwrap();
    assert_ne!(health(&started).status, Some(HealthStatusEnum::HEALTHY));

    let ill = health(&yard.until("patient", is(HealthStatusEnum::UNHEALTHY)).await);
    assert!(ill.failing_streak >= Some(2), "{ill:?}");
    let first = ill.log.unwrap().swap_remove(0);
    assert_eq!(first.exit_code, Some(1));
    assert!(first.output.unwrap().contains("/fine: No such file"));
    assert!(first.end > first.start);
    let told = |action: &str| action.starts_with("exec_") || action.starts_with("health_status");
    let seen = yard.actions(&id, told, |seen| seen.last().is_some_and(|it| it == "health_status: unhealthy")).await;
    let probe = ["exec_create: /bin/sh -c cat /fine", "exec_start: /bin/sh -c cat /fine", "exec_die"];
    assert_eq!(seen, [&probe[..], &probe[..], &["health_status: unhealthy"]].concat());

    // The container's root as its first process sees it: a way in that needs no engine.
    let root = format!("/proc/{}/root", started.state.unwrap().pid.unwrap());
    let fine = format!("{root}/fine");
    // At once whole: a probe may look at any moment.
    std::fs::write(format!("{root}/tmp-fine"), "yes").unwrap();
    std::fs::rename(format!("{root}/tmp-fine"), &fine).unwrap();
    let well = health(&yard.until("patient", is(HealthStatusEnum::HEALTHY)).await);
    assert_eq!((well.failing_streak, well.log.unwrap().pop().unwrap().output.as_deref()), (Some(0), Some("yes")));
    let list = listed(&yard, "healthy").await;
    assert!(matches!(&list[..], [(_, text)] if text.starts_with("Up ") && text.ends_with(" (healthy)")), "{list:?}");

    yard.kill_engine();
    std::fs::remove_file(&fine).unwrap();
    yard.file_until(&id, "health.json", |text| text.contains("\"unhealthy\""));
    yard.start_engine();
    let found = yard.docker().inspect_container("patient", None).await.unwrap();
    assert_eq!(health(&found).status, Some(HealthStatusEnum::UNHEALTHY));
    std::fs::write(&fine, "again").unwrap();
    yard.until("patient", is(HealthStatusEnum::HEALTHY)).await;

    // What does not run is not healthy, also for the next engine; its next run starts over.
    yard.docker().kill_container("patient", None).await.unwrap();
    yard.exit_code("patient").await;
    for _ in 0..2 {
        let found = yard.docker().inspect_container("patient", None).await.unwrap();
        assert_eq!(health(&found).status, Some(HealthStatusEnum::UNHEALTHY));
        let list = listed(&yard, "unhealthy").await;
        assert!(matches!(&list[..], [(_, text)] if text.starts_with("Exited (137) ")), "{list:?}");
        yard.kill_engine();
        yard.start_engine();
    }
    yard.docker().start_container("patient", None).await.unwrap();
    yard.until("patient", is(HealthStatusEnum::HEALTHY)).await;
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_probe_that_takes_too_long_is_killed_with_what_it_started() {
    let yard = Yard::new();
    let times = HealthConfig { interval: Some(1000 * MILLISECOND), timeout: Some(300 * MILLISECOND), ..check("") };
    // No shell makes the last command of a list wait in its own place if another one follows.
    let slow = HealthConfig { test: check("echo slow; sleep 7753; echo never").test, ..times };
    let id = run(&yard, "slow", "sleep 600", slow, HostConfig::default()).await;
    yard.actions(&id, |action| action == "exec_die", |seen| seen.len() == 2).await;
    let left: Vec<String> =
        processes_naming("sleep 7753").into_iter().filter(|process| !process.contains("sh -c")).collect();
    assert!(left.len() <= 1, "the first probe's command is gone: {left:?}");
    let found = health(&yard.until("slow", is(HealthStatusEnum::UNHEALTHY)).await);
    let first = found.log.unwrap().swap_remove(0);
    let said = "Health check exceeded timeout (300ms): slow\n";
    assert_eq!((first.exit_code, first.output.as_deref()), (Some(-1), Some(said)));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_probe_that_cannot_run_says_why() {
    let yard = Yard::new();
    let test = Some(["CMD", "/no-such-program", "x"].map(str::to_owned).to_vec());
    let id = run(&yard, "cannot", "sleep 600", HealthConfig { test, ..check("") }, HostConfig::default()).await;
    let found = health(&yard.until("cannot", is(HealthStatusEnum::UNHEALTHY)).await);
    let first = found.log.unwrap().swap_remove(0);
    assert_eq!(first.exit_code, Some(-1));
    let said = first.output.unwrap();
    assert!(said.starts_with("OCI runtime exec failed: exec failed: unable to start container process: "), "{said}");
    let told = |action: &str| action.starts_with("exec_");
    let seen = yard.actions(&id, told, |seen| seen.len() >= 2).await;
    assert_eq!(seen[..2], ["exec_create: /no-such-program x", "exec_start: /no-such-program x"]);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn the_images_check_is_inherited_and_can_be_refused() {
    let yard = Yard::new();
    run(&yard, "maker", "sleep 600", check("echo fine"), HostConfig::default()).await;
    let commit = CommitContainerOptionsBuilder::default().container("maker").repo("checked").tag("1").build();
    yard.docker().commit_container(commit, ContainerConfig::default()).await.unwrap();
    let config = |healthcheck| ContainerCreateBody {
        image: Some("checked:1".to_owned()),
        cmd: Some(["sleep", "600"].map(str::to_owned).to_vec()),
        healthcheck,
        ..Default::default()
    };
    start(&yard, "heir", config(None)).await;
    yard.until("heir", is(HealthStatusEnum::HEALTHY)).await;
    let other = HealthConfig { test: Some(vec!["CMD".to_owned(), "false".to_owned()]), ..HealthConfig::default() };
    start(&yard, "rebel", config(Some(other))).await;
    let found = yard.until("rebel", is(HealthStatusEnum::UNHEALTHY)).await;
    let merged = found.config.unwrap().healthcheck.unwrap();
    assert_eq!((merged.interval, merged.retries), (Some(200 * MILLISECOND), Some(2)), "times come from the image");
    let none = HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
    start(&yard, "none", config(Some(none))).await;
    let found = yard.docker().inspect_container("none", None).await.unwrap();
    assert_eq!(found.state.unwrap().health, None);
    let list = listed(&yard, "none").await;
    assert!(matches!(&list[..], [(name, text)] if name == "/none" && !text.contains('(')), "{list:?}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_restarted_run_starts_over() {
    let yard = Yard::new();
    let policy = RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
    let host_config = HostConfig { restart_policy: Some(policy), ..HostConfig::default() };
    // Its second run is never found healthy: there is nothing to read.
    let script = "if [ -e /ran ]; then : > /fine; else echo > /ran; echo yes > /fine; fi; sleep 600";
    let id = run(&yard, "again", script, check("read x < /fine"), host_config).await;
    let found = yard.until("again", is(HealthStatusEnum::HEALTHY)).await;
    let pid = i32::try_from(found.state.unwrap().pid.unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let again = yard.until("again", |found| found.restart_count == Some(1) && is(HealthStatusEnum::UNHEALTHY)(found));
    assert!(health(&again.await).log.unwrap().len() >= 2);
    let told = |action: &str| action.starts_with("health_status") || action == "die";
    let seen = yard.actions(&id, told, |seen| seen.len() == 3).await;
    assert_eq!(seen, ["health_status: healthy", "die", "health_status: unhealthy"]);
    yard.leaves_nothing_behind().await;
}
