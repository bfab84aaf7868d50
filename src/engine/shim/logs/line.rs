//! One line of the log file: how an entry is written and read.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{LogEntry, LogStream};

/// Writes entries. Keeps the text of the current second, as formatting it is most of the work.
#[derive(Debug, Default)]
pub struct LineFormat {
    second: Option<i64>,
    text: String,
}

impl LineFormat {
    /// Appends the entry to `out`. `ends` says whether its newline belongs to it or it is a piece of a longer line.
    /// Bytes that are no UTF-8 become U+FFFD each, as Docker writes them.
    pub fn append(&mut self, out: &mut Vec<u8>, stream: LogStream, time: Timestamp, content: &[u8], ends: bool) {
        out.extend_from_slice(b"{\"log\":\"");
        append_escaped(out, content);
        if ends {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(match stream {
            LogStream::Stdout => b"\",\"stream\":\"stdout\",\"time\":\"",
            LogStream::Stderr => b"\",\"stream\":\"stderr\",\"time\":\"",
        });
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
            let digits = format!(".{nanoseconds:09}");
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
        out.push(b'Z');
    }
}

fn append_escaped(out: &mut Vec<u8>, content: &[u8]) {
    for chunk in content.utf8_chunks() {
        append_text(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn append_text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let Some((byte, after)) = special.split_first() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
            rest = after;
        }
    }
    out.extend_from_slice(rest);
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
}

/// Reads a line (with or without its newline); `None` where it is damaged.
pub fn parse(line: &[u8]) -> Option<LogEntry> {
    let Line { log, stream, time } = serde_json::from_slice(line).ok()?;
    Some(LogEntry { stream, time, bytes: Bytes::from(log.into_owned()) })
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
    fn dockers_extra_attributes_are_passed_over_and_damage_is_none() {
        let line = br#"{"log":"x\n","stream":"stderr","attrs":{"a":"b"},"time":"2026-01-02T03:04:05.6Z"}"#;
        assert_eq!(parse(line).unwrap().stream, LogStream::Stderr);
        assert_eq!(parse(br#"{"log":"x\n","stre"#), None);
    }
}
