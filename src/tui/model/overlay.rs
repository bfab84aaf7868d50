//! What lies over the screen: help, palette, questions, menus, forms. The last one has the keys.

use crate::tui::form::Form;
use crate::tui::form::input::Input;
use crate::tui::job::{Job, PruneKind, Target, WorkId};
use crate::tui::model::log::Window;

/// One overlay.
#[derive(Debug, Clone, PartialEq)]
pub enum Overlay {
    /// Keys and actions, searchable, each runnable.
    Help(Picker),
    /// Any action by name.
    Palette(Picker),
    Confirm(Confirm),
    Menu(Menu),
    Form(Form),
    /// A work's progress in full.
    Work(WorkId),
    /// What happened: works and messages.
    Activity {
        top: usize,
    },
}

/// A searchable list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picker {
    pub query: Input,
    pub cursor: usize,
}

/// What is to go.
#[derive(Debug, Clone, PartialEq)]
pub enum Doom {
    Containers(Vec<Target>),
    Images(Vec<Target>),
    Volumes(Vec<String>),
    Networks(Vec<Target>),
    Prune(PruneKind),
    Disconnect {
        network: Target,
        container: Target,
    },
    /// Leave while works are under way.
    Quit,
}

/// A question before something is destroyed.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirm {
    pub doom: Doom,
    pub title: String,
    /// What goes, one a line.
    pub lines: Vec<String>,
    /// What it frees, or a warning.
    pub note: String,
    pub verb: &'static str,
    /// Options of the removal: key, label, on.
    pub options: Vec<(char, &'static str, bool)>,
}

impl Confirm {
    /// Whether an option is on.
    pub fn is_on(&self, key: char) -> bool {
        self.options.iter().any(|(k, _, on)| *k == key && *on)
    }

    /// The jobs of a yes.
    pub fn jobs(&self) -> Vec<Job> {
        let force = self.is_on('f');
        match &self.doom {
            Doom::Containers(targets) => targets
                .iter()
                .map(|target| Job::RemoveContainer { target: target.clone(), force, volumes: self.is_on('v') })
                .collect(),
            Doom::Images(targets) => {
                targets.iter().map(|target| Job::RemoveImage { target: target.clone(), force }).collect()
            }
            Doom::Volumes(names) => names.iter().map(|name| Job::RemoveVolume { name: name.clone(), force }).collect(),
            Doom::Networks(targets) => targets.iter().cloned().map(Job::RemoveNetwork).collect(),
            Doom::Prune(kind) => vec![Job::Prune(*kind)],
            Doom::Disconnect { network, container } => {
                vec![Job::Disconnect { network: network.clone(), container: container.clone() }]
            }
            Doom::Quit => Vec::new(),
        }
    }
}

/// What a menu entry does.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    Order(usize),
    Jobs(Vec<Job>),
    Copy(String),
    Prune(PruneKind),
    Theme(String),
    LogWindow(Window),
}

/// A short list to choose from.
#[derive(Debug, Clone, PartialEq)]
pub struct Menu {
    pub title: String,
    pub entries: Vec<Entry>,
    pub cursor: usize,
}

/// A menu's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub label: String,
    pub hint: String,
    pub choice: Choice,
}

impl Entry {
    pub fn new(label: impl Into<String>, hint: impl Into<String>, choice: Choice) -> Entry {
        Entry { label: label.into(), hint: hint.into(), choice }
    }
}
