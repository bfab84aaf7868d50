//! The word that a shim waits for: its container is decided, `shim.json` is written, and here is the network namespace.
//!
//! Starting a program takes milliseconds, and so does preparing a container's network; with this word they happen at the
//! same time. One byte on the connection that the shim was born with, the namespace as its ancillary data. An engine that
//! gives up, or is killed, closes the connection instead, and the shim goes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

const GO: u8 = b'!';

/// Says it, to a socket that takes a byte at once.
///
/// # Errors
/// The kernel's refusal: the shim is gone.
pub fn send(connection: &UnixStream, netns: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = netns.into_iter().collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    loop {
        match sendmsg(connection, &[IoSlice::new(&[GO])], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map(drop)?),
        }
    }
}

/// Waits for it: the namespace, if there is one. `None` if the engine goes away instead.
///
/// # Errors
/// The kernel's refusal.
pub fn receive(connection: &UnixStream) -> io::Result<Option<Option<OwnedFd>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = loop {
        match recvmsg(connection, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let netns = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(Some(netns))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_word_brings_the_namespace_and_silence_is_told_apart() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let namespace = std::fs::File::open("/proc/self/ns/net").unwrap();
        send(&ours, Some(namespace.as_fd())).unwrap();
        send(&ours, None).unwrap();
        assert!(receive(&theirs).unwrap().unwrap().is_some());
        assert!(receive(&theirs).unwrap().unwrap().is_none());
        drop(ours);
        assert!(receive(&theirs).unwrap().is_none());
    }
}
