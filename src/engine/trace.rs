//! Where the time of a start goes: `BOXYARD_TRACE=start` has every start told stage by stage.
//!
//! Three processes take part: the engine, the shim, and the container's first process. Each notes when a stage of its
//! own ended, by the one clock that all processes share, and hands its notes on with what it says anyway: the first
//! process in a packet before it is ready and before its program, the shim in its answers. Switched off, which is
//! decided once when an engine opens, a mark is one look at an empty option.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The variable that switches traces on.
pub const VARIABLE: &str = "BOXYARD_TRACE";

/// Whether `value` of [`VARIABLE`] asks for the stages of starts; several things may be asked for, with commas between.
pub fn wants_starts(value: &str) -> bool {
    value.split(',').any(|word| word.trim() == "start")
}

/// The moment a stage ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whose stage: `engine`, `shim` or `init`.
    pub who: Cow<'static, str>,
    /// What was done.
    pub stage: Cow<'static, str>,
    /// When, in microseconds of the monotonic clock.
    pub at: u64,
}

/// The marks of one process's part in a start; nothing at all where traces are off.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Part>);

#[derive(Debug, Clone)]
struct Part {
    who: &'static str,
    marks: Vec<Mark>,
}

impl Trace {
    /// The part of `who`, noted only if `is_on`.
    pub fn new(who: &'static str, is_on: bool) -> Self {
        Self(is_on.then(|| Part { who, marks: Vec::new() }))
    }

    /// Whether anything is noted.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Notes that `stage` ended now.
    pub fn mark(&mut self, stage: &'static str) {
        if self.is_on() {
            self.mark_at(stage, now());
        }
    }

    /// Notes that `stage` ended at a moment of [`now`].
    pub fn mark_at(&mut self, stage: &'static str, at: u64) {
        if let Some(part) = &mut self.0 {
            part.marks.push(Mark { who: part.who.into(), stage: stage.into(), at });
        }
    }

    /// Takes in what another process noted.
    pub fn take_in(&mut self, marks: impl IntoIterator<Item = Mark>) {
        if let Some(part) = &mut self.0 {
            part.marks.extend(marks);
        }
    }

    /// Hands over what was noted so far and goes on with nothing.
    pub fn hand_over(&mut self) -> Vec<Mark> {
        self.0.as_mut().map(|part| std::mem::take(&mut part.marks)).unwrap_or_default()
    }
}

/// All marks in the order of their moments, each with how long its stage took: since the same process's mark before, or
/// for a process's first one since the last mark of whoever started it.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(part) = &self.0 else { return Ok(()) };
        let mut marks: Vec<&Mark> = part.marks.iter().collect();
        marks.sort_by_key(|mark| mark.at);
        let begin = marks.first().map_or(0, |mark| mark.at);
        write!(f, "{:>9} {:>9}  {:<7} stage (microseconds)", "at", "took", "who")?;
        for (index, mark) in marks.iter().enumerate() {
            let before = marks.get(..index).unwrap_or_default();
            let last = before.iter().rev().find(|other| other.who == mark.who).or(before.last());
            let took = last.map_or(0, |last| mark.at - last.at);
            write!(f, "\n{:>9} {took:>9}  {:<7} {}", mark.at - begin, mark.who, mark.stage)?;
        }
        Ok(())
    }
}

/// The monotonic clock in microseconds.
pub fn now() -> u64 {
    // The clock is always there.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|now| Duration::from(now).as_micros())
        .ok()
        .and_then(|micros| u64::try_from(micros).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_three_processes_in_one_table() {
        let mark = |who: &'static str, stage: &'static str, at| Mark { who: who.into(), stage: stage.into(), at };
        let mut trace = Trace::new("engine", true);
        trace.take_in([mark("engine", "begun", 100), mark("engine", "spawned", 400), mark("engine", "started", 900)]);
        trace.take_in([mark("shim", "exec", 600), mark("shim", "cloned", 650)]);
        let expected = "       at      took  who     stage (microseconds)
        0         0  engine  begun
      300       300  engine  spawned
      500       200  shim    exec
      550        50  shim    cloned
      800       500  engine  started";
        assert_eq!(trace.to_string(), expected);
    }

    #[test]
    fn off_it_notes_nothing() {
        let mut trace = Trace::new("engine", false);
        trace.mark("begun");
        assert_eq!((trace.hand_over(), trace.to_string()), (Vec::new(), String::new()));
    }

    #[test]
    fn starts_are_one_word_of_several() {
        assert!(wants_starts("start") && wants_starts("net, start"));
        assert!(!wants_starts("") && !wants_starts("starting"));
    }
}
