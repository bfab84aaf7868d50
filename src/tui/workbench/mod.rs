//! The build workbench: a Dockerfile and its layers side by side, each instruction carrying its layer's state.
//!
//! [`Workbench`] is a model of its own with a pure update (`command`, `key`, `event`); what must happen outside comes back
//! as [`Request`]s. `screen` is where it meets the rest of the screen, `io` does what must be done, `view` draws it.

mod build;
mod chooser;
mod document;
mod highlight;
mod io;
mod keys;
mod model;
mod news;
mod screen;
mod steps;
mod update;
mod view;

pub use build::{Build, Outcome};
pub use model::{Cached, Focus, Prompt, Workbench};
pub use screen::{Builders, command, draw, enter, input, is_busy, settle, update};
pub use steps::{Step, StepState};
pub use update::{BuildFailure, Command, Request, WorkbenchEffect, WorkbenchEvent};
