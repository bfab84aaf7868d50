//! Text as the screen counts it: columns, not characters.
//!
//! Everything that comes from an engine or a container passes through [`clean`] (or, for log lines, through
//! [`crate::tui::ansi`]) before it reaches the screen, so no name, label or message can move the cursor, switch
//! direction or draw outside its cell.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that `text` takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// True for characters that must never reach the terminal: controls, direction switches, joiners and other
/// invisible ones that terminals measure differently.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// One line, safe to draw: tabs and newlines become spaces, what cannot be shown goes.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\t' | '\n' => Some(' '),
            c if is_unsafe(c) => None,
            c => Some(c),
        })
        .collect()
}

/// The longest beginning of `text` that fits `columns`, and the columns it takes.
pub fn head(text: &str, columns: usize) -> (&str, usize) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let wide = c.width().unwrap_or(0);
        if used + wide > columns {
            return (&text[..at], used);
        }
        used += wide;
    }
    (text, used)
}

/// `text` cut to `columns`, the cut shown by `…` (or `~` where the theme is ASCII, see `mark`).
pub fn cut(text: &str, columns: usize, mark: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(mark));
    if columns == 0 {
        return String::new();
    }
    format!("{}{mark}", head(text, room).0)
}

/// `text` cut or padded to exactly `columns`, left-aligned.
pub fn left(text: &str, columns: usize, mark: &str) -> String {
    let mut out = cut(text, columns, mark);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// `text` cut or padded to exactly `columns`, right-aligned.
pub fn right(text: &str, columns: usize, mark: &str) -> String {
    let out = cut(text, columns, mark);
    let pad = columns.saturating_sub(width(&out));
    format!("{}{out}", " ".repeat(pad))
}

/// Splits `text` into lines of at most `columns`, at spaces where there are any.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut word = word;
            let need = width(&line) + usize::from(!line.is_empty()) + width(word);
            if need <= columns {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            while width(word) > columns {
                let (part, _) = head(word, columns);
                if part.is_empty() {
                    break;
                }
                lines.push(part.to_owned());
                word = &word[part.len()..];
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Bytes for people, three significant digits: `0`, `812B`, `1.2K`, `71M`, `1.25G`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "K", "M", "G", "T", "P"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match (unit, value) {
        (0, _) => format!("{count}B"),
        (_, v) if v >= 99.95 => format!("{v:.0}{}", UNITS[unit]),
        (_, v) if v >= 9.995 => format!("{v:.1}{}", UNITS[unit]).replace(".0", ""),
        (_, v) => format!("{v:.2}{}", UNITS[unit]).replace(".00", ""),
    }
}

/// Sizes as Docker prints them (powers of ten): `71 MB`, `1.2 GB`.
pub fn size(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 9.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A span of time in its largest unit: `4s`, `12m`, `3h`, `9d`, `5w`, `2y`.
pub fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 60 => format!("{s}s"),
        s if s < 3_600 => format!("{}m", s / 60),
        s if s < 86_400 => format!("{}h", s / 3_600),
        s if s < 86_400 * 14 => format!("{}d", s / 86_400),
        s if s < 86_400 * 365 => format!("{}w", s / (86_400 * 7)),
        s => format!("{}y", s / (86_400 * 365)),
    }
}

/// A duration with a tenth of a second while it is short: `0.3s`, `14.2s`, `3m08s`, `1h02m`.
pub fn elapsed(millis: u64) -> String {
    match millis / 1000 {
        s if s < 60 => format!("{}.{}s", s, millis % 1000 / 100),
        s if s < 3_600 => format!("{}m{:02}s", s / 60, s % 60),
        s => format!("{}h{:02}m", s / 3_600, s % 3_600 / 60),
    }
}

/// A share of one core in percent, four columns at most: `0.4%`, `12%`, `380%`.
pub fn percent(value: f64) -> String {
    if (0.05..9.95).contains(&value) { format!("{value:.1}%") } else { format!("{value:.0}%") }
}

/// `1 container`, `3 containers`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// The first twelve hex digits of an id, as Docker shortens it.
pub fn short_id(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_measured_in_columns() {
        assert_eq!(cut("nginx:1.27", 6, "…"), "nginx…");
        assert_eq!(left("日本語", 5, "…"), "日本…");
        assert_eq!(left("日本語", 4, "…"), "日… ");
        assert_eq!(right("12%", 5, "…"), "  12%");
        assert_eq!(cut("abc", 0, "…"), "");
    }

    #[test]
    fn hostile_names_lose_their_teeth() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\td\u{fe0f}"), "a[31mbc d");
    }

    #[test]
    fn numbers_for_people() {
        for (n, s) in
            [(0, "0B"), (999, "999B"), (1024, "1K"), (1_280, "1.25K"), (74_448_896, "71M"), (1_342_177_280, "1.25G")]
        {
            assert_eq!(bytes(n), s);
        }
        assert_eq!(size(71_000_000), "71 MB");
        assert_eq!(size(1_240_000_000), "1.2 GB");
        assert_eq!(elapsed(14_230), "14.2s");
        assert_eq!(elapsed(188_000), "3m08s");
        assert_eq!(percent(0.42), "0.4%");
        assert_eq!(percent(0.0), "0%");
        assert_eq!(age(7_200), "2h");
    }

    #[test]
    fn wrapping_keeps_words_and_breaks_long_ones() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
    }
}
