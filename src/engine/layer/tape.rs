//! What is left of a layer's tar once its files are unpacked: enough to put the very same bytes together again.
//!
//! Headers, padding and everything else that is not a file's content is kept literally, compressed; in place of content
//! stands the file's path. So an image that was pulled can be saved or pushed with its digests unchanged, though its
//! blobs are not kept. Frames: `1 length bytes` (literal) and `2 size length path` (content), numbers little-endian.
//! A file that a later entry of the same archive replaced is kept aside under its content's ordinal.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::LayerError;

const LITERAL: u8 = 1;
const CONTENT: u8 = 2;
/// Literal bytes are gathered up to this many before they become a frame.
const FRAME: usize = 64 << 10;

/// Where an archive's bytes go as they are read, except for content that becomes a file.
pub(super) trait Tape {
    /// Bytes that are no kept content.
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// `size` bytes of content follow, kept as the file `path`. Answers the content's ordinal if it must stay
    /// reachable even when that file is replaced.
    fn content(&mut self, path: &[u8], size: u64) -> io::Result<Option<u64>>;
}

/// Forgets what it is given.
pub(super) struct NoTape;

impl Tape for NoTape {
    fn literal(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn content(&mut self, _path: &[u8], _size: u64) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// Writes a tape into a file.
pub(super) struct TapeWriter {
    out: DeflateEncoder<BufWriter<File>>,
    pending: Vec<u8>,
    ordinal: u64,
}

impl TapeWriter {
    pub fn create(path: &Path) -> io::Result<Self> {
        let out = DeflateEncoder::new(BufWriter::new(File::create(path)?), Compression::fast());
        Ok(Self { out, pending: Vec::with_capacity(FRAME), ordinal: 0 })
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.flush_literal()?;
        self.out.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    }

    fn flush_literal(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.out.write_all(&[LITERAL])?;
            self.out.write_all(&(self.pending.len() as u64).to_le_bytes())?;
            self.out.write_all(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }
}

impl Tape for TapeWriter {
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= FRAME { self.flush_literal() } else { Ok(()) }
    }

    fn content(&mut self, path: &[u8], size: u64) -> io::Result<Option<u64>> {
        self.flush_literal()?;
        self.out.write_all(&[CONTENT])?;
        self.out.write_all(&size.to_le_bytes())?;
        self.out.write_all(&(path.len() as u64).to_le_bytes())?;
        self.out.write_all(path)?;
        self.ordinal += 1;
        Ok(Some(self.ordinal - 1))
    }
}

/// Writes the tar that `tape` was made from, its contents taken from `files`, or from `replaced` where a file was
/// replaced by a later entry.
pub(super) fn replay(tape: &Path, files: &Path, replaced: &Path, writer: &mut dyn Write) -> Result<(), LayerError> {
    let told = |source: io::Error| LayerError::io("read", tape, source);
    let root = File::open(files).map_err(|source| LayerError::io("open", files, source))?;
    let has_replaced = replaced.exists();
    let mut frames = BufReader::new(DeflateDecoder::new(BufReader::new(File::open(tape).map_err(told)?)));
    let mut ordinal: u64 = 0;
    let mut kind = [0; 1];
    while frames.read(&mut kind).map_err(told)? == 1 {
        match kind {
            [LITERAL] => {
                let length = number(&mut frames).map_err(told)?;
                copy(&mut (&mut frames).take(length), length, writer).map_err(|error| error.named(tape))?;
            }
            [CONTENT] => {
                let size = number(&mut frames).map_err(told)?;
                let length = number(&mut frames).map_err(told)?;
                let mut path = Vec::new();
                (&mut frames).take(length).read_to_end(&mut path).map_err(told)?;
                let aside = replaced.join(ordinal.to_string());
                let shown = std::path::PathBuf::from(std::ffi::OsString::from(String::from_utf8_lossy(&path).as_ref()));
                let file = if has_replaced && aside.exists() { File::open(&aside) } else { open_inside(&root, &path) };
                let mut file = file.map_err(|source| LayerError::io("open", &shown, source))?;
                copy(&mut file, size, writer).map_err(|error| error.named(&shown))?;
                ordinal += 1;
            }
            _ => return Err(told(io::Error::new(io::ErrorKind::InvalidData, "unknown frame"))),
        }
    }
    Ok(())
}

fn open_inside(root: &File, path: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat2(
        root.as_fd(),
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?))
}

fn number(reader: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Which side of a copy failed.
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl CopyError {
    pub fn named(self, path: &Path) -> LayerError {
        match self {
            Self::Read(source) => LayerError::io("read", path, source),
            Self::Write(source) => LayerError::io("write", "archive", source),
        }
    }
}

/// Copies exactly `size` bytes.
pub(super) fn copy(reader: &mut impl Read, size: u64, writer: &mut dyn Write) -> Result<(), CopyError> {
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(256 << 10)];
    let mut left = size;
    while left > 0 {
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let target = buffer.get_mut(..limit).unwrap_or_default();
        let count = match reader.read(target) {
            Ok(0) => return Err(CopyError::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        writer.write_all(buffer.get(..count).unwrap_or_default()).map_err(CopyError::Write)?;
        left -= count as u64;
    }
    Ok(())
}
