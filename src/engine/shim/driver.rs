//! The task that owns an engine's control connection to a shim: numbers requests, hands out replies, spreads events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};

use super::protocol::{Answer, Decoder, Message, Refusal, Request, ShimEvent, Verb, encode};
use super::spec::{ExitRecord, ProcessIdentity};

/// A request on its way to the shim, and whom to tell.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// What handle and driver both see.
#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `Exited` or `Gone`, once that happened; nothing comes after it.
    end: Option<ShimEvent>,
    /// Whether the shim may end without that being news: its container never ran, or its end was told.
    is_dismissed: bool,
    subscribers: Vec<mpsc::UnboundedSender<ShimEvent>>,
    /// What happened before anybody subscribed: a container may have ended and started again by then.
    untold: Vec<ShimEvent>,
    was_subscribed: bool,
    execs: HashMap<String, oneshot::Sender<i64>>,
}

/// What happens to a container, in order; ends after `Exited` or `Gone`.
#[derive(Debug)]
pub struct ShimEvents(mpsc::UnboundedReceiver<ShimEvent>);

impl ShimEvents {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<ShimEvent> {
        self.0.recv().await
    }
}

impl Shared {
    pub(super) fn new(exit: Option<ExitRecord>) -> Self {
        Self(Mutex::new(State { end: exit.map(ShimEvent::Exited), ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while holding it; should one ever, the state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self) -> ShimEvents {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        state.was_subscribed = true;
        for event in std::mem::take(&mut state.untold) {
            let _ = sender.send(event);
        }
        match &state.end {
            Some(end) => drop(sender.send(end.clone())),
            None if state.is_dismissed => {}
            None => state.subscribers.push(sender),
        }
        ShimEvents(receiver)
    }

    pub(super) fn expect_exec(&self, exec_id: &str) -> oneshot::Receiver<i64> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        if state.end.is_none() {
            state.execs.insert(exec_id.to_owned(), sender);
        }
        receiver
    }

    pub(super) fn forget_exec(&self, exec_id: &str) {
        self.state().execs.remove(exec_id);
    }

    /// The shim is about to end as it should, without an exit record.
    fn dismiss(&self) {
        self.state().is_dismissed = true;
    }

    fn tell(&self, event: ShimEvent) {
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        if let ShimEvent::ExecExited { exec_id, code } = &event
            && let Some(waiting) = state.execs.remove(exec_id)
        {
            // Nobody may be interested any more.
            let _ = waiting.send(*code);
        }
        let is_last = matches!(event, ShimEvent::Exited(_) | ShimEvent::Gone);
        if !state.was_subscribed && !is_last {
            state.untold.push(event);
            return;
        }
        state.subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
        if is_last {
            state.end = Some(event);
            state.subscribers.clear();
            state.execs.clear();
        }
    }

    fn connection_ended(&self) {
        let is_dismissed = self.state().is_dismissed;
        if is_dismissed {
            let mut state = self.state();
            state.subscribers.clear();
            state.execs.clear();
        } else {
            self.tell(ShimEvent::Gone);
        }
    }
}

/// Runs until the shim closes the connection or the last handle is dropped.
#[derive(Debug)]
pub(super) struct Driver {
    connection: UnixStream,
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Command>,
    shim: ProcessIdentity,
}

impl Driver {
    pub(super) fn new(
        connection: UnixStream,
        shared: Arc<Shared>,
        inbox: mpsc::UnboundedReceiver<Command>,
        shim: ProcessIdentity,
    ) -> Self {
        Self { connection, shared, inbox, shim }
    }

    pub(super) async fn run(self) {
        let Self { connection, shared, mut inbox, shim } = self;
        let (mut reader, mut writer) = connection.into_split();
        let mut waiting = Waiting::default();
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 4096];
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => {
                        // A broken pipe shows as the end of what can be read, too, and that comes after the last event.
                        let _ = waiting.send(command, &mut writer).await;
                    }
                    // Nobody holds the shim any more; it lives on.
                    None => return,
                },
                read = reader.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => {
                        decoder.push(buffer.get(..count).unwrap_or_default());
                        if waiting.dispatch(&mut decoder, &shared).is_err() {
                            tracing::warn!(shim = shim.pid, "a shim sends messages that are not understood");
                            break;
                        }
                    }
                    _ => break,
                },
            }
        }
        // Whoever waits for a reply learns by the dropped sender.
        shared.connection_ended();
    }
}

#[derive(Default)]
struct Waiting {
    next_id: u64,
    replies: HashMap<u64, (bool, oneshot::Sender<Result<Answer, Refusal>>)>,
}

impl Waiting {
    async fn send(&mut self, Command { verb, reply }: Command, writer: &mut OwnedWriteHalf) -> std::io::Result<()> {
        self.next_id += 1;
        let is_last = matches!(verb, Verb::Start | Verb::Discard);
        self.replies.insert(self.next_id, (is_last, reply));
        writer.write_all(&encode(&Request { id: self.next_id, verb })).await
    }

    fn dispatch(&mut self, decoder: &mut Decoder, shared: &Shared) -> Result<(), super::protocol::ProtocolError> {
        while let Some(message) = decoder.next_message()? {
            let (id, outcome) = match serde_json::from_slice(message)? {
                Message::Event(event) => {
                    shared.tell(event);
                    continue;
                }
                Message::Ok { id, answer } => (id, Ok(answer)),
                Message::Refused { id, refusal } => (id, Err(refusal)),
            };
            if let Some((may_end_it, reply)) = self.replies.remove(&id) {
                // A failed start and a granted discard both end the shim, and the asker knows.
                let ends = match &outcome {
                    Ok(Answer::Done) => may_end_it,
                    Ok(_) => false,
                    Err(refusal) => may_end_it && refusal.kind == super::protocol::RefusalKind::Start,
                };
                if ends {
                    shared.dismiss();
                }
                // The asker may have given up.
                let _ = reply.send(outcome);
            }
        }
        Ok(())
    }
}
