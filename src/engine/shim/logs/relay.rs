//! `mode=non-blocking`: a log whose files somebody else writes, so that a disk that hangs can't hold the container up.
//!
//! The shim has one thread, and a write to a file can wait for the disk. So a child of it reads entries from a pipe and
//! writes them; what the pipe does not take waits here, up to `max-buffer-size`. Beyond that new entries are lost, as in Docker.
//! The first line in the pipe is the [`LogSpec`].

use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use memchr::memrchr;
use rustix::io::Errno;

use super::file::{Compression, LogFile};
use super::position::LogPosition;
use crate::engine::shim::spec::LogSpec;

/// The shim's end.
#[derive(Debug)]
pub(super) struct Relay {
    /// `None` once it is closed.
    pipe: Option<OwnedFd>,
    path: PathBuf,
    queue: VecDeque<u8>,
    limit: usize,
    dropped: u64,
    is_closing: bool,
    /// What became of the reader; all goes nowhere then.
    error: Option<String>,
}

impl Relay {
    /// `pipe` must be non-blocking.
    pub(super) fn new(spec: &LogSpec, buffer: u64, pipe: OwnedFd) -> io::Result<Self> {
        let mut first = serde_json::to_vec(spec)?;
        first.push(b'\n');
        let mut relay = Self {
            pipe: Some(pipe),
            path: spec.path.clone(),
            queue: VecDeque::new(),
            limit: usize::try_from(buffer).unwrap_or(usize::MAX),
            dropped: 0,
            is_closing: false,
            error: None,
        };
        relay.send(&first);
        Ok(relay)
    }

    /// Takes whole entries.
    pub(super) fn send(&mut self, entries: &[u8]) {
        if entries.is_empty() {
            return;
        }
        let sent = if self.queue.is_empty() { self.write(entries, &[]) } else { 0 };
        let rest = entries.get(sent..).unwrap_or_default();
        // As Docker: a buffer that is empty takes any entry, and so the rest of one that is half sent.
        for entry in rest.split_inclusive(|byte| *byte == b'\n') {
            if self.queue.is_empty() || self.queue.len() + entry.len() <= self.limit {
                self.queue.extend(entry);
            } else {
                self.dropped += 1;
            }
        }
    }

    pub(super) fn flush(&mut self) {
        while !self.queue.is_empty() {
            let queue = std::mem::take(&mut self.queue);
            let (front, back) = queue.as_slices();
            let sent = self.write(front, back);
            self.queue = queue;
            self.queue.drain(..sent);
            if sent == 0 {
                break;
            }
        }
        if self.is_closing && self.queue.is_empty() {
            self.pipe = None;
        }
    }

    /// How much went; a reader that is gone takes everything, and nothing comes of it.
    fn write(&mut self, first: &[u8], second: &[u8]) -> usize {
        let all = first.len() + second.len();
        let Some(pipe) = self.pipe.as_ref().filter(|_| self.error.is_none()) else { return all };
        loop {
            match rustix::io::writev(pipe, &[IoSlice::new(first), IoSlice::new(second)]) {
                Ok(count) => return count,
                Err(Errno::AGAIN) => return 0,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.error = Some(format!("write log {}: {}", self.path.display(), io::Error::from(errno)));
                    return all;
                }
            }
        }
    }

    pub(super) fn pipe(&self) -> Option<(BorrowedFd<'_>, bool)> {
        Some((self.pipe.as_ref()?.as_fd(), !self.queue.is_empty()))
    }

    pub(super) fn close(&mut self) {
        self.is_closing = true;
        self.flush();
    }

    pub(super) fn rest(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What the other end has written so far, as far as one can see from here.
    pub(super) fn position(&self) -> LogPosition {
        fs::metadata(&self.path).map_or(LogPosition { inode: 0, length: 0 }, |metadata| LogPosition {
            inode: metadata.ino(),
            length: metadata.len(),
        })
    }
}

/// How much is read at once.
const READ_SIZE: usize = 64 << 10;
/// No spec is longer.
const LONGEST_SPEC: usize = 1 << 20;

/// The other end: reads a spec and then entries from `pipe`, and writes them, until there are no more.
///
/// # Errors
/// What makes that impossible. A disk that refuses costs entries only.
pub fn keep(mut pipe: impl Read) -> io::Result<()> {
    let mut bytes = Vec::new();
    let spec = loop {
        if !fill(&mut pipe, &mut bytes)? {
            return Ok(());
        }
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let spec: LogSpec = serde_json::from_slice(bytes.get(..end).unwrap_or_default())?;
            bytes.drain(..=end);
            break spec;
        }
        if bytes.len() > LONGEST_SPEC {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    let mut file = LogFile::open(spec)?;
    let mut compressor = Compressor::default();
    loop {
        // A shim that was killed may have left half an entry, which nobody wants.
        let end = memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        file.append_and_rotate(bytes.get(..end).unwrap_or_default());
        bytes.drain(..end);
        compressor.go_on(&mut file);
        if !fill(&mut pipe, &mut bytes)? {
            compressor.stop(&mut file);
            return file.error().map_or(Ok(()), |error| Err(io::Error::other(error.to_owned())));
        }
    }
}

/// Reads more, if there is more.
fn fill(pipe: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let before = bytes.len();
    bytes.resize(before + READ_SIZE, 0);
    let count = loop {
        match pipe.read(bytes.get_mut(before..).unwrap_or_default()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    bytes.truncate(before + count);
    Ok(count > 0)
}

/// Compresses beside, one file at a time. This process has no container to clone, so it may have a second thread.
#[derive(Default)]
struct Compressor(Option<(Arc<Compression>, JoinHandle<bool>)>);

impl Compressor {
    fn go_on(&mut self, file: &mut LogFile) {
        if self.0.as_ref().is_some_and(|(_, work)| !work.is_finished()) {
            return;
        }
        self.stop(file);
        if !file.wants_compression() {
            return;
        }
        let Some(compression) = file.next_compression().map(Arc::new) else { return };
        let theirs = Arc::clone(&compression);
        let work = std::thread::spawn(move || Compression::run(&theirs.input, &theirs.output).is_ok());
        self.0 = Some((compression, work));
    }

    /// Waits for what was begun.
    fn stop(&mut self, file: &mut LogFile) {
        if let Some((compression, work)) = self.0.take() {
            file.compression_ended(&compression, work.join().unwrap_or(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shim::logs::{LogStream, LogWriter};
    use jiff::Timestamp;

    fn non_blocking_pipe() -> (io::PipeReader, OwnedFd) {
        let (reader, writer) = io::pipe().unwrap();
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
        (reader, writer.into())
    }

    #[test]
    fn what_goes_through_the_pipe_is_in_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let spec = LogSpec { max_size: Some(10_000), max_file: 100, ..LogSpec::json_file(&path) };
        let (reader, pipe) = non_blocking_pipe();
        let keeper = std::thread::spawn(move || keep(reader));
        let mut log = LogWriter::relayed(&spec, 1 << 20, pipe).unwrap();
        for number in 0..1000 {
            log.write(LogStream::Stdout, format!("line {number}\n").as_bytes(), Timestamp::UNIX_EPOCH);
        }
        log.write(LogStream::Stdout, b"the end", Timestamp::UNIX_EPOCH);
        log.finish(LogStream::Stdout, Timestamp::UNIX_EPOCH);
        log.close();
        while log.pipe().is_some() {
            log.pipe_is_ready();
        }
        keeper.join().unwrap().unwrap();
        assert_eq!(log.error(), None);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let query = crate::engine::shim::logs::LogQuery { stdout: true, stderr: true, ..Default::default() };
        let lines: Vec<_> =
            runtime.block_on(futures_util::StreamExt::collect(crate::engine::shim::logs::read(&path, query)));
        assert_eq!(lines.len(), 1001);
        assert_eq!(lines[999].as_ref().unwrap().bytes, "line 999\n");
        assert_eq!(lines[1000].as_ref().unwrap().bytes, "the end");
    }

    #[test]
    fn what_the_buffer_has_no_room_for_is_lost_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let spec = LogSpec { max_size: None, ..LogSpec::json_file(&folder.path().join("log")) };
        let (reader, pipe) = non_blocking_pipe();
        let mut log = LogWriter::relayed(&spec, 100_000, pipe).unwrap();
        for number in 0..10_000 {
            log.write(LogStream::Stdout, format!("line {number}\n").as_bytes(), Timestamp::UNIX_EPOCH);
        }
        let (_, is_waiting) = log.pipe().unwrap();
        assert!(is_waiting);
        let keeper = std::thread::spawn(move || keep(reader));
        log.close();
        while log.pipe().is_some() {
            log.pipe_is_ready();
        }
        keeper.join().unwrap().unwrap();
        let text = fs::read_to_string(&spec.path).unwrap();
        let numbers: Vec<u32> = text
            .lines()
            .map(|line| line.split("line ").nth(1).unwrap().split('\\').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>(), "whole lines, the first ones");
        assert!((1500..5000).contains(&numbers.len()), "a pipe and a buffer hold {}", numbers.len());
    }

    #[test]
    fn half_an_entry_of_a_killed_shim_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let spec = LogSpec { max_size: None, ..LogSpec::json_file(&folder.path().join("log")) };
        let mut text = serde_json::to_vec(&spec).unwrap();
        text.extend(b"\nwhole\nhal");
        keep(text.as_slice()).unwrap();
        assert_eq!(fs::read(&spec.path).unwrap(), b"whole\n");
    }
}
