//! Attaching to a container's streams: now, or when it starts; with what it logged before, if wanted.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::detach_keys::{DetachWatch, parse_keys};
use super::exec::console_size;
use super::live::{Container, WaitingAttach};
use super::logs::must_have_log;
use super::options::{AttachOptions, Attached, LogSource, TerminalSize};
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::shim::logs::{LogPosition, LogQuery, LogStream, read};
use crate::engine::shim::{Attach, ShimError, Target};

/// What was written before an attachment's stream began, framed as its client expects it.
type Replay = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// How many log entries are framed at once, at most.
const REPLAY_BATCH: usize = 256;

impl Room {
    /// `POST /containers/{id}/attach`.
    pub async fn attach(&self, id: &str, options: AttachOptions) -> Result<Attached, EngineError> {
        let container = self.index.find(id)?;
        let record = container.record();
        let tty = record.has_tty();
        let keys = parse_keys(options.detach_keys.as_deref())?;
        record.state.may_attach(&container.id)?;
        if options.logs {
            must_have_log(&record)?;
        }
        let watch = DetachWatch::new(if tty { keys } else { Vec::new() });
        let wants = Attach {
            stdin: options.stdin && record.config.open_stdin == Some(true),
            stdout: options.stdout || (!options.stdin && !options.stderr),
            stderr: options.stderr || (!options.stdin && !options.stdout),
            replay: options.logs,
        };
        let Linked { mut io, from } = if options.stream {
            self.link(&container, wants, watch).await?
        } else {
            Linked { io: AttachIo::ended(), from: None }
        };
        if options.logs {
            io.replay = Some(replay(&container, wants, tty, from));
        }
        let events = Arc::clone(&self.rooms.events);
        let attached = Arc::clone(&container);
        let io = io.telling(move || attached.publish(&events, "detach", []));
        container.publish(&self.rooms.events, "attach", []);
        Ok(Attached { tty, io: Box::new(io) })
    }

    /// Connects to the live stream, or to that of the next run.
    async fn link(&self, container: &Container, wants: Attach, watch: DetachWatch) -> Result<Linked, EngineError> {
        let over = Linked { io: AttachIo::ended(), from: None };
        let was_running = match container.record().state {
            State::Running(_) => true,
            State::Created { .. } | State::Exited { .. } => false,
            _ => return Ok(over),
        };
        if !was_running {
            container.settled().await;
        }
        // While it is at rest, nothing is written after this.
        let at_rest = Self::log_end(container.folder.log(&container.id)).await?;
        let (sender, connection) = oneshot::channel();
        let waiting = WaitingAttach { attach: Attach { replay: false, ..wants }, connection: sender };
        let Some(shim) = container.shim_or_await_start(waiting) else {
            // One that ran when it was asked for has said everything.
            let io = if was_running { AttachIo::ended() } else { AttachIo::waiting(connection, watch) };
            return Ok(Linked { io, from: Some(at_rest) });
        };
        match shim.attach_from(wants).await {
            Ok((connection, from)) => Ok(Linked { io: AttachIo::connected(connection, watch), from }),
            // It ended in this moment.
            Err(ShimError::State { .. } | ShimError::Gone { .. }) => Ok(over),
            Err(error) => Err(error.into()),
        }
    }

    /// How far the log of a container at rest goes.
    async fn log_end(path: PathBuf) -> Result<LogPosition, EngineError> {
        Self::blocking(move || {
            // No file is the inode of none.
            let found = std::fs::metadata(path).ok();
            Ok(found
                .map_or(LogPosition { inode: 0, length: 0 }, |it| LogPosition { inode: it.ino(), length: it.len() }))
        })
        .await
    }

    /// `POST /containers/{id}/resize`. Before the start, the size is kept for it.
    pub async fn resize(&self, id: &str, size: TerminalSize) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        match container.shim() {
            // It is about to start.
            Some(shim) if !container.record().state.is_running() => {
                Ok(shim.resize(Target::Init, console_size(size)).await?)
            }
            Some(shim) => {
                container.record().state.may_enter(&container.id, "resize")?;
                if container.record().config.tty == Some(true) {
                    shim.resize(Target::Init, console_size(size)).await?;
                }
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

/// An attachment, and up to where the log has what came before it; `None` is all of it.
struct Linked {
    io: AttachIo,
    from: Option<LogPosition>,
}

/// What was logged up to `end`.
fn replay(container: &Container, wants: Attach, tty: bool, end: Option<LogPosition>) -> Replay {
    let query = LogQuery { end, stdout: wants.stdout, stderr: wants.stderr, ..LogQuery::default() };
    let entries = read(&container.folder.log(&container.id), query).ready_chunks(REPLAY_BATCH);
    Box::pin(entries.map(move |batch| {
        let mut bytes = BytesMut::new();
        for entry in batch {
            let entry = entry.map_err(io::Error::other)?;
            let source = match entry.stream {
                LogStream::Stdout => LogSource::Stdout,
                LogStream::Stderr => LogSource::Stderr,
            };
            put_frame(&mut bytes, source, &entry.bytes, tty);
        }
        Ok(bytes.freeze())
    }))
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
    /// Read to its end before anything live.
    replay: Option<Replay>,
    /// Sent next.
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
            replay: None,
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

    /// The same; `tell` is called when the detach keys end it.
    pub fn telling(self, tell: impl FnOnce() + Send + 'static) -> Self {
        Self { on_detach: Some(Box::new(tell)), ..self }
    }

    /// What comes before the live stream; `None` when there is no more of it.
    fn poll_before(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<&mut Bytes>>> {
        while self.before.is_empty() {
            let Some(replay) = &mut self.replay else { return Poll::Ready(Ok(None)) };
            match ready!(replay.as_mut().poll_next(context)) {
                Some(piece) => self.before = piece?,
                None => self.replay = None,
            }
        }
        Poll::Ready(Ok(Some(&mut self.before)))
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
        if self.is_detached {
            return Poll::Ready(Ok(()));
        }
        self.reader = Some(context.waker().clone());
        if let Some(before) = ready!(self.poll_before(context))? {
            let piece = before.len().min(buffer.remaining());
            buffer.put_slice(&before.split_to(piece));
            return Poll::Ready(Ok(()));
        }
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

    #[tokio::test]
    async fn what_was_logged_comes_first_and_detaching_ends_that_too() {
        let pieces = |count: usize| futures_util::stream::iter((0..count).map(|_| Ok(Bytes::from_static(b"old "))));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"new").await.unwrap();
        drop(theirs);
        let mut io = AttachIo::connected(ours, DetachWatch::new(Vec::new()));
        io.replay = Some(Box::pin(pieces(2)));
        let mut all = String::new();
        io.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "old old new");

        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut io = AttachIo::connected(ours, DetachWatch::new(vec![17]));
        io.replay = Some(Box::pin(pieces(1).chain(futures_util::stream::pending())));
        let mut old = [0; 4];
        io.read_exact(&mut old).await.unwrap();
        io.write_all(b"\x11").await.unwrap();
        assert_eq!(io.read(&mut old).await.unwrap(), 0);
    }

    #[test]
    fn frames_have_eight_bytes_of_header() {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, LogSource::Stderr, b"no", false);
        put_frame(&mut bytes, LogSource::Stdout, b"raw", true);
        assert_eq!(&bytes[..], b"\x02\0\0\0\0\0\0\x02noraw");
    }
}
