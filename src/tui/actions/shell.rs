//! The embedded terminal's actions. While it has the keys, only these are kept from the shell.

use super::{Action, Scope, always};
use crate::tui::shell;

/// See [`super::ACTIONS`].
pub const ACTIONS: &[Action] = &[
    Action {
        name: "shell.release",
        scope: Scope::Shell,
        keys: &["ctrl-\\"],
        hint: "give the keys back",
        help: "Give the keys back to the lists; the shell runs on",
        ready: always,
        run: shell::release,
    },
    Action {
        name: "shell.focus",
        scope: Scope::Shell,
        keys: &["enter"],
        hint: "type here",
        help: "Give the keys to the shell, starting one where there is none",
        ready: always,
        run: shell::focus,
    },
];
