//! The files of a log while they are rotated under the reader.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use jiff::{SignedDuration, Timestamp};
use memchr::{memchr, memchr_iter};

use super::archive::Index;
use super::file::{compressed, rotated};
use super::line;

/// How much is read at once.
pub(super) const BLOCK: usize = 64 * 1024;
/// Entries are in order but for pieces of one line and a clock that was set; so much is looked at besides.
pub(super) const DISORDER: SignedDuration = SignedDuration::from_secs(1);
/// How often a rotation in the middle of the look may make it begin again.
const ATTEMPTS: usize = 5;

/// One file of a log, open.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: File,
    pub(super) inode: u64,
    pub(super) is_compressed: bool,
    /// How long it was when it was opened.
    pub(super) length: u64,
    /// Of its text, no more than this is wanted.
    pub(super) limit: Option<u64>,
    /// That of a compressed one, once somebody asked.
    index: Option<Option<Index>>,
}

/// The files of the log at `path`, oldest first. The last one is that which is written, unless there is none yet.
pub(super) fn segments(path: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        found = look(path)?;
        let newest = found.first().filter(|segment: &&Segment| !segment.is_compressed).map(|segment| segment.inode);
        if newest == current_inode(path)? {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// Which file is being written; `None` where there is none.
pub(super) fn current_inode(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Newest first: files that move on while we look are then met twice rather than never.
fn look(path: &Path) -> io::Result<Vec<Segment>> {
    let mut found: Vec<Segment> = Vec::new();
    let mut take = |path: &Path, is_compressed| -> io::Result<bool> {
        let Some(segment) = Segment::open(path, is_compressed)? else { return Ok(false) };
        if found.iter().all(|other| other.inode != segment.inode) {
            found.push(segment);
        }
        Ok(true)
    };
    take(path, false)?;
    let mut missing = 0;
    for number in 1.. {
        let name = rotated(path, number);
        // Where both are, the compressed one is whole: it comes by rename and then the other goes.
        if take(&compressed(&name), true)? || take(&name, false)? {
            missing = 0;
        } else {
            missing += 1;
            // In the middle of a rotation one number is vacant.
            if missing == 2 {
                break;
            }
        }
    }
    Ok(found)
}

impl Segment {
    fn open(path: &Path, is_compressed: bool) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let metadata = file.metadata()?;
                let (inode, length) = (metadata.ino(), metadata.len());
                Ok(Some(Self { file, inode, is_compressed, length, limit: None, index: None }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it is the file with that inode, or was made from it.
    pub(super) fn is_of(&mut self, inode: u64) -> io::Result<bool> {
        Ok(self.inode == inode || self.index()?.is_some_and(|index| index.origin == inode))
    }

    fn index(&mut self) -> io::Result<Option<&Index>> {
        if self.index.is_none() {
            self.index = Some(if self.is_compressed { Index::of(&self.file)? } else { None });
        }
        Ok(self.index.as_ref().and_then(Option::as_ref))
    }

    /// Its text from where the file stands.
    pub(super) fn into_content(self) -> Content {
        if self.is_compressed {
            Content::Gzip(Box::new(MultiGzDecoder::new(self.file)))
        } else {
            Content::Plain(self.file)
        }
    }

    /// Where the last `count` lines begin, or how many lines there are if those are fewer.
    pub(super) fn tail(&mut self, count: u64) -> io::Result<Tail> {
        if !self.is_compressed {
            return plain_tail(&self.file, count);
        }
        if let Some(index) = self.index()? {
            let Some(skip) = index.lines.checked_sub(count) else { return Ok(Tail::Fewer(index.lines)) };
            let Some(member) = index.with_line(skip) else { return Ok(Tail::SkipLines(skip)) };
            self.file.seek(SeekFrom::Start(member.offset))?;
            return Ok(Tail::SkipLines(skip - member.lines_before));
        }
        let mut lines = 0;
        let mut reader = BufReader::with_capacity(BLOCK, MultiGzDecoder::new(&self.file));
        loop {
            let block = match reader.fill_buf() {
                Err(error) if is_damage(&error) => break,
                other => other?,
            };
            if block.is_empty() {
                break;
            }
            lines += memchr_iter(b'\n', block).count() as u64;
            let length = block.len();
            reader.consume(length);
        }
        self.file.seek(SeekFrom::Start(0))?;
        Ok(if lines >= count { Tail::SkipLines(lines - count) } else { Tail::Fewer(lines) })
    }

    /// When its first entry was written; `None` where it has none.
    pub(super) fn first_time(&mut self) -> io::Result<Option<Timestamp>> {
        if let Some(time) = self.index()?.and_then(Index::first_time) {
            return Ok(Some(time));
        }
        let mut text = Vec::new();
        let mut reader: Box<dyn Read> =
            if self.is_compressed { Box::new(MultiGzDecoder::new(&self.file)) } else { Box::new(&self.file) };
        let mut found = None;
        for size in [BLOCK / 16, 4 * BLOCK] {
            match reader.by_ref().take((size.saturating_sub(text.len())) as u64).read_to_end(&mut text) {
                Err(error) if self.is_compressed && is_damage(&error) => {}
                other => drop(other?),
            }
            found = text.split(|byte| *byte == b'\n').find_map(line::parse).map(|entry| entry.time);
            if found.is_some() {
                break;
            }
        }
        drop(reader);
        self.file.seek(SeekFrom::Start(0))?;
        Ok(found)
    }

    /// Goes to a line from before `since`, near the first that is not; does nothing where that needs reading it all.
    pub(super) fn seek_near(&mut self, since: Timestamp) -> io::Result<()> {
        let wanted = since.checked_sub(DISORDER).unwrap_or(since);
        if self.is_compressed {
            if let Some(member) = self.index()?.and_then(|index| index.before(wanted)) {
                self.file.seek(SeekFrom::Start(member.offset))?;
            }
            return Ok(());
        }
        let (mut low, mut high) = (0, self.length);
        while high - low > 4 * BLOCK as u64 {
            let middle = low + (high - low) / 2;
            match first_line_after(&self.file, middle)? {
                Some((start, time)) if time < wanted && start < high => low = start,
                _ => high = middle,
            }
        }
        self.file.seek(SeekFrom::Start(low))?;
        Ok(())
    }
}

/// Whether a compressed file was cut short, as by a power loss, or damaged: what could be read until then is its text.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
}

/// Where the last lines of a file begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// At this byte.
    Offset(u64),
    /// After so many lines.
    SkipLines(u64),
    /// It has only so many.
    Fewer(u64),
}

/// Text of a log.
#[derive(Debug)]
pub(super) enum Content {
    Plain(File),
    Gzip(Box<MultiGzDecoder<File>>),
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

/// Reads backwards by blocks until enough newlines went by. What follows the last newline is no line yet.
fn plain_tail(file: &File, count: u64) -> io::Result<Tail> {
    let mut end = file.metadata()?.len();
    // The last line's own newline is one more.
    let mut wanted = count + 1;
    let mut lines = 0;
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = block.get_mut(..usize::try_from(end - start).unwrap_or(BLOCK)).unwrap_or_default();
        file.read_exact_at(part, start)?;
        for at in memchr_iter(b'\n', part).rev() {
            wanted -= 1;
            if wanted == 0 {
                return Ok(Tail::Offset(start + at as u64 + 1));
            }
            lines += 1;
        }
        end = start;
    }
    Ok(if lines >= count { Tail::Offset(0) } else { Tail::Fewer(lines) })
}

/// The first whole line that begins after `offset`, and its time.
fn first_line_after(file: &File, offset: u64) -> io::Result<Option<(u64, Timestamp)>> {
    // An entry has 16 KiB of content at most, which takes six times that when all of it is escaped; few are so long.
    for size in [BLOCK / 16, 4 * BLOCK] {
        let mut text = vec![0; size];
        let length = file.read_at(&mut text, offset)?;
        let found = first_line_in(text.get(..length).unwrap_or_default());
        if let Some((start, time)) = found {
            return Ok(Some((offset + start as u64, time)));
        }
    }
    Ok(None)
}

/// Where the first whole entry after a newline begins, and its time.
fn first_line_in(text: &[u8]) -> Option<(usize, Timestamp)> {
    let mut start = memchr(b'\n', text)? + 1;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        let end = memchr(b'\n', rest)?;
        if let Some(entry) = rest.get(..end).and_then(line::parse) {
            return Some((start, entry.time));
        }
        start += end + 1;
    }
    None
}
