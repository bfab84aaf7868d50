//! Docker's frames: how two output streams share one connection where there is no terminal.
//!
//! Eight bytes of header (stream number, three zeros, big-endian length), then the payload.

use bytes::{BufMut, Bytes, BytesMut};

use super::version::ApiVersion;

/// Content type of frames, from 1.42 on.
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Content type of raw bytes, and before 1.42 of frames too.
const RAW: &str = "application/vnd.docker.raw-stream";

/// The content type of an output stream.
pub fn content_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || version < ApiVersion::new(1, 42) { RAW } else { MULTIPLEXED }
}

/// A frame of `stream` (1 standard output, 2 standard error) around the parts of `payload`.
pub fn frame(stream: u8, payload: &[&[u8]]) -> Bytes {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(8 + length);
    frame.put_slice(&[stream, 0, 0, 0]);
    // A log line is at most 16 KiB plus a timestamp; a longer payload can't be said in this format at all.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    payload.iter().for_each(|part| frame.put_slice(part));
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_stream_and_length() {
        assert_eq!(&frame(2, &[b"ab", b"c"])[..], b"\x02\0\0\0\0\0\0\x03abc");
    }
}
