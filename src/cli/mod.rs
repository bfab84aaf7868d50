//! The command line: what can be typed, and the verbs. Each verb is client calls plus printing.
//!
//! Verbs carry docker's names, flags and output, so that habits and scripts hold; the engine they reach is chosen by who
//! composes the process.

mod arguments;
mod build;
mod builds;
mod create;
pub mod demo;
mod dockerfiles;
mod filters;
mod fmt;
mod health;
mod images;
mod lifecycle;
mod lint;
mod lists;
mod run;
mod session;
mod stats;
mod system;
mod table;
mod terminal;
mod verb;
mod words;

pub use arguments::{Arguments, Demo, Role, Roots, Serve, print_completion};
pub use fmt::{Fmt, format_files};
pub use lint::{Lint, check_files};
pub use verb::{Verb, perform};
pub use words::causes;
