//! What the update function wants done: plain data, carried out by [`super::io`].
//!
//! Two kinds. An [`Effect`] happens once. [`Wants`] says which streams should be open right now; it is worked out
//! from the model after every batch, and the difference to what is open is opened or closed. So no code path can
//! forget to stop a stream.

use super::job::{Job, WorkId};
use super::model::detail::DetailKey;
use super::model::log::LogWant;
use std::collections::BTreeSet;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Begin a work; it answers with progress and its end.
    Start(WorkId, Job),
    /// Stop a work; it ends as cancelled.
    Cancel(WorkId),
    /// Read a list again.
    Refresh(Refresh),
    /// Have the engine forget a build that has ended.
    ForgetBuild(String),
    /// Put text on the clipboard (OSC 52: it works through ssh).
    Copy(String),
    /// Clear the terminal and draw everything anew.
    Repaint,
    /// Something of the embedded terminal.
    Shell(super::shell::ShellEffect),
    /// Something of the build workbench.
    Workbench(super::workbench::WorkbenchEffect),
    /// Leave.
    Quit,
}

/// Which list to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refresh {
    Containers,
    SomeContainers(Vec<String>),
    Images,
    Volumes,
    Networks,
    Builds,
    Usage,
}

/// The streams that should be open.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wants {
    /// Running containers whose measurements are on the screen.
    pub stats: BTreeSet<String>,
    pub logs: Option<LogWant>,
    /// What the detail view shows; asked again whenever it changes.
    pub detail: Option<DetailKey>,
    /// Whether a build runs somewhere, whose steps are to be told.
    pub builds: bool,
}
