//! What a running build tells: BuildKit's four messages, and the lines of the classic `docker build`.
//!
//! One build tells both, and the API picks by the client's `version`: [`BuildMessage::classic`] gives the JSON records of
//! version 1, [`BuildMessage::trace`] those of version 2 (`moby.buildkit.trace`).

use serde_json::{Value, json};

use crate::buildkit::{TRACE_ID, TraceUpdate, Vertex, VertexLog, VertexStatus, VertexWarning, encode_aux};
use crate::engine::image::Progress;
use crate::engine::{EngineError, ErrorKind};

/// One message of a build.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildMessage {
    /// A step began, ended or changed.
    Vertex(Vertex),
    /// Progress within a step.
    Status(VertexStatus),
    /// Output of a step.
    Log(VertexLog),
    /// A warning.
    Warning(VertexWarning),
    /// Text of the classic builder, newline included where it has one.
    Text(String),
    /// Progress of a base image's pull, for the classic builder's clients.
    Pull(Box<Progress>),
    /// The finished image's ID (`sha256:…`).
    Image(String),
    /// A record of our own, for clients of version 2.
    Aux {
        /// What it is.
        id: &'static str,
        /// Its content.
        aux: Value,
    },
    /// It failed. The last message. Where it is also the first, the API answers with the kind's status.
    Failed(BuildFailure),
}

/// Why a build ended without an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFailure {
    /// Which kind of refusal.
    pub kind: ErrorKind,
    /// Docker's words.
    pub message: String,
    /// The exit code of the RUN that failed, where one did.
    pub code: Option<i64>,
    /// Its command, and whether the kernel killed it for want of memory.
    pub command: Option<(String, bool)>,
}

impl From<EngineError> for BuildFailure {
    fn from(error: EngineError) -> Self {
        Self { kind: error.kind(), message: error.message().to_owned(), code: None, command: None }
    }
}

/// What stands behind the code of a command that the kernel killed.
const OUT_OF_MEMORY: &str = " (the kernel killed it for want of memory)";

impl BuildMessage {
    /// The record for a client of version 1 (the classic builder); `None` where it has none for this message.
    pub fn classic(&self) -> Option<Value> {
        match self {
            BuildMessage::Vertex(_)
            | BuildMessage::Status(_)
            | BuildMessage::Log(_)
            | BuildMessage::Warning(_)
            | BuildMessage::Aux { .. } => None,
            BuildMessage::Text(text) => Some(json!({ "stream": text })),
            BuildMessage::Pull(progress) => serde_json::to_value(progress).ok(),
            BuildMessage::Image(id) => Some(json!({ "aux": { "ID": id } })),
            BuildMessage::Failed(failure) => Some(failure.record(&failure.message)),
        }
    }

    /// The record for a client of version 2 (BuildKit's trace); `None` where it has none for this message.
    pub fn trace(&self) -> Option<Value> {
        let mut update = TraceUpdate::default();
        match self {
            BuildMessage::Vertex(vertex) => update.vertexes.push(vertex.clone()),
            BuildMessage::Status(status) => update.statuses.push(status.clone()),
            BuildMessage::Log(log) => update.logs.push(log.clone()),
            BuildMessage::Warning(warning) => update.warnings.push(warning.clone()),
            BuildMessage::Text(_) | BuildMessage::Pull(_) => return None,
            BuildMessage::Image(id) => return Some(json!({ "id": "moby.image.id", "aux": { "ID": id } })),
            BuildMessage::Aux { id, aux } => return Some(json!({ "id": id, "aux": aux })),
            BuildMessage::Failed(failure) => return Some(failure.record(&failure.in_buildkits_words())),
        }
        Some(json!({ "id": TRACE_ID, "aux": encode_aux(&update) }))
    }
}

impl BuildFailure {
    /// The build was cancelled; nobody is left to read it.
    pub(super) fn cancelled() -> Self {
        EngineError::new(ErrorKind::Unavailable, "the build was cancelled").into()
    }

    /// The same, with words about what was probably meant behind it.
    pub(super) fn followed_by(mut self, words: Option<String>) -> Self {
        if let Some(words) = words.filter(|_| !self.is_cancelled()) {
            self.message.push_str(&words);
        }
        self
    }

    /// Whether it ended because nobody wanted it any more.
    pub(super) fn is_cancelled(&self) -> bool {
        *self == Self::cancelled()
    }

    /// A RUN's `command` ended with `code`.
    pub(super) fn of_command(command: String, code: i64, was_out_of_memory: bool) -> Self {
        let why = if was_out_of_memory { OUT_OF_MEMORY } else { "" };
        let message = format!("The command '{command}' returned a non-zero code: {code}{why}");
        let command = Some((command, was_out_of_memory));
        Self { kind: ErrorKind::System, message, code: Some(code), command }
    }

    /// As BuildKit says it.
    pub(super) fn in_buildkits_words(&self) -> String {
        let (Some((command, was_out_of_memory)), Some(code)) = (&self.command, self.code) else {
            return self.message.clone();
        };
        let why = if *was_out_of_memory { OUT_OF_MEMORY } else { "" };
        format!("process {command:?} did not complete successfully: exit code: {code}{why}")
    }

    fn record(&self, message: &str) -> Value {
        let mut detail = json!({ "message": message });
        if let (Some(code), Some(detail)) = (self.code, detail.as_object_mut()) {
            detail.insert("code".to_owned(), json!(code));
        }
        json!({ "errorDetail": detail, "error": message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_dockers_records() {
        let failed = BuildMessage::Failed(BuildFailure::of_command("/bin/sh -c false".into(), 1, false));
        assert_eq!(
            failed.trace().unwrap()["error"],
            r#"process "/bin/sh -c false" did not complete successfully: exit code: 1"#
        );
        assert_eq!(
            failed.classic().unwrap().to_string(),
            r#"{"errorDetail":{"message":"The command '/bin/sh -c false' returned a non-zero code: 1","code":1},"error":"The command '/bin/sh -c false' returned a non-zero code: 1"}"#
        );
        assert_eq!(
            BuildMessage::Text("Step 1/2 : FROM a\n".into()).classic().unwrap().to_string(),
            r#"{"stream":"Step 1/2 : FROM a\n"}"#
        );
    }

    #[test]
    fn each_protocol_has_its_own_records() {
        let vertex = Vertex { digest: "sha256:1".into(), name: "[1/2] FROM a".into(), ..Vertex::default() };
        let message = BuildMessage::Vertex(vertex.clone());
        let record = message.trace().unwrap();
        assert_eq!(record["id"], TRACE_ID);
        assert_eq!(crate::buildkit::decode_aux(record["aux"].as_str().unwrap()).unwrap().vertexes, [vertex]);
        assert_eq!(message.classic(), None);
        assert_eq!(BuildMessage::Text("x".into()).trace(), None);
    }
}
