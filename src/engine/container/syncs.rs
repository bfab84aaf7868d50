//! Has the disk keep records, a moment after they were written, and only a few at the same time.
//!
//! Writes of one record that follow each other cost one request then, and a container that is gone again by then
//! (`docker run --rm`) costs none. A disk takes many requests in one go; but each waits in a thread of its own, and two
//! hundred of those were most of the memory that a storm of containers took.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::engine::store::{RecordError, sync_record};

/// How long a written record waits before the disk is asked to keep it.
const DELAY: Duration = Duration::from_millis(200);
/// How many threads wait for the disk.
const AT_ONCE: usize = 8;

/// The requests of all containers.
pub struct Syncs(Semaphore);

impl Syncs {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(AT_ONCE)))
    }

    /// Has the disk keep the record at `path`, in a moment and behind the caller's back: it outlives our own death from
    /// the write on, and only a power loss within that moment shows the state before. `is_due` is the record's own.
    pub fn soon(self: &Arc<Self>, is_due: &Arc<AtomicBool>, path: PathBuf) {
        if is_due.swap(true, Ordering::AcqRel) {
            return;
        }
        let (syncs, is_due) = (Arc::clone(self), Arc::clone(is_due));
        tokio::spawn(async move {
            tokio::time::sleep(DELAY).await;
            let _turn = syncs.0.acquire().await; // nobody closes it
            // Before the sync: a write that comes during it asks for another one.
            is_due.store(false, Ordering::Release);
            match tokio::task::spawn_blocking(move || sync_record(&path)).await {
                Ok(Err(RecordError::Io { source, .. })) if source.kind() == io::ErrorKind::NotFound => {} // removed
                Ok(Err(error)) => tracing::warn!(%error, "a power loss may take a container's last state"),
                _ => {}
            }
        });
    }
}
