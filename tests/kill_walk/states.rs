//! The shim is killed while its container is in one state or another, beside a live engine or without any.
//!
//! Nobody but the shim waits for the container's processes, so the container is dead with it, and says why.

use std::fs;
use std::time::{Duration, Instant};

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerStateStatusEnum, RestartPolicyNameEnum};
use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{PATIENCE, Yard};
use super::{
    NAME, TRAPPING, create_as, eventually, is_bare, knows_of_death, processes_of, remove, runs_again, shim_pid,
};
use super::{create, state, tells_the_truth};

/// Says when it is asked to end, and stays.
const STUBBORN: &str = "trap 'echo asked' TERM; echo up; while :; do sleep 600 & wait $!; done";
/// After so many restarts the pause before the next one is long enough to be met in it.
const ENOUGH_RESTARTS: i64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Running,
    Paused,
    Stopping,
    Executing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Lives,
    IsKilledFirst,
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

async fn killed_at(yard: &mut Yard, moment: Moment, engine: Engine) {
    eprintln!("{moment:?}, the engine {engine:?}");
    let script = if moment == Moment::Stopping { STUBBORN } else { TRAPPING };
    create_as(yard, script, None).await.expect("the name is free");
    let docker = yard.docker();
    docker.start_container(NAME, None).await.unwrap();
    yard.log_until(NAME, "up").await;
    let (mut stop, mut exec) = (None, None);
    match moment {
        Moment::Running => {}
        Moment::Paused => docker.pause_container(NAME).await.unwrap(),
        Moment::Stopping => {
            let docker = docker.clone();
            stop = Some(tokio::spawn(async move { docker.stop_container(NAME, None).await }));
            yard.log_until(NAME, "asked").await;
        }
        Moment::Executing => exec = Some(begin_exec(yard).await),
    }

    let shim = shim_pid(yard).await.expect("a shim");
    match engine {
        Engine::Lives => send(shim, Signal::SIGKILL),
        Engine::IsKilledFirst => {
            yard.kill_engine();
            send(shim, Signal::SIGKILL);
            yard.start_engine();
        }
    }
    knows_of_death(yard, shim).await;
    tells_the_truth(yard).await;
    let dead = state(yard).await.unwrap();
    assert_eq!((dead.status, dead.exit_code), (Some(ContainerStateStatusEnum::EXITED), Some(255)), "{dead:?}");
    assert!(dead.error.unwrap().contains("shim"), "the reason");
    if let Some(stop) = stop {
        let stopped = tokio::time::timeout(PATIENCE, stop).await.expect("the stop is answered").unwrap();
        assert!(stopped.is_ok() || engine == Engine::IsKilledFirst, "{stopped:?}");
    }
    if let Some((id, mut output)) = exec {
        let rest = async { while output.next().await.is_some_and(|piece| piece.is_ok()) {} };
        tokio::time::timeout(PATIENCE, rest).await.expect("the exec's streams end");
        if engine == Engine::Lives {
            assert_eq!(docker.inspect_exec(&id).await.unwrap().running, Some(false));
        }
    }
    remove(yard, NAME).await.unwrap();
    is_bare(yard).await;
}

type Output = std::pin::Pin<
    Box<dyn futures_util::Stream<Item = Result<bollard::container::LogOutput, bollard::errors::Error>> + Send>,
>;

/// An exec that has begun and will not end.
async fn begin_exec(yard: &Yard) -> (String, Output) {
    let docker = yard.docker();
    let cmd = Some(vec!["sh", "-c", "echo in; sleep 600"]);
    let options = CreateExecOptions { cmd, attach_stdout: Some(true), ..Default::default() };
    let id = docker.create_exec(NAME, options).await.unwrap().id;
    let StartExecResults::Attached { mut output, .. } = docker.start_exec(&id, None).await.unwrap() else {
        panic!("it is attached");
    };
    assert_eq!(output.next().await.unwrap().unwrap().to_string(), "in\n");
    (id, output)
}

#[tokio::test]
async fn a_killed_shim_takes_its_container_along() {
    let mut yard = Yard::new();
    yard.host_image().await;
    for moment in [Moment::Running, Moment::Paused, Moment::Stopping, Moment::Executing] {
        for engine in [Engine::Lives, Engine::IsKilledFirst] {
            killed_at(&mut yard, moment, engine).await;
        }
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_shim_killed_between_two_runs_leaves_the_restart_to_the_engine() {
    let mut yard = Yard::new();
    yard.host_image().await;
    for engine in [Engine::Lives, Engine::IsKilledFirst] {
        create_as(&yard, "exit 3", Some(RestartPolicyNameEnum::ALWAYS)).await.expect("the name is free");
        yard.docker().start_container(NAME, None).await.unwrap();
        let shim = shim_pid(&yard).await.expect("a shim");
        let before = restarted_often(&yard).await;
        if engine == Engine::IsKilledFirst {
            yard.kill_engine();
        }
        send(shim, Signal::SIGKILL);
        if engine == Engine::IsKilledFirst {
            yard.start_engine();
        }
        let until = Instant::now() + PATIENCE;
        while restarts(&yard).await <= before {
            assert!(Instant::now() < until, "the engine goes on with the policy: {:?}", state(&yard).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        yard.docker().stop_container(NAME, None).await.unwrap();
        let ended = state(&yard).await.unwrap();
        assert_eq!((ended.status, ended.exit_code), (Some(ContainerStateStatusEnum::EXITED), Some(3)), "{ended:?}");
        remove(&yard, NAME).await.unwrap();
        is_bare(&yard).await;
    }
    yard.leaves_nothing_behind().await;
}

async fn restarts(yard: &Yard) -> i64 {
    yard.docker().inspect_container(NAME, None).await.unwrap().restart_count.unwrap()
}

/// Waits for the pause after enough restarts.
async fn restarted_often(yard: &Yard) -> i64 {
    let until = Instant::now() + PATIENCE;
    loop {
        let (count, now) = (restarts(yard).await, state(yard).await.unwrap());
        if count >= ENOUGH_RESTARTS && now.status == Some(ContainerStateStatusEnum::RESTARTING) {
            return count;
        }
        assert!(Instant::now() < until, "it is restarted: {now:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_end_that_only_the_shim_saw_is_told() {
    let mut yard = Yard::new();
    yard.host_image().await;
    create(&yard).await.unwrap();
    yard.docker().start_container(NAME, None).await.unwrap();
    yard.log_until(NAME, "up").await;
    let container = yard.docker().inspect_container(NAME, None).await.unwrap();
    let (id, pid) = (container.id.unwrap(), container.state.unwrap().pid.unwrap());
    let bundle = yard.run_root().join("containers").join(&id);
    yard.kill_engine();
    send(u32::try_from(pid).unwrap(), Signal::SIGTERM);
    eventually("the container ends", || processes_of(&id)).await;
    let leftovers = || fs::read_dir(&bundle).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    eventually("the shim ends", || leftovers().filter(|name| name == "shim.pid").collect()).await;
    yard.start_engine();

    let ended = state(&yard).await.unwrap();
    assert_eq!((ended.status, ended.exit_code), (Some(ContainerStateStatusEnum::EXITED), Some(3)), "{ended:?}");
    assert_eq!(ended.error.as_deref(), Some(""));
    yard.docker().start_container(NAME, None).await.unwrap();
    runs_again(&yard).await;
    remove(&yard, NAME).await.unwrap();
    is_bare(&yard).await;
    yard.leaves_nothing_behind().await;
}
