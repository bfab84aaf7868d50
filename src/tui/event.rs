//! Everything that can happen to the screen's model, from keys to answers of the engine: one queue, one type.

use super::job::{Failure, Job, Report, WorkId};
use super::model::detail::{DetailData, DetailKey};
use super::model::log::{LogBatch, LogEnd};
use super::model::stats::Sample;
use crate::client::models as docker;
use jiff::Timestamp;

/// What the update function is told.
#[derive(Debug)]
pub enum Event {
    /// Keys, mouse, paste, resize, focus.
    Input(crossterm::event::Event),
    /// The time now. Sent before each batch, so that the model needs no clock.
    Tick(Timestamp),
    /// How we stand with the engine.
    Link(Link),
    /// What the engine says happened, gathered over a few milliseconds.
    Engine(Vec<docker::EventMessage>),
    /// A list was read again.
    Listed(Listing),
    /// New lines of the log that is shown.
    Logs(LogBatch),
    /// The log's stream ended.
    LogsEnded(LogEnd),
    /// One measurement of a container.
    Stats(String, Box<Sample>),
    /// The answer for a detail view.
    Detail(DetailKey, Result<Box<DetailData>, String>),
    /// News of a long work.
    Progress(WorkId, Progress),
    /// A work ended.
    Finished(WorkId, Job, Result<Report, Failure>),
    /// The embedded terminal's own events.
    Shell(super::shell::ShellEvent),
    /// The build workbench's own events.
    Workbench(super::workbench::WorkbenchEvent),
    /// The process was asked to end (SIGTERM, SIGHUP).
    Terminate,
}

/// The connection's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Nothing heard yet.
    Connecting,
    Up,
    /// It has not answered for a while; lists are kept.
    Slow,
    /// Gone; we try again by ourselves.
    Down {
        why: String,
    },
}

/// A fresh list.
#[derive(Debug)]
pub enum Listing {
    Containers(Vec<docker::ContainerSummary>),
    /// Some containers were asked about; those of `asked` that are not in `found` are gone.
    ContainersPart {
        asked: Vec<String>,
        found: Vec<docker::ContainerSummary>,
    },
    Images(Vec<docker::ImageSummary>),
    Volumes(Vec<docker::Volume>),
    Networks(Vec<docker::NetworkSummary>),
    /// Builds of all clients, as our own engine tells them.
    Builds(Vec<crate::buildkit::BuildEntry>),
    /// Sizes that cost the engine a walk: asked for only when something shows them.
    Usage(Usage),
    /// What the engine is.
    Facts(EngineFacts),
    /// Where it is; changes when another process takes over.
    Address(String),
}

/// Disk usage by object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Volume name to size and users.
    pub volumes: Vec<(String, u64, u64)>,
    /// Container id to the size of its own layer.
    pub containers: Vec<(String, u64)>,
    /// Image id to the bytes only it holds.
    pub images: Vec<(String, u64)>,
    pub build_cache: u64,
}

/// What stays the same while we are connected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineFacts {
    /// Its product and version, e.g. `boxyard 0.1.0`, `docker 28.2.2`.
    pub version: String,
    pub api_version: String,
    pub root: String,
    pub cpus: u32,
    pub memory: u64,
    /// Whether it is ours, and so can make an image from its host.
    pub is_boxyard: bool,
    pub os: String,
}

/// How far a work has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// One short line: the current step.
    pub note: String,
    /// Bytes (or steps) done and to do; 0 total: unknown.
    pub done: u64,
    pub total: u64,
    /// Parts of the whole (a pull's layers); empty: none.
    pub parts: Vec<Part>,
}

/// One part of a work, such as a layer of a pull.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    pub name: String,
    pub state: String,
    pub done: u64,
    pub total: u64,
}
