//! A build as its steps: what BuildKit's four messages add up to.
//!
//! A step keeps its place from the moment it is first told, so the list never jumps. Its output is kept bounded; the end of
//! it is what explains a failure, so old lines go first.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::buildkit::{TraceUpdate, Vertex, VertexLog, VertexStatus};
use crate::dockerfile::LineRange;

/// Lines kept of one step's output.
const LOG_LINES: usize = 10_000;
/// Longest line kept; the rest of a longer one is dropped.
const LOG_LINE_BYTES: usize = 8 * 1024;

/// What the builder does for its own purposes is told once it takes longer than this.
const A_WHILE: Duration = Duration::from_millis(300);

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// Its turn has not come.
    Waiting,
    /// Work on it began then.
    Running { since: Timestamp },
    /// Its result was there already.
    Cached,
    /// It ended well after so long.
    Done { took: Duration },
    /// It ended badly after so long.
    Failed { took: Duration, why: String },
    /// The build ended before it did.
    Cancelled,
}

impl StepState {
    fn of(vertex: &Vertex) -> Self {
        let took = |end: Timestamp| vertex.started.map_or(Duration::ZERO, |start| between(start, end));
        match (vertex.started, vertex.completed) {
            (_, Some(end)) if !vertex.error.is_empty() => Self::Failed { took: took(end), why: vertex.error.clone() },
            (_, Some(_)) if vertex.cached => Self::Cached,
            (_, Some(end)) => Self::Done { took: took(end) },
            (Some(since), None) => Self::Running { since },
            (None, None) => Self::Waiting,
        }
    }

    /// Whether it can still change.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Waiting | Self::Running { .. })
    }
}

fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}

/// One step of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    digest: String,
    /// Which stage it belongs to, like `build 2/4`; empty for the builder's own steps.
    pub stage: String,
    /// The instruction, or what the builder does.
    pub title: String,
    /// The Dockerfile's lines it stands for.
    pub lines: Option<LineRange>,
    /// How far it is.
    pub state: StepState,
    /// Its parts under way, such as a pull's layers, in the order they began.
    pub parts: Vec<VertexStatus>,
    /// Why its result was not taken from the cache.
    pub why: Option<String>,
    /// What it printed.
    pub log: StepLog,
    /// What its layer adds to the image, in bytes; known when the build is done.
    pub size: Option<u64>,
}

impl Step {
    fn new(vertex: &Vertex) -> Self {
        let (stage, title) = split_name(&vertex.name);
        Self {
            digest: vertex.digest.clone(),
            stage: stage.to_owned(),
            // An instruction over several lines is told on one, without its indentation.
            title: title.split_whitespace().collect::<Vec<_>>().join(" "),
            lines: vertex.lines,
            state: StepState::of(vertex),
            parts: Vec::new(),
            why: None,
            log: StepLog::default(),
            size: None,
        }
    }

    /// How long it took, or has taken up to `now`.
    pub fn took(&self, now: Timestamp) -> Option<Duration> {
        match &self.state {
            StepState::Running { since } => Some(between(*since, now)),
            StepState::Done { took } | StepState::Failed { took, .. } => Some(*took),
            StepState::Waiting | StepState::Cached | StepState::Cancelled => None,
        }
    }

    /// Bytes done and to do over all its parts, where any tells.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let known = self.parts.iter().filter(|part| part.total > 0);
        let (done, total) = known.fold((0, 0), |(done, total), part| {
            let whole = u64::try_from(part.total).unwrap_or(0);
            let so_far = u64::try_from(part.current).unwrap_or(0).min(whole);
            (done + if part.completed.is_some() { whole } else { so_far }, total + whole)
        });
        (total > 0).then_some((done, total))
    }
}

/// `[build 2/4] RUN make` as `build 2/4` and `RUN make`.
fn split_name(name: &str) -> (&str, &str) {
    name.strip_prefix('[').and_then(|rest| rest.split_once("] ")).unwrap_or(("", name))
}

/// What a step printed, by lines; the newest are kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepLog {
    lines: VecDeque<Vec<u8>>,
    /// Lines that had to go.
    dropped: usize,
    is_line_open: bool,
}

impl StepLog {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match piece.strip_suffix(b"\n") {
                Some(text) => (text.strip_suffix(b"\r").unwrap_or(text), true),
                None => (piece, false),
            };
            if !self.is_line_open {
                self.begin_line();
            }
            if let Some(line) = self.lines.back_mut() {
                // A progress bar goes back to the line's start and writes it anew: the last writing counts.
                match text.iter().rposition(|byte| *byte == b'\r') {
                    Some(start) => *line = text.get(start + 1..).unwrap_or_default().to_vec(),
                    None => line.extend_from_slice(text),
                }
                line.truncate(LOG_LINE_BYTES);
            }
            self.is_line_open = !is_whole;
        }
    }

    fn begin_line(&mut self) {
        if self.lines.len() == LOG_LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(Vec::new());
    }

    /// How many lines are kept.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many lines went to make room.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Up to `count` lines from `start`.
    pub fn window(&self, start: usize, count: usize) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().skip(start).take(count).map(Vec::as_slice)
    }
}

/// How many steps are how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All that are known so far.
    pub all: usize,
    /// Those that ended well, cached ones among them.
    pub done: usize,
    /// Those whose result was there already.
    pub cached: usize,
}

/// The steps of one build: its instructions, and apart from them what the builder does for its own purposes, like loading
/// the context and writing the image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Steps {
    steps: Vec<Step>,
    inner: Vec<Step>,
    places: HashMap<String, Place>,
}

/// Where a step is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Listed(usize),
    Inner(usize),
}

/// Whether it stands for no instruction. Only Boxyard's engine tells lines; BuildKit numbers instructions, as in
/// `[build 2/4]`.
fn is_inner(vertex: &Vertex) -> bool {
    let (stage, _) = split_name(&vertex.name);
    let number = stage.rsplit(' ').next().and_then(|last| last.split_once('/'));
    let is_numbered = number.is_some_and(|(at, of)| at.parse::<usize>().is_ok() && of.parse::<usize>().is_ok());
    vertex.lines.is_none() && !is_numbered
}

impl Steps {
    /// Takes in what changed.
    pub fn apply(&mut self, update: &TraceUpdate) {
        for vertex in &update.vertexes {
            self.apply_vertex(vertex);
        }
        for status in &update.statuses {
            self.apply_status(status);
        }
        for log in &update.logs {
            self.apply_log(log);
        }
    }

    fn apply_vertex(&mut self, vertex: &Vertex) {
        match self.step_mut(&vertex.digest) {
            Some(step) => {
                step.state = StepState::of(vertex);
                if vertex.lines.is_some() {
                    step.lines = vertex.lines;
                }
            }
            None => {
                let place = if is_inner(vertex) {
                    self.inner.push(Step::new(vertex));
                    Place::Inner(self.inner.len() - 1)
                } else {
                    self.steps.push(Step::new(vertex));
                    Place::Listed(self.steps.len() - 1)
                };
                self.places.insert(vertex.digest.clone(), place);
            }
        }
    }

    fn apply_status(&mut self, status: &VertexStatus) {
        let Some(step) = self.step_mut(&status.vertex) else { return };
        if let Some(why) = status.miss() {
            step.why = Some(why.to_owned());
        }
        match step.parts.iter_mut().find(|part| part.id == status.id) {
            Some(part) => *part = status.clone(),
            None => step.parts.push(status.clone()),
        }
    }

    fn apply_log(&mut self, log: &VertexLog) {
        if let Some(step) = self.step_mut(&log.vertex) {
            step.log.push(&log.msg);
        }
    }

    fn step_mut(&mut self, digest: &str) -> Option<&mut Step> {
        match *self.places.get(digest)? {
            Place::Listed(at) => self.steps.get_mut(at),
            Place::Inner(at) => self.inner.get_mut(at),
        }
    }

    /// The build is over: what did not end now never will.
    pub fn close(&mut self) {
        for step in self.steps.iter_mut().chain(&mut self.inner).filter(|step| step.state.is_open()) {
            step.state = StepState::Cancelled;
        }
    }

    /// Notes what each layer adds, from the image's history (oldest first): what made it, and bytes. A step is found by
    /// its instruction; the history tells `RUN` as what the shell was given, and no flags. The image's own stage is the last,
    /// so the steps are looked up from the end: others are in no history.
    pub fn set_sizes(&mut self, created_by: &[(String, u64)]) {
        let mut history = created_by.iter().rev();
        for step in self.steps.iter_mut().rev() {
            let words = step.title.split(' ').skip(1).skip_while(|word| word.starts_with("--"));
            let words = words.collect::<Vec<_>>().join(" ");
            if words.is_empty() {
                continue;
            }
            let mut rest = history.clone();
            let made = rest.find(|(made, _)| made.split_whitespace().collect::<Vec<_>>().join(" ").contains(&words));
            if let Some((_, size)) = made {
                step.size = Some(*size);
                history = rest;
            }
        }
    }

    /// What the builder does beside the instructions, where that is worth a word at `now`: what failed, else what has been
    /// under way for a while.
    pub fn aside(&self, now: Timestamp) -> Option<&Step> {
        let failed = self.inner.iter().find(|step| matches!(step.state, StepState::Failed { .. }));
        let is_long = |step: &&Step| match &step.state {
            StepState::Running { since } => self.steps.is_empty() || between(*since, now) >= A_WHILE,
            _ => false,
        };
        failed.or_else(|| self.inner.iter().rfind(is_long))
    }

    /// The instructions in the order they were first told.
    pub fn all(&self) -> &[Step] {
        &self.steps
    }

    /// The step at a place in the list.
    pub fn get(&self, place: usize) -> Option<&Step> {
        self.steps.get(place)
    }

    /// The place of the step that stands for a line of the Dockerfile (from 1); of several, the one that matters most.
    pub fn at_line(&self, line: usize) -> Option<usize> {
        let of_line = self.steps.iter().enumerate().filter(|(_, step)| step.lines.is_some_and(|l| l.contains(line)));
        of_line.max_by_key(|(_, step)| urgency(&step.state)).map(|(place, _)| place)
    }

    /// The place of the first step that failed.
    pub fn failed(&self) -> Option<usize> {
        self.steps.iter().position(|step| matches!(step.state, StepState::Failed { .. }))
    }

    /// The place of the step to look at: the one that failed, else the last that began; in the end the last that printed.
    pub fn current(&self) -> Option<usize> {
        let running = || self.steps.iter().rposition(|step| matches!(step.state, StepState::Running { .. }));
        let told = || self.steps.iter().rposition(|step| !step.log.is_empty());
        let ended = || self.steps.iter().rposition(|step| !step.state.is_open());
        self.failed().or_else(running).or_else(told).or_else(ended)
    }

    /// How many steps are how far.
    pub fn counts(&self) -> Counts {
        let ended_well = |step: &&Step| matches!(step.state, StepState::Cached | StepState::Done { .. });
        Counts {
            all: self.steps.len(),
            done: self.steps.iter().filter(ended_well).count(),
            cached: self.steps.iter().filter(|step| step.state == StepState::Cached).count(),
        }
    }
}

/// Of several steps on one line (a heredoc's, or a stage used twice) the gutter shows the most urgent.
fn urgency(state: &StepState) -> u8 {
    match state {
        StepState::Failed { .. } => 5,
        StepState::Running { .. } => 4,
        StepState::Cancelled => 3,
        StepState::Done { .. } => 2,
        StepState::Cached => 1,
        StepState::Waiting => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(second).unwrap())
    }

    fn vertex(digest: &str, name: &str, line: usize) -> Vertex {
        Vertex {
            digest: digest.into(),
            name: name.into(),
            lines: Some(LineRange { first: line, last: line }),
            ..Vertex::default()
        }
    }

    fn told(steps: &mut Steps, vertexes: Vec<Vertex>) {
        steps.apply(&TraceUpdate { vertexes, ..TraceUpdate::default() });
    }

    #[test]
    fn a_step_runs_and_ends_in_its_place() {
        let mut steps = Steps::default();
        told(&mut steps, vec![vertex("a", "[1/2] FROM debian", 1), vertex("b", "[2/2] RUN make", 2)]);
        told(&mut steps, vec![Vertex { started: at(10), ..vertex("b", "[2/2] RUN make", 2) }]);
        assert_eq!(steps.current(), Some(1));
        assert_eq!(steps.get(1).unwrap().took(at(13).unwrap()), Some(Duration::from_secs(3)));

        told(
            &mut steps,
            vec![
                Vertex { started: at(10), completed: at(10), cached: true, ..vertex("a", "", 1) },
                Vertex { started: at(10), completed: at(15), ..vertex("b", "", 2) },
            ],
        );
        assert_eq!(steps.counts(), Counts { all: 2, done: 2, cached: 1 });
        let titles: Vec<_> = steps.all().iter().map(|step| (step.stage.as_str(), step.title.as_str())).collect();
        assert_eq!(titles, [("1/2", "FROM debian"), ("2/2", "RUN make")]);
        assert_eq!(steps.get(1).unwrap().state, StepState::Done { took: Duration::from_secs(5) });
    }

    #[test]
    fn the_failed_step_is_the_one_to_look_at() {
        let mut steps = Steps::default();
        told(
            &mut steps,
            vec![
                Vertex {
                    started: at(1),
                    completed: at(2),
                    error: "exit code: 1".into(),
                    ..vertex("a", "RUN false", 4)
                },
                Vertex { started: at(1), ..vertex("b", "RUN sleep", 5) },
            ],
        );
        assert_eq!((steps.failed(), steps.current(), steps.at_line(4)), (Some(0), Some(0), Some(0)));
        steps.close();
        assert_eq!(steps.get(1).unwrap().state, StepState::Cancelled);
    }

    #[test]
    fn output_is_kept_by_lines_with_progress_bars_rewritten() {
        let mut log = StepLog::default();
        log.push(b"one\r\ntw");
        log.push(b"o\n 10%\r 50%\r100%\nend");
        let lines: Vec<_> = log.window(0, 9).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        assert_eq!(lines, ["one", "two", "100%", "end"]);
    }

    #[test]
    fn old_output_makes_room() {
        let mut log = StepLog::default();
        for number in 0..LOG_LINES + 5 {
            log.push(format!("{number}\n").as_bytes());
        }
        assert_eq!((log.len(), log.dropped()), (LOG_LINES, 5));
        assert_eq!(log.window(0, 1).next(), Some(&b"5"[..]));
    }

    #[test]
    fn inner_work_is_no_layer_but_told_when_it_takes_long_or_fails() {
        let inner = |digest: &str, name: &str| Vertex { digest: digest.into(), name: name.into(), ..Vertex::default() };
        let mut steps = Steps::default();
        let loading = inner("c", "[internal] load build context");
        told(&mut steps, vec![Vertex { started: at(1), ..loading.clone() }]);
        assert_eq!(steps.aside(at(1).unwrap()).unwrap().title, "load build context", "there is nothing else to tell");
        told(&mut steps, vec![vertex("a", "[1/1] FROM debian", 1), inner("b", "[linux/amd64 build 2/4] RUN x")]);
        assert_eq!(steps.counts().all, 2, "BuildKit tells no lines, but numbers");
        assert_eq!(steps.aside(at(1).unwrap()), None);
        assert!(steps.aside(at(2).unwrap()).is_some());
        let failed = Vertex { started: at(1), completed: at(2), error: "disk full".into(), ..loading };
        told(&mut steps, vec![failed, Vertex { started: at(1), ..inner("e", "exporting to image") }]);
        assert_eq!(steps.aside(at(9).unwrap()).unwrap().title, "load build context");
        steps.close();
        assert_eq!((steps.counts().all, steps.failed()), (2, None));
    }

    #[test]
    fn sizes_are_those_of_the_last_stage() {
        let mut steps = Steps::default();
        let names = ["[a 1/2] FROM x", "[a 2/2] COPY . /src", "[b 1/2] FROM y", "[b 2/2] COPY --from=a --link . /src"];
        told(&mut steps, (1..).zip(names).map(|(line, name)| vertex(name, name, line)).collect());
        steps.set_sizes(&[(String::new(), 99), ("COPY . /src # buildkit".to_owned(), 7)]);
        let sizes: Vec<_> = steps.all().iter().map(|step| step.size).collect();
        assert_eq!(sizes, [None, None, None, Some(7)]);
    }

    #[test]
    fn parts_add_up_to_progress() {
        let mut steps = Steps::default();
        told(&mut steps, vec![vertex("a", "FROM debian", 1)]);
        let part = |id: &str, current, total| VertexStatus {
            id: id.into(),
            vertex: "a".into(),
            current,
            total,
            ..Default::default()
        };
        steps.apply(&TraceUpdate { statuses: vec![part("x", 10, 100), part("y", 0, 50)], ..TraceUpdate::default() });
        steps.apply(&TraceUpdate { statuses: vec![part("x", 60, 100)], ..TraceUpdate::default() });
        assert_eq!(steps.get(0).unwrap().progress(), Some((60, 150)));
    }
}
