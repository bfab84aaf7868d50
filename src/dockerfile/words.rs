//! The ways in which instructions cut their text into words. Every word keeps its place in the joined line.

use std::ops::Range;

use super::expand::Escape;

/// A word and where it stands in the joined line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    pub range: Range<usize>,
}

/// What stands between the words of an instruction. Other white space, as a no-break space, belongs to its word.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')
}

/// Words between blanks; quotes mean nothing (FROM, COPY, EXPOSE, ...). `at` is where `text` begins in the joined line.
pub(super) fn plain(text: &str, at: usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    for (index, c) in text.char_indices() {
        match (is_blank(c), start) {
            (true, Some(from)) => {
                words.push(Word { text: text[from..index].to_owned(), range: at + from..at + index });
                start = None;
            }
            (false, None) => start = Some(index),
            _ => {}
        }
    }
    if let Some(from) = start {
        words.push(Word { text: text[from..].to_owned(), range: at + from..at + text.len() });
    }
    words
}

/// Words between blanks that are neither quoted nor escaped; quotes and escapes stay in them (ENV, LABEL, ARG).
pub(super) fn quoted(text: &str, at: usize, escape: Escape) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut start = 0;
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        if word.is_empty() {
            start = index;
        }
        if quote.is_none() && c.is_whitespace() {
            if !word.is_empty() {
                words.push(Word { text: std::mem::take(&mut word), range: at + start..at + index });
            }
            continue;
        }
        if c == escape.char() && quote != Some('\'') {
            // An escape at the very end is dropped outside of quotes, as Docker does.
            if let Some((_, next)) = chars.next() {
                word.push(c);
                word.push(next);
            } else if quote.is_some() {
                word.push(c);
            }
            continue;
        }
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(Word { text: word, range: at + start..at + text.len() });
    }
    words
}

/// The flags (`--name=value`) at the start of `text`, without their quotes, and where the rest begins. `--` ends them.
pub(super) fn flags(text: &str, at: usize, escape: Escape) -> (Vec<Word>, usize) {
    let mut found = Vec::new();
    let mut rest = 0;
    loop {
        let start = rest + (text[rest..].len() - text[rest..].trim_start().len());
        if !text[start..].starts_with("--") {
            return (found, start);
        }
        let mut word = String::new();
        let mut quote = None;
        let mut end = text.len();
        let mut chars = text[start..].char_indices();
        while let Some((index, c)) = chars.next() {
            if quote.is_none() && c.is_whitespace() {
                end = start + index;
                break;
            }
            if c == escape.char() {
                word.extend(chars.next().map(|(_, next)| next));
            } else if quote == Some(c) {
                quote = None;
            } else if quote.is_none() && (c == '\'' || c == '"') {
                quote = Some(c);
            } else {
                word.push(c);
            }
        }
        rest = end;
        if word == "--" {
            return (found, rest + (text[rest..].len() - text[rest..].trim_start().len()));
        }
        found.push(Word { text: word, range: at + start..at + end });
    }
}

/// What a text in the JSON form says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    /// A list of strings.
    Strings(Vec<String>),
    /// A list with something else in it, which is an error.
    NotStrings,
    /// No JSON list: the text is meant for the shell.
    Not,
}

/// Reads a text as a JSON list of strings.
pub(super) fn json(text: &str) -> Json {
    let text = text.trim();
    if !text.starts_with('[') {
        return Json::Not;
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Err(_) => Json::Not,
        Ok(values) => {
            let strings = values.into_iter().map(|value| match value {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            });
            strings.collect::<Option<Vec<_>>>().map_or(Json::NotStrings, Json::Strings)
        }
    }
}

/// The pieces of a valid JSON list of strings: `[`, `,`, `]` and the strings with their quotes.
pub(super) fn json_pieces(text: &str, at: usize) -> Vec<(Range<usize>, bool)> {
    let mut pieces = Vec::new();
    let mut chars = text.char_indices();
    while let Some((start, c)) = chars.next() {
        match c {
            '[' | ']' | ',' => pieces.push((at + start..at + start + 1, false)),
            '"' => {
                let mut end = text.len();
                while let Some((index, c)) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        '"' => {
                            end = index + 1;
                            break;
                        }
                        _ => {}
                    }
                }
                pieces.push((at + start..at + end, true));
            }
            _ => {}
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn quoted_words_keep_their_quotes() {
        let text = r#"a=b c="d e" f='g h' i=j\ k l="m\"n""#;
        let words = quoted(text, 10, Escape::Backslash);
        assert_eq!(texts(&words), ["a=b", r#"c="d e""#, "f='g h'", r"i=j\ k", r#"l="m\"n""#]);
        assert_eq!(words[1].range, 14..21);
    }

    #[test]
    fn flags_end_at_the_first_other_word() {
        let (words, rest) = flags("--from=a  --x='b c' src --dst", 0, Escape::Backslash);
        assert_eq!(texts(&words), ["--from=a", "--x=b c"]);
        assert_eq!(rest, 20);
        assert_eq!(flags("-- --a", 0, Escape::Backslash), (vec![], 3));
    }

    #[test]
    fn json_forms() {
        assert_eq!(json(r#" ["a", "b\n"] "#), Json::Strings(vec!["a".into(), "b\n".into()]));
        assert_eq!(json("['a']"), Json::Not);
        assert_eq!(json("[1]"), Json::NotStrings);
        assert_eq!(json("[ -f x ] && y"), Json::Not);
    }
}
