//! What a shim is told and what it leaves behind: the documents that outlive an engine.
//!
//! `shim.json` in the bundle is read once, at the shim's start; `shim.pid` says whose bundle it is; `exit.json` in the
//! container's state folder is the last word on how it ended. All are JSON that a newer engine must still understand:
//! fields are only ever added, with a default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::HealthSpec;
use super::restart::RestartPolicy;
use crate::engine::network::dns::DnsConfig;
use crate::engine::oci::{ExternalRuntime, LaunchPlan};

/// The version of [`ShimSpec`] and of the control protocol that this build writes.
pub const VERSION: u32 = 1;

/// Everything one shim needs to know, as `shim.json` in its bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShimSpec {
    /// [`VERSION`] of the engine that wrote it.
    pub version: u32,
    /// What to run and in what.
    pub plan: LaunchPlan,
    /// Where its output is kept.
    pub log: LogSpec,
    /// What its standard input is.
    #[serde(default)]
    pub stdin: StdinMode,
    /// Where the [`ExitRecord`] goes, in the container's state folder.
    pub exit_path: PathBuf,
    /// The resolver to run at 127.0.0.11 in its network namespace, which then has to be handed over at the spawn.
    #[serde(default)]
    pub dns: Option<DnsConfig>,
    /// The runtime that carries the plan out; `None` is ours.
    #[serde(default)]
    pub runtime: Option<ExternalRuntime>,
    /// The restart policy that the shim is to apply; `None` leaves that to the engine.
    #[serde(default)]
    pub restart: Option<RestartSpec>,
    /// Whether it notes when each stage of the start ended.
    #[serde(default)]
    pub trace: bool,
    /// Its health check.
    #[serde(default)]
    pub health: Option<HealthSpec>,
}

impl ShimSpec {
    /// Where the [`RestartNote`] goes: beside the exit record.
    pub fn restart_note(&self) -> PathBuf {
        self.exit_path.with_file_name(RestartNote::FILE)
    }
}

/// What a shim has to know to restart its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartSpec {
    /// When to restart it.
    pub policy: RestartPolicy,
    /// How often it was restarted before this shim.
    #[serde(default)]
    pub count: u32,
}

/// How often a container was restarted, on disk for an engine that finds the shim dead. The exit record can't say so: it is
/// the last word, and there is none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartNote {
    /// So often.
    pub count: u32,
}

impl RestartNote {
    /// Its name in the container's state folder.
    pub const FILE: &'static str = "restarts.json";
}

/// The log of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// The file that is being written; rotated ones are beside it as `PATH.1`, `PATH.2.gz`, ...
    pub path: PathBuf,
    /// How it is written, if at all.
    #[serde(default)]
    pub driver: LogDriver,
    /// A file that has reached this many bytes is rotated before the next line; `None` lets it grow.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included; at least 1.
    #[serde(default = "LogSpec::default_max_file")]
    pub max_file: u32,
    /// Whether rotated files are gzipped.
    #[serde(default)]
    pub compress: bool,
    /// What stands in each line as its `attrs`: labels, variables and the tag that the user wants there.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
    /// So many bytes may wait for the disk before entries are lost (`mode=non-blocking`); with `None` the container waits.
    #[serde(default)]
    pub buffer: Option<u64>,
}

impl LogSpec {
    /// Docker's json-file at `path` with our defaults: three files of 10 MB, the older ones compressed, so that no
    /// container fills the disk by talking.
    pub fn json_file(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            driver: LogDriver::JsonFile,
            max_size: Some(10_000_000),
            max_file: Self::default_max_file(),
            compress: true,
            attrs: BTreeMap::new(),
            buffer: None,
        }
    }

    /// No log: output reaches only those who are attached.
    pub fn none() -> Self {
        Self {
            path: PathBuf::new(),
            driver: LogDriver::None,
            max_size: None,
            max_file: 1,
            compress: false,
            attrs: BTreeMap::new(),
            buffer: None,
        }
    }

    fn default_max_file() -> u32 {
        3
    }
}

/// The log drivers a shim writes itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// One JSON object a line, as Docker's json-file.
    #[default]
    JsonFile,
    /// For `docker logs` alone: the same lines, whose file is not told to anybody.
    Local,
    /// Output is not kept.
    None,
}

/// What a container's standard input is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StdinMode {
    /// `/dev/null` (a terminal has none to read from, but still echoes nothing).
    #[default]
    Closed,
    /// Open for as long as the container runs; attachers come and go (`OpenStdin`).
    Open,
    /// Ends with the first attacher that brings input (`OpenStdin` and `StdinOnce`, as `docker run -i`).
    Once,
}

/// How a container ended; written whole by its shim before anybody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// What the shell would say: the exit status, or 128 plus the signal.
    pub code: i64,
    /// The signal that killed it, if one did.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Whether the kernel killed a process of it for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// When it was let go.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What went wrong on the way out, such as a log that could not be written.
    #[serde(default)]
    pub error: Option<String>,
    /// What the shim made of the restart policy.
    #[serde(default)]
    pub decided: Decided,
    /// How often the shim and its predecessors restarted it.
    #[serde(default)]
    pub restarts: u32,
}

/// Whether a container that ended is to stay so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decided {
    /// Its shim was not told to decide: the engine does.
    #[default]
    NotHere,
    /// The policy leaves it be, or its restart failed.
    LeftAlone,
    /// A person stopped it.
    StoppedByPerson,
    /// A newer shim's reason.
    #[serde(other)]
    Other,
}

/// Which process is the shim: a process ID alone may have been given to another one since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process ID.
    pub pid: u32,
    /// When it was started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// The identity of process `pid`; `None` where there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, field 2, may hold spaces and brackets; the last bracket ends it.
        let (_, fields) = stat.rsplit_once(") ")?;
        Some(Self { pid, start_ticks: fields.split(' ').nth(19)?.parse().ok()? })
    }

    /// Whether that very process still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid) == Some(*self)
    }
}

/// The files of a bundle, `<run>/containers/<id>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle(PathBuf);

impl Bundle {
    /// The bundle at `folder`.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The [`ShimSpec`].
    pub fn spec(&self) -> PathBuf {
        self.0.join("shim.json")
    }

    /// The shim's [`ProcessIdentity`].
    pub fn pid(&self) -> PathBuf {
        self.0.join("shim.pid")
    }

    /// What the shim says when it comes to grief; empty as a rule.
    pub fn complaints(&self) -> PathBuf {
        self.0.join("shim.err")
    }

    /// The name of the control socket within the folder.
    pub const SOCKET: &'static str = "shim.sock";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let me = ProcessIdentity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessIdentity { start_ticks: me.start_ticks + 1, ..me }.is_alive());
    }

    #[test]
    fn an_older_engines_log_spec_gets_the_defaults() {
        let spec: LogSpec = serde_json::from_str(r#"{"path":"/x"}"#).unwrap();
        assert_eq!((spec.driver, spec.max_size, spec.max_file), (LogDriver::JsonFile, None, 3));
    }
}
