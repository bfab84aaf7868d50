//! From a [`LaunchPlan`] to a bundle's `config.json`, for a runtime of others to carry out. Pure: what has to be asked of
//! the host or of the container's files is asked before, and comes as [`Found`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::config::{
    BlockIo, Capabilities, Config, ConsoleBox, Cpu, Device, DeviceCgroup, Linux, Memory, Mount, Namespace, Pids,
    PosixRlimit, Process, Resources, Root, ThrottleDevice, User, WeightDevice,
};
use crate::engine::oci::launch::USUAL_DEVICES;
use crate::engine::oci::{
    Access, CapSet, DeviceKind, DeviceRule, DeviceThrottle, ExternalRuntime, IpcNs, LaunchPlan, Limits, MountFlags,
    MountKind, MountPlan, NamespaceKind, NetNs, PidNs, ProcessPlan, Propagation, Sharing,
};

/// The version that is written: all that is asked for was in it, and older runtimes take it.
const WRITTEN_VERSION: &str = "1.0.2";

/// Where the init of `--init` is mounted in the container, as in Docker's.
pub const INIT_TARGET: &str = "/sbin/docker-init";

/// Numbers and home of a plan's user, looked up in the container's files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundUser {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// All groups, the first one too.
    pub groups: Vec<u32>,
    /// Where `HOME` points unless the environment says otherwise.
    pub home: String,
}

/// What was asked of the host.
#[derive(Debug, Default)]
pub struct Found {
    /// Where the container's root is mounted.
    pub root: PathBuf,
    /// The first process's user.
    pub user: FoundUser,
    /// The file of the network namespace that [`NetNs::Inherited`] stands for.
    pub netns: Option<PathBuf>,
    /// The nodes that the plan's devices come to.
    pub devices: Vec<Device>,
    /// Rules for those of the host's.
    pub device_rules: Vec<DeviceRule>,
    /// Numbers of the block devices that limits name, by path.
    pub block_devices: HashMap<String, (u32, u32)>,
    /// Where the plan's mounts have been prepared that the runtime could not find by itself, by their place in the plan.
    pub prepared: HashMap<usize, PathBuf>,
}

/// The bundle's configuration.
pub fn bundle(plan: &LaunchPlan, runtime: &ExternalRuntime, found: &Found) -> Config {
    let mut process = process(&plan.process, &found.user);
    let mut mounts: Vec<Mount> = plan
        .mounts
        .iter()
        .enumerate()
        .map(|(place, one)| mount(one, found.prepared.get(&place).map(PathBuf::as_path)))
        .collect();
    if let Some(init) = &runtime.init {
        mounts.push(mount(&MountPlan::bind(init, INIT_TARGET).read_only(), None));
        process.args.splice(0..0, [INIT_TARGET.to_owned(), "--".to_owned()]);
    }
    let mut sysctl: std::collections::BTreeMap<String, String> = plan.sysctls.iter().cloned().collect();
    if let Some(domain) = &plan.domainname {
        // the field of its own is younger than many a runtime
        sysctl.insert("kernel.domainname".to_owned(), domain.clone());
    }
    Config {
        oci_version: WRITTEN_VERSION.to_owned(),
        process: Some(process),
        root: Some(Root { path: text(&found.root), readonly: plan.readonly_root }),
        hostname: plan.hostname.clone().unwrap_or_default(),
        mounts,
        annotations: runtime.annotations.clone(),
        linux: Linux {
            namespaces: namespaces(plan, found.netns.as_deref()),
            devices: found.devices.iter().filter(|device| !every_runtime_makes(&device.path)).cloned().collect(),
            cgroups_path: format!("/{}", plan.cgroup.path),
            resources: resources(&plan.cgroup.limits, found),
            rootfs_propagation: root_propagation(&plan.mounts).to_owned(),
            seccomp: runtime.seccomp.clone(),
            sysctl,
            masked_paths: plan.masked_paths.clone(),
            readonly_paths: plan.readonly_paths.clone(),
            ..Linux::default()
        },
        ..Config::default()
    }
}

/// A process, the first one or an exec.
pub fn process(plan: &ProcessPlan, user: &FoundUser) -> Process {
    let mut env = plan.env.clone();
    if !env.iter().any(|entry| entry.strip_prefix("HOME=").is_some_and(|home| !home.is_empty())) {
        env.retain(|entry| entry != "HOME=");
        env.push(format!("HOME={}", user.home));
    }
    let names = |set: CapSet| set.names();
    let sets = plan.sets;
    Process {
        terminal: plan.tty,
        console_size: plan.console_size.map(|size| ConsoleBox { height: size.rows, width: size.cols }),
        user: User { uid: user.uid, gid: user.gid, umask: plan.umask, additional_gids: user.groups.clone() },
        args: plan.args.clone(),
        env,
        cwd: if plan.cwd.is_empty() { "/".to_owned() } else { plan.cwd.clone() },
        capabilities: Some(Capabilities {
            bounding: names(plan.capabilities),
            effective: names(sets.map_or(plan.capabilities, |sets| sets.effective)),
            permitted: names(sets.map_or(plan.capabilities, |sets| sets.permitted)),
            inheritable: names(sets.map_or(plan.ambient, |sets| sets.inheritable)),
            ambient: names(plan.ambient),
        }),
        rlimits: plan
            .rlimits
            .iter()
            .map(|limit| PosixRlimit {
                kind: format!("RLIMIT_{}", limit.name.to_ascii_uppercase()),
                hard: limit.hard,
                soft: limit.soft,
            })
            .collect(),
        no_new_privileges: plan.no_new_privileges,
        apparmor_profile: plan.apparmor.clone().unwrap_or_default(),
        oom_score_adj: plan.oom_score_adj,
        ..Process::default()
    }
}

/// The block devices that the limits name by a path, whose numbers [`Found::block_devices`] should hold.
pub fn named_block_devices(limits: &Limits) -> impl Iterator<Item = &str> {
    let throttles = [&limits.read_bps, &limits.write_bps, &limits.read_iops, &limits.write_iops];
    let throttled = throttles.into_iter().flatten().map(|one| one.path.as_str());
    throttled.chain(limits.blkio_weight_device.iter().map(|one| one.path.as_str())).filter(|path| path.contains('/'))
}

/// Whether a runtime can't find this mount's source by a path of the host, so that it has to be prepared for it.
pub fn has_to_be_prepared(mount: &MountPlan) -> bool {
    match &mount.kind {
        // a path inside a volume is resolved once, by us; a shared tree has to stay the host's peer
        MountKind::Bind { subpath, propagation, .. } => {
            subpath.is_some() || matches!(propagation, Propagation::Shared | Propagation::RecursiveShared)
        }
        MountKind::OfProcess { .. } | MountKind::Layers { .. } | MountKind::Content { .. } => true,
        _ => false,
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn every_runtime_makes(path: &str) -> bool {
    let name = path.strip_prefix("/dev/").unwrap_or_default();
    name == "ptmx" || USUAL_DEVICES.iter().any(|(usual, ..)| *usual == name)
}

fn namespaces(plan: &LaunchPlan, netns: Option<&Path>) -> Vec<Namespace> {
    let new = |kind: &str| Namespace { kind: kind.to_owned(), path: String::new() };
    let of =
        |kind: &str, pid: u32, file: &str| Namespace { kind: kind.to_owned(), path: format!("/proc/{pid}/ns/{file}") };
    let own = &plan.namespaces;
    let mut namespaces = vec![new("mount")];
    namespaces.extend(match own.net {
        NetNs::Inherited => netns.map(|path| Namespace { kind: "network".to_owned(), path: text(path) }),
        NetNs::Fresh => Some(new("network")),
        NetNs::JoinPid(pid) => Some(of("network", pid, "net")),
        NetNs::Host => None,
    });
    namespaces.extend(match own.pid {
        PidNs::Private => Some(new("pid")),
        PidNs::JoinPid(pid) => Some(of("pid", pid, "pid")),
        PidNs::Host => None,
    });
    namespaces.extend(match own.ipc {
        IpcNs::Private => Some(new("ipc")),
        IpcNs::JoinPid(pid) => Some(of("ipc", pid, "ipc")),
        IpcNs::Host => None,
    });
    namespaces.extend((own.uts == Sharing::Private).then(|| new("uts")));
    namespaces.extend((own.cgroup == Sharing::Private).then(|| new("cgroup")));
    for joined in &own.joined {
        let kind = match joined.kind {
            NamespaceKind::Net => "network",
            NamespaceKind::Pid => "pid",
            NamespaceKind::Ipc => "ipc",
            NamespaceKind::Uts => "uts",
            NamespaceKind::Cgroup => "cgroup",
        };
        namespaces.retain(|namespace| namespace.kind != kind);
        namespaces.push(Namespace { kind: kind.to_owned(), path: text(&joined.path) });
    }
    namespaces
}

fn mount(plan: &MountPlan, prepared: Option<&Path>) -> Mount {
    let destination = text(&plan.target);
    let mut options = words(plan.flags);
    let bind = |source: &Path, recursive: bool, propagation: Propagation, mut options: Vec<String>| {
        let first = [if recursive { "rbind" } else { "bind" }, propagation.word()];
        options.splice(0..0, first.map(str::to_owned));
        Mount {
            destination: text(&plan.target),
            kind: "bind".to_owned(),
            source: text(source),
            options,
            ..Mount::default()
        }
    };
    let mut of = |kind: &str, source: &str, more: &[String]| {
        options.extend(more.iter().cloned());
        Mount {
            destination: destination.clone(),
            kind: kind.to_owned(),
            source: source.to_owned(),
            options: std::mem::take(&mut options),
            ..Mount::default()
        }
    };
    let plain: [String; 0] = [];
    match (&plan.kind, prepared) {
        (MountKind::Bind { propagation, recursive, .. }, Some(tree)) => {
            bind(tree, *recursive, *propagation, words(plan.flags))
        }
        (_, Some(tree)) => bind(tree, true, Propagation::RecursivePrivate, words(plan.flags)),
        (MountKind::Bind { source, recursive, propagation, .. }, None) => {
            bind(source, *recursive, *propagation, words(plan.flags))
        }
        (MountKind::Tmpfs { options }, None) => of("tmpfs", "tmpfs", options),
        (MountKind::Proc, None) => of("proc", "proc", &plain),
        (MountKind::Sysfs, None) => of("sysfs", "sysfs", &plain),
        (MountKind::Mqueue, None) => of("mqueue", "mqueue", &plain),
        (MountKind::Devpts, None) => {
            of("devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"].map(str::to_owned))
        }
        (MountKind::Cgroup, None) => of("cgroup", "cgroup", &plain),
        (MountKind::Filesystem { kind, source, options }, None) => of(kind, source, options),
        // these are always prepared
        (MountKind::OfProcess { path, .. }, None) => bind(path, true, Propagation::RecursivePrivate, words(plan.flags)),
        (MountKind::Layers { lowers, .. }, None) => {
            let lower = lowers.first().map_or(Path::new("/"), PathBuf::as_path);
            bind(lower, true, Propagation::RecursivePrivate, words(plan.flags))
        }
        (MountKind::Content { source, .. }, None) => {
            bind(source, false, Propagation::RecursivePrivate, words(plan.flags))
        }
    }
}

/// A mount's flags as mount(8) has them.
fn words(flags: MountFlags) -> Vec<String> {
    let access: &[&str] = match flags.access {
        Access::ReadWrite => &[],
        Access::ReadOnlyTop => &["ro"],
        Access::ReadOnly => &["ro", "rro"],
    };
    let others = [
        (flags.nosuid, "nosuid"),
        (flags.nodev, "nodev"),
        (flags.noexec, "noexec"),
        (flags.noatime, "noatime"),
        (flags.nodiratime, "nodiratime"),
        (flags.strictatime && !flags.noatime, "strictatime"),
        (flags.copy_up, "tmpcopyup"),
    ];
    let others = others.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word);
    access.iter().copied().chain(others).map(str::to_owned).collect()
}

/// How `/` itself has to travel for the binds below it to do as they are told.
fn root_propagation(mounts: &[MountPlan]) -> &'static str {
    let any = |wanted: [Propagation; 2]| {
        mounts
            .iter()
            .any(|mount| matches!(mount.kind, MountKind::Bind { propagation, .. } if wanted.contains(&propagation)))
    };
    if any([Propagation::Shared, Propagation::RecursiveShared]) {
        "shared"
    } else if any([Propagation::Slave, Propagation::RecursiveSlave]) {
        "rslave"
    } else {
        "rprivate"
    }
}

fn resources(limits: &Limits, found: &Found) -> Resources {
    let rules = limits.devices.iter().flatten().chain(&found.device_rules);
    let throttles = |list: &[DeviceThrottle]| {
        let throttle = |one: &DeviceThrottle| {
            let (major, minor) = numbers(&one.path, found)?;
            Some(ThrottleDevice { major, minor, rate: one.rate })
        };
        list.iter().filter_map(throttle).collect()
    };
    Resources {
        devices: rules.map(rule).collect(),
        memory: Memory {
            limit: limits.memory,
            reservation: limits.memory_reservation,
            swap: limits.memory_swap,
            swappiness: limits.memory_swappiness,
            disable_oom_killer: limits.oom_kill_disable,
            ..Memory::default()
        },
        cpu: Cpu {
            shares: limits.cpu_shares,
            quota: limits.cpu_quota,
            period: limits.cpu_period,
            realtime_runtime: limits.cpu_rt_runtime,
            realtime_period: limits.cpu_rt_period,
            cpus: limits.cpuset_cpus.clone().unwrap_or_default(),
            mems: limits.cpuset_mems.clone().unwrap_or_default(),
            ..Cpu::default()
        },
        pids: limits.pids.map(|limit| Pids { limit }),
        block_io: BlockIo {
            weight: limits.blkio_weight,
            weight_device: limits
                .blkio_weight_device
                .iter()
                .filter_map(|one| {
                    let (major, minor) = numbers(&one.path, found)?;
                    Some(WeightDevice { major, minor, weight: Some(one.weight) })
                })
                .collect(),
            throttle_read_bps_device: throttles(&limits.read_bps),
            throttle_write_bps_device: throttles(&limits.write_bps),
            throttle_read_iops_device: throttles(&limits.read_iops),
            throttle_write_iops_device: throttles(&limits.write_iops),
            ..BlockIo::default()
        },
        unified: limits.unified.clone(),
        ..Resources::default()
    }
}

fn numbers(path: &str, found: &Found) -> Option<(i64, i64)> {
    let written = || path.split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let of_host = found.block_devices.get(path).map(|(major, minor)| (i64::from(*major), i64::from(*minor)));
    of_host.or_else(written)
}

fn rule(rule: &DeviceRule) -> DeviceCgroup {
    DeviceCgroup {
        allow: rule.allow,
        // the old way to say "any" is to say nothing
        kind: if rule.kind == DeviceKind::Any { String::new() } else { rule.kind.letter().to_string() },
        major: rule.major.map(i64::from),
        minor: rule.minor.map(i64::from),
        access: rule.access.letters(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Surroundings, plan};
    use super::*;
    use crate::engine::runtime::cgroup::CgroupLayout;

    fn runc() -> ExternalRuntime {
        ExternalRuntime {
            name: "runc".to_owned(),
            path: "/usr/bin/runc".into(),
            annotations: [("a".to_owned(), "b".to_owned())].into(),
            seccomp: None,
            init: None,
        }
    }

    fn found() -> Found {
        let user = FoundUser { uid: 7, gid: 8, groups: vec![8, 9], home: "/home/x".to_owned() };
        Found { root: "/bundle/rootfs".into(), user, netns: Some("/proc/5/fd/3".into()), ..Found::default() }
    }

    /// A plan with much in it, by way of the other direction.
    fn rich_plan() -> LaunchPlan {
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {"args": ["sh", "-c", "x"], "cwd": "/srv", "env": ["A=b"], "user": {"uid": 7, "gid": 8},
                "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}], "noNewPrivileges": true, "oomScoreAdj": 3},
            "root": {"path": "rootfs", "readonly": true},
            "hostname": "web",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "tmpcopyup", "size=64k"]},
                {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "rprivate", "ro", "rro"]},
            ],
            "linux": {
                "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "uts"}, {"type": "network", "path": "/run/n"}],
                "cgroupsPath": "/boxyard/web", "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
                "sysctl": {"net.ipv4.ip_forward": "1"},
                "resources": {"memory": {"limit": 1048576, "swap": 2097152}, "pids": {"limit": 5},
                    "cpu": {"shares": 7, "cpus": "0"},
                    "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 4}]},
                    "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 5, "access": "r"}]},
            },
        });
        let config: Config = serde_json::from_value(config).unwrap();
        let around =
            Surroundings { id: "web", bundle: Path::new("/bundle"), cgroups: &CgroupLayout::default(), kernel: (6, 1) };
        plan(&config, &around).unwrap()
    }

    #[test]
    fn there_and_back_is_the_same_plan() {
        let first = rich_plan();
        let config = bundle(&first, &runc(), &found());
        assert_eq!(config.annotations["a"], "b");
        let around =
            Surroundings { id: "web", bundle: Path::new("/bundle"), cgroups: &CgroupLayout::default(), kernel: (6, 1) };
        let text = serde_json::to_string(&config).unwrap();
        let mut again = plan(&serde_json::from_str(&text).unwrap(), &around).unwrap();
        // what was looked up meanwhile
        assert_eq!(
            (again.process.user.as_str(), &again.process.additional_groups[..]),
            ("7:8", &["8".to_owned(), "9".to_owned()][..])
        );
        assert_eq!(again.process.env, ["A=b", "HOME=/home/x"]);
        again.process.additional_groups.clear();
        again.process.env.pop();
        // the rules that every container has are added at each reading
        again.cgroup.limits.devices = first.cgroup.limits.devices.clone();
        assert_eq!(again, first);
    }

    #[test]
    fn what_only_we_can_find_is_bound_from_where_it_was_prepared() {
        let of_process = MountKind::OfProcess { pid: 9, path: "/dev/shm".into() };
        let mut plan = rich_plan();
        plan.mounts = vec![MountPlan { target: "/dev/shm".into(), kind: of_process, flags: MountFlags::default() }];
        let shared = MountKind::Bind {
            source: "/mnt".into(),
            subpath: None,
            recursive: true,
            propagation: Propagation::RecursiveShared,
        };
        plan.mounts.push(MountPlan { target: "/mnt".into(), kind: shared, flags: MountFlags::default() });
        assert!(plan.mounts.iter().all(has_to_be_prepared));
        let prepared = HashMap::from([(0, "/bundle/mounts/0".into()), (1, "/bundle/mounts/1".into())]);
        let config = bundle(&plan, &runc(), &Found { prepared, ..found() });
        assert_eq!(
            (config.mounts[0].source.as_str(), &*config.mounts[0].options.concat()),
            ("/bundle/mounts/0", "rbindrprivate")
        );
        assert_eq!(
            (config.mounts[1].source.as_str(), &*config.mounts[1].options.concat()),
            ("/bundle/mounts/1", "rbindrshared")
        );
        assert_eq!(config.linux.rootfs_propagation, "shared");
    }

    #[test]
    fn namespaces_of_others_are_named_by_their_files() {
        let mut plan = rich_plan();
        plan.namespaces.joined.clear();
        plan.namespaces.net = NetNs::Inherited;
        plan.namespaces.ipc = IpcNs::JoinPid(12);
        let config = bundle(&plan, &runc(), &found());
        let path =
            |kind: &str| config.linux.namespaces.iter().find(|one| one.kind == kind).map(|one| one.path.as_str());
        assert_eq!(
            (path("network"), path("ipc"), path("pid")),
            (Some("/proc/5/fd/3"), Some("/proc/12/ns/ipc"), Some(""))
        );
        assert_eq!(path("cgroup"), None);
    }

    #[test]
    fn an_init_comes_first() {
        let runtime = ExternalRuntime { init: Some("/usr/bin/tini".into()), ..runc() };
        let config = bundle(&rich_plan(), &runtime, &found());
        assert_eq!(config.process.unwrap().args, ["/sbin/docker-init", "--", "sh", "-c", "x"]);
        assert_eq!(config.mounts.last().unwrap().source, "/usr/bin/tini");
    }

    #[test]
    fn block_devices_have_numbers() {
        let mut plan = rich_plan();
        plan.cgroup.limits.write_iops = vec![DeviceThrottle { path: "/dev/sda".to_owned(), rate: 9 }];
        assert_eq!(named_block_devices(&plan.cgroup.limits).collect::<Vec<_>>(), ["/dev/sda"]);
        let found = Found { block_devices: [("/dev/sda".to_owned(), (8, 16))].into(), ..found() };
        let written = bundle(&plan, &runc(), &found).linux.resources.block_io.throttle_write_iops_device;
        assert_eq!((written[0].major, written[0].minor, written[0].rate), (8, 16, 9));
    }
}
