//! A place in a log that moves forward, from file to file.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use memchr::memchr;

use super::files::{BLOCK, Content, DISORDER, Segment, Tail, current_inode, is_damage, segments};
use super::position::LogPosition;
use super::{LogEntry, LogStream, line};

/// No entry is longer: 16 KiB of content, six times that when all of it is escaped, and attributes. A line that is has no end,
/// as what a file system makes of blocks that never came to the disk, and shall not come into memory whole.
const LONGEST_LINE: usize = 4 << 20;
/// A batch ends after so many entries.
const BATCH: usize = 512;

/// Which entries are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) end: Option<LogPosition>,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

impl Wanted {
    fn has(&self, entry: &LogEntry) -> bool {
        let is_stream = match entry.stream {
            LogStream::Stdout => self.stdout,
            LogStream::Stderr => self.stderr,
        };
        is_stream
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time <= until)
    }
}

/// A reader's place in a log. All of its methods read from disk.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    wanted: Wanted,
    is_following: bool,
    /// What is to be read after the current file, oldest first.
    pending: VecDeque<Segment>,
    current: Option<Current>,
    lines: Lines,
    /// Lines to pass over first.
    skip: u64,
    /// The time of the last entry read, wanted or not.
    last_time: Timestamp,
    /// Entries up to here were read from a file that can't be found again.
    seen_up_to: Option<Timestamp>,
    is_finished: bool,
}

#[derive(Debug)]
struct Current {
    content: Content,
    inode: u64,
    /// How much of it may still be read; `None` is all there ever will be.
    remaining: Option<u64>,
}

impl Cursor {
    /// The place where the last `tail` entries of the log begin, or (near) the first from `since` on, or its beginning.
    pub(super) fn open(path: &Path, wanted: Wanted, tail: Option<u64>, is_following: bool) -> io::Result<Self> {
        let mut pending = VecDeque::from(segments(path)?);
        let mut skip = 0;
        if let Some(end) = wanted.end {
            leave_out_newer(&mut pending, end)?;
        }
        if let Some(since) = wanted.since.filter(|_| tail.is_none()) {
            pass_over_older(&mut pending, since)?;
        }
        if let Some(tail) = tail {
            skip = pass_over_all_but(&mut pending, tail)?;
        }
        Ok(Self {
            path: path.to_owned(),
            wanted,
            is_following,
            pending,
            current: None,
            lines: Lines::default(),
            skip,
            last_time: Timestamp::now(),
            seen_up_to: None,
            is_finished: false,
        })
    }

    /// The next wanted entries; none where the log is at its end for now.
    pub(super) fn next_batch(&mut self) -> io::Result<Vec<LogEntry>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH && !self.is_finished {
            match self.lines.next().map(line::parse) {
                Some(entry) => self.take(entry, &mut batch),
                None if self.fill()? || self.advance()? => {}
                None => break,
            }
        }
        Ok(batch)
    }

    fn take(&mut self, entry: Option<LogEntry>, batch: &mut Vec<LogEntry>) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let Some(entry) = entry else { return };
        if self.seen_up_to.is_some_and(|seen| entry.time <= seen) {
            return;
        }
        self.last_time = entry.time;
        let is_past = |until: Timestamp| until.checked_add(DISORDER).is_ok_and(|end| entry.time > end);
        self.is_finished = self.wanted.until.is_some_and(is_past);
        if self.wanted.has(&entry) {
            batch.push(entry);
        }
    }

    /// Reads a block of the current file; false at its end.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(Current { content, remaining, .. }) = &mut self.current else { return Ok(false) };
        let limit = remaining.map_or(BLOCK, |remaining| usize::try_from(remaining).unwrap_or(BLOCK).min(BLOCK));
        let count = match self.lines.fill(content, limit) {
            Err(error) if matches!(content, Content::Gzip(_)) && is_damage(&error) => 0,
            other => other?,
        };
        if let Some(remaining) = remaining {
            *remaining -= count as u64;
        }
        Ok(count > 0)
    }

    /// Goes to the next file, of which there may be none yet.
    fn advance(&mut self) -> io::Result<bool> {
        if self.pending.is_empty() && self.is_following {
            match self.find_newer()? {
                Newer::Nothing => return Ok(false),
                Newer::Here => return Ok(true),
                Newer::Files => {}
            }
        }
        let Some(segment) = self.pending.pop_front() else { return Ok(false) };
        // The writer ends every file with a whole line, so a rest without a newline is damage.
        self.lines.clear();
        let (inode, limit, length) = (segment.inode, segment.limit, segment.length);
        let mut content = segment.into_content();
        let remaining = match &mut content {
            Content::Plain(_) if self.is_following => None,
            Content::Plain(file) => Some(limit.unwrap_or(length).saturating_sub(file.stream_position()?)),
            Content::Gzip(_) => limit,
        };
        self.current = Some(Current { content, inode, remaining });
        Ok(true)
    }

    /// At the end of a file that is being followed: where the log goes on.
    fn find_newer(&mut self) -> io::Result<Newer> {
        let here = self.current.as_ref().map(|current| current.inode);
        let newest = current_inode(&self.path)?;
        if newest == here {
            return self.rewind_if_truncated();
        }
        if newest.is_none() {
            return Ok(Newer::Nothing);
        }
        // Its last lines may have come between our last look and the rotation.
        if self.fill()? {
            return Ok(Newer::Here);
        }
        let mut found = VecDeque::from(segments(&self.path)?);
        match position_of(&mut found, here)? {
            Some(at) => drop(found.drain(..=at)),
            // It was removed: go by time.
            None if here.is_some() => self.seen_up_to = Some(self.last_time),
            None => {}
        }
        self.pending = found;
        Ok(if self.pending.is_empty() { Newer::Nothing } else { Newer::Files })
    }

    /// Somebody may have emptied the file by hand: what comes next is at its beginning.
    fn rewind_if_truncated(&mut self) -> io::Result<Newer> {
        if let Some(Current { content: Content::Plain(file), .. }) = &mut self.current
            && file.metadata()?.len() < file.stream_position()?
        {
            file.seek(SeekFrom::Start(0))?;
            self.lines.clear();
            return Ok(Newer::Here);
        }
        Ok(Newer::Nothing)
    }
}

/// Where a log goes on.
enum Newer {
    Nothing,
    Here,
    Files,
}

/// Which of the files is the one with inode `here`, or was made from it: the youngest, as the numbers of files that are
/// gone are given again.
fn position_of(found: &mut VecDeque<Segment>, here: Option<u64>) -> io::Result<Option<usize>> {
    let Some(here) = here else { return Ok(None) };
    for at in (0..found.len()).rev() {
        if let Some(segment) = found.get_mut(at)
            && segment.is_of(here)?
        {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Leaves out what was written after `end`; that is all of it if the file that was written then is gone.
fn leave_out_newer(pending: &mut VecDeque<Segment>, end: LogPosition) -> io::Result<()> {
    let count = position_of(pending, Some(end.inode))?.map_or(0, |at| at + 1);
    pending.truncate(count);
    if let Some(last) = pending.back_mut() {
        last.limit = Some(end.length);
    }
    Ok(())
}

/// Leaves out files that have nothing from `since` on, and goes near it in the first that has.
fn pass_over_older(pending: &mut VecDeque<Segment>, since: Timestamp) -> io::Result<()> {
    let wanted = since.checked_sub(DISORDER).unwrap_or(since);
    for at in (0..pending.len()).rev() {
        let Some(segment) = pending.get_mut(at) else { break };
        if segment.first_time()?.is_some_and(|first| first < wanted) {
            if segment.limit.is_none() || !segment.is_compressed {
                segment.seek_near(since)?;
            }
            pending.drain(..at);
            break;
        }
    }
    Ok(())
}

/// Leaves out files that the last `count` lines are not in; how many lines of the first are to be passed over.
fn pass_over_all_but(pending: &mut VecDeque<Segment>, mut count: u64) -> io::Result<u64> {
    for at in (0..pending.len()).rev() {
        let Some(segment) = pending.get_mut(at) else { break };
        let skip = match segment.tail(count)? {
            Tail::Fewer(lines) => {
                count -= lines;
                continue;
            }
            Tail::Offset(offset) => {
                segment.file.seek(SeekFrom::Start(offset))?;
                0
            }
            // The file stands where they are counted from.
            Tail::SkipLines(lines) => lines,
        };
        pending.drain(..at);
        return Ok(skip);
    }
    Ok(0)
}

/// Bytes cut into lines.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    start: usize,
    /// Up to here there is no newline.
    searched: usize,
}

impl Lines {
    /// The next whole line, without its newline.
    fn next(&mut self) -> Option<&[u8]> {
        let from = self.searched.max(self.start);
        let Some(length) = memchr(b'\n', self.bytes.get(from..)?) else {
            self.searched = self.bytes.len();
            return None;
        };
        let line = self.start..from + length;
        self.start = line.end + 1;
        self.searched = self.start;
        self.bytes.get(line)
    }

    fn fill(&mut self, content: &mut impl Read, limit: usize) -> io::Result<usize> {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.bytes.len() > LONGEST_LINE {
            self.clear();
        }
        let before = self.bytes.len();
        self.bytes.resize(before + limit, 0);
        let read = content.read(self.bytes.get_mut(before..).unwrap_or_default());
        self.bytes.truncate(before + read.as_ref().map_or(0, |count| *count));
        read
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
