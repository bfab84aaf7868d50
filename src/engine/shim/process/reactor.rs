//! What the shim waits for: one `epoll` set, its descriptors told apart by [`Source`].

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::engine::shim::logs::LogStream;

/// The number of a connection, of a process of the container, or of a resolver's descriptor.
pub type Number = u32;

/// What a descriptor is to the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The control socket.
    Listener,
    /// The signals that are for the shim.
    Signals,
    /// A connection to it.
    Connection(Number),
    /// The end of a process of the container.
    End(Number),
    /// What such a process writes.
    Output(Number, LogStream),
    /// Room in such a process's standard input.
    Input(Number),
    /// One of the resolver's descriptors.
    Dns(Number),
    /// The OOM killer was at work.
    Oom,
    /// Room in the pipe to the process that writes the log.
    Log,
}

impl Source {
    fn key(self) -> u64 {
        let (kind, number) = match self {
            Self::Listener => (0, 0),
            Self::Signals => (1, 0),
            Self::Connection(number) => (2, number),
            Self::End(number) => (3, number),
            Self::Output(number, LogStream::Stdout) => (4, number),
            Self::Output(number, LogStream::Stderr) => (5, number),
            Self::Input(number) => (6, number),
            Self::Dns(number) => (7, number),
            Self::Oom => (8, 0),
            Self::Log => (9, 0),
        };
        kind << 32 | u64::from(number)
    }

    fn from_key(key: u64) -> Option<Self> {
        let number = (key & 0xffff_ffff) as Number;
        Some(match key >> 32 {
            0 => Self::Listener,
            1 => Self::Signals,
            2 => Self::Connection(number),
            3 => Self::End(number),
            4 => Self::Output(number, LogStream::Stdout),
            5 => Self::Output(number, LogStream::Stderr),
            6 => Self::Input(number),
            7 => Self::Dns(number),
            8 => Self::Oom,
            9 => Self::Log,
            _ => return None,
        })
    }
}

/// What is wanted of a descriptor. That the other end hung up or broke is always told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Whether it can be read.
    pub read: bool,
    /// Whether it can be written.
    pub write: bool,
}

impl Interest {
    /// Whether it can be read.
    pub const READ: Self = Self { read: true, write: false };
    /// Whether it can be written.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Only whether it hung up.
    pub const NOTHING: Self = Self { read: false, write: false };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// What happened to a descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// To which.
    pub source: Source,
    /// It can be read (or is at its end).
    pub read: bool,
    /// It can be written.
    pub write: bool,
    /// The other end is gone for good.
    pub hung_up: bool,
}

/// The `epoll` set.
pub struct Reactor {
    epoll: OwnedFd,
    wanted: HashMap<Source, Interest>,
    events: Vec<epoll::Event>,
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Reactor {
    /// An empty set.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, wanted: HashMap::new(), events: Vec::with_capacity(16) })
    }

    /// Says what is wanted of `source`, whose descriptor is `fd`; `None` takes it out of the set, which must happen
    /// before `fd` is closed. A source that is out of the set is not even told of a hang-up: that is how one stops reading a pipe
    /// whose writer has gone.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set(&mut self, source: Source, fd: impl AsFd, interest: Option<Interest>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.key());
        match (self.wanted.get(&source), interest) {
            (None, None) => {}
            (Some(before), Some(now)) if *before == now => {}
            (None, Some(now)) => {
                epoll::add(&self.epoll, fd, data, now.flags())?;
                self.wanted.insert(source, now);
            }
            (Some(_), Some(now)) => {
                epoll::modify(&self.epoll, fd, data, now.flags())?;
                self.wanted.insert(source, now);
            }
            (Some(_), None) => {
                self.wanted.remove(&source);
                epoll::delete(&self.epoll, fd)?;
            }
        }
        Ok(())
    }

    /// As [`set`](Self::set), for a source whose owner may have closed and opened descriptors since the last look, of
    /// which only the kernel knows.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn renew(&mut self, source: Source, fd: impl AsFd, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.key());
        match epoll::modify(&self.epoll, &fd, data, interest.flags()) {
            Err(Errno::NOENT) => epoll::add(&self.epoll, &fd, data, interest.flags())?,
            other => other?,
        }
        self.wanted.insert(source, interest);
        Ok(())
    }

    /// Waits until something happens, at most `limit`; says what.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<Vec<Ready>> {
        self.events.clear();
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let gone = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        let ready = |event: &epoll::Event| {
            let epoll::Event { flags, data } = *event;
            Some(Ready {
                source: Source::from_key(data.u64())?,
                read: flags.contains(epoll::EventFlags::IN),
                write: flags.contains(epoll::EventFlags::OUT),
                hung_up: flags.intersects(gone),
            })
        };
        Ok(self.events.iter().filter_map(ready).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_survive_the_kernel() {
        for source in [
            Source::Listener,
            Source::Signals,
            Source::Connection(7),
            Source::End(0),
            Source::Output(u32::MAX, LogStream::Stdout),
            Source::Output(3, LogStream::Stderr),
            Source::Input(1),
            Source::Dns(2),
            Source::Oom,
            Source::Log,
        ] {
            assert_eq!(Source::from_key(source.key()), Some(source));
        }
        assert_eq!(Source::from_key(u64::MAX), None);
    }

    #[test]
    fn a_source_out_of_the_set_is_silent_even_when_hung_up() {
        let (reader, writer) = io::pipe().unwrap();
        let mut reactor = Reactor::new().unwrap();
        let source = Source::Output(0, LogStream::Stdout);
        reactor.set(source, &reader, Some(Interest::READ)).unwrap();
        drop(writer);
        let ready = reactor.wait(None).unwrap();
        assert!(ready[0].hung_up && ready[0].source == source);
        reactor.set(source, &reader, None).unwrap();
        assert!(reactor.wait(Some(Duration::ZERO)).unwrap().is_empty());
    }
}
