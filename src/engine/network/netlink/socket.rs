//! A netlink socket, and the kernel's answers to what is sent on it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

use super::message::{Message, Received, messages};

/// Room for one answer; the kernel makes dumps in pieces of at most 32 KiB.
const ANSWER: usize = 64 * 1024;
/// The kernel answers at once; this only keeps a bug from hanging the thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message that the kernel refused.
#[derive(Debug)]
pub struct Refusal {
    /// Which message of the batch, counted from 0.
    pub index: usize,
    /// The kernel's answer.
    pub error: io::Error,
}

/// A netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a `NETLINK_ROUTE` socket (protocol 0).
    pub fn route() -> io::Result<Self> {
        Self::open(None)
    }

    /// Opens a `NETLINK_NETFILTER` socket.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; ANSWER] })
    }

    /// Sends requests that each ask for an acknowledgement, in one go, and reads all answers. The kernel carries out each
    /// one on its own, in order; the first refusal is returned after all are answered.
    pub fn acknowledged(&mut self, requests: Vec<Message>) -> Result<(), Refusal> {
        let count = requests.len();
        let first = self.send(requests.into_iter().map(|mut request| {
            request.flag(libc::NLM_F_ACK);
            request
        }))?;
        let mut refusal = None;
        let mut answered = 0;
        while answered < count {
            self.receive(|answer| {
                if let Some(errno) = verdict(&answer) {
                    answered += 1;
                    if errno != 0 && refusal.is_none() {
                        let index = usize::try_from(answer.sequence.wrapping_sub(first)).unwrap_or(0);
                        refusal = Some(Refusal { index, error: io::Error::from_raw_os_error(errno) });
                    }
                }
            })
            .map_err(|error| Refusal { index: answered, error })?;
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Sends messages of one transaction, of which the one at `last` asks for an acknowledgement. All take effect or none.
    pub fn transaction(&mut self, requests: Vec<Message>, last: usize) -> Result<(), Refusal> {
        let first = self.send(requests.into_iter())?;
        let last = first.wrapping_add(u32::try_from(last).unwrap_or(0));
        let mut outcome: Option<Result<(), Refusal>> = None;
        while outcome.is_none() {
            self.receive(|answer| {
                // Answers to an earlier, given-up transaction have older numbers.
                let index = answer.sequence.wrapping_sub(first);
                let Some(errno) = verdict(&answer).filter(|_| index <= last.wrapping_sub(first)) else { return };
                if errno != 0 && !matches!(outcome, Some(Err(_))) {
                    let index = usize::try_from(index).unwrap_or(0);
                    outcome = Some(Err(Refusal { index, error: io::Error::from_raw_os_error(errno) }));
                } else if errno == 0 && answer.sequence == last {
                    outcome.get_or_insert(Ok(()));
                }
            })
            .map_err(|error| Refusal { index: 0, error })?;
        }
        outcome.unwrap_or(Ok(()))
    }

    /// Sends a request and hands each message of the answer to `each`: kind and body.
    pub fn dump(&mut self, mut request: Message, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        request.flag(libc::NLM_F_DUMP);
        let sequence = self.send(std::iter::once(request)).map_err(|refusal| refusal.error)?;
        let mut end: Option<i32> = None;
        while end.is_none() {
            self.receive(|answer| {
                if answer.sequence != sequence {
                } else if let Some(errno) = verdict(&answer) {
                    end = Some(errno);
                } else {
                    each(answer.kind, answer.body);
                }
            })?;
        }
        match end {
            Some(errno) if errno != 0 => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }

    /// Sends a request for one object and hands the answer's body to `read`.
    pub fn get<T>(&mut self, request: Message, read: impl Fn(u16, &[u8]) -> Option<T>) -> io::Result<T> {
        let sequence = self.send(std::iter::once(request)).map_err(|refusal| refusal.error)?;
        let mut found: Option<io::Result<T>> = None;
        while found.is_none() {
            self.receive(|answer| {
                if answer.sequence != sequence {
                } else if let Some(errno) = verdict(&answer) {
                    found.get_or_insert(Err(io::Error::from_raw_os_error(errno)));
                } else {
                    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "unexpected netlink answer");
                    found.get_or_insert(read(answer.kind, answer.body).ok_or_else(malformed));
                }
            })?;
        }
        found.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Numbers and sends messages in one datagram; the number of the first is returned.
    fn send(&mut self, requests: impl Iterator<Item = Message>) -> Result<u32, Refusal> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            datagram.extend(request.finish(self.sequence));
        }
        if datagram.len() > 128 * 1024 {
            // The datagram must fit the socket's buffer (212,992 bytes by default, doubled for bookkeeping).
            let _ = sockopt::set_socket_send_buffer_size_force(&self.fd, datagram.len() * 2);
        }
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.fd, &datagram, SendFlags::empty(), &kernel)
            .map_err(|errno| Refusal { index: 0, error: errno.into() })?;
        Ok(first)
    }

    fn receive(&mut self, each: impl FnMut(Received<'_>)) -> io::Result<()> {
        let (length, _) =
            rustix::io::retry_on_intr(|| rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::empty()))?;
        messages(self.buffer.get(..length).unwrap_or_default()).for_each(each);
        Ok(())
    }
}

/// The error number that an acknowledgement, error or end of dump carries (0: success); `None` for content.
fn verdict(answer: &Received<'_>) -> Option<i32> {
    let kind = i32::from(answer.kind);
    if kind != libc::NLMSG_ERROR && kind != libc::NLMSG_DONE {
        return None;
    }
    let code = answer.body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    Some(if code < 0 { -code } else { 0 })
}
