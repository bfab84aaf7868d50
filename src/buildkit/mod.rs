//! What engine and clients say to each other about builds: types and their wire form. BuildKit's progress messages are here,
//! what a [`session`] asks of the client, what a [`listing`] of its context is, caches by name, rows of the history.
//!
//! A build asked for with `version=2` answers with records `{"id":"moby.buildkit.trace","aux":"<base64>"}`; inside is a
//! `StatusResponse` of BuildKit's `control.proto`, in protobuf's wire format. A dozen fields do not pay for a code
//! generator.

mod cache;
mod decode;
mod encode;
mod history;
pub mod listing;
pub mod session;

pub use cache::{CacheKind, CacheMode, CacheSpec, CacheSpecError, CacheWay};
pub use decode::{TraceError, decode, decode_aux};
pub use encode::encode_aux;
pub use history::{BuildEntry, BuildState, BuildStep, BuildStepState, millis_between};
use jiff::Timestamp;

use crate::dockerfile::LineRange;

/// The `id` of the records that carry a trace.
pub const TRACE_ID: &str = "moby.buildkit.trace";

/// What the names of statuses begin with that say why a step was not taken from the cache.
pub const MISS: &str = "cache miss: ";

/// What changed since the last record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TraceUpdate {
    /// Steps that began, ended or changed; a step is told again as a whole.
    pub vertexes: Vec<Vertex>,
    /// Progress within steps.
    pub statuses: Vec<VertexStatus>,
    /// Output of steps.
    pub logs: Vec<VertexLog>,
    /// Warnings.
    pub warnings: Vec<VertexWarning>,
}

/// One step of a build. Sent again, whole, whenever something of it changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vertex {
    /// What names it in all messages.
    pub digest: String,
    /// The digests of the steps it needs.
    pub inputs: Vec<String>,
    /// Like `[build 2/4] RUN apt-get update`.
    pub name: String,
    /// Whether its result came from the cache.
    pub cached: bool,
    /// When work on it began.
    pub started: Option<Timestamp>,
    /// When it ended, well or not.
    pub completed: Option<Timestamp>,
    /// Why it failed; empty while it has not.
    pub error: String,
    /// The Dockerfile lines it stands for. Only Boxyard's engine tells; `None` from others, and for inner work like loading
    /// the context.
    pub lines: Option<LineRange>,
}

/// How far a part of a step is, like one layer of a pull.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VertexStatus {
    /// What it is about, unique within its step.
    pub id: String,
    /// The step's digest.
    pub vertex: String,
    /// What is done, like `extracting`.
    pub name: String,
    /// How much is done.
    pub current: i64,
    /// Of how much; 0 where that is not known.
    pub total: i64,
    /// When this was so.
    pub timestamp: Option<Timestamp>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

impl VertexStatus {
    /// Why the cache had nothing for the step, where this status says that.
    pub fn miss(&self) -> Option<&str> {
        self.name.strip_prefix(MISS)
    }
}

/// Output of a step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VertexLog {
    /// The step's digest.
    pub vertex: String,
    /// When it was read.
    pub timestamp: Option<Timestamp>,
    /// 1 for standard output, 2 for standard error.
    pub stream: i64,
    /// The bytes, as the program wrote them.
    pub msg: Vec<u8>,
}

/// Something a person should know that is no failure.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VertexWarning {
    /// The step's digest.
    pub vertex: String,
    /// Its weight; lint warnings have 1.
    pub level: i64,
    /// One line.
    pub short: String,
    /// More lines.
    pub detail: Vec<String>,
    /// Where it is explained.
    pub url: String,
    /// The Dockerfile lines it is about.
    pub lines: Option<LineRange>,
}
