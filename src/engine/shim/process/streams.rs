//! Bytes between the container's processes, the log and the attachers.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use jiff::Timestamp;
use rustix::io::Errno;

use super::keeper::{INIT, Keeper, Phase};
use super::member::Output;
use super::peer::{Behind, InputState, Peer, Role, frame_header};
use super::reactor::{Interest, Number, Ready, Source};
use crate::engine::shim::logs::LogStream;

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];

/// What one read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Bytes,
    NothingNow,
    Closed,
}

impl Keeper {
    /// Reads once what a process wrote and spreads it.
    pub(super) fn read_output(&mut self, number: Number, stream: LogStream) -> Read {
        let Some(member) = self.members.get_mut(&number) else { return Read::Closed };
        let Output::Open(fd) = member.output(stream) else { return Read::Closed };
        match rustix::io::read(&*fd, &mut *self.buffer) {
            Ok(count @ 1..) => {
                self.rest_before_flood(count);
                let bytes = std::mem::take(&mut self.buffer);
                self.spread(number, stream, bytes.get(..count).unwrap_or_default());
                self.buffer = bytes;
                Read::Bytes
            }
            Err(Errno::AGAIN | Errno::INTR) => Read::NothingNow,
            // A terminal's other end says EIO when the last process that had it open is gone.
            Ok(_) | Err(_) => {
                self.close_output(number, stream);
                Read::Closed
            }
        }
    }

    fn close_output(&mut self, number: Number, stream: LogStream) {
        let Some(member) = self.members.get_mut(&number) else { return };
        if let Output::Open(fd) = std::mem::replace(member.output(stream), Output::Closed) {
            // Closing takes it out of the kernel's set as well; this is for our own list.
            let _ = self.reactor.set(Source::Output(number, stream), &fd, None);
        }
        if number == INIT
            && let Some(log) = &mut self.logging.writer
        {
            log.finish(stream, Timestamp::now());
        }
    }

    fn spread(&mut self, number: Number, stream: LogStream, bytes: &[u8]) {
        if number == INIT
            && let Some(log) = &mut self.logging.writer
        {
            log.write(stream, bytes, Timestamp::now());
            self.logging.compress();
        }
        if self.checkup.as_mut().is_some_and(|checkup| checkup.takes(number, bytes)) {
            return;
        }
        let header = frame_header(stream, bytes.len());
        let now = Instant::now();
        let mut broken = Vec::new();
        for (peer_number, Peer { socket, outbox, role }) in &mut self.peers {
            let Role::Attached(attached) = role else { continue };
            if attached.member != number
                || attached.is_finishing
                || !attached.gets(stream)
                || attached.input == InputState::HungUp
            {
                continue;
            }
            if outbox.is_empty() {
                attached.last_progress = now;
            }
            let behind = attached.behind(outbox.len(), now);
            let is_spillable = match behind {
                Behind::Spilled if !outbox.is_spilling() => self.facts.spill_file().map(|file| outbox.spill(file)),
                _ => Ok(()),
            };
            let head: &[u8] = if attached.is_framed { &header } else { &[] };
            let sent = is_spillable.and_then(|()| outbox.send(&*socket, head, bytes));
            if sent.is_err() || behind == Behind::CutOff {
                broken.push(*peer_number);
            }
        }
        for number in broken {
            self.hang_up(number);
        }
    }

    /// An attacher is gone or was cut off. What it sent before may not be read to the end yet.
    fn hang_up(&mut self, number: Number) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        peer.outbox.clear();
        match &mut peer.role {
            Role::Attached(attached) if attached.input == InputState::Open => {
                attached.input = InputState::HungUp;
                // Whoever was cut off shall see it at once.
                let _ = rustix::net::shutdown(&peer.socket, rustix::net::Shutdown::Write);
            }
            _ => self.remove_peer(number),
        }
    }

    /// A connection can be read or written, or hung up.
    pub(super) fn peer_is_ready(&mut self, number: Number, ready: Ready) {
        if ready.write {
            let Some(peer) = self.peers.get_mut(&number) else { return };
            match peer.outbox.flush(&peer.socket) {
                Ok(0) => {}
                Ok(_) => {
                    if let Role::Attached(attached) = &mut peer.role {
                        attached.last_progress = Instant::now();
                    }
                }
                Err(_) => self.hang_up(number),
            }
        }
        match self.peers.get(&number).map(|peer| &peer.role) {
            Some(Role::Control { .. }) if ready.read || ready.hung_up => self.read_requests(number),
            Some(Role::Attached(_)) if ready.hung_up => self.hang_up(number),
            Some(Role::Attached(_)) if ready.read => {
                self.read_input(number);
            }
            _ => {}
        }
    }

    fn read_requests(&mut self, number: Number) {
        let Some(peer) = self.peers.get(&number) else { return };
        match rustix::io::read(&peer.socket, &mut *self.buffer) {
            Ok(count @ 1..) => {
                let bytes = std::mem::take(&mut self.buffer);
                self.take_requests(number, bytes.get(..count).unwrap_or_default());
                self.buffer = bytes;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => self.remove_peer(number),
        }
    }

    /// Reads once what an attacher sends, for its process's standard input.
    fn read_input(&mut self, number: Number) -> Read {
        let Some(peer) = self.peers.get(&number) else { return Read::Closed };
        let Some(member) = peer.attached().map(|attached| attached.member) else { return Read::Closed };
        match rustix::io::read(&peer.socket, &mut *self.buffer) {
            Ok(count @ 1..) => {
                let bytes = std::mem::take(&mut self.buffer);
                self.feed(member, bytes.get(..count).unwrap_or_default());
                self.buffer = bytes;
                Read::Bytes
            }
            Err(Errno::AGAIN | Errno::INTR) => Read::NothingNow,
            Ok(_) | Err(_) => {
                self.end_input(number);
                Read::Closed
            }
        }
    }

    /// An attacher will send no more.
    fn end_input(&mut self, number: Number) {
        let Some(Role::Attached(attached)) = self.peers.get_mut(&number).map(|peer| &mut peer.role) else { return };
        let was_hung_up = attached.input == InputState::HungUp;
        attached.input = InputState::Ended;
        if let Some(member) = self.members.get_mut(&attached.member)
            && member.stdin.ends_with_attacher
            // A terminal has no end of its own; what its program takes for one is a character.
            && !member.is_terminal
        {
            member.stdin.is_closing = true;
        }
        if was_hung_up {
            self.remove_peer(number);
        }
    }

    /// Those who have gone sent what is still in their sockets; there is no event for it any more.
    pub(super) fn take_left_behind_input(&mut self) {
        let left_behind: Vec<(Number, Number)> = self
            .peers
            .iter()
            .filter_map(|(number, peer)| Some((*number, peer.attached()?)))
            .filter(|(_, attached)| attached.input == InputState::HungUp)
            .map(|(number, attached)| (number, attached.member))
            .collect();
        for (number, member) in left_behind {
            while self.has_room(member) && self.read_input(number) == Read::Bytes {}
        }
    }

    fn has_room(&self, member: Number) -> bool {
        match self.members.get(&member) {
            Some(member) => member.stdin.has_room(),
            // Before the start it waits where it is; after the end nobody wants it.
            None => !matches!(self.phase, Phase::Created { .. }),
        }
    }

    /// Writes to a process's standard input, now or when there is room. Nobody reading it is no error.
    pub(super) fn feed(&mut self, number: Number, bytes: &[u8]) {
        let Some(member) = self.members.get_mut(&number) else { return };
        let Some(fd) = &member.stdin.fd else { return };
        if member.stdin.outbox.send(fd, bytes, &[]).is_err() {
            self.close_input(number);
        }
    }

    /// Standard input has room, or nobody who reads it.
    pub(super) fn write_input(&mut self, number: Number, ready: Ready) {
        let Some(member) = self.members.get_mut(&number) else { return };
        let Some(fd) = &member.stdin.fd else { return };
        let is_flushed = member.stdin.outbox.flush(fd).is_ok();
        if !is_flushed || (ready.hung_up && !ready.write) {
            self.close_input(number);
        }
    }

    fn close_input(&mut self, number: Number) {
        let Some(member) = self.members.get_mut(&number) else { return };
        member.stdin.outbox.clear();
        member.stdin.is_closing = true;
        if let Some(fd) = member.stdin.fd.take() {
            let _ = self.reactor.set(Source::Input(number), &fd, None);
        }
    }

    /// Brings what is waited for on the processes' streams in line with who can take what.
    pub(super) fn settle_members(&mut self) -> io::Result<()> {
        let closing: Vec<Number> = self
            .members
            .iter()
            .filter(|(_, member)| member.stdin.is_closing && member.stdin.has_room() && member.stdin.fd.is_some())
            .map(|(number, _)| *number)
            .collect();
        for number in closing {
            self.close_input(number);
        }
        let now = Instant::now();
        let Self { reactor, members, peers, .. } = self;
        for (number, member) in members.iter_mut() {
            if let Some(fd) = &member.stdin.fd {
                let interest = match member.stdin.has_room() {
                    false => Some(Interest::WRITE),
                    // A terminal that nobody has open says so without end.
                    true => (!member.is_terminal).then_some(Interest::NOTHING),
                };
                reactor.set(Source::Input(*number), fd, interest)?;
            }
            for stream in STREAMS {
                let must_wait = peers.values().any(|peer| makes_wait(peer, *number, stream, now).is_some());
                if let Output::Open(fd) = member.output(stream) {
                    reactor.set(Source::Output(*number, stream), fd.as_fd(), (!must_wait).then_some(Interest::READ))?;
                }
            }
        }
        Ok(())
    }
}

/// Until when `member` has to wait with its output for this attacher, if it has to.
fn makes_wait(peer: &Peer, member: Number, stream: LogStream, now: Instant) -> Option<Instant> {
    let attached = peer.attached()?;
    if attached.member != member || attached.is_finishing || !attached.gets(stream) {
        return None;
    }
    match attached.behind(peer.outbox.len(), now) {
        Behind::Waits(until) => Some(until),
        Behind::Kept | Behind::Spilled | Behind::CutOff => None,
    }
}

impl Keeper {
    /// When to look again at an attacher that a process waits for.
    pub(super) fn next_impatience(&self, now: Instant) -> Option<Instant> {
        let waits = |peer: &Peer| {
            let member = peer.attached()?.member;
            STREAMS.into_iter().find_map(|stream| makes_wait(peer, member, stream, now))
        };
        self.peers.values().filter_map(waits).min()
    }
}
