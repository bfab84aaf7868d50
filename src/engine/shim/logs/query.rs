//! Reading a log: which part of it, and for how long.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::cursor::{Cursor, Wanted};
use super::news::News;
use super::position::LogPosition;

/// Which part of a log is wanted.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Whether to wait for more.
    pub follow: Follow,
    /// Only the last so many entries of what is there at the beginning; `None` is all.
    pub tail: Option<u64>,
    /// Nothing from before.
    pub since: Option<Timestamp>,
    /// Nothing from after.
    pub until: Option<Timestamp>,
    /// Nothing that was written after this; not for followers, nor together with `tail`.
    pub end: Option<LogPosition>,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
}

/// Whether to wait for more at the log's end.
#[derive(Debug, Clone, Default)]
pub enum Follow {
    /// What is there is all.
    #[default]
    No,
    /// Until this becomes true (or its sender goes), which says that the container ended and its log is whole. What
    /// was written up to then is still delivered.
    Until(watch::Receiver<bool>),
}

/// Which of its streams a container wrote to. On a terminal all is `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One entry of a log: a line, or a piece of one that is longer than 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it was written to.
    pub stream: LogStream,
    /// When; pieces of one line have the time of the first.
    pub time: Timestamp,
    /// What, with its newline; a piece that is not the last of its line has none.
    pub bytes: Bytes,
    /// What its driver's options added to it.
    pub attrs: Attrs,
}

/// The `attrs` of an entry: labels, variables and the tag that its container's log options asked for.
pub type Attrs = BTreeMap<String, String>;

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read log {}: {source}", path.display())]
pub struct LogError {
    /// Which file.
    pub path: PathBuf,
    /// The disk's answer.
    pub source: io::Error,
}

/// Reads the log at `path`, oldest entry first. That there is no file (yet) is an empty log. Lines that are damaged,
/// as a power loss leaves them, are passed over. `tail` counts entries of both streams, also those that are not wanted, as
/// Docker does. Memory is that of one batch, whatever the log's size; a follower holds no thread while it waits.
pub fn read(path: &Path, query: LogQuery) -> impl Stream<Item = Result<LogEntry, LogError>> + Send + 'static + use<> {
    let path = path.to_owned();
    stream::unfold(State::Before(query), move |state| {
        let path = path.clone();
        async move {
            match step(&path, state).await {
                Ok(Some((entry, state))) => Some((Ok(entry), state)),
                Ok(None) => None,
                Err(source) => Some((Err(LogError { path, source }), State::Over)),
            }
        }
    })
}

enum State {
    Before(LogQuery),
    Reading(Box<Reading>),
    Over,
}

struct Reading {
    /// Taken away while a blocking thread reads.
    cursor: Option<Cursor>,
    ready: VecDeque<LogEntry>,
    follow: Option<Following>,
}

struct Following {
    ended: watch::Receiver<bool>,
    until: Option<Timestamp>,
    news: News,
}

async fn step(path: &Path, state: State) -> io::Result<Option<(LogEntry, State)>> {
    let mut reading = match state {
        State::Before(query) => Box::new(Reading::begin(path, query).await?),
        State::Reading(reading) => reading,
        State::Over => return Ok(None),
    };
    loop {
        if let Some(entry) = reading.ready.pop_front() {
            return Ok(Some((entry, State::Reading(reading))));
        }
        let was_over = reading.follow.as_mut().is_none_or(Following::is_over);
        reading.read_batch().await?;
        match &mut reading.follow {
            _ if !reading.ready.is_empty() => {}
            Some(following) if !was_over => following.wait().await?,
            _ => return Ok(None),
        }
    }
}

impl Reading {
    async fn begin(path: &Path, query: LogQuery) -> io::Result<Self> {
        let LogQuery { follow, tail, since, until, end, stdout, stderr } = query;
        let follow = match follow {
            Follow::Until(ended) => Some(Following { ended, until, news: News::of(path)? }),
            Follow::No => None,
        };
        let (path, is_following) = (path.to_owned(), follow.is_some());
        let wanted = Wanted { since, until, end, stdout, stderr };
        let cursor = blocking(move || Cursor::open(&path, wanted, tail, is_following)).await??;
        Ok(Self { cursor: Some(cursor), ready: VecDeque::new(), follow })
    }

    async fn read_batch(&mut self) -> io::Result<()> {
        let Some(mut cursor) = self.cursor.take() else { return Ok(()) };
        let (cursor, batch) = blocking(move || {
            let batch = cursor.next_batch();
            (cursor, batch)
        })
        .await?;
        self.cursor = Some(cursor);
        self.ready = batch?.into();
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

impl Following {
    /// Whether what is there now is all that is wanted.
    fn is_over(&mut self) -> bool {
        let has_ended = *self.ended.borrow_and_update() || self.ended.has_changed().is_err();
        has_ended || self.until.is_some_and(|until| Timestamp::now() > until)
    }

    /// Waits until there may be more, or until there will not be.
    async fn wait(&mut self) -> io::Result<()> {
        let until = self.until.map(|until| until.duration_since(Timestamp::now()).unsigned_abs());
        tokio::select! {
            news = self.news.wait() => news,
            // An error says that nobody will tell us any more, which `is_over` sees as well.
            _ = self.ended.changed() => Ok(()),
            () = tokio::time::sleep(until.unwrap_or(Duration::MAX / 4)), if until.is_some() => Ok(()),
        }
    }
}
