//! Colours of a Dockerfile line by line, from the parsed tree and the words themselves.
//!
//! The parser knows where keywords, flags, keys, JSON strings and heredocs are; between them this file only tells
//! quotes, variables, comments and shell operators apart. So a line costs what it is long, and colours come from the theme like all others.

use std::ops::Range;

use crate::dockerfile::{Dockerfile, Instruction, Role, Span};

/// What a piece of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// `# …`
    Comment,
    /// `RUN`, and `AS`.
    Keyword,
    /// `--from=build`
    Flag,
    /// An image, in FROM.
    Image,
    /// A quoted text.
    String,
    /// `$NAME`, `${NAME}`
    Variable,
    /// `&&`, `|`, `;`, and the `\` at a line's end.
    Operator,
    /// A word that begins with a dash.
    Option,
}

/// A coloured piece of a line: bytes of the line, and what they are. Pieces are in order and do not overlap.
pub type Piece = (Range<usize>, Syntax);

/// The coloured pieces of `line`, which begins at byte `start` of the text and is number `number` (from 1).
pub fn pieces(file: &Dockerfile, line: &str, start: usize, number: usize) -> Vec<Piece> {
    if line.trim_start().starts_with('#') {
        let indent = line.len() - line.trim_start().len();
        let is_text = file.at_line(number).is_some_and(|instruction| in_heredoc(instruction, start));
        if !is_text {
            return vec![(indent..line.len(), Syntax::Comment)];
        }
    }
    let Some(instruction) = file.at_line(number) else { return Vec::new() };
    let mut pieces = Vec::new();
    let mut at = 0;
    for (range, syntax) in fixed_pieces(instruction, line, start) {
        words(line, at..range.start, &mut pieces);
        at = range.end;
        pieces.push((range, syntax));
    }
    words(line, at..line.len(), &mut pieces);
    pieces
}

fn in_heredoc(instruction: &Instruction, byte: usize) -> bool {
    instruction.heredocs.iter().any(|heredoc| (heredoc.span.start..heredoc.span.end).contains(&byte))
}

/// What the tree places on this line.
fn fixed_pieces(instruction: &Instruction, line: &str, start: usize) -> Vec<Piece> {
    let here = |span: Span| {
        let is_here = span.start >= start && span.end <= start + line.len() && span.start < span.end;
        is_here.then(|| span.start - start..span.end - start)
    };
    let flags = instruction.flags.iter().map(|flag| (flag.span, Syntax::Flag));
    let parts = instruction.parts.iter().filter_map(|part| {
        let syntax = match part.role {
            Role::Keyword | Role::Subkeyword => Syntax::Keyword,
            Role::Image | Role::StageName => Syntax::Image,
            Role::Text => Syntax::String,
            Role::Key => Syntax::Variable,
            Role::HeredocMark | Role::HeredocEnd => Syntax::Operator,
            _ => return None,
        };
        Some((part.span, syntax))
    });
    let mut pieces: Vec<Piece> =
        flags.chain(parts).filter_map(|(span, syntax)| here(span).map(|range| (range, syntax))).collect();
    pieces.sort_by_key(|(range, _)| range.start);
    pieces
}

/// Tells quotes, variables, options and operators apart among some bytes of a line.
fn words(line: &str, bytes: Range<usize>, pieces: &mut Vec<Piece>) {
    let Some(line) = line.get(..bytes.end) else { return };
    let mut chars = line.char_indices().skip_while(|(at, _)| *at < bytes.start).peekable();
    let mut is_word_start = true;
    while let Some((at, c)) = chars.next() {
        let rest = line.get(at..).unwrap_or_default();
        let found = match c {
            '"' | '\'' => Some((quoted(rest, c), Syntax::String)),
            '$' => variable(rest).map(|length| (length, Syntax::Variable)),
            '\\' if rest.trim_end().len() == 1 => Some((1, Syntax::Operator)),
            '&' | '|' | ';' => Some((rest.chars().take_while(|next| *next == c).count(), Syntax::Operator)),
            '-' if is_word_start => {
                let length = rest.find(|next: char| next.is_whitespace() || "=,;|&)\"'".contains(next));
                Some((length.unwrap_or(rest.len()), Syntax::Option)).filter(|(length, _)| *length > 1)
            }
            _ => None,
        };
        is_word_start = c.is_whitespace() || "([{,".contains(c);
        if let Some((length, syntax)) = found {
            pieces.push((at..at + length, syntax));
            while chars.peek().is_some_and(|(next, _)| *next < at + length) {
                chars.next();
            }
            is_word_start = false;
        }
    }
}

/// The length of the quoted text that `text` begins with; to its end where the quote is not closed.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && quote == '"' {
            is_escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// The length of the variable that `text` begins with, if that is one.
fn variable(text: &str) -> Option<usize> {
    let name = text.strip_prefix('$')?;
    if name.starts_with('{') {
        return Some(text.find('}').map_or(text.len(), |end| end + 1));
    }
    let length = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    (length > 0).then_some(1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    /// Every coloured piece of a text as `kind:words`, line by line.
    fn check(text: &str, expected: &[&[&str]]) {
        let parsed = parse(text);
        let mut start = 0;
        let mut found = Vec::new();
        for (index, line) in text.split('\n').enumerate() {
            let pieces = pieces(&parsed.file, line, start, index + 1);
            found.push(
                pieces.iter().map(|(range, kind)| format!("{kind:?}:{}", &line[range.clone()])).collect::<Vec<_>>(),
            );
            start += line.len() + 1;
        }
        assert_eq!(found, expected, "in {text:?}");
    }

    #[test]
    fn instructions_flags_and_words_are_told_apart() {
        check(
            "# note\nFROM debian:12 AS base\nCOPY --from=base \"a b\" $HOME/\nRUN apt-get -y update && \\\n  ls",
            &[
                &["Comment:# note"],
                &["Keyword:FROM", "Image:debian:12", "Keyword:AS", "Image:base"],
                &["Keyword:COPY", "Flag:--from=base", "String:\"a b\"", "Variable:$HOME"],
                &["Keyword:RUN", "Option:-y", "Operator:&&", "Operator:\\"],
                &[],
            ],
        );
    }

    #[test]
    fn keys_json_strings_and_heredocs_are_the_parsers() {
        check(
            "FROM x\nENV A=$B \\\n  C=d\nCMD [\"a\", \"$b\"]\nRUN cat <<E\n# $v\nE\nHEALTHCHECK CMD a",
            &[
                &["Keyword:FROM", "Image:x"],
                &["Keyword:ENV", "Variable:A", "Variable:$B", "Operator:\\"],
                &["Variable:C"],
                &["Keyword:CMD", "String:\"a\"", "String:\"$b\""],
                &["Keyword:RUN", "Operator:<<E"],
                &["Variable:$v"],
                &["Operator:E"],
                &["Keyword:HEALTHCHECK", "Keyword:CMD"],
            ],
        );
    }

    #[test]
    fn an_open_quote_and_wide_letters_do_no_harm() {
        check("FROM x\nRUN echo \"ünz ${A", &[&["Keyword:FROM", "Image:x"], &["Keyword:RUN", "String:\"ünz ${A"]]);
    }
}
