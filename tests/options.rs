//! Options of a creation, looked at from inside the container, and what is refused, told through the Engine API.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HostConfig, Mount, MountBindOptions, MountType, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum, ThrottleDevice,
};
use bollard::query_parameters::{CommitContainerOptionsBuilder, CreateContainerOptionsBuilder};
use support::Yard;

fn words(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|word| (*word).to_owned()).collect())
}

fn pairs(list: &[(&str, &str)]) -> Option<HashMap<String, String>> {
    Some(list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

/// No network: these tests are about everything else.
fn alone() -> HostConfig {
    HostConfig { network_mode: Some("none".into()), ..Default::default() }
}

async fn said(yard: &Yard, name: &str, script: &str, host_config: HostConfig) -> String {
    yard.run_with(name, script, host_config).await;
    let code = yard.exit_code(name).await;
    let log = yard.log(name).await;
    assert_eq!(code, 0, "{name}: {log}");
    log
}

async fn refusal(yard: &Yard, change: impl FnOnce(&mut ContainerCreateBody)) -> String {
    let mut body = ContainerCreateBody {
        image: Some(yard.host_image().await),
        cmd: words(&["true"]),
        host_config: Some(alone()),
        ..Default::default()
    };
    change(&mut body);
    let options = CreateContainerOptionsBuilder::default().name("refused").build();
    match yard.docker().create_container(Some(options), body).await.unwrap_err() {
        bollard::errors::Error::DockerResponseServerError { status_code: 400, message } => message,
        other => panic!("not a refusal by 400: {other}"),
    }
}

#[tokio::test]
async fn rights_and_limits_are_seen_from_inside() {
    let yard = Yard::new();
    let host_config = HostConfig {
        cap_drop: words(&["ALL"]),
        cap_add: words(&["NET_ADMIN", "CAP_KILL"]),
        security_opt: words(&["no-new-privileges"]),
        group_add: words(&["4321"]),
        ulimits: Some(vec![ResourcesUlimits { name: Some("nofile".into()), soft: Some(100), hard: Some(200) }]),
        sysctls: pairs(&[("kernel.shmmax", "1234567"), ("net.ipv4.ip_default_ttl", "77")]),
        oom_score_adj: Some(500),
        memory: Some(64 << 20),
        memory_reservation: Some(32 << 20),
        pids_limit: Some(77),
        cpu_shares: Some(300),
        nano_cpus: Some(500_000_000),
        cpuset_cpus: Some("0".into()),
        ..alone()
    };
    let script = "grep -E '^(CapEff|NoNewPrivs|Seccomp|Groups|Cpus_allowed_list):' /proc/self/status; \
                  ulimit -Sn; ulimit -Hn; cat /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_default_ttl \
                  /proc/self/oom_score_adj; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; \
                  cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
                  cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max";
    yard.image_of_programs("host:latest", &["sh", "cat", "grep", "true"]).await;
    let said = run_on_image(&yard, "limited", script, host_config).await;
    let lines: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected =
        ["Groups: 0 4321", "CapEff: 0000000000001020", "NoNewPrivs: 1", "Seccomp: 2", "Cpus_allowed_list: 0"];
    for line in expected.iter().chain(&["100", "200", "1234567", "77", "500", "67108864"]) {
        assert!(lines.iter().any(|found| found == line), "{line:?} in {lines:#?}");
    }
    assert!(lines.last().unwrap().starts_with("50000"), "{lines:#?}");
    yard.leaves_nothing_behind().await;
}

/// As [`said`], on an image made before.
async fn run_on_image(yard: &Yard, name: &str, script: &str, host_config: HostConfig) -> String {
    let body = ContainerCreateBody {
        image: Some("host:latest".into()),
        cmd: words(&["sh", "-c", script]),
        host_config: Some(host_config),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    yard.docker().create_container(Some(options), body).await.unwrap();
    yard.docker().start_container(name, None).await.unwrap();
    let code = yard.exit_code(name).await;
    let log = yard.log(name).await;
    assert_eq!(code, 0, "{name}: {log}");
    log
}

#[tokio::test]
async fn mounts_have_the_options_they_were_given() {
    let yard = Yard::new();
    let folder = tempfile::tempdir().unwrap();
    let bind = Mount {
        typ: Some(MountType::BIND),
        source: Some(folder.path().to_string_lossy().into_owned()),
        target: Some("/bound".into()),
        read_only: Some(true),
        bind_options: Some(MountBindOptions { read_only_non_recursive: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let host_config = HostConfig {
        readonly_rootfs: Some(true),
        tmpfs: pairs(&[("/scratch", "size=1m,mode=700,uid=1000,exec,nodiratime")]),
        mounts: Some(vec![bind]),
        shm_size: Some(8 << 20),
        ..alone()
    };
    let script = "cat /proc/mounts; stat -c '%a %u' /scratch; mkdir /new 2>/dev/null || echo refused; mkdir /scratch/x";
    let said = said(&yard, "mounts", script, host_config).await;
    let mount = |target: &str| {
        let line = said.lines().find(|line| line.split(' ').nth(1) == Some(target));
        line.unwrap_or_else(|| panic!("{target} in {said}")).split(' ').nth(3).unwrap().to_owned()
    };
    assert!(mount("/").starts_with("ro,"));
    assert!(mount("/bound").starts_with("ro,"));
    assert!(mount("/scratch").contains("nodiratime") && mount("/scratch").contains("size=1024k"));
    assert!(!mount("/scratch").contains("noexec"));
    assert!(mount("/dev/shm").contains("size=8192k"));
    assert!(said.contains("700 1000\nrefused\n"), "{said}");
    yard.leaves_nothing_behind().await;
}

/// What a case changes in an otherwise empty host configuration.
type Change = fn(&mut HostConfig);

#[tokio::test]
async fn what_can_not_be_had_is_refused_in_dockers_words() {
    let yard = Yard::new();
    let with =
        |change: fn(&mut HostConfig)| move |body: &mut ContainerCreateBody| change(body.host_config.as_mut().unwrap());
    let cases: [(Change, &str); 14] = [
        (|host| host.memory = Some(1 << 20), "Minimum memory limit allowed is 6MB"),
        (|host| (host.nano_cpus, host.cpu_quota) = (Some(1), Some(5000)), "Nano CPUs and CPU Quota cannot both be set"),
        (|host| host.cpuset_cpus = Some("0-999".into()), "Requested CPUs are not available - requested 0-999"),
        (|host| host.storage_opt = pairs(&[("size", "1g")]), "--storage-opt is not supported"),
        (|host| host.security_opt = words(&["magic"]), "invalid --security-opt 1: \"magic\""),
        (|host| host.cap_add = words(&["fly"]), "invalid CapAdd: unknown capability: \"CAP_FLY\""),
        (|host| host.sysctls = pairs(&[("kernel.panic", "1")]), "is not in a separate kernel namespace"),
        (|host| host.links = words(&["nobody:x"]), "could not get container for nobody: No such container: nobody"),
        (|host| host.volumes_from = words(&["nobody"]), "No such container: nobody"),
        (|host| host.binds = words(&["/tmp:/x:nocopy"]), "field VolumeOptions must not be specified"),
        (|host| host.tmpfs = pairs(&[("/x", "wings")]), "invalid tmpfs option [\"wings\"]"),
        (|host| host.cpu_percent = Some(5), "CpuPercent is not supported"),
        (|host| host.ipc_mode = Some("moon".into()), "invalid IPC mode: moon"),
        (
            |host| {
                host.mounts =
                    Some(vec![Mount { typ: Some(MountType::NPIPE), target: Some("/x".into()), ..Default::default() }])
            },
            "invalid mount config for type \"npipe\": mount type unknown",
        ),
    ];
    for (change, words) in cases {
        let told = refusal(&yard, with(change)).await;
        assert!(told.contains(words), "{told:?} instead of {words:?}");
    }
    let told = refusal(&yard, |body| {
        body.hostname = Some("me".into());
        body.host_config.as_mut().unwrap().uts_mode = Some("host".into());
    });
    assert_eq!(told.await, "conflicting options: hostname and the UTS mode");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_source_that_is_not_shared_is_not_shared_further() {
    let yard = Yard::new();
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let path = folder.path().canonicalize().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    if mounts.lines().any(|line| path.starts_with(line.split(' ').nth(4).unwrap()) && line.contains(" shared:")) {
        return; // here it is shared, and so may be
    }
    let host_config = HostConfig { binds: Some(vec![format!("{}:/x:rshared", path.display())]), ..alone() };
    yard.create_with("sharing", "true", host_config).await;
    let told = yard.docker().start_container("sharing", None).await.unwrap_err().to_string();
    assert!(told.contains("but it is not a shared mount"), "{told}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn what_was_given_is_shown_again() {
    let yard = Yard::new();
    let given = HostConfig {
        cpu_shares: Some(512),
        memory: Some(64 << 20),
        memory_swap: Some(-1),
        memory_reservation: Some(32 << 20),
        memory_swappiness: Some(10),
        cpu_period: Some(100_000),
        cpu_quota: Some(50_000),
        cpuset_cpus: Some("0".into()),
        cpuset_mems: Some("0".into()),
        pids_limit: Some(99),
        blkio_device_read_bps: Some(vec![ThrottleDevice { path: Some("/dev/vda".into()), rate: Some(1 << 20) }]),
        ulimits: Some(vec![ResourcesUlimits { name: Some("core".into()), soft: Some(0), hard: Some(-1) }]),
        binds: words(&["/tmp:/x:ro"]),
        annotations: pairs(&[("a", "b")]),
        cap_add: words(&["NET_ADMIN"]),
        cap_drop: words(&["MKNOD"]),
        dns: words(&["1.1.1.1"]),
        dns_options: words(&["ndots:2"]),
        dns_search: words(&["example.org"]),
        extra_hosts: words(&["a:1.2.3.4", "b:host-gateway"]),
        group_add: words(&["7"]),
        ipc_mode: Some("shareable".into()),
        pid_mode: Some("host".into()),
        oom_score_adj: Some(100),
        readonly_rootfs: Some(true),
        security_opt: words(&["no-new-privileges"]),
        tmpfs: pairs(&[("/t", "size=1m")]),
        shm_size: Some(1 << 20),
        sysctls: pairs(&[("net.ipv4.ip_forward", "1")]),
        init: Some(true),
        masked_paths: words(&["/proc/kcore"]),
        readonly_paths: words(&["/proc/sys"]),
        device_cgroup_rules: words(&["c 42:* rwm"]),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ON_FAILURE),
            maximum_retry_count: Some(3),
        }),
        ..alone()
    };
    yard.create_with("shown", "true", given.clone()).await;
    let shown = yard.docker().inspect_container("shown", None).await.unwrap().host_config.unwrap();
    let shown = serde_json::to_value(shown).unwrap();
    for (field, value) in serde_json::to_value(given).unwrap().as_object().unwrap() {
        assert_eq!(shown.get(field), Some(value), "{field}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn an_update_is_live_and_a_refused_one_changes_nothing() {
    let yard = Yard::new();
    let host_config = HostConfig { memory: Some(64 << 20), pids_limit: Some(50), cpu_shares: Some(300), ..alone() };
    let script = "while [ ! -e /go ]; do sleep 0.05; done; \
                  cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max";
    yard.run_with("live", script, host_config).await;
    let docker = yard.docker();
    let limits = async || {
        let host = docker.inspect_container("live", None).await.unwrap().host_config.unwrap();
        (host.memory, host.pids_limit, host.cpu_shares)
    };

    let too_much = ContainerUpdateBody { memory: Some(1 << 30), pids_limit: Some(60), ..Default::default() };
    let told = docker.update_container("live", too_much).await.unwrap_err().to_string();
    assert!(told.contains("update the memoryswap at the same time"), "{told}");
    assert_eq!(limits().await, (Some(64 << 20), Some(50), Some(300)));

    let more = ContainerUpdateBody { pids_limit: Some(61), ..Default::default() };
    docker.update_container("live", more).await.unwrap();
    assert_eq!(limits().await, (Some(64 << 20), Some(61), Some(300)));
    let options = bollard::exec::CreateExecOptions { cmd: Some(vec!["mkdir", "/go"]), ..Default::default() };
    let exec = docker.create_exec("live", options).await.unwrap();
    docker
        .start_exec(&exec.id, Some(bollard::exec::StartExecOptions { detach: true, ..Default::default() }))
        .await
        .unwrap();
    assert_eq!(yard.exit_code("live").await, 0);
    assert_eq!(yard.log("live").await.trim(), "61");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_commit_holds_no_mount_points() {
    let yard = Yard::new();
    yard.run_with("source", "echo hello >/made", alone()).await;
    assert_eq!(yard.exit_code("source").await, 0);
    let docker = yard.docker();
    let options = CommitContainerOptionsBuilder::default().container("source").repo("copy").build();
    docker.commit_container(options, bollard::models::ContainerConfig::default()).await.unwrap();
    let layers = docker.inspect_container("source", None).await.unwrap().graph_driver.unwrap();
    let upper = layers.data["UpperDir"].clone();
    assert!(std::path::Path::new(&upper).join("made").exists());
    let folder = yard.root().join("layers");
    let newest = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("diff"))
        .find(|diff| diff.join("made").exists())
        .expect("the new layer");
    for target in ["etc/hosts", "etc/hostname", "etc/resolv.conf", "proc", "sys", "dev"] {
        assert!(!newest.join(target).exists(), "{target} in {}", newest.display());
    }
    yard.leaves_nothing_behind().await;
}
