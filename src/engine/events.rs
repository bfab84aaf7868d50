//! The event ring and its subscribers.
//!
//! Every change a client may want to follow is published here as the Engine API's own event message. The last
//! [`RING`] events are kept for `since`; a subscriber that stalls loses the oldest events, never the engine's time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard_stubs::models::{EventActor, EventMessage, EventMessageScopeEnum, EventMessageTypeEnum};
use tokio::sync::broadcast;

/// How many past events are kept for `since`, as in dockerd (`daemon/events/events.go`).
const RING: usize = 256;

/// Publishes events to all subscribers and remembers the last ones.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<VecDeque<EventMessage>>,
    live: broadcast::Sender<EventMessage>,
}

impl Default for Events {
    fn default() -> Self {
        Self { ring: Mutex::new(VecDeque::with_capacity(RING)), live: broadcast::channel(1024).0 }
    }
}

impl Events {
    /// Publishes that `action` (Docker's word, like `start`) happened to the object `id` of kind `object`.
    pub fn publish<'a>(
        &self,
        object: EventMessageTypeEnum,
        action: impl Into<String>,
        id: impl Into<String>,
        attributes: impl IntoIterator<Item = (&'a str, String)>,
    ) {
        let now = jiff::Timestamp::now();
        let attributes: HashMap<String, String> =
            attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let event = EventMessage {
            typ: Some(object),
            action: Some(action.into()),
            actor: Some(EventActor { id: Some(id.into()), attributes: Some(attributes) }),
            scope: Some(EventMessageScopeEnum::LOCAL),
            time: Some(now.as_second()),
            time_nano: i64::try_from(now.as_nanosecond()).ok(),
        };
        let mut ring = self.ring();
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(event.clone());
        // Sent under the lock so that a subscriber sees each event exactly once; nobody listening is no error.
        let _ = self.live.send(event);
    }

    /// The remembered events, oldest first, and every later one, with none between lost or doubled.
    pub fn subscribe(&self) -> (Vec<EventMessage>, broadcast::Receiver<EventMessage>) {
        let ring = self.ring();
        (ring.iter().cloned().collect(), self.live.subscribe())
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<EventMessage>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_subscriber_sees_past_and_future_once() {
        let events = Events::default();
        events.publish(EventMessageTypeEnum::CONTAINER, "create", "1", []);
        let (past, mut live) = events.subscribe();
        events.publish(EventMessageTypeEnum::CONTAINER, "start", "1", [("name", "web".to_owned())]);

        assert_eq!(past.len(), 1);
        assert_eq!(live.recv().await.unwrap().action.as_deref(), Some("start"));
    }
}
