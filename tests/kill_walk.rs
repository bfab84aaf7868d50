//! kill -9 at every step: of the engine while it creates, starts, stops, restarts, removes, executes in and commits a
//! container, and of the container's shim while it starts, ends, restarts and executes in it, or in any other state of
//! it. Whatever the step was, the next engine tells the truth and nothing is left of the attempt.
//!
//! Each walk takes its operation once to count its steps (see `tracer.rs`), then again for each chosen step. All of them:
//! `BOXYARD_KILL_WALK=all cargo test --test kill_walk`; else [`USUAL_STEPS`], spread evenly; one: `=start:17`.

#![cfg(target_arch = "x86_64")] // the tracer knows that processor's registers
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[path = "kill_walk/tracer.rs"]
mod tracer;

#[path = "kill_walk/states.rs"]
mod states;

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::exec::StartExecOptions;
use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerState, ContainerStateStatusEnum, HostConfig, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptions,
    ListVolumesOptions, RemoveContainerOptionsBuilder, RemoveImageOptions,
};
use futures_util::StreamExt;
use support::{PATIENCE, Yard, published};
use tracer::{Tracer, Victim};

/// How many steps of each operation the usual run takes.
const USUAL_STEPS: usize = 8;
const NAME: &str = "it";
const IMAGE: &str = "host:latest";
const TRAPPING: &str = "trap 'exit 3' TERM; echo up; sleep 600 & wait";
const HOST_PORT: u16 = 18081;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Start,
    Stop,
    Restart,
    Remove,
    Exec,
    Commit,
    /// It ends by itself, and its restart policy brings it back.
    Crash,
}

impl Operation {
    fn name(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }

    async fn prepare(self, yard: &Yard) {
        if self == Operation::Create {
            return;
        }
        let policy = (self == Operation::Crash).then_some(RestartPolicyNameEnum::ALWAYS);
        create_as(yard, TRAPPING, policy).await.expect("the container is created");
        if self != Operation::Start {
            yard.docker().start_container(NAME, None).await.expect("the container starts");
            yard.log_until(NAME, "up").await;
        }
    }

    async fn act(self, yard: &Yard) -> Result<(), Error> {
        let docker = yard.docker();
        match self {
            Operation::Create => create(yard).await,
            Operation::Start => docker.start_container(NAME, None).await,
            Operation::Stop => docker.stop_container(NAME, None).await,
            Operation::Restart => docker.restart_container(NAME, None).await,
            Operation::Remove => remove(yard, NAME).await,
            Operation::Exec => execute(yard).await,
            Operation::Commit => commit(yard).await,
            Operation::Crash => crash(yard).await,
        }
    }

    /// What must be so once the next engine is there; `is_done`: the operation was answered with success.
    async fn check(self, yard: &Yard, is_done: bool, is_shim_dead: bool) {
        let state = state(yard).await;
        let status = state.as_ref().and_then(|state| state.status);
        use ContainerStateStatusEnum::{CREATED, EXITED, RUNNING};
        match self {
            Operation::Create => {
                assert!(!is_done || state.is_some(), "a container whose creation was answered is there");
                match state {
                    None => create(yard).await.expect("the name is free"),
                    Some(_) => assert_eq!(status, Some(CREATED)),
                }
                yard.docker().start_container(NAME, None).await.expect("what is there is whole");
                yard.log_until(NAME, "up").await;
            }
            Operation::Start => {
                if is_done && !is_shim_dead {
                    assert_eq!(status, Some(RUNNING), "a start that was answered");
                }
                assert!(matches!(status, Some(CREATED | RUNNING | EXITED)), "{state:?}");
                yard.docker().start_container(NAME, None).await.expect("it can be started (again)");
                yard.log_until(NAME, "up").await;
            }
            Operation::Stop => {
                if is_done {
                    assert_eq!(status, Some(EXITED), "a stop that was answered");
                }
                yard.docker().stop_container(NAME, None).await.expect("it can be stopped (again)");
                let code = self::state(yard).await.unwrap().exit_code;
                assert!(matches!(code, Some(3 | 137)) || is_shim_dead, "{code:?}");
            }
            Operation::Restart => {
                assert!(matches!(status, Some(RUNNING | EXITED)), "a container that ran has run: {state:?}");
                assert!(!is_done || status == Some(RUNNING), "a restart that was answered: {state:?}");
                yard.docker().restart_container(NAME, None).await.expect("it can be restarted (again)");
                assert_eq!(self::state(yard).await.unwrap().status, Some(RUNNING));
            }
            Operation::Crash => {
                runs_again(yard).await;
                yard.docker().stop_container(NAME, None).await.expect("it can be stopped");
                assert_eq!(self::state(yard).await.unwrap().status, Some(EXITED), "no policy undoes a stop");
            }
            Operation::Remove => assert!(!is_done || state.is_none(), "what was removed is gone: {state:?}"),
            Operation::Exec => {
                if is_shim_dead {
                    assert_eq!(status, Some(EXITED), "without its shim it is dead");
                } else {
                    assert_eq!(status, Some(RUNNING), "an exec's end is not the container's");
                    execute(yard).await.expect("the next exec works");
                }
            }
            Operation::Commit => {
                let images = yard.docker().list_images(None::<ListImagesOptions>).await.unwrap();
                let is_made = images.iter().any(|image| image.repo_tags.iter().any(|tag| tag == "committed:latest"));
                assert!(images.iter().all(|image| !image.repo_tags.is_empty()), "an image without a name: {images:?}");
                assert_eq!(status, Some(RUNNING), "what was frozen for the commit goes on");
                assert!(!is_done || is_made, "an image whose commit was answered is there");
                let remove_image = async || {
                    let options = None::<RemoveImageOptions>;
                    yard.docker().remove_image("committed:latest", options, None).await.expect("the image is whole");
                };
                if is_made {
                    remove_image().await;
                }
                commit(yard).await.expect("it can be committed (again)");
                remove_image().await;
            }
        }
    }
}

/// A container with all there is to leak: a network place, a published port, an anonymous volume, a log.
async fn create(yard: &Yard) -> Result<(), Error> {
    create_as(yard, TRAPPING, None).await
}

async fn create_as(yard: &Yard, script: &str, policy: Option<RestartPolicyNameEnum>) -> Result<(), Error> {
    let restart_policy = policy.map(|name| RestartPolicy { name: Some(name), maximum_retry_count: None });
    let config = ContainerCreateBody {
        image: Some(IMAGE.into()),
        cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        volumes: Some(vec!["/data".into()]),
        exposed_ports: Some(vec!["80/tcp".into()]),
        host_config: Some(HostConfig { restart_policy, ..published(HOST_PORT, 80) }),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(NAME).build();
    yard.docker().create_container(Some(options), config).await.map(drop)
}

async fn remove(yard: &Yard, name: &str) -> Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    yard.docker().remove_container(name, Some(options)).await
}

async fn execute(yard: &Yard) -> Result<(), Error> {
    let docker = yard.docker();
    let options = bollard::exec::CreateExecOptions {
        cmd: Some(vec!["echo", "hi"]),
        attach_stdout: Some(true),
        ..Default::default()
    };
    let exec = docker.create_exec(NAME, options).await?.id;
    let mut said = String::new();
    if let bollard::exec::StartExecResults::Attached { mut output, .. } = docker.start_exec(&exec, None).await? {
        while let Some(piece) = output.next().await {
            said.push_str(&piece?.to_string());
        }
    }
    let end = docker.inspect_exec(&exec).await?;
    assert!(end.exit_code != Some(0) || said == "hi\n", "{said:?} {end:?}");
    assert_eq!(end.running, Some(false), "its streams have ended: {end:?}");
    Ok(())
}

/// The container ends by itself, in answer to a signal that no person sent.
async fn crash(yard: &Yard) -> Result<(), Error> {
    let docker = yard.docker();
    let options =
        bollard::exec::CreateExecOptions { cmd: Some(vec!["sh", "-c", "kill -TERM 1"]), ..Default::default() };
    let exec = docker.create_exec(NAME, options).await?.id;
    docker.start_exec(&exec, Some(StartExecOptions { detach: true, ..Default::default() })).await?;
    let until = Instant::now() + PATIENCE;
    while docker.inspect_container(NAME, None).await?.restart_count == Some(0) {
        assert!(Instant::now() < until, "its policy brings it back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    runs_again(yard).await;
    Ok(())
}

/// Waits until it runs, under a restart policy.
async fn runs_again(yard: &Yard) {
    let until = Instant::now() + PATIENCE;
    while state(yard).await.unwrap().status != Some(ContainerStateStatusEnum::RUNNING) {
        assert!(Instant::now() < until, "its policy brings it back: {:?}", state(yard).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The container's shim.
async fn shim_pid(yard: &Yard) -> Option<u32> {
    let id = yard.docker().inspect_container(NAME, None).await.ok()?.id?;
    let text = fs::read(yard.run_root().join("containers").join(id).join("shim.pid")).ok()?;
    let identity: serde_json::Value = serde_json::from_slice(&text).ok()?;
    u32::try_from(identity.get("pid")?.as_u64()?).ok()
}

/// Waits until the engine knows that this shim is dead: its container has ended, or runs under another one.
async fn knows_of_death(yard: &Yard, shim: u32) {
    let until = Instant::now() + PATIENCE;
    loop {
        let state = state(yard).await.expect("the container is there");
        let is_up = state.status == Some(ContainerStateStatusEnum::RUNNING);
        let has_ended = state.status == Some(ContainerStateStatusEnum::EXITED);
        if has_ended || is_up && shim_pid(yard).await.is_some_and(|pid| pid != shim) {
            return;
        }
        assert!(Instant::now() < until, "the engine sees its shim's end: {state:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn commit(yard: &Yard) -> Result<(), Error> {
    let options = CommitContainerOptionsBuilder::default().container(NAME).repo("committed").pause(true).build();
    yard.docker().commit_container(options, ContainerConfig::default()).await.map(drop)
}

async fn state(yard: &Yard) -> Option<ContainerState> {
    match yard.docker().inspect_container(NAME, None).await {
        Ok(container) => container.state,
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => None,
        Err(error) => panic!("inspect: {error}"),
    }
}

/// Which steps to take of `count`.
fn chosen(operation: &str, count: usize) -> Vec<usize> {
    match std::env::var("BOXYARD_KILL_WALK") {
        Ok(all) if all == "all" => (1..=count).collect(),
        Ok(one) => one
            .split_once(':')
            .filter(|(name, _)| *name == operation)
            .map(|(_, step)| step.parse().expect("a step's number"))
            .into_iter()
            .collect(),
        Err(_) => {
            let taken = USUAL_STEPS.min(count);
            (0..taken).map(|index| 1 + index * (count - 1) / (taken - 1).max(1)).collect()
        }
    }
}

async fn walk(operation: Operation, victim: Victim) {
    let mut yard = Yard::new();
    yard.host_image().await;
    let name = match victim {
        Victim::Engine => operation.name(),
        Victim::Shim | Victim::LiveShim => format!("{}-shim", operation.name()),
    };
    let steps = pass(&mut yard, operation, victim, None).await;
    for step in chosen(&name, steps.len()) {
        eprintln!("{name}:{step} of {}, before {}", steps.len(), steps.get(step - 1).unwrap_or(&"?"));
        pass(&mut yard, operation, victim, Some(step)).await;
    }
    yard.leaves_nothing_behind().await;
}

/// One operation with the victim killed before step `at`, and all that must be so afterwards.
async fn pass(yard: &mut Yard, operation: Operation, victim: Victim, at: Option<usize>) -> Vec<&'static str> {
    operation.prepare(yard).await;
    let leader = if victim == Victim::LiveShim { shim_pid(yard).await.expect("a shim") } else { yard.engine_pid() };
    let tracer = Tracer::follow(leader, victim, at);
    let answer =
        tokio::time::timeout(PATIENCE, operation.act(yard)).await.expect("the operation is answered or cut off");
    if at.is_none() {
        answer.as_ref().expect("the operation succeeds");
    }
    let is_shim_dead = victim == Victim::Shim && at.is_some() || victim == Victim::LiveShim;
    let steps = match victim {
        Victim::Engine => tracer.end(),
        Victim::Shim => {
            tells_the_truth(yard).await;
            tracer.end()
        }
        Victim::LiveShim => {
            let steps = tracer.end();
            knows_of_death(yard, leader).await;
            tells_the_truth(yard).await;
            steps
        }
    };
    yard.kill_engine();
    yard.start_engine();
    tells_the_truth(yard).await;
    operation.check(yard, answer.is_ok(), is_shim_dead).await;
    tells_the_truth(yard).await;
    match remove(yard, NAME).await {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(error) => panic!("remove: {error}"),
    }
    is_bare(yard).await;
    steps
}

/// What the engine says of each container is what the kernel says.
async fn tells_the_truth(yard: &Yard) {
    let docker = yard.docker();
    let options = ListContainersOptionsBuilder::default().all(true).build();
    for container in docker.list_containers(Some(options)).await.expect("the containers are listed") {
        let id = container.id.unwrap();
        let inspected = docker.inspect_container(&id, None).await.expect("what is listed can be inspected");
        let state = inspected.state.unwrap();
        if state.running == Some(true) {
            let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", state.pid.unwrap())).unwrap_or_default();
            assert!(cgroup.contains(&id), "the first process of a running container lives: {state:?}, {cgroup:?}");
            assert_eq!(is_frozen(&cgroup), state.paused == Some(true), "what stands still is called paused: {state:?}");
        } else {
            eventually("an ended container has no processes", || processes_of(&id)).await;
            assert!(
                state.status != Some(ContainerStateStatusEnum::EXITED)
                    || state.exit_code != Some(255)
                    || !state.error.clone().unwrap_or_default().is_empty(),
                "an end that nobody saw has its reason: {state:?}"
            );
        }
    }
}

/// Whether the freezer holds the processes whose `/proc/PID/cgroup` this is.
fn is_frozen(cgroup: &str) -> bool {
    let place = |controllers: &str| cgroup.lines().find_map(|line| line.split_once(controllers)).map(|(_, path)| path);
    let v1 = place(":freezer:").map(|path| (format!("/sys/fs/cgroup/freezer{path}/freezer.state"), "THAWED"));
    let v2 = place("0::").map(|path| (format!("/sys/fs/cgroup{path}/cgroup.freeze"), "0"));
    let (file, goes_on) = v1.or(v2).expect("a freezer");
    fs::read_to_string(file).is_ok_and(|state| state.trim() != goes_on)
}

/// Nothing is left of any container, and no port, address or volume is taken.
async fn is_bare(yard: &Yard) {
    let docker = yard.docker();
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes.unwrap_or_default();
    assert!(volumes.is_empty(), "volumes are left: {volumes:?}");
    let folders = ["root/containers", "root/tmp", "root/trash", "root/volumes", "run/containers"];
    let root = yard.root().parent().unwrap().to_owned();
    eventually("no files", || folders.iter().flat_map(|folder| entries(&root.join(folder))).collect()).await;
    eventually("no mounts", || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().filter(|line| line.contains(&*root.to_string_lossy())).map(str::to_owned).collect()
    })
    .await;
    let parent = boxyard::engine::instance::Instance::new(&yard.root(), &yard.run_root()).cgroup_parent();
    eventually("no cgroups", || {
        support::cgroups_named(&parent).iter().flat_map(|path| folders_in(Path::new(path))).collect()
    })
    .await;
    eventually("no links", || yard.links().into_iter().filter(|link| !link.starts_with("bx")).collect()).await;
    eventually("no shims", || support::processes_naming(&format!("{}/run/containers", root.display()))).await;
    let bridge = docker.inspect_network("bridge", None).await.unwrap();
    assert!(bridge.containers.unwrap_or_default().is_empty(), "addresses are taken");
    let half_written = |room: &str| {
        let objects = entries(&yard.root().join(room));
        let inside = objects.iter().flat_map(|object| entries(Path::new(object)));
        objects.clone().into_iter().chain(inside).filter(|path| path.contains("/.record-")).collect::<Vec<_>>()
    };
    let strays: Vec<String> = ["images", "layers", "networks", "volumes"].into_iter().flat_map(half_written).collect();
    assert!(strays.is_empty(), "half-written records are left: {strays:?}");
    let layers = entries(&yard.root().join("layers"));
    assert_eq!(layers.len(), 1, "only the image's own layer stays: {layers:?}");
}

/// Waits until `left` finds nothing: what goes on behind an answer has an end.
async fn eventually(what: &str, mut left: impl FnMut() -> Vec<String>) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = left();
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "{what}, but: {found:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path().display().to_string()).collect()
}

fn folders_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.path().display().to_string())
        .collect()
}

fn processes_of(id: &str) -> Vec<String> {
    let of = |entry: fs::DirEntry| {
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        cgroup.contains(id).then(|| format!("{} {name}", entry.path().display()))
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

#[tokio::test]
async fn a_killed_create_leaves_a_whole_container_or_nothing() {
    walk(Operation::Create, Victim::Engine).await;
}

#[tokio::test]
async fn a_killed_start_leaves_a_container_that_runs_or_can_be_started() {
    walk(Operation::Start, Victim::Engine).await;
}

#[tokio::test]
async fn a_killed_stop_leaves_a_container_that_runs_or_has_ended() {
    walk(Operation::Stop, Victim::Engine).await;
}

#[tokio::test]
async fn a_killed_restart_leaves_a_container_that_has_run() {
    walk(Operation::Restart, Victim::Engine).await;
}

#[tokio::test]
async fn a_killed_remove_leaves_a_whole_container_or_nothing() {
    walk(Operation::Remove, Victim::Engine).await;
}

#[tokio::test]
async fn a_killed_exec_leaves_the_container_running() {
    walk(Operation::Exec, Victim::Engine).await;
}

#[tokio::test]
async fn a_killed_commit_leaves_an_image_or_nothing() {
    walk(Operation::Commit, Victim::Engine).await;
}

#[tokio::test]
async fn a_shim_killed_while_it_starts_a_container_takes_it_along() {
    walk(Operation::Start, Victim::Shim).await;
}

#[tokio::test]
async fn a_shim_killed_while_its_container_is_stopped() {
    walk(Operation::Stop, Victim::LiveShim).await;
}

#[tokio::test]
async fn a_shim_killed_while_its_container_is_restarted() {
    walk(Operation::Restart, Victim::LiveShim).await;
}

#[tokio::test]
async fn a_shim_killed_while_it_brings_its_container_back() {
    walk(Operation::Crash, Victim::LiveShim).await;
}

#[tokio::test]
async fn a_shim_killed_during_an_exec() {
    walk(Operation::Exec, Victim::LiveShim).await;
}
