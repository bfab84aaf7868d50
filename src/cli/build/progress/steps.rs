//! What a build has told so far, and what is new in each update: the displays are made of this.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;

use crate::buildkit::{TraceUpdate, Vertex, VertexLog, VertexStatus, VertexWarning};

/// So many last lines of a step are kept for the report of its failure.
const TAIL: usize = 30;

/// All steps, in the order they were first told.
#[derive(Debug, Default)]
pub struct Steps {
    steps: Vec<Step>,
    by_digest: HashMap<String, usize>,
    /// What the checks found.
    pub warnings: Vec<VertexWarning>,
}

/// One step.
#[derive(Debug, Default)]
pub struct Step {
    /// As it was told last.
    pub vertex: Vertex,
    /// The last lines of its output.
    pub tail: VecDeque<Line>,
    /// Parts of it that are under way, like the layers of a pull.
    pub statuses: Vec<VertexStatus>,
    /// The beginning of a line whose rest has not come, by stream.
    partial: [Vec<u8>; 2],
    latest: Option<Timestamp>,
}

/// A line of a step's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Seconds since the step began.
    pub at: f64,
    /// Without the newline.
    pub text: String,
}

/// Something new of the step with that number.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// It began.
    Began(usize),
    /// It wrote a line.
    Line(usize, Line),
    /// A part of it went on.
    Status(usize, VertexStatus),
    /// A check found something.
    Warning(usize, VertexWarning),
    /// It ended, well or not.
    Ended(usize),
}

impl Steps {
    /// The step with that number.
    pub fn get(&self, step: usize) -> Option<&Step> {
        self.steps.get(step)
    }

    /// All steps.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Step)> {
        self.steps.iter().enumerate()
    }

    /// The first step that failed (not one that was only given up).
    pub fn failed(&self) -> Option<&Step> {
        let mut failed = self.steps.iter().filter(|step| !step.vertex.error.is_empty());
        failed.clone().find(|step| !step.is_cancelled()).or_else(|| failed.next())
    }

    /// Takes an update in and tells what is new.
    pub fn apply(&mut self, update: TraceUpdate) -> Vec<News> {
        let mut news = Vec::new();
        let TraceUpdate { vertexes, statuses, logs, warnings } = update;
        // What ends a step comes last, even where one record carries both its output and its end.
        let (begun, ended): (Vec<_>, Vec<_>) = vertexes.into_iter().partition(|vertex| vertex.completed.is_none());
        for vertex in begun {
            self.vertex(vertex, &mut news);
        }
        for vertex in &ended {
            let started = Vertex { completed: None, error: String::new(), ..vertex.clone() };
            if !self.by_digest.get(&vertex.digest).and_then(|step| self.steps.get(*step)).is_some_and(Step::is_done) {
                self.vertex(started, &mut news);
            }
        }
        for status in statuses {
            let Some(&step) = self.by_digest.get(&status.vertex) else { continue };
            self.status(step, &status);
            news.push(News::Status(step, status));
        }
        for log in logs {
            let Some(&number) = self.by_digest.get(&log.vertex) else { continue };
            let Some(step) = self.steps.get_mut(number) else { continue };
            news.extend(step.wrote(&log).into_iter().map(|line| News::Line(number, line)));
        }
        for warning in warnings {
            if let Some(&step) = self.by_digest.get(&warning.vertex) {
                news.push(News::Warning(step, warning.clone()));
            }
            self.warnings.push(warning);
        }
        for vertex in ended {
            self.vertex(vertex, &mut news);
        }
        news
    }

    /// Ends what has not ended, at the end of a build that was broken off.
    pub fn give_up(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let now = Timestamp::now();
        for index in 0..self.steps.len() {
            let Some(step) = self.steps.get(index).filter(|step| step.is_running()) else { continue };
            let vertex = Vertex { completed: Some(now), error: CANCELLED.to_owned(), ..step.vertex.clone() };
            self.vertex(vertex, &mut news);
        }
        news
    }

    fn vertex(&mut self, vertex: Vertex, news: &mut Vec<News>) {
        let number = *self.by_digest.entry(vertex.digest.clone()).or_insert_with(|| {
            self.steps.push(Step::default());
            self.steps.len() - 1
        });
        let Some(step) = self.steps.get_mut(number) else { return };
        let (had_begun, was_done) = (step.vertex.started.is_some(), step.is_done());
        step.vertex = vertex;
        if step.vertex.started.is_some() && !had_begun {
            news.push(News::Began(number));
        }
        if step.is_done() && !was_done {
            news.extend(step.rest().into_iter().map(|line| News::Line(number, line)));
            news.push(News::Ended(number));
        }
    }

    fn status(&mut self, step: usize, status: &VertexStatus) {
        let Some(step) = self.steps.get_mut(step) else { return };
        match step.statuses.iter_mut().find(|known| known.id == status.id) {
            Some(known) => *known = status.clone(),
            None => step.statuses.push(status.clone()),
        }
    }
}

/// How BuildKit's error of a step ends that was given up.
const CANCELLED: &str = "context canceled";

impl Step {
    /// Whether it began and goes on.
    pub fn is_running(&self) -> bool {
        self.vertex.started.is_some() && !self.is_done()
    }

    /// Whether it ended.
    pub fn is_done(&self) -> bool {
        self.vertex.completed.is_some()
    }

    /// Whether it was given up because of another one, or of the person.
    pub fn is_cancelled(&self) -> bool {
        self.vertex.error.ends_with(CANCELLED) || self.vertex.error == "the build was cancelled"
    }

    /// How long it took, or has been under way at `now`, in seconds.
    pub fn seconds(&self, now: Timestamp) -> f64 {
        since(self.vertex.started, self.vertex.completed.or(Some(now)))
    }

    /// How it ended, in BuildKit's words.
    pub fn outcome(&self) -> String {
        match &self.vertex {
            _ if self.is_cancelled() => "CANCELED".to_owned(),
            vertex if !vertex.error.is_empty() => format!("ERROR: {}", vertex.error),
            vertex if vertex.cached => "CACHED".to_owned(),
            vertex => format!("DONE {:.1}s", since(vertex.started, vertex.completed)),
        }
    }

    fn wrote(&mut self, log: &VertexLog) -> Vec<Line> {
        self.latest = log.timestamp;
        let at = since(self.vertex.started, log.timestamp);
        let Some(partial) = self.partial.get_mut(usize::from(log.stream == 2)) else { return Vec::new() };
        let mut lines = Vec::new();
        for piece in log.msg.split_inclusive(|byte| *byte == b'\n') {
            partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                lines.push(Line { at, text: line_of(&std::mem::take(partial)) });
            }
        }
        self.keep(&lines);
        lines
    }

    /// Lines that never got their newline.
    fn rest(&mut self) -> Vec<Line> {
        let at = since(self.vertex.started, self.latest);
        let rest = self.partial.iter_mut().map(std::mem::take).filter(|partial| !partial.is_empty());
        let lines: Vec<Line> = rest.map(|partial| Line { at, text: line_of(&partial) }).collect();
        self.keep(&lines);
        lines
    }

    fn keep(&mut self, lines: &[Line]) {
        self.tail.extend(lines.iter().cloned());
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }
}

fn line_of(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes)).into_owned()
}

/// Seconds between two moments; 0 where one of them is unknown or clocks disagree.
pub fn since(start: Option<Timestamp>, end: Option<Timestamp>) -> f64 {
    start.zip(end).map_or(0.0, |(start, end)| end.duration_since(start).as_secs_f64().max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(ms: i64) -> Option<Timestamp> {
        Timestamp::from_millisecond(ms).ok()
    }

    fn log(stream: i64, ms: i64, text: &str) -> TraceUpdate {
        let log = VertexLog { vertex: "a".into(), timestamp: time(ms), stream, msg: text.into() };
        TraceUpdate { logs: vec![log], ..TraceUpdate::default() }
    }

    fn vertex(started: Option<Timestamp>, completed: Option<Timestamp>) -> TraceUpdate {
        let vertex = Vertex { digest: "a".into(), name: "[1/1] RUN x".into(), started, completed, ..Vertex::default() };
        TraceUpdate { vertexes: vec![vertex], ..TraceUpdate::default() }
    }

    fn line(at: f64, text: &str) -> News {
        News::Line(0, Line { at, text: text.to_owned() })
    }

    #[test]
    fn lines_come_whole_and_streams_do_not_mix() {
        let mut steps = Steps::default();
        assert_eq!(steps.apply(vertex(None, None)), []);
        assert_eq!(steps.apply(vertex(time(1000), None)), [News::Began(0)]);
        assert_eq!(steps.apply(log(1, 1100, "one\ntw")), [line(0.1, "one")]);
        assert_eq!(steps.apply(log(2, 1200, "err\r\n")), [line(0.2, "err")]);
        assert_eq!(steps.apply(log(1, 1300, "o\nrest")), [line(0.3, "two")]);
        assert_eq!(steps.apply(vertex(time(1000), time(1500))), [line(0.3, "rest"), News::Ended(0)]);
        assert_eq!(steps.get(0).unwrap().outcome(), "DONE 0.5s");
        assert_eq!(steps.apply(vertex(time(1000), time(1500))), []);
    }

    #[test]
    fn what_is_told_at_once_begins_before_it_ends() {
        let mut steps = Steps::default();
        let mut update = vertex(time(0), time(500));
        update.logs = log(1, 100, "x\n").logs;
        assert_eq!(steps.apply(update), [News::Began(0), line(0.1, "x"), News::Ended(0)]);
    }

    #[test]
    fn a_build_that_is_broken_off_ends_its_steps() {
        let mut steps = Steps::default();
        steps.apply(vertex(time(0), None));
        assert_eq!(steps.give_up(), [News::Ended(0)]);
        assert_eq!(steps.get(0).unwrap().outcome(), "CANCELED");
        assert_eq!(steps.give_up(), []);
    }
}
