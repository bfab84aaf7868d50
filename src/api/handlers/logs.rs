//! A container's log as a client reads it: framed or raw, with timestamps where asked.

use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use crate::api::call::Call;
use crate::api::frames;
use crate::api::query::Query;
use crate::api::reply::Reply;
use crate::engine::EngineError;
use crate::engine::container::{LogLine, LogSource, LogsOptions};
use crate::engine::shim::logs::Attrs;

pub async fn logs(call: Call) -> Result<Reply, EngineError> {
    let options = options(call.query(), Timestamp::now())?;
    let wanted = Besides { timestamps: call.query().flag("timestamps"), details: call.query().flag("details") };
    let logs = call.engine().containers().logs(call.id(), options).await?;
    let (tty, content_type) = (logs.tty, frames::content_type(logs.tty, call.version()));
    // Lines that are there go out together; one that comes alone goes alone.
    let pieces = logs.lines.ready_chunks(LINES_TOGETHER).map(move |lines| joined(lines, tty, wanted));
    Ok(Reply::stream(content_type, pieces))
}

/// How many lines are sent at once at most.
const LINES_TOGETHER: usize = 256;

/// What a client wants to see of each line besides its text.
#[derive(Debug, Clone, Copy, Default)]
struct Besides {
    timestamps: bool,
    details: bool,
}

fn joined(lines: Vec<Result<LogLine, EngineError>>, tty: bool, wanted: Besides) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    for line in lines {
        match line {
            Ok(line) => bytes.extend_from_slice(&piece(&line, tty, wanted)),
            Err(error) => {
                tracing::warn!(%error, "a log ended early");
                return Err(std::io::Error::other(error));
            }
        }
    }
    Ok(bytes.into())
}

fn options(query: &Query, now: Timestamp) -> Result<LogsOptions, EngineError> {
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(EngineError::invalid("Bad parameters: you must choose at least one stream"));
    }
    Ok(LogsOptions {
        follow: query.flag("follow"),
        stdout,
        stderr,
        since: query.moment("since", now)?,
        until: query.moment("until", now)?,
        // "all", and whatever else is no number, means all: Docker reads it so.
        tail: query.text("tail").and_then(|tail| tail.parse().ok()),
    })
}

fn piece(line: &LogLine, tty: bool, wanted: Besides) -> Bytes {
    let mut stamp = if wanted.timestamps { format!("{:.9} ", line.time) } else { String::new() };
    if wanted.details {
        stamp.push_str(&details(&line.attrs));
        stamp.push(' ');
    }
    match (tty, line.source) {
        (true, _) if stamp.is_empty() => line.bytes.clone(),
        (true, _) => [stamp.as_bytes(), &line.bytes].concat().into(),
        (false, LogSource::Stdout) => frames::frame(1, &[stamp.as_bytes(), &line.bytes]),
        (false, LogSource::Stderr) => frames::frame(2, &[stamp.as_bytes(), &line.bytes]),
    }
}

/// `name=value` of each, escaped as in a URL's query.
fn details(attrs: &Attrs) -> String {
    let escaped = |text: &str| percent_encoding::utf8_percent_encode(text, QUERY).to_string().replace("%20", "+");
    let pairs: Vec<String> =
        attrs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join(",")
}

/// What Go's `url.QueryEscape` leaves as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_frame_with_its_time() {
        let time: Timestamp = "2024-05-06T07:08:09.5Z".parse().unwrap();
        let attrs = Attrs::from([("a b".to_owned(), "c/d".to_owned()), ("e".to_owned(), "1".to_owned())]);
        let line = LogLine { source: LogSource::Stderr, time, bytes: Bytes::from_static(b"oh\n"), attrs };
        let stamped = Besides { timestamps: true, details: false };
        assert_eq!(&piece(&line, false, stamped)[..], b"\x02\0\0\0\0\0\0\x222024-05-06T07:08:09.500000000Z oh\n");
        assert_eq!(&piece(&line, true, Besides::default())[..], b"oh\n");
        assert_eq!(&piece(&line, true, Besides { timestamps: false, details: true })[..], b"a+b=c%2Fd,e=1 oh\n");
    }

    #[test]
    fn no_stream_is_refused_and_a_tail_of_all_is_all() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(options(&Query::parse("follow=1"), now).unwrap_err().message().starts_with("Bad parameters"));
        let all = options(&Query::parse("stdout=1&tail=all&since=0"), now).unwrap();
        assert_eq!((all.tail, all.since), (None, None));
        assert_eq!(options(&Query::parse("stdout=1&tail=5"), now).unwrap().tail, Some(5));
    }
}
