//! What the creating process and the new one say to each other while the new one sets itself up.
//!
//! One packet a message, over a socket pair that closes at exec: so silence after "start" means that the program runs.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::step::During;
use super::{Step, StepError};
use crate::engine::trace::{Mark, Trace};

/// The longest message: a failure whose subject is the longest path, escaped.
const LONGEST: usize = 16 * 1024;

/// A message of either side.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Message {
    /// Parent: your cgroups are there, with their limits.
    Grouped,
    /// Child: I have ended; the process that comes along, your child too, goes on in the user namespace.
    Moved,
    /// Child: everything is set up; the terminal's master comes along.
    Ready,
    /// Child: the namespaces are there; run the hooks outside of them.
    Hooks,
    /// Parent: they ran.
    HooksRan,
    /// Parent: execute the program.
    Start,
    /// Parent: I go away; whoever connects to the socket that comes along will say when to start.
    StartLater,
    /// Child: when my stages ended. Says nothing else and is not answered.
    Marks(Vec<Mark>),
    /// Child: this failed, I am gone.
    Failed(StepError),
}

/// One end of the conversation.
#[derive(Debug)]
pub(super) struct Talk(OwnedFd);

impl Talk {
    /// Both ends: the parent's and the child's.
    pub(super) fn pair() -> Result<(Talk, Talk), StepError> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .during(Step::Talk, "socket")?;
        Ok((Talk(ours), Talk(theirs)))
    }

    /// The end that a socket's other side gave.
    pub(super) fn from_descriptor(descriptor: OwnedFd) -> Talk {
        Talk(descriptor)
    }

    /// The descriptor's number, to spare it when all others are closed.
    pub(super) fn number(&self) -> u32 {
        self.0.as_raw_fd().unsigned_abs()
    }

    /// Sends a message and, with it, a descriptor.
    pub(super) fn send(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> Result<(), StepError> {
        let mut text = serde_json::to_vec(message).unwrap_or_default();
        text.truncate(LONGEST);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        loop {
            match sendmsg(self.0.as_fd(), &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                other => return other.map(drop).during(Step::Talk, ""),
            }
        }
    }

    /// The next message and a descriptor that came with it; `None` when the other side closed its end.
    pub(super) fn receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>, StepError> {
        let mut text = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let flags = RecvFlags::CMSG_CLOEXEC;
            match recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut text)], &mut ancillary, flags) {
                // Told once, and before what the other side said: that it ended with our words unread. Its own come next.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                other => break other.during(Step::Talk, "")?,
            }
        };
        let mut descriptor = None;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                descriptor = descriptors.next();
            }
        }
        let text = text.get(..received.bytes).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice(text) {
            Ok(message) => Ok(Some((message, descriptor))),
            Err(_) => Err(StepError::new(Step::Talk, Errno::PROTO, "message")),
        }
    }

    /// As [`Self::send`], to a side that may have failed meanwhile: then that failure is the error.
    pub(super) fn tell(&self, message: &Message, descriptor: Option<BorrowedFd<'_>>) -> Result<(), StepError> {
        let Err(error) = self.send(message, descriptor) else { return Ok(()) };
        let is_gone = [Errno::PIPE, Errno::CONNRESET].iter().any(|gone| gone.raw_os_error() == error.errno);
        if !is_gone {
            return Err(error); // it lives and would wait for us as we for it
        }
        match self.receive_traced(&mut Trace::default()) {
            Ok(Some((Message::Failed(first), _))) => Err(first),
            _ => Err(error),
        }
    }

    /// Hands what was noted so far to the parent, if anything is.
    pub(super) fn send_marks(&self, trace: &mut Trace) {
        if trace.is_on() {
            // A filter of the person's own may forbid it; then the table is shorter.
            let _ = self.send(&Message::Marks(trace.hand_over()), None);
        }
    }

    /// As [`Self::receive`], taking the marks that come before into `trace`.
    pub(super) fn receive_traced(&self, trace: &mut Trace) -> Result<Option<(Message, Option<OwnedFd>)>, StepError> {
        loop {
            match self.receive()? {
                Some((Message::Marks(marks), _)) => trace.take_in(marks),
                other => return Ok(other),
            }
        }
    }

    /// Waits for exactly `expected`; the other side's failure or silence is an error.
    pub(super) fn expect(&self, expected: &Message) -> Result<Option<OwnedFd>, StepError> {
        self.expect_traced(expected, &mut Trace::default())
    }

    /// As [`Self::expect`], taking the marks that come before into `trace`.
    pub(super) fn expect_traced(&self, expected: &Message, trace: &mut Trace) -> Result<Option<OwnedFd>, StepError> {
        match self.receive_traced(trace)? {
            Some((Message::Failed(error), _)) => Err(error),
            Some((message, descriptor)) if message == *expected => Ok(descriptor),
            Some(_) => Err(StepError::new(Step::Talk, Errno::PROTO, "")),
            None => Err(StepError::new(Step::Talk, Errno::PIPE, "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> StepError {
        StepError::new(Step::Rlimit, Errno::PERM, "nofile")
    }

    #[test]
    fn who_failed_without_listening_is_heard() {
        let (ours, theirs) = Talk::pair().unwrap();
        ours.send(&Message::HooksRan, None).unwrap();
        theirs.send(&Message::Failed(failure()), None).unwrap();
        drop(theirs);
        let told = ours.expect(&Message::Ready).unwrap_err();
        assert_eq!(told.to_string(), failure().to_string());
        assert!(ours.receive().unwrap().is_none());
    }

    #[test]
    fn who_failed_before_being_told_is_heard() {
        for is_listening in [true, false] {
            let (ours, theirs) = Talk::pair().unwrap();
            if !is_listening {
                ours.send(&Message::HooksRan, None).unwrap();
            }
            theirs.send(&Message::Failed(failure()), None).unwrap();
            drop(theirs);
            let told = ours.tell(&Message::Start, None).unwrap_err();
            assert_eq!(told.to_string(), failure().to_string());
        }
    }
}
