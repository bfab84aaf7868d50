//! Long image operations as streams of progress: a task that works, and a receiver whose drop stops it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use crate::engine::error::EngineError;
use crate::engine::layer::{ChunkReader, chunks};

use super::Progress;

/// Where a task says how far it is. Cheap to clone.
#[derive(Clone)]
pub(super) struct Teller(mpsc::UnboundedSender<Progress>);

impl Teller {
    /// One that nobody listens to.
    pub fn silent() -> Self {
        Self(mpsc::unbounded_channel().0)
    }

    /// Tells one thing; that nobody listens any more is no error.
    pub fn tell(&self, progress: Progress) {
        let _ = self.0.send(progress);
    }
}

/// A running operation's progress.
pub(super) struct Operation {
    receiver: mpsc::UnboundedReceiver<Progress>,
    task: tokio::task::JoinHandle<()>,
}

impl Operation {
    /// Starts `work`; its error becomes the last message.
    pub fn start<F>(work: impl FnOnce(Teller) -> F) -> Self
    where
        F: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::unbounded_channel();
        let teller = Teller(sender);
        let work = work(teller.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = work.await {
                teller.tell(Progress::failure(&error));
            }
        });
        Self { receiver, task }
    }
}

impl Stream for Operation {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Progress>> {
        self.receiver.poll_recv(context)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Lets a thread read what `source` gives; the task that carries the bytes ends with either side.
pub(super) fn readable(mut source: impl AsyncRead + Send + Unpin + 'static) -> ChunkReader {
    let (sender, reader) = chunks();
    tokio::spawn(async move {
        loop {
            let mut chunk = bytes::BytesMut::with_capacity(64 << 10);
            match source.read_buf(&mut chunk).await {
                Ok(0) => return sender.finish(Ok(())).await,
                Ok(_) => {
                    if !sender.send(chunk.freeze()).await {
                        return;
                    }
                }
                Err(error) => return sender.finish(Err(error)).await,
            }
        }
    });
    reader
}
