//! One process of a container, its first or an exec, as data.

use serde::{Deserialize, Serialize};

use super::CapSet;
use super::seccomp::Filter;

/// A process to run in a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessPlan {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`, whole; only `HOME` is added by the runtime, when missing.
    pub env: Vec<String>,
    /// More variables, whose values no plan may hold; they win over `env`.
    pub env_from: Vec<EnvFrom>,
    /// Absolute working directory; made if missing.
    pub cwd: String,
    /// `user[:group]`, names or numbers, as the person wrote it; looked up in the container's own files.
    pub user: String,
    /// More groups, names or numbers.
    pub additional_groups: Vec<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// The terminal's first size.
    pub console_size: Option<ConsoleSize>,
    /// What it may do at most; also what it may do at once, if it is root.
    pub capabilities: CapSet,
    /// What it keeps across exec without being root.
    pub ambient: CapSet,
    /// The sets one by one, as a bundle gives them; `None` makes all of `capabilities` permitted and effective.
    pub sets: Option<CapabilitySets>,
    /// How many of the caller's descriptors after the first three the program inherits.
    pub preserve_fds: u32,
    /// Whether it stays in the caller's session keyring.
    pub shares_keyring: bool,
    /// Whether exec may never give more rights.
    pub no_new_privileges: bool,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// The OOM killer's preference, -1000 to 1000; `None` inherits.
    pub oom_score_adj: Option<i32>,
    /// The file mode mask; `None` is 0022.
    pub umask: Option<u32>,
    /// Whether it runs below an init of ours, which reaps orphans (`--init`).
    pub init: bool,
    /// Which system calls it may make.
    pub seccomp: SeccompPlan,
    /// The AppArmor profile to change to at exec.
    pub apparmor: Option<String>,
}

/// A process's capability sets, beside the bounding and ambient ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CapabilitySets {
    /// What it can make effective.
    pub permitted: CapSet,
    /// What it may do at once.
    pub effective: CapSet,
    /// What it can pass to a file's inheritable ones.
    pub inheritable: CapSet,
}

/// A variable whose value is read when the process is made; a build's secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFrom {
    /// The variable.
    pub name: String,
    /// A file of the host that holds the value, which may be another process's descriptor.
    pub source: std::path::PathBuf,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub cols: u16,
}

/// A resource limit (`setrlimit(2)`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Lower-case name without `RLIMIT_`, as in `--ulimit nofile=..`.
    pub name: String,
    /// The limit in force; `u64::MAX` is none.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// Which system calls a process may make.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompPlan {
    /// All.
    #[default]
    Unconfined,
    /// What this compiled filter lets through.
    Filter(Filter),
}
