//! The log's children: the one that compresses what was rotated, and the one that writes where the shim must not wait.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jiff::Timestamp;
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use super::keeper::Keeper;
use super::reactor::{Interest, Source};
use crate::engine::shim::logs::{Compression, LogStream, LogWriter};
use crate::engine::shim::spec::{LogDriver, LogSpec};
use crate::sys::signal::pidfd_signal;
use crate::sys::spawn::{Streams, spawn_session};

/// A log, and the process that writes it if that is not the shim.
#[derive(Debug, Default)]
pub(super) struct Logging {
    pub(super) writer: Option<LogWriter>,
    keeper: Option<u32>,
    compression: Option<(u32, Compression)>,
}

impl Logging {
    /// What `spec` wants.
    ///
    /// # Errors
    /// The disk's or the kernel's refusal.
    pub(super) fn open(spec: &LogSpec) -> io::Result<Self> {
        if spec.driver == LogDriver::None {
            return Ok(Self::default());
        }
        let Some(buffer) = spec.buffer else {
            return Ok(Self { writer: Some(LogWriter::open(spec.clone())?), ..Self::default() });
        };
        let (keeper, pipe) = spawn_keeper()?;
        let writer = Some(LogWriter::relayed(spec, buffer, pipe)?);
        Ok(Self { writer, keeper: Some(keeper), compression: None })
    }

    /// Begins another run, if the process that wrote the log ended with the one before.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn reopen(&mut self, spec: &LogSpec) -> io::Result<()> {
        if let (Some(writer), Some(buffer), None) = (&mut self.writer, spec.buffer, self.keeper) {
            let (keeper, pipe) = spawn_keeper()?;
            writer.reopen(spec, buffer, pipe)?;
            self.keeper = Some(keeper);
        }
        Ok(())
    }

    /// Whether `pid` was a child of the log's; takes note of its end.
    pub(super) fn reaped(&mut self, pid: u32, is_success: bool) -> bool {
        if self.keeper.take_if(|keeper| *keeper == pid).is_some() {
            return true;
        }
        let Some((_, compression)) = self.compression.take_if(|(compressor, _)| *compressor == pid) else {
            return false;
        };
        if let Some(writer) = &mut self.writer {
            writer.compression_ended(&compression, is_success);
        }
        self.compress();
        true
    }

    /// Has rotated files compressed, one at a time, by a child: it takes a tenth of a second and half a megabyte, neither
    /// of which the loop has.
    pub(super) fn compress(&mut self) {
        let Some(writer) = self.writer.as_mut().filter(|writer| writer.wants_compression()) else { return };
        if self.compression.is_some() {
            return;
        }
        if let Some(compression) = writer.next_compression() {
            match spawn(c"--compress", compression.input.as_fd(), compression.output.as_fd()) {
                Ok(pid) => self.compression = Some((pid, compression)),
                Err(_) => writer.compression_ended(&compression, false),
            }
        }
    }

    /// The run is over: all that was written goes to the files. Whether it is there.
    fn finish(&mut self, now: Timestamp) -> bool {
        let Some(writer) = &mut self.writer else { return true };
        writer.finish(LogStream::Stdout, now);
        writer.finish(LogStream::Stderr, now);
        writer.close();
        self.keeper.is_none()
    }
}

impl Keeper {
    /// Whether the log of the run that ended has all of it.
    pub(super) fn log_is_whole(&mut self, now: Timestamp) -> bool {
        self.forget_pipe();
        self.logging.finish(now)
    }

    /// Brings what is waited for in line with what waits for the log's pipe.
    pub(super) fn settle_log(&mut self) -> io::Result<()> {
        let Some((pipe, is_waiting)) = self.logging.writer.as_ref().and_then(LogWriter::pipe) else { return Ok(()) };
        self.reactor.set(Source::Log, pipe, is_waiting.then_some(Interest::WRITE))
    }

    /// The log's pipe has room, or nobody who reads it.
    pub(super) fn log_is_ready(&mut self) {
        self.forget_pipe();
        if let Some(writer) = &mut self.logging.writer {
            writer.pipe_is_ready();
        }
    }

    /// Takes the pipe out of the set, as it may be closed next.
    fn forget_pipe(&mut self) {
        if let Some((pipe, _)) = self.logging.writer.as_ref().and_then(LogWriter::pipe) {
            let _ = self.reactor.set(Source::Log, pipe, None);
        }
    }

    /// Half a compressed file helps nobody; what is not compressed now will be after the next rotation.
    pub(super) fn abandon_compression(&mut self) {
        let Some((pid, compression)) = self.logging.compression.take() else { return };
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw)
            && let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        {
            let _ = pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        compression.abandon();
    }
}

/// Starts the process that writes the log, and gives our end of the pipe that it reads.
fn spawn_keeper() -> io::Result<(u32, OwnedFd)> {
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
    let flags = rustix::fs::fcntl_getfl(&ours)?;
    rustix::fs::fcntl_setfl(&ours, flags | OFlags::NONBLOCK)?;
    let stderr = io::stderr();
    Ok((spawn(c"--log", theirs.as_fd(), stderr.as_fd())?, ours))
}

fn spawn(task: &CStr, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>) -> io::Result<u32> {
    let args: Vec<CString> = [c"boxyard", c"shim", task].map(CString::from).into();
    let stderr = io::stderr();
    spawn_session(c"/proc/self/exe", &args, &[], Streams { stdin, stdout, stderr: stderr.as_fd() })
}
