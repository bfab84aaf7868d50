//! Docker's container and host configs to a launch plan.
//!
//! What a person asked for is checked here, in Docker's words, before anything is made. An option that we do not carry
//! out is refused by its name; none is passed over in silence.

mod devices;
mod limits;
mod mounts;
mod namespaces;
mod rights;

use bollard_stubs::models as docker;

use super::{CgroupPlan, ConsoleSize, LaunchPlan, MountPlan, NetNs, ProcessPlan, RootPlan, Sharing, UserNs};
use crate::engine::EngineError;
use crate::engine::layer::OverlayStack;
use crate::engine::oci::fields::{Part, look_over};
use crate::engine::runtime::HostFacts;

/// Where programs are looked for when neither image nor person says: Docker's default.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct PlanInput<'a> {
    /// The container's full id.
    pub id: &'a str,
    /// The container's config, merged with its image's.
    pub config: &'a docker::ContainerConfig,
    /// Limits, namespaces, rights.
    pub host_config: &'a docker::HostConfig,
    /// The container's root.
    pub root: OverlayStack,
    /// Binds, volumes, tmpfs and the network's files, made by the rooms that own them; order does not matter.
    pub mounts: Vec<MountPlan>,
    /// The network.
    pub net: NetNs,
    /// The engine's cgroup (`Instance::cgroup_parent`); the host config's own parent goes first.
    pub cgroup_parent: String,
    /// What this host is and has.
    pub host: &'a HostFacts,
    /// The containers whose namespaces it shares.
    pub peers: Peers,
    /// Whether it has a user namespace.
    pub user: UserNs,
}

/// First processes of the containers that `PidMode` and `IpcMode` name, found by the container room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peers {
    /// For `--pid container:x`.
    pub pid: Option<u32>,
    /// For `--ipc container:x`.
    pub ipc: Option<u32>,
}

/// What an exec's plan is made from.
#[derive(Debug, Clone)]
pub struct ExecInput<'a> {
    /// The container's config, merged with its image's.
    pub config: &'a docker::ContainerConfig,
    /// The container's host config.
    pub host_config: &'a docker::HostConfig,
    /// What to run.
    pub exec: &'a docker::ExecConfig,
    /// What this host is and has.
    pub host: &'a HostFacts,
}

/// The plan of a container.
///
/// # Errors
/// `InvalidParameter` in Docker's words for what makes no sense or what we do not support, by its name.
pub fn plan(input: &PlanInput<'_>) -> Result<LaunchPlan, EngineError> {
    let PlanInput { config, host_config, host, .. } = *input;
    refuse_unsupported(host_config)?;
    let is_privileged = host_config.privileged.unwrap_or(false);
    let security = rights::security(host_config)?;
    let namespaces = namespaces::plan(input)?;
    let parent = host_config.cgroup_parent.as_deref().filter(|parent| !parent.is_empty());
    let (masked_paths, readonly_paths) = rights::hidden_paths(host_config, &security, host);
    Ok(LaunchPlan {
        id: input.id.to_owned(),
        root: RootPlan::Overlay(input.root.clone()),
        readonly_root: host_config.readonly_rootfs.unwrap_or(false),
        mounts: mounts::plan(input, &namespaces, &security)?,
        process: process(config, host_config, host)?,
        hostname: filled(config.hostname.as_ref()).filter(|_| namespaces.uts == Sharing::Private),
        domainname: filled(config.domainname.as_ref()).filter(|_| namespaces.uts == Sharing::Private),
        sysctls: namespaces::sysctls(host_config, &namespaces)?,
        namespaces,
        cgroup: CgroupPlan {
            layout: host.cgroups.clone(),
            path: cgroup_path(parent.unwrap_or(&input.cgroup_parent), input.id)?,
            limits: limits::plan(host_config, host, is_privileged)?,
        },
        devices: devices::plan(host_config)?,
        masked_paths,
        readonly_paths,
        hooks: super::HookPlan::default(),
    })
}

/// Refuses at creation what [`plan`] would refuse at the start: all that depends on nothing but the request and the host.
///
/// # Errors
/// As [`plan`].
pub fn check(
    config: &docker::ContainerConfig,
    host_config: &docker::HostConfig,
    host: &HostFacts,
) -> Result<(), EngineError> {
    let net = match host_config.network_mode.as_deref() {
        Some("host") => NetNs::Host,
        _ => NetNs::Fresh,
    };
    let root = OverlayStack { lowers: Vec::new(), upper: "/".into(), work: "/".into(), is_volatile: false };
    // which processes the others are is found at the start
    let peers = Peers { pid: Some(0), ipc: Some(0) };
    let (mounts, cgroup_parent) = (Vec::new(), String::new());
    plan(&PlanInput { id: "", config, host_config, root, mounts, net, cgroup_parent, host, peers, user: UserNs::Host })
        .map(drop)
}

/// The limits of a host config alone, for a live update.
///
/// # Errors
/// As [`plan`].
pub fn limits(host_config: &docker::HostConfig, host: &HostFacts) -> Result<super::Limits, EngineError> {
    limits::resources(host_config, host)
}

/// The system call filter of a container as a bundle has it, for a runtime that compiles it itself; `None` is unconfined.
///
/// # Errors
/// As [`plan`].
pub fn seccomp_for_others(
    host_config: &docker::HostConfig,
    host: &HostFacts,
) -> Result<Option<serde_json::Value>, EngineError> {
    rights::seccomp_for_others(host_config, &rights::security(host_config)?, host)
}

/// The plan of a further process in a running container.
///
/// # Errors
/// As [`plan`].
pub fn exec_plan(input: &ExecInput<'_>) -> Result<ProcessPlan, EngineError> {
    let ExecInput { config, host_config, exec, host } = *input;
    let args = exec.cmd.clone().unwrap_or_default();
    if args.is_empty() {
        return Err(EngineError::invalid("No exec command specified"));
    }
    let tty = exec.tty.unwrap_or(false);
    let container = process_with(config, host_config, host, args, tty)?;
    let capabilities = match exec.privileged {
        Some(true) => host.capabilities,
        _ => container.capabilities,
    };
    let mut env = container.env;
    override_env(&mut env, exec.env.as_deref().unwrap_or_default())?;
    Ok(ProcessPlan {
        env,
        cwd: match filled(exec.working_dir.as_ref()) {
            Some(cwd) if cwd.starts_with('/') => cwd,
            Some(_) => return Err(EngineError::invalid("Cwd must be an absolute path")),
            None => container.cwd,
        },
        user: filled(exec.user.as_ref()).unwrap_or(container.user),
        capabilities,
        console_size: console_size(exec.console_size.as_deref()),
        ..container
    })
}

fn process(
    config: &docker::ContainerConfig,
    host_config: &docker::HostConfig,
    host: &HostFacts,
) -> Result<ProcessPlan, EngineError> {
    let mut args = config.entrypoint.clone().unwrap_or_default();
    args.extend(config.cmd.clone().unwrap_or_default());
    if args.is_empty() {
        return Err(EngineError::invalid("no command specified"));
    }
    let process = process_with(config, host_config, host, args, config.tty.unwrap_or(false))?;
    Ok(ProcessPlan { init: host_config.init.unwrap_or(false), ..process })
}

fn process_with(
    config: &docker::ContainerConfig,
    host_config: &docker::HostConfig,
    host: &HostFacts,
    args: Vec<String>,
    tty: bool,
) -> Result<ProcessPlan, EngineError> {
    let security = rights::security(host_config)?;
    let capabilities = rights::capabilities(host_config, host)?;
    Ok(ProcessPlan {
        args,
        env: environment(config, host_config, host, tty)?,
        env_from: Vec::new(),
        cwd: absolute(filled(config.working_dir.as_ref()).unwrap_or_else(|| "/".to_owned()))?,
        user: config.user.clone().unwrap_or_default(),
        additional_groups: host_config.group_add.clone().unwrap_or_default(),
        tty,
        console_size: console_size(host_config.console_size.as_deref()),
        capabilities,
        ambient: super::CapSet::EMPTY,
        sets: None,
        preserve_fds: 0,
        shares_keyring: false,
        no_new_privileges: security.no_new_privileges,
        rlimits: rights::rlimits(host_config)?,
        oom_score_adj: oom_score(host_config)?,
        umask: None,
        init: false,
        seccomp: rights::seccomp(host_config, &security, capabilities, host)?,
        apparmor: rights::apparmor(&security, host)?,
    })
}

/// Docker's order: the defaults, then what the config says, in its place.
fn environment(
    config: &docker::ContainerConfig,
    host_config: &docker::HostConfig,
    host: &HostFacts,
    tty: bool,
) -> Result<Vec<String>, EngineError> {
    let is_hosts_name = host_config.uts_mode.as_deref() == Some("host");
    let name = if is_hosts_name { host.hostname.clone() } else { config.hostname.clone().unwrap_or_default() };
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={name}")];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    override_env(&mut env, config.env.as_deref().unwrap_or_default())?;
    Ok(env)
}

/// Puts `changes` into `env`: `NAME=value` replaces or is added, `NAME` alone takes the variable away.
fn override_env(env: &mut Vec<String>, changes: &[String]) -> Result<(), EngineError> {
    for change in changes {
        let (name, has_value) = change.split_once('=').map_or((change.as_str(), false), |(name, _)| (name, true));
        if name.is_empty() {
            return Err(EngineError::invalid(format!("invalid environment variable: {change}")));
        }
        let place = env.iter().position(|entry| entry.split('=').next() == Some(name));
        match (place.and_then(|place| env.get_mut(place)), place) {
            (Some(entry), _) if has_value => entry.clone_from(change),
            (_, Some(place)) => drop(env.remove(place)),
            (_, None) if has_value => env.push(change.clone()),
            (_, None) => {}
        }
    }
    Ok(())
}

fn absolute(cwd: String) -> Result<String, EngineError> {
    if cwd.starts_with('/') {
        return Ok(cwd);
    }
    Err(EngineError::invalid(format!("the working directory '{cwd}' is invalid, it needs to be an absolute path")))
}

/// `[rows, columns]`; zeros are none.
fn console_size(size: Option<&[usize]>) -> Option<ConsoleSize> {
    let &[rows, cols] = size? else { return None };
    let (rows, cols) = (u16::try_from(rows).ok()?, u16::try_from(cols).ok()?);
    (rows > 0 && cols > 0).then_some(ConsoleSize { rows, cols })
}

fn oom_score(host_config: &docker::HostConfig) -> Result<Option<i32>, EngineError> {
    match host_config.oom_score_adj {
        None | Some(0) => Ok(None),
        Some(score @ -1000..=1000) => Ok(i32::try_from(score).ok()),
        Some(score) => {
            Err(EngineError::invalid(format!("Invalid value {score}, range for oom score adj is [-1000, 1000]")))
        }
    }
}

/// `<parent>/<id>`, relative to each hierarchy.
fn cgroup_path(parent: &str, id: &str) -> Result<String, EngineError> {
    let is_up = |part: &str| part == "..";
    if parent.split('/').any(is_up) {
        return Err(EngineError::invalid(format!("invalid cgroup parent: {parent}")));
    }
    let parts: Vec<&str> = parent.split('/').filter(|part| !part.is_empty() && *part != ".").chain([id]).collect();
    Ok(parts.join("/"))
}

fn refuse_unsupported(host_config: &docker::HostConfig) -> Result<(), EngineError> {
    let fields = serde_json::to_value(host_config)
        .map_err(|error| EngineError::system("the host configuration can't be written as JSON").because(error))?;
    look_over(Part::HostConfig, &fields).map(drop)
}

/// A string that says something.
fn filled(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

#[cfg(test)]
mod tests;
