//! Bytes on their way out: sent at once as far as the other end takes them, the rest waits here.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use rustix::io::Errno;

/// What waits for one descriptor, which must be non-blocking. It has no limit of its own; whoever fills it looks at
/// [`len`](Self::len).
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: VecDeque<u8>,
}

impl Outbox {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Sends `head` and then `body`; what does not go now waits.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn send(&mut self, fd: impl AsFd, head: &[u8], body: &[u8]) -> io::Result<()> {
        let sent = if self.bytes.is_empty() { write(fd, head, body)? } else { 0 };
        self.bytes.extend(head.get(sent..).unwrap_or_default());
        self.bytes.extend(body.get(sent.saturating_sub(head.len())..).unwrap_or_default());
        Ok(())
    }

    /// Sends what waits, as far as it goes; says how much that was.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn flush(&mut self, fd: impl AsFd) -> io::Result<usize> {
        let mut total = 0;
        while !self.bytes.is_empty() {
            let (front, back) = self.bytes.as_slices();
            let sent = write(&fd, front, back)?;
            if sent == 0 {
                break;
            }
            self.bytes.drain(..sent);
            total += sent;
        }
        // A slow moment should not cost an idle shim its memory for ever.
        if self.bytes.is_empty() {
            self.bytes = VecDeque::new();
        }
        Ok(total)
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.bytes = VecDeque::new();
    }
}

/// Writes from two slices; 0 where the other end takes nothing now.
fn write(fd: impl AsFd, first: &[u8], second: &[u8]) -> io::Result<usize> {
    loop {
        return match rustix::io::writev(&fd, &[IoSlice::new(first), IoSlice::new(second)]) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN) => Ok(0),
            Err(Errno::INTR) => continue,
            Err(errno) => Err(errno.into()),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn nothing_is_lost_or_reordered_when_the_other_end_is_slow() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut outbox = Outbox::default();
        let mut expected = vec![];
        for number in 0..300_u32 {
            let (head, body) = (number.to_be_bytes(), vec![number as u8; 5000]);
            outbox.send(&ours, &head, &body).unwrap();
            expected.extend(head);
            expected.extend(body);
        }
        assert!(!outbox.is_empty());
        let mut got: Vec<u8> = vec![];
        while got.len() < expected.len() {
            let mut piece = vec![0; 10_000];
            let count = theirs.read(&mut piece).unwrap();
            got.extend(&piece[..count]);
            outbox.flush(&ours).unwrap();
        }
        assert!(outbox.is_empty());
        assert_eq!(got, expected);
    }

    #[test]
    fn a_gone_reader_is_told() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert!(Outbox::default().send(&writer, b"a", b"b").is_err());
    }
}
