//! One build as the workbench sees it: which text was built, its steps, how it ended.

use std::time::Duration;

use jiff::Timestamp;

use super::steps::{StepState, Steps};
use crate::dockerfile::{LineRange, Parsed};

/// How a build stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way.
    Running,
    /// It made this image.
    Succeeded { image: String, took: Duration },
    /// It ended for this reason.
    Failed { why: String, took: Duration },
    /// The user ended it.
    Cancelled { took: Duration },
}

/// What an instruction said when it was built, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BuiltInstruction {
    text: String,
    lines: LineRange,
}

/// A build.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// Its number on this screen.
    pub number: u64,
    /// What its image is to be called.
    pub tag: String,
    /// When it began.
    pub started: Timestamp,
    /// Its steps.
    pub steps: Steps,
    /// How it stands.
    pub outcome: Outcome,
    instructions: Vec<BuiltInstruction>,
}

impl Build {
    /// A build of the text that `parsed` was read from, beginning now.
    pub fn new(number: u64, tag: &str, parsed: &Parsed, now: Timestamp) -> Self {
        Self {
            number,
            tag: tag.to_owned(),
            started: now,
            steps: Steps::default(),
            outcome: Outcome::Running,
            instructions: instructions(parsed),
        }
    }

    /// Whether it is under way.
    pub fn is_running(&self) -> bool {
        self.outcome == Outcome::Running
    }

    /// How long it took, or has taken up to `now`.
    pub fn took(&self, now: Timestamp) -> Duration {
        match &self.outcome {
            Outcome::Running => Duration::try_from(now.duration_since(self.started)).unwrap_or_default(),
            Outcome::Succeeded { took, .. } | Outcome::Failed { took, .. } | Outcome::Cancelled { took } => *took,
        }
    }

    /// Ends it.
    pub fn end(&mut self, outcome: Outcome) {
        self.steps.close();
        self.outcome = outcome;
    }

    /// For each line of the text as it is now: the state of its step in this build, on the first line of an instruction.
    /// Everything from the first changed instruction on has none: the next build makes it anew.
    pub fn gutter(&self, parsed: &Parsed) -> Vec<(usize, &StepState)> {
        let unchanged = self.unchanged(parsed);
        let places = unchanged.filter_map(|(built, line)| Some((line, self.steps.at_line(built)?)));
        places.filter_map(|(line, place)| Some((line, &self.steps.get(place)?.state))).collect()
    }

    /// The line now (from 1) of an instruction that stood at `line` when it was built; `None` once it was changed.
    pub fn line_now(&self, line: usize, parsed: &Parsed) -> Option<usize> {
        let index = self.instructions.iter().position(|instruction| instruction.lines.contains(line))?;
        let now = parsed.file.instructions.get(index)?;
        (now.text == self.instructions.get(index)?.text).then_some(now.lines.first)
    }

    /// The place of the step that an instruction at `line` (from 1, now) became.
    pub fn step_at_line(&self, line: usize, parsed: &Parsed) -> Option<usize> {
        let index = parsed.file.instructions.iter().position(|instruction| instruction.lines.contains(line))?;
        let (built, _) = self.unchanged(parsed).nth(index)?;
        self.steps.at_line(built)
    }

    /// First lines, then and now, of the instructions up to the first one that was changed.
    fn unchanged<'a>(&'a self, parsed: &'a Parsed) -> impl Iterator<Item = (usize, usize)> + 'a {
        let pairs = self.instructions.iter().zip(&parsed.file.instructions);
        pairs.take_while(|(built, now)| built.text == now.text).map(|(built, now)| (built.lines.first, now.lines.first))
    }
}

fn instructions(parsed: &Parsed) -> Vec<BuiltInstruction> {
    let instructions = parsed.file.instructions.iter();
    instructions.map(|it| BuiltInstruction { text: it.text.clone(), lines: it.lines }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::{TraceUpdate, Vertex};
    use crate::dockerfile::parse;

    fn built(text: &str, lines: &[usize]) -> Build {
        let now = Timestamp::from_second(100).unwrap();
        let mut build = Build::new(1, "app", &parse(text), now);
        let vertexes = lines.iter().map(|line| Vertex {
            digest: line.to_string(),
            started: Some(now),
            completed: Some(now),
            lines: Some(LineRange { first: *line, last: *line }),
            ..Vertex::default()
        });
        build.steps.apply(&TraceUpdate { vertexes: vertexes.collect(), ..TraceUpdate::default() });
        build
    }

    #[test]
    fn marks_stay_up_to_the_first_change_and_move_with_their_lines() {
        let build = built("FROM a\nRUN b\nRUN c\n", &[1, 2, 3]);
        let lines = |text: &str| build.gutter(&parse(text)).iter().map(|(line, _)| *line).collect::<Vec<_>>();
        assert_eq!(lines("FROM a\nRUN b\nRUN c\n"), [1, 2, 3]);
        assert_eq!(lines("# a remark\n\nFROM a\nRUN b\nRUN c\n"), [3, 4, 5]);
        assert_eq!(lines("FROM a\nRUN B\nRUN c\n"), [1]);
    }

    #[test]
    fn a_failed_line_is_found_again_after_editing_above() {
        let build = built("FROM a\nRUN b\n", &[1, 2]);
        assert_eq!(build.line_now(2, &parse("# remark\nFROM a\nRUN b\n")), Some(3));
        assert_eq!(build.line_now(2, &parse("FROM a\nRUN other\n")), None);
    }
}
