//! From a bundle's `config.json` (OCI runtime specification 1.2) to a [`LaunchPlan`]. Pure.
//!
//! What a bundle asks for is done or refused by the name of its field; nothing is passed over that a container could
//! rely on. [`Config`] and its parts are the file's shapes, for both directions: a bundle is also made
//! from a plan, for runtimes of others.

pub mod bundle;
mod config;
mod limits;
mod mounts;
mod process;
#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};

pub use config::*;
pub use limits::{Devices, limits};
pub use process::{apply_capabilities, process_plan, seccomp_plan};

use super::launch::usual_devices;
use super::{
    CgroupPlan, DeviceKind, DevicePlan, HookPlan, IdRange, IpcNs, JoinedNamespace, LaunchPlan, NamespaceKind,
    NamespacePlan, NetNs, PidNs, RootPlan, Sharing, UserNs,
};
use crate::engine::oci::sysctl::{Own, judge};
use crate::engine::runtime::cgroup::CgroupLayout;

/// The version of the specification that is followed.
pub const VERSION: &str = "1.2.0";

/// Why a bundle cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// It leaves out what is needed.
    #[error("config.json: {field} is required")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// It asks for something that is not done here.
    #[error("config.json: {field} is not supported by boxyard: {value}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// It says something that makes no sense.
    #[error("config.json: invalid {field}: {value}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
    },
}

/// What must be known besides the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The bundle's directory, absolute; `root.path` and bind sources may be relative to it.
    pub bundle: &'a Path,
    /// Where this host's cgroup hierarchies are.
    pub cgroups: &'a CgroupLayout,
    /// This host's kernel.
    pub kernel: (u32, u32),
}

/// The plan of a bundle's container.
///
/// # Errors
/// What is missing, makes no sense or is not supported, by its field.
pub fn plan(config: &Config, around: &Surroundings<'_>) -> Result<LaunchPlan, SpecError> {
    refuse_unsupported(config)?;
    let process = config.process.as_ref().ok_or(SpecError::Missing { field: "process" })?;
    let root = config.root.as_ref().ok_or(SpecError::Missing { field: "root" })?;
    let linux = &config.linux;
    let namespaces = namespaces(linux)?;
    let has_uts = namespaces.uts == Sharing::Private || namespaces.joins(NamespaceKind::Uts);
    if !has_uts && !config.hostname.is_empty() {
        return Err(invalid("hostname", "unable to set hostname without a private UTS namespace"));
    }
    refuse_sysctls_of_the_host(linux, &namespaces, has_uts)?;
    let name = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    let mut process = process_plan(process)?;
    process.seccomp = seccomp_plan(linux, process.capabilities, around.kernel)?;
    Ok(LaunchPlan {
        id: around.id.to_owned(),
        root: RootPlan::Directory(around.bundle.join(&root.path)),
        readonly_root: root.readonly,
        mounts: config.mounts.iter().map(|mount| mounts::plan(mount, around.bundle)).collect::<Result<_, _>>()?,
        process,
        hostname: name(&config.hostname),
        domainname: name(&config.domainname),
        cgroup: CgroupPlan {
            layout: around.cgroups.clone(),
            path: cgroup_path(&linux.cgroups_path, around.id)?,
            limits: limits(&linux.resources, Devices::OfContainer)?,
        },
        devices: devices(&linux.devices)?,
        masked_paths: linux.masked_paths.clone(),
        readonly_paths: linux.readonly_paths.clone(),
        sysctls: linux.sysctl.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        hooks: HookPlan {
            outside: !config.hooks.prestart.is_empty() || !config.hooks.create_runtime.is_empty(),
            create_container: config.hooks.create_container.clone(),
            start_container: config.hooks.start_container.clone(),
        },
        namespaces,
    })
}

/// They are written while the host's `/proc/sys` is in sight.
fn refuse_sysctls_of_the_host(linux: &Linux, namespaces: &NamespacePlan, uts: bool) -> Result<(), SpecError> {
    let own = Own {
        ipc: namespaces.ipc != IpcNs::Host || namespaces.joins(NamespaceKind::Ipc),
        net: namespaces.net != NetNs::Host || namespaces.joins(NamespaceKind::Net),
        uts,
    };
    linux.sysctl.keys().try_for_each(|name| judge(name, own)).map_err(|words| invalid("linux.sysctl", words))
}

fn invalid(field: &'static str, value: impl Into<String>) -> SpecError {
    SpecError::Invalid { field, value: value.into() }
}

fn unsupported(field: &'static str, value: impl Into<String>) -> SpecError {
    SpecError::Unsupported { field, value: value.into() }
}

fn refuse_unsupported(config: &Config) -> Result<(), SpecError> {
    let linux = &config.linux;
    let refuse_if =
        |is: bool, field: &'static str, value: &str| if is { Err(unsupported(field, value)) } else { Ok(()) };
    refuse_if(!config.oci_version.starts_with("1."), "ociVersion", &config.oci_version)?;
    refuse_if(!linux.mount_label.is_empty(), "linux.mountLabel", &linux.mount_label)?;
    refuse_if(linux.intel_rdt.is_some(), "linux.intelRdt", "cache allocation")?;
    refuse_if(!linux.time_offsets.is_empty(), "linux.timeOffsets", "clock offsets")?;
    if let Some(personality) = &linux.personality {
        refuse_if(personality.domain != "LINUX", "linux.personality", &personality.domain)?;
    }
    match linux.rootfs_propagation.as_str() {
        "" | "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => Ok(()),
        other => Err(unsupported("linux.rootfsPropagation", other)),
    }
}

fn namespaces(linux: &Linux) -> Result<NamespacePlan, SpecError> {
    let mut plan = NamespacePlan {
        user: UserNs::Host,
        net: NetNs::Host,
        pid: PidNs::Host,
        ipc: IpcNs::Host,
        uts: Sharing::Host,
        cgroup: Sharing::Host,
        joined: Vec::new(),
    };
    let mut has_mount = false;
    for namespace in &linux.namespaces {
        let kind = match (namespace.kind.as_str(), namespace.path.is_empty()) {
            ("mount", true) => {
                has_mount = true;
                continue;
            }
            ("network", true) => {
                plan.net = NetNs::Fresh;
                continue;
            }
            ("pid", true) => {
                plan.pid = PidNs::Private;
                continue;
            }
            ("ipc", true) => {
                plan.ipc = IpcNs::Private;
                continue;
            }
            ("uts", true) => {
                plan.uts = Sharing::Private;
                continue;
            }
            ("user", true) => {
                plan.user = new_user_namespace(linux)?;
                continue;
            }
            ("user", false) => {
                plan.user = UserNs::Joined(PathBuf::from(&namespace.path));
                continue;
            }
            ("cgroup", true) => {
                plan.cgroup = Sharing::Private;
                continue;
            }
            ("network", false) => NamespaceKind::Net,
            ("pid", false) => NamespaceKind::Pid,
            ("ipc", false) => NamespaceKind::Ipc,
            ("uts", false) => NamespaceKind::Uts,
            ("cgroup", false) => NamespaceKind::Cgroup,
            ("mount" | "time", _) => return Err(unsupported("linux.namespaces", &namespace.kind)),
            (other, _) => return Err(invalid("linux.namespaces", other)),
        };
        plan.joined.push(JoinedNamespace { kind, path: PathBuf::from(&namespace.path) });
    }
    if plan.user == UserNs::Host && !(linux.uid_mappings.is_empty() && linux.gid_mappings.is_empty()) {
        return Err(invalid("linux.uidMappings", "user namespace mappings without a user namespace"));
    }
    // a root of its own needs a mount table of its own
    if has_mount { Ok(plan) } else { Err(unsupported("linux.namespaces", "none of type mount")) }
}

/// A new user namespace; the maps say whose its ids are.
fn new_user_namespace(linux: &Linux) -> Result<UserNs, SpecError> {
    if linux.uid_mappings.is_empty() {
        return Err(SpecError::Missing { field: "linux.uidMappings (of a user namespace)" });
    }
    if linux.gid_mappings.is_empty() {
        return Err(SpecError::Missing { field: "linux.gidMappings (of a user namespace)" });
    }
    let ranges = |written: &[IdMapping]| {
        let range = |one: &IdMapping| IdRange { inside: one.container_id, outside: one.host_id, count: one.size };
        written.iter().map(range).collect()
    };
    Ok(UserNs::New { uids: ranges(&linux.uid_mappings), gids: ranges(&linux.gid_mappings) })
}

/// The path below each hierarchy: never above it, whatever the dots say.
fn cgroup_path(written: &str, id: &str) -> Result<String, SpecError> {
    if written.contains(':') {
        return Err(unsupported("linux.cgroupsPath", format!("{written} (systemd's form; use the cgroupfs driver)")));
    }
    let mut path = PathBuf::new();
    for part in Path::new(written).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => drop(path.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    match path.to_str() {
        // right below the root: a parent of our own would be one more group to make and remove in each hierarchy
        Some("") => Ok(format!("boxyard-oci-{id}")),
        Some(path) => Ok(path.to_owned()),
        None => Err(invalid("linux.cgroupsPath", written)),
    }
}

fn devices(written: &[Device]) -> Result<Vec<DevicePlan>, SpecError> {
    let is_written = |node: &DevicePlan| matches!(node, DevicePlan::Node { path, .. } if written.iter().any(|device| Path::new(&device.path) == path));
    let mut plan: Vec<DevicePlan> = usual_devices().filter(|node| !is_written(node)).collect();
    for device in written {
        plan.push(node(device)?);
    }
    Ok(plan)
}

fn node(device: &Device) -> Result<DevicePlan, SpecError> {
    let number = |value: i64| u32::try_from(value).map_err(|_| invalid("linux.devices", &device.path));
    let kind = match device.kind.as_str() {
        "c" | "u" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        other => return Err(unsupported("linux.devices.type", other)),
    };
    Ok(DevicePlan::Node {
        path: PathBuf::from(&device.path),
        kind,
        major: number(device.major)?,
        minor: number(device.minor)?,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}
