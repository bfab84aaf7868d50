//! One mount of a container, as data.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What to mount where inside the container. Missing targets are made: a directory, or a file for a file's bind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// Absolute path in the container.
    pub target: PathBuf,
    /// What appears there.
    pub kind: MountKind,
    /// How it may be used.
    #[serde(default)]
    pub flags: MountFlags,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// A path inside `source` to show instead, resolved so that links cannot lead out of it.
        subpath: Option<PathBuf>,
        /// Whether mounts below `source` come along.
        recursive: bool,
        /// Whether later mounts travel between host and container.
        propagation: Propagation,
    },
    /// A path of another container's mount namespace (the `/dev/shm` of `--ipc container:x`).
    OfProcess {
        /// A process of that container.
        pid: u32,
        /// The path there.
        path: PathBuf,
    },
    /// Memory.
    Tmpfs {
        /// File system options as text: `size=64m`, `mode=1777`, `uid=0`, `nr_inodes=1k`.
        options: Vec<String>,
    },
    /// Image layers, topmost first; a build's `RUN --mount=from`.
    Layers {
        /// The directories.
        lowers: Vec<PathBuf>,
        /// A path inside to show instead, resolved so that links cannot lead out of it.
        #[serde(default)]
        subpath: Option<PathBuf>,
        /// Where what is written goes; it can only be read without.
        #[serde(default)]
        scratch: Option<Scratch>,
    },
    /// A file of memory that holds what `source` held when the container was made; a build's secret.
    Content {
        /// A file of the host, which may be another process's descriptor.
        source: PathBuf,
        /// Permissions.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// `/proc` of the container's process id namespace.
    Proc,
    /// `/sys` of the container's network namespace.
    Sysfs,
    /// A terminal directory of its own.
    Devpts,
    /// POSIX message queues of the container's IPC namespace.
    Mqueue,
    /// Any other file system of the kernel's.
    Filesystem {
        /// Its name: `devpts`, `ext4`.
        kind: String,
        /// What it is mounted from.
        source: String,
        /// File system options as text.
        options: Vec<String>,
    },
    /// The cgroup hierarchies, as this host has them.
    Cgroup,
}

/// Directories for what is written over layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// Where it goes.
    pub upper: PathBuf,
    /// Overlayfs's own work directory, beside `upper`.
    pub work: PathBuf,
}

/// Who may write through a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reads and writes.
    #[default]
    ReadWrite,
    /// Reads; mounts below it too.
    ReadOnly,
    /// Reads; mounts below keep their own access.
    ReadOnlyTop,
}

/// How a mount may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MountFlags {
    /// Who may write.
    pub access: Access,
    /// Ignores set-user-id bits.
    pub nosuid: bool,
    /// Ignores device nodes.
    pub nodev: bool,
    /// Executes nothing.
    pub noexec: bool,
    /// Does not keep access times.
    pub noatime: bool,
    /// Does not keep access times of directories.
    pub nodiratime: bool,
    /// Keeps every access time.
    pub strictatime: bool,
    /// Shows owners as the container's own ids, not as the host's, in a container with a user namespace.
    pub shifted: bool,
    /// Begins with what the root has there; for a tmpfs.
    pub copy_up: bool,
}

/// Whether mounts made later on one side appear on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// Neither way (Docker's `rprivate`).
    #[default]
    RecursivePrivate,
    /// Neither way, this mount only.
    Private,
    /// From the host into the container, submounts too.
    RecursiveSlave,
    /// From the host into the container, this mount only.
    Slave,
    /// Both ways, submounts too.
    RecursiveShared,
    /// Both ways, this mount only.
    Shared,
}

impl Propagation {
    /// mount(8)'s word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Propagation::RecursivePrivate => "rprivate",
            Propagation::Private => "private",
            Propagation::RecursiveSlave => "rslave",
            Propagation::Slave => "slave",
            Propagation::RecursiveShared => "rshared",
            Propagation::Shared => "shared",
        }
    }

    /// From Docker's word; `None` for an unknown one.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "" | "rprivate" => Propagation::RecursivePrivate,
            "private" => Propagation::Private,
            "rslave" => Propagation::RecursiveSlave,
            "slave" => Propagation::Slave,
            "rshared" => Propagation::RecursiveShared,
            "shared" => Propagation::Shared,
            _ => return None,
        })
    }
}

impl MountPlan {
    /// A read-write, recursive, private bind of the host's `source` at `target`.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        let kind = MountKind::Bind {
            source: source.into(),
            subpath: None,
            recursive: true,
            propagation: Propagation::RecursivePrivate,
        };
        Self { target: target.into(), kind, flags: MountFlags::default() }
    }

    /// A tmpfs at `target` with these file system options.
    pub fn tmpfs<S: Into<String>>(target: impl Into<PathBuf>, options: impl IntoIterator<Item = S>) -> Self {
        let kind = MountKind::Tmpfs { options: options.into_iter().map(Into::into).collect() };
        Self { target: target.into(), kind, flags: MountFlags::default() }
    }

    /// The same, for reading only, submounts too.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.flags.access = Access::ReadOnly;
        self
    }

    /// The same with `nosuid`, `nodev`, `noexec`.
    #[must_use]
    pub fn hardened(mut self) -> Self {
        self.flags = MountFlags { nosuid: true, nodev: true, noexec: true, ..self.flags };
        self
    }

    /// The same, being the container's own: its owners are ids of the container.
    #[must_use]
    pub fn shifted(mut self) -> Self {
        self.flags.shifted = true;
        self
    }

    /// Whether it hides `path`: mounted there or above it.
    pub fn covers(&self, path: &Path) -> bool {
        path.starts_with(&self.target)
    }
}
