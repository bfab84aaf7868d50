//! Attaching to a container's streams: now, or when it starts; with what it logged before, if wanted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::detach_keys::{DetachWatch, parse_keys};
use super::exec::console_size;
use super::live::WaitingAttach;
use super::options::{AttachOptions, Attached, LogSource, LogsOptions, TerminalSize};
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::shim::{Attach, Target};

impl Room {
    /// `POST /containers/{id}/attach`.
    pub async fn attach(&self, id: &str, options: AttachOptions) -> Result<Attached, EngineError> {
        let container = self.index.find(id)?;
        let record = container.record();
        let tty = record.has_tty();
        let keys = parse_keys(options.detach_keys.as_deref())?;
        record.state.may_attach(&container.id)?;
        let watch = DetachWatch::new(if tty { keys } else { Vec::new() });
        let wants = Attach {
            stdin: options.stdin && record.config.open_stdin == Some(true),
            stdout: options.stdout || (!options.stdin && !options.stderr),
            stderr: options.stderr || (!options.stdin && !options.stdout),
        };
        let mut io = match (&record.state, container.shim()) {
            _ if !options.stream => AttachIo::ended(),
            (State::Running(_), Some(shim)) => AttachIo::connected(shim.attach(wants).await?, watch),
            (State::Created { .. } | State::Exited { .. }, _) => {
                let (sender, connection) = oneshot::channel();
                container.await_start(WaitingAttach { attach: wants, connection: sender });
                AttachIo::waiting(connection, watch)
            }
            _ => AttachIo::ended(),
        };
        if options.logs {
            io.before = self.replay(&container.id, wants, tty).await?;
        }
        let events = Arc::clone(&self.rooms.events);
        let attached = Arc::clone(&container);
        io.on_detach = Some(Box::new(move || attached.publish(&events, "detach", [])));
        container.publish(&self.rooms.events, "attach", []);
        Ok(Attached { tty, io: Box::new(io) })
    }

    /// What was logged so far, framed as a client of this container expects it.
    async fn replay(&self, id: &str, wants: Attach, tty: bool) -> Result<Bytes, EngineError> {
        let options = LogsOptions { stdout: wants.stdout, stderr: wants.stderr, ..LogsOptions::default() };
        let mut lines = self.logs(id, options)?.lines;
        let mut bytes = BytesMut::new();
        while let Some(line) = lines.next().await {
            let line = line?;
            put_frame(&mut bytes, line.source, &line.bytes, tty);
        }
        Ok(bytes.freeze())
    }

    /// `POST /containers/{id}/resize`. Before the start, the size is kept for it.
    pub async fn resize(&self, id: &str, size: TerminalSize) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        match container.shim() {
            Some(shim) => {
                container.record().state.may_enter(&container.id, "resize")?;
                shim.resize(Target::Init, console_size(size)).await?;
                container.publish(
                    &self.rooms.events,
                    "resize",
                    [("height", size.rows.to_string()), ("width", size.columns.to_string())],
                );
                container.change_unwritten(|record| record.terminal = Some(size)).await;
                Ok(())
            }
            None if matches!(container.record().state, State::Created { .. }) => {
                container.change_unwritten(|record| record.terminal = Some(size)).await;
                Ok(())
            }
            None => Err(super::state::not_running(&container.id)),
        }
    }
}

/// Puts one piece of output into `bytes`: bare on a terminal, else with its eight bytes of header.
pub fn put_frame(bytes: &mut BytesMut, source: LogSource, payload: &[u8], tty: bool) {
    if !tty {
        let stream = match source {
            LogSource::Stdout => 1,
            LogSource::Stderr => 2,
        };
        bytes.put_slice(&[stream, 0, 0, 0]);
        bytes.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    }
    bytes.put_slice(payload);
}

/// One attachment's bytes, both ways. Until the container starts, reads and writes wait.
pub struct AttachIo {
    link: Link,
    /// Sent before anything live.
    before: Bytes,
    watch: DetachWatch,
    /// Typed bytes that passed the watch and are not written yet.
    typed: BytesMut,
    is_detached: bool,
    on_detach: Option<Box<dyn FnOnce() + Send>>,
    /// Both halves may be polled by tasks of their own, but the link remembers only the last one that asked; so whoever
    /// sees it change wakes the other.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Link {
    Waiting(oneshot::Receiver<UnixStream>),
    Connected(UnixStream),
    Ended,
}

impl AttachIo {
    fn new(link: Link, watch: DetachWatch) -> Self {
        Self {
            link,
            before: Bytes::new(),
            watch,
            typed: BytesMut::new(),
            is_detached: false,
            on_detach: None,
            reader: None,
            writer: None,
        }
    }

    /// A live one.
    pub fn connected(stream: UnixStream, watch: DetachWatch) -> Self {
        Self::new(Link::Connected(stream), watch)
    }

    /// One that begins when the container starts.
    fn waiting(connection: oneshot::Receiver<UnixStream>, watch: DetachWatch) -> Self {
        Self::new(Link::Waiting(connection), watch)
    }

    /// One with nothing (more) to come.
    fn ended() -> Self {
        Self::new(Link::Ended, DetachWatch::new(Vec::new()))
    }

    /// One that says `text` as standard error and ends.
    pub fn last_words(text: &str, tty: bool) -> Self {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, LogSource::Stderr, text.as_bytes(), tty);
        Self { before: bytes.freeze(), ..Self::ended() }
    }

    /// The connection, once there is one; `None` where there is nothing to wait for (any more).
    fn poll_link(&mut self, context: &mut Context<'_>) -> Poll<Option<&mut UnixStream>> {
        if let Link::Waiting(connection) = &mut self.link {
            self.link = match ready!(Pin::new(connection).poll(context)) {
                Ok(stream) => Link::Connected(stream),
                Err(_) => Link::Ended,
            };
            self.wake_both();
        }
        match &mut self.link {
            Link::Connected(stream) if !self.is_detached => Poll::Ready(Some(stream)),
            _ => Poll::Ready(None),
        }
    }

    fn wake_both(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Writes what passed the watch; ready when all of it is written.
    fn poll_typed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer = Some(context.waker().clone());
        while !self.typed.is_empty() {
            let typed = std::mem::take(&mut self.typed);
            let written = match self.poll_link(context) {
                Poll::Ready(Some(stream)) => Pin::new(stream).poll_write(context, &typed),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            };
            self.typed = typed;
            self.typed.advance(ready!(written)?);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for AttachIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let piece = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.split_to(piece));
            return Poll::Ready(Ok(()));
        }
        self.reader = Some(context.waker().clone());
        match ready!(self.poll_link(context)) {
            Some(stream) => Pin::new(stream).poll_read(context, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for AttachIo {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_detached || matches!(self.link, Link::Ended) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_typed(context))?;
        let typed = self.watch.typed(bytes);
        self.typed.extend_from_slice(&typed.pass);
        if typed.is_detached {
            self.is_detached = true;
            self.link = Link::Ended;
            self.wake_both();
            if let Some(tell) = self.on_detach.take() {
                tell();
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        // What does not go out now goes out with the next write, flush or shutdown.
        if let Poll::Ready(Err(error)) = self.poll_typed(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_typed(context))?;
        match ready!(self.poll_link(context)) {
            Some(stream) => Pin::new(stream).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_typed(context))?;
        match ready!(self.poll_link(context)) {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn an_attachment_waits_for_the_start_and_then_carries_both_ways() {
        let (sender, connection) = oneshot::channel();
        let mut io = AttachIo::waiting(connection, DetachWatch::new(Vec::new()));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        sender.send(ours).unwrap();
        io.write_all(b"in").await.unwrap();
        io.flush().await.unwrap();
        let mut two = [0; 2];
        theirs.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"in");
        theirs.write_all(b"out").await.unwrap();
        drop(theirs);
        let mut all = String::new();
        io.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "out");
    }

    #[tokio::test]
    async fn a_reader_and_a_writer_that_both_wait_both_hear_of_the_start() {
        let (sender, connection) = oneshot::channel();
        let (mut read, mut write) = tokio::io::split(AttachIo::waiting(connection, DetachWatch::new(Vec::new())));
        let reading = tokio::spawn(async move {
            let mut all = String::new();
            read.read_to_string(&mut all).await.map(|_| all)
        });
        tokio::task::yield_now().await;
        let writing = tokio::spawn(async move { write.shutdown().await });
        tokio::task::yield_now().await;
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        sender.send(ours).unwrap();
        theirs.write_all(b"out").await.unwrap();
        drop(theirs);
        assert_eq!(reading.await.unwrap().unwrap(), "out");
        let _ = writing.await.unwrap();
    }

    #[tokio::test]
    async fn a_start_that_fails_ends_those_who_wait() {
        let (sender, connection) = oneshot::channel::<UnixStream>();
        let mut io = AttachIo::waiting(connection, DetachWatch::new(Vec::new()));
        drop(sender);
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.unwrap();
        assert!(all.is_empty());
    }

    #[tokio::test]
    async fn detach_keys_end_the_attachment_and_reach_nobody() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut io = AttachIo::connected(ours, DetachWatch::new(vec![16, 17]));
        io.write_all(b"a\x10").await.unwrap();
        io.write_all(b"\x11").await.unwrap();
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.unwrap();
        theirs.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"a");
        assert!(io.write_all(b"more").await.is_err());
    }

    #[test]
    fn frames_have_eight_bytes_of_header() {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, LogSource::Stderr, b"no", false);
        put_frame(&mut bytes, LogSource::Stdout, b"raw", true);
        assert_eq!(&bytes[..], b"\x02\0\0\0\0\0\0\x02noraw");
    }
}
