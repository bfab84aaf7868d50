//! A container's log as a client reads it: framed or raw, with timestamps where asked.

use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;

use crate::api::call::Call;
use crate::api::frames;
use crate::api::query::Query;
use crate::api::reply::Reply;
use crate::engine::EngineError;
use crate::engine::container::{LogLine, LogSource, LogsOptions};

pub async fn logs(call: Call) -> Result<Reply, EngineError> {
    let options = options(call.query(), Timestamp::now())?;
    let has_timestamps = call.query().flag("timestamps");
    let logs = call.engine().containers().logs(call.id(), options).await?;
    let (tty, content_type) = (logs.tty, frames::content_type(logs.tty, call.version()));
    let pieces = logs.lines.map(move |line| match line {
        Ok(line) => Ok(piece(&line, tty, has_timestamps)),
        Err(error) => {
            tracing::warn!(%error, "a log ended early");
            Err(std::io::Error::other(error))
        }
    });
    Ok(Reply::stream(content_type, pieces))
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

fn piece(line: &LogLine, tty: bool, has_timestamp: bool) -> Bytes {
    let stamp = if has_timestamp { format!("{:.9} ", line.time) } else { String::new() };
    match (tty, line.source) {
        (true, _) if stamp.is_empty() => line.bytes.clone(),
        (true, _) => [stamp.as_bytes(), &line.bytes].concat().into(),
        (false, LogSource::Stdout) => frames::frame(1, &[stamp.as_bytes(), &line.bytes]),
        (false, LogSource::Stderr) => frames::frame(2, &[stamp.as_bytes(), &line.bytes]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_frame_with_its_time() {
        let time: Timestamp = "2024-05-06T07:08:09.5Z".parse().unwrap();
        let line = LogLine { source: LogSource::Stderr, time, bytes: Bytes::from_static(b"oh\n") };
        assert_eq!(&piece(&line, false, true)[..], b"\x02\0\0\0\0\0\0\x222024-05-06T07:08:09.500000000Z oh\n");
        assert_eq!(&piece(&line, true, false)[..], b"oh\n");
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
