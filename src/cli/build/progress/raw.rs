//! The display for programs: BuildKit's `SolveStatus` as JSON, one a line, with the fields that `docker buildx build
//! --progress=rawjson` has.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::buildkit::{TraceUpdate, Vertex, VertexLog, VertexStatus, VertexWarning};

/// An update as one line, without the newline.
pub fn line(update: &TraceUpdate) -> String {
    let mut status = Map::new();
    let mut add = |name: &str, list: Vec<Value>| {
        if !list.is_empty() {
            status.insert(name.to_owned(), Value::Array(list));
        }
    };
    add("vertexes", update.vertexes.iter().map(vertex).collect());
    add("statuses", update.statuses.iter().map(part).collect());
    add("logs", update.logs.iter().map(log).collect());
    add("warnings", update.warnings.iter().map(warning).collect());
    Value::Object(status).to_string()
}

/// Takes out what Go's `omitempty` leaves out.
fn without_empty(value: Value, always: &[&str]) -> Value {
    let Value::Object(fields) = value else { return value };
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    };
    fields.into_iter().filter(|(name, value)| always.contains(&name.as_str()) || !is_empty(value)).collect()
}

fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |time| Value::String(time.to_string()))
}

/// Go has no way to leave out a time that is no pointer.
fn always(moment: Option<Timestamp>) -> Value {
    match moment {
        None => Value::String("0001-01-01T00:00:00Z".to_owned()),
        moment => time(moment),
    }
}

fn vertex(it: &Vertex) -> Value {
    let fields = json!({
        "digest": it.digest,
        "inputs": it.inputs,
        "name": it.name,
        "started": time(it.started),
        "completed": time(it.completed),
        "cached": it.cached,
        "error": it.error,
    });
    without_empty(fields, &[])
}

fn part(it: &VertexStatus) -> Value {
    let fields = json!({
        "id": it.id,
        "vertex": it.vertex,
        "name": it.name,
        "total": it.total,
        "current": it.current,
        "timestamp": always(it.timestamp),
        "started": time(it.started),
        "completed": time(it.completed),
    });
    without_empty(fields, &["id", "current", "timestamp"])
}

fn log(it: &VertexLog) -> Value {
    let fields = json!({
        "vertex": it.vertex,
        "stream": it.stream,
        "data": BASE64_STANDARD.encode(&it.msg),
        "timestamp": always(it.timestamp),
    });
    without_empty(fields, &["data", "timestamp"])
}

fn warning(it: &VertexWarning) -> Value {
    let range = it.lines.map(|lines| json!([{ "start": { "line": lines.first }, "end": { "line": lines.last } }]));
    let fields = json!({
        "vertex": it.vertex,
        "level": it.level,
        "short": BASE64_STANDARD.encode(&it.short),
        "detail": it.detail.iter().map(|line| BASE64_STANDARD.encode(line)).collect::<Vec<_>>(),
        "url": it.url,
        "range": range,
    });
    without_empty(fields, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::LineRange;

    #[test]
    fn a_line_is_what_go_would_write() {
        let at = Timestamp::new(1_735_218_176, 5).ok();
        let update = TraceUpdate {
            vertexes: vec![Vertex {
                digest: "sha256:ab".into(),
                name: "[1/1] RUN x".into(),
                started: at,
                ..Vertex::default()
            }],
            statuses: vec![VertexStatus { id: "part".into(), vertex: "sha256:ab".into(), ..VertexStatus::default() }],
            logs: vec![VertexLog { vertex: "sha256:ab".into(), timestamp: at, stream: 2, msg: b"hi\n".to_vec() }],
            warnings: vec![VertexWarning {
                level: 1,
                short: "W".into(),
                lines: Some(LineRange { first: 3, last: 4 }),
                ..Default::default()
            }],
        };
        let read: Value = serde_json::from_str(&line(&update)).unwrap();
        let time = "2024-12-26T13:02:56.000000005Z";
        let expected = json!({
            "vertexes": [{ "digest": "sha256:ab", "name": "[1/1] RUN x", "started": time }],
            "statuses": [{ "id": "part", "vertex": "sha256:ab", "current": 0, "timestamp": "0001-01-01T00:00:00Z" }],
            "logs": [{ "vertex": "sha256:ab", "stream": 2, "data": "aGkK", "timestamp": time }],
            "warnings": [{ "level": 1, "short": "Vw==", "range": [{ "start": { "line": 3 }, "end": { "line": 4 } }] }],
        });
        assert_eq!(read, expected);
    }
}
