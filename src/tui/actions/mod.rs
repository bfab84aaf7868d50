//! Everything that can be done, as one table. Key dispatch, footer, help, palette and docs/keys.md read it.
//!
//! The table is written in chapters, a file for each scope. An action that cannot run now says why; its hint is then
//! greyed and its key answers with the reason.

pub mod keymap;
pub mod page;

mod containers;
mod detail;
mod global;
mod lists;
mod objects;
mod shell;
mod workbench;

pub(super) use containers::{begin as containers_begin, begin_all as containers_begin_all};
pub(super) use detail::scroll as detail_scroll;
pub(super) use lists::on_table as lists_on_table;
pub(super) use objects::ask_prune;

use super::effect::Effect;
use super::model::detail::{Subject, Tab};
use super::model::{Focus, Model, Pane, Screen};

/// Where an action's keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Global,
    /// Any list that has the keys.
    List,
    Containers,
    Images,
    Volumes,
    Networks,
    Builds,
    /// The detail view, whatever it shows.
    Detail,
    Logs,
    /// Tabs that are documents: inspect, environment, processes, layers.
    Document,
    Shell,
    Workbench,
}

impl Scope {
    /// All scopes, in the order of the help page.
    pub const ALL: [Scope; 12] = [
        Scope::Global,
        Scope::List,
        Scope::Containers,
        Scope::Images,
        Scope::Volumes,
        Scope::Networks,
        Scope::Builds,
        Scope::Detail,
        Scope::Logs,
        Scope::Document,
        Scope::Shell,
        Scope::Workbench,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Scope::Global => "Everywhere",
            Scope::List => "Lists",
            Scope::Containers => "Containers",
            Scope::Images => "Images",
            Scope::Volumes => "Volumes",
            Scope::Networks => "Networks",
            Scope::Builds => "Builds",
            Scope::Detail => "Details",
            Scope::Logs => "Logs",
            Scope::Document => "Inspect and other texts",
            Scope::Shell => "Terminal",
            Scope::Workbench => "Build workbench",
        }
    }
}

/// One thing that can be done.
pub struct Action {
    /// Its name in the palette and in the configuration, e.g. `container.stop`.
    pub name: &'static str,
    pub scope: Scope,
    /// Default keys; the first is shown.
    pub keys: &'static [&'static str],
    /// Its word in the footer; empty: not shown there.
    pub hint: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether it can run now, or why not.
    pub ready: fn(&Model) -> Result<(), String>,
    pub run: fn(&mut Model) -> Vec<Effect>,
}

/// The table, chapter by chapter.
pub const ACTIONS: &[&[Action]] = &[
    global::ACTIONS,
    lists::ACTIONS,
    containers::ACTIONS,
    objects::IMAGES,
    objects::VOLUMES,
    objects::NETWORKS,
    objects::BUILDS,
    detail::DETAIL,
    detail::LOGS,
    detail::DOCUMENT,
    shell::ACTIONS,
    workbench::ACTIONS,
];

/// All actions, in order.
pub fn all() -> impl Iterator<Item = &'static Action> {
    ACTIONS.iter().copied().flatten()
}

/// An action by name.
pub fn find(name: &str) -> Option<&'static Action> {
    all().find(|action| action.name == name)
}

/// Can always run.
pub fn always(_: &Model) -> Result<(), String> {
    Ok(())
}

/// The scopes whose keys count now, most particular first.
pub fn scopes(model: &Model) -> Vec<Scope> {
    if model.screen == Screen::Workbench {
        return vec![Scope::Workbench, Scope::Global];
    }
    let pane = match model.pane {
        Pane::Containers => Scope::Containers,
        Pane::Images => Scope::Images,
        Pane::Volumes => Scope::Volumes,
        Pane::Networks => Scope::Networks,
        Pane::Builds => Scope::Builds,
    };
    match (model.focus, model.tab()) {
        (Focus::List, _) => vec![pane, Scope::List, Scope::Global],
        (Focus::Detail, Some(Tab::Logs)) => vec![Scope::Logs, Scope::Detail, pane, Scope::Global],
        (Focus::Detail, Some(Tab::Shell)) => vec![Scope::Shell, Scope::Detail, pane, Scope::Global],
        (Focus::Detail, Some(Tab::Stats) | None) => vec![Scope::Detail, pane, Scope::Global],
        (Focus::Detail, Some(_)) => vec![Scope::Document, Scope::Detail, pane, Scope::Global],
    }
}

/// Runs an action, or says why it cannot.
pub fn run(model: &mut Model, action: &'static Action) -> Vec<Effect> {
    match (action.ready)(model) {
        Ok(()) => {
            model.touch();
            (action.run)(model)
        }
        Err(why) => {
            model.say(super::model::work::Weight::Warning, why);
            Vec::new()
        }
    }
}

/// Err unless the subject is there.
pub(super) fn has_subject(model: &Model) -> Result<(), String> {
    match model.subject() {
        Subject::Nothing => Err(format!("no {} is selected", singular(model.pane))),
        _ => Ok(()),
    }
}

/// `container`, `image`...
pub fn singular(pane: Pane) -> &'static str {
    match pane {
        Pane::Containers => "container",
        Pane::Images => "image",
        Pane::Volumes => "volume",
        Pane::Networks => "network",
        Pane::Builds => "build",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::keys::Key;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_keys_are_keys() {
        let mut names = BTreeSet::new();
        for action in all() {
            assert!(names.insert(action.name), "{} is there twice", action.name);
            assert!(!action.help.is_empty() && !action.help.ends_with('.'), "{}: help is one sentence", action.name);
            for key in action.keys {
                let parsed = Key::parse(key).unwrap_or_else(|why| panic!("{}: {why}", action.name));
                assert_eq!(parsed.to_string(), *key, "{}: keys are spelled one way", action.name);
            }
        }
    }

    #[test]
    fn no_key_means_two_things_in_one_scope() {
        let mut seen = BTreeSet::new();
        for action in all() {
            for key in action.keys {
                assert!(seen.insert((action.scope, *key)), "{key} is there twice in {:?}", action.scope);
            }
        }
    }

    #[test]
    fn ctrl_d_and_ctrl_u_only_ever_scroll() {
        for action in all().filter(|a| a.keys.iter().any(|k| matches!(*k, "ctrl-d" | "ctrl-u"))) {
            assert!(action.name.contains("half-page"), "{}", action.name);
        }
    }
}
