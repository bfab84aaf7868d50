//! What goes on while no engine runs: restarts, ends, and what the next engine makes of it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by its panic

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HostConfig, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{CreateContainerOptions, CreateContainerOptionsBuilder};
use support::{PATIENCE, Yard};

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
async fn after_a_reboot_all_is_as_it_should_be() {
    let mut yard = Yard::new();
    let docker = yard.docker();
    let policy = |name| restarts(name, None);
    let rm = HostConfig { auto_remove: Some(true), ..HostConfig::default() };
    let mut ran = vec![
        yard.run_with("always", "sleep 600", policy(RestartPolicyNameEnum::ALWAYS)).await,
        yard.run_with("failure", "sleep 600", policy(RestartPolicyNameEnum::ON_FAILURE)).await,
        yard.run_with("frozen", "sleep 600", policy(RestartPolicyNameEnum::UNLESS_STOPPED)).await,
        yard.run_with("between", "exit 1", policy(RestartPolicyNameEnum::ALWAYS)).await,
        yard.run("plain", "sleep 600").await,
    ];
    let gone = yard.run_with("gone", "sleep 600", rm).await;
    ran.push(gone.clone());
    docker.pause_container("frozen").await.unwrap();
    yard.run_with("stopped", "sleep 600", policy(RestartPolicyNameEnum::UNLESS_STOPPED)).await;
    let at_once = bollard::query_parameters::StopContainerOptionsBuilder::default().t(0).build();
    docker.stop_container("stopped", Some(at_once)).await.unwrap();
    yard.create_with("created", "sleep 600", policy(RestartPolicyNameEnum::ALWAYS)).await;
    yard.until("between", |found| found.restart_count > Some(1)).await;
    yard.kill_engine();
    // What a reboot does: no process survives, and the run root is empty.
    for id in &ran {
        kill_shim(&yard, id);
        std::fs::remove_dir_all(yard.run_root().join("containers").join(id)).unwrap();
    }
    yard.start_engine();
    for name in ["always", "failure", "frozen"] {
        yard.until(name, |found| status(found) == Some(ContainerStateStatusEnum::RUNNING)).await;
    }
    yard.until("between", |found| found.restart_count > Some(3)).await;
    let found = docker.inspect_container("plain", None).await.unwrap();
    assert_eq!(status(&found), Some(ContainerStateStatusEnum::EXITED));
    assert_eq!(found.state.unwrap().exit_code, Some(255), "nobody saw how it ended");
    let found = docker.inspect_container("stopped", None).await.unwrap();
    assert_eq!(status(&found), Some(ContainerStateStatusEnum::EXITED));
    let found = docker.inspect_container("created", None).await.unwrap();
    assert_eq!(status(&found), Some(ContainerStateStatusEnum::CREATED));
    yard.actions(&gone, |action| action == "destroy", |seen| seen.len() == 1).await;
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn what_removes_itself_does_so_after_any_end() {
    let mut yard = Yard::new();
    let rm = || HostConfig { auto_remove: Some(true), ..HostConfig::default() };
    let ids = [
        yard.run_with("ends", "while ! [ -e /end ]; do sleep 0.05; done; exit 3", rm()).await,
        yard.run_with("is-killed", "sleep 600", rm()).await,
        yard.run_with("runs-on", "sleep 600", rm()).await,
    ];
    let first = yard.docker().inspect_container("ends", None).await.unwrap();
    yard.kill_engine();
    // One ends with its shim to tell, one without; one lives on.
    let pid = first.state.unwrap().pid.unwrap();
    std::fs::write(format!("/proc/{pid}/root/end"), "").unwrap();
    yard.file_until(&ids[0], "exit.json", |text| !text.is_empty());
    kill_shim(&yard, &ids[1]);
    yard.start_engine();
    for id in &ids[..2] {
        yard.actions(id, |action| action == "destroy", |seen| seen.len() == 1).await;
    }
    let removed = Waiter::of(&yard, "runs-on", "removed");
    let restarted = bollard::query_parameters::RestartContainerOptionsBuilder::default().t(0).build();
    yard.docker().restart_container("runs-on", Some(restarted)).await.unwrap();
    let found = yard.docker().inspect_container("runs-on", None).await.unwrap();
    assert_eq!(status(&found), Some(ContainerStateStatusEnum::RUNNING), "a restart removes nothing");
    yard.docker().kill_container("runs-on", None).await.unwrap();
    assert_eq!(removed.code(), 137);
    yard.leaves_nothing_behind().await;
}

/// A wait that the engine has taken up.
struct Waiter(BufReader<UnixStream>);

impl Waiter {
    fn of(yard: &Yard, name: &str, condition: &str) -> Self {
        let mut stream = UnixStream::connect(yard.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "POST /v1.43/containers/{name}/wait?condition={condition} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        // Its head comes at once, and says that it waits.
        while line != "\r\n" {
            line.clear();
            assert_ne!(answer.read_line(&mut line).unwrap(), 0, "a head");
        }
        Self(answer)
    }

    fn code(mut self) -> i64 {
        let mut body = String::new();
        self.0.read_to_string(&mut body).unwrap();
        let (_, rest) = body.split_once("\"StatusCode\":").unwrap_or_else(|| panic!("a status code in {body:?}"));
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    }
}

#[tokio::test]
async fn waits_end_by_their_conditions() {
    let yard = Yard::new();
    let docker = yard.docker();
    yard.create_with("seven", "exit 7", HostConfig::default()).await;
    assert_eq!(Waiter::of(&yard, "seven", "not-running").code(), 0, "it never ran");
    for _ in 0..2 {
        let next = Waiter::of(&yard, "seven", "next-exit");
        docker.start_container("seven", None).await.unwrap();
        assert_eq!(next.code(), 7);
        assert_eq!(Waiter::of(&yard, "seven", "not-running").code(), 7);
    }
    let (next, removed) = (Waiter::of(&yard, "seven", "next-exit"), Waiter::of(&yard, "seven", "removed"));
    docker.remove_container("seven", None).await.unwrap();
    assert_eq!((next.code(), removed.code()), (7, 7));
    yard.leaves_nothing_behind().await;
}

fn named(name: &str) -> Option<CreateContainerOptions> {
    Some(CreateContainerOptionsBuilder::default().name(name).build())
}

#[tokio::test]
async fn exit_codes_are_dockers() {
    let yard = Yard::new();
    let docker = yard.docker();
    let image = yard.host_image().await;
    let init = HostConfig { init: Some(true), ..HostConfig::default() };
    yard.run_with("ends", "echo up; sleep 600", init).await;
    yard.log_until("ends", "up").await;
    docker.stop_container("ends", None).await.unwrap();
    assert_eq!(yard.exit_code("ends").await, 143);

    let trap = ContainerCreateBody {
        image: Some(image.clone()),
        cmd: Some(["sh", "-c", "trap 'exit 3' USR1; sleep 600 & echo up; wait"].map(str::to_owned).to_vec()),
        stop_signal: Some("SIGUSR1".to_owned()),
        stop_timeout: Some(3600),
        ..Default::default()
    };
    docker.create_container(named("trap"), trap).await.unwrap();
    docker.start_container("trap", None).await.unwrap();
    yard.log_until("trap", "up").await;
    docker.stop_container("trap", None).await.unwrap();
    assert_eq!(yard.exit_code("trap").await, 3);

    let reason = "failed to create task for container: failed to create shim task: OCI runtime create failed: unable to \
                  start container process: exec: ";
    for (program, code, why) in [
        ("no-such", 127, "\"no-such\": executable file not found in $PATH: unknown"),
        ("/no-such", 127, "\"/no-such\": stat /no-such: no such file or directory: unknown"),
        ("/proc", 126, "\"/proc\": is a directory: unknown"),
    ] {
        let config = ContainerCreateBody {
            image: Some(image.clone()),
            cmd: Some(vec![program.to_owned()]),
            ..Default::default()
        };
        let name = program.replace('/', "at-");
        let id = docker.create_container(named(&name), config).await.unwrap().id;
        let Err(bollard::errors::Error::DockerResponseServerError { message, .. }) =
            docker.start_container(&id, None).await
        else {
            panic!("{program} does not run")
        };
        assert_eq!(message, format!("{reason}{why}"));
        assert_eq!(yard.exit_code(&id).await, code);
        let state = docker.inspect_container(&id, None).await.unwrap().state.unwrap();
        assert_eq!((state.exit_code, state.error), (Some(code), Some(message)));
    }
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
