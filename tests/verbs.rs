//! Verbs on a running or resting container, as a client sees them: exec, top, stats, diff, cp, commit, update.
//!
//! What Debian's dockerd 20.10 answers to the same calls is what is expected here, texts included where clients show
//! them; newer Docker's words where those differ.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

#[path = "verbs/api.rs"]
mod api;
#[path = "verbs/changes.rs"]
mod changes;
#[path = "verbs/commits.rs"]
mod commits;
#[path = "verbs/copies.rs"]
mod copies;
#[path = "verbs/execs.rs"]
mod execs;
#[path = "verbs/figures.rs"]
mod figures;
#[path = "verbs/remapped.rs"]
mod remapped;
#[path = "verbs/updates.rs"]
mod updates;
