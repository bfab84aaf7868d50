//! The build workbench's actions. Keys that type text are taken by the workbench itself before this table is asked.

use super::{Action, Scope, always};
use crate::tui::model::Screen;

/// See [`super::ACTIONS`].
pub const ACTIONS: &[Action] = &[Action {
    name: "workbench.close",
    scope: Scope::Workbench,
    keys: &["esc"],
    hint: "back",
    help: "Go back to the lists; a running build goes on",
    ready: always,
    run: |model| {
        model.screen = Screen::Main;
        Vec::new()
    },
}];
