//! DNS over TCP: messages with their length before them, on a socket that never waits.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use super::server::Interest;

/// The longest message: its length has two bytes.
const LONGEST: usize = 2 + u16::MAX as usize;

/// A connection with what has come and what is still to go.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Stream {
    /// Takes over a connected or connecting socket.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, incoming: Vec::new(), outgoing: Vec::new() })
    }

    /// Puts a message on its way.
    pub fn send(&mut self, message: &[u8]) {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        self.outgoing.extend(length.to_be_bytes());
        self.outgoing.extend(message.iter().take(length.into()));
    }

    /// Moves what can be moved now. `false`: the connection is over.
    pub fn advance(&mut self) -> bool {
        self.write().is_ok() && self.read().unwrap_or(false)
    }

    /// The next whole message that came.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes([*self.incoming.first()?, *self.incoming.get(1)?]));
        let message = self.incoming.get(2..2 + length)?.to_vec();
        self.incoming.drain(..2 + length);
        Some(message)
    }

    /// What to wait for.
    pub fn interest(&self) -> Interest {
        if self.outgoing.is_empty() { Interest::Read } else { Interest::Write }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.socket.write(&self.outgoing) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// `Ok(false)`: the other side has ended the connection.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        while self.incoming.len() < LONGEST {
            match self.socket.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(count) => self.incoming.extend(piece.iter().take(count)),
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether the socket only isn't ready, be it connecting or empty.
fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected)
}
