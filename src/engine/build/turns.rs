//! Equal steps under way at once, in one build or in several: one does the work, the others wait for their turn and then
//! find the result in the cache.
//!
//! Where whoever had the turn is cancelled or fails, the next in line takes it and does the work itself. Nobody holds a
//! turn while waiting for another one, so no two builds can wait for each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::engine::layer::Digest;

type Lane = Arc<tokio::sync::Mutex<()>>;

/// The steps that are being done, by their keys. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    lanes: Arc<Mutex<HashMap<Digest, Lane>>>,
}

/// Leave to do the step of a key; dropping it passes the turn on.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    key: Digest,
    lane: Option<Lane>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody else does the step of `key`. Dropping the future leaves the line.
    pub(super) async fn take(&self, key: Digest) -> Turn {
        let lane = Arc::clone(self.lanes().entry(key).or_default());
        // Made before the wait, so that a waiter that goes away tidies up as well.
        let mut turn = Turn { turns: self.clone(), key, lane: Some(Arc::clone(&lane)), held: None };
        turn.held = Some(lane.lock_owned().await);
        turn
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Digest, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lanes = self.turns.lanes();
        self.held = None;
        self.lane = None;
        if lanes.get(&self.key).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn turns_are_taken_in_order_and_leave_nothing() {
        let turns = Turns::default();
        let key = Digest::of(b"a");
        let first = turns.take(key).await;
        let mut gone = Box::pin(turns.take(key));
        let mut second = Box::pin(turns.take(key));
        assert!((&mut gone).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert!(turns.take(Digest::of(b"b")).now_or_never().is_some(), "another step need not wait");
        drop(gone);
        drop(first);
        let second = second.now_or_never().expect("its turn has come");
        assert_eq!(turns.lanes().len(), 1);
        drop(second);
        assert!(turns.lanes().is_empty());
    }
}
