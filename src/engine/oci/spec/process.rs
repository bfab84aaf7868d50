//! A process of a bundle: who it is, what it may do, which calls it may make.

use super::{Capabilities, Linux, Process, SpecError, invalid, unsupported};
use crate::engine::oci::seccomp::Filter;
use crate::engine::oci::{CapSet, CapabilitySets, ConsoleSize, ProcessPlan, Rlimit, SeccompPlan};

/// The plan of a process; its filter is the container's, see [`seccomp_plan`].
///
/// # Errors
/// What makes no sense or is not supported, by its field.
pub fn process_plan(process: &Process) -> Result<ProcessPlan, SpecError> {
    if process.args.is_empty() {
        return Err(SpecError::Missing { field: "process.args" });
    }
    if !process.cwd.starts_with('/') {
        return Err(invalid("process.cwd", format!("{:?} is not an absolute path", process.cwd)));
    }
    if !process.selinux_label.is_empty() {
        return Err(unsupported("process.selinuxLabel", &process.selinux_label));
    }
    if let Some(scheduler) = &process.scheduler {
        return Err(unsupported("process.scheduler", scheduler.to_string()));
    }
    if let Some(priority) = &process.io_priority {
        return Err(unsupported("process.ioPriority", priority.to_string()));
    }
    let mut plan = ProcessPlan {
        args: process.args.clone(),
        env: process.env.clone(),
        cwd: process.cwd.clone(),
        user: format!("{}:{}", process.user.uid, process.user.gid),
        additional_groups: process.user.additional_gids.iter().map(u32::to_string).collect(),
        tty: process.terminal,
        console_size: process
            .console_size
            .filter(|size| size.height > 0 && size.width > 0)
            .map(|size| ConsoleSize { rows: size.height, cols: size.width }),
        no_new_privileges: process.no_new_privileges,
        rlimits: process.rlimits.iter().map(rlimit).collect::<Result<_, _>>()?,
        oom_score_adj: process.oom_score_adj,
        umask: process.user.umask,
        apparmor: Some(process.apparmor_profile.clone()).filter(|name| !name.is_empty()),
        ..ProcessPlan::default()
    };
    apply_capabilities(&mut plan, process.capabilities.as_ref());
    Ok(plan)
}

/// Gives `plan` these sets; none at all if there are none. Names that no kernel of ours knows count for nothing, as
/// the specification has it.
pub fn apply_capabilities(plan: &mut ProcessPlan, written: Option<&Capabilities>) {
    let none = Capabilities::default();
    let written = written.unwrap_or(&none);
    plan.capabilities = set(&written.bounding);
    plan.ambient = set(&written.ambient);
    plan.sets = Some(CapabilitySets {
        permitted: set(&written.permitted),
        effective: set(&written.effective),
        inheritable: set(&written.inheritable),
    });
}

fn set(names: &[String]) -> CapSet {
    names
        .iter()
        .filter_map(|name| CapSet::parse(name))
        .fold(CapSet::EMPTY, |set, one| CapSet::from_bits(set.bits() | one.bits()))
}

fn rlimit(written: &super::PosixRlimit) -> Result<Rlimit, SpecError> {
    let name = written.kind.strip_prefix("RLIMIT_").ok_or_else(|| invalid("process.rlimits", &written.kind))?;
    Ok(Rlimit { name: name.to_ascii_lowercase(), soft: written.soft, hard: written.hard })
}

/// The container's filter, for a process with these capabilities.
///
/// # Errors
/// What is wrong with the profile.
pub fn seccomp_plan(linux: &Linux, capabilities: CapSet, kernel: (u32, u32)) -> Result<SeccompPlan, SpecError> {
    let Some(profile) = &linux.seccomp else { return Ok(SeccompPlan::Unconfined) };
    let listener = profile.get("listenerPath").and_then(|path| path.as_str()).filter(|path| !path.is_empty());
    if let Some(path) = listener {
        return Err(unsupported("linux.seccomp.listenerPath", path));
    }
    Filter::from_docker_json(&profile.to_string(), capabilities, kernel)
        .map(SeccompPlan::Filter)
        .map_err(|words| invalid("linux.seccomp", words))
}
