//! Actions that work everywhere.

use super::{Action, Scope, always};
use crate::tui::effect::{Effect, Refresh};
use crate::tui::model::overlay::{Choice, Confirm, Doom, Entry, Menu, Overlay, Picker};
use crate::tui::model::{Focus, Model, Pane, Screen, Zoom};
use crate::tui::theme::BUILT_IN;

const fn pane(
    name: &'static str,
    keys: &'static [&'static str],
    help: &'static str,
    run: fn(&mut Model) -> Vec<Effect>,
) -> Action {
    Action { name, scope: Scope::Global, keys, hint: "", help, ready: always, run }
}

/// See [`super::ACTIONS`].
pub const ACTIONS: &[Action] = &[
    Action {
        name: "help",
        scope: Scope::Global,
        keys: &["?", "f1"],
        hint: "help",
        help: "Show all keys; type to search, enter runs the action",
        ready: always,
        run: |model| open(model, Overlay::Help(Picker::default())),
    },
    Action {
        name: "palette",
        scope: Scope::Global,
        keys: &[":", "ctrl-p"],
        hint: "command",
        help: "Run any action by name",
        ready: always,
        run: |model| open(model, Overlay::Palette(Picker::default())),
    },
    pane("pane.containers", &["1"], "Go to the containers", |model| go(model, Pane::Containers)),
    pane("pane.images", &["2"], "Go to the images", |model| go(model, Pane::Images)),
    pane("pane.volumes", &["3"], "Go to the volumes", |model| go(model, Pane::Volumes)),
    pane("pane.networks", &["4"], "Go to the networks", |model| go(model, Pane::Networks)),
    pane("pane.builds", &["5"], "Go to the builds", |model| go(model, Pane::Builds)),
    pane("pane.detail", &["0"], "Go to the details", |model| {
        model.screen = Screen::Main;
        model.focus = Focus::Detail;
        Vec::new()
    }),
    pane("pane.next", &["tab"], "Go to the next pane", |model| cycle(model, 1)),
    pane("pane.previous", &["backtab"], "Go to the pane before", |model| cycle(model, -1)),
    pane("tab.next", &["]", "alt-right"], "Open the next tab of the details", |model| turn(model, 1)),
    pane("tab.previous", &["[", "alt-left"], "Open the tab before", |model| turn(model, -1)),
    Action {
        name: "workbench",
        scope: Scope::Global,
        keys: &["B"],
        hint: "build",
        help: "Open the build workbench: Dockerfile and layers side by side",
        ready: always,
        run: crate::tui::workbench::enter,
    },
    pane("pull", &["U"], "Pull an image from a registry", |model| {
        open(model, Overlay::Form(crate::tui::form::Form::pull("")))
    }),
    pane("zoom.in", &["+", "="], "Give this half more room", |model| {
        model.zoom = if model.zoom == Zoom::Normal { Zoom::Large } else { Zoom::Full };
        Vec::new()
    }),
    pane("zoom.out", &["_", "-"], "Give this half less room", |model| {
        model.zoom = if model.zoom == Zoom::Full { Zoom::Large } else { Zoom::Normal };
        Vec::new()
    }),
    pane("activity", &["@"], "Show what is under way and what happened", |model| {
        open(model, Overlay::Activity { top: 0 })
    }),
    pane("prune", &["D"], "Clean up: choose what to prune", prune),
    pane("theme", &[","], "Choose the colours", |model| {
        let entries = BUILT_IN.iter().map(|(name, _)| {
            let hint = if model.theme.name == *name { "in use" } else { "" };
            Entry::new(*name, hint, Choice::Theme((*name).to_owned()))
        });
        let menu = Menu { title: "Theme".to_owned(), entries: entries.collect(), cursor: 0 };
        open(model, Overlay::Menu(menu))
    }),
    pane("work.show", &[], "Show the work under way in full", |model| match model.works.shown() {
        Some((id, _)) => open(model, Overlay::Work(id)),
        None => open(model, Overlay::Activity { top: 0 }),
    }),
    pane("work.cancel", &["ctrl-x"], "Cancel the work under way", |model| {
        let shown = model.works.shown().map(|(id, _)| id);
        match shown.and_then(|id| model.works.running.get_mut(&id).map(|work| (id, work))) {
            Some((id, work)) => {
                work.is_cancelling = true;
                vec![Effect::Cancel(id)]
            }
            None => Vec::new(),
        }
    }),
    pane("refresh", &["f5"], "Read all lists again", |model| {
        model.version += 1;
        vec![
            Effect::Refresh(Refresh::Containers),
            Effect::Refresh(Refresh::Images),
            Effect::Refresh(Refresh::Volumes),
            Effect::Refresh(Refresh::Networks),
            Effect::Refresh(Refresh::Usage),
        ]
    }),
    pane("redraw", &["ctrl-l"], "Draw the screen anew", |_| vec![Effect::Repaint]),
    Action {
        name: "quit",
        scope: Scope::Global,
        keys: &["q"],
        hint: "quit",
        help: "Go back, then quit; containers run on",
        ready: always,
        run: |model| {
            if model.screen != Screen::Main {
                model.screen = Screen::Main;
                return Vec::new();
            }
            if model.zoom != Zoom::Normal {
                model.zoom = Zoom::Normal;
                return Vec::new();
            }
            if model.focus == Focus::Detail {
                model.focus = Focus::List;
                return Vec::new();
            }
            quit(model)
        },
    },
    pane("quit.now", &["ctrl-c"], "Quit; containers run on", quit),
];

/// Puts an overlay on top.
pub(super) fn open(model: &mut Model, overlay: Overlay) -> Vec<Effect> {
    model.overlays.push(overlay);
    Vec::new()
}

fn quit(model: &mut Model) -> Vec<Effect> {
    let works: Vec<String> =
        model.works.running.values().filter(|work| work.job.is_long()).map(|work| work.job.title()).collect();
    if works.is_empty() {
        model.is_quitting = true;
        return vec![Effect::Quit];
    }
    open(
        model,
        Overlay::Confirm(Confirm {
            doom: Doom::Quit,
            title: "Quit now?".to_owned(),
            lines: works,
            note: "These are still under way and will be cancelled.".to_owned(),
            verb: "quit",
            options: Vec::new(),
        }),
    )
}

fn go(model: &mut Model, pane: Pane) -> Vec<Effect> {
    model.screen = Screen::Main;
    model.open_pane(pane);
    if pane == Pane::Volumes { vec![Effect::Refresh(Refresh::Usage)] } else { Vec::new() }
}

fn cycle(model: &mut Model, by: isize) -> Vec<Effect> {
    let at = if model.focus == Focus::Detail { Pane::ALL.len() } else { model.pane.index() };
    let next = (at as isize + by).rem_euclid(Pane::ALL.len() as isize + 1) as usize;
    match Pane::ALL.get(next) {
        Some(pane) => go(model, *pane),
        None => {
            model.focus = Focus::Detail;
            Vec::new()
        }
    }
}

fn turn(model: &mut Model, by: isize) -> Vec<Effect> {
    let subject = model.subject();
    let count = subject.tabs().len() as isize;
    if count > 0 {
        let slot = subject.slot();
        model.tabs[slot] = (model.tabs[slot] as isize + by).rem_euclid(count) as usize;
    }
    Vec::new()
}

fn prune(model: &mut Model) -> Vec<Effect> {
    use crate::tui::job::PruneKind::*;
    let first = match model.pane {
        Pane::Containers => 0,
        Pane::Images => 1,
        Pane::Volumes => 3,
        Pane::Networks => 4,
        Pane::Builds => 5,
    };
    let kinds = [Containers, DanglingImages, UnusedImages, Volumes, Networks, BuildCache];
    let entries =
        kinds.map(|kind| Entry::new(kind.plural(), super::objects::prune_size(model, kind), Choice::Prune(kind)));
    let menu = Menu { title: "Prune".to_owned(), entries: entries.into(), cursor: first };
    model.overlays.push(Overlay::Menu(menu));
    vec![Effect::Refresh(Refresh::Usage)]
}
