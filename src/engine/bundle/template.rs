//! What is asked of a runtime without a container: `spec`, `features`, `--version`, `help`.

use serde_json::{Value, json};

use super::command::Command;
use super::failure::{Attempt, Failure};
use super::show::say;
use crate::engine::oci::spec::VERSION;

const MOUNT_OPTIONS: [&str; 29] = [
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "private",
    "rbind",
    "relatime",
    "ro",
    "rprivate",
    "rro",
    "rshared",
    "rslave",
    "rw",
    "shared",
    "slave",
    "strictatime",
    "suid",
    "dirsync",
    "sync",
];

/// `spec`: a `config.json` to begin with.
pub(super) fn spec(command: &Command) -> Result<(), Failure> {
    if command.has("rootless") {
        return Err(Failure::usage("rootless containers are not supported by boxyard oci"));
    }
    let path = command.path("bundle").unwrap_or(std::path::Path::new(".")).join("config.json");
    if path.exists() {
        return Err(Failure::new(format!("File {} exists. Remove it first", path.display())));
    }
    let text = serde_json::to_string_pretty(&bundle()).attempt("config.json")?;
    std::fs::write(&path, text).attempt(path.display())
}

fn bundle() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let hidden = ["nosuid", "noexec", "nodev"];
    let mount = |target: &str, kind: &str, options: &[&str]| {
        let options: Vec<&str> = hidden.iter().chain(options).copied().collect();
        json!({"destination": target, "type": kind, "source": kind, "options": options})
    };
    json!({
        "ociVersion": VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "boxyard",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            mount("/dev/shm", "tmpfs", &["mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &[]),
            mount("/sys", "sysfs", &["ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "cgroup"},
            ],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// `features`: what this runtime does, in the specification's form.
pub(super) fn features() -> Result<(), Failure> {
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
            "capabilities": crate::engine::oci::CapSet::ALL.names(),
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
            "seccomp": {
                "enabled": true,
                "actions": ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"],
                "operators": ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"],
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false},
        },
    });
    say(&serde_json::to_string_pretty(&features).attempt("features")?);
    Ok(())
}

/// `--version`.
pub(super) fn version() -> Result<(), Failure> {
    say(&format!("boxyard-oci version {}", env!("CARGO_PKG_VERSION")));
    say(&format!("spec: {VERSION}"));
    Ok(())
}

/// `help`.
pub(super) fn help() -> Result<(), Failure> {
    say(HELP);
    Ok(())
}

const HELP: &str = "\
Containers of prepared bundles (OCI runtime specification), by runc's command line

Usage: boxyard oci [--root DIR] [--log FILE] [--log-format text|json] COMMAND [OPTIONS] ID

Commands:
  create, run      make a container of --bundle DIR (run: start it as well, and wait unless --detach)
  start            let a created container execute its program
  exec             run a further process (--process FILE, or a command)
  kill, delete     send a signal (--all), remove what is left (--force)
  pause, resume    freeze and thaw every process
  update           change limits (--resources FILE, --memory, --cpu-quota, --pids-limit, ...)
  state, list, ps  what there is (--format json)
  events           statistics (--stats once, --interval 5s)
  features, spec   what this runtime does; a config.json to begin with

Called as boxyard-oci (a link), the word oci is not needed.";
