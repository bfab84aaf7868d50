//! An attached process: keys to it, output from it, signals and sizes passed on, until it ends.

use std::io::{self, Write};
use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::terminal::{self, RawTerminal};
use crate::client::query_parameters::{KillContainerOptions, ResizeContainerTTYOptions, ResizeExecOptions};
use crate::client::{AttachContainerResults, Docker, Error, LogOutput};

/// Which process the session is with.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A container's own.
    Container(String),
    /// One run beside it.
    Exec(String),
}

/// What the session passes on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Passing {
    /// Our standard input.
    pub stdin: bool,
    /// The terminal: raw keys and sizes.
    pub tty: bool,
    /// Signals sent to us, to the container.
    pub signals: bool,
}

/// Carries the session until the output ends. `begin` runs once everything is connected: it starts the process.
///
/// # Errors
/// What `begin` answers, or a broken connection.
pub async fn carry(
    docker: &Docker,
    peer: Peer,
    streams: AttachContainerResults,
    passing: Passing,
    begin: impl Future<Output = Result<(), Error>>,
) -> anyhow::Result<()> {
    let AttachContainerResults { output, input } = streams;
    begin.await?;
    let raw = if passing.tty && passing.stdin && terminal::has_keys() { Some(RawTerminal::enter()?) } else { None };
    let feeding = passing.stdin.then(|| tokio::spawn(feed(input)));
    let sizing = passing.tty.then(|| tokio::spawn(tell_sizes(docker.clone(), peer.clone())));
    let signalling = match (&peer, passing.signals && !passing.tty) {
        (Peer::Container(id), true) => Some(tokio::spawn(pass_signals(docker.clone(), id.clone()))),
        _ => None,
    };
    let ended = print(output).await;
    for task in [feeding, sizing, signalling].into_iter().flatten() {
        task.abort();
    }
    drop(raw);
    Ok(ended?)
}

/// Prints output to the stream it came on, as it comes.
///
/// # Errors
/// A broken connection; that our own output is closed ends it without one.
pub async fn print(mut output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>) -> Result<(), Error> {
    while let Some(piece) = output.next().await {
        let piece = piece?;
        let written = match &piece {
            LogOutput::StdErr { message } => write_all(io::stderr(), message),
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                write_all(io::stdout(), message)
            }
        };
        if written.is_err() {
            break;
        }
    }
    Ok(())
}

fn write_all(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

async fn feed(mut input: Pin<Box<dyn AsyncWrite + Send>>) {
    let mut keys = tokio::io::stdin();
    let mut buffer = vec![0; 16 << 10];
    loop {
        match keys.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                if input.write_all(bytes).await.is_err() || input.flush().await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = input.shutdown().await;
}

async fn tell_sizes(docker: Docker, peer: Peer) {
    let Ok(mut changes) = terminal::size_changes() else { return };
    loop {
        if let Some((rows, columns)) = terminal::size() {
            let (h, w) = (i32::from(rows), i32::from(columns));
            // That it has ended meanwhile is no news.
            let _ = match &peer {
                Peer::Container(id) => docker.resize_container_tty(id, ResizeContainerTTYOptions { h, w }).await,
                Peer::Exec(id) => docker.resize_exec(id, ResizeExecOptions { h, w }).await,
            };
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

async fn pass_signals(docker: Docker, id: String) {
    let watch = |kind| signal(kind).ok();
    let (Some(mut interrupt), Some(mut terminate), Some(mut hangup), Some(mut quit)) = (
        watch(SignalKind::interrupt()),
        watch(SignalKind::terminate()),
        watch(SignalKind::hangup()),
        watch(SignalKind::quit()),
    ) else {
        return;
    };
    loop {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
            _ = quit.recv() => "SIGQUIT",
        };
        let _ = docker.kill_container(&id, Some(KillContainerOptions { signal: name.to_owned() })).await;
    }
}
