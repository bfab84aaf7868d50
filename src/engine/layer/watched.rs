//! Long blocking work that may be cancelled: a stream that ends with an error once nobody wants what it is for.
//!
//! A thread can't be stopped from outside, so the work looks for itself: between any two pieces of what it reads or
//! writes, and between any two files.

use std::io::{self, BufRead, Read, Write};

use tokio_util::sync::CancellationToken;

/// Nobody wants it any more.
#[derive(Debug, thiserror::Error)]
#[error("it was cancelled")]
struct Cancelled;

/// An error if `cancel` was called.
pub(crate) fn go_on(cancel: &CancellationToken) -> io::Result<()> {
    // Not `Interrupted`, which readers try again.
    if cancel.is_cancelled() { Err(io::Error::other(Cancelled)) } else { Ok(()) }
}

/// A reader or writer that fails once its work is cancelled.
pub(crate) struct Watched<T> {
    inner: T,
    cancel: CancellationToken,
}

impl<T> Watched<T> {
    pub(crate) fn new(inner: T, cancel: &CancellationToken) -> Self {
        Self { inner, cancel: cancel.clone() }
    }
}

impl<T: Read> Read for Watched<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        go_on(&self.cancel)?;
        self.inner.read(buffer)
    }
}

impl<T: BufRead> BufRead for Watched<T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        go_on(&self.cancel)?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }
}

impl<T: Write> Write for Watched<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        go_on(&self.cancel)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::engine::layer::{ApplyOptions, apply_tar};

    /// A tar whose only file never ends, and the client goes away in the middle of it.
    struct Endless {
        cancel: CancellationToken,
        header: Vec<u8>,
        pieces: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.pieces += 1;
            assert!(self.pieces < 1000, "nobody looked whether it is still wanted");
            if self.pieces == 10 {
                self.cancel.cancel();
            }
            let head = self.header.len().min(buffer.len());
            let count = if head > 0 { head } else { buffer.len() };
            for (to, from) in buffer.iter_mut().zip(self.header.drain(..head).chain(std::iter::repeat(b'x'))) {
                *to = from;
            }
            Ok(count)
        }
    }

    #[test]
    fn an_archive_that_nobody_waits_for_is_unpacked_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let mut header = tar::Header::new_gnu();
        header.set_path("big").unwrap();
        header.set_size(1 << 33);
        header.set_mode(0o644);
        header.set_cksum();
        let endless = Endless { cancel: cancel.clone(), header: header.as_bytes().to_vec(), pieces: 0 };
        let target = std::fs::File::open(folder.path()).unwrap();
        let refused = apply_tar(target.as_fd(), Watched::new(endless, &cancel), &ApplyOptions::default()).unwrap_err();
        assert_eq!(refused.to_string(), "read archive: it was cancelled");
    }

    #[test]
    fn what_is_wanted_passes_through() {
        let cancel = CancellationToken::new();
        let mut written = Watched::new(Vec::new(), &cancel);
        io::copy(&mut Watched::new(&b"abc"[..], &cancel), &mut written).unwrap();
        assert_eq!(written.inner, b"abc");
        cancel.cancel();
        assert!(written.write_all(b"d").is_err() && Watched::new(&b"abc"[..], &cancel).fill_buf().is_err());
        assert_eq!(written.inner, b"abc");
    }
}
