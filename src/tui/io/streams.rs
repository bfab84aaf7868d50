//! The streams behind views: measurements, logs, documents. Each ends by itself or is dropped.

use crate::client::query_parameters::{LogsOptions, StatsOptions};
use crate::client::{Docker, Error, LogOutput};
use crate::tui::event::Event;
use crate::tui::model::detail::{DetailData, DetailKey, Subject, Tab};
use crate::tui::model::log::{LogBatch, LogEnd, LogLine, LogMark, LogWant, MAX_LINE, Window};
use crate::tui::model::stats::Sample;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout};

/// A selection that moves on within this time opens no stream.
const SETTLE: Duration = Duration::from_millis(60);
/// Lines are handed over this often, or when so many have come.
const HAND_OVER: Duration = Duration::from_millis(16);
const MANY: usize = 4_096;
/// The list of processes is read this often.
const TOP_EVERY: Duration = Duration::from_secs(2);

/// Measurements of one container until it ends.
pub(super) async fn stats(client: Docker, id: String, events: UnboundedSender<Event>) {
    sleep(SETTLE).await;
    let mut stream = Box::pin(client.stats(&id, Some(StatsOptions { stream: true, one_shot: false })));
    while let Some(Ok(stats)) = stream.next().await {
        let sample = Sample::from_engine(&stats, Timestamp::now().as_millisecond());
        if sample.system_total == 0 && sample.memory == 0 {
            // Docker's way to say that the container is not running.
            continue;
        }
        if events.send(Event::Stats(id.clone(), Box::new(sample))).is_err() {
            return;
        }
    }
    // An engine that ends the stream of a running container is asked again, but not at once.
    sleep(Duration::from_secs(2)).await;
}

/// A container's log.
pub(super) async fn logs(client: Docker, want: LogWant, events: UnboundedSender<Event>) {
    sleep(SETTLE).await;
    let error = match follow(&client, &want, &events).await {
        Ok(()) => None,
        Err(error) => Some(error.to_string()),
    };
    let _ = events.send(Event::LogsEnded(LogEnd { container: want.container, epoch: want.epoch, error }));
}

fn options(want: &LogWant) -> LogsOptions {
    let mut options = LogsOptions {
        follow: want.follow,
        stdout: true,
        stderr: true,
        timestamps: true,
        tail: "all".to_owned(),
        ..Default::default()
    };
    let seconds = |at: i64| i32::try_from(at).unwrap_or(i32::MAX);
    match (want.after, want.window) {
        (Some(mark), _) => options.since = seconds(mark.at / 1_000_000_000),
        (None, Window::Tail(count)) => options.tail = count.to_string(),
        (None, Window::Since(span)) => {
            options.since = seconds(Timestamp::now().as_second() - i64::try_from(span).unwrap_or(i64::MAX));
        }
        (None, Window::All) => {}
    }
    options
}

async fn follow(client: &Docker, want: &LogWant, events: &UnboundedSender<Event>) -> Result<(), Error> {
    let mut stream = Box::pin(client.logs(&want.container, Some(options(want))));
    let mut cutter = [Cutter::default(), Cutter::default()];
    let mut seen = want.after.map(Seen::from);
    let mut lines = Vec::new();
    let mut since: Option<Instant> = None;
    loop {
        let next = match since {
            None => Ok(stream.next().await),
            Some(since) => timeout(HAND_OVER.saturating_sub(since.elapsed()), stream.next()).await,
        };
        let ended = match next {
            Ok(Some(Ok(output))) => {
                let is_stderr = matches!(output, LogOutput::StdErr { .. });
                cutter[usize::from(is_stderr)].push(output.into_bytes(), is_stderr, &mut lines);
                since.get_or_insert_with(Instant::now);
                None
            }
            Ok(Some(Err(error))) => Some(Err(error)),
            Ok(None) => Some(Ok(())),
            Err(_) => None,
        };
        if ended.is_some() {
            for (at, cutter) in cutter.iter_mut().enumerate() {
                cutter.finish(at == 1, &mut lines);
            }
        }
        let is_due = since.is_some_and(|since| since.elapsed() >= HAND_OVER) || lines.len() >= MANY;
        if is_due || ended.is_some() {
            since = None;
            if let Some(seen) = &mut seen {
                lines.retain(|line| seen.is_new(line));
            }
            let batch =
                LogBatch { container: want.container.clone(), epoch: want.epoch, lines: std::mem::take(&mut lines) };
            if events.send(Event::Logs(batch)).is_err() {
                return Ok(());
            }
        }
        if let Some(ended) = ended {
            return ended;
        }
    }
}

/// Drops what was seen before the stream was taken up again.
struct Seen {
    mark: LogMark,
    same: usize,
}

impl From<LogMark> for Seen {
    fn from(mark: LogMark) -> Self {
        Seen { mark, same: 0 }
    }
}

impl Seen {
    fn is_new(&mut self, line: &LogLine) -> bool {
        match line.at {
            Some(at) if at < self.mark.at => false,
            Some(at) if at == self.mark.at => {
                self.same += 1;
                self.same > self.mark.same
            }
            _ => true,
        }
    }
}

/// Cuts output into lines; a line may come in several pieces.
#[derive(Default)]
struct Cutter {
    rest: BytesMut,
}

impl Cutter {
    fn push(&mut self, mut bytes: Bytes, is_stderr: bool, lines: &mut Vec<LogLine>) {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            let head = bytes.split_to(at + 1).slice(..at);
            if self.rest.is_empty() {
                lines.push(line(head, is_stderr));
            } else {
                self.rest.extend_from_slice(&head);
                lines.push(line(self.rest.split().freeze(), is_stderr));
            }
        }
        if self.rest.len() < MAX_LINE {
            self.rest.extend_from_slice(&bytes);
        }
    }

    fn finish(&mut self, is_stderr: bool, lines: &mut Vec<LogLine>) {
        if !self.rest.is_empty() {
            lines.push(line(self.rest.split().freeze(), is_stderr));
        }
    }
}

/// Takes the engine's stamp off a line.
fn line(bytes: Bytes, is_stderr: bool) -> LogLine {
    let stamp = bytes.iter().take(40).position(|b| *b == b' ').unwrap_or(bytes.len());
    let at = std::str::from_utf8(&bytes[..stamp.min(40).min(bytes.len())]).ok().and_then(nanoseconds);
    let text = if at.is_some() { bytes.slice((stamp + 1).min(bytes.len())..) } else { bytes };
    LogLine { at, is_stderr, text: text.slice(..text.len().min(MAX_LINE)) }
}

/// RFC 3339 in UTC, by hand: this runs for every line of every log.
fn nanoseconds(stamp: &str) -> Option<i64> {
    let bytes = stamp.as_bytes();
    let is_utc = bytes.last() == Some(&b'Z');
    if bytes.len() < 20 || !is_utc || bytes.get(10) != Some(&b'T') {
        let parsed: Timestamp = stamp.parse().ok()?;
        return i64::try_from(parsed.as_nanosecond()).ok();
    }
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        bytes.get(range)?.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    let fraction = bytes.get(20..bytes.len() - 1).unwrap_or_default();
    let mut nanos = 0;
    for at in 0..9 {
        nanos = nanos * 10 + fraction.get(at).map_or(0, |b| i64::from(b.wrapping_sub(b'0')));
    }
    // Days since 1970 of a Gregorian date, counting years from March.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    (days * 86_400 + seconds).checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// The answer for a document; processes are read again while they are shown.
pub(super) async fn detail(client: Docker, key: DetailKey, events: UnboundedSender<Event>) {
    sleep(SETTLE).await;
    loop {
        let answer = ask(&client, &key).await.map(Box::new).map_err(|error| error.to_string());
        let is_top = matches!(answer.as_deref(), Ok(DetailData::Top(_)));
        if events.send(Event::Detail(key.clone(), answer)).is_err() || !is_top {
            return;
        }
        sleep(TOP_EVERY).await;
    }
}

async fn ask(client: &Docker, key: &DetailKey) -> Result<DetailData, Error> {
    match &key.subject {
        Subject::Container(id) if key.tab == Tab::Top => Ok(DetailData::Top(client.top_processes(id, None).await?)),
        Subject::Container(id) => Ok(DetailData::Container(Box::new(client.inspect_container(id, None).await?))),
        Subject::Image(id) => {
            let (inspect, history) = tokio::try_join!(client.inspect_image(id), client.image_history(id))?;
            Ok(DetailData::Image { inspect: Box::new(inspect), history })
        }
        Subject::Volume(name) => Ok(DetailData::Volume(client.inspect_volume(name).await?)),
        Subject::Network(id) => Ok(DetailData::Network(client.inspect_network(id, None).await?)),
        Subject::Build(id) => Ok(DetailData::BuildLog(client.build_log(id).await?)),
        Subject::Nothing | Subject::Project(_) => {
            Err(Error::UnsupportedHost { host: String::new(), reason: "there is nothing to read".to_owned() })
        }
    }
}

/// How often the steps of running builds are asked for.
const BUILDS_EVERY: std::time::Duration = std::time::Duration::from_millis(300);

/// Tells how running builds get on, until it is dropped.
pub(super) async fn builds(client: Docker, events: UnboundedSender<Event>) {
    loop {
        tokio::time::sleep(BUILDS_EVERY).await;
        if let Ok(listing) = super::refresh_one(&client, super::Refresh::Builds).await
            && events.send(Event::Listed(listing)).is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_as_the_calendar_says() {
        for stamp in [
            "2026-11-21T12:01:22.113456789Z",
            "2024-02-29T23:59:59.5Z",
            "1970-01-01T00:00:00Z",
            "2000-03-01T00:00:00.000000001Z",
        ] {
            let expected = stamp.parse::<Timestamp>().unwrap().as_nanosecond();
            assert_eq!(i128::from(nanoseconds(stamp).unwrap()), expected, "{stamp}");
        }
        assert_eq!(nanoseconds("2026-11-21T12:01:22+01:00"), nanoseconds("2026-11-21T11:01:22Z"));
        assert_eq!(nanoseconds("hello"), None);
    }

    #[test]
    fn lines_in_pieces_are_joined_and_stamps_taken_off() {
        let mut lines = Vec::new();
        let mut cutter = Cutter::default();
        cutter.push(Bytes::from_static(b"1970-01-01T00:00:01Z one\n1970-01-01T00:00:02Z t"), false, &mut lines);
        cutter.push(Bytes::from_static(b"wo\nno stamp"), false, &mut lines);
        cutter.finish(false, &mut lines);
        let texts: Vec<(&[u8], Option<i64>)> = lines.iter().map(|l| (l.text.as_ref(), l.at)).collect();
        assert_eq!(texts, [(&b"one"[..], Some(1_000_000_000)), (b"two", Some(2_000_000_000)), (b"no stamp", None)]);
    }

    #[test]
    fn a_resumed_stream_repeats_and_loses_nothing() {
        let mut seen = Seen::from(LogMark { at: 5, same: 2 });
        let line = |at| LogLine { at: Some(at), is_stderr: false, text: Bytes::new() };
        let kept: Vec<bool> = [4, 5, 5, 5, 6].into_iter().map(|at| seen.is_new(&line(at))).collect();
        assert_eq!(kept, [false, false, false, true, true]);
    }
}
