//! The output of a process, as attach, exec and logs carry it.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::errors::Error;

/// A piece of output and the stream it came on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    StdErr {
        /// The bytes.
        message: Bytes,
    },
    /// Standard output.
    StdOut {
        /// The bytes.
        message: Bytes,
    },
    /// Echoed standard input.
    StdIn {
        /// The bytes.
        message: Bytes,
    },
    /// A terminal, which has one stream only.
    Console {
        /// The bytes.
        message: Bytes,
    },
}

impl LogOutput {
    /// The bytes, whatever stream they came on.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::StdErr { message }
            | Self::StdOut { message }
            | Self::StdIn { message }
            | Self::Console { message } => message,
        }
    }
}

impl AsRef<[u8]> for LogOutput {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::StdErr { message }
            | Self::StdOut { message }
            | Self::StdIn { message }
            | Self::Console { message } => message,
        }
    }
}

impl fmt::Display for LogOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_ref()))
    }
}

/// How a stream of output is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Frames of 8 bytes of header and a payload (Engine API, "Stream format").
    Multiplexed,
    /// A terminal's bytes as they are.
    Raw,
}

impl Framing {
    /// What an answer's content type says; daemons before API 1.42 say raw for both, so there the first byte decides.
    pub(super) fn of_content_type(content_type: Option<&str>) -> Option<Self> {
        match content_type {
            Some("application/vnd.docker.multiplexed-stream") => Some(Self::Multiplexed),
            _ => None,
        }
    }
}

/// Splits a byte stream into [`LogOutput`]s.
#[derive(Debug)]
pub(super) struct OutputDecoder {
    framing: Option<Framing>,
}

/// Length of a frame's header: stream, three zero bytes, payload length (big endian).
const HEADER: usize = 8;

impl OutputDecoder {
    pub(super) fn new(framing: Option<Framing>) -> Self {
        Self { framing }
    }

    /// A frame begins with its stream's number (0 to 2) and three zero bytes; a terminal hardly ever sends those.
    fn guess(start: &[u8]) -> Option<Framing> {
        match start {
            [0..=2, 0, 0, 0, ..] => Some(Framing::Multiplexed),
            [] | [0..=2] | [0..=2, 0] | [0..=2, 0, 0] => None,
            _ => Some(Framing::Raw),
        }
    }

    fn frame(src: &mut BytesMut) -> Option<LogOutput> {
        let &[stream, _, _, _, a, b, c, d] = src.first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if src.len() < HEADER + length {
            return None;
        }
        src.advance(HEADER);
        let message = src.split_to(length).freeze();
        Some(match stream {
            0 => LogOutput::StdIn { message },
            1 => LogOutput::StdOut { message },
            _ => LogOutput::StdErr { message },
        })
    }
}

impl Decoder for OutputDecoder {
    type Item = LogOutput;
    type Error = Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<LogOutput>, Error> {
        if self.framing.is_none() {
            self.framing = Self::guess(src);
        }
        Ok(match self.framing {
            Some(Framing::Multiplexed) => Self::frame(src),
            Some(Framing::Raw) if !src.is_empty() => Some(LogOutput::Console { message: src.split().freeze() }),
            _ => None,
        })
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<LogOutput>, Error> {
        match self.decode(src)? {
            Some(output) => Ok(Some(output)),
            // Half a frame: the connection broke; what came is better shown than lost.
            None if !src.is_empty() => Ok(Some(LogOutput::Console { message: src.split().freeze() })),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(framing: Option<Framing>, input: &[u8]) -> Vec<LogOutput> {
        let mut decoder = OutputDecoder::new(framing);
        let mut src = BytesMut::from(input);
        let mut all = Vec::new();
        while let Some(output) = decoder.decode(&mut src).unwrap() {
            all.push(output);
        }
        all
    }

    #[test]
    fn frames_are_told_apart_by_stream() {
        let outputs = decode_all(None, b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!\x01\0\0\0\0\0\0\x05cut");
        let out = LogOutput::StdOut { message: Bytes::from_static(b"hi") };
        let err = LogOutput::StdErr { message: Bytes::from_static(b"!") };
        assert_eq!(outputs, [out, err]);
    }

    #[test]
    fn a_terminal_is_passed_on_as_it_comes() {
        let outputs = decode_all(None, b"$ ls\r\n");
        assert_eq!(outputs, [LogOutput::Console { message: Bytes::from_static(b"$ ls\r\n") }]);
    }
}
