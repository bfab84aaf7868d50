//! Terminals: handing the master to whoever listens at `--console-socket`, or standing between it and our own one.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with,
};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::failure::{Attempt, Failure};

/// Sends the master to the socket at `path`, as runc does: its name, and the descriptor along with it.
pub(super) fn send_master(path: &Path, master: &OwnedFd) -> Result<(), Failure> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).attempt("socket")?;
    let address = SocketAddrUnix::new(path).attempt(path.display())?;
    connect(&socket, &address).attempt(format_args!("console socket {}", path.display()))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [master.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(&socket, &[IoSlice::new(b"/dev/ptmx")], &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
        .attempt("send the terminal")
}

/// Our own terminal made raw; as it was when dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn make() -> Self {
        let input = std::io::stdin();
        let before = if isatty(&input) { tcgetattr(&input).ok() } else { None };
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = tcsetattr(&input, OptionalActions::Now, &raw); // then it stays as it is
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Copies between our input and output and the master until the process of `pidfd` ended and said all.
pub(super) fn stand_between(master: OwnedFd, pidfd: &OwnedFd) -> Result<(), Failure> {
    let _raw = Raw::make();
    let mut master = File::from(master);
    let mut has_input = true;
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Ok(size) = tcgetwinsize(std::io::stdin()) {
            let _ = tcsetwinsize(&master, size); // a wake-up at least once a second keeps it in step
        }
        let (input, ready) = {
            let stdin = std::io::stdin();
            let mut waiting = vec![PollFd::new(&master, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
            if has_input {
                waiting.push(PollFd::new(&stdin, PollFlags::IN));
            }
            let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            match poll(&mut waiting, Some(&second)) {
                Err(Errno::INTR) => continue,
                other => other.attempt("wait for the terminal")?,
            };
            let is_ready = |index: usize| waiting.get(index).is_some_and(|one| !one.revents().is_empty());
            (is_ready(2), (is_ready(0), is_ready(1)))
        };
        if input {
            let length = rustix::io::read(std::io::stdin(), &mut buffer).unwrap_or(0);
            has_input = length > 0;
            let _ = master.write_all(buffer.get(..length).unwrap_or_default()); // it may have hung up
        }
        match ready {
            (true, _) => match master.read(&mut buffer) {
                Ok(0) | Err(_) => return Ok(()), // a terminal that nobody holds any more answers with an error
                Ok(length) => {
                    let mut output = std::io::stdout();
                    let text = buffer.get(..length).unwrap_or_default();
                    output.write_all(text).and_then(|()| output.flush()).attempt("standard output")?;
                }
            },
            (false, true) => return Ok(()),
            (false, false) => {}
        }
    }
}
