//! A configuration file becomes a launch plan, field by field.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::engine::oci::{Access, CapSet, MountKind, Propagation, SeccompPlan};

/// A bundle with `changes` merged into it.
fn bundle(changes: Value) -> Value {
    let mut config = json!({
        "ociVersion": "1.0.2-dev",
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "resources": {}},
    });
    merge(&mut config, changes);
    config
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes,
    }
}

fn planned(changes: Value) -> Result<LaunchPlan, String> {
    let config: Config = serde_json::from_value(bundle(changes)).unwrap();
    let layout = CgroupLayout::default();
    let around = Surroundings { id: "web", bundle: Path::new("/bundle"), cgroups: &layout, kernel: (6, 1) };
    plan(&config, &around).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(changes: Value, words: &str) {
    assert_eq!(planned(changes).unwrap_err(), words);
}

#[test]
fn a_small_bundle() {
    let plan = planned(json!({})).unwrap();
    assert_eq!(plan.root, RootPlan::Directory("/bundle/rootfs".into()));
    assert_eq!((plan.namespaces.pid, plan.namespaces.net), (PidNs::Private, NetNs::Host));
    assert_eq!(plan.cgroup.path, "boxyard-oci-web");
    assert_eq!(plan.process.capabilities, CapSet::EMPTY);
    assert_eq!(plan.devices.len(), 6);
}

#[test]
fn settings_of_the_host_are_refused() {
    let all = || json!([{"type": "mount"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}]);
    let with = |name: &str, namespaces: Value| json!({"linux": {"sysctl": {(name): "1"}, "namespaces": namespaces}});
    for name in ["net.ipv4.ip_forward", "kernel/shmmax", "kernel.domainname"] {
        assert_eq!(planned(with(name, all())).unwrap().sysctls, [(name.to_owned(), "1".to_owned())]);
    }
    let words = |rest: &str| format!("config.json: invalid linux.sysctl: {rest}");
    let separate = |name: &str| words(&format!("sysctl \"{name}\" is not in a separate kernel namespace"));
    refused(with("kernel.core_pattern", all()), &separate("kernel.core_pattern"));
    let none = || json!([{"type": "mount"}]);
    refused(with("kernel.shmmax", none()), &separate("kernel.shmmax"));
    let network = words("sysctl \"net.core.somaxconn\" not allowed in host network namespace");
    refused(with("net.core.somaxconn", none()), &network);
    refused(with("net/../kernel/panic", all()), &words("invalid sysctl name: \"net/../kernel/panic\""));
}

#[test]
fn what_go_writes_as_null_is_empty() {
    let plan = planned(json!({"mounts": null, "hooks": null, "linux": {"devices": null, "resources": null}})).unwrap();
    assert!(plan.mounts.is_empty() && !plan.hooks.outside);
}

#[test]
fn mounts_with_all_their_words() {
    let mounts = json!({"mounts": [
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/etc/hosts", "type": "bind", "source": "hosts", "options": ["rbind", "ro", "rslave"]},
        {"destination": "data", "source": "/srv", "options": ["bind", "rro"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "gid=5", "noexec"]},
    ]});
    let mounts = planned(mounts).unwrap().mounts;
    assert_eq!(mounts[0].kind, MountKind::Tmpfs { options: vec!["mode=755".to_owned(), "size=65536k".to_owned()] });
    assert!(mounts[0].flags.nosuid && mounts[0].flags.strictatime);
    assert_eq!(
        mounts[1].kind,
        MountKind::Bind {
            source: "/bundle/hosts".into(),
            subpath: None,
            recursive: true,
            propagation: Propagation::RecursiveSlave
        }
    );
    assert_eq!(mounts[1].flags.access, Access::ReadOnlyTop);
    assert_eq!((mounts[2].target.as_path(), mounts[2].flags.access), (Path::new("/data"), Access::ReadOnly));
    assert!(
        matches!(&mounts[3].kind, MountKind::Filesystem { kind, options, .. } if kind == "devpts" && options.len() == 2)
    );
}

#[test]
fn namespaces_new_and_joined() {
    let namespaces = json!({"linux": {"namespaces": [
        {"type": "mount"}, {"type": "network", "path": "/run/netns/x"}, {"type": "uts"}, {"type": "cgroup"},
    ]}});
    let plan = planned(namespaces).unwrap().namespaces;
    assert_eq!((plan.net, plan.uts, plan.pid), (NetNs::Host, Sharing::Private, PidNs::Host));
    assert_eq!(plan.joined, [JoinedNamespace { kind: NamespaceKind::Net, path: "/run/netns/x".into() }]);
}

#[test]
fn user_namespaces_with_their_maps() {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let linux = |namespace: Value| json!({"linux": {"namespaces": [{"type": "mount"}, namespace], "uidMappings": map, "gidMappings": map}});
    let range = IdRange { inside: 0, outside: 100_000, count: 65536 };
    assert_eq!(
        planned(linux(json!({"type": "user"}))).unwrap().namespaces.user,
        UserNs::New { uids: vec![range], gids: vec![range] }
    );
    assert_eq!(
        planned(linux(json!({"type": "user", "path": "/proc/7/ns/user"}))).unwrap().namespaces.user,
        UserNs::Joined("/proc/7/ns/user".into())
    );
    refused(
        linux(json!({"type": "uts"})),
        "config.json: invalid linux.uidMappings: user namespace mappings without a user namespace",
    );
}

#[test]
fn capabilities_by_set() {
    let process = json!({"process": {"capabilities": {
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_OF_TOMORROW"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}}});
    let process = planned(process).unwrap().process;
    let sets = process.sets.unwrap();
    assert_eq!((process.capabilities.bits(), process.ambient.bits()), (0b10_0001, 0b10_0000));
    assert_eq!((sets.permitted.bits(), sets.effective), (0b10_0000, CapSet::EMPTY));
}

#[test]
fn limits_of_version_1_fields() {
    let resources = json!({"linux": {"cgroupsPath": "/docker/../pod/x", "resources": {
        "devices": [{"allow": false, "access": "rwm"}],
        "memory": {"limit": 1048576, "swap": -1, "swappiness": 7}, "cpu": {"quota": 5000, "cpus": "0"},
        "pids": {"limit": 9}, "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 4}]},
    }}});
    let cgroup = planned(resources).unwrap().cgroup;
    let limits = &cgroup.limits;
    assert_eq!(cgroup.path, "pod/x");
    assert_eq!((limits.memory, limits.memory_swap, limits.pids), (Some(1_048_576), Some(-1), Some(9)));
    assert_eq!(limits.read_bps[0].path, "8:0");
    let rules = limits.devices.as_ref().unwrap();
    assert!(!rules[0].allow && rules[0].kind == DeviceKind::Any && rules.len() == 12);
}

#[test]
fn a_seccomp_profile_is_compiled() {
    let seccomp = json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["read", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}}});
    assert!(matches!(planned(seccomp).unwrap().process.seccomp, SeccompPlan::Filter(_)));
}

#[test]
fn what_is_not_done_is_named() {
    refused(json!({"process": {"args": []}}), "config.json: process.args is required");
    refused(json!({"process": {"cwd": "x"}}), "config.json: invalid process.cwd: \"x\" is not an absolute path");
    refused(
        json!({"linux": {"cgroupsPath": "system.slice:docker:x"}}),
        "config.json: linux.cgroupsPath is not supported by boxyard: system.slice:docker:x (systemd's form; use the \
         cgroupfs driver)",
    );
    refused(
        json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "time"}]}}),
        "config.json: linux.namespaces is not supported by boxyard: time",
    );
    refused(
        json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}]}}),
        "config.json: linux.uidMappings (of a user namespace) is required",
    );
    refused(
        json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}}}),
        "config.json: invalid linux.seccomp: unsupported action: SCMP_ACT_NOTIFY",
    );
    refused(
        json!({"hostname": "x"}),
        "config.json: invalid hostname: unable to set hostname without a private UTS namespace",
    );
}
