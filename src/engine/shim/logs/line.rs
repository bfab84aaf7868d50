//! One line of the log file: how an entry is written and read.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{Attrs, LogEntry, LogStream};

/// Writes entries. Keeps the text of the current second, as formatting it is most of the work.
#[derive(Debug, Default)]
pub struct LineFormat {
    second: Option<i64>,
    text: String,
    /// What stands between stream and time.
    attrs: Vec<u8>,
}

impl LineFormat {
    /// Each line has these `attrs`.
    pub fn new(attrs: &Attrs) -> Self {
        let attrs = if attrs.is_empty() { Vec::new() } else { attrs_field(attrs) };
        Self { attrs, ..Self::default() }
    }

    /// Appends the entry to `out`. `ends` says whether its newline belongs to it or it is a piece of a longer line.
    /// Bytes that are no UTF-8 become U+FFFD each, as Docker writes them.
    pub fn append(&mut self, out: &mut Vec<u8>, stream: LogStream, time: Timestamp, content: &[u8], ends: bool) {
        out.extend_from_slice(b"{\"log\":\"");
        append_escaped(out, content);
        if ends {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(match stream {
            LogStream::Stdout => b"\",\"stream\":\"stdout\"",
            LogStream::Stderr => b"\",\"stream\":\"stderr\"",
        });
        out.extend_from_slice(&self.attrs);
        out.extend_from_slice(b",\"time\":\"");
        self.append_time(out, time);
        out.extend_from_slice(b"\"}\n");
    }

    /// RFC 3339 in UTC; nanoseconds without the zeros at their end, as Go's `RFC3339Nano`.
    fn append_time(&mut self, out: &mut Vec<u8>, time: Timestamp) {
        let second = time.as_second();
        if self.second != Some(second) {
            let civil = TimeZone::UTC.to_datetime(time);
            self.text = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                civil.year(),
                civil.month(),
                civil.day(),
                civil.hour(),
                civil.minute(),
                civil.second()
            );
            self.second = Some(second);
        }
        out.extend_from_slice(self.text.as_bytes());
        let nanoseconds = time.subsec_nanosecond();
        if nanoseconds > 0 {
            append_fraction(out, nanoseconds.unsigned_abs());
        }
        out.push(b'Z');
    }
}

/// As `format!(".{nanoseconds:09}")` without the zeros at its end, at a tenth of the time: this is done for each line.
fn append_fraction(out: &mut Vec<u8>, nanoseconds: u32) {
    let mut digits = *b".000000000";
    let mut rest = nanoseconds;
    for digit in digits.iter_mut().skip(1).rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
    out.extend_from_slice(digits.get(..end).unwrap_or(&digits));
}

fn attrs_field(attrs: &Attrs) -> Vec<u8> {
    let mut field = b",\"attrs\":{".to_vec();
    for (number, (name, value)) in attrs.iter().enumerate() {
        field.extend_from_slice(if number == 0 { b"\"" } else { b",\"" });
        append_escaped(&mut field, name.as_bytes());
        field.extend_from_slice(b"\":\"");
        append_escaped(&mut field, value.as_bytes());
        field.push(b'"');
    }
    field.push(b'}');
    field
}

fn append_escaped(out: &mut Vec<u8>, content: &[u8]) {
    // Checking all of it is many times faster than looking for where it goes wrong.
    if let Ok(text) = std::str::from_utf8(content) {
        append_text(out, text);
        return;
    }
    for chunk in content.utf8_chunks() {
        append_text(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// So many bytes are looked at together for whether any needs an escape.
const ESCAPE_BLOCK: usize = 32;

fn append_text(out: &mut Vec<u8>, text: &str) {
    for block in text.as_bytes().chunks(ESCAPE_BLOCK) {
        // Without an early exit the compiler looks at many bytes at once.
        if !block.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
            out.extend_from_slice(block);
            continue;
        }
        for byte in block {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                byte if needs_escape(*byte) => append_code(out, *byte),
                byte => out.push(*byte),
            }
        }
    }
}

/// `\u00XX`.
fn append_code(out: &mut Vec<u8>, byte: u8) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
}

/// What JSON wants escaped, and what Docker's writer escapes besides so that a line can stand in HTML.
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    stream: LogStream,
    time: Timestamp,
    #[serde(default)]
    attrs: Attrs,
}

/// Reads a line (with or without its newline); `None` where it is damaged.
pub fn parse(line: &[u8]) -> Option<LogEntry> {
    let Line { log, stream, time, attrs } = serde_json::from_slice(line).ok()?;
    Some(LogEntry { stream, time, bytes: Bytes::from(log.into_owned()), attrs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(time: &str, content: &[u8], ends: bool) -> String {
        let mut out = vec![];
        LineFormat::default().append(&mut out, LogStream::Stdout, time.parse().unwrap(), content, ends);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_dockers() {
        let check = |content: &[u8], ends, expected: &str| {
            let line = written("2026-01-02T03:04:05.12Z", content, ends);
            assert_eq!(
                line,
                format!("{{\"log\":\"{expected}\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.12Z\"}}\n")
            );
        };
        check(b"hello", true, "hello\\n");
        check(b"no end", false, "no end");
        check(b"", true, "\\n");
        check(b"a\"b\\c\td\r", true, "a\\\"b\\\\c\\u0009d\\r\\n");
        check(b"<&>", false, "\\u003c\\u0026\\u003e");
        check("grüß \u{1f600}".as_bytes(), false, "grüß \u{1f600}");
        check(b"a\xff\xfeb", false, "a\\ufffd\\ufffdb");
    }

    #[test]
    fn times_are_rfc3339_with_the_zeros_gone() {
        assert!(written("2026-01-02T03:04:05Z", b"", false).contains("\"2026-01-02T03:04:05Z\""));
        assert!(written("2026-01-02T03:04:05.000000006Z", b"", false).contains("05.000000006Z"));
        assert!(written("2026-01-02T03:04:05.5Z", b"", false).contains("05.5Z"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let content = "tab\t quote\" <b> \u{2028} \\ end";
        let entry = parse(written("2026-01-02T03:04:05.678Z", content.as_bytes(), true).as_bytes()).unwrap();
        assert_eq!(entry.bytes, format!("{content}\n"));
        assert_eq!((entry.stream, entry.time), (LogStream::Stdout, "2026-01-02T03:04:05.678Z".parse().unwrap()));
    }

    #[test]
    fn attributes_are_read_and_damage_is_none() {
        let line = br#"{"log":"x\n","stream":"stderr","attrs":{"a":"b"},"time":"2026-01-02T03:04:05.6Z"}"#;
        let entry = parse(line).unwrap();
        assert_eq!((entry.stream, entry.attrs), (LogStream::Stderr, Attrs::from([("a".to_owned(), "b".to_owned())])));
        assert_eq!(parse(br#"{"log":"x\n","stre"#), None);
    }
    #[test]
    fn attributes_stand_between_stream_and_time_as_dockers() {
        let attrs = Attrs::from([("tag".to_owned(), "a\"b".to_owned()), ("com.x".to_owned(), "1".to_owned())]);
        let mut out = vec![];
        let time = "2026-01-02T03:04:05Z".parse().unwrap();
        LineFormat::new(&attrs).append(&mut out, LogStream::Stderr, time, b"x", true);
        let expected =
            r#"{"log":"x\n","stream":"stderr","attrs":{"com.x":"1","tag":"a\"b"},"time":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(String::from_utf8(out.clone()).unwrap().trim_end(), expected);
        assert_eq!(parse(&out).unwrap().attrs, attrs);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_come_back_as_the_text_they_are(content: Vec<u8>, nanoseconds in 0..1_000_000_000_i32, ends: bool) {
            let time = Timestamp::new(1_700_000_000, nanoseconds).unwrap();
            let mut out = vec![];
            LineFormat::default().append(&mut out, LogStream::Stdout, time, &content, ends);
            assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
            let entry = parse(&out).unwrap();
            let mut expected = String::new();
            for chunk in content.utf8_chunks() {
                expected.push_str(chunk.valid());
                expected.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
            }
            if ends {
                expected.push('\n');
            }
            assert_eq!((entry.time, entry.bytes.as_ref()), (time, expected.as_bytes()));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(line: Vec<u8>, cut in 0..80_usize) {
            parse(&line);
            let whole = br#"{"log":"x\n","stream":"stderr","attrs":{"a":"b"},"time":"2026-01-02T03:04:05.6Z"}"#;
            let mut damaged = whole[..cut.min(whole.len())].to_vec();
            damaged.extend(line);
            parse(&damaged);
        }
    }
}
