//! The state of the workbench: a document, the build of it, and where the keys go.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::build::Build;
use super::chooser::Chooser;
use super::document::Document;

/// Which pane has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Focus {
    /// The text.
    #[default]
    Editor,
    /// What is wrong with it.
    Problems,
    /// The layers.
    Steps,
    /// The output of the selected layer's step.
    Log,
}

/// Which step is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepChoice {
    /// The one that runs, or failed: the selection goes with the build.
    #[default]
    Current,
    /// This one.
    At(usize),
}

/// What of a step's output is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogPlace {
    /// Its end, as it grows.
    #[default]
    End,
    /// From this line on.
    From(usize),
}

/// A line the user types below the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// The image's name.
    Tag { text: String },
    /// There are unsaved changes: save, leave them, or stay.
    Unsaved,
}

/// The workbench.
#[derive(Debug, Clone, Default)]
pub struct Workbench {
    pub(super) home: PathBuf,
    pub(super) first: Option<PathBuf>,
    pub(super) chooser: Option<Chooser>,
    pub(super) document: Option<Document>,
    pub(super) tag: String,
    pub(super) build: Option<Build>,
    pub(super) builds_begun: u64,
    pub(super) focus: Focus,
    pub(super) step: StepChoice,
    pub(super) log: LogPlace,
    /// Lines of output that fit, when it was last drawn.
    pub(super) log_page: usize,
    pub(super) problem: usize,
    pub(super) prompt: Option<Prompt>,
    /// Begin a build as soon as the text is on disk.
    pub(super) build_when_saved: Option<Cached>,
    pub(super) leave_when_saved: bool,
    /// A container that was started here and is to be selected among the others.
    pub(super) started: Option<String>,
    pub(super) now: Timestamp,
}

/// Whether a build may take results from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cached {
    #[default]
    Yes,
    No,
}

impl Workbench {
    /// A workbench that opens `first`, or else looks for Dockerfiles below `home`.
    pub fn new(home: &Path, first: Option<PathBuf>) -> Self {
        Self { home: home.to_owned(), first, ..Self::default() }
    }

    /// The document, once one is open.
    pub fn document(&self) -> Option<&Document> {
        self.document.as_ref()
    }

    /// The build of it, once there was one.
    pub fn build(&self) -> Option<&Build> {
        self.build.as_ref()
    }

    /// What the image is called.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Calls the image something else.
    pub fn set_tag(&mut self, tag: &str) {
        self.tag = tag.trim().to_owned();
    }

    /// Which pane has the keys.
    pub fn focus(&self) -> Focus {
        self.focus
    }

    /// What is typed below the screen, if anything.
    pub fn prompt(&self) -> Option<&Prompt> {
        self.prompt.as_ref()
    }

    /// The offer of Dockerfiles, while it is open.
    pub fn chooser(&self) -> Option<&Chooser> {
        self.chooser.as_ref()
    }

    /// Whether something on it changes with time: a build's clock, a spinner.
    pub fn is_animated(&self) -> bool {
        self.build.as_ref().is_some_and(Build::is_running)
    }

    /// Whether keys that are no command are text.
    pub fn takes_text(&self) -> bool {
        self.prompt.is_some() || self.chooser.is_some() || (self.focus == Focus::Editor && self.document.is_some())
    }

    /// The place of the step whose output is shown.
    pub fn shown_step(&self) -> Option<usize> {
        let steps = &self.build.as_ref()?.steps;
        match self.step {
            StepChoice::Current => steps.current(),
            StepChoice::At(place) => Some(place).filter(|place| *place < steps.all().len()),
        }
    }

    /// The first line of output shown when `height` lines fit, and whether it follows the end.
    pub fn log_window(&self, lines: usize, height: usize) -> (usize, bool) {
        let last = lines.saturating_sub(height);
        match self.log {
            LogPlace::End => (last, true),
            LogPlace::From(first) => (first.min(last), false),
        }
    }

    /// The first step shown when `height` rows fit: the selected one is in sight.
    pub fn first_step(&self, height: usize) -> usize {
        let count = self.build.as_ref().map_or(0, |build| build.steps.all().len());
        let shown = self.shown_step().unwrap_or(0);
        shown.saturating_sub(height.saturating_sub(2)).min(count.saturating_sub(height))
    }

    /// The first finding shown when `height` rows fit.
    pub fn first_problem(&self, height: usize) -> usize {
        let count = self.document.as_ref().map_or(0, |document| document.parsed().diagnostics.len());
        self.problem.saturating_sub(height.saturating_sub(1)).min(count.saturating_sub(height))
    }

    /// Told before each drawing: the editor's inner size, and how many lines of output fit.
    pub fn fit(&mut self, editor: (usize, usize), log_height: usize) {
        if let Some(document) = &mut self.document {
            document.follow_cursor(editor.0, editor.1);
        }
        self.log_page = log_height;
    }
}

/// The image name proposed for a Dockerfile: its folder's name, in the letters a reference may have.
pub fn proposed_tag(dockerfile: &Path) -> String {
    let folder = dockerfile.parent().and_then(|folder| folder.canonicalize().ok());
    let name = folder.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().to_lowercase());
    let name: String =
        name.unwrap_or_default().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    match name.trim_matches('-') {
        "" => "app:dev".to_owned(),
        name => format!("{name}:dev"),
    }
}
