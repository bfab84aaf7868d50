//! Which compression a stream has, told by its first bytes, and its inflater.

use std::io::{self, BufRead, Cursor, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// A reader that gives the inflated bytes of `reader`, whatever of gzip, zstd, bzip2, xz or nothing it is.
///
/// # Errors
/// Where the first bytes can't be read or are a damaged header.
pub(crate) fn inflater<'a>(mut reader: impl BufRead + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut first = Vec::new();
    while first.len() < 6 {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let count = chunk.len().min(6 - first.len());
        first.extend_from_slice(chunk.get(..count).unwrap_or_default());
        reader.consume(count);
    }
    let kind = kind_of(&first);
    let whole = Cursor::new(first).chain(reader);
    Ok(match kind {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Zstd => Box::new(Zstd::new(whole)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new(whole, true)),
        Compression::None => Box::new(whole),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    None,
}

fn kind_of(first: &[u8]) -> Compression {
    let is_skippable = first.len() >= 4
        && first.get(1..4) == Some(&[0x2a, 0x4d, 0x18])
        && first.first().is_some_and(|byte| byte & 0xf0 == 0x50);
    match first {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ if is_skippable => Compression::Zstd,
        [b'B', b'Z', b'h', ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Compression::Xz,
        _ => Compression::None,
    }
}

/// Zstd streams are sequences of frames, some of them to be skipped; the decoder reads one at a time.
struct Zstd<R> {
    reader: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(reader: R) -> Self {
        Self { reader, decoder: FrameDecoder::new(), is_in_frame: false }
    }

    /// Goes to the next frame with content; `false` at the stream's end.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.reader.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.reader) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut (&mut self.reader).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(damaged(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.is_in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder.decode_blocks(&mut self.reader, BlockDecodingStrategy::UptoBlocks(1)).map_err(damaged)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.is_in_frame = false;
        }
    }
}

fn damaged(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zstd: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn inflate(bytes: &[u8]) -> Vec<u8> {
        let mut inflated = Vec::new();
        inflater(bytes).unwrap().read_to_end(&mut inflated).unwrap();
        inflated
    }

    #[test]
    fn each_compression_is_told_by_its_first_bytes() {
        let text = b"layer ".repeat(10_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        // A skippable frame with three bytes stands before and between, as in zstd:chunked.
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let chunked = [&skipped[..], &zstd, &skipped, &zstd, &skipped].concat();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();

        assert_eq!(inflate(&text), text);
        assert_eq!(inflate(&gzip.finish().unwrap()), text);
        assert_eq!(inflate(&bzip2.finish().unwrap()), text);
        assert_eq!(inflate(&zstd), text);
        assert_eq!(inflate(&chunked), [&text[..], &text].concat());
        assert_eq!(inflate(b""), b"");
        assert_eq!(inflate(b"ab"), b"ab");
    }
}
