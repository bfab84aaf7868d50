//! The whole text as pieces in a row, for printing it and for whoever marks or rewrites it.
//!
//! Every byte of a Dockerfile belongs to exactly one piece: the instructions' parts, and between them blanks, line ends,
//! continuations and comments. So joining the pieces gives the text again, byte for byte.

use std::fmt;

use super::ast::{Dockerfile, Role, Span};

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: PieceKind,
    /// Where it stands.
    pub span: Span,
}

/// What a piece of the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PieceKind {
    /// The mark that some editors put before the first letter.
    ByteOrderMark,
    /// Blanks.
    Blank,
    /// `\n` or `\r\n`.
    LineEnd,
    /// The escape character at a line's end.
    Continuation,
    /// `# …`, without the line end.
    Comment,
    /// A comment that is a parser directive.
    Directive,
    /// Part of an instruction.
    Part(Role),
    /// What means nothing where it stands: a lone `--` after flags, an escape character at the very end.
    Idle,
}

impl Dockerfile {
    /// The text in pieces, without gaps and overlaps.
    pub fn pieces(&self) -> Vec<Piece> {
        let mut cutter = Cutter { file: self, at: 0, line_is_blank: true, pieces: Vec::new() };
        if self.source.starts_with('\u{feff}') {
            cutter.push(PieceKind::ByteOrderMark, '\u{feff}'.len_utf8());
        }
        for part in self.instructions.iter().flat_map(|instruction| &instruction.parts) {
            cutter.gap(part.span.start);
            cutter.push(PieceKind::Part(part.role), part.span.end.saturating_sub(cutter.at));
            cutter.line_is_blank = part.role == Role::HeredocBody;
        }
        cutter.gap(self.source.len());
        cutter.pieces
    }
}

/// Prints the text as it was, piece by piece.
impl fmt::Display for Dockerfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().iter().try_for_each(|piece| f.write_str(piece.span.of(&self.source)))
    }
}

struct Cutter<'a> {
    file: &'a Dockerfile,
    at: usize,
    /// Whether nothing but blanks stood on the line so far, so that `#` begins a comment.
    line_is_blank: bool,
    pieces: Vec<Piece>,
}

impl Cutter<'_> {
    fn push(&mut self, kind: PieceKind, length: usize) {
        if length > 0 {
            self.pieces.push(Piece { kind, span: Span::new(self.at, self.at + length) });
            self.at += length;
        }
    }

    /// Cuts what stands before byte `end` and in no part.
    fn gap(&mut self, end: usize) {
        while let Some(rest) = self.file.source.get(self.at..end).filter(|rest| !rest.is_empty()) {
            let line = rest.find('\n').map_or(rest, |end| rest.get(..end).unwrap_or(rest));
            let text = line.strip_suffix('\r').filter(|_| rest.len() > line.len()).unwrap_or(line);
            if text.is_empty() {
                self.push(PieceKind::LineEnd, line.len() + 1);
                self.line_is_blank = true;
                continue;
            }
            let blanks = text.len() - text.trim_start().len();
            if blanks > 0 {
                self.push(PieceKind::Blank, blanks);
            } else if text.starts_with('#') && self.line_is_blank {
                self.push(self.comment(text), text.len());
            } else if text.trim_end().len() == 1 && text.starts_with(self.file.escape.char()) {
                self.push(PieceKind::Continuation, 1);
                self.line_is_blank = false;
            } else {
                self.push(PieceKind::Idle, text.find(char::is_whitespace).unwrap_or(text.len()));
                self.line_is_blank = false;
            }
        }
    }

    fn comment(&self, text: &str) -> PieceKind {
        let is_directive = self.file.directives.iter().any(|it| it.span == Span::new(self.at, self.at + text.len()));
        if is_directive { PieceKind::Directive } else { PieceKind::Comment }
    }
}
