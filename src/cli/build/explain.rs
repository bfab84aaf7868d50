//! `build --explain`: for every step whether the cache had it, and if not, which of its inputs differed.

use std::collections::HashMap;
use std::time::Duration;

use super::super::table::{Format, Table, column};
use super::super::words::ellipsis;
use crate::buildkit::{TraceUpdate, Vertex};

/// Gathers a build's trace into a table of its steps.
#[derive(Debug, Default)]
pub struct Explanation {
    steps: Vec<Step>,
    places: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Step {
    name: String,
    outcome: Outcome,
    took: Duration,
    why: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    #[default]
    NotRun,
    Cached,
    Done,
    Failed,
}

impl Explanation {
    /// Takes in what changed.
    pub fn take(&mut self, update: &TraceUpdate) {
        // What has no line in the Dockerfile (loading the context, say) is no step.
        for vertex in update.vertexes.iter().filter(|vertex| vertex.lines.is_some()) {
            let next = self.steps.len();
            let at = *self.places.entry(vertex.digest.clone()).or_insert(next);
            if at == next {
                self.steps.push(Step { name: vertex.name.clone(), ..Step::default() });
            }
            let Some(step) = self.steps.get_mut(at) else { continue };
            step.outcome = Outcome::of(vertex);
            if let (Some(from), Some(to)) = (vertex.started, vertex.completed) {
                step.took = Duration::try_from(to.duration_since(from)).unwrap_or_default();
            }
        }
        for status in &update.statuses {
            let step = self.places.get(&status.vertex).and_then(|at| self.steps.get_mut(*at));
            if let (Some(step), Some(why)) = (step, status.miss()) {
                step.why = Some(why.to_owned());
            }
        }
    }

    /// The table: a row for each step, in the order of the Dockerfile.
    pub fn table(&self) -> String {
        let columns = [column("Cache", "CACHE"), column("Time", "TIME"), column("Step", "STEP"), column("Why", "WHY")];
        let mut table = Table::new(&columns);
        for step in &self.steps {
            let is_base = step.name.split_once("] ").is_some_and(|(_, text)| text.starts_with("FROM "));
            let (word, why) = match step.outcome {
                Outcome::Cached => ("hit", ""),
                Outcome::NotRun => ("-", "not reached"),
                Outcome::Done | Outcome::Failed if is_base => ("base", ""),
                Outcome::Failed => ("failed", "not built before"),
                Outcome::Done => ("miss", "not built before"),
            };
            let why = if step.outcome == Outcome::Cached { "" } else { step.why.as_deref().unwrap_or(why) };
            let took = if step.took >= Duration::from_millis(1) { format!("{:.1?}", step.took) } else { String::new() };
            table.row(vec![word.to_owned(), took, ellipsis(&step.name, 70), why.to_owned()]);
        }
        table.render(&Format::default(), "Step").unwrap_or_default()
    }
}

impl Outcome {
    fn of(vertex: &Vertex) -> Self {
        match vertex.completed {
            None => Outcome::NotRun,
            Some(_) if !vertex.error.is_empty() => Outcome::Failed,
            Some(_) if vertex.cached => Outcome::Cached,
            Some(_) => Outcome::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::buildkit::{MISS, VertexStatus};
    use crate::dockerfile::LineRange;

    #[test]
    fn every_step_has_its_row() {
        let at = |millis| Timestamp::from_millisecond(millis).ok();
        let vertex = |digest: &str, name: &str, ended: Option<i64>, cached: bool| Vertex {
            digest: digest.to_owned(),
            name: name.to_owned(),
            started: at(0),
            completed: ended.and_then(at),
            cached,
            lines: Some(LineRange { first: 1, last: 1 }),
            ..Vertex::default()
        };
        let inner = Vertex { lines: None, ..vertex("x", "[internal] load build context", Some(1), false) };
        let mut explanation = Explanation::default();
        explanation.take(&TraceUpdate {
            vertexes: vec![
                inner,
                vertex("a", "[1/5] FROM base", Some(0), false),
                vertex("b", "[2/5] RUN a", Some(0), true),
                vertex("c", "[3/5] COPY . /", Some(1500), false),
                vertex("d", "[4/5] RUN b", Some(20), false),
                vertex("e", "[5/5] RUN c", None, false),
            ],
            statuses: vec![VertexStatus {
                vertex: "c".into(),
                name: format!("{MISS}a.rs changed (content)"),
                ..VertexStatus::default()
            }],
            ..TraceUpdate::default()
        });
        let rows: Vec<String> =
            explanation.table().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            rows,
            [
                "CACHE TIME STEP WHY",
                "base [1/5] FROM base",
                "hit [2/5] RUN a",
                "miss 1.5s [3/5] COPY . / a.rs changed (content)",
                "miss 20.0ms [4/5] RUN b not built before",
                "- [5/5] RUN c not reached",
            ]
        );
    }
}
