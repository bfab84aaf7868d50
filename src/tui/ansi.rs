//! Log lines as containers write them: raw bytes in, safe styled text out.
//!
//! Only colours and weights (SGR) are obeyed. Every other sequence is dropped, control characters are shown as their
//! pictures, tabs become spaces, and a line that redraws itself with carriage returns shows its last state. Lines are
//! kept as bytes and come here only when they are in view.

use super::text::is_unsafe;
use ratatui::style::{Color, Modifier, Style};
use std::borrow::Cow;
use unicode_width::UnicodeWidthChar;

/// A run of text in one style. The style's colours are the container's own, laid over the theme's.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub style: Style,
    pub text: String,
}

/// Bytes of one line that are looked at; the rest of an absurd line is not drawn (it can still be saved).
pub const LINE_LIMIT: usize = 32 * 1024;

/// Parses one line.
pub fn parse(line: &[u8]) -> Vec<Span> {
    let line = line.get(..LINE_LIMIT).unwrap_or(line);
    let line = last_state(line);
    let mut spans: Vec<Span> = Vec::new();
    let mut style = Style::default();
    let mut text = String::new();
    let mut column = 0;
    let decoded = String::from_utf8_lossy(line);
    let mut chars = decoded.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.peek().copied() {
                Some('[') => {
                    chars.next();
                    let mut parameters = String::new();
                    let mut last = None;
                    for c in chars.by_ref() {
                        if ('\u{40}'..='\u{7e}').contains(&c) {
                            last = Some(c);
                            break;
                        }
                        parameters.push(c);
                    }
                    if last == Some('m') {
                        let next = sgr(style, &parameters);
                        if next != style && !text.is_empty() {
                            spans.push(Span { style, text: std::mem::take(&mut text) });
                        }
                        style = next;
                    }
                }
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                Some('(' | ')' | '*' | '+' | '#' | ' ') => {
                    chars.next();
                    chars.next();
                }
                Some(_) => {
                    chars.next();
                }
                None => {}
            },
            '\t' => {
                let stop = 8 - column % 8;
                text.extend(std::iter::repeat_n(' ', stop));
                column += stop;
            }
            '\r' | '\n' => {}
            '\u{8}' => {
                if let Some(gone) = text.pop() {
                    column -= gone.width().unwrap_or(0).min(column);
                }
            }
            c if (c as u32) < 0x20 => {
                text.push(char::from_u32(0x2400 + c as u32).unwrap_or('?'));
                column += 1;
            }
            c if is_unsafe(c) => {}
            c => {
                text.push(c);
                column += c.width().unwrap_or(0);
            }
        }
    }
    if !text.is_empty() {
        spans.push(Span { style, text });
    }
    spans
}

/// The text of a line without its colours, as a search sees it.
pub fn plain(line: &[u8]) -> Cow<'_, str> {
    // A search looks at every line that is kept, and most are nothing but printable ASCII.
    if line.len() <= LINE_LIMIT
        && line.iter().all(|b| (0x20..0x7f).contains(b))
        && let Ok(text) = std::str::from_utf8(line)
    {
        return Cow::Borrowed(text);
    }
    Cow::Owned(parse(line).into_iter().map(|span| span.text).collect())
}

/// What is left of a line that overwrites itself: the part after the last carriage return that has text behind it.
fn last_state(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut line = line;
    while let Some(rest) = line.strip_suffix(b"\r") {
        line = rest;
    }
    match line.iter().rposition(|b| *b == b'\r') {
        Some(at) => &line[at + 1..],
        None => line,
    }
}

fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next() {
        if c == '\u{7}' || c == '\u{9c}' {
            return;
        }
        if c == '\u{1b}' && chars.peek() == Some(&'\\') {
            chars.next();
            return;
        }
    }
}

fn sgr(style: Style, parameters: &str) -> Style {
    let mut style = style;
    let codes: Vec<u16> = parameters.split([';', ':']).map(|p| p.parse().unwrap_or(0)).collect();
    let mut at = 0;
    while let Some(code) = codes.get(at).copied() {
        at += 1;
        style = match code {
            0 => Style::default(),
            1 => style.add_modifier(Modifier::BOLD),
            2 => style.add_modifier(Modifier::DIM),
            3 => style.add_modifier(Modifier::ITALIC),
            4 => style.add_modifier(Modifier::UNDERLINED),
            7 => style.add_modifier(Modifier::REVERSED),
            9 => style.add_modifier(Modifier::CROSSED_OUT),
            22 => without(style, Modifier::BOLD | Modifier::DIM),
            23 => without(style, Modifier::ITALIC),
            24 => without(style, Modifier::UNDERLINED),
            27 => without(style, Modifier::REVERSED),
            29 => without(style, Modifier::CROSSED_OUT),
            30..=37 => style.fg(Color::Indexed((code - 30) as u8)),
            39 => Style { fg: None, ..style },
            40..=47 => style.bg(Color::Indexed((code - 40) as u8)),
            49 => Style { bg: None, ..style },
            90..=97 => style.fg(Color::Indexed((code - 90 + 8) as u8)),
            100..=107 => style.bg(Color::Indexed((code - 100 + 8) as u8)),
            38 | 48 => {
                let (color, used) = extended(codes.get(at..).unwrap_or_default());
                at += used;
                match (color, code) {
                    (Some(color), 38) => style.fg(color),
                    (Some(color), _) => style.bg(color),
                    (None, _) => style,
                }
            }
            _ => style,
        };
    }
    style
}

fn without(style: Style, modifier: Modifier) -> Style {
    Style { add_modifier: style.add_modifier - modifier, ..style }
}

fn extended(codes: &[u16]) -> (Option<Color>, usize) {
    let byte = |n: &u16| u8::try_from(*n).unwrap_or(255);
    match codes {
        [5, n, ..] => (Some(Color::Indexed(byte(n))), 2),
        [2, r, g, b, ..] => (Some(Color::Rgb(byte(r), byte(g), byte(b))), 4),
        _ => (None, codes.len()),
    }
}

/// Rows that `spans` take at `columns` columns when wrapped; at least one.
pub fn rows(spans: &[Span], columns: usize) -> usize {
    let columns = columns.max(2);
    let (mut rows, mut used) = (1, 0);
    for c in spans.iter().flat_map(|span| span.text.chars()) {
        let wide = c.width().unwrap_or(0);
        if used + wide > columns {
            rows += 1;
            used = 0;
        }
        used += wide;
    }
    rows
}

/// Cuts `spans` into rows of `columns` columns.
pub fn fold(spans: Vec<Span>, columns: usize) -> Vec<Vec<Span>> {
    let columns = columns.max(2);
    let mut rows = vec![Vec::new()];
    let mut used = 0;
    for span in spans {
        let mut part = String::new();
        for c in span.text.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > columns {
                if !part.is_empty() {
                    push(&mut rows, Span { style: span.style, text: std::mem::take(&mut part) });
                }
                rows.push(Vec::new());
                used = 0;
            }
            part.push(c);
            used += wide;
        }
        if !part.is_empty() {
            push(&mut rows, Span { style: span.style, text: part });
        }
    }
    rows
}

fn push(rows: &mut [Vec<Span>], span: Span) {
    if let Some(row) = rows.last_mut() {
        row.push(span);
    }
}

/// The columns from `left` on.
pub fn shift(spans: Vec<Span>, left: usize) -> Vec<Span> {
    let mut skip = left;
    let mut out = Vec::new();
    for span in spans {
        if skip == 0 {
            out.push(span);
            continue;
        }
        let mut text = String::new();
        for c in span.text.chars() {
            let wide = c.width().unwrap_or(0);
            if skip >= wide && skip > 0 {
                skip -= wide;
            } else if skip > 0 {
                // Half of a wide character is cut off: a space stands for the other half.
                text.push(' ');
                skip = 0;
            } else {
                text.push(c);
            }
        }
        if !text.is_empty() {
            out.push(Span { style: span.style, text });
        }
    }
    out
}

/// Lays `style` over the byte ranges `hits` of the text.
pub fn highlight(spans: Vec<Span>, hits: &[(std::ops::Range<usize>, Style)]) -> Vec<Span> {
    if hits.is_empty() {
        return spans;
    }
    let mut out = Vec::new();
    let mut at = 0;
    for span in spans {
        let end = at + span.text.len();
        let mut from = at;
        for (hit, style) in hits.iter().filter(|(hit, _)| hit.start < end && hit.end > at) {
            let (start, stop) = (hit.start.max(from), hit.end.min(end));
            for (range, style) in [(from..start, span.style), (start..stop, span.style.patch(*style))] {
                if let Some(text) = span.text.get(range.start - at..range.end.max(range.start) - at)
                    && !text.is_empty()
                {
                    out.push(Span { style, text: text.to_owned() });
                }
            }
            from = stop.max(from);
        }
        if let Some(text) = span.text.get(from - at..)
            && !text.is_empty()
        {
            out.push(Span { style: span.style, text: text.to_owned() });
        }
        at = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_of(line: &[u8]) -> String {
        plain(line).into_owned()
    }

    #[test]
    fn colours_are_read_and_everything_else_is_dropped() {
        let spans = parse(b"\x1b[1;31mred\x1b[0m plain \x1b[38;5;208morange\x1b[39m \x1b[48;2;1;2;3mbg");
        assert_eq!(spans[0].style, Style::default().fg(Color::Indexed(1)).add_modifier(Modifier::BOLD));
        assert_eq!(spans[2].style, Style::default().fg(Color::Indexed(208)));
        assert_eq!(spans.last().unwrap().style, Style::default().bg(Color::Rgb(1, 2, 3)));
        assert_eq!(plain_of(b"\x1b]0;evil title\x07a\x1b[2Jb\x1b[10;10Hc\x1b(Bd"), "abcd");
    }

    #[test]
    fn controls_become_pictures_and_tabs_spaces() {
        assert_eq!(plain_of(b"a\x07b\x00"), "a\u{2407}b\u{2400}");
        assert_eq!(plain_of(b"ab\tc"), "ab      c");
        assert_eq!(plain_of("a\u{202e}b\u{200b}c".as_bytes()), "abc");
        assert_eq!(plain_of(b"\xff\xfeok"), "\u{fffd}\u{fffd}ok");
    }

    #[test]
    fn a_redrawn_line_shows_its_last_state() {
        assert_eq!(plain_of(b"10%\r20%\r30%\r\n"), "30%");
        assert_eq!(plain_of(b"done\r\n"), "done");
    }

    #[test]
    fn a_broken_escape_at_the_end_is_harmless() {
        for line in [&b"x\x1b"[..], b"x\x1b[", b"x\x1b[38;5", b"x\x1b]0;t", b"x\x1b[38;2;1m"] {
            assert_eq!(plain_of(line), "x");
        }
    }

    #[test]
    fn folding_and_counting_agree() {
        let spans = parse("abc日本語def".as_bytes());
        for columns in 2..12 {
            assert_eq!(rows(&spans, columns), fold(spans.clone(), columns).len(), "{columns}");
        }
        let texts: Vec<String> = fold(spans, 4).iter().map(|r| r.iter().map(|s| s.text.as_str()).collect()).collect();
        assert_eq!(texts, ["abc", "日本", "語de", "f"]);
    }

    #[test]
    fn shifting_cuts_wide_characters_in_half() {
        let text = |spans: Vec<Span>| spans.into_iter().map(|s| s.text).collect::<String>();
        assert_eq!(text(shift(parse("日本x".as_bytes()), 1)), " 本x");
        assert_eq!(text(shift(parse(b"abc"), 2)), "c");
    }

    #[test]
    fn hits_are_highlighted_across_styles() {
        let hit = Style::default().bg(Color::Yellow);
        let spans = highlight(parse(b"ab\x1b[31mcd\x1b[0mef"), &[(1..3, hit), (4..5, hit)]);
        let texts: Vec<(&str, bool)> = spans.iter().map(|s| (s.text.as_str(), s.style.bg.is_some())).collect();
        assert_eq!(texts, [("a", false), ("b", true), ("c", true), ("d", false), ("e", true), ("f", false)]);
    }
}
