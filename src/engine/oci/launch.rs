//! The launch plan: everything the shim needs to make a container's first process, resolved and checked.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::spec::Hook;
use super::{CgroupPlan, DeviceAccess, DeviceKind, MountPlan, ProcessPlan};
use crate::engine::layer::OverlayStack;

/// All that the runtime needs to create a container. Pure data; crosses to the shim as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchPlan {
    /// The container's id; names the session keyring and shows in messages.
    pub id: String,
    /// What becomes `/`.
    pub root: RootPlan,
    /// Whether `/` is made read-only once everything is mounted (mounts inside keep their own access).
    pub readonly_root: bool,
    /// How mounts under `/` propagate; Docker's default is private.
    #[serde(default)]
    pub mounts: Vec<MountPlan>,
    /// The first process.
    pub process: ProcessPlan,
    /// Which namespaces are its own.
    pub namespaces: NamespacePlan,
    /// The name inside a private UTS namespace.
    pub hostname: Option<String>,
    /// The NIS domain inside a private UTS namespace.
    pub domainname: Option<String>,
    /// Where it is accounted and limited.
    pub cgroup: CgroupPlan,
    /// The nodes in `/dev`.
    pub devices: Vec<DevicePlan>,
    /// Paths to hide, if they exist.
    pub masked_paths: Vec<String>,
    /// Paths to make read-only, if they exist.
    pub readonly_paths: Vec<String>,
    /// Kernel settings of the container's namespaces, `net.ipv4.ip_forward` style.
    pub sysctls: Vec<(String, String)>,
    /// Programs of the caller's to run on the way; only bundles have them.
    #[serde(default)]
    pub hooks: HookPlan,
}

/// Programs of the caller's that run while a container is made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HookPlan {
    /// Whether the creating process runs some, once the namespaces exist.
    pub outside: bool,
    /// Run in the container's namespaces while the host's mounts are in sight.
    pub create_container: Vec<Hook>,
    /// Run in the container right before its program.
    pub start_container: Vec<Hook>,
}

impl LaunchPlan {
    /// Whether it can be carried out again at any time: one that joins another process's namespaces needs that process.
    pub fn stands_alone(&self) -> bool {
        let NamespacePlan { net, pid, ipc, .. } = &self.namespaces;
        !matches!(net, NetNs::JoinPid(_)) && !matches!(pid, PidNs::JoinPid(_)) && !matches!(ipc, IpcNs::JoinPid(_))
    }
}

/// What becomes the container's `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootPlan {
    /// An overlay, mounted inside the container's own mount namespace.
    Overlay(OverlayStack),
    /// A directory as it is.
    Directory(PathBuf),
}

/// Which namespaces the container has to itself, which it shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacePlan {
    /// The network.
    pub net: NetNs,
    /// Process ids.
    pub pid: PidNs,
    /// System V IPC, POSIX queues, `/dev/shm`.
    pub ipc: IpcNs,
    /// Host and domain name.
    pub uts: Sharing,
    /// The view of the cgroup tree.
    pub cgroup: Sharing,
    /// Users and groups.
    #[serde(default)]
    pub user: UserNs,
    /// Those that are joined by a path, whatever is said above of their kind.
    #[serde(default)]
    pub joined: Vec<JoinedNamespace>,
}

impl NamespacePlan {
    /// Whether one of this kind is joined by a path.
    pub fn joins(&self, kind: NamespaceKind) -> bool {
        self.joined.iter().any(|one| one.kind == kind)
    }
}

/// A namespace that something outside keeps, by a file that stands for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedNamespace {
    /// Of which kind it is.
    pub kind: NamespaceKind,
    /// The file, `/proc/1/ns/net` or a bind of it.
    pub path: PathBuf,
}

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceKind {
    /// The network.
    Net,
    /// Process ids.
    Pid,
    /// IPC.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The view of the cgroup tree.
    Cgroup,
}

impl Default for NamespacePlan {
    fn default() -> Self {
        Self {
            net: NetNs::Inherited,
            pid: PidNs::Private,
            ipc: IpcNs::Private,
            uts: Sharing::Private,
            cgroup: Sharing::Private,
            joined: Vec::new(),
            user: UserNs::Host,
        }
    }
}

/// Which network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetNs {
    /// The one whose descriptor the shim was handed at its start.
    Inherited,
    /// The host's.
    Host,
    /// The one this process is in.
    JoinPid(u32),
    /// A new one with nothing but a `lo` that is up.
    Fresh,
}

/// Which process id namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PidNs {
    /// A new one, the container's process being its init.
    Private,
    /// The host's.
    Host,
    /// The one this process is in.
    JoinPid(u32),
}

/// Which IPC namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpcNs {
    /// A new one.
    Private,
    /// The host's.
    Host,
    /// The one this process is in.
    JoinPid(u32),
}

/// Which user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserNs {
    /// The host's.
    #[default]
    Host,
    /// The one that owns its network namespace, which must be [`NetNs::Inherited`] or [`NetNs::JoinPid`].
    OfNetwork {
        /// The host's user that is root there.
        uid: u32,
        /// The host's group that is root there.
        gid: u32,
    },
    /// A new one. What the container has of the host's files belongs to its ids already, or is shown so by its mounts.
    New {
        /// Its users.
        uids: Vec<IdRange>,
        /// Its groups.
        gids: Vec<IdRange>,
    },
    /// The one that this file stands for; otherwise as [`UserNs::New`].
    Joined(PathBuf),
}

/// Ids of a user namespace and which of the host's they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one inside.
    pub inside: u32,
    /// The first one outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Own or the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// A new one.
    Private,
    /// The host's.
    Host,
}

/// A device node to make in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DevicePlan {
    /// A node with these numbers.
    Node {
        /// Where, in the container.
        path: PathBuf,
        /// Character or block.
        kind: DeviceKind,
        /// The driver's number.
        major: u32,
        /// The device's number.
        minor: u32,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// The host's device (or every device of a host directory) and its cgroup rule; numbers are read at creation.
    Host {
        /// The host's path.
        source: PathBuf,
        /// Where, in the container.
        target: PathBuf,
        /// What the container may do with it.
        access: DeviceAccess,
    },
    /// Every device the host has in `/dev`, for privileged containers.
    AllOfHost,
}

/// The nodes every container has below `/dev`: name, major and minor number.
pub(in crate::engine::oci) const USUAL_DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// [`USUAL_DEVICES`] as they are made: everybody may read and write them.
pub(in crate::engine::oci) fn usual_devices() -> impl Iterator<Item = DevicePlan> {
    USUAL_DEVICES.iter().map(|(name, major, minor)| DevicePlan::Node {
        path: format!("/dev/{name}").into(),
        kind: DeviceKind::Char,
        major: *major,
        minor: *minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    })
}
