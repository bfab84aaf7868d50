//! Bytes on their way between the threads of a pull: download, inflate, unpack.
//!
//! A bounded queue of chunks; the reading end is a `BufRead`, so content goes from a chunk into a file without another
//! copy. An end that was not announced is an error, never a short archive.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::digest::Hashing;
use super::{Digest, compression};

/// Chunks under way at most. With chunks of [`CHUNK`] bytes a few megabytes.
const DEPTH: usize = 32;
/// How much is inflated at once; below the size from which the allocator maps fresh pages each time.
const CHUNK: usize = 96 << 10;

enum Message {
    Chunk(Bytes),
    End,
    Failed(io::Error),
}

/// The writing end.
pub(crate) struct ChunkSender(mpsc::Sender<Message>);

/// The reading end.
pub(crate) struct ChunkReader {
    receiver: mpsc::Receiver<Message>,
    current: Bytes,
    is_ended: bool,
}

/// A queue with both its ends.
pub(crate) fn chunks() -> (ChunkSender, ChunkReader) {
    let (sender, receiver) = mpsc::channel(DEPTH);
    (ChunkSender(sender), ChunkReader { receiver, current: Bytes::new(), is_ended: false })
}

impl ChunkSender {
    /// Sends a chunk; `false` if nobody reads any more.
    pub async fn send(&self, chunk: Bytes) -> bool {
        self.0.send(Message::Chunk(chunk)).await.is_ok()
    }

    /// Sends a chunk from a thread; `false` if nobody reads any more.
    pub fn blocking_send(&self, chunk: Bytes) -> bool {
        self.0.blocking_send(Message::Chunk(chunk)).is_ok()
    }

    /// Says that everything was sent, or why not.
    pub async fn finish(self, outcome: io::Result<()>) {
        let _ = self.0.send(outcome.map_or_else(Message::Failed, |()| Message::End)).await;
    }

    /// The same from a thread.
    pub fn blocking_finish(self, outcome: io::Result<()>) {
        let _ = self.0.blocking_send(outcome.map_or_else(Message::Failed, |()| Message::End));
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.is_ended {
            match self.receiver.blocking_recv() {
                Some(Message::Chunk(chunk)) => self.current = chunk,
                Some(Message::End) => self.is_ended = true,
                Some(Message::Failed(error)) => return Err(error),
                None => return Err(io::Error::other(Cancelled)),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        bytes::Buf::advance(&mut self.current, count);
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..count), available.get(..count)) {
            target.copy_from_slice(source);
        }
        self.consume(count);
        Ok(count)
    }
}

/// The other end went away.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
struct Cancelled;

/// What came in, in its compressed form. Whether it could be inflated, the reader of the chunks is told.
pub(crate) struct Inflated {
    /// The digest of the compressed bytes.
    pub digest: Digest,
}

/// Inflates `reader` (gzip, zstd, bzip2, xz or plain) into `sender`, hashing the compressed bytes to their end, also of
/// a stream that turns out to be damaged. Blocking.
pub(crate) fn inflate(reader: impl BufRead + Send, sender: ChunkSender) -> Inflated {
    let mut hashed = Hashing::new(reader);
    let mut outcome = pump(&mut hashed, &sender);
    // Bytes after the compressed stream's end belong to the blob's digest too; nobody waits for them if nobody reads.
    if !sender.0.is_closed()
        && let Err(error) = drain(&mut hashed)
    {
        outcome = outcome.and(Err(error));
    }
    sender.blocking_finish(outcome.map_err(|error| io::Error::other(error.to_string())));
    Inflated { digest: hashed.finish().0 }
}

fn drain(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let rest = reader.fill_buf()?.len();
        if rest == 0 {
            return Ok(());
        }
        reader.consume(rest);
    }
}

fn pump(hashed: &mut (impl BufRead + Send), sender: &ChunkSender) -> io::Result<()> {
    let mut inflated = compression::inflater(&mut *hashed)?;
    loop {
        let mut chunk = vec![0; CHUNK];
        let mut filled = 0;
        while let Some(space) = chunk.get_mut(filled..).filter(|space| !space.is_empty()) {
            match inflated.read(space) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        chunk.truncate(filled);
        if !sender.blocking_send(chunk.into()) {
            return Err(io::Error::other(Cancelled));
        }
    }
}
