//! Tells of one step: BuildKit's vertex, status and log messages, and the classic text.

use std::future::Future;
use std::pin::pin;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};

use super::progress::{BuildFailure, BuildMessage};
use super::run::Output;
use super::teller::Teller;
use crate::buildkit::{MISS, Vertex, VertexLog, VertexStatus};
use crate::engine::image::Progress;

/// What of a step's time is its own: waiting for other steps is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// It waits, and worked so long before that.
    Waiting(SignedDuration),
    /// It works.
    Working,
    /// It has ended.
    Ended,
}

/// Where the results of a step's parts came from: FROM has one for each ONBUILD instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    None,
    Cached,
    NotAllCached,
}

/// The teller of one step.
pub(super) struct StepTeller {
    teller: Teller,
    vertex: Vertex,
    /// Its place in the classic numbering, from 0.
    number: usize,
    total: usize,
    work: Work,
    parts: Parts,
    statuses: u64,
    /// The beginning of a character whose rest has not come yet, by stream.
    cut: [Vec<u8>; 2],
}

impl StepTeller {
    pub(super) fn new(teller: Teller, vertex: Vertex, number: usize, total: usize) -> Self {
        let work = Work::Waiting(SignedDuration::ZERO);
        Self { teller, vertex, number, total, work, parts: Parts::None, statuses: 0, cut: Default::default() }
    }

    fn tell_vertex(&self) {
        self.teller.tell(BuildMessage::Vertex(self.vertex.clone()));
    }

    /// Its turn has come. It does nothing yet: that is for [`StepTeller::works`] to say.
    pub(super) fn begin(&self, instruction: &str) {
        // In two records, as dockerd sends it.
        self.text(format!("Step {}/{} : {instruction}", self.number + 1, self.total));
        self.text("\n");
    }

    /// From here on it does what it is for: its time counts.
    pub(super) fn works(&mut self) {
        if let Work::Waiting(before) = self.work {
            // As if it had begun so much later as it waited.
            let now = Timestamp::now();
            self.vertex.started = Some(now.checked_sub(before).unwrap_or(now));
            self.work = Work::Working;
            self.tell_vertex();
        }
    }

    fn waits(&mut self) {
        if let (Work::Working, Some(started)) = (self.work, self.vertex.started) {
            self.work = Work::Waiting(Timestamp::now().duration_since(started));
            self.vertex.started = None;
            self.tell_vertex();
        }
    }

    /// Waits for what others do, which is no time of its own; afterwards it works.
    pub(super) async fn wait_for<T>(&mut self, others: impl Future<Output = T>) -> T {
        let mut others = pin!(others);
        let done = match others.as_mut().now_or_never() {
            Some(done) => done,
            None => {
                self.waits();
                others.await
            }
        };
        self.works();
        done
    }

    /// Its result comes from the cache.
    pub(super) fn cached(&mut self) {
        self.vertex.cached = true;
        self.text(" ---> Using cache\n");
    }

    /// One of its parts begins.
    pub(super) fn begin_part(&mut self) {
        self.vertex.cached = false;
    }

    /// A part is done; says whether its result came from the cache.
    pub(super) fn end_part(&mut self) -> bool {
        let was_cached = self.vertex.cached;
        self.parts = match (self.parts, was_cached) {
            (Parts::None | Parts::Cached, true) => Parts::Cached,
            _ => Parts::NotAllCached,
        };
        was_cached
    }

    /// The cache has nothing for it, though it had before.
    pub(super) fn missed(&mut self, why: &str) {
        self.text(format!(" ---> Cache miss: {why}\n"));
        self.reason(why);
    }

    /// Why it is done, where the classic text has no word for that.
    pub(super) fn reason(&mut self, why: &str) {
        let now = Some(Timestamp::now());
        let name = format!("{MISS}{why}");
        self.teller.tell(BuildMessage::Status(VertexStatus {
            id: name.clone(),
            vertex: self.vertex.digest.clone(),
            name,
            timestamp: now,
            started: now,
            completed: now,
            ..VertexStatus::default()
        }));
    }

    /// It has ended, well or not; passes the outcome on.
    pub(super) fn settle<T>(&mut self, outcome: Result<T, BuildFailure>) -> Result<T, BuildFailure> {
        let now = Timestamp::now();
        if let Work::Waiting(before) = self.work {
            self.vertex.started = Some(now.checked_sub(before).unwrap_or(now));
        }
        self.work = Work::Ended;
        self.vertex.completed = Some(now);
        self.vertex.cached = self.parts == Parts::Cached;
        if let Err(failure) = &outcome {
            self.vertex.cached = false;
            self.vertex.error = failure.in_buildkits_words();
            self.teller.blame(self.vertex.lines, failure);
        }
        self.tell_vertex();
        outcome
    }

    /// As [`StepTeller::settle`], for a part of it: only a failure ends it.
    pub(super) fn settle_failure<T>(&mut self, outcome: Result<T, BuildFailure>) -> Result<T, BuildFailure> {
        if outcome.is_err() { self.settle(outcome) } else { outcome }
    }

    /// Nothing more comes from it.
    pub(super) fn end(&self) {
        self.teller.end_of(self.number);
    }

    /// A line of the classic text.
    pub(super) fn text(&self, text: impl Into<String>) {
        self.teller.tell_in_order(self.number, BuildMessage::Text(text.into()));
    }

    /// Progress of a pull.
    pub(super) fn pull(&mut self, progress: Progress) {
        let detail = progress.progress_detail.as_ref();
        let now = Some(Timestamp::now());
        if let Some(status) = &progress.status {
            self.statuses += 1;
            self.teller.tell(BuildMessage::Status(VertexStatus {
                id: progress.id.clone().unwrap_or_else(|| format!("message {}", self.statuses)),
                vertex: self.vertex.digest.clone(),
                name: match &progress.id {
                    Some(id) => format!("{status} {id}"),
                    None => status.clone(),
                },
                current: detail.and_then(|it| it.current).unwrap_or(0),
                total: detail.and_then(|it| it.total).unwrap_or(0),
                timestamp: now,
                started: now,
                completed: status.ends_with("complete").then_some(now).flatten(),
            }));
        }
        self.teller.tell_in_order(self.number, BuildMessage::Pull(Box::new(progress)));
    }

    fn log(&self, stream: u8, bytes: &[u8]) {
        self.teller.tell(BuildMessage::Log(VertexLog {
            vertex: self.vertex.digest.clone(),
            timestamp: Some(Timestamp::now()),
            stream: i64::from(stream),
            msg: bytes.to_vec(),
        }));
    }
}

impl Output for StepTeller {
    fn running_in(&mut self, id: &str) {
        self.text(format!(" ---> Running in {id}\n"));
    }

    fn removed(&mut self, id: &str) {
        self.text(format!("Removing intermediate container {id}\n"));
    }

    async fn wrote(&mut self, stream: u8, bytes: &[u8]) {
        self.teller.keep_pace().await;
        self.log(stream, bytes);
        let cut = &mut self.cut[usize::from(stream == 2)];
        cut.extend_from_slice(bytes);
        let whole = cut.len() - unfinished(cut);
        let text = String::from_utf8_lossy(cut.get(..whole).unwrap_or_default()).into_owned();
        cut.drain(..whole);
        match stream {
            _ if text.is_empty() => {}
            // What goes to standard error is red, in dockerd's own sequence.
            2 => self.text(format!("\x1b[91m{text}\x1b[0m")),
            _ => self.text(text),
        }
    }
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        Err(error) => unfinished(bytes.get(error.valid_up_to() + error.error_len().unwrap_or(1)..).unwrap_or_default()),
        Ok(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_in_two_pieces_waits_for_its_end() {
        assert_eq!(unfinished("é".as_bytes()), 0);
        assert_eq!(unfinished(b"a\xc3"), 1);
        assert_eq!(unfinished(b"\xff\xe2\x82"), 2);
        assert_eq!(unfinished(b"\xff"), 0);
    }
}
