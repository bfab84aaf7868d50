//! What the shell gets to read of an instruction, each character with its place in the Dockerfile.

use crate::dockerfile::ast::Span;

/// Characters with their places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::dockerfile::lint) struct Placed {
    /// Each character and its first byte in the Dockerfile.
    pub chars: Vec<(usize, char)>,
}

impl Placed {
    /// The text of `span` with continued lines joined and the comments and blank lines between them left out, as the
    /// Dockerfile's parser does.
    pub fn joined(text: &str, span: Span, escape: char) -> Self {
        let mut chars = Vec::with_capacity(span.end.saturating_sub(span.start));
        let mut start = span.start;
        let mut is_first = true;
        for line in span.of(text).split_inclusive('\n') {
            let here = start;
            start += line.len();
            let bare = line.trim_end_matches(['\r', '\n']);
            let trimmed = bare.trim();
            if !is_first && (trimmed.is_empty() || trimmed.starts_with('#')) {
                continue;
            }
            is_first = false;
            let kept = bare.trim_end_matches([' ', '\t']).strip_suffix(escape).filter(|kept| !kept.ends_with(escape));
            chars.extend(kept.unwrap_or(bare).char_indices().map(|(at, c)| (here + at, c)));
            if kept.is_none() {
                break;
            }
        }
        Self { chars }
    }

    /// The text of `span` as it is: a heredoc's body.
    pub fn verbatim(text: &str, span: Span) -> Self {
        Self { chars: span.of(text).char_indices().map(|(at, c)| (span.start + at, c)).collect() }
    }

    /// The place of the characters from `start` up to, not including, `end`.
    pub fn span(&self, start: usize, end: usize) -> Span {
        let first = self.chars.get(start).or(self.chars.last());
        let from = first.map_or(0, |(at, _)| *at);
        let last = end.checked_sub(1).filter(|last| *last >= start).and_then(|last| self.chars.get(last));
        Span::new(from, last.map_or(from, |(at, c)| at + c.len_utf8()))
    }

    /// The characters from `start` up to, not including, `end`, as a source of their own.
    pub fn part(&self, start: usize, end: usize) -> Self {
        Self { chars: self.chars.get(start..end.max(start)).unwrap_or_default().to_vec() }
    }
}

/// The strings of a JSON list, without their quotes and with the simple escapes read.
pub(in crate::dockerfile::lint) fn json_strings(source: &Placed) -> Vec<Placed> {
    let mut strings = Vec::new();
    let mut current: Option<Placed> = None;
    let mut chars = source.chars.iter().copied();
    while let Some((at, c)) = chars.next() {
        match (&mut current, c) {
            (None, '"') => current = Some(Placed::default()),
            (None, _) => {}
            (Some(_), '"') => strings.extend(current.take()),
            (Some(string), '\\') => {
                if let Some((_, escaped)) = chars.next() {
                    let meant = match escaped {
                        'n' => '\n',
                        't' => '\t',
                        other => other,
                    };
                    string.chars.push((at, meant));
                }
            }
            (Some(string), _) => string.chars.push((at, c)),
        }
    }
    strings
}
