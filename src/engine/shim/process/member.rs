//! A process of the container that is the shim's child, and its streams: the first process, or an exec.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use super::outbox::Outbox;
use super::reactor::{Number, Source};
use crate::engine::oci::ConsoleSize;
use crate::engine::runtime::Stdio;
use crate::engine::shim::logs::LogStream;

/// A process and its streams.
#[derive(Debug)]
pub struct Member {
    /// The engine's ID for an exec; `None` is the first process.
    pub exec_id: Option<String>,
    /// As the host sees it.
    pub pid: u32,
    /// Readable when it ended.
    pub pidfd: OwnedFd,
    /// Whether it has a terminal.
    pub is_terminal: bool,
    /// What it writes. A terminal's output is all in `stdout`.
    pub stdout: Output,
    /// What it writes.
    pub stderr: Output,
    /// What it reads.
    pub stdin: Input,
    /// How it ended, once it has.
    pub end: Option<End>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its exit status, or 128 plus the signal.
    pub code: i64,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
}

/// Our end of what a process writes.
#[derive(Debug)]
pub enum Output {
    /// There is more to come.
    Open(OwnedFd),
    /// It is at its end, or was never ours.
    Closed,
}

impl Output {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Open(fd) => Some(fd.as_fd()),
            Self::Closed => None,
        }
    }
}

/// Our end of what a process reads.
#[derive(Debug)]
pub struct Input {
    /// A pipe's or a terminal's end; `None` where nothing can be written any more.
    pub fd: Option<OwnedFd>,
    /// What it is yet to get.
    pub outbox: Outbox,
    /// Whether it ends when the outbox is empty.
    pub is_closing: bool,
    /// Whether the end of the first attacher's input is its end, too.
    pub ends_with_attacher: bool,
}

impl Input {
    /// Whether more may be taken from attachers now. Where nobody reads any more, it may: it is thrown away.
    pub fn has_room(&self) -> bool {
        self.outbox.is_empty()
    }
}

/// Which streams a process is to have.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// A terminal, of this size; the other fields do not matter then.
    pub terminal: Option<Option<ConsoleSize>>,
    /// Standard input that can be written; else `/dev/null`.
    pub stdin: bool,
    /// Standard output that can be read; else `/dev/null`.
    pub stdout: bool,
    /// Standard error that can be read; else `/dev/null`.
    pub stderr: bool,
}

/// Our ends of a process's streams, before it is there.
#[derive(Debug, Default)]
pub struct Ends {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Makes the streams: the process's ends and ours.
///
/// # Errors
/// The kernel's refusal.
pub fn streams(wanted: Wanted) -> io::Result<(Stdio, Ends)> {
    if let Some(size) = wanted.terminal {
        return Ok((Stdio::Terminal(size), Ends::default()));
    }
    let mut ends = Ends::default();
    let stdin = if wanted.stdin {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        ends.stdin = Some(non_blocking(ours)?);
        theirs
    } else {
        File::open("/dev/null")?.into()
    };
    let output = |is_wanted: bool, ours: &mut Option<OwnedFd>| -> io::Result<OwnedFd> {
        if is_wanted {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            *ours = Some(non_blocking(reader)?);
            Ok(writer)
        } else {
            Ok(File::options().write(true).open("/dev/null")?.into())
        }
    };
    let stdout = output(wanted.stdout, &mut ends.stdout)?;
    let stderr = output(wanted.stderr, &mut ends.stderr)?;
    Ok((Stdio::Fds { stdin, stdout, stderr }, ends))
}

fn non_blocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(fd)
}

impl Member {
    /// The process whose streams are `ends`, or all on the terminal `master`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn new(
        exec_id: Option<String>,
        pid: u32,
        pidfd: OwnedFd,
        ends: Ends,
        master: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let is_terminal = master.is_some();
        let (stdin, stdout, stderr) = match master {
            Some(master) => {
                let master = non_blocking(master)?;
                // A second descriptor, because reading and writing are waited for apart.
                (Some(master.try_clone()?), Some(master), None)
            }
            None => (ends.stdin, ends.stdout, ends.stderr),
        };
        let output = |fd: Option<OwnedFd>| fd.map_or(Output::Closed, Output::Open);
        let is_closing = stdin.is_none();
        Ok(Self {
            exec_id,
            pid,
            pidfd,
            is_terminal,
            stdout: output(stdout),
            stderr: output(stderr),
            stdin: Input { fd: stdin, outbox: Outbox::default(), is_closing, ends_with_attacher: true },
            end: None,
        })
    }

    /// Our end of one output stream.
    pub fn output(&mut self, stream: LogStream) -> &mut Output {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }

    /// The descriptors the loop may be waiting for, its pidfd apart.
    pub fn open_streams(&self, number: Number) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let stdout = self.stdout.fd().map(|fd| (Source::Output(number, LogStream::Stdout), fd));
        let stderr = self.stderr.fd().map(|fd| (Source::Output(number, LogStream::Stderr), fd));
        let stdin = self.stdin.fd.as_ref().map(|fd| (Source::Input(number), fd.as_fd()));
        [stdout, stderr, stdin].into_iter().flatten()
    }

    /// Whether everything it ever wrote has been read.
    pub fn is_drained(&self) -> bool {
        matches!((&self.stdout, &self.stderr), (Output::Closed, Output::Closed))
    }

    /// Tells its terminal a size.
    ///
    /// # Errors
    /// `None` where it has no terminal (any more), else the kernel's refusal.
    pub fn resize(&self, size: ConsoleSize) -> Option<io::Result<()>> {
        match &self.stdout {
            Output::Open(master) if self.is_terminal => Some(resize(master, size)),
            _ => None,
        }
    }
}

/// Tells a terminal its size, by its master.
///
/// # Errors
/// The kernel's refusal.
pub fn resize(master: impl AsFd, ConsoleSize { rows, cols }: ConsoleSize) -> io::Result<()> {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}
