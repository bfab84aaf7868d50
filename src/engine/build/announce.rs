//! What a build tells of itself before its first step: reading the context and the Dockerfile, what the checks say, and every
//! step as one that has not begun.

use jiff::Timestamp;

use super::graph::{Base, Graph};
use super::progress::{BuildFailure, BuildMessage};
use super::teller::Teller;
use super::under_way::Build;
use crate::buildkit::{Vertex, VertexStatus, VertexWarning};
use crate::dockerfile::{Parsed, rule};
use crate::engine::layer::Digest;

/// The digest of something in the build `id`.
pub(super) fn digest_in(id: &str, what: &str) -> String {
    Digest::of(format!("{id} {what}").as_bytes()).to_string()
}

/// Work of the builder's own, told as a step.
pub(super) struct Internal {
    teller: Teller,
    vertex: Vertex,
}

impl Internal {
    /// It begins. `what` names it within the build `id`, `name` for people.
    pub(super) fn begin(teller: &Teller, id: &str, what: &str, name: impl Into<String>) -> Self {
        let started = Some(Timestamp::now());
        let vertex = Vertex { digest: digest_in(id, what), name: name.into(), started, ..Vertex::default() };
        teller.tell(BuildMessage::Vertex(vertex.clone()));
        Self { teller: teller.clone(), vertex }
    }

    /// A part of it that is done, `started` a while ago.
    pub(super) fn part(&self, name: impl Into<String>, started: Option<Timestamp>) {
        let (name, now) = (name.into(), Some(Timestamp::now()));
        self.teller.tell(BuildMessage::Status(VertexStatus {
            id: name.clone(),
            vertex: self.vertex.digest.clone(),
            name,
            timestamp: now,
            started: started.or(now),
            completed: now,
            ..VertexStatus::default()
        }));
    }

    /// What the checks say of the Dockerfile.
    pub(super) fn warnings(&self, parsed: &Parsed) {
        for warning in parsed.warnings() {
            let rule = rule(warning.code);
            self.teller.tell(BuildMessage::Warning(VertexWarning {
                vertex: self.vertex.digest.clone(),
                level: 1,
                short: format!("{}: {} (line {})", warning.code, warning.message, warning.lines.first),
                detail: rule.map(|rule| rule.description.to_owned()).into_iter().collect(),
                url: rule.and_then(|rule| rule.url).unwrap_or_default().to_owned(),
                lines: Some(warning.lines),
            }));
        }
    }

    /// Something that is no finding in the Dockerfile.
    pub(super) fn warn(&self, short: String) {
        let vertex = self.vertex.digest.clone();
        self.teller.tell(BuildMessage::Warning(VertexWarning { vertex, level: 1, short, ..VertexWarning::default() }));
    }

    /// When it began.
    pub(super) fn started(&self) -> Option<Timestamp> {
        self.vertex.started
    }

    /// It has ended, well or not; passes the outcome on.
    pub(super) fn end<T, E: Into<BuildFailure>>(mut self, outcome: Result<T, E>) -> Result<T, BuildFailure> {
        let outcome: Result<T, BuildFailure> = outcome.map_err(Into::into);
        self.vertex.completed = Some(Timestamp::now());
        if let Err(failure) = &outcome {
            self.vertex.error = failure.in_buildkits_words();
        }
        self.teller.tell(BuildMessage::Vertex(self.vertex));
        outcome
    }
}

/// Tells what is going to be done: every step as one that has not begun.
pub(super) fn announce(build: &Build, graph: &Graph) {
    for (number, instruction) in build.file.preamble().iter().enumerate() {
        let text = format!("Step {}/{} : {}\n", number + 1, build.numbering.total, instruction.text);
        build.teller.tell_in_order(number, BuildMessage::Text(text));
        build.teller.end_of(number);
    }
    for node in &graph.nodes {
        for index in 0..node.steps(&build.file) {
            let mut vertex = build.vertex(node.index, index);
            if let (0, Base::Stage(below)) = (index, &node.base) {
                vertex.inputs.push(build.digest(&format!("{below}.0")));
            }
            build.teller.tell(BuildMessage::Vertex(vertex));
        }
    }
}

/// Bytes as BuildKit counts them, like `2.05kB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    #[allow(clippy::cast_precision_loss)] // shown with three digits
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes}{name}") } else { format!("{value:.2}{name}") }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn bytes_are_told_as_buildkit_does() {
        assert_eq!([0, 98, 2048, 1_500_000, 7_000_000_000].map(size), ["0B", "98B", "2.05kB", "1.50MB", "7.00GB"]);
    }
}
