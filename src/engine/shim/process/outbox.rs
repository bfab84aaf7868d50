//! Bytes on their way out: sent at once as far as the other end takes them, the rest waits here, in memory or in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// So much of a file is taken back into memory at once; a multiple of every file system's blocks.
const REFILL: usize = 64 << 10;

/// After so much, others have their turn, however fast the other end is.
const AT_ONCE: usize = 1 << 20;

/// What waits for one descriptor, which must be non-blocking. It has no limit of its own; whoever fills it looks at
/// [`len`](Self::len).
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: VecDeque<u8>,
    /// What comes after `bytes`, once [`spill`](Self::spill) said so.
    spilled: Option<Spilled>,
}

/// The part of a queue that is in a file.
#[derive(Debug)]
struct Spilled {
    file: File,
    /// What is before is back in memory, and its blocks are given back.
    taken: u64,
    written: u64,
}

impl Outbox {
    /// How many bytes wait.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64 + self.spilled.as_ref().map_or(0, |Spilled { taken, written, .. }| written - taken)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether more than what waits now goes to a file.
    pub fn is_spilling(&self) -> bool {
        self.spilled.is_some()
    }

    /// What can't be sent from now on waits in `file`, which is empty, until nothing waits any more.
    pub fn spill(&mut self, file: File) {
        self.spilled.get_or_insert(Spilled { file, taken: 0, written: 0 });
    }

    /// Sends `head` and then `body`; what does not go now waits.
    ///
    /// # Errors
    /// The other end is gone, or the file takes no more; part of it may wait then.
    pub fn send(&mut self, fd: impl AsFd, head: &[u8], body: &[u8]) -> io::Result<()> {
        let sent = if self.is_empty() { write(fd, head, body)? } else { 0 };
        let (head, body) =
            (head.get(sent..).unwrap_or_default(), body.get(sent.saturating_sub(head.len())..).unwrap_or_default());
        if let Some(spilled) = &mut self.spilled {
            spilled.append(head)?;
            return spilled.append(body);
        }
        self.bytes.extend(head);
        self.bytes.extend(body);
        Ok(())
    }

    /// Sends what waits, as far as it goes; says how much that was.
    ///
    /// # Errors
    /// The other end is gone.
    pub fn flush(&mut self, fd: impl AsFd) -> io::Result<usize> {
        let mut total = 0;
        while total < AT_ONCE && (!self.bytes.is_empty() || self.refill()?) {
            let (front, back) = self.bytes.as_slices();
            let sent = write(&fd, front, back)?;
            if sent == 0 {
                break;
            }
            self.bytes.drain(..sent);
            total += sent;
        }
        // A slow moment should not cost an idle shim its memory for ever.
        if self.is_empty() {
            self.clear();
        }
        Ok(total)
    }

    /// Takes the next of the file into memory, where nothing is left.
    fn refill(&mut self) -> io::Result<bool> {
        let Some(spilled) = self.spilled.as_mut().filter(|spilled| spilled.taken < spilled.written) else {
            return Ok(false);
        };
        let count = usize::try_from(spilled.written - spilled.taken).unwrap_or(REFILL).min(REFILL);
        let mut block = Vec::from(std::mem::take(&mut self.bytes));
        block.resize(count, 0);
        spilled.file.read_exact_at(&mut block, spilled.taken)?;
        self.bytes = block.into();
        // Not every file system can; the file then keeps its size until it is closed.
        let _ = fallocate(
            &spilled.file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            spilled.taken,
            count as u64,
        );
        spilled.taken += count as u64;
        Ok(true)
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Spilled {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
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
    fn what_spilled_comes_in_order_and_the_file_goes_with_it() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut outbox = Outbox::default();
        let mut expected = vec![];
        for number in 0..2000_u32 {
            if outbox.len() > 100_000 && !outbox.is_spilling() {
                outbox.spill(tempfile::tempfile().unwrap());
            }
            let (head, body) = (number.to_be_bytes(), vec![number as u8; 1500]);
            outbox.send(&ours, &head, &body).unwrap();
            expected.extend(head);
            expected.extend(body);
        }
        assert!(outbox.is_spilling() && outbox.len() > 2_000_000);
        assert!(outbox.bytes.len() < 200_000, "the rest is not in memory");
        let mut got: Vec<u8> = vec![];
        while got.len() < expected.len() {
            let mut piece = vec![0; 10_000];
            let count = theirs.read(&mut piece).unwrap();
            got.extend(&piece[..count]);
            outbox.flush(&ours).unwrap();
        }
        assert!(outbox.is_empty() && !outbox.is_spilling());
        assert!(got == expected);
    }

    #[test]
    fn a_gone_reader_is_told() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert!(Outbox::default().send(&writer, b"a", b"b").is_err());
    }
}
