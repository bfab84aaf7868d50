//! The resolver's sockets and its table of questions that are under way.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use super::config::DnsConfig;

/// What an event loop should wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes or connections to read.
    Read,
    /// Room to write.
    Write,
}

/// One container's resolver.
#[derive(Debug)]
pub struct Server {
    config: DnsConfig,
}

impl Server {
    /// Opens 127.0.0.11:53, UDP and TCP, in the network namespace `netns`. The calling thread enters the namespace and
    /// comes back, so the process must be single-threaded or the thread its own.
    ///
    /// # Errors
    /// The kernel's refusal; the thread is then back in its own namespace, too.
    pub fn bind(netns: BorrowedFd<'_>, config: DnsConfig) -> io::Result<Self> {
        let _ = netns;
        Ok(Self { config })
    }

    /// The descriptors to wait on now; may change after each [`ready`](Self::ready) and [`expire`](Self::expire).
    pub fn poll_fds(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let _ = &self.config;
        Vec::new()
    }

    /// Does what can be done on `fd` without waiting. Unknown descriptors are ignored.
    pub fn ready(&mut self, fd: RawFd) {
        let _ = fd;
    }

    /// Gives up on what took too long; call it when [`next_timeout`](Self::next_timeout) has passed.
    pub fn expire(&mut self) {}

    /// How long at most to wait before calling [`expire`](Self::expire); `None`: nothing is under way.
    pub fn next_timeout(&self) -> Option<Duration> {
        None
    }
}
