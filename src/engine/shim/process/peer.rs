//! The connections to a shim: those that talk, and those that became a container's streams.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::outbox::Outbox;
use super::reactor::{Interest, Number};
use crate::engine::shim::logs::LogStream;
use crate::engine::shim::protocol::{Attach, Decoder};

/// A connection.
#[derive(Debug)]
pub struct Peer {
    /// The socket, non-blocking.
    pub socket: UnixStream,
    /// What it is yet to get.
    pub outbox: Outbox,
    /// What it is.
    pub role: Role,
}

/// Whether a connection that talks gets events without asking for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    /// The one that the shim was born with.
    Yes,
    /// Any other, which may ask.
    No,
}

/// What a connection is.
#[derive(Debug)]
pub enum Role {
    /// It sends requests.
    Control {
        /// What is not a whole request yet.
        decoder: Decoder,
        /// Whether it gets events.
        is_subscribed: bool,
    },
    /// It carries streams.
    Attached(Attached),
}

/// An attacher.
#[derive(Debug)]
pub struct Attached {
    /// Whose streams.
    pub member: Number,
    /// Which of them.
    pub wants: Attach,
    /// Whether output is in Docker's frames; a terminal's is raw.
    pub is_framed: bool,
    /// What to do when it does not keep up.
    pub patience: Patience,
    /// What still comes from it.
    pub input: InputState,
    /// When it last took something, or needed to take nothing.
    pub last_progress: Instant,
    /// Whether it goes when it has got everything.
    pub is_finishing: bool,
}

/// What to do with an attacher that does not keep up. In either case it gets all in the end, and one that stands still does not
/// hold the container up: what it does not take is kept in a file for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The container waits for it as long as it takes something, as for the reader of a pipe. For those who asked for the
    /// output before there was any: `docker run x | y` should not fill the disk because `y` is slow.
    Wait,
    /// The container never waits for it: whoever just looks in can't slow it down.
    Never,
}

/// What becomes of output for an attacher that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// It waits in memory.
    Kept,
    /// The container waits, at most until then: something has to be decided anew.
    Waits(Instant),
    /// It goes to a file.
    Spilled,
    /// The attacher is cut off: it takes nothing, and the file is as large as it may get.
    CutOff,
}

/// How much waits for an attacher in memory, at least until it is looked at again.
const MEMORY_LIMIT: u64 = 64 << 10;
/// Who takes nothing for so long while more waits stands still.
const STALL: Duration = Duration::from_millis(200);
/// How much waits for an attacher in a file.
const SPILL_LIMIT: u64 = 1 << 30;
/// Who takes nothing for so long when its file is full is cut off.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What still comes from an attacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputState {
    /// Bytes for standard input.
    Open,
    /// It is gone, but what it sent before is not read to the end yet.
    HungUp,
    /// Nothing, or nothing that anybody wants.
    Ended,
}

impl Attached {
    /// What becomes of more output at `now`, when `waiting` bytes wait already.
    pub fn behind(&self, waiting: u64, now: Instant) -> Behind {
        if waiting <= MEMORY_LIMIT {
            return Behind::Kept;
        }
        let is_full = waiting > SPILL_LIMIT;
        let until = self.last_progress + if is_full { GIVE_UP } else { STALL };
        match (self.patience, is_full) {
            (Patience::Wait, _) if now < until => Behind::Waits(until),
            (_, true) => Behind::CutOff,
            (_, false) => Behind::Spilled,
        }
    }

    /// Whether it gets what is written to `stream`.
    pub fn gets(&self, stream: LogStream) -> bool {
        match stream {
            LogStream::Stdout => self.wants.stdout,
            LogStream::Stderr => self.wants.stderr,
        }
    }
}

impl Peer {
    /// A new connection that may send requests.
    pub fn control(socket: UnixStream, subscribed: Subscribed) -> Self {
        let role = Role::Control { decoder: Decoder::default(), is_subscribed: subscribed == Subscribed::Yes };
        Self { socket, outbox: Outbox::default(), role }
    }

    /// What to wait for; `takes_input` says whether the member's standard input has room.
    pub fn interest(&self, takes_input: bool) -> Option<Interest> {
        let write = !self.outbox.is_empty();
        match &self.role {
            Role::Control { .. } => Some(Interest { read: true, write }),
            Role::Attached(attached) => match attached.input {
                // Its hang-up would be told again and again.
                InputState::HungUp => None,
                InputState::Open => Some(Interest { read: takes_input, write }),
                InputState::Ended => Some(Interest { read: false, write }),
            },
        }
    }

    /// The attacher, if it is one.
    pub fn attached(&self) -> Option<&Attached> {
        match &self.role {
            Role::Attached(attached) => Some(attached),
            Role::Control { .. } => None,
        }
    }
}

/// The header of Docker's stream frames: stream number, three zeros, the length.
pub fn frame_header(stream: LogStream, length: usize) -> [u8; 8] {
    let number = match stream {
        LogStream::Stdout => 1,
        LogStream::Stderr => 2,
    };
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [number, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_waits_for_the_slow_but_not_for_the_stopped() {
        let start = Instant::now();
        let attacher = |patience| Attached {
            member: 0,
            wants: Attach { stdin: false, stdout: true, stderr: true, replay: false },
            is_framed: true,
            patience,
            input: InputState::Ended,
            last_progress: start,
            is_finishing: false,
        };
        let check = |patience, waiting, after_ms, expected| {
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(
                attacher(patience).behind(waiting, now),
                expected,
                "{patience:?}, {waiting} after {after_ms} ms"
            );
        };
        for patience in [Patience::Wait, Patience::Never] {
            check(patience, 0, 1_000_000, Behind::Kept);
            check(patience, 1 << 20, 300, Behind::Spilled);
            check(patience, 2 << 30, 11_000, Behind::CutOff);
        }
        check(Patience::Wait, 1 << 20, 100, Behind::Waits(start + STALL));
        check(Patience::Wait, 2 << 30, 9_000, Behind::Waits(start + GIVE_UP));
        check(Patience::Never, 1 << 20, 0, Behind::Spilled);
        check(Patience::Never, 2 << 30, 0, Behind::CutOff);
    }

    #[test]
    fn frames_are_dockers() {
        assert_eq!(frame_header(LogStream::Stdout, 5), [1, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(frame_header(LogStream::Stderr, 0x1_0203), [2, 0, 0, 0, 0, 1, 2, 3]);
    }
}
