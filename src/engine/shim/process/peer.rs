//! The connections to a shim: those that talk, and those that became a container's streams.

use std::os::unix::net::UnixStream;
use std::time::Instant;

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

/// What to do with an attacher that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The container waits for it, as for the reader of a pipe. For those who asked for the output before there was any: losing
    /// part of `docker run x | y` would be worse.
    Wait,
    /// It is cut off, so that whoever just looks in can't stall a container.
    Drop,
}

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
    /// How far one may fall behind: [`Patience::Wait`] makes the container wait beyond it, [`Patience::Drop`] cuts off.
    pub fn limit(&self) -> usize {
        match self.patience {
            Patience::Wait => 256 << 10,
            Patience::Drop => 1 << 20,
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
    pub fn control(socket: UnixStream) -> Self {
        let role = Role::Control { decoder: Decoder::default(), is_subscribed: false };
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
    fn frames_are_dockers() {
        assert_eq!(frame_header(LogStream::Stdout, 5), [1, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(frame_header(LogStream::Stderr, 0x1_0203), [2, 0, 0, 0, 0, 1, 2, 3]);
    }
}
