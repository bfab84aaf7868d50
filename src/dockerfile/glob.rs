//! Path patterns as Docker uses them: Go's `filepath.Match`, and `**` on top of it for ignore rules.

use regex::Regex;

/// Why a pattern is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// A compiled pattern. `*` and `?` never match a slash; `[a-z]`, `[^a]` and `\` are as in Go.
#[derive(Debug, Clone)]
pub struct Pattern(Matcher);

/// The cheapest way to tell whether a path matches.
#[derive(Debug, Clone)]
enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

impl Pattern {
    /// Compiles a pattern of `filepath.Match`, which COPY and ADD use for their sources.
    ///
    /// # Errors
    /// [`BadPattern`]: an open `[`, a lone `\` at the end.
    pub fn file(pattern: &str) -> Result<Self, BadPattern> {
        compile(pattern, Stars::Single).map(|(regex, _)| regex).and_then(regex).map(Self)
    }

    /// Compiles a pattern of an ignore file: as [`Pattern::file`], and `**` matches any number of folders.
    ///
    /// # Errors
    /// As [`Pattern::file`].
    pub fn ignore(pattern: &str) -> Result<Self, BadPattern> {
        let (compiled, shape) = compile(pattern, Stars::Double)?;
        Ok(Self(match shape {
            Shape::Exact => Matcher::Exact(pattern.to_owned()),
            Shape::Prefix => Matcher::Prefix(pattern.trim_end_matches('*').to_owned()),
            Shape::Suffix => Matcher::Suffix(pattern.trim_start_matches('*').to_owned()),
            Shape::Other => regex(compiled)?,
        }))
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        match &self.0 {
            Matcher::Exact(text) => path == text,
            Matcher::Prefix(text) => path.starts_with(text),
            // `**/x` is also `x` itself, and `**x` whatever ends in x: moby's matcher has it so.
            Matcher::Suffix(text) => path.ends_with(text) || text.strip_prefix('/') == Some(path),
            Matcher::Regex(regex) => regex.is_match(path),
        }
    }
}

fn regex(pattern: String) -> Result<Matcher, BadPattern> {
    Regex::new(&pattern).map(Matcher::Regex).map_err(|_| BadPattern)
}

/// What a pattern consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Letters alone.
    Exact,
    /// Letters, then `**`.
    Prefix,
    /// `**`, then letters.
    Suffix,
    /// Anything.
    Other,
}

/// The pattern as a regular expression.
fn compile(pattern: &str, stars: Stars) -> Result<(String, Shape), BadPattern> {
    let mut regex = String::from("(?s)^");
    let mut shape = Shape::Exact;
    let mut chars = pattern.chars().peekable();
    let mut is_first = true;
    while let Some(next) = chars.next() {
        let at_start = std::mem::take(&mut is_first);
        match next {
            '*' if stars == Stars::Double && chars.next_if_eq(&'*').is_some() => {
                // `**/` also stands for no folder at all.
                let had_slash = chars.next_if_eq(&'/').is_some();
                let is_last = chars.peek().is_none();
                regex.push_str(if is_last { ".*" } else { "(.*/)?" });
                shape = match (at_start, shape, is_last) {
                    (true, _, false) => Shape::Suffix,
                    (false, Shape::Exact, true) if !had_slash => Shape::Prefix,
                    _ => Shape::Other,
                };
            }
            '*' => {
                regex.push_str("[^/]*");
                shape = Shape::Other;
            }
            '?' => {
                regex.push_str("[^/]");
                shape = Shape::Other;
            }
            '\\' => {
                push_literal(&mut regex, chars.next().ok_or(BadPattern)?);
                shape = Shape::Other;
            }
            '[' => {
                class(&mut chars, &mut regex, stars)?;
                shape = Shape::Other;
            }
            other => push_literal(&mut regex, other),
        }
    }
    regex.push('$');
    Ok((regex, shape))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stars {
    Single,
    Double,
}

fn push_literal(regex: &mut String, literal: char) {
    regex.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
}

/// A class like `[a-z]` or `[^a]`, after its `[`. In Go's own patterns it never matches a slash; in ignore rules it may.
fn class(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    regex: &mut String,
    stars: Stars,
) -> Result<(), BadPattern> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut members = String::new();
    let mut is_first = true;
    loop {
        let first = match chars.next().ok_or(BadPattern)? {
            ']' if !is_first => break,
            ']' | '-' => return Err(BadPattern),
            '\\' => chars.next().ok_or(BadPattern)?,
            other => other,
        };
        let last = if chars.next_if_eq(&'-').is_some() {
            match chars.next().ok_or(BadPattern)? {
                ']' | '-' => return Err(BadPattern),
                '\\' => chars.next().ok_or(BadPattern)?,
                other => other,
            }
        } else {
            first
        };
        is_first = false;
        // A reversed range matches nothing in Go; the regex crate would refuse it.
        if first <= last {
            push_member(&mut members, first);
            members.push('-');
            push_member(&mut members, last);
        }
    }
    match (negated, members.is_empty()) {
        (true, false) if stars == Stars::Double => regex.push_str(&format!("[^{members}]")),
        (false, false) if stars == Stars::Double => regex.push_str(&format!("[{members}]")),
        (true, _) => regex.push_str(&format!("[^/{members}]")),
        (false, true) => regex.push_str(r"[^\s\S]"),
        (false, false) => regex.push_str(&format!("[{members}&&[^/]]")),
    }
    Ok(())
}

fn push_member(members: &mut String, member: char) {
    // `\<` and `\>` mean word boundaries to the regex crate.
    if member.is_ascii_punctuation() && !matches!(member, '<' | '>') {
        members.push('\\');
    }
    members.push(member);
}

/// Whether a source has to be matched against what is there, rather than named.
pub fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(next) = chars.next() {
        match next {
            '\\' => drop(chars.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// `path` as Go's `path.Clean` has it: no empty, `.` and inner `..` parts, no slash at the end.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => drop(parts.pop()),
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_patterns_are_gos() {
        let cases = [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a/b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
            ("hello.?xt", "hello.txt", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(Pattern::file(pattern).unwrap().matches(path), expected, "{pattern} on {path}");
        }
        for bad in ["[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a[", "\\", "[^", "[^bc"] {
            assert!(Pattern::file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cleaned_paths_are_gos() {
        for (path, expected) in [
            ("", "."),
            ("a/b/../c", "a/c"),
            ("/../a", "/a"),
            ("../../a", "../../a"),
            ("a//b/", "a/b"),
            ("a/..", "."),
            ("./a/.", "a"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
