//! What a running build tells: BuildKit's four messages, and the lines of the classic `docker build`.
//!
//! One build tells both, and the API picks by the client's `version`: [`BuildMessage::classic`] gives the JSON records of
//! version 1, [`BuildMessage::trace`] those of version 2 (`moby.buildkit.trace`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::protobuf;
use crate::dockerfile::LineRange;
use crate::engine::image::Progress;
use crate::engine::{EngineError, ErrorKind};

/// One step as BuildKit's clients see it. Sent again whenever something of it changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vertex {
    /// What names it in every other message: `sha256:…`.
    pub digest: String,
    /// The digests of the steps it needs.
    pub inputs: Vec<String>,
    /// Like `[build 2/4] RUN apt-get update`.
    pub name: String,
    /// Whether its result came from the cache.
    pub cached: bool,
    /// When work on it began.
    pub started: Option<Timestamp>,
    /// When it ended, well or not.
    pub completed: Option<Timestamp>,
    /// Why it failed; empty while it has not.
    pub error: String,
    /// The Dockerfile lines it stands for; `None` for inner work like loading the context.
    pub lines: Option<LineRange>,
}

/// How far a part of a step is, like one layer of a pull.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VertexStatus {
    /// What it is about, unique within its vertex.
    pub id: String,
    /// The step.
    pub vertex: String,
    /// What is done, like `extracting`.
    pub name: String,
    /// How much is done.
    pub current: i64,
    /// Of how much; 0 where that is not known.
    pub total: i64,
    /// When this was so.
    pub timestamp: Option<Timestamp>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

/// Output of a step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VertexLog {
    /// The step.
    pub vertex: String,
    /// When it was read.
    pub timestamp: Option<Timestamp>,
    /// 1 for standard output, 2 for standard error.
    pub stream: i64,
    /// The bytes, as the program wrote them.
    pub msg: Vec<u8>,
}

/// Something a person should know about a step that is no failure.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VertexWarning {
    /// The step.
    pub vertex: String,
    /// Its weight; lint warnings have 1.
    pub level: i64,
    /// One line.
    pub short: String,
    /// More lines.
    pub detail: Vec<String>,
    /// Where the rule is explained.
    pub url: String,
    /// The Dockerfile lines it is about.
    pub lines: Option<LineRange>,
}

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
}

impl From<EngineError> for BuildFailure {
    fn from(error: EngineError) -> Self {
        Self { kind: error.kind(), message: error.message().to_owned(), code: None }
    }
}

impl BuildMessage {
    /// The record for a client of version 1 (the classic builder); `None` where it has none for this message.
    pub fn classic(&self) -> Option<Value> {
        match self {
            BuildMessage::Vertex(_) | BuildMessage::Status(_) | BuildMessage::Log(_) | BuildMessage::Warning(_) => None,
            BuildMessage::Text(text) => Some(json!({ "stream": text })),
            BuildMessage::Pull(progress) => serde_json::to_value(progress).ok(),
            BuildMessage::Image(id) => Some(json!({ "aux": { "ID": id } })),
            BuildMessage::Failed(failure) => Some(failure.record()),
        }
    }

    /// The record for a client of version 2 (BuildKit's trace); `None` where it has none for this message.
    pub fn trace(&self) -> Option<Value> {
        let status = match self {
            BuildMessage::Vertex(vertex) => protobuf::vertex(vertex),
            BuildMessage::Status(status) => protobuf::status(status),
            BuildMessage::Log(log) => protobuf::log(log),
            BuildMessage::Warning(warning) => protobuf::warning(warning),
            BuildMessage::Text(_) | BuildMessage::Pull(_) => return None,
            BuildMessage::Image(id) => return Some(json!({ "id": "moby.image.id", "aux": { "ID": id } })),
            BuildMessage::Failed(failure) => return Some(failure.record()),
        };
        Some(json!({ "id": "moby.buildkit.trace", "aux": BASE64_STANDARD.encode(status.into_bytes()) }))
    }
}

impl BuildFailure {
    /// The build was cancelled; nobody is left to read it.
    pub(super) fn cancelled() -> Self {
        Self { kind: ErrorKind::Unavailable, message: "the build was cancelled".to_owned(), code: None }
    }

    fn record(&self) -> Value {
        let mut detail = json!({ "message": self.message });
        if let (Some(code), Some(detail)) = (self.code, detail.as_object_mut()) {
            detail.insert("code".to_owned(), json!(code));
        }
        json!({ "errorDetail": detail, "error": self.message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_dockers_records() {
        let failure = BuildFailure {
            kind: ErrorKind::System,
            message: "The command '/bin/sh -c false' returned a non-zero code: 1".into(),
            code: Some(1),
        };
        assert_eq!(
            BuildMessage::Failed(failure).classic().unwrap().to_string(),
            r#"{"errorDetail":{"message":"The command '/bin/sh -c false' returned a non-zero code: 1","code":1},"error":"The command '/bin/sh -c false' returned a non-zero code: 1"}"#
        );
        assert_eq!(
            BuildMessage::Text("Step 1/2 : FROM a\n".into()).classic().unwrap().to_string(),
            r#"{"stream":"Step 1/2 : FROM a\n"}"#
        );
    }

    #[test]
    fn the_clients_decoder_reads_what_is_written() {
        let vertex = Vertex { digest: "sha256:1".into(), name: "[1/2] FROM a".into(), ..Vertex::default() };
        let record = BuildMessage::Vertex(vertex).trace().unwrap();
        assert_eq!(record["id"], "moby.buildkit.trace");
        assert!(record["aux"].is_string());
        assert_eq!(BuildMessage::Text("x".into()).trace(), None);
    }
}
