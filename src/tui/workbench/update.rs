//! What commands, keys and news do to the workbench. Pure: what must be done outside comes back as requests.

use std::path::PathBuf;
use std::time::Duration;

use super::build::{Build, Outcome};
use super::chooser::Chooser;
use super::document::{Document, Edit};
use super::model::{Cached, Focus, LogPlace, Prompt, StepChoice, Workbench};
use crate::buildkit::TraceUpdate;

/// What the user can ask of the workbench by a key or by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Open,
    Save,
    Build(Cached),
    CancelBuild,
    RunImage,
    EditTag,
    NextPane,
    PreviousPane,
    Pane(Focus),
    NextProblem,
    PreviousProblem,
    ApplyFix,
    GoToStep,
    Undo,
    Redo,
    Leave,
}

/// News for the workbench.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkbenchEvent {
    /// Dockerfiles were looked for.
    Found(Vec<PathBuf>),
    /// A file was read; `None`: it does not exist yet.
    Opened { path: PathBuf, content: Result<Option<String>, String> },
    /// The ignore file of a context was read; `None`: it has none.
    Ignore { path: PathBuf, text: Option<String> },
    /// The text was written.
    Saved { text: String, result: Result<(), String> },
    /// A build went on.
    Progress { build: u64, update: Box<TraceUpdate> },
    /// A build ended: the image's ID, or why it failed; and how long it took, where that was measured.
    Ended { build: u64, result: Result<String, BuildFailure>, took: Option<Duration> },
    /// What each step of a finished build adds to the image: place in the list and bytes.
    Sizes { build: u64, created_by: Vec<(String, u64)> },
    /// The built image was started, as a container of this ID and name; or why not.
    Ran(Result<(String, String), String>),
}

/// Why a build did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFailure {
    /// The user ended it.
    Cancelled,
    /// The engine's words.
    Refused(String),
}

/// What the workbench wants done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkbenchEffect {
    /// Look for Dockerfiles below a folder.
    Find(PathBuf),
    /// Read a file.
    Open(PathBuf),
    /// Write a file whole.
    Save { path: PathBuf, text: String },
    /// Build the folder with the Dockerfile at `path` in it.
    Build { build: u64, path: PathBuf, tag: String, cached: Cached },
    /// End a build.
    Cancel { build: u64 },
    /// Run an image as a new container.
    Run { image: String },
}

/// What the workbench asks of the screen around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Do this.
    Do(WorkbenchEffect),
    /// Tell the user that something went well.
    Say(String),
    /// Tell the user that something went wrong: what, why, and what to do.
    Complain { what: String, why: String },
    /// Put this on the clipboard.
    Copy(String),
    /// Show the container of this ID among the others.
    ShowContainer(String),
    /// Go back to where the user came from.
    Leave,
}

pub(super) type Requests = Vec<Request>;

impl Workbench {
    /// Opens the screen: as it was left, or with the offer of Dockerfiles.
    pub fn enter(&mut self) -> Requests {
        match (&self.document, self.first.take()) {
            (Some(_), _) => Vec::new(),
            (None, Some(path)) => self.open(path),
            (None, None) => self.offer(),
        }
    }

    /// Opens a file at once.
    pub fn open(&mut self, path: PathBuf) -> Requests {
        vec![Request::Do(WorkbenchEffect::Open(path))]
    }

    fn offer(&mut self) -> Requests {
        self.chooser = Some(Chooser::new(&self.home, Vec::new()));
        vec![Request::Do(WorkbenchEffect::Find(self.home.clone()))]
    }

    /// Carries a command out.
    pub fn command(&mut self, command: Command) -> Requests {
        match command {
            Command::Open => return self.offer(),
            Command::Save => return self.save(),
            Command::Build(cached) => return self.start_build(cached),
            Command::CancelBuild => return self.cancel_build(),
            Command::RunImage => return self.run_image(),
            Command::EditTag => self.prompt = Some(Prompt::Tag { text: self.tag.clone() }),
            Command::NextPane => self.cycle_focus(1),
            Command::PreviousPane => self.cycle_focus(-1),
            Command::Pane(focus) => self.focus = focus,
            Command::NextProblem => self.go_to_problem(1),
            Command::PreviousProblem => self.go_to_problem(-1),
            Command::ApplyFix => self.apply_fix(),
            Command::GoToStep => self.go_to_step(),
            Command::Undo => self.edit(Edit::Undo),
            Command::Redo => self.edit(Edit::Redo),
            Command::Leave => return self.leave(),
        }
        Vec::new()
    }

    pub(super) fn save(&self) -> Requests {
        match &self.document {
            Some(document) => {
                let (path, text) = (document.path().to_owned(), document.text());
                vec![Request::Do(WorkbenchEffect::Save { path, text })]
            }
            None => Vec::new(),
        }
    }

    pub(super) fn start_build(&mut self, cached: Cached) -> Requests {
        let Some(document) = &self.document else { return self.offer() };
        if self.build.as_ref().is_some_and(Build::is_running) {
            return vec![complaint("not built again", "a build is under way; ctrl-k cancels it")];
        }
        if document.is_dirty() {
            self.build_when_saved = Some(cached);
            return self.save();
        }
        self.builds_begun += 1;
        let build = self.builds_begun;
        self.build = Some(Build::new(build, &self.tag, document.parsed(), self.now));
        (self.step, self.log) = (StepChoice::Current, LogPlace::End);
        let (path, tag) = (document.path().to_owned(), self.tag.clone());
        vec![Request::Do(WorkbenchEffect::Build { build, path, tag, cached })]
    }

    fn cancel_build(&self) -> Requests {
        match &self.build {
            Some(build) if build.is_running() => {
                vec![Request::Do(WorkbenchEffect::Cancel { build: build.number })]
            }
            _ => Vec::new(),
        }
    }

    fn run_image(&self) -> Requests {
        match self.build.as_ref().map(|build| &build.outcome) {
            Some(Outcome::Succeeded { image, .. }) => {
                // By its name where it has one: a container's row then shows what people know.
                let image = if self.tag.is_empty() { image.clone() } else { self.tag.clone() };
                vec![Request::Do(WorkbenchEffect::Run { image })]
            }
            Some(Outcome::Running) => vec![complaint("not run", "the build is under way")],
            _ => vec![complaint("nothing to run", "build it first: f5")],
        }
    }

    fn leave(&mut self) -> Requests {
        if self.document.as_ref().is_some_and(Document::is_dirty) {
            self.prompt = Some(Prompt::Unsaved);
            return Vec::new();
        }
        vec![Request::Leave]
    }

    fn cycle_focus(&mut self, by: isize) {
        let has_problems = self.document.as_ref().is_some_and(|document| !document.parsed().diagnostics.is_empty());
        let panes: Vec<Focus> = [
            (Focus::Editor, true),
            (Focus::Problems, has_problems),
            (Focus::Steps, self.build.is_some()),
            (Focus::Log, self.build.is_some()),
        ]
        .into_iter()
        .filter_map(|(focus, is_there)| is_there.then_some(focus))
        .collect();
        let here = panes.iter().position(|focus| *focus == self.focus).unwrap_or(0);
        let count = isize::try_from(panes.len()).unwrap_or(1);
        let next = isize::try_from(here).unwrap_or(0).saturating_add(by).rem_euclid(count);
        self.focus = usize::try_from(next).ok().and_then(|next| panes.get(next)).copied().unwrap_or_default();
    }

    fn go_to_problem(&mut self, by: isize) {
        let Some(document) = &mut self.document else { return };
        let line = document.cursor().0 + 1;
        let lines: Vec<usize> = document.parsed().diagnostics.iter().map(|finding| finding.lines.first).collect();
        let next = if by > 0 {
            lines.iter().copied().filter(|other| *other > line).min().or(lines.iter().copied().min())
        } else {
            lines.iter().copied().filter(|other| *other < line).max().or(lines.iter().copied().max())
        };
        if let Some(next) = next {
            document.go_to_line(next);
            self.problem = lines.iter().position(|other| *other == next).unwrap_or(0);
            self.focus = Focus::Editor;
        }
    }

    fn apply_fix(&mut self) {
        let Some(document) = &mut self.document else { return };
        let line = document.cursor().0 + 1;
        let findings = &document.parsed().diagnostics;
        let finding = match self.focus {
            Focus::Problems => findings.get(self.problem),
            _ => findings.iter().find(|it| it.lines.contains(line) && it.suggestion.is_some()),
        };
        if let Some(suggestion) = finding.and_then(|finding| finding.suggestion.clone()) {
            document.replace(suggestion.span, &suggestion.replacement);
            let left = document.parsed().diagnostics.len();
            self.problem = self.problem.min(left.saturating_sub(1));
            if left == 0 && self.focus == Focus::Problems {
                self.focus = Focus::Editor;
            }
        }
    }

    /// From a line to its step's output, or from a step to its line.
    fn go_to_step(&mut self) {
        let (Some(document), Some(build)) = (&mut self.document, &self.build) else { return };
        match self.focus {
            Focus::Editor | Focus::Problems => {
                if let Some(place) = build.step_at_line(document.cursor().0 + 1, document.parsed()) {
                    (self.step, self.log, self.focus) = (StepChoice::At(place), LogPlace::End, Focus::Log);
                }
            }
            Focus::Steps | Focus::Log => {
                let place = self.shown_step();
                let Some(build) = &self.build else { return };
                let lines = place.and_then(|place| build.steps.get(place)).and_then(|step| step.lines);
                let Some(document) = &mut self.document else { return };
                if let Some(line) = lines.and_then(|lines| build.line_now(lines.first, document.parsed())) {
                    document.go_to_line(line);
                    self.focus = Focus::Editor;
                }
            }
        }
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        if let Some(document) = &mut self.document {
            document.edit(edit);
        }
    }
}

pub(super) fn complaint(what: &str, why: &str) -> Request {
    Request::Complain { what: what.to_owned(), why: why.to_owned() }
}

/// What a new Dockerfile begins with.
pub(super) const TEMPLATE: &str = include_str!("../../../assets/templates/Dockerfile");

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use jiff::Timestamp;

    use super::*;
    use crate::buildkit::Vertex;
    use crate::dockerfile::LineRange;

    fn bench(text: &str) -> Workbench {
        let mut bench = Workbench::new("/srv/app".as_ref(), None);
        let content = Ok(Some(text.to_owned()));
        assert!(bench.event(WorkbenchEvent::Opened { path: "/srv/app/Dockerfile".into(), content }).is_empty());
        bench
    }

    fn press(bench: &mut Workbench, code: KeyCode) -> Requests {
        bench.key(&KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn building_saves_first() {
        let mut bench = bench("FROM a\n");
        press(&mut bench, KeyCode::Char('#'));
        let requests = bench.command(Command::Build(Cached::Yes));
        let [Request::Do(WorkbenchEffect::Save { text, .. })] = &requests[..] else { panic!("{requests:?}") };
        assert_eq!(text, "#FROM a\n");
        let requests = bench.event(WorkbenchEvent::Saved { text: text.clone(), result: Ok(()) });
        assert!(matches!(&requests[..], [Request::Do(WorkbenchEffect::Build { build: 1, .. })]), "{requests:?}");
        assert!(bench.is_animated());
    }

    #[test]
    fn a_failed_step_takes_the_cursor_to_its_line() {
        let mut bench = bench("FROM a\n\nRUN false\n");
        bench.command(Command::Build(Cached::Yes));
        let failed = Vertex {
            digest: "x".into(),
            lines: Some(LineRange { first: 3, last: 3 }),
            completed: Some(Timestamp::UNIX_EPOCH),
            error: "exit code: 1".into(),
            ..Vertex::default()
        };
        let update = Box::new(TraceUpdate { vertexes: vec![failed], ..TraceUpdate::default() });
        bench.event(WorkbenchEvent::Progress { build: 1, update });
        let result = Err(BuildFailure::Refused("it returned a non-zero code: 1".into()));
        let requests = bench.event(WorkbenchEvent::Ended { build: 1, result, took: None });
        assert!(matches!(&requests[..], [Request::Complain { why, .. }] if why.contains("non-zero code")));
        assert_eq!(bench.document().unwrap().cursor().0, 2);
        assert_eq!(bench.shown_step(), Some(0));
    }

    #[test]
    fn unsaved_work_is_asked_about() {
        let mut bench = bench("FROM a\n");
        press(&mut bench, KeyCode::Char('x'));
        assert!(bench.command(Command::Leave).is_empty());
        assert_eq!(bench.prompt(), Some(&Prompt::Unsaved));
        press(&mut bench, KeyCode::Esc);
        assert_eq!(bench.prompt(), None);
        bench.command(Command::Leave);
        assert_eq!(press(&mut bench, KeyCode::Char('d')), [Request::Leave]);
    }

    #[test]
    fn news_of_an_older_build_changes_nothing() {
        let mut bench = bench("FROM a\n");
        bench.command(Command::Build(Cached::Yes));
        let requests = bench.event(WorkbenchEvent::Ended { build: 7, result: Ok("x".into()), took: None });
        assert!(requests.is_empty() && bench.is_animated());
    }

    #[test]
    fn a_typo_is_put_right_by_one_key() {
        let mut bench = bench("FORM a\n");
        bench.command(Command::ApplyFix);
        assert_eq!(bench.document().unwrap().text(), "FROM a\n");
    }

    #[test]
    fn fixes_are_applied_from_the_list_of_problems() {
        let mut bench = bench("FROM a:1\nADD b /b\nEXPOSE 1/TCP\n");
        bench.command(Command::Pane(Focus::Problems));
        press(&mut bench, KeyCode::Down);
        bench.command(Command::ApplyFix);
        assert_eq!(bench.document().unwrap().text(), "FROM a:1\nADD b /b\nEXPOSE 1/tcp\n");
        bench.command(Command::ApplyFix);
        assert_eq!(bench.document().unwrap().text(), "FROM a:1\nCOPY b /b\nEXPOSE 1/tcp\n");
        assert_eq!(bench.focus, Focus::Editor, "nothing is left in the list");
    }
}
