//! Whether the client of a stream is still there.
//!
//! Clients may half-close their connection, so the HTTP layer does not look for its end while it answers; then a build
//! whose step is silent would go on after its client was interrupted. Where it matters, whoever streams the answer watches
//! the connection: what is read meanwhile (a next request) is kept for the HTTP layer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is read ahead at most; a client that sends more is there.
const AHEAD: usize = 64 << 10;

/// A connection that can be watched while it is served.
pub(super) struct Watched<I> {
    shared: Arc<Mutex<Shared<I>>>,
}

struct Shared<I> {
    io: I,
    ahead: BytesMut,
    has_ended: bool,
}

/// Tells when a client leaves. To be awaited by the answer's body only, which the connection's own task polls.
#[derive(Clone)]
pub(super) struct Presence(Arc<dyn Watch>);

trait Watch: Send + Sync {
    fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()>;
}

impl<I> Watched<I> {
    pub(super) fn new(io: I) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { io, ahead: BytesMut::new(), has_ended: false })) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<I>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: AsyncRead + Unpin + Send + 'static> Watched<I> {
    pub(super) fn presence(&self) -> Presence {
        Presence(Arc::clone(&self.shared) as Arc<dyn Watch>)
    }
}

impl Presence {
    /// Waits until the client has closed its end, or the connection broke.
    pub(super) async fn gone(self) {
        poll_fn(|context| self.0.poll_gone(context)).await;
    }
}

impl<I: AsyncRead + Unpin + Send> Watch for Mutex<Shared<I>> {
    fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.lock().unwrap_or_else(PoisonError::into_inner);
        while !shared.has_ended && shared.ahead.len() < AHEAD {
            let mut space = [0; 4096];
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut shared.io).poll_read(context, &mut buffer));
            shared.has_ended = read.is_err() || buffer.filled().is_empty();
            shared.ahead.extend_from_slice(buffer.filled());
            // The HTTP layer may wait for what was just read.
            context.waker().wake_by_ref();
        }
        if shared.has_ended { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        if !shared.ahead.is_empty() {
            let count = shared.ahead.len().min(buffer.remaining());
            buffer.put_slice(shared.ahead.get(..count).unwrap_or_default());
            shared.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        if shared.has_ended {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut shared.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn who_leaves_is_missed_and_what_came_before_is_read() {
        let (mut client, server) = duplex(1024);
        let mut watched = Watched::new(server);
        let presence = watched.presence();
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        assert!(presence.0.poll_gone(&mut nobody).is_pending());
        client.write_all(b"next").await.unwrap();
        assert!(presence.0.poll_gone(&mut nobody).is_pending());
        drop(client);
        presence.gone().await;
        let mut text = String::new();
        watched.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "next");
    }
}
