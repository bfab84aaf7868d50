//! The plain display: BuildKit's numbered lines, for logs and pipes.
//!
//! Steps that run side by side take turns: one is told until it ends or falls silent, so that the output of two is never
//! mixed line by line. Where a step is left before its end, `#5 ...` says so, and its head is told again when it goes on.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::steps::{News, Steps, since};
use crate::buildkit::VertexStatus;
use crate::cli::words::size;

/// After so long without a line another step is told.
const SILENCE: Duration = Duration::from_secs(2);
/// So long another step waits for one that is never silent.
const PATIENCE: Duration = Duration::from_secs(10);
/// A part's progress is told again after so much of it, or so many seconds.
const STRIDE: f64 = 0.05;
const STRIDE_SECONDS: f64 = 5.0;

/// The plain display.
pub struct Plain<W> {
    out: W,
    numbers: BTreeMap<usize, usize>,
    waiting: BTreeMap<usize, Waiting>,
    told: BTreeMap<(usize, String), VertexStatus>,
    current: Option<usize>,
    last: Instant,
    is_first: bool,
}

/// What of a step is not told yet.
struct Waiting {
    since: Instant,
    lines: Vec<String>,
    has_ended: bool,
}

impl<W: Write> Plain<W> {
    /// A display on `out`.
    pub fn new(out: W, now: Instant) -> Self {
        Self {
            out,
            numbers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            told: BTreeMap::new(),
            current: None,
            last: now,
            is_first: true,
        }
    }

    /// Tells what is new, as far as it is its turn.
    ///
    /// # Errors
    /// The output's refusal.
    pub fn tell(&mut self, news: Vec<News>, steps: &Steps, now: Instant) -> io::Result<()> {
        for news in news {
            self.note(news, steps, now);
        }
        self.turn(steps, now)
    }

    /// Gives waiting steps their turn.
    ///
    /// # Errors
    /// The output's refusal.
    pub fn turn(&mut self, steps: &Steps, now: Instant) -> io::Result<()> {
        while let Some(step) = self.next(now) {
            self.print(step, steps, now)?;
        }
        self.out.flush()
    }

    /// Tells all that waits.
    ///
    /// # Errors
    /// The output's refusal.
    pub fn finish(&mut self, steps: &Steps, now: Instant) -> io::Result<()> {
        self.turn(steps, now)?;
        while let Some((&step, _)) = self.waiting.first_key_value() {
            self.print(step, steps, now)?;
        }
        self.out.flush()
    }

    fn note(&mut self, news: News, steps: &Steps, now: Instant) {
        let (step, line, has_ended) = match news {
            News::Began(step) => (step, None, false),
            News::Line(step, line) => (step, Some(format!("{} {}", clock(line.at), line.text)), false),
            News::Warning(step, warning) => (step, Some(format!("WARN: {}", warning.short)), false),
            News::Ended(step) => (step, steps.get(step).map(super::steps::Step::outcome), true),
            News::Status(step, status) => {
                let key = (step, status.id.clone());
                if self.told.get(&key).is_some_and(|told| !is_worth_telling(told, &status)) {
                    return;
                }
                let line = status_line(&status);
                self.told.insert(key, status);
                (step, Some(line), false)
            }
        };
        let waiting =
            self.waiting.entry(step).or_insert_with(|| Waiting { since: now, lines: Vec::new(), has_ended: false });
        waiting.lines.extend(line);
        waiting.has_ended |= has_ended;
    }

    /// Whose turn it is.
    fn next(&self, now: Instant) -> Option<usize> {
        let others = self.waiting.iter().filter(|(step, _)| Some(**step) != self.current);
        // Those that have ended first: they are told whole and done with.
        let first = others.min_by_key(|(step, waiting)| (!waiting.has_ended, waiting.since, **step));
        let Some(current) = self.current else { return first.map(|(step, _)| *step) };
        let is_overdue = |waiting: &Waiting| now.duration_since(waiting.since) >= PATIENCE;
        let is_silent = now.duration_since(self.last) >= SILENCE;
        match (self.waiting.contains_key(&current), first) {
            (true, Some((&step, waiting))) if is_overdue(waiting) => Some(step),
            (true, _) => Some(current),
            (false, Some((&step, waiting))) if is_silent || is_overdue(waiting) => Some(step),
            (false, _) => None,
        }
    }

    fn print(&mut self, step: usize, steps: &Steps, now: Instant) -> io::Result<()> {
        let Some(waiting) = self.waiting.remove(&step) else { return Ok(()) };
        let free = self.numbers.len() + 1;
        let number = *self.numbers.entry(step).or_insert(free);
        if self.current != Some(step) {
            if let Some(left) = self.current.and_then(|left| self.numbers.get(&left)) {
                writeln!(self.out, "#{left} ...")?;
            }
            if !std::mem::take(&mut self.is_first) {
                writeln!(self.out)?;
            }
            let name = steps.get(step).map(|step| step.vertex.name.as_str()).unwrap_or_default();
            writeln!(self.out, "#{number} {name}")?;
        }
        for line in &waiting.lines {
            writeln!(self.out, "#{number} {line}")?;
        }
        self.current = (!waiting.has_ended).then_some(step);
        self.last = now;
        Ok(())
    }
}

/// Seconds with four digits, as BuildKit writes them: `0.123`, `12.34`.
pub fn clock(seconds: f64) -> String {
    let digits = match seconds {
        ..10.0 => 3,
        ..100.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    format!("{seconds:.digits$}")
}

fn is_worth_telling(told: &VertexStatus, now: &VertexStatus) -> bool {
    #[allow(clippy::cast_precision_loss)] // a share, told in steps of a twentieth
    let share = if now.total > 0 { (now.current - told.current) as f64 / now.total as f64 } else { 0.0 };
    let has_ended = now.completed.is_some() && told.completed.is_none();
    has_ended || now.name != told.name || share >= STRIDE || since(told.timestamp, now.timestamp) >= STRIDE_SECONDS
}

fn status_line(status: &VertexStatus) -> String {
    let name = if status.name.is_empty() { &status.id } else { &status.name };
    // The reason of a miss is a statement, not work that could be done.
    if name.starts_with("cache miss") {
        return name.clone();
    }
    let bytes = match (status.current, status.total) {
        (0, 0) => String::new(),
        (current, 0) => format!(" {}", size(current, 4)),
        (current, total) => format!(" {} / {}", size(current, 4), size(total, 4)),
    };
    let seconds = since(status.started, status.completed.or(status.timestamp));
    let time = if seconds > 0.01 { format!(" {seconds:.1}s") } else { String::new() };
    format!("{name}{bytes}{time}{}", if status.completed.is_some() { " done" } else { "" })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::buildkit::{TraceUpdate, Vertex, VertexLog, VertexWarning};

    fn time(ms: i64) -> Option<Timestamp> {
        Timestamp::from_millisecond(ms).ok()
    }

    fn vertex(digest: &str, started: i64, completed: Option<i64>) -> TraceUpdate {
        let vertex = Vertex {
            digest: digest.into(),
            name: format!("[{digest} 1/2] RUN {digest}"),
            started: time(started),
            completed: completed.and_then(time),
            ..Vertex::default()
        };
        TraceUpdate { vertexes: vec![vertex], ..TraceUpdate::default() }
    }

    fn log(digest: &str, ms: i64, text: &str) -> TraceUpdate {
        let log = VertexLog { vertex: digest.into(), timestamp: time(ms), stream: 1, msg: text.into() };
        TraceUpdate { logs: vec![log], ..TraceUpdate::default() }
    }

    /// Plays updates, each after so many milliseconds, and gives what was told.
    fn play(updates: Vec<(u64, TraceUpdate)>) -> String {
        let start = Instant::now();
        let mut steps = Steps::default();
        let mut plain = Plain::new(Vec::new(), start);
        let mut now = start;
        for (ms, update) in updates {
            now = start + Duration::from_millis(ms);
            let news = steps.apply(update);
            plain.tell(news, &steps, now).unwrap();
        }
        plain.finish(&steps, now).unwrap();
        String::from_utf8(plain.out).unwrap()
    }

    #[test]
    fn one_step_after_the_other() {
        let mut cached = vertex("b", 900, Some(900));
        cached.vertexes[0].cached = true;
        let mut failed = vertex("c", 1000, Some(1300));
        failed.vertexes[0].error = "exit code: 1".into();
        let warning = VertexWarning { vertex: "c".into(), short: "Rule: words (line 1)".into(), ..Default::default() };
        let warned = TraceUpdate { warnings: vec![warning], ..TraceUpdate::default() };
        let updates = vec![
            (0, vertex("a", 0, None)),
            (1, log("a", 123, "hello\n")),
            (2, vertex("a", 0, Some(300))),
            (3, cached),
            (4, vertex("c", 1000, None)),
            (4, warned),
            (5, failed),
        ];
        let expected = "#1 [a 1/2] RUN a\n#1 0.123 hello\n#1 DONE 0.3s\n\n#2 [b 1/2] RUN b\n#2 CACHED\n\n\
            #3 [c 1/2] RUN c\n#3 WARN: Rule: words (line 1)\n#3 ERROR: exit code: 1\n";
        assert_eq!(play(updates), expected);
    }

    #[test]
    fn steps_side_by_side_take_turns() {
        let updates = vec![
            (0, vertex("a", 0, None)),
            (0, vertex("b", 0, None)),
            (100, log("a", 100, "a1\n")),
            (100, log("b", 100, "b1\n")),
            (200, log("a", 200, "a2\n")),
            // a is silent for two seconds, so b is told.
            (2300, log("b", 2300, "b2\n")),
            (2400, vertex("b", 0, Some(2400))),
            (2500, log("a", 2500, "a3\n")),
            (2600, vertex("a", 0, Some(2600))),
        ];
        let expected = "#1 [a 1/2] RUN a\n#1 0.100 a1\n#1 0.200 a2\n#1 ...\n\n#2 [b 1/2] RUN b\n#2 0.100 b1\n\
            #2 2.300 b2\n#2 DONE 2.4s\n\n#1 [a 1/2] RUN a\n#1 2.500 a3\n#1 DONE 2.6s\n";
        assert_eq!(play(updates), expected);
    }

    #[test]
    fn nobody_talks_for_ever() {
        let updates = vec![
            (0, vertex("a", 0, None)),
            (1000, vertex("b", 0, Some(1000))),
            (9000, log("a", 9000, "still\n")),
            (11_000, log("a", 11_000, "more\n")),
            (11_500, vertex("a", 0, Some(11_500))),
        ];
        let expected = "#1 [a 1/2] RUN a\n#1 9.000 still\n#1 ...\n\n#2 [b 1/2] RUN b\n#2 DONE 1.0s\n\n\
            #1 [a 1/2] RUN a\n#1 11.00 more\n#1 DONE 11.5s\n";
        assert_eq!(play(updates), expected);
    }

    #[test]
    fn progress_of_a_part_is_told_in_strides() {
        let status = |current: i64, completed: Option<i64>| {
            let status = VertexStatus {
                id: "layer".into(),
                vertex: "a".into(),
                name: "extracting".into(),
                current,
                total: 1_000_000,
                timestamp: time(100),
                started: time(0),
                completed: completed.and_then(time),
            };
            TraceUpdate { statuses: vec![status], ..TraceUpdate::default() }
        };
        let updates = vec![
            (0, vertex("a", 0, None)),
            (1, status(0, None)),
            (1, status(10_000, None)),
            (2, status(500_000, None)),
            (3, status(1_000_000, Some(300))),
        ];
        let expected = "#1 [a 1/2] RUN a\n#1 extracting 0B / 1MB 0.1s\n#1 extracting 500kB / 1MB 0.1s\n\
            #1 extracting 1MB / 1MB 0.3s done\n";
        assert_eq!(play(updates), expected);
    }

    #[test]
    fn the_clock_has_four_digits() {
        assert_eq!([0.0, 9.9994, 12.345, 123.45, 1234.5].map(clock), ["0.000", "9.999", "12.35", "123.5", "1234"]);
    }
}
