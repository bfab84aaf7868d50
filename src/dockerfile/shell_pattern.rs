//! The patterns of `${v#pattern}` and its kin: `*` is any text, `?` any character, a backslash makes either ordinary.

/// A compiled pattern.
pub(super) struct ShellPattern(Vec<Token>);

enum Token {
    AnyText,
    AnyChar,
    Char(char),
}

impl ShellPattern {
    pub(super) fn new(pattern: &str) -> Self {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars();
        while let Some(next) = chars.next() {
            tokens.push(match next {
                '*' => Token::AnyText,
                '?' => Token::AnyChar,
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                other => Token::Char(other),
            });
        }
        Self(tokens)
    }

    /// `value` without the shortest, or where `greedy` the longest, beginning that matches.
    pub(super) fn trim_prefix(&self, value: &str, greedy: bool) -> String {
        let value: Vec<char> = value.chars().collect();
        let ends = ends(self.0.iter(), &value);
        let end = if greedy { ends.last() } else { ends.first() };
        value.iter().skip(end.copied().unwrap_or(0)).collect()
    }

    /// `value` without the shortest, or where `greedy` the longest, ending that matches.
    pub(super) fn trim_suffix(&self, value: &str, greedy: bool) -> String {
        let value: Vec<char> = value.chars().collect();
        // backwards an ending is a beginning, and is found as fast as one
        let backwards: Vec<char> = value.iter().rev().copied().collect();
        let ends = ends(self.0.iter().rev(), &backwards);
        let length = if greedy { ends.last() } else { ends.first() };
        value.iter().take(value.len() - length.copied().unwrap_or(0)).collect()
    }

    /// `value` with the first match, or `all` of them, replaced; each match is the longest at its place.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let value: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        while at < value.len() {
            match ends(self.0.iter(), &value[at..]).last() {
                Some(&length) if length > 0 => {
                    out.push_str(replacement);
                    at += length;
                    if !all {
                        break;
                    }
                }
                _ => {
                    out.push(value[at]);
                    at += 1;
                }
            }
        }
        out.extend(value.iter().skip(at));
        out
    }
}

/// All lengths of beginnings of `value` that match `tokens`, ascending.
fn ends<'a>(tokens: impl Iterator<Item = &'a Token>, value: &[char]) -> Vec<usize> {
    let mut reached = vec![false; value.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; value.len() + 1];
        match token {
            Token::AnyText => {
                let first = reached.iter().position(|here| *here).unwrap_or(reached.len());
                next.iter_mut().skip(first).for_each(|here| *here = true);
            }
            Token::AnyChar => next[1..].copy_from_slice(&reached[..value.len()]),
            Token::Char(wanted) => {
                for (place, found) in value.iter().enumerate() {
                    next[place + 1] = reached[place] && found == wanted;
                }
            }
        }
        reached = next;
    }
    (0..reached.len()).filter(|length| reached[*length]).collect()
}
