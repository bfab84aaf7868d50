//! Cuts the text into logical lines: continuations joined, comments and blank lines left out, heredoc bodies taken.
//!
//! A logical line remembers from where each of its bytes came, so that every later finding has its place in the text.

use std::ops::Range;

use super::ast::{Heredoc, LineRange, Span};
use super::expand::Escape;
use super::heredoc;
use super::keyword::KEYWORDS;
use super::suggest::nearest;

/// A line of the text, without its line end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Physical<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// Its first byte.
    pub start: usize,
    /// The text without `\r\n`.
    pub text: &'a str,
    /// The first byte of the next line.
    pub next: usize,
}

/// The lines of `text`; a byte order mark at its start belongs to none of them.
pub(super) fn physical_lines(text: &str) -> Vec<Physical<'_>> {
    let mut start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut lines = Vec::new();
    for (index, line) in text.get(start..).unwrap_or_default().split_inclusive('\n').enumerate() {
        let next = start + line.len();
        lines.push(Physical { number: index + 1, start, text: line.trim_end_matches(['\r', '\n']), next });
        start = next;
    }
    lines
}

/// An instruction's text on one line.
#[derive(Debug)]
pub(super) struct Logical {
    /// The joined text, blanks at its ends taken off.
    pub text: String,
    /// Its bytes in the source, from the first letter to the end of the last line or heredoc.
    pub span: Span,
    /// Its lines.
    pub lines: LineRange,
    /// Its heredocs with their bodies.
    pub heredocs: Vec<Heredoc>,
    /// Where the heredocs' marks stand in the joined text.
    pub marks: Vec<Range<usize>>,
    /// The first blank line inside of it, which a later Docker may refuse.
    pub blank_line: Option<LineRange>,
    /// The first heredoc whose last line is missing.
    pub unterminated: Option<Unterminated>,
    segments: Vec<Segment>,
}

/// A heredoc whose last line is missing.
#[derive(Debug)]
pub(super) struct Unterminated {
    /// The line that should be there.
    pub name: String,
    /// A line that was probably meant to be it.
    pub near: Option<Span>,
    /// The number of that line.
    pub near_line: Option<usize>,
}

/// Bytes of the joined text that stand together in the source.
#[derive(Debug, Clone, Copy)]
struct Segment {
    joined: usize,
    source: usize,
    length: usize,
}

impl Logical {
    /// Where in the source a range of the joined text stands.
    pub(super) fn place(&self, range: Range<usize>) -> Span {
        let start = self.source_of(range.start);
        let end = if range.end > range.start { self.source_of(range.end - 1) + 1 } else { start };
        Span::new(start, end.max(start))
    }

    /// Where in the source a range of the joined text stands, line by line, without blanks at the lines' ends.
    pub(super) fn places(&self, range: Range<usize>) -> impl Iterator<Item = Span> {
        let first = self.segments.partition_point(|segment| segment.joined + segment.length <= range.start);
        let of_range = self.segments.iter().skip(first).take_while(move |segment| segment.joined < range.end);
        of_range.filter_map(move |segment| {
            let start = range.start.max(segment.joined);
            let end = range.end.min(segment.joined + segment.length);
            let text = self.text.get(start..end)?;
            let lead = text.len() - text.trim_start().len();
            let from = segment.source + (start - segment.joined) + lead;
            let length = text.trim().len();
            (length > 0).then(|| Span::new(from, from + length))
        })
    }

    /// The line of a byte of the joined text, given the source.
    fn source_of(&self, joined: usize) -> usize {
        let after = self.segments.partition_point(|segment| segment.joined <= joined);
        match self.segments.get(after.saturating_sub(1)) {
            Some(segment) => segment.source + joined.saturating_sub(segment.joined).min(segment.length),
            None => self.span.start,
        }
    }
}

/// Cuts `lines`, which are those of `text`, into logical lines.
pub(super) fn logical_lines(text: &str, lines: &[Physical<'_>], escape: Escape) -> Vec<Logical> {
    let mut cutter = Cutter { text, lines, at: 0, escape };
    std::iter::from_fn(|| cutter.next_logical()).collect()
}

struct Cutter<'a> {
    text: &'a str,
    lines: &'a [Physical<'a>],
    at: usize,
    escape: Escape,
}

impl<'a> Cutter<'a> {
    fn next_line(&mut self) -> Option<Physical<'a>> {
        let line = self.lines.get(self.at).copied()?;
        self.at += 1;
        Some(line)
    }

    fn next_logical(&mut self) -> Option<Logical> {
        loop {
            let line = self.next_line()?;
            let lead = line.text.len() - line.text.trim_start().len();
            let text = line.text.trim_start();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let logical = self.join(line, lead, text);
            if !logical.text.is_empty() {
                return Some(logical);
            }
        }
    }

    fn join(&mut self, first: Physical<'a>, lead: usize, text: &'a str) -> Logical {
        let mut joined = String::new();
        let mut segments = Vec::new();
        let mut blank_line: Option<LineRange> = None;
        let mut last = first;
        let mut source = first.start + lead;
        let mut piece = text;
        loop {
            let (kept, goes_on) = self.without_continuation(piece);
            segments.push(Segment { joined: joined.len(), source, length: kept.len() });
            joined.push_str(kept);
            if !goes_on {
                break;
            }
            let Some(next) = self.next_content_line(&mut blank_line, &mut last) else { break };
            source = next.start;
            piece = next.text;
            last = next;
        }
        let skipped = joined.len() - joined.trim_start().len();
        if skipped > 0 {
            // Only where the first line is nothing but a continuation.
            joined.drain(..skipped);
            for segment in &mut segments {
                let cut = skipped.saturating_sub(segment.joined).min(segment.length);
                segment.source += cut;
                segment.length -= cut;
                segment.joined = segment.joined.saturating_sub(skipped);
            }
            segments.retain(|segment| segment.length > 0);
        }
        joined.truncate(joined.trim_end().len());
        let start = segments.first().map_or(first.start + lead, |segment| segment.source);
        let mut logical = Logical {
            span: Span::new(start, (last.start + last.text.len()).max(start)),
            lines: LineRange { first: first.number, last: last.number },
            text: joined,
            heredocs: Vec::new(),
            marks: Vec::new(),
            blank_line,
            unterminated: None,
            segments,
        };
        self.take_heredocs(&mut logical);
        logical
    }

    /// The next line of a continued instruction: comments are left out, and so are blank lines, which are remembered.
    fn next_content_line(
        &mut self,
        blank_line: &mut Option<LineRange>,
        last: &mut Physical<'a>,
    ) -> Option<Physical<'a>> {
        loop {
            let line = self.next_line()?;
            let text = line.text.trim();
            if text.starts_with('#') {
                *last = line;
            } else if text.is_empty() {
                blank_line.get_or_insert(LineRange::at(line.number));
                *last = line;
            } else {
                return Some(line);
            }
        }
    }

    /// The line without a continuation at its end, and whether there was one. A doubled escape continues nothing.
    fn without_continuation(&self, line: &'a str) -> (&'a str, bool) {
        let escape = self.escape.char();
        match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
            Some(kept) if !kept.ends_with(escape) => (kept, true),
            _ => (line, false),
        }
    }

    fn take_heredocs(&mut self, logical: &mut Logical) {
        for mark in heredoc::marks(&logical.text, self.escape) {
            let first = self.at;
            let ends = |line: &Physical<'_>| {
                let candidate = if mark.strip_tabs { line.text.trim_start_matches('\t') } else { line.text };
                candidate == mark.name
            };
            let rest = self.lines.get(first..).unwrap_or_default();
            let (body, end) = match rest.iter().position(ends) {
                Some(length) => (length, rest.get(length)),
                None => {
                    let (length, near) = recover(rest, &mark.name);
                    let near_line = near.map(|line| line.number);
                    let near = near.map(|line| Span::new(line.start, line.start + line.text.len()));
                    logical.unterminated.get_or_insert_with(|| Unterminated {
                        name: mark.name.clone(),
                        near,
                        near_line,
                    });
                    (length, near.and(rest.get(length)))
                }
            };
            self.at = first + body + usize::from(end.is_some());
            let (start, stop) = match rest.get(..body) {
                Some([one, .., last]) => (one.start, last.next),
                Some([only]) => (only.start, only.next),
                _ => {
                    let empty = end.map_or(logical.span.end, |line| line.start);
                    (empty, empty)
                }
            };
            if let Some(last) = end.or_else(|| rest.get(body.checked_sub(1)?)) {
                logical.lines.last = last.number;
                logical.span.end = last.start + last.text.len();
            }
            logical.marks.push(mark.range.clone());
            logical.heredocs.push(Heredoc {
                name: mark.name,
                content: self.text.get(start..stop).unwrap_or_default().to_owned(),
                expand: mark.expand,
                strip_tabs: mark.strip_tabs,
                span: Span::new(start, stop),
                mark_span: logical.place(mark.range),
                end_span: end.map(|line| Span::new(line.start, line.start + line.text.len())),
            });
        }
    }
}

/// Where a heredoc without its last line probably ends: at a line that was meant to be the last, else before what looks
/// like the next instruction, else with the text. So one slip does not swallow what follows.
fn recover<'a>(lines: &[Physical<'a>], name: &str) -> (usize, Option<Physical<'a>>) {
    let is_near = |line: &Physical<'_>| {
        let text = line.text.trim();
        text.eq_ignore_ascii_case(name)
            || name.len() > 2
                && nearest(text, [name]).is_some()
                && text.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    if let Some(at) = lines.iter().position(is_near) {
        return (at, lines.get(at).copied());
    }
    let is_instruction = |line: &Physical<'_>| {
        let (word, rest) = line.text.split_at(line.text.find(' ').unwrap_or(line.text.len()));
        !rest.is_empty() && KEYWORDS.iter().any(|keyword| keyword.name == word)
    };
    (lines.iter().position(is_instruction).unwrap_or(lines.len()), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<Logical> {
        logical_lines(text, &physical_lines(text), Escape::Backslash)
    }

    #[test]
    fn continuations_comments_and_blank_lines() {
        let text = "# top\n\n  RUN a \\  \n  # why\n\n    b \\\n c\nCMD x\n";
        let lines = cut(text);
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["RUN a     b  c", "CMD x"]);
        let run = &lines[0];
        assert_eq!(run.lines, LineRange { first: 3, last: 7 });
        assert_eq!(run.blank_line, Some(LineRange::at(5)));
        assert_eq!(run.span.of(text), "RUN a \\  \n  # why\n\n    b \\\n c");
        let b = run.text.find('b').unwrap();
        assert_eq!(run.place(b..b + 1).of(text), "b");
    }

    #[test]
    fn a_doubled_escape_continues_nothing() {
        let lines = cut("RUN echo \\\\\nCMD x");
        assert_eq!(lines.len(), 2);
        assert_eq!(cut("\\\nRUN x")[0].text, "RUN x");
    }

    #[test]
    fn windows_line_ends_and_a_byte_order_mark() {
        let lines = cut("\u{feff}FROM a\r\nRUN b \\\r\n c\r\n");
        assert_eq!(lines[0].text, "FROM a");
        assert_eq!(lines[1].text, "RUN b  c");
        assert_eq!(lines[1].lines, LineRange { first: 2, last: 3 });
    }

    #[test]
    fn heredocs_belong_to_their_instruction() {
        let text = "RUN <<EOF cat <<-\"X Y\"\na\nEOF\n\tb\n\tX Y\nCMD c";
        let lines = cut(text);
        assert_eq!(lines.len(), 2);
        let [first, second] = lines[0].heredocs.as_slice() else { panic!("two heredocs") };
        assert_eq!((first.name.as_str(), first.content.as_str(), first.expand), ("EOF", "a\n", true));
        assert_eq!((second.name.as_str(), second.data().as_str(), second.expand), ("X Y", "b\n", false));
        assert_eq!(lines[0].lines, LineRange { first: 1, last: 5 });
        assert_eq!(first.span.of(text), "a\n");
    }

    #[test]
    fn an_open_heredoc_is_told_and_swallows_no_more_than_it_must() {
        let lines = cut("COPY <<END /x\nbody\n");
        assert_eq!(lines[0].unterminated.as_ref().map(|it| it.name.as_str()), Some("END"));
        assert_eq!(lines[0].heredocs[0].content, "body\n");
        let text = "RUN <<EOF\na\nEOFF\nCMD x\n";
        let lines = cut(text);
        assert_eq!(lines[0].unterminated.as_ref().and_then(|it| it.near).unwrap().of(text), "EOFF");
        assert_eq!((lines.len(), lines[0].heredocs[0].content.as_str()), (2, "a\n"));
        assert_eq!(cut("RUN <<EOF\na\n EOF\nCMD x\n").len(), 2);
        assert_eq!(cut("RUN <<EOF\na\n\nCMD x\n")[1].text, "CMD x");
        assert_eq!(cut("RUN <<EOF")[0].lines, LineRange::at(1));
    }
}
