//! Reads a tar archive entry by entry: names, links, PAX and GNU extensions resolved, content as a stream.
//!
//! Written for hostile input and for exact replay: every byte that is not a regular file's content can be copied to a
//! tape (see `tape`), from which the same archive is put together again later. Sizes follow Go's `archive/tar`, because
//! that is what other engines read layers with: kinds without content have none whatever their header says, and an
//! extension never applies to another extension header.

use std::io::{self, BufRead};

use super::LayerError;
use super::header::{
    BLOCK, Header, HeaderError, Records, Segments, kind, padding, parse_decimal_time, sparse_segments,
};
use super::tape::Tape;

/// The most bytes a long name or a set of PAX records may have (as in Go's `archive/tar`).
const EXTENSION_MAX: u64 = 1 << 20;
/// The most bytes of global PAX records; they are looked through for every entry.
const GLOBALS_MAX: usize = 64 << 10;
/// The most segments of a sparse file.
const SEGMENTS_MAX: usize = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// A file; with a sparse map, the archive holds only the segments (offset, length).
    Regular {
        sparse: Option<Segments>,
    },
    Directory,
    Symlink,
    Hardlink,
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// One entry's metadata.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: EntryKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The file's length once unpacked.
    pub size: u64,
    /// Bytes of content that stand in the archive.
    pub stored: u64,
    pub mtime: (i64, u32),
    pub xattrs: Records,
}

/// Whether content goes to the tape as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// It is kept as a file; the tape will name that.
    Kept,
    /// It is kept nowhere else.
    Taped,
}

#[derive(Default)]
struct Extensions {
    records: Records,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// A tar archive being read.
pub(super) struct Archive<R, T> {
    reader: R,
    tape: T,
    /// Content of the current entry not yet read, and the zero bytes after it.
    remaining: u64,
    padding: u64,
    globals: Records,
}

impl<R: BufRead, T: Tape> Archive<R, T> {
    pub fn new(reader: R, tape: T) -> Self {
        Self { reader, tape, remaining: 0, padding: 0, globals: Vec::new() }
    }

    pub fn tape(&mut self) -> &mut T {
        &mut self.tape
    }

    pub fn into_parts(self) -> (R, T) {
        (self.reader, self.tape)
    }

    /// The next entry; `None` at the archive's end. Content of the one before that was not read goes to the tape.
    pub fn next(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let told = |error: HeaderError| entry_error(&header.name(), error);
            match header.kind() {
                kind::PAX => extensions.records = pax_records(&self.extension(&header)?)?,
                kind::PAX_GLOBAL => {
                    let records = pax_records(&self.extension(&header)?)?;
                    self.globals.extend(records);
                    let bytes: usize = self.globals.iter().map(|(key, value)| key.len() + value.len()).sum();
                    if bytes > GLOBALS_MAX {
                        return Err(LayerError::Archive { reason: "its global PAX records are too long".to_owned() });
                    }
                }
                kind::GNU_LONG_NAME => extensions.name = Some(long_text(self.extension(&header)?)),
                kind::GNU_LONG_LINK => extensions.link = Some(long_text(self.extension(&header)?)),
                _ => {
                    let size = header.size().map_err(told)?;
                    let mut entry = self.entry(&header, size, extensions)?;
                    if !matches!(entry.kind, EntryKind::Regular { .. }) {
                        (entry.size, entry.stored) = (0, 0);
                    }
                    self.remaining = entry.stored;
                    self.padding = padding(entry.stored) as u64;
                    self.sparse_map(&header, &mut entry)?;
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// Hands the next piece of the current entry's content to `take`; `false` when there is none left.
    pub fn content(
        &mut self,
        content: Content,
        take: impl FnOnce(&[u8]) -> Result<(), LayerError>,
    ) -> Result<bool, LayerError> {
        self.content_up_to(u64::MAX, content, take)
    }

    /// The same, with a piece of at most `most` bytes.
    pub fn content_up_to(
        &mut self,
        most: u64,
        content: Content,
        take: impl FnOnce(&[u8]) -> Result<(), LayerError>,
    ) -> Result<bool, LayerError> {
        if self.remaining == 0 {
            return Ok(false);
        }
        let chunk = self.reader.fill_buf().map_err(source)?;
        let limit = usize::try_from(self.remaining.min(most)).unwrap_or(usize::MAX).min(chunk.len());
        let chunk = chunk.get(..limit).unwrap_or_default();
        if chunk.is_empty() {
            return Err(cut());
        }
        take(chunk)?;
        if content == Content::Taped {
            self.tape.literal(chunk).map_err(tape_error)?;
        }
        self.reader.consume(limit);
        self.remaining -= limit as u64;
        Ok(true)
    }

    /// Reads what follows the archive's end, so that digests cover it.
    pub fn drain(&mut self) -> Result<(), LayerError> {
        loop {
            let chunk = self.reader.fill_buf().map_err(source)?;
            if chunk.is_empty() {
                return Ok(());
            }
            self.tape.literal(chunk).map_err(tape_error)?;
            let count = chunk.len();
            self.reader.consume(count);
        }
    }

    fn entry(&self, header: &Header, size: u64, extensions: Extensions) -> Result<Entry, LayerError> {
        let own_name = extensions.name.unwrap_or_else(|| header.name());
        let told = |error: HeaderError| entry_error(&own_name, error);
        let mut entry = Entry {
            link: extensions.link.unwrap_or_else(|| header.link()),
            kind: EntryKind::Directory,
            mode: header.mode().map_err(told)?,
            uid: id(header.uid().map_err(told)?).ok_or_else(|| entry_error(&own_name, "its uid is out of range"))?,
            gid: id(header.gid().map_err(told)?).ok_or_else(|| entry_error(&own_name, "its gid is out of range"))?,
            size,
            stored: size,
            mtime: (header.mtime().map_err(told)?, 0),
            xattrs: Vec::new(),
            name: own_name.clone(),
        };
        let mut records = self.globals.clone();
        records.extend(extensions.records);
        let mut sparse = PaxSparse::default();
        for (key, value) in records {
            let number = || std::str::from_utf8(&value).ok().and_then(|text| text.parse::<u64>().ok());
            let refusal = || entry_error(&own_name, format!("its {} is no number", String::from_utf8_lossy(&key)));
            match key.as_slice() {
                // An empty value takes the record back (POSIX pax).
                _ if value.is_empty() => {}
                b"path" => entry.name = value,
                b"linkpath" => entry.link = value,
                b"size" => {
                    entry.size = number().ok_or_else(refusal)?;
                    entry.stored = entry.size;
                }
                b"uid" => entry.uid = number().and_then(|id| u32::try_from(id).ok()).ok_or_else(refusal)?,
                b"gid" => entry.gid = number().and_then(|id| u32::try_from(id).ok()).ok_or_else(refusal)?,
                b"mtime" => entry.mtime = parse_decimal_time(&value).ok_or_else(refusal)?,
                b"GNU.sparse.name" => sparse.name = Some(value),
                b"GNU.sparse.major" => sparse.is_version_1 = value == b"1",
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => sparse.size = Some(number().ok_or_else(refusal)?),
                b"GNU.sparse.map" => sparse.map = Some(pax_sparse_map(&value).ok_or_else(refusal)?),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        entry.xattrs.push((name.to_vec(), value));
                    }
                }
            }
        }
        if entry.name.contains(&0) || entry.link.contains(&0) {
            return Err(entry_error(&entry.name, "its name holds a NUL byte"));
        }
        entry.kind = match header.kind() {
            kind::OLD_REGULAR if entry.name.ends_with(b"/") => EntryKind::Directory,
            kind::REGULAR | kind::OLD_REGULAR | kind::CONTIGUOUS => EntryKind::Regular { sparse: None },
            kind::GNU_SPARSE => EntryKind::Regular { sparse: Some(Vec::new()) },
            kind::DIRECTORY => EntryKind::Directory,
            kind::SYMLINK => EntryKind::Symlink,
            kind::HARDLINK => EntryKind::Hardlink,
            kind::FIFO => EntryKind::Fifo,
            kind::CHAR | kind::BLOCK => {
                let (major, minor) = header.device().map_err(told)?;
                if header.kind() == kind::CHAR { EntryKind::Char(major, minor) } else { EntryKind::Block(major, minor) }
            }
            other => return Err(entry_error(&entry.name, format!("unknown entry type {:?}", char::from(other)))),
        };
        if let EntryKind::Regular { sparse: map @ None } = &mut entry.kind {
            sparse.apply_to(&mut entry.name, &mut entry.size, map);
        }
        Ok(entry)
    }

    /// Fills in the sparse map that stands after the header (GNU's continuation blocks) or before the content (PAX 1.0).
    fn sparse_map(&mut self, header: &Header, entry: &mut Entry) -> Result<(), LayerError> {
        let name = entry.name.clone();
        let EntryKind::Regular { sparse: Some(segments) } = &mut entry.kind else { return Ok(()) };
        if header.kind() == kind::GNU_SPARSE {
            let told = |error: HeaderError| entry_error(&name, error);
            let (first, mut more, real) = header.gnu_sparse().map_err(told)?;
            *segments = first;
            entry.size = real;
            while more {
                let block = self.block()?.ok_or_else(cut)?;
                more = block.get(504).is_some_and(|flag| *flag != 0);
                segments.extend(sparse_segments(block.get(..504).unwrap_or_default()).map_err(told)?);
                if segments.len() > SEGMENTS_MAX {
                    return Err(entry_error(&name, "its sparse map is too long"));
                }
            }
        } else if segments.is_empty() {
            *segments = self.pax_1_map(&name)?;
        }
        let stored: Option<u64> = segments.iter().try_fold(0u64, |sum, (_, length)| sum.checked_add(*length));
        let mut end = 0u64;
        let in_order = segments.iter().all(|(offset, length)| {
            let ok = *offset >= end && offset.checked_add(*length).is_some_and(|last| last <= entry.size);
            end = offset.saturating_add(*length);
            ok
        });
        if stored != Some(self.remaining) || !in_order {
            return Err(entry_error(&name, "its sparse map does not fit its size"));
        }
        entry.stored = self.remaining;
        Ok(())
    }

    /// PAX 1.0's map: decimal numbers on lines of their own, in whole blocks at the start of the content.
    fn pax_1_map(&mut self, name: &[u8]) -> Result<Segments, LayerError> {
        let refusal = || entry_error(name, "its sparse map is malformed");
        let (mut text, mut numbers, mut expected) = (Vec::new(), Vec::<u64>::new(), None::<usize>);
        while expected.is_none_or(|count| numbers.len() < count) {
            let block = self.block()?.ok_or_else(cut)?;
            self.remaining = self.remaining.checked_sub(BLOCK as u64).ok_or_else(refusal)?;
            for byte in block {
                if expected.is_some_and(|count| numbers.len() >= count) {
                    break;
                }
                match byte {
                    b'\n' => {
                        let line = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                        let number: u64 = line.ok_or_else(refusal)?;
                        text.clear();
                        match expected {
                            None => {
                                let count = usize::try_from(number).ok().filter(|count| *count <= SEGMENTS_MAX);
                                expected = Some(2 * count.ok_or_else(refusal)?);
                            }
                            Some(_) => numbers.push(number),
                        }
                    }
                    byte if text.len() < 20 => text.push(byte),
                    _ => return Err(refusal()),
                }
            }
        }
        Ok(numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect())
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, LayerError> {
        let size = header.size().map_err(|error| entry_error(&header.name(), error))?;
        if size > EXTENSION_MAX {
            return Err(entry_error(
                &header.name(),
                format!("its extension header has more than {EXTENSION_MAX} bytes"),
            ));
        }
        self.remaining = size;
        self.padding = padding(size) as u64;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        while self.content(Content::Taped, |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })? {}
        Ok(bytes)
    }

    fn skip_rest(&mut self) -> Result<(), LayerError> {
        while self.content(Content::Taped, |_| Ok(()))? {}
        self.remaining = std::mem::take(&mut self.padding);
        while self.remaining > 0 {
            // `docker build -f -` ends its archive right behind the last content: Go's own reader does not mind.
            if self.reader.fill_buf().map_err(source)?.is_empty() {
                self.remaining = 0;
                break;
            }
            self.content(Content::Taped, |_| Ok(()))?;
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        Header::read(block)
            .map(Some)
            .map_err(|error| LayerError::Archive { reason: format!("a header is damaged: {error}") })
    }

    /// One block; `None` at a clean end of the input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        let mut block = [0; BLOCK];
        if self.reader.fill_buf().map_err(source)?.is_empty() {
            return Ok(None);
        }
        self.reader.read_exact(&mut block).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut(),
            _ => source(error),
        })?;
        self.tape.literal(&block).map_err(tape_error)?;
        Ok(Some(block))
    }
}

#[derive(Default)]
struct PaxSparse {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    map: Option<Segments>,
    is_version_1: bool,
}

impl PaxSparse {
    fn apply_to(self, name: &mut Vec<u8>, size: &mut u64, map: &mut Option<Segments>) {
        if !self.is_version_1 && self.map.is_none() {
            return;
        }
        if let Some(real_name) = self.name {
            *name = real_name;
        }
        if let Some(real_size) = self.size {
            *size = real_size;
        }
        *map = Some(self.map.unwrap_or_default());
    }
}

/// The error of an entry that can't be taken.
pub(super) fn entry_error(name: &[u8], reason: impl ToString) -> LayerError {
    LayerError::Entry { entry: String::from_utf8_lossy(name).into_owned(), reason: reason.to_string() }
}

fn source(error: io::Error) -> LayerError {
    LayerError::Source { source: error }
}

fn tape_error(error: io::Error) -> LayerError {
    LayerError::io("write", "headers", error)
}

fn cut() -> LayerError {
    LayerError::Archive { reason: "it ends in the middle of an entry".to_owned() }
}

fn id(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

/// GNU long names end with a NUL.
fn long_text(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn pax_sparse_map(text: &[u8]) -> Option<Segments> {
    let numbers: Option<Vec<u64>> = std::str::from_utf8(text).ok()?.split(',').map(|part| part.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len() % 2 == 0)?;
    Some(numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect())
}

/// Reads `LENGTH KEY=VALUE\n` records.
fn pax_records(mut bytes: &[u8]) -> Result<Records, LayerError> {
    let refusal = || LayerError::Archive { reason: "a PAX record is malformed".to_owned() };
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(refusal)?;
        let (digits, _) = bytes.split_at(blank);
        let length: usize = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or_else(refusal)?;
        let record = bytes.get(blank + 1..length).ok_or_else(refusal)?;
        let record = record.strip_suffix(b"\n").ok_or_else(refusal)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(refusal)?;
        let (key, value) = record.split_at(equals);
        records.push((key.to_vec(), value.get(1..).unwrap_or_default().to_vec()));
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(records)
}
