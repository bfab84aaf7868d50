//! Rotated files, compressed so that one can begin to read in their middle.
//!
//! A gzip file may be several members one after the other; `zcat` and every other reader joins them. Each of ours holds
//! whole lines, and can be inflated without those before it. A last member without text carries, in its header's extra
//! field (RFC 1952, 2.3.1.1), the index: where each member begins, how many lines are before it, and when its first line was
//! written. The index so can't be lost without its file, and a file without one (or with a damaged one) is still read
//! from its beginning.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use jiff::Timestamp;
use memchr::{memchr, memchr_iter};

use super::line;

/// The text of a member, at least: inflating that much takes about a millisecond, and smaller ones compress worse.
const MEMBER: u64 = 256 * 1024;
/// More members than these do not fit in an extra field of 64 KiB; so the members of huge files are larger.
const MOST_MEMBERS: u64 = 2000;
/// A first line that is longer is not looked at for its time.
const LONGEST_FIRST: usize = 256 * 1024;
const MAGIC: &[u8; 8] = b"boxylog1";
/// Offset, lines before, and time of a member, each of eight bytes in network order.
const ENTRY: usize = 24;
/// Inode, lines, count of members, checksum, magic.
const FOOTER: usize = 32;
/// What follows the extra field in the last member: an empty deflate block, checksum and length of nothing.
const EMPTY: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What a compressed file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// The inode of the file it was made from, by which a follower knows what it has read already.
    pub(super) origin: u64,
    /// How many lines it has.
    pub(super) lines: u64,
    members: Vec<Member>,
}

/// Where one can begin to inflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) offset: u64,
    pub(super) lines_before: u64,
    nanoseconds: i64,
}

impl Index {
    /// That of `file`; `None` where it has none that can be trusted.
    pub(super) fn of(file: &File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let Some(footer_at) = length.checked_sub((FOOTER + EMPTY.len()) as u64) else { return Ok(None) };
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, footer_at)?;
        let Some(Footer { origin, lines, count, checksum }) = Footer::parse(&footer) else { return Ok(None) };
        let size = count as usize * ENTRY;
        let Some(entries_at) = footer_at.checked_sub(size as u64) else { return Ok(None) };
        let mut entries = vec![0; size];
        file.read_exact_at(&mut entries, entries_at)?;
        if Footer::checksum(&entries, origin, lines) != checksum {
            return Ok(None);
        }
        let members: Vec<Member> = entries.chunks_exact(ENTRY).filter_map(Member::parse).collect();
        let is_sound = members.is_sorted_by(|a, b| a.offset < b.offset && a.lines_before <= b.lines_before)
            && members.iter().all(|member| member.offset < length && member.lines_before <= lines);
        Ok(is_sound.then_some(Self { origin, lines, members }))
    }

    /// When the first line was written.
    pub(super) fn first_time(&self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(self.members.first()?.nanoseconds.into()).ok()
    }

    /// The member with line `number`, the first being 0.
    pub(super) fn with_line(&self, number: u64) -> Option<Member> {
        let after = self.members.partition_point(|member| member.lines_before <= number);
        self.members.get(after.checked_sub(1)?).copied()
    }

    /// The last member that begins before `time`, or the first of all.
    pub(super) fn before(&self, time: Timestamp) -> Option<Member> {
        let after = self.members.partition_point(|member| i128::from(member.nanoseconds) < time.as_nanosecond());
        self.members.get(after.saturating_sub(1)).copied()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.members.len() * ENTRY + FOOTER);
        for Member { offset, lines_before, nanoseconds } in &self.members {
            bytes.extend_from_slice(&offset.to_be_bytes());
            bytes.extend_from_slice(&lines_before.to_be_bytes());
            bytes.extend_from_slice(&nanoseconds.to_be_bytes());
        }
        let checksum = Footer::checksum(&bytes, self.origin, self.lines);
        bytes.extend_from_slice(&self.origin.to_be_bytes());
        bytes.extend_from_slice(&self.lines.to_be_bytes());
        bytes.extend_from_slice(&(self.members.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes
    }

    /// Writes it as a gzip member without text; nothing where it would not fit, which costs no more than the index.
    fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let payload = self.encode();
        let (Ok(field), Ok(all)) = (u16::try_from(payload.len()), u16::try_from(payload.len() + 4)) else {
            return Ok(());
        };
        // Deflate, with an extra field, no time, unknown system.
        output.write_all(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255])?;
        output.write_all(&all.to_le_bytes())?;
        output.write_all(b"BY")?;
        output.write_all(&field.to_le_bytes())?;
        output.write_all(&payload)?;
        output.write_all(&EMPTY)
    }
}

impl Member {
    fn parse(entry: &[u8]) -> Option<Self> {
        let word = |at: usize| entry.get(at..at + 8)?.try_into().ok();
        Some(Self {
            offset: u64::from_be_bytes(word(0)?),
            lines_before: u64::from_be_bytes(word(8)?),
            nanoseconds: i64::from_be_bytes(word(16)?),
        })
    }
}

struct Footer {
    origin: u64,
    lines: u64,
    count: u32,
    checksum: u32,
}

impl Footer {
    fn parse(bytes: &[u8; FOOTER]) -> Option<Self> {
        let (words, magic) = bytes.split_at(FOOTER - MAGIC.len());
        let long = |at: usize| words.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        let short = |at: usize| words.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let footer = Self { origin: long(0)?, lines: long(8)?, count: short(16)?, checksum: short(20)? };
        (magic == MAGIC && u64::from(footer.count) <= 2 * MOST_MEMBERS).then_some(footer)
    }

    fn checksum(entries: &[u8], origin: u64, lines: u64) -> u32 {
        let mut crc = Crc::new();
        crc.update(entries);
        crc.update(&origin.to_be_bytes());
        crc.update(&lines.to_be_bytes());
        crc.sum()
    }
}

/// Compresses a rotated log of about `length` bytes whose inode is `origin`. Holds a few hundred kilobytes.
///
/// # Errors
/// The disk's refusal.
pub(super) fn compress(input: impl Read, output: impl Write, origin: u64, length: u64) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let mut archive = Archive {
        output: Counted { inner: output, count: 0 },
        index: Index { origin, lines: 0, members: Vec::new() },
        member_size: MEMBER.max(length / MOST_MEMBERS),
    };
    while archive.member(&mut input)? {}
    let Archive { mut output, index, .. } = archive;
    index.write(&mut output)?;
    output.flush()
}

struct Archive<W> {
    output: Counted<W>,
    index: Index,
    member_size: u64,
}

impl<W: Write> Archive<W> {
    /// Writes the next member; false where there is no more text. The first one is written even if it is empty.
    fn member(&mut self, input: &mut impl BufRead) -> io::Result<bool> {
        if input.fill_buf()?.is_empty() && !self.index.members.is_empty() {
            return Ok(false);
        }
        let (offset, lines_before) = (self.output.count, self.index.lines);
        let before = self.index.members.last().map_or(i64::MIN, |member| member.nanoseconds);
        let mut first = FirstLine::default();
        let mut encoder = GzEncoder::new(&mut self.output, Compression::default());
        let mut size = 0;
        loop {
            let block = input.fill_buf()?;
            if block.is_empty() {
                break;
            }
            // Once it is large enough, it ends with the next line.
            let end = (size >= self.member_size).then(|| memchr(b'\n', block)).flatten();
            let taken = end.map_or(block.len(), |at| at + 1);
            let text = block.get(..taken).unwrap_or(block);
            encoder.write_all(text)?;
            first.take(text);
            self.index.lines += memchr_iter(b'\n', text).count() as u64;
            size += taken as u64;
            input.consume(taken);
            if end.is_some() {
                break;
            }
        }
        encoder.finish()?;
        let nanoseconds = first.nanoseconds().unwrap_or(before);
        self.index.members.push(Member { offset, lines_before, nanoseconds });
        Ok(true)
    }
}

/// The first line of a member, gathered from blocks.
#[derive(Default)]
struct FirstLine {
    text: Vec<u8>,
    is_whole: bool,
}

impl FirstLine {
    fn take(&mut self, text: &[u8]) {
        if self.is_whole || self.text.len() > LONGEST_FIRST {
            return;
        }
        let end = memchr(b'\n', text);
        self.text.extend_from_slice(text.get(..end.unwrap_or(text.len())).unwrap_or(text));
        self.is_whole = end.is_some();
    }

    fn nanoseconds(&self) -> Option<i64> {
        i64::try_from(line::parse(&self.text)?.time.as_nanosecond()).ok()
    }
}

/// Knows how much went through.
struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use flate2::read::MultiGzDecoder;

    use super::*;

    fn text(lines: u64) -> String {
        let line = |number| {
            let time = Timestamp::from_second(1_700_000_000 + number as i64).unwrap();
            format!("{{\"log\":\"line {number}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
        };
        (0..lines).map(line).collect()
    }

    fn archive(text: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        compress(text, &file, 42, text.len() as u64).unwrap();
        file
    }

    fn inflated(file: &File, from: u64) -> Vec<u8> {
        use std::io::{Seek, SeekFrom};
        let mut file = file;
        file.seek(SeekFrom::Start(from)).unwrap();
        let mut text = Vec::new();
        MultiGzDecoder::new(file).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn it_is_a_gzip_file_with_an_index() {
        let text = text(20_000);
        let file = archive(text.as_bytes());
        assert!(inflated(&file, 0) == text.as_bytes());
        let index = Index::of(&file).unwrap().unwrap();
        assert_eq!((index.origin, index.lines), (42, 20_000));
        assert!(index.members.len() > 3, "{}", index.members.len());
        for number in [0, 1, 5_000, 19_999] {
            let member = index.with_line(number).unwrap();
            let rest = String::from_utf8(inflated(&file, member.offset)).unwrap();
            let line = rest.lines().nth((number - member.lines_before) as usize).unwrap();
            assert!(line.contains(&format!("\"line {number}\\n\"")), "{line}");
            let time = line::parse(line.as_bytes()).unwrap().time;
            assert!(index.before(time).unwrap().lines_before <= number);
        }
        assert_eq!(index.first_time(), Some(Timestamp::from_second(1_700_000_000).unwrap()));
    }

    #[test]
    fn nothing_and_text_that_is_no_log_are_compressed_too() {
        for text in [&b""[..], b"\n", b"no newline", &[0xff; 700_000]] {
            let file = archive(text);
            assert!(inflated(&file, 0) == text);
            let index = Index::of(&file).unwrap().unwrap();
            assert_eq!(index.members.len(), 1);
            assert_eq!(index.lines, text.iter().filter(|byte| **byte == b'\n').count() as u64);
        }
    }

    #[test]
    fn a_damaged_index_is_none() {
        let file = archive(text(9_000).as_bytes());
        let length = file.metadata().unwrap().len();
        let size = Index::of(&file).unwrap().unwrap().encode().len() as u64;
        for back in 11..size + 10 {
            let mut byte = [0];
            file.read_exact_at(&mut byte, length - back).unwrap();
            file.write_all_at(&[byte[0] ^ 0x55], length - back).unwrap();
            assert_eq!(Index::of(&file).unwrap(), None, "{back} from the end");
            file.write_all_at(&byte, length - back).unwrap();
        }
        file.set_len(length - 1).unwrap();
        assert_eq!(Index::of(&file).unwrap(), None);
        file.set_len(5).unwrap();
        assert_eq!(Index::of(&file).unwrap(), None);
    }
}
