//! Limits, devices, freezing, being out of memory, figures: the stories in which cgroups do the work.
//!
//! They hold on version 1, on version 2 and on mixtures, and ask the kernel's own files whether the engine's word is kept:
//! a story looks for a limit wherever this host has its controller. What a host has no controller for is not asked.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::fs;
use std::path::PathBuf;

use bollard::models::{ContainerStateStatusEnum, ContainerUpdateBody, DeviceMapping, HostConfig};
use bollard::query_parameters::StatsOptionsBuilder;
use boxyard::engine::runtime::cgroup::{CgroupLayout, Controller};
use futures_util::StreamExt;
use support::{PATIENCE, Yard};

/// The folder of the container `id` in the hierarchy of `controller`, and whether that is version 2.
fn folder(yard: &Yard, id: &str, controller: &str) -> Option<(PathBuf, bool)> {
    let layout = CgroupLayout::read();
    let parent = boxyard::engine::instance::Instance::new(&yard.root(), &yard.run_root()).cgroup_parent();
    match layout.controller(controller) {
        Controller::V1(mount) => Some((mount.join(parent).join(id), false)),
        Controller::V2(mount) => Some((mount.join(parent).join(id), true)),
        Controller::Absent => None,
    }
}

/// A controller, and a file with its content there on version 1 and on version 2.
type Limit<'a> = (&'a str, (&'a str, &'a str), (&'a str, &'a str));

/// Asserts that the file, called differently in both versions, has this text, for each of `expected`:
/// controller, version 1 file and text, version 2 file and text.
fn has_limits(yard: &Yard, id: &str, expected: &[Limit<'_>]) {
    for (controller, v1, v2) in expected {
        let Some((folder, is_v2)) = folder(yard, id, controller) else { continue };
        let (file, text) = if is_v2 { v2 } else { v1 };
        if file.contains("sw") && !folder.join(file).exists() {
            continue; // a kernel without swap accounting
        }
        let found = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(found.trim(), *text, "{file}");
    }
}

#[tokio::test]
async fn limits_are_in_the_kernels_files_and_change_while_it_runs() {
    let yard = Yard::new();
    let limits = HostConfig {
        memory: Some(64 << 20),
        memory_swap: Some(96 << 20),
        cpu_shares: Some(2048),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        cpuset_cpus: Some("0".to_owned()),
        pids_limit: Some(50),
        ..Default::default()
    };
    let id = yard.run_with("limited", "sleep 600", limits).await;
    has_limits(
        &yard,
        &id,
        &[
            ("memory", ("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")),
            ("memory", ("memory.memsw.limit_in_bytes", "100663296"), ("memory.swap.max", "33554432")),
            ("cpu", ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
            ("cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
            ("pids", ("pids.max", "50"), ("pids.max", "50")),
        ],
    );

    let update = ContainerUpdateBody {
        memory: Some(128 << 20),
        memory_swap: Some(256 << 20),
        cpu_quota: Some(20_000),
        pids_limit: Some(20),
        ..Default::default()
    };
    yard.docker().update_container("limited", update).await.unwrap();
    has_limits(
        &yard,
        &id,
        &[
            ("memory", ("memory.limit_in_bytes", "134217728"), ("memory.max", "134217728")),
            ("memory", ("memory.memsw.limit_in_bytes", "268435456"), ("memory.swap.max", "134217728")),
            ("cpu", ("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 100000")),
            ("cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
            ("pids", ("pids.max", "20"), ("pids.max", "20")),
        ],
    );
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn only_the_given_devices_can_be_opened() {
    let yard = Yard::new();
    // Whether the given one opens is the kernel log's own right, too (CAP_SYSLOG), so only the refusal is judged.
    // The nodes are there by mknod, which is allowed; whether they open is the device rules' word.
    let script = "cat /dev/full | true; head -c1 /dev/zero >/dev/null && echo zero; \
                  [ -e /dev/kmsg ] && echo node; mknod /tmp/kmsg c 1 11; (: </tmp/kmsg) && echo open; echo end";
    yard.image_of_programs("devices:latest", &["sh", "cat", "head", "mknod", "true", "mkdir"]).await;
    for (name, devices, expected) in [
        ("usual", None, "zero\nend\n"),
        (
            "given",
            Some(vec![DeviceMapping {
                path_on_host: Some("/dev/kmsg".to_owned()),
                path_in_container: Some("/dev/kmsg".to_owned()),
                cgroup_permissions: Some("rwm".to_owned()),
            }]),
            "zero\nnode\nend\n",
        ),
    ] {
        let config = bollard::models::ContainerCreateBody {
            image: Some("devices:latest".to_owned()),
            cmd: Some(["sh", "-c", &format!("mkdir -p /tmp; {script}")].map(str::to_owned).to_vec()),
            host_config: Some(HostConfig { devices, ..Default::default() }),
            ..Default::default()
        };
        let options = bollard::query_parameters::CreateContainerOptionsBuilder::default().name(name).build();
        yard.docker().create_container(Some(options), config).await.unwrap();
        yard.docker().start_container(name, None).await.unwrap();
        yard.exit_code(name).await;
        let log = yard.log(name).await;
        let said: String = log
            .lines()
            .filter(|line| ["zero", "node", "open", "end"].contains(line))
            .map(|it| format!("{it}\n"))
            .collect();
        assert_eq!(said, expected, "{name}: {log}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_paused_container_stands_still_and_can_be_killed() {
    let yard = Yard::new();
    let id = yard.run("still", "sleep 600").await;
    let docker = yard.docker();
    docker.pause_container("still").await.unwrap();
    let unified = CgroupLayout::read().v2.map(|root| {
        root.join(boxyard::engine::instance::Instance::new(&yard.root(), &yard.run_root()).cgroup_parent()).join(&id)
    });
    let frozen = match unified.map(|folder| folder.join("cgroup.events")).filter(|file| file.exists()) {
        Some(events) => fs::read_to_string(events).unwrap().contains("frozen 1"),
        None => {
            let (folder, _) = folder(&yard, &id, "freezer").unwrap();
            fs::read_to_string(folder.join("freezer.state")).unwrap().trim() == "FROZEN"
        }
    };
    assert!(frozen, "the kernel says that it stands still");
    docker.kill_container("still", None).await.unwrap();
    assert_eq!(yard.exit_code("still").await, 137);
    let state = docker.inspect_container("still", None).await.unwrap().state.unwrap();
    assert_eq!((state.status, state.paused), (Some(ContainerStateStatusEnum::EXITED), Some(false)));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn out_of_memory_is_told_apart_from_a_kill() {
    let yard = Yard::new();
    let limit = || HostConfig { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..Default::default() };
    yard.run_with("greedy", "x=a; while :; do x=$x$x; done", limit()).await;
    assert_eq!(yard.exit_code("greedy").await, 137);
    yard.run_with("killed", "sleep 600", limit()).await;
    yard.docker().kill_container("killed", None).await.unwrap();
    assert_eq!(yard.exit_code("killed").await, 137);
    for (name, expected) in [("greedy", true), ("killed", false)] {
        let state = yard.docker().inspect_container(name, None).await.unwrap().state.unwrap();
        assert_eq!(state.oom_killed, Some(expected), "{name}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn figures_are_the_kernels() {
    let yard = Yard::new();
    let limit = HostConfig { memory: Some(64 << 20), pids_limit: Some(40), ..Default::default() };
    let id = yard.run_with("busy", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo up; sleep 600", limit).await;
    yard.log_until("busy", "up").await;
    let docker = yard.docker();
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let mut figures = docker.stats("busy", Some(options));
    let figures = tokio::time::timeout(PATIENCE, figures.next()).await.unwrap().unwrap().unwrap();
    let memory = figures.memory_stats.unwrap();
    assert_eq!(memory.limit, Some(64 << 20));
    assert!(memory.usage.is_some_and(|bytes| bytes > 0 && bytes < 64 << 20), "{memory:?}");
    let is_v2 = folder(&yard, &id, "memory").unwrap().1;
    // The names of the detailed figures tell the version apart: `docker stats` decides by them what is cache.
    let details = memory.stats.unwrap();
    assert!(details.contains_key(if is_v2 { "inactive_file" } else { "total_inactive_file" }), "{details:?}");
    let cpu = figures.cpu_stats.unwrap();
    assert!(cpu.cpu_usage.and_then(|usage| usage.total_usage).is_some_and(|nanoseconds| nanoseconds > 0));
    assert!(cpu.online_cpus.is_some_and(|count| count > 0) && cpu.system_cpu_usage.is_some_and(|time| time > 0));
    if folder(&yard, &id, "pids").is_some() {
        let pids = figures.pids_stats.unwrap();
        assert!(pids.current.is_some_and(|count| (1..=3).contains(&count)), "{pids:?}");
        assert_eq!(pids.limit, Some(40));
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_process_limit_stops_forks() {
    let yard = Yard::new();
    if CgroupLayout::read().controller("pids") == Controller::Absent {
        return yard.leaves_nothing_behind().await;
    }
    let limit = HostConfig { pids_limit: Some(5), ..Default::default() };
    yard.run_with("forks", "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; echo all", limit).await;
    assert_ne!(yard.exit_code("forks").await, 0);
    let log = yard.log("forks").await;
    assert!(log.contains("ork") && !log.contains("all"), "the shell says that it cannot fork: {log}");
    yard.leaves_nothing_behind().await;
}
