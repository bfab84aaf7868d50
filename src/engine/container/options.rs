//! What callers of the container verbs may choose, and what the streaming verbs answer.
//!
//! JSON documents of the Engine API pass through as the API's own types; these structs carry what stands in the query.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bollard_stubs::models as docker;
use bytes::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::engine::EngineError;
use crate::engine::filters::Filters;
use crate::engine::shim::logs::Attrs;

/// A body that flows out: a tar archive, a stream of frames. Dropping it cancels its making.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Statistics as they come, one a second.
pub type StatsStream = Pin<Box<dyn Stream<Item = Result<docker::ContainerStatsResponse, EngineError>> + Send>>;

/// Log lines as they come.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogLine, EngineError>> + Send>>;

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ListContainers {
    /// Stopped ones too.
    pub all: bool,
    /// At most so many, newest first; implies `all`.
    pub limit: Option<usize>,
    /// Count what each one wrote.
    pub size: bool,
    /// Docker's filters: ancestor, before, exited, expose, health, id, is-task, label, name, network, publish, since,
    /// status, volume.
    pub filters: Filters,
}

/// How to remove a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveContainer {
    /// Kill it first where it runs.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
    /// Remove only the link of that name, not the container.
    pub link: bool,
}

/// What a wait waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// That it does not run; at once where it does not.
    #[default]
    NotRunning,
    /// Its next exit, even where it does not run now.
    NextExit,
    /// That it is gone.
    Removed,
}

impl WaitCondition {
    /// Reads the API's `condition`; empty means the default.
    ///
    /// # Errors
    /// Docker's `invalid condition: "x"`.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(EngineError::invalid(format!("invalid condition: {other:?}"))),
        }
    }
}

/// Which streams to attach, and how.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Pass bytes to its standard input.
    pub stdin: bool,
    /// Receive its standard output.
    pub stdout: bool,
    /// Receive its standard error.
    pub stderr: bool,
    /// Replay what was logged so far.
    pub logs: bool,
    /// Stay attached; without it only the replay is sent.
    pub stream: bool,
    /// The keys that detach from a terminal, like `ctrl-p,ctrl-q` (the default).
    pub detach_keys: Option<String>,
}

/// Both directions of an attachment. With a terminal the bytes are raw; without one they come in frames of eight bytes
/// of header (stream, 0, 0, 0, big-endian length) and payload. Shutting the writing side down closes its standard
/// input; dropping it detaches.
pub struct Attached {
    /// Whether the container (or exec) has a terminal.
    pub tty: bool,
    /// The bytes.
    pub io: Box<dyn AttachedIo>,
}

/// What an attachment reads from and writes to.
pub trait AttachedIo: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> AttachedIo for T {}

/// Which log lines to send.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Go on with new lines until it ends.
    pub follow: bool,
    /// Lines of standard output.
    pub stdout: bool,
    /// Lines of standard error.
    pub stderr: bool,
    /// Only lines written at or after this instant.
    pub since: Option<Timestamp>,
    /// Only lines written before this instant.
    pub until: Option<Timestamp>,
    /// Only the last so many lines; `None` is all of them.
    pub tail: Option<u64>,
}

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output; stream number 1 in frames.
    Stdout,
    /// Standard error; stream number 2 in frames.
    Stderr,
}

/// One logged piece: a line with its end, or a part of a very long line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where it was written to.
    pub source: LogSource,
    /// When.
    pub time: Timestamp,
    /// What, as it was written.
    pub bytes: Bytes,
    /// What its log driver's options added to it: labels, variables, a tag.
    pub attrs: Attrs,
}

/// A container's log.
pub struct Logs {
    /// Whether the container has a terminal: then clients want raw bytes, else frames.
    pub tty: bool,
    /// The lines.
    pub lines: LogStream,
}

/// How to take statistics.
#[derive(Debug, Clone, Copy, Default)]
pub struct StatsOptions {
    /// One each second until it ends; without it a single one.
    pub stream: bool,
    /// A single one at once, without the second sample that the CPU share needs.
    pub one_shot: bool,
}

/// What is known about a path inside a container: the header `X-Docker-Container-Path-Stat` before base64.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PathStat {
    /// Its last part.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode`: permission bits plus the kinds at the top (directory 1 << 31, symlink 1 << 27, ...).
    pub mode: u32,
    /// RFC 3339 with nanoseconds.
    pub mtime: String,
    /// Where a symlink leads, resolved inside the container.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

/// How to unpack an archive into a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchivePut {
    /// Refuse to replace a folder by a file or a file by a folder.
    pub no_overwrite_dir_non_dir: bool,
    /// Keep the archive's owners; else everything belongs to root.
    pub copy_uid_gid: bool,
}

/// How to make an image of a container.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Repository of the new tag.
    pub repo: Option<String>,
    /// Tag within `repo`.
    pub tag: Option<String>,
    /// What the history says.
    pub comment: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// Freeze the container meanwhile.
    pub pause: bool,
    /// Dockerfile instructions to apply (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, ...).
    pub changes: Vec<String>,
    /// Replaces parts of the container's configuration.
    pub config: Option<docker::ContainerConfig>,
}

/// How to stop a container.
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// The signal to begin with, by name or number; else the container's own.
    pub signal: Option<String>,
    /// How long to wait before SIGKILL; `None` is the container's own choice or ten seconds.
    pub timeout: Option<StopTimeout>,
}

/// How long a stop waits for the container to end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopTimeout {
    /// As long as it takes (-1 on the wire).
    Never,
    /// So long.
    After(Duration),
}

impl StopTimeout {
    /// Reads the API's seconds.
    pub fn from_seconds(seconds: i64) -> Self {
        u64::try_from(seconds).map_or(Self::Never, |seconds| Self::After(Duration::from_secs(seconds)))
    }
}

/// How to start an exec.
#[derive(Debug, Clone, Default)]
pub struct ExecStart {
    /// Do not attach.
    pub detach: bool,
    /// Whether a terminal is wanted; must agree with how it was created.
    pub tty: bool,
    /// The terminal's size.
    pub size: Option<TerminalSize>,
}

/// What a started exec gives back.
pub enum ExecStarted {
    /// It runs on its own.
    Detached,
    /// Its streams.
    Attached(Attached),
}

/// A terminal's size in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}
