//! What a container is to have mounted, from all the ways there are to say it. Pure.

use std::collections::BTreeMap;

use bollard_stubs::models as docker;
use serde::{Deserialize, Serialize};

use crate::engine::EngineError;

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute.
        path: String,
        /// Whether a missing path is made, as a folder (`-v` and `--mount bind-create-src`).
        create: bool,
        /// Whether mounts below come along.
        recursive: bool,
        /// `rprivate` and so on; empty: `rprivate`.
        propagation: String,
    },
    /// A volume of ours.
    Volume {
        /// `None`: an anonymous one is made.
        name: Option<String>,
        /// Empty: `local`.
        driver: String,
        /// What a new one's options are.
        options: BTreeMap<String, String>,
        /// What a new one's labels are.
        labels: BTreeMap<String, String>,
        /// Whether the image's content at the target goes into a volume that is empty.
        copy: bool,
        /// The folder in the volume that is mounted, where not all of it.
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Mount options like `size=65536k`.
        options: Vec<String>,
    },
}

/// One mount a container is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRequest {
    /// Where in the container; absolute, cleaned.
    pub target: String,
    /// Where its content comes from.
    pub source: MountSource,
    /// Whether it can't be written.
    pub read_only: bool,
    /// The mode as it was given (`ro,z`), for inspect.
    pub mode: String,
    /// Whether it comes from `Binds` (shown in inspect's `HostConfig`), `--mount`, or elsewhere.
    pub origin: MountOrigin,
}

/// Which of the ways asked for a mount; earlier ones win over the later where both name a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MountOrigin {
    /// `HostConfig.Binds` (`-v`).
    Binds,
    /// `HostConfig.Mounts` (`--mount`).
    Mounts,
    /// `HostConfig.Tmpfs`.
    Tmpfs,
    /// `HostConfig.VolumesFrom`.
    VolumesFrom,
    /// `Config.Volumes`, from the command line or the image.
    Config,
}

/// All the ways a container's mounts are asked for.
#[derive(Debug, Clone, Copy)]
pub struct MountInput<'a> {
    /// The container's configuration, merged with its image's.
    pub config: &'a docker::ContainerConfig,
    /// Its host configuration.
    pub host_config: &'a docker::HostConfig,
    /// For each `VolumesFrom`, in order: the named container's mount points, and whether they are to be read-only.
    pub volumes_from: &'a [(Vec<docker::MountPoint>, bool)],
}

/// The mounts a container is to have, sorted so that outer targets come before the inner ones.
///
/// # Errors
/// Docker's words for malformed ones and for two on one target (400).
pub fn mount_requests(input: &MountInput<'_>) -> Result<Vec<MountRequest>, EngineError> {
    let _ = input;
    todo!()
}
