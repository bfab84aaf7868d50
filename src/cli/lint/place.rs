//! Bytes of a text as lines and columns, both from 1, columns in characters.

use crate::dockerfile::Span;

/// A line and a column.
pub(super) type Place = (usize, usize);

/// The lines of a text.
pub(super) struct Places<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Places<'a> {
    pub fn new(text: &'a str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// Where a byte is.
    pub fn place(&self, byte: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        (line, self.text.get(start..byte).unwrap_or_default().chars().count() + 1)
    }

    /// Where a span begins, and one past where it ends.
    pub fn range(&self, span: Span) -> (Place, Place) {
        (self.place(span.start), self.place(span.end))
    }

    /// A line's text without its end.
    pub fn line(&self, number: usize) -> &'a str {
        let start = self.starts.get(number.wrapping_sub(1)).copied().unwrap_or(self.text.len());
        self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default()
    }
}
