//! What a person asks for, and what the plan says, or the words of the refusal.

use std::collections::HashMap;

use bollard_stubs::models::{ContainerConfig, DeviceMapping, ExecConfig, HostConfig, ResourcesUlimits};

use super::*;
use crate::engine::oci::{Access, CapSet, DevicePlan, IpcNs, MountKind, PidNs, SeccompPlan};

fn host() -> HostFacts {
    HostFacts {
        hostname: "host".to_owned(),
        kernel_release: "6.1.0-1-amd64".to_owned(),
        cpus: 2,
        cpu_list: "0-1".to_owned(),
        memory_nodes: "0".to_owned(),
        capabilities: CapSet::ALL.without(CapSet::parse("SYS_RESOURCE").unwrap()),
        has_seccomp: true,
        thermal_throttles: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".to_owned()],
        ..HostFacts::default()
    }
}

fn config() -> ContainerConfig {
    ContainerConfig {
        hostname: Some("0123456789ab".to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        ..ContainerConfig::default()
    }
}

fn try_plan(config: &ContainerConfig, host_config: &HostConfig, mounts: Vec<MountPlan>) -> Result<LaunchPlan, String> {
    let root = OverlayStack {
        lowers: vec!["/lower".into()],
        upper: "/upper".into(),
        work: "/work".into(),
        is_volatile: false,
    };
    let host = host();
    let peers = Peers { pid: Some(42), ipc: None };
    let cgroup_parent = "boxyard".to_owned();
    let input = PlanInput {
        id: "0123",
        config,
        host_config,
        root,
        mounts,
        net: NetNs::Host,
        cgroup_parent,
        host: &host,
        peers,
        user: crate::engine::oci::UserNs::Host,
    };
    plan(&input).map_err(|error| error.message().to_owned())
}

#[track_caller]
fn planned(host_config: HostConfig) -> LaunchPlan {
    try_plan(&config(), &host_config, Vec::new()).unwrap()
}

#[track_caller]
fn refused(host_config: HostConfig, words: &str) {
    assert_eq!(try_plan(&config(), &host_config, Vec::new()).unwrap_err(), words);
}

fn strings(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn a_usual_container() {
    let plan = planned(HostConfig::default());
    assert_eq!(plan.process.args, ["true"]);
    assert_eq!(plan.process.env[1], "HOSTNAME=0123456789ab");
    assert_eq!(plan.process.capabilities, CapSet::docker_default());
    assert!(matches!(plan.process.seccomp, SeccompPlan::Filter(_)));
    assert_eq!(plan.cgroup.path, "boxyard/0123");
    let targets: Vec<_> = plan.mounts.iter().map(|mount| mount.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"]);
    assert!(plan.masked_paths.iter().any(|path| path.ends_with("thermal_throttle")));
    assert_eq!(plan.devices.len(), 6);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<LaunchPlan>(&text).unwrap(), plan);
}

#[test]
fn a_privileged_container() {
    let plan = planned(HostConfig { privileged: Some(true), ..HostConfig::default() });
    assert_eq!(plan.process.capabilities, host().capabilities);
    assert_eq!(plan.process.seccomp, SeccompPlan::Unconfined);
    assert_eq!(plan.devices, [DevicePlan::AllOfHost]);
    assert!(plan.masked_paths.is_empty() && plan.readonly_paths.is_empty());
    assert!(plan.mounts.iter().all(|mount| mount.flags.access == Access::ReadWrite));
}

#[test]
fn capabilities_are_added_and_dropped() {
    let with = |add: &[&str], drop: &[&str]| {
        let host_config = HostConfig { cap_add: strings(add), cap_drop: strings(drop), ..HostConfig::default() };
        planned(host_config).process.capabilities
    };
    let one = |name| CapSet::parse(name).unwrap();
    assert_eq!(
        with(&["NET_ADMIN"], &["CHOWN"]),
        CapSet::docker_default().without(one("CHOWN")).union(one("NET_ADMIN"))
    );
    assert_eq!(with(&["CAP_KILL"], &["ALL"]), one("KILL"));
    assert_eq!(with(&["all"], &["SYS_ADMIN"]), host().capabilities.without(one("SYS_ADMIN")));
    let unknown = HostConfig { cap_add: strings(&["fly"]), ..HostConfig::default() };
    refused(unknown, "invalid CapAdd: unknown capability: \"CAP_FLY\"");
}

#[test]
fn the_environment_is_dockers() {
    let config = ContainerConfig { env: strings(&["PATH=/x", "A=1", "HOSTNAME"]), tty: Some(true), ..config() };
    let plan = try_plan(&config, &HostConfig::default(), Vec::new()).unwrap();
    assert_eq!(plan.process.env, ["PATH=/x", "TERM=xterm", "A=1"]);
}

#[test]
fn a_persons_mount_takes_the_place_of_a_usual_one() {
    let own = vec![
        MountPlan::bind("/b", "/data/inner"),
        MountPlan::bind("/a", "/data"),
        MountPlan::bind("/dev/shm", "/dev/shm"),
    ];
    let plan = try_plan(&config(), &HostConfig::default(), own).unwrap();
    let targets: Vec<_> = plan.mounts.iter().skip(6).map(|mount| mount.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["/data", "/data/inner", "/dev/shm"]);
    let error = try_plan(&config(), &HostConfig::default(), vec![MountPlan::bind("/a", "/proc/self")]).unwrap_err();
    assert_eq!(error, "\"/proc/self\" cannot be mounted because it is inside /proc");
}

#[test]
fn namespaces_are_shared_as_asked() {
    let text = |text: &str| Some(text.to_owned());
    let shared = HostConfig {
        pid_mode: text("container:x"),
        ipc_mode: text("host"),
        uts_mode: text("host"),
        ..HostConfig::default()
    };
    let plan = planned(shared);
    assert_eq!((plan.namespaces.pid, plan.namespaces.ipc, plan.hostname), (PidNs::JoinPid(42), IpcNs::Host, None));
    assert!(
        plan.mounts
            .iter()
            .any(|mount| matches!(&mount.kind, MountKind::Bind { source, .. } if source.ends_with("shm")))
    );
    let none = planned(HostConfig { ipc_mode: text("none"), ..HostConfig::default() });
    assert!(none.mounts.iter().all(|mount| !mount.target.ends_with("shm")));
    refused(HostConfig { pid_mode: text("moon"), ..HostConfig::default() }, "invalid PID mode: \"moon\"");
    refused(
        HostConfig { ipc_mode: text("container:x"), ..HostConfig::default() },
        "cannot join IPC of a non running container: x",
    );
}

#[test]
fn limits_are_checked_in_dockers_words() {
    let with = |change: fn(&mut HostConfig)| {
        let mut host_config = HostConfig::default();
        change(&mut host_config);
        host_config
    };
    let limits = planned(with(|c| (c.memory, c.nano_cpus) = (Some(64 << 20), Some(1_500_000_000)))).cgroup.limits;
    assert_eq!(
        (limits.memory_swap, limits.cpu_quota, limits.cpu_period),
        (Some(128 << 20), Some(150_000), Some(100_000))
    );
    refused(with(|c| c.memory = Some(1)), "Minimum memory limit allowed is 6MB");
    refused(
        with(|c| c.memory_swap = Some(9)),
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    );
    refused(
        with(|c| c.nano_cpus = Some(3_000_000_000)),
        "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
    );
    refused(
        with(|c| c.cpuset_cpus = Some("0-7".to_owned())),
        "Requested CPUs are not available - requested 0-7, available: 0-1",
    );
    refused(with(|c| c.cpuset_cpus = Some("x".to_owned())), "Invalid value x for cpuset cpus: invalid format: x");
    refused(with(|c| c.blkio_weight = Some(5)), "Range of blkio weight is from 10 to 1000");
    refused(with(|c| c.oom_score_adj = Some(2000)), "Invalid value 2000, range for oom score adj is [-1000, 1000]");
}

#[test]
fn sysctls_of_the_host_are_refused() {
    let with = |name: &str| HostConfig {
        sysctls: Some(HashMap::from([(name.to_owned(), "1".to_owned())])),
        ..HostConfig::default()
    };
    assert_eq!(planned(with("kernel.shmmax")).sysctls, [("kernel.shmmax".to_owned(), "1".to_owned())]);
    refused(with("kernel.panic"), "sysctl \"kernel.panic\" is not in a separate kernel namespace");
    refused(with("net.ipv4.ip_forward"), "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace");
    refused(with("net/../kernel/panic"), "invalid sysctl name: \"net/../kernel/panic\"");
}

#[test]
fn devices_and_ulimits() {
    let device = DeviceMapping { path_on_host: Some("/dev/fuse".to_owned()), ..DeviceMapping::default() };
    let ulimit = ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(10), hard: Some(-1) };
    let plan =
        planned(HostConfig { devices: Some(vec![device]), ulimits: Some(vec![ulimit]), ..HostConfig::default() });
    assert!(matches!(plan.devices.last(), Some(DevicePlan::Host { target, .. }) if target.ends_with("fuse")));
    assert_eq!((plan.process.rlimits[0].soft, plan.process.rlimits[0].hard), (10, u64::MAX));
    let rules = HostConfig { device_cgroup_rules: strings(&["x 1"]), ..HostConfig::default() };
    refused(rules, "invalid device cgroup rule format: 'x 1'");
}

#[test]
fn security_options() {
    let with = |option: &str| HostConfig { security_opt: strings(&[option]), ..HostConfig::default() };
    assert!(planned(with("no-new-privileges")).process.no_new_privileges);
    assert_eq!(planned(with("seccomp=unconfined")).process.seccomp, SeccompPlan::Unconfined);
    assert!(planned(with("systempaths=unconfined")).masked_paths.is_empty());
    assert_eq!(planned(with("apparmor=unconfined")).process.apparmor, None);
    refused(with("apparmor=web"), "AppArmor is not enabled on this host: the profile \"web\" cannot be applied");
    refused(with("magic=on"), "invalid --security-opt 2: \"magic=on\"");
    refused(with("magic"), "invalid --security-opt 1: \"magic\"");
    planned(with("label=type:container_t"));
    let json = r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#;
    assert!(matches!(planned(with(json)).process.seccomp, SeccompPlan::Filter(_)));
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let config = ContainerConfig { cmd: None, ..config() };
    assert_eq!(try_plan(&config, &HostConfig::default(), Vec::new()).unwrap_err(), "no command specified");
}

#[test]
fn an_exec_is_like_its_container_but_for_what_it_says() {
    let config = ContainerConfig { user: Some("app".to_owned()), working_dir: Some("/srv".to_owned()), ..config() };
    let exec =
        ExecConfig { cmd: strings(&["ls"]), env: strings(&["A=2"]), privileged: Some(true), ..ExecConfig::default() };
    let host_config = HostConfig { group_add: strings(&["audio"]), ..HostConfig::default() };
    let input = ExecInput { config: &config, host_config: &host_config, exec: &exec, host: &host() };
    let plan = exec_plan(&input).unwrap();
    assert_eq!((plan.args, plan.user, plan.cwd), (vec!["ls".to_owned()], "app".to_owned(), "/srv".to_owned()));
    assert_eq!((plan.capabilities, plan.additional_groups), (host().capabilities, vec!["audio".to_owned()]));
    assert!(plan.env.contains(&"A=2".to_owned()));
}
