//! The API as bollard, the Rust client most programs use, finds it.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{HostConfig, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    EventsOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptions, StatsOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::StreamExt;
use support::Yard;

fn status<T: std::fmt::Debug>(outcome: Result<T, Error>) -> u16 {
    match outcome {
        Err(Error::DockerResponseServerError { status_code, .. }) => status_code,
        other => panic!("a refusal was expected: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_lives_and_ends() {
    let yard = Yard::new();
    let docker = yard.docker();
    let id = yard.run("web", "echo out; echo err >&2; exit 3").await;
    assert_eq!(yard.exit_code("web").await, 3);

    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let mut log: Vec<LogOutput> = docker.logs("web", Some(options)).map(Result::unwrap).collect().await;
    log.sort_by_key(|piece| matches!(piece, LogOutput::StdErr { .. }));
    let log: Vec<(bool, String)> =
        log.iter().map(|piece| (matches!(piece, LogOutput::StdOut { .. }), piece.to_string())).collect();
    assert_eq!(log, [(true, "out\n".to_owned()), (false, "err\n".to_owned())]);

    let options = ListContainersOptionsBuilder::default().all(true).build();
    let listed = docker.list_containers(Some(options)).await.unwrap();
    assert_eq!(listed[0].id.as_deref(), Some(id.as_str()));
    assert!(listed[0].status.as_deref().unwrap().starts_with("Exited (3)"), "{:?}", listed[0].status);
    let state = docker.inspect_container("web", None).await.unwrap().state.unwrap();
    assert_eq!((state.running, state.exit_code), (Some(false), Some(3)));

    assert_eq!(status(docker.inspect_container("nobody", None).await), 404);
    docker.remove_container("web", None).await.unwrap();
    assert_eq!(status(docker.remove_container("web", None).await), 404);
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_use_and_running_containers_are_conflicts() {
    let yard = Yard::new();
    let docker = yard.docker();
    yard.run("web", "sleep 60").await;
    let again = bollard::query_parameters::CreateContainerOptionsBuilder::default().name("web").build();
    let config = bollard::models::ContainerCreateBody { image: Some("host:latest".to_owned()), ..Default::default() };
    assert_eq!(status(docker.create_container(Some(again), config).await), 409);
    assert_eq!(status(docker.remove_container("web", None).await), 409);
    assert_eq!(status(docker.remove_image("host:latest", None::<RemoveImageOptions>, None).await), 409);
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_answers_with_output_and_exit_code() {
    let yard = Yard::new();
    let docker = yard.docker();
    yard.run("web", "sleep 60").await;
    let config = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(vec!["sh", "-c", "echo here; exit 9"]),
        ..Default::default()
    };
    let exec = docker.create_exec("web", config).await.unwrap().id;
    let StartExecResults::Attached { mut output, .. } = docker.start_exec(&exec, None).await.unwrap() else {
        panic!("attached")
    };
    let mut heard = String::new();
    while let Some(piece) = output.next().await {
        heard.push_str(&piece.unwrap().to_string());
    }
    assert_eq!(heard, "here\n");
    assert_eq!(docker.inspect_exec(&exec).await.unwrap().exit_code, Some(9));
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_a_life_in_order() {
    let yard = Yard::new();
    let docker = yard.docker();
    yard.run("web", "exit 0").await;
    yard.exit_code("web").await;
    docker.remove_container("web", None).await.unwrap();

    let filters = std::collections::HashMap::from([("container", vec!["web"])]);
    let now = (jiff::Timestamp::now().as_second() + 1).to_string();
    let options = EventsOptionsBuilder::default().since("1").until(&now).filters(&filters).build();
    let seen: Vec<String> =
        docker.events(Some(options)).map(|event| event.unwrap().action.unwrap_or_default()).collect().await;
    assert_eq!(seen, ["create", "start", "die", "destroy"]);
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sample_of_statistics_comes_at_once() {
    let yard = Yard::new();
    let docker = yard.docker();
    yard.run("web", "sleep 60").await;
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let sample = docker.stats("web", Some(options)).next().await.unwrap().unwrap();
    assert_eq!(sample.name.as_deref(), Some("/web"));
    assert!(sample.memory_stats.unwrap().usage.unwrap_or_default() > 0);
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_volumes_and_names_of_images_come_and_go() {
    let yard = Yard::new();
    let docker = yard.docker();
    let image = yard.host_image().await;
    let options = TagImageOptionsBuilder::default().repo("127.0.0.1:5000/a/b").tag("c").build();
    docker.tag_image(&image, Some(options)).await.unwrap();
    docker.inspect_image("127.0.0.1:5000/a/b:c").await.unwrap();
    docker.remove_image("127.0.0.1:5000/a/b:c", None::<RemoveImageOptions>, None).await.unwrap();

    docker.create_network(NetworkCreateRequest { name: "net".to_owned(), ..Default::default() }).await.unwrap();
    docker.create_volume(VolumeCreateRequest { name: Some("data".to_owned()), ..Default::default() }).await.unwrap();
    let host = HostConfig {
        network_mode: Some("net".to_owned()),
        binds: Some(vec!["data:/srv".to_owned()]),
        ..Default::default()
    };
    yard.run_with("web", "echo kept > /srv/file; echo written; sleep 60", host.clone()).await;
    yard.log_until("web", "written").await;
    assert_eq!(status(docker.remove_volume("data", None::<bollard::query_parameters::RemoveVolumeOptions>).await), 409);
    assert_eq!(status(docker.remove_network("net").await), 403);
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container("web", Some(force)).await.unwrap();
    yard.run_with("reader", "cat /srv/file", host).await;
    assert_eq!(yard.exit_code("reader").await, 0);
    assert_eq!(yard.log("reader").await, "kept\n");
    docker.remove_container("reader", None).await.unwrap();
    docker.remove_volume("data", None::<bollard::query_parameters::RemoveVolumeOptions>).await.unwrap();
    docker.remove_network("net").await.unwrap();
    yard.leaves_nothing_behind().await;
}
