//! An exec's stream that ends only when its exit code can be asked for.
//!
//! Clients read the output to its end and then inspect the exec at once. The shim tells the two ends on two connections, so
//! without this the answer could still be "running".

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long the end is held back at the most: a program may close its output and run on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Passes the end of what it reads on after the exit was noted, or after [`PATIENCE`].
pub struct EndsOnRecord<T> {
    io: T,
    noted: Noted,
}

enum Noted {
    Awaited(CancellationToken),
    Timed(Pin<Box<Timeout<WaitForCancellationFutureOwned>>>),
    Done,
}

impl<T> EndsOnRecord<T> {
    /// `io`, whose end waits for `noted`.
    pub fn new(io: T, noted: CancellationToken) -> Self {
        Self { io, noted: Noted::Awaited(noted) }
    }

    fn poll_noted(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.noted = match std::mem::replace(&mut self.noted, Noted::Done) {
            Noted::Awaited(noted) => Noted::Timed(Box::pin(tokio::time::timeout(PATIENCE, noted.cancelled_owned()))),
            other => other,
        };
        if let Noted::Timed(noted) = &mut self.noted {
            // Noted, given up or too late: in each case there is nothing more to wait for.
            let _ = ready!(noted.as_mut().poll(context));
            self.noted = Noted::Done;
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for EndsOnRecord<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(context, buffer));
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            ready!(self.poll_noted(context));
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for EndsOnRecord<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn the_end_comes_after_the_note() {
        let noted = CancellationToken::new();
        let mut io = EndsOnRecord::new(tokio::io::join(&b"out"[..], tokio::io::sink()), noted.clone());
        let mut heard = [0; 3];
        io.read_exact(&mut heard).await.unwrap();
        let mut rest = Vec::new();
        let mut end = std::pin::pin!(io.read_to_end(&mut rest));
        assert!(futures_util::poll!(end.as_mut()).is_pending());
        noted.cancel();
        assert_eq!(end.await.unwrap(), 0);
    }
}
