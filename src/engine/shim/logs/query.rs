//! Reading a log: which part of it, and for how long.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Whether to wait for more.
    pub follow: Follow,
    /// Only the last so many entries of what is there at the beginning; `None` is all.
    pub tail: Option<u64>,
    /// Nothing from before.
    pub since: Option<Timestamp>,
    /// Nothing from after.
    pub until: Option<Timestamp>,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
}

/// Whether to wait for more at the log's end.
#[derive(Debug, Clone, Default)]
pub enum Follow {
    /// What is there is all.
    #[default]
    No,
    /// Until this becomes true (or its sender goes), which says that the container ended and its log is whole. What
    /// was written up to then is still delivered.
    Until(watch::Receiver<bool>),
}

/// Which of its streams a container wrote to. On a terminal all is `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One entry of a log: a line, or a piece of one that is longer than 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it was written to.
    pub stream: LogStream,
    /// When; pieces of one line have the time of the first.
    pub time: Timestamp,
    /// What, with its newline; a piece that is not the last of its line has none.
    pub bytes: Bytes,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read log {}: {source}", path.display())]
pub struct LogError {
    /// Which file.
    pub path: PathBuf,
    /// The disk's answer.
    pub source: io::Error,
}

/// Reads the log at `path`, oldest entry first. That there is no file (yet) is an empty log. Lines that are damaged,
/// as a power loss leaves them, are passed over.
pub fn read(path: &Path, query: LogQuery) -> impl Stream<Item = Result<LogEntry, LogError>> + Send + 'static + use<> {
    let _ = (path, query);
    futures_util::stream::poll_fn(|_| todo!())
}
