//! What a container may do: capabilities, security options, system calls, resource limits of its processes, and what
//! it may not see.

use bollard_stubs::models as docker;

use crate::engine::EngineError;
use crate::engine::oci::seccomp::{Filter, default_for_others, docker_json_for_others};
use crate::engine::oci::{CapSet, Rlimit, SeccompPlan};
use crate::engine::runtime::HostFacts;

/// Hidden from every container: what tells of the host or of its other containers.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Settings of the host.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The names `--ulimit` takes.
const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The security options that need no value.
const STANDALONE: [&str; 3] = ["no-new-privileges", "writable-cgroups", "disable"];

/// What `--security-opt` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Security {
    pub no_new_privileges: bool,
    /// `unconfined`, or a profile as JSON.
    pub seccomp: Option<String>,
    pub apparmor: Option<String>,
    pub shows_system_paths: bool,
    pub writable_cgroups: bool,
}

pub(super) fn security(host_config: &docker::HostConfig) -> Result<Security, EngineError> {
    let mut security = Security::default();
    for option in host_config.security_opt.iter().flatten() {
        // a colon was the separator before "="
        let parts = option.split_once('=').or_else(|| option.split_once(':'));
        let Some((name, value)) = parts.or_else(|| STANDALONE.contains(&option.as_str()).then_some((option, "")))
        else {
            return Err(EngineError::invalid(format!("invalid --security-opt 1: \"{option}\"")));
        };
        let refused = || EngineError::invalid(format!("invalid --security-opt 2: \"{option}\""));
        let truth = || match value {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(refused()),
        };
        match name {
            "no-new-privileges" => security.no_new_privileges = truth()?,
            "seccomp" => security.seccomp = Some(value.to_owned()),
            "apparmor" => {
                security.apparmor =
                    Some(value.to_owned()).filter(|profile| !["", "unconfined"].contains(&profile.as_str()))
            }
            "systempaths" if value == "unconfined" => security.shows_system_paths = true,
            "writable-cgroups" => security.writable_cgroups = truth()?,
            // there is no SELinux; the creation's answer says so
            "label" | "disable" => {}
            _ => return Err(refused()),
        }
    }
    Ok(security)
}

/// The AppArmor profile to run under. A kernel without AppArmor can't keep a promise, so a profile asked for by name is
/// refused there.
pub(super) fn apparmor(security: &Security, host: &HostFacts) -> Result<Option<String>, EngineError> {
    match &security.apparmor {
        Some(profile) if !host.has_apparmor => Err(EngineError::invalid(format!(
            "AppArmor is not enabled on this host: the profile \"{profile}\" cannot be applied"
        ))),
        profile => Ok(profile.clone()),
    }
}

/// The default ones with additions and drops; those the engine itself lacks are left out, since it cannot give them.
pub(super) fn capabilities(host_config: &docker::HostConfig, host: &HostFacts) -> Result<CapSet, EngineError> {
    let add = normalise("CapAdd", host_config.cap_add.as_deref())?;
    let drop = normalise("CapDrop", host_config.cap_drop.as_deref())?;
    let set = match (host_config.privileged, add, drop) {
        (Some(true), _, _) => CapSet::ALL,
        // with ALL on one side, the other names the exceptions
        (_, Asked { is_all: true, .. }, Asked { named, is_all }) => {
            if is_all {
                CapSet::EMPTY
            } else {
                CapSet::ALL.without(named)
            }
        }
        (_, Asked { named, .. }, Asked { is_all: true, .. }) => named,
        (_, Asked { named: add, .. }, Asked { named: drop, .. }) => CapSet::docker_default().without(drop).union(add),
    };
    Ok(set.intersect(host.capabilities))
}

struct Asked {
    named: CapSet,
    is_all: bool,
}

fn normalise(field: &str, names: Option<&[String]>) -> Result<Asked, EngineError> {
    let mut asked = Asked { named: CapSet::EMPTY, is_all: false };
    for name in names.unwrap_or_default() {
        match CapSet::parse(name) {
            Some(capability) => asked.named = asked.named.union(capability),
            None if name.eq_ignore_ascii_case("ALL") => asked.is_all = true,
            None => {
                let upper = name.to_uppercase();
                let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
                return Err(EngineError::invalid(format!("invalid {field}: unknown capability: \"{full}\"")));
            }
        }
    }
    Ok(asked)
}

pub(super) fn seccomp(
    host_config: &docker::HostConfig,
    security: &Security,
    capabilities: CapSet,
    host: &HostFacts,
) -> Result<SeccompPlan, EngineError> {
    match security.seccomp.as_deref() {
        Some("unconfined") => Ok(SeccompPlan::Unconfined),
        Some(_) if !host.has_seccomp => {
            Err(EngineError::invalid("seccomp is not enabled in your kernel, cannot run a custom seccomp profile"))
        }
        Some(profile) if !["", "default", "builtin"].contains(&profile) => {
            let filter = Filter::from_docker_json(profile, capabilities, host.kernel());
            let filter =
                filter.map_err(|why| EngineError::invalid(format!("Decoding seccomp profile failed: {why}")))?;
            Ok(SeccompPlan::Filter(filter))
        }
        None if host_config.privileged == Some(true) => Ok(SeccompPlan::Unconfined),
        _ if !host.has_seccomp => Ok(SeccompPlan::Unconfined),
        _ => Ok(SeccompPlan::Filter(host.filters.default_for(capabilities, host.kernel()))),
    }
}

/// The same for a runtime that compiles the profile itself.
pub(super) fn seccomp_for_others(
    host_config: &docker::HostConfig,
    security: &Security,
    host: &HostFacts,
) -> Result<Option<serde_json::Value>, EngineError> {
    let capabilities = capabilities(host_config, host)?;
    // what ours would refuse is refused in the same words
    match (seccomp(host_config, security, capabilities, host)?, security.seccomp.as_deref()) {
        (SeccompPlan::Unconfined, _) => Ok(None),
        (SeccompPlan::Filter(_), Some(profile)) if !["", "default", "builtin"].contains(&profile) => {
            docker_json_for_others(profile, capabilities, host.kernel())
                .map(Some)
                .map_err(|why| EngineError::invalid(format!("Decoding seccomp profile failed: {why}")))
        }
        (SeccompPlan::Filter(_), _) => Ok(Some(default_for_others(capabilities, host.kernel()))),
    }
}

pub(super) fn rlimits(host_config: &docker::HostConfig) -> Result<Vec<Rlimit>, EngineError> {
    // -1 is no limit
    let value = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(u64::MAX);
    let mut rlimits: Vec<Rlimit> = Vec::new();
    for ulimit in host_config.ulimits.iter().flatten() {
        let name = ulimit.name.clone().unwrap_or_default();
        if !RLIMITS.contains(&name.as_str()) {
            return Err(EngineError::invalid(format!("invalid ulimit type: {name}")));
        }
        let (soft, hard) = (value(ulimit.soft), value(ulimit.hard));
        if soft > hard {
            let words = "ulimit soft limit must be less than or equal to hard limit";
            return Err(EngineError::invalid(format!("{words}: {soft} > {hard}")));
        }
        rlimits.retain(|known| known.name != name);
        rlimits.push(Rlimit { name, soft, hard });
    }
    Ok(rlimits)
}

/// What is masked and what is read-only.
pub(super) fn hidden_paths(
    host_config: &docker::HostConfig,
    security: &Security,
    host: &HostFacts,
) -> (Vec<String>, Vec<String>) {
    if host_config.privileged == Some(true) || security.shows_system_paths {
        return (Vec::new(), Vec::new());
    }
    let masked =
        || MASKED.iter().map(|path| (*path).to_owned()).chain(host.thermal_throttles.iter().cloned()).collect();
    let readonly = || READONLY.iter().map(|path| (*path).to_owned()).collect();
    (
        host_config.masked_paths.clone().unwrap_or_else(masked),
        host_config.readonly_paths.clone().unwrap_or_else(readonly),
    )
}
