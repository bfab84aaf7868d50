//! Writes a `StatusResponse`. As in proto3, a field that has its default value is left out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use super::{TraceUpdate, Vertex, VertexLog, VertexStatus, VertexWarning};
use crate::dockerfile::LineRange;

/// A message being written.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: i64) -> Self {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value.cast_unsigned());
        }
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        if !value.is_empty() {
            self.varint(field << 3 | 2);
            self.varint(value.len() as u64);
            self.0.extend_from_slice(value);
        }
        self
    }

    fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// An inner message; written even when empty, since that it is there means something.
    fn message(mut self, field: u64, value: Message) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.0.len() as u64);
        self.0.extend_from_slice(&value.0);
        self
    }

    fn time(self, field: u64, value: Option<Timestamp>) -> Self {
        match value {
            None => self,
            Some(time) => {
                let inner =
                    Message::default().number(1, time.as_second()).number(2, i64::from(time.subsec_nanosecond()));
                self.message(field, inner)
            }
        }
    }
}

/// A `StatusResponse` as the `aux` text of a trace record.
pub fn encode_aux(update: &TraceUpdate) -> String {
    BASE64_STANDARD.encode(encode(update))
}

fn encode(update: &TraceUpdate) -> Vec<u8> {
    let mut response = Message::default();
    for it in &update.vertexes {
        response = response.message(1, vertex(it));
    }
    for it in &update.statuses {
        response = response.message(2, status(it));
    }
    for it in &update.logs {
        response = response.message(3, log(it));
    }
    for it in &update.warnings {
        response = response.message(4, warning(it));
    }
    response.0
}

fn vertex(vertex: &Vertex) -> Message {
    let mut inner = Message::default().text(1, &vertex.digest);
    for input in &vertex.inputs {
        inner = inner.text(2, input);
    }
    inner = inner
        .text(3, &vertex.name)
        .number(4, i64::from(vertex.cached))
        .time(5, vertex.started)
        .time(6, vertex.completed)
        .text(7, &vertex.error);
    if let Some(LineRange { first, last }) = vertex.lines {
        inner = inner.message(8, Message::default().text(1, &format!("line:{first}-{last}")));
    }
    inner
}

fn status(status: &VertexStatus) -> Message {
    Message::default()
        .text(1, &status.id)
        .text(2, &status.vertex)
        .text(3, &status.name)
        .number(4, status.current)
        .number(5, status.total)
        .time(6, status.timestamp)
        .time(7, status.started)
        .time(8, status.completed)
}

fn log(log: &VertexLog) -> Message {
    Message::default().text(1, &log.vertex).time(2, log.timestamp).number(3, log.stream).bytes(4, &log.msg)
}

fn warning(warning: &VertexWarning) -> Message {
    let mut inner = Message::default().text(1, &warning.vertex).number(2, warning.level).text(3, &warning.short);
    for line in &warning.detail {
        inner = inner.text(4, line);
    }
    inner = inner.text(5, &warning.url);
    if let Some(LineRange { first, last }) = warning.lines {
        let position = |line: usize| Message::default().number(1, i64::try_from(line).unwrap_or(0));
        inner = inner.message(7, Message::default().message(1, position(first)).message(2, position(last)));
    }
    inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vertex_is_written_as_protoc_would() {
        let vertex = Vertex {
            digest: "d".into(),
            inputs: vec!["i".into()],
            name: "n".into(),
            cached: true,
            started: Timestamp::new(1, 2).ok(),
            lines: Some(LineRange { first: 3, last: 12 }),
            ..Vertex::default()
        };
        let written = encode(&TraceUpdate { vertexes: vec![vertex], ..TraceUpdate::default() });
        let expected = [
            &[0x0a, 30][..],
            b"\x0a\x01d\x12\x01i\x1a\x01n\x20\x01",
            &[0x2a, 4, 0x08, 1, 0x10, 2],
            b"\x42\x0b\x0a\x09line:3-12",
        ]
        .concat();
        assert_eq!(written, expected);
    }

    #[test]
    fn long_lengths_take_two_bytes() {
        let log = VertexLog { stream: 2, msg: vec![b'x'; 200], ..VertexLog::default() };
        let bytes = encode(&TraceUpdate { logs: vec![log], ..TraceUpdate::default() });
        assert_eq!(bytes.len(), 2 + 1 + 2 + 1 + 2 + 200);
        assert_eq!(bytes[..3], [0x1a, 0xcd, 0x01]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (started, completed) = (Timestamp::new(1_735_218_176, 5).ok(), Timestamp::new(1_735_218_177, 0).ok());
        let lines = Some(LineRange { first: 3, last: 5 });
        let name = || "[2/4] RUN größe".to_owned();
        let update = TraceUpdate {
            vertexes: vec![Vertex {
                digest: "sha256:ab".into(),
                inputs: vec!["sha256:cd".into(), "sha256:ef".into()],
                name: name(),
                cached: true,
                started,
                completed,
                error: "exit code: 1".into(),
                lines,
            }],
            statuses: vec![VertexStatus {
                id: "layer".into(),
                vertex: "sha256:ab".into(),
                name: "extracting".into(),
                current: -1,
                total: i64::MAX,
                timestamp: started,
                started,
                completed: None,
            }],
            logs: vec![VertexLog { vertex: "sha256:ab".into(), timestamp: started, stream: 2, msg: vec![0, 255, 10] }],
            warnings: vec![VertexWarning {
                vertex: "sha256:ab".into(),
                level: 1,
                short: name(),
                detail: vec!["a".into(), "b".into()],
                url: "https://docs.docker.com/go/dockerfile/rule/".into(),
                lines,
            }],
        };
        assert_eq!(super::super::decode_aux(&encode_aux(&update)), Ok(update));
    }
}
