//! What commands, keys and news do to the workbench. Pure: what must be done outside comes back as requests.

use std::path::PathBuf;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use ratatui_textarea::CursorMove;

use super::build::{Build, Outcome};
use super::chooser::{Choice, Chooser};
use super::document::{Document, Edit, Movement, Selecting};
use super::model::{Cached, Focus, LogPlace, Prompt, StepChoice, Workbench, proposed_tag};
use crate::buildkit::TraceUpdate;
use crate::dockerfile::ignore::IgnoreRules;

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

type Requests = Vec<Request>;

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

    fn save(&self) -> Requests {
        match &self.document {
            Some(document) => {
                let (path, text) = (document.path().to_owned(), document.text());
                vec![Request::Do(WorkbenchEffect::Save { path, text })]
            }
            None => Vec::new(),
        }
    }

    fn start_build(&mut self, cached: Cached) -> Requests {
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

    fn edit(&mut self, edit: Edit) {
        if let Some(document) = &mut self.document {
            document.edit(edit);
        }
    }

    /// Whether a key that is no command means something to what has the keys.
    pub fn wants(&self, key: &KeyEvent) -> bool {
        if self.prompt.is_some() || self.chooser.is_some() {
            return true;
        }
        match self.focus {
            Focus::Editor => self.document.is_some() && edit_of(key).is_some(),
            Focus::Problems | Focus::Steps | Focus::Log => matches!(
                key.code,
                KeyCode::Up
                    | KeyCode::Down
                    | KeyCode::PageUp
                    | KeyCode::PageDown
                    | KeyCode::Home
                    | KeyCode::End
                    | KeyCode::Enter
                    | KeyCode::Char('j' | 'k' | 'g' | 'G' | 'f' | 'd' | 'u')
            ),
        }
    }

    /// A key that is no command: text for what has the keys, or a movement in it.
    pub fn key(&mut self, key: &KeyEvent) -> Requests {
        if self.prompt.is_some() {
            return self.prompt_key(key);
        }
        if self.chooser.is_some() {
            return self.chooser_key(key);
        }
        match self.focus {
            Focus::Editor => return self.editor_key(key),
            Focus::Problems => self.problems_key(key),
            Focus::Steps => self.steps_key(key),
            Focus::Log => self.log_key(key),
        }
        Vec::new()
    }

    /// Text from the clipboard.
    pub fn paste(&mut self, text: &str) {
        match (&mut self.prompt, &mut self.chooser) {
            (Some(Prompt::Tag { text: typed }), _) => typed.push_str(text.lines().next().unwrap_or_default()),
            (Some(Prompt::Unsaved), _) => {}
            (None, Some(chooser)) => text.lines().next().unwrap_or_default().chars().for_each(|c| chooser.type_char(c)),
            (None, None) => self.edit(Edit::Paste(text.to_owned())),
        }
    }

    fn prompt_key(&mut self, key: &KeyEvent) -> Requests {
        match (self.prompt.take(), key.code) {
            (Some(Prompt::Tag { text }), KeyCode::Enter) => self.set_tag(&text),
            (Some(Prompt::Tag { mut text }), KeyCode::Char(c)) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                text.push(c);
                self.prompt = Some(Prompt::Tag { text });
            }
            (Some(Prompt::Tag { mut text }), KeyCode::Backspace) => {
                text.pop();
                self.prompt = Some(Prompt::Tag { text });
            }
            (Some(Prompt::Unsaved), KeyCode::Char('s' | 'y') | KeyCode::Enter) => {
                self.leave_when_saved = true;
                return self.save();
            }
            (Some(Prompt::Unsaved), KeyCode::Char('d' | 'n')) => {
                self.document = None;
                return vec![Request::Leave];
            }
            (_, KeyCode::Esc) => {}
            (prompt, _) => self.prompt = prompt,
        }
        Vec::new()
    }

    fn chooser_key(&mut self, key: &KeyEvent) -> Requests {
        let Some(chooser) = &mut self.chooser else { return Vec::new() };
        match key.code {
            KeyCode::Esc => {
                self.chooser = None;
                if self.document.is_none() {
                    return vec![Request::Leave];
                }
            }
            KeyCode::Enter => {
                if let Some(Choice::Open(path) | Choice::Create(path)) = chooser.choice() {
                    return vec![Request::Do(WorkbenchEffect::Open(path))];
                }
            }
            KeyCode::Up => chooser.step(-1),
            KeyCode::Down => chooser.step(1),
            KeyCode::Backspace => chooser.erase(),
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => chooser.type_char(c),
            _ => {}
        }
        Vec::new()
    }

    fn editor_key(&mut self, key: &KeyEvent) -> Requests {
        let Some(edit) = edit_of(key) else { return Vec::new() };
        let copies = matches!(edit, Edit::Copy | Edit::Cut);
        self.edit(edit);
        match &self.document {
            Some(document) if copies && !document.yanked().is_empty() => vec![Request::Copy(document.yanked())],
            _ => Vec::new(),
        }
    }

    fn problems_key(&mut self, key: &KeyEvent) {
        let Some(document) = &mut self.document else { return };
        let count = document.parsed().diagnostics.len();
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.problem = self.problem.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.problem = (self.problem + 1).min(count.saturating_sub(1)),
            KeyCode::Enter => {
                if let Some(line) = document.parsed().diagnostics.get(self.problem).map(|it| it.lines.first) {
                    document.go_to_line(line);
                    self.focus = Focus::Editor;
                }
            }
            _ => {}
        }
    }

    fn steps_key(&mut self, key: &KeyEvent) {
        let count = self.build.as_ref().map_or(0, |build| build.steps.all().len());
        let last = count.saturating_sub(1);
        let here = self.shown_step().unwrap_or(0);
        let place = match key.code {
            KeyCode::Up | KeyCode::Char('k') => here.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => (here + 1).min(last),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            KeyCode::Enter => {
                self.focus = Focus::Log;
                return;
            }
            KeyCode::Char('f') => {
                self.step = StepChoice::Current;
                return;
            }
            _ => return,
        };
        (self.step, self.log) = (StepChoice::At(place), LogPlace::End);
    }

    fn log_key(&mut self, key: &KeyEvent) {
        let is_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let page = isize::try_from(self.log_page.max(1)).unwrap_or(1);
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.scroll_log(-1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_log(1),
            KeyCode::PageUp => self.scroll_log(-page),
            KeyCode::PageDown => self.scroll_log(page),
            KeyCode::Char('u') if is_ctrl => self.scroll_log(-page / 2),
            KeyCode::Char('d') if is_ctrl => self.scroll_log(page / 2),
            KeyCode::Home | KeyCode::Char('g') => self.log = LogPlace::From(0),
            KeyCode::End | KeyCode::Char('G' | 'f') => self.log = LogPlace::End,
            _ => {}
        }
    }

    /// Scrolls the output; reaching its end follows it again.
    pub fn scroll_log(&mut self, by: isize) {
        let Some(step) = self.shown_step().and_then(|place| self.build.as_ref()?.steps.get(place)) else { return };
        let lines = step.log.len();
        let (first, _) = self.log_window(lines, self.log_page);
        let next = first.saturating_add_signed(by);
        self.log = if next >= lines.saturating_sub(self.log_page) { LogPlace::End } else { LogPlace::From(next) };
    }

    /// Puts the cursor on a place of the text, as a click does: `row` and `column` from the editor's corner.
    pub fn click_text(&mut self, row: usize, column: usize) {
        self.focus = Focus::Editor;
        if let Some(document) = &mut self.document {
            let (top, left) = document.scroll();
            let row = top + row;
            let line = document.lines().get(row).map(String::as_str).unwrap_or_default();
            let column = super::document::character_at(line, left + column);
            document.edit(Edit::Move(Movement::To((row, column)), Selecting::No));
        }
    }

    /// Selects a step, as a click on a row of the `height` shown does.
    pub fn click_step(&mut self, row: usize, height: usize) {
        self.focus = Focus::Steps;
        let place = self.first_step(height) + row;
        if self.build.as_ref().is_some_and(|build| place < build.steps.all().len()) {
            (self.step, self.log) = (StepChoice::At(place), LogPlace::End);
        }
    }

    /// Selects a finding, as a click on a row of the `height` shown does.
    pub fn click_problem(&mut self, row: usize, height: usize) {
        let count = self.document.as_ref().map_or(0, |document| document.parsed().diagnostics.len());
        self.problem = (self.first_problem(height) + row).min(count.saturating_sub(1));
        self.focus = Focus::Problems;
    }

    /// Moves the cursor by lines, as the wheel does.
    pub fn scroll_text(&mut self, by: isize) {
        if let Some(document) = &mut self.document {
            let (row, column) = document.cursor();
            document.edit(Edit::Move(Movement::To((row.saturating_add_signed(by), column)), Selecting::No));
        }
    }

    /// The time now; told before each batch of events.
    pub fn tick(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Takes in news.
    pub fn event(&mut self, event: WorkbenchEvent) -> Requests {
        match event {
            WorkbenchEvent::Found(found) => {
                if let Some(chooser) = &mut self.chooser {
                    *chooser = Chooser::new(&self.home, found);
                }
                Vec::new()
            }
            WorkbenchEvent::Opened { path, content: Ok(content) } => {
                self.show_document(path, content);
                Vec::new()
            }
            WorkbenchEvent::Opened { path, content: Err(why) } => {
                vec![complaint(&format!("{} was not opened", path.display()), &why)]
            }
            WorkbenchEvent::Ignore { path, text } => {
                if let Some(document) = self.document.as_mut().filter(|open| open.path() == path) {
                    // Which of its lines is wrong the builder says; here it only means that nothing is known.
                    document.set_ignore(text.and_then(|text| IgnoreRules::parse(&text).ok()));
                }
                Vec::new()
            }
            WorkbenchEvent::Saved { text, result } => self.saved(text, result),
            WorkbenchEvent::Progress { build, update } => {
                if let Some(build) = self.build_numbered(build) {
                    build.steps.apply(&update);
                }
                Vec::new()
            }
            WorkbenchEvent::Ended { build, result, took } => self.ended(build, result, took),
            WorkbenchEvent::Sizes { build, created_by } => {
                if let Some(build) = self.build_numbered(build) {
                    build.steps.set_sizes(&created_by);
                }
                Vec::new()
            }
            WorkbenchEvent::Ran(Ok((id, name))) => {
                vec![Request::Say(format!("{name} runs")), Request::ShowContainer(id)]
            }
            WorkbenchEvent::Ran(Err(why)) => vec![complaint(&format!("{} was not run", self.tag), &why)],
        }
    }

    fn build_numbered(&mut self, number: u64) -> Option<&mut Build> {
        self.build.as_mut().filter(|build| build.number == number)
    }

    fn show_document(&mut self, path: PathBuf, content: Option<String>) {
        self.chooser = None;
        if self.document.as_ref().is_none_or(|open| open.path() != path) {
            self.tag = proposed_tag(&path);
            self.build = None;
        }
        self.document = Some(Document::new(&path, content.as_deref(), TEMPLATE));
        self.focus = Focus::Editor;
    }

    fn saved(&mut self, text: String, result: Result<(), String>) -> Requests {
        let build = self.build_when_saved.take();
        let is_leaving = std::mem::take(&mut self.leave_when_saved);
        let Some(document) = &mut self.document else { return Vec::new() };
        let name = document.path().display().to_string();
        if let Err(why) = result {
            return vec![complaint(&format!("{name} was not saved"), &why)];
        }
        document.mark_saved(text);
        match build {
            Some(cached) => self.start_build(cached),
            None if is_leaving => vec![Request::Say(format!("{name} saved")), Request::Leave],
            None => vec![Request::Say(format!("{name} saved"))],
        }
    }

    fn ended(&mut self, number: u64, result: Result<String, BuildFailure>, took: Option<Duration>) -> Requests {
        let now = self.now;
        let Some(build) = self.build_numbered(number).filter(|build| build.is_running()) else { return Vec::new() };
        let took = took.unwrap_or_else(|| build.took(now));
        let tag = build.tag.clone();
        let outcome = match result {
            Ok(image) => Outcome::Succeeded { image, took },
            Err(BuildFailure::Cancelled) => Outcome::Cancelled { took },
            Err(BuildFailure::Refused(why)) => Outcome::Failed { why, took },
        };
        build.end(outcome.clone());
        match outcome {
            Outcome::Succeeded { .. } => vec![Request::Say(format!("{tag} built; f6 runs it"))],
            Outcome::Failed { why, .. } => {
                self.go_to_failed_line();
                vec![complaint(&format!("{tag} was not built"), &why)]
            }
            Outcome::Cancelled { .. } | Outcome::Running => vec![Request::Say(format!("build of {tag} cancelled"))],
        }
    }

    fn go_to_failed_line(&mut self) {
        self.step = StepChoice::Current;
        self.log = LogPlace::End;
        let (Some(document), Some(build)) = (&mut self.document, &self.build) else { return };
        let failed = build.steps.failed().and_then(|place| build.steps.get(place)).and_then(|step| step.lines);
        if let Some(line) = failed.and_then(|lines| build.line_now(lines.first, document.parsed())) {
            document.go_to_line(line);
        }
    }
}

fn complaint(what: &str, why: &str) -> Request {
    Request::Complain { what: what.to_owned(), why: why.to_owned() }
}

/// What a new Dockerfile begins with.
const TEMPLATE: &str = include_str!("../../../assets/templates/Dockerfile");

/// What a key does to the text.
fn edit_of(key: &KeyEvent) -> Option<Edit> {
    let has = |modifier| key.modifiers.contains(modifier);
    let (is_ctrl, is_alt) = (has(KeyModifiers::CONTROL), has(KeyModifiers::ALT));
    let selecting = if has(KeyModifiers::SHIFT) { Selecting::Yes } else { Selecting::No };
    let go = |movement| Some(Edit::Move(Movement::Cursor(movement), selecting));
    match key.code {
        KeyCode::Char(c) if is_ctrl => match c.to_ascii_lowercase() {
            'z' => Some(Edit::Undo),
            'y' => Some(Edit::Redo),
            'x' => Some(Edit::Cut),
            'c' => Some(Edit::Copy),
            'v' => Some(Edit::PasteYanked),
            'a' => Some(Edit::SelectAll),
            'w' => Some(Edit::DeleteWordBack),
            'd' => Some(Edit::Move(Movement::HalfPageDown, Selecting::No)),
            'u' => Some(Edit::Move(Movement::HalfPageUp, Selecting::No)),
            _ => None,
        },
        KeyCode::Char(c) if !is_alt => Some(Edit::Insert(c)),
        KeyCode::Enter => Some(Edit::NewLine),
        KeyCode::Tab => Some(Edit::Indent),
        KeyCode::Backspace if is_ctrl || is_alt => Some(Edit::DeleteWordBack),
        KeyCode::Backspace => Some(Edit::DeleteBack),
        KeyCode::Delete if has(KeyModifiers::SHIFT) => Some(Edit::DeleteLine),
        KeyCode::Delete => Some(Edit::DeleteForward),
        KeyCode::Left if is_ctrl => go(CursorMove::WordBack),
        KeyCode::Right if is_ctrl => go(CursorMove::WordForward),
        KeyCode::Left => go(CursorMove::Back),
        KeyCode::Right => go(CursorMove::Forward),
        KeyCode::Up => go(CursorMove::Up),
        KeyCode::Down => go(CursorMove::Down),
        KeyCode::Home if is_ctrl => go(CursorMove::Top),
        KeyCode::End if is_ctrl => go(CursorMove::Bottom),
        KeyCode::Home => go(CursorMove::Head),
        KeyCode::End => go(CursorMove::End),
        KeyCode::PageUp => Some(Edit::Move(Movement::PageUp, selecting)),
        KeyCode::PageDown => Some(Edit::Move(Movement::PageDown, selecting)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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
