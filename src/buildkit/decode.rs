//! Reads a `StatusResponse`. Only the fields a screen needs are read; unknown ones are skipped, so this also reads a newer
//! BuildKit.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use super::{TraceUpdate, Vertex, VertexLog, VertexStatus, VertexWarning};
use crate::dockerfile::LineRange;

/// Why a record could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// The record's `aux` is no base64 text.
    #[error("read the build's progress: not base64")]
    Encoding,
    /// What is inside is no protobuf message, or is cut short.
    #[error("read the build's progress: malformed message")]
    Malformed,
}

/// Reads the `aux` text of a trace record.
///
/// # Errors
/// [`TraceError`] where it is no `StatusResponse`.
pub fn decode_aux(aux: &str) -> Result<TraceUpdate, TraceError> {
    decode(&BASE64_STANDARD.decode(aux.trim()).map_err(|_| TraceError::Encoding)?)
}

/// Reads an encoded `StatusResponse`.
///
/// # Errors
/// [`TraceError::Malformed`].
pub fn decode(message: &[u8]) -> Result<TraceUpdate, TraceError> {
    let mut update = TraceUpdate::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(inner)) => update.vertexes.push(vertex(inner)?),
            (2, Value::Bytes(inner)) => update.statuses.push(status(inner)?),
            (3, Value::Bytes(inner)) => update.logs.push(log(inner)?),
            (4, Value::Bytes(inner)) => update.warnings.push(warning(inner)?),
            _ => {}
        }
    }
    Ok(update)
}

fn vertex(message: &[u8]) -> Result<Vertex, TraceError> {
    let mut vertex = Vertex::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(it)) => vertex.digest = text(it),
            (2, Value::Bytes(it)) => vertex.inputs.push(text(it)),
            (3, Value::Bytes(it)) => vertex.name = text(it),
            (4, Value::Number(it)) => vertex.cached = it != 0,
            (5, Value::Bytes(it)) => vertex.started = timestamp(it)?,
            (6, Value::Bytes(it)) => vertex.completed = timestamp(it)?,
            (7, Value::Bytes(it)) => vertex.error = text(it),
            (8, Value::Bytes(it)) => vertex.lines = group_lines(it)?,
            _ => {}
        }
    }
    Ok(vertex)
}

fn status(message: &[u8]) -> Result<VertexStatus, TraceError> {
    let mut status = VertexStatus::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(it)) => status.id = text(it),
            (2, Value::Bytes(it)) => status.vertex = text(it),
            (3, Value::Bytes(it)) => status.name = text(it),
            (4, Value::Number(it)) => status.current = it.cast_signed(),
            (5, Value::Number(it)) => status.total = it.cast_signed(),
            (6, Value::Bytes(it)) => status.timestamp = timestamp(it)?,
            (7, Value::Bytes(it)) => status.started = timestamp(it)?,
            (8, Value::Bytes(it)) => status.completed = timestamp(it)?,
            _ => {}
        }
    }
    Ok(status)
}

fn log(message: &[u8]) -> Result<VertexLog, TraceError> {
    let mut log = VertexLog::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(it)) => log.vertex = text(it),
            (2, Value::Bytes(it)) => log.timestamp = timestamp(it)?,
            (3, Value::Number(it)) => log.stream = it.cast_signed(),
            (4, Value::Bytes(it)) => log.msg = it.to_vec(),
            _ => {}
        }
    }
    Ok(log)
}

fn warning(message: &[u8]) -> Result<VertexWarning, TraceError> {
    let mut warning = VertexWarning::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(it)) => warning.vertex = text(it),
            (2, Value::Number(it)) => warning.level = it.cast_signed(),
            (3, Value::Bytes(it)) => warning.short = text(it),
            (4, Value::Bytes(it)) => warning.detail.push(text(it)),
            (5, Value::Bytes(it)) => warning.url = text(it),
            (7, Value::Bytes(it)) => warning.lines = warning.lines.or(range_lines(it)?),
            _ => {}
        }
    }
    Ok(warning)
}

/// `ProgressGroup`: Boxyard's engine writes `line:FIRST-LAST` as the group's id.
fn group_lines(message: &[u8]) -> Result<Option<LineRange>, TraceError> {
    for field in Fields(message) {
        if let (1, Value::Bytes(id)) = field? {
            let id = text(id);
            let range = id.strip_prefix("line:").and_then(|range| range.split_once('-'));
            return Ok(range
                .and_then(|(first, last)| Some(LineRange { first: first.parse().ok()?, last: last.parse().ok()? })));
        }
    }
    Ok(None)
}

/// `pb.Range { start, end }`, each a `Position { line, character }`.
fn range_lines(message: &[u8]) -> Result<Option<LineRange>, TraceError> {
    let (mut first, mut last) = (None, None);
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(position)) => first = position_line(position)?,
            (2, Value::Bytes(position)) => last = position_line(position)?,
            _ => {}
        }
    }
    Ok(first.map(|first| LineRange { first, last: last.unwrap_or(first) }))
}

fn position_line(message: &[u8]) -> Result<Option<usize>, TraceError> {
    for field in Fields(message) {
        if let (1, Value::Number(line)) = field? {
            return Ok(usize::try_from(line).ok());
        }
    }
    Ok(None)
}

/// `google.protobuf.Timestamp`. One outside of what a clock can show counts as none.
fn timestamp(message: &[u8]) -> Result<Option<Timestamp>, TraceError> {
    let (mut seconds, mut nanoseconds) = (0_i64, 0_i64);
    for field in Fields(message) {
        match field? {
            (1, Value::Number(it)) => seconds = it.cast_signed(),
            (2, Value::Number(it)) => nanoseconds = it.cast_signed(),
            _ => {}
        }
    }
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0);
    Ok(Timestamp::new(seconds, nanoseconds).ok())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One field's value, by protobuf wire type.
enum Value<'a> {
    /// A varint or a fixed number.
    Number(u64),
    /// A string, bytes or an inner message.
    Bytes(&'a [u8]),
}

/// The fields of an encoded message, in the order written.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, TraceError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(TraceError::Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(TraceError::Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], TraceError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(TraceError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), TraceError> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(self.take(8)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| TraceError::Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Number(self.take(4)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))),
            _ => return Err(TraceError::Malformed),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of wire type 2.
    fn bytes(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(inner.len()).unwrap()];
        out.extend_from_slice(inner);
        out
    }

    #[test]
    fn a_vertex_with_its_lines_and_time() {
        let started = [0x08, 0x80, 0xa8, 0xb5, 0xbb, 0x06, 0x10, 0x05];
        let vertex = [
            bytes(1, b"sha256:ab"),
            bytes(2, b"sha256:cd"),
            bytes(3, b"[2/4] RUN x"),
            vec![0x20, 0x01],
            bytes(5, &started),
            bytes(8, &bytes(1, b"line:3-5")),
            vec![0x78, 0x2a],
        ]
        .concat();
        let update = decode_aux(&BASE64_STANDARD.encode(bytes(1, &vertex))).unwrap();
        let vertex = update.vertexes.first().unwrap();
        assert_eq!((vertex.digest.as_str(), vertex.name.as_str(), vertex.cached), ("sha256:ab", "[2/4] RUN x", true));
        assert_eq!(vertex.inputs, ["sha256:cd"]);
        assert_eq!(vertex.lines, Some(LineRange { first: 3, last: 5 }));
        assert_eq!(vertex.started, Timestamp::new(1_735_218_176, 5).ok());
    }

    #[test]
    fn a_warning_tells_its_lines() {
        let range = [bytes(1, &[0x08, 7]), bytes(2, &[0x08, 9])].concat();
        let warning = [bytes(3, b"MaintainerDeprecated"), bytes(7, &range)].concat();
        let update = decode(&bytes(4, &warning)).unwrap();
        assert_eq!(update.warnings.first().unwrap().lines, Some(LineRange { first: 7, last: 9 }));
    }

    #[test]
    fn damage_is_told_not_shown() {
        assert_eq!(decode_aux("%%"), Err(TraceError::Encoding));
        assert_eq!(decode(&[0x0a, 0x7f, 0x01]), Err(TraceError::Malformed));
        assert_eq!(decode(&[0x80]), Err(TraceError::Malformed));
    }
}
