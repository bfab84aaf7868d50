//! Where a build's messages come together: steps that run side by side, one stream in a readable order.
//!
//! BuildKit's messages name their step, so they go out as they come. The classic text does not: there, a step's lines
//! wait until all steps before it have ended, so that `Step 3/5` never stands amid the output of `Step 2/5`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::DropGuard;

use super::excerpt::{SOURCE_ID, Source};
use super::history::Recorder;
use super::progress::{BuildFailure, BuildMessage};
use crate::dockerfile::LineRange;

/// So many messages may wait for a slow client before a step's output is no longer read.
const QUEUE_LIMIT: usize = 4096;

/// The sending end; clones send into the same stream.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    messages: mpsc::UnboundedSender<BuildMessage>,
    queue: Arc<Queue>,
    order: Mutex<Order>,
    /// What a quiet build keeps to itself, unless it fails; `None` for others.
    withheld: Option<Mutex<Withheld>>,
    recorder: Recorder,
    /// The Dockerfile, once it was read.
    source: OnceLock<Source>,
    /// Where the build went wrong.
    blamed: Mutex<Option<LineRange>>,
}

/// So much text of a quiet build is kept for the day it fails: its last bytes tell why.
const WITHHELD_LIMIT: usize = 1 << 20;

/// What the steps of a quiet build said.
#[derive(Debug, Default)]
struct Withheld {
    messages: VecDeque<BuildMessage>,
    bytes: usize,
}

impl Withheld {
    fn keep(&mut self, message: BuildMessage) {
        let BuildMessage::Text(text) = &message else { return };
        self.bytes += text.len();
        self.messages.push_back(message);
        while self.bytes > WITHHELD_LIMIT
            && let Some(BuildMessage::Text(oldest)) = self.messages.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    length: AtomicUsize,
    shorter: Notify,
}

/// A build's stream of messages. Dropping it cancels the build.
pub(super) struct Messages {
    receiver: mpsc::UnboundedReceiver<BuildMessage>,
    queue: Arc<Queue>,
    _cancels: DropGuard,
}

/// A sending end and the stream it feeds; dropping the stream triggers `cancels`. A quiet one has no text of steps, but
/// `recorder` hears it all.
pub(super) fn channel(cancels: DropGuard, is_quiet: bool, recorder: Recorder) -> (Teller, Messages) {
    let (messages, receiver) = mpsc::unbounded_channel();
    let queue = Arc::new(Queue::default());
    let shared = Shared {
        messages,
        queue: Arc::clone(&queue),
        order: Mutex::default(),
        withheld: is_quiet.then(Mutex::default),
        recorder,
        source: OnceLock::new(),
        blamed: Mutex::default(),
    };
    (Teller { shared: Arc::new(shared) }, Messages { receiver, queue, _cancels: cancels })
}

impl Teller {
    /// Sends a message that may go out at once.
    pub(super) fn tell(&self, message: BuildMessage) {
        self.shared.recorder.note(&message);
        self.send(message);
    }

    fn send(&self, message: BuildMessage) {
        self.shared.queue.length.fetch_add(1, Ordering::Relaxed);
        // Nobody listening means that the build is being cancelled.
        let _ = self.shared.messages.send(message);
    }

    /// Sends classic text or pull progress of the step `step` (from 0, in the order of the Dockerfile) when it is its turn.
    pub(super) fn tell_in_order(&self, step: usize, message: BuildMessage) {
        // Sent under the lock: the order of sending is what it protects, and sending never waits.
        let mut order = self.shared.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.pass(order.take(step, message));
    }

    /// Says that nothing more comes from the step `step`.
    pub(super) fn end_of(&self, step: usize) {
        let mut order = self.shared.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.pass(order.end(step));
    }

    /// Sends what still waits for its turn, at the end of a build that failed.
    pub(super) fn flush(&self) {
        let mut order = self.shared.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.pass(order.flush());
    }

    /// What the steps say, in order.
    fn pass(&self, messages: Vec<BuildMessage>) {
        for message in messages {
            self.shared.recorder.note(&message);
            match &self.shared.withheld {
                None => self.send(message),
                Some(withheld) => withheld.lock().unwrap_or_else(PoisonError::into_inner).keep(message),
            }
        }
    }

    /// The Dockerfile that was read, to show places in it.
    pub(super) fn read(&self, source: Source) {
        let _ = self.shared.source.set(source);
    }

    /// Notes where the build went wrong; the first place counts, and none where it was only cancelled.
    pub(super) fn blame(&self, lines: Option<LineRange>, failure: &BuildFailure) {
        if *failure != BuildFailure::cancelled() {
            let mut blamed = self.shared.blamed.lock().unwrap_or_else(PoisonError::into_inner);
            *blamed = blamed.or(lines);
        }
    }

    /// Ends the stream with a failure, before which stands its place in the Dockerfile. A quiet build tells now what its
    /// steps said.
    pub(super) fn fail(&self, failure: BuildFailure) {
        if let Some(withheld) = &self.shared.withheld {
            let withheld = std::mem::take(&mut *withheld.lock().unwrap_or_else(PoisonError::into_inner));
            withheld.messages.into_iter().for_each(|message| self.send(message));
        }
        let blamed = *self.shared.blamed.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(lines), Some(source)) = (blamed, self.shared.source.get()) {
            self.tell(BuildMessage::Aux { id: SOURCE_ID, aux: source.excerpt(lines) });
        }
        self.tell(BuildMessage::Failed(failure));
    }

    /// Waits while the client is far behind.
    pub(super) async fn keep_pace(&self) {
        loop {
            let shorter = self.shared.queue.shorter.notified();
            if self.shared.queue.length.load(Ordering::Relaxed) < QUEUE_LIMIT || self.shared.messages.is_closed() {
                return;
            }
            shorter.await;
        }
    }
}

impl Stream for Messages {
    type Item = BuildMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.receiver.poll_recv(context);
        if let Poll::Ready(Some(_)) = &polled {
            self.queue.length.fetch_sub(1, Ordering::Relaxed);
            self.queue.shorter.notify_waiters();
        }
        polled
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.receiver.close();
        self.queue.shorter.notify_waiters();
    }
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Order {
    current: usize,
    ended: BTreeSet<usize>,
    waiting: BTreeMap<usize, Vec<BuildMessage>>,
}

impl Order {
    fn take(&mut self, step: usize, message: BuildMessage) -> Vec<BuildMessage> {
        if step <= self.current {
            return vec![message];
        }
        // The progress of a pull means nothing once it is over.
        if !matches!(message, BuildMessage::Pull(_)) {
            self.waiting.entry(step).or_default().push(message);
        }
        Vec::new()
    }

    fn end(&mut self, step: usize) -> Vec<BuildMessage> {
        self.ended.insert(step);
        let mut out = Vec::new();
        while self.ended.remove(&self.current) {
            self.current += 1;
            out.extend(self.waiting.remove(&self.current).unwrap_or_default());
        }
        out
    }

    fn flush(&mut self) -> Vec<BuildMessage> {
        self.current = usize::MAX;
        std::mem::take(&mut self.waiting).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> BuildMessage {
        BuildMessage::Text(text.to_owned())
    }

    #[test]
    fn a_step_waits_for_those_before_it() {
        let mut order = Order::default();
        assert_eq!(order.take(1, text("b1")), []);
        assert_eq!(order.take(0, text("a1")), [text("a1")]);
        assert_eq!(order.take(2, text("c1")), []);
        assert_eq!(order.end(1), []);
        assert_eq!(order.end(0), [text("b1"), text("c1")]);
        assert_eq!(order.take(2, text("c2")), [text("c2")]);
        assert_eq!(order.take(9, text("z")), []);
        assert_eq!(order.flush(), [text("z")]);
    }
}
