//! Starting a container whose creating process is gone: its first process listens at a socket and is told to start by
//! whoever connects, who hears in turn why the program could not be executed.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::step::During;
use super::talk::{Message, Talk};
use super::{Step, StepError};

/// Waits at `door` until somebody says start.
pub(super) fn await_caller(door: &OwnedFd) -> Result<Talk, StepError> {
    loop {
        let caller = match accept_with(door.as_fd(), SocketFlags::CLOEXEC) {
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            other => Talk::from_descriptor(other.during(Step::Talk, "accept")?),
        };
        // one that says nothing, or something else, is not the one
        if let Ok(Some((Message::Start, _))) = caller.receive() {
            return Ok(caller);
        }
    }
}

/// Starts the container whose first process listens at the other end of `connected`; returns when its program runs.
///
/// # Errors
/// The step that failed; the process is then gone.
pub fn start_later(connected: OwnedFd) -> Result<(), StepError> {
    let talk = Talk::from_descriptor(connected);
    talk.tell(&Message::Start, None)?;
    match talk.receive()? {
        None => Ok(()),
        Some((Message::Failed(error), _)) => Err(error),
        Some(_) => Err(StepError::new(Step::Talk, Errno::PROTO, "")),
    }
}
