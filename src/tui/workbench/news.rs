//! What news from outside does to the workbench: files read and written, and a build's progress and end.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::build::{Build, Outcome};
use super::chooser::Chooser;
use super::document::Document;
use super::model::{Focus, LogPlace, StepChoice, Workbench, proposed_tag};
use super::steps::Step;
use super::update::{BuildFailure, Request, Requests, TEMPLATE, WorkbenchEvent, complaint};
use crate::dockerfile::ignore::IgnoreRules;

/// A failure in a line: the output and the whole reason of a failed step stand in the panes.
fn in_short(why: &str, failed: Option<&Step>) -> String {
    let lines = failed.and_then(|step| step.lines);
    let code = why.rsplit_once(" did not complete successfully: ").map(|(_, code)| code);
    match (lines, code) {
        (Some(lines), Some(code)) => format!("line {}: {code}", lines.first),
        _ => why.to_owned(),
    }
}

impl Workbench {
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
                let why = in_short(&why, build.steps.failed().and_then(|place| build.steps.get(place)));
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
