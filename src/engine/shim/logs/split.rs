//! From what a container writes to log entries: lines, and 16 KiB pieces of longer ones.

use jiff::Timestamp;
use memchr::memchr;

/// Docker's limit: the content of one entry has at most so many bytes.
pub const MAX_PIECE: usize = 16 * 1024;

/// One stream's unfinished line.
#[derive(Debug, Default)]
pub struct LineSplitter {
    pending: Vec<u8>,
    /// When the line began whose first pieces are written already.
    began: Option<Timestamp>,
}

/// A line or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its bytes, without the newline.
    pub content: &'a [u8],
    /// Whether the line ends with it.
    pub ends: bool,
    /// When the line began, if that was said before.
    pub began: Option<Timestamp>,
}

impl LineSplitter {
    /// Takes `bytes` and hands over all entries that are whole now. `emit` says what time it gave the entry, which all
    /// further pieces of the line get too.
    pub fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(Piece<'_>) -> Timestamp) {
        while !bytes.is_empty() {
            let room = MAX_PIECE - self.pending.len();
            let window = bytes.get(..room).unwrap_or(bytes);
            let (taken, ends) = match memchr(b'\n', window) {
                Some(at) => (at, true),
                None => (window.len(), false),
            };
            let (content, rest) = bytes.split_at(taken);
            if ends {
                self.emit(content, true, &mut emit);
                bytes = rest.get(1..).unwrap_or_default();
            } else if taken < room {
                self.pending.extend_from_slice(content);
                bytes = rest;
            } else if let Some(cut) = self.whole_piece(content) {
                // The usual case of a long line: nothing needs to be copied.
                let (piece, rest) = bytes.split_at(cut);
                let time = emit(Piece { content: piece, ends: false, began: self.began });
                self.began.get_or_insert(time);
                bytes = rest;
            } else {
                self.pending.extend_from_slice(content);
                self.emit_piece(&mut emit);
                bytes = rest;
            }
        }
    }

    /// Hands over what is left when the stream has ended: an entry without a newline, if anything.
    pub fn finish(&mut self, mut emit: impl FnMut(Piece<'_>) -> Timestamp) {
        if !self.pending.is_empty() {
            self.emit(&[], false, &mut emit);
        }
        self.began = None;
    }

    /// How much of `content`, which fills the limit, is a piece by itself; `None` where something came before it.
    fn whole_piece(&self, content: &[u8]) -> Option<usize> {
        self.pending.is_empty().then(|| whole_characters(content))
    }

    /// What waits for its line's end; it is in no entry yet.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Gives memory back that a long line took.
    pub fn shrink(&mut self) {
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    fn emit(&mut self, last: &[u8], ends: bool, emit: &mut impl FnMut(Piece<'_>) -> Timestamp) {
        if self.pending.is_empty() {
            emit(Piece { content: last, ends, began: self.began });
        } else {
            self.pending.extend_from_slice(last);
            emit(Piece { content: &self.pending, ends, began: self.began });
            self.pending.clear();
        }
        self.began = None;
    }

    /// The full buffer is a piece, but for a character that the limit would cut in two.
    fn emit_piece(&mut self, emit: &mut impl FnMut(Piece<'_>) -> Timestamp) {
        let end = whole_characters(&self.pending);
        let content = self.pending.get(..end).unwrap_or(&self.pending);
        let time = emit(Piece { content, ends: false, began: self.began });
        self.began.get_or_insert(time);
        self.pending.drain(..end);
    }
}

/// How many bytes of `bytes` to take so that a UTF-8 character at the end is not cut; all where it is no UTF-8.
fn whole_characters(bytes: &[u8]) -> usize {
    let is_start = |byte: &u8| byte & 0xc0 != 0x80;
    let tail = bytes.len().saturating_sub(4);
    let Some(start) = bytes.iter().skip(tail).rposition(is_start).map(|at| tail + at) else { return bytes.len() };
    let is_cut = bytes
        .get(start..)
        .is_some_and(|last| std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none()));
    if is_cut && start > 0 { start } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pushes: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = LineSplitter::default();
        let mut pieces = vec![];
        let mut emit = |piece: Piece<'_>| {
            pieces.push((piece.content.to_vec(), piece.ends));
            Timestamp::UNIX_EPOCH
        };
        for push in pushes {
            splitter.push(push, &mut emit);
        }
        splitter.finish(&mut emit);
        pieces
    }

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let lines = vec![(b"one".to_vec(), true), (b"".to_vec(), true), (b"two".to_vec(), false)];
        assert_eq!(split(&[b"one\n\ntwo"]), lines);
        assert_eq!(split(&[b"o", b"n", b"e", b"\n", b"\n", b"tw", b"o"]), lines);
        assert_eq!(split(&[]), vec![]);
    }

    #[test]
    fn long_lines_are_cut_at_16_kib() {
        let long = vec![b'x'; MAX_PIECE * 2 + 5];
        let mut with_end = long.clone();
        with_end.push(b'\n');
        let expected = vec![(vec![b'x'; MAX_PIECE], false), (vec![b'x'; MAX_PIECE], false), (vec![b'x'; 5], true)];
        assert_eq!(split(&[&with_end]), expected);
        assert_eq!(split(&with_end.chunks(1000).collect::<Vec<_>>()), expected);
        let exact = [vec![b'x'; MAX_PIECE], b"\n".to_vec()].concat();
        assert_eq!(split(&[&exact]), vec![(vec![b'x'; MAX_PIECE], false), (vec![], true)]);
    }

    #[test]
    fn a_character_is_not_cut_in_two() {
        let mut line = vec![b'x'; MAX_PIECE - 1];
        line.extend("ü!".as_bytes());
        assert_eq!(split(&[&line]), vec![(vec![b'x'; MAX_PIECE - 1], false), ("ü!".as_bytes().to_vec(), false)]);
        let binary = vec![0xbf; MAX_PIECE + 1];
        assert_eq!(split(&[&binary])[0].0.len(), MAX_PIECE);
    }

    #[test]
    fn pieces_carry_the_time_of_the_first() {
        let mut splitter = LineSplitter::default();
        let mut times = vec![];
        let mut clock = 0;
        splitter.push(&[vec![b'x'; MAX_PIECE * 2], b"\nnext\n".to_vec()].concat(), |piece| {
            clock += 1;
            let time = piece.began.unwrap_or(Timestamp::from_second(clock).unwrap());
            times.push(time.as_second());
            time
        });
        assert_eq!(times, [1, 1, 1, 4]);
    }
}
