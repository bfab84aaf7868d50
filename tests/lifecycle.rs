//! Stories of containers, told through the Engine API by bollard.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};

use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, EndpointSettings, HostConfig, NetworkCreateRequest,
    NetworkingConfig, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::StreamExt;
use support::{Yard, published};

fn status_code(error: &bollard::errors::Error) -> u16 {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => *status_code,
        other => panic!("not an answer of the engine: {other}"),
    }
}

#[tokio::test]
async fn a_container_runs_prints_and_ends_with_its_code() {
    let yard = Yard::new();
    yard.run("one", "echo out; echo err >&2; exit 7").await;
    assert_eq!(yard.exit_code("one").await, 7);
    let log = yard.log("one").await;
    assert!(log.contains("out\n") && log.contains("err\n"), "{log:?}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_container_outlives_a_killed_engine() {
    let mut yard = Yard::new();
    yard.run("web", "echo one; while [ ! -e /go ]; do sleep 0.05; done; echo two; sleep 600").await;
    yard.log_until("web", "one").await;
    let pid = |state: Option<bollard::models::ContainerState>| state.unwrap().pid.unwrap();
    let before = pid(yard.docker().inspect_container("web", None).await.unwrap().state);

    yard.kill_engine();
    yard.start_engine();

    let after = yard.docker().inspect_container("web", None).await.unwrap().state;
    assert_eq!(after.as_ref().unwrap().status, Some(ContainerStateStatusEnum::RUNNING));
    assert_eq!(pid(after), before);
    exec(&yard, "web", &["mkdir", "/go"]).await;
    yard.log_until("web", "two").await;
    assert_eq!(yard.log("web").await, "one\ntwo\n");
    let kill = KillContainerOptionsBuilder::default().signal("KILL").build();
    yard.docker().kill_container("web", Some(kill)).await.unwrap();
    assert_eq!(yard.exit_code("web").await, 137);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn an_end_while_no_engine_ran_is_known_afterwards() {
    let mut yard = Yard::new();
    yard.run("short", "while [ ! -e /stop ]; do sleep 0.05; done; echo bye; exit 3").await;
    exec(&yard, "short", &["sh", "-c", "(sleep 0.3; mkdir /stop) >/dev/null 2>&1 &"]).await;
    yard.kill_engine();
    yard.start_engine();
    assert_eq!(yard.exit_code("short").await, 3);
    assert_eq!(yard.log("short").await, "bye\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn stop_signals_then_kills() {
    let yard = Yard::new();
    yard.run("polite", "trap 'echo stopping; exit 0' TERM; echo up; while :; do sleep 0.05; done").await;
    yard.log_until("polite", "up").await;
    yard.docker().stop_container("polite", None).await.unwrap();
    assert_eq!(yard.exit_code("polite").await, 0);
    assert!(yard.log("polite").await.contains("stopping"));

    yard.run("stubborn", "trap '' TERM; echo up; while :; do sleep 0.05; done").await;
    yard.log_until("stubborn", "up").await;
    let quickly = StopContainerOptionsBuilder::default().t(1).build();
    yard.docker().stop_container("stubborn", Some(quickly)).await.unwrap();
    assert_eq!(yard.exit_code("stubborn").await, 137);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_paused_container_stands_still() {
    let yard = Yard::new();
    yard.run("still", "sleep 600").await;
    let docker = yard.docker();
    docker.pause_container("still").await.unwrap();
    let state = docker.inspect_container("still", None).await.unwrap().state.unwrap();
    assert_eq!((state.paused, state.status), (Some(true), Some(ContainerStateStatusEnum::PAUSED)));
    docker.unpause_container("still").await.unwrap();
    let state = docker.inspect_container("still", None).await.unwrap().state.unwrap();
    assert_eq!(state.status, Some(ContainerStateStatusEnum::RUNNING));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn names_are_unique_and_can_be_changed() {
    let yard = Yard::new();
    yard.create_with("web", "true", HostConfig::default()).await;
    let options = CreateContainerOptionsBuilder::default().name("web").build();
    let config = ContainerCreateBody { image: Some("host".into()), ..Default::default() };
    let refusal = yard.docker().create_container(Some(options), config).await.unwrap_err();
    assert_eq!(status_code(&refusal), 409);
    assert!(refusal.to_string().contains("is already in use by container"), "{refusal}");

    let rename = RenameContainerOptionsBuilder::default().name("site").build();
    yard.docker().rename_container("web", rename).await.unwrap();
    assert_eq!(yard.docker().inspect_container("site", None).await.unwrap().name.as_deref(), Some("/site"));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_missing_image_is_named() {
    let yard = Yard::new();
    let config = ContainerCreateBody { image: Some("nowhere:1".into()), ..Default::default() };
    let options = None::<bollard::query_parameters::CreateContainerOptions>;
    let refusal = yard.docker().create_container(options, config).await.unwrap_err();
    assert_eq!(status_code(&refusal), 404);
    assert!(refusal.to_string().contains("No such image: nowhere:1"), "{refusal}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_missing_program_ends_with_127_and_leaves_a_container_that_can_be_removed() {
    let yard = Yard::new();
    let image = yard.host_image().await;
    let config =
        ContainerCreateBody { image: Some(image), cmd: Some(vec!["no-such-program".into()]), ..Default::default() };
    let options = CreateContainerOptionsBuilder::default().name("typo").build();
    yard.docker().create_container(Some(options), config).await.unwrap();
    let refusal = yard.docker().start_container("typo", None).await.unwrap_err().to_string();
    assert!(refusal.contains("\"no-such-program\": executable file not found in $PATH"), "{refusal}");
    let state = yard.docker().inspect_container("typo", None).await.unwrap().state.unwrap();
    assert_eq!(state.exit_code, Some(127));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn limits_namespaces_and_rights_are_what_docker_gives() {
    let yard = Yard::new();
    let host_config = HostConfig { memory: Some(64 << 20), pids_limit: Some(50), ..Default::default() };
    let script =
        "hostname; id -u; cat /proc/self/status; cat /proc/1/comm; ls /proc/kcore; echo x > /proc/sys/kernel/panic";
    let id = yard.run_with("inside", script, host_config).await;
    yard.exit_code("inside").await;
    let log = yard.log("inside").await;
    assert!(log.starts_with(&format!("{}\n0\n", &id[..12])), "{log}");
    assert!(log.contains("CapEff:\t00000000a80425fb"), "Docker's 14 capabilities: {log}");
    assert!(log.contains("Seccomp:\t2"), "a filter is in force: {log}");
    assert!(log.contains("Read-only file system"), "/proc/sys can't be written: {log}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn memory_beyond_the_limit_is_told_as_out_of_memory() {
    let yard = Yard::new();
    let limit = HostConfig { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..Default::default() };
    yard.run_with("greedy", "x=a; while :; do x=$x$x; done", limit).await;
    assert_eq!(yard.exit_code("greedy").await, 137);
    let state = yard.docker().inspect_container("greedy", None).await.unwrap().state.unwrap();
    assert_eq!(state.oom_killed, Some(true));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_published_port_is_reached_from_the_host() {
    let yard = Yard::new();
    // bash's network redirections are on no minimal host; the host's own python or perl neither: so the program is ours.
    let helper = listener_config(&yard, 80, published(18080, 80)).await;
    let options = CreateContainerOptionsBuilder::default().name("web").build();
    yard.docker().create_container(Some(options), helper).await.unwrap();
    yard.docker().start_container("web", None).await.unwrap();
    yard.log_until("web", "listening").await;
    let answer = yard.on_port(18080, |mut stream| {
        stream.write_all(b"ping\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert_eq!(answer.unwrap(), "pong\n");

    let config = ContainerCreateBody {
        host_config: Some(published(18080, 80)),
        ..listener_config(&yard, 80, HostConfig::default()).await
    };
    let options = CreateContainerOptionsBuilder::default().name("second").build();
    yard.docker().create_container(Some(options), config).await.unwrap();
    let refusal = yard.docker().start_container("second", None).await.unwrap_err().to_string();
    assert!(refusal.contains("port is already allocated") && refusal.contains("web"), "{refusal}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn containers_on_a_network_find_each_other_by_name() {
    let yard = Yard::new();
    let docker = yard.docker();
    let network = NetworkCreateRequest { name: "shop".into(), ..Default::default() };
    docker.create_network(network).await.unwrap();
    let on_shop = |config: ContainerCreateBody| ContainerCreateBody {
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([("shop".to_owned(), EndpointSettings::default())])),
        }),
        host_config: Some(HostConfig {
            network_mode: Some("shop".into()),
            ..config.host_config.clone().unwrap_or_default()
        }),
        ..config
    };
    let create = |name: &str| CreateContainerOptionsBuilder::default().name(name).build();
    let listener = on_shop(listener_config(&yard, 80, HostConfig::default()).await);
    docker.create_container(Some(create("api")), listener).await.unwrap();
    docker.start_container("api", None).await.unwrap();
    yard.log_until("api", "listening").await;
    let caller = on_shop(caller_config(&yard, "api:80").await);
    docker.create_container(Some(create("caller")), caller).await.unwrap();
    docker.start_container("caller", None).await.unwrap();
    assert_eq!(yard.exit_code("caller").await, 0, "{}", yard.log("caller").await);
    assert!(yard.log("caller").await.contains("pong\n"));

    let refusal = docker.remove_network("shop").await.unwrap_err();
    assert_eq!(status_code(&refusal), 403, "{refusal}");
    yard.remove_all_containers().await;
    docker.remove_network("shop").await.unwrap();
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_volume_keeps_what_was_written() {
    let yard = Yard::new();
    let docker = yard.docker();
    docker.create_volume(VolumeCreateRequest { name: Some("data".into()), ..Default::default() }).await.unwrap();
    let with_volume = || HostConfig { binds: Some(vec!["data:/srv".into()]), ..Default::default() };
    yard.run_with("writer", "echo kept > /srv/file", with_volume()).await;
    assert_eq!(yard.exit_code("writer").await, 0);
    yard.run_with("reader", "cat /srv/file", with_volume()).await;
    assert_eq!(yard.exit_code("reader").await, 0);
    assert_eq!(yard.log("reader").await, "kept\n");

    let refusal =
        docker.remove_volume("data", None::<bollard::query_parameters::RemoveVolumeOptions>).await.unwrap_err();
    assert_eq!(status_code(&refusal), 409);
    assert!(refusal.to_string().contains("volume is in use"), "{refusal}");
    yard.remove_all_containers().await;
    docker.remove_volume("data", None::<bollard::query_parameters::RemoveVolumeOptions>).await.unwrap();
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_running_container_is_removed_only_by_force() {
    let yard = Yard::new();
    yard.run("busy", "sleep 600").await;
    let refusal = yard.docker().remove_container("busy", None).await.unwrap_err();
    assert_eq!(status_code(&refusal), 409);
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    yard.docker().remove_container("busy", Some(force)).await.unwrap();
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn two_yards_do_not_meet() {
    let (one, two) = (Yard::new(), Yard::new());
    one.run("same", "sleep 600").await;
    two.run("same", "sleep 600").await;
    one.leaves_nothing_behind().await;
    assert!(two.docker().inspect_container("same", None).await.unwrap().state.unwrap().running.unwrap());
    two.leaves_nothing_behind().await;
}

/// Runs a program in a container and waits for its end.
async fn exec(yard: &Yard, container: &str, command: &[&str]) {
    let docker = yard.docker();
    let options = bollard::exec::CreateExecOptions {
        cmd: Some(command.to_vec()),
        attach_stdout: Some(true),
        ..Default::default()
    };
    let exec = docker.create_exec(container, options).await.unwrap().id;
    if let bollard::exec::StartExecResults::Attached { mut output, .. } = docker.start_exec(&exec, None).await.unwrap()
    {
        while output.next().await.is_some() {}
    }
}

/// A container that answers `pong` to whoever says a line on `port`: this test program itself, told to be that.
async fn listener_config(yard: &Yard, port: u16, host_config: HostConfig) -> ContainerCreateBody {
    helper_config(yard, &format!("listen {port}"), host_config).await
}

/// A container that says a line to `address` and prints the answer.
async fn caller_config(yard: &Yard, address: &str) -> ContainerCreateBody {
    helper_config(yard, &format!("call {address}"), HostConfig::default()).await
}

async fn helper_config(yard: &Yard, role: &str, host_config: HostConfig) -> ContainerCreateBody {
    let image = yard.image_of_programs("helper:latest", &[&std::env::current_exe().unwrap().to_string_lossy()]).await;
    let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    ContainerCreateBody {
        image: Some(image),
        entrypoint: Some(vec![program]),
        cmd: Some(["--exact", "network_helper", "--nocapture"].map(str::to_owned).to_vec()),
        env: Some(vec![format!("YARD_ROLE={role}")]),
        host_config: Some(host_config),
        ..Default::default()
    }
}

/// Not a test of its own: what the containers above run. Without a role it has nothing to do.
#[test]
fn network_helper() {
    let Ok(role) = std::env::var("YARD_ROLE") else { return };
    match role.split_once(' ').expect("a role and its argument") {
        ("listen", port) => {
            let listener = std::net::TcpListener::bind(("0.0.0.0", port.parse::<u16>().unwrap())).unwrap();
            println!("listening");
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = [0; 5];
                stream.read_exact(&mut line).unwrap();
                stream.write_all(b"pong\n").unwrap();
            }
        }
        ("call", address) => {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"ping\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            std::fs::write("/proc/self/fd/1", answer).unwrap();
            std::process::exit(0);
        }
        (other, _) => panic!("no such role: {other}"),
    }
}
