//! One stream of a session: bytes both ways, in pieces, so that an end is told from a break and a failure has words.
//!
//! A piece is a length of four bytes (big-endian) and as many bytes. Length 0 is the end of a direction; a length with the
//! highest bit set is a failure, and its bytes say which.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::compat::Compat;

/// Bytes of a piece, at most, and so of an `Ask` and of a failure's text.
const PIECE: usize = 64 << 10;
/// Marks a failure.
const FAILURE: u32 = 1 << 31;
/// Bytes of a length.
const HEAD: usize = 4;

/// A stream of a session. Dropped before its [end](AsyncWriteExt::shutdown) was sent, the other side reads an error.
#[derive(Debug)]
pub struct Channel {
    io: Compat<yamux::Stream>,
    reading: Reading,
    /// A piece on its way, of which the first `sent` bytes have gone.
    piece: Vec<u8>,
    sent: usize,
    has_ended: bool,
}

#[derive(Debug)]
enum Reading {
    Head { bytes: [u8; HEAD], have: usize },
    Body { left: usize },
    Failure { text: Vec<u8>, left: usize },
    Ended,
}

const BETWEEN: Reading = Reading::Head { bytes: [0; HEAD], have: 0 };

impl Channel {
    pub(super) fn new(io: Compat<yamux::Stream>) -> Self {
        Self { io, reading: BETWEEN, piece: Vec::new(), sent: 0, has_ended: false }
    }

    /// Ends our direction with a failure: the other side's reads give an error with these words.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn fail(mut self, words: &str) -> io::Result<()> {
        self.flush().await?;
        let words = words.as_bytes().get(..PIECE).unwrap_or(words.as_bytes());
        self.piece = with_head(words.len() as u32 | FAILURE, words);
        self.sent = 0;
        self.has_ended = true;
        self.shutdown().await
    }

    pub(super) async fn send_message(&mut self, message: &[u8]) -> io::Result<()> {
        if message.len() > PIECE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message of a build session is too long"));
        }
        self.write_all(message).await?;
        self.flush().await
    }

    pub(super) async fn receive_message(&mut self) -> io::Result<Vec<u8>> {
        let length = std::future::poll_fn(|cx| self.poll_body(cx)).await?;
        let mut message = vec![0; length];
        self.read_exact(&mut message).await?;
        Ok(message)
    }

    /// Goes on to the bytes of a piece and says how many are left of it; 0 at the end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.reading {
                Reading::Body { left: 0 } => self.reading = BETWEEN,
                Reading::Body { left } => return Poll::Ready(Ok(*left)),
                Reading::Ended => return Poll::Ready(Ok(0)),
                Reading::Failure { text, left: 0 } => {
                    let words = String::from_utf8_lossy(text).into_owned();
                    return Poll::Ready(Err(io::Error::other(words)));
                }
                Reading::Failure { text, left } => {
                    let mut bytes = [0; 512];
                    let take = bytes.len().min(*left);
                    let read = ready!(poll_some(&mut self.io, cx, &mut bytes[..take]))?;
                    text.extend_from_slice(bytes.get(..read).unwrap_or_default());
                    *left -= read;
                }
                Reading::Head { bytes, have } => {
                    *have += ready!(poll_some(&mut self.io, cx, bytes.get_mut(*have..).unwrap_or_default()))?;
                    if *have == HEAD {
                        self.reading = Reading::after(u32::from_be_bytes(*bytes))?;
                    }
                }
            }
        }
    }

    /// Sends what is left of the piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.piece.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(broken()));
            }
            self.sent += sent;
        }
        self.piece.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl Reading {
    fn after(head: u32) -> io::Result<Self> {
        let length = (head & !FAILURE) as usize;
        match (head, length) {
            (0, _) => Ok(Reading::Ended),
            (_, length) if length > PIECE => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the build session says what none should"))
            }
            (head, left) if head & FAILURE != 0 => Ok(Reading::Failure { text: Vec::new(), left }),
            (_, left) => Ok(Reading::Body { left }),
        }
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the build session broke off")
}

fn with_head(head: u32, bytes: &[u8]) -> Vec<u8> {
    let mut piece = Vec::with_capacity(HEAD + bytes.len());
    piece.extend_from_slice(&head.to_be_bytes());
    piece.extend_from_slice(bytes);
    piece
}

/// Reads at least one byte; the end of the connection's stream never is ours.
fn poll_some(io: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(bytes);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    match buffer.filled().len() {
        0 => Poll::Ready(Err(broken())),
        read => Poll::Ready(Ok(read)),
    }
}

impl AsyncRead for Channel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = ready!(self.poll_body(cx))?.min(buffer.remaining());
        if left == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = ready!(poll_some(&mut self.io, cx, buffer.initialize_unfilled_to(left)))?;
        buffer.advance(read);
        if let Reading::Body { left } = &mut self.reading {
            *left -= read;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Channel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_piece(cx))?;
        if self.has_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = bytes.get(..PIECE).unwrap_or(bytes);
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.piece = with_head(bytes.len() as u32, bytes);
        // What does not go now goes with the next write or flush.
        if let Poll::Ready(Err(error)) = self.poll_piece(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_piece(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_piece(cx))?;
        if !self.has_ended {
            self.has_ended = true;
            self.piece = with_head(0, &[]);
            ready!(self.poll_piece(cx))?;
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
