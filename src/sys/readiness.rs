//! Descriptors that tokio's reactor watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches `fd` for readability. The caller must be in a tokio runtime.
///
/// # Errors
/// The kernel's refusal, as for a regular file, which can't be waited for.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `register` wants the descriptor to be the same and open until it is deregistered. An `OwnedFd` owns its number,
    // can't be changed through the shared reference that `AsyncFd` hands out, and `AsyncFd` drops it after deregistering.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(Into::into)
}
