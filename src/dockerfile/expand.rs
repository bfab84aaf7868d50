//! Replaces variables in a word, as BuildKit's shell lexer does.
//!
//! It is not a shell: no globbing, no command substitution, no field splitting outside of [`words`]. Known are `$v`,
//! `${v}`, the modifiers `:-` `-` `:+` `+` `:?` `?`, removal of a prefix or suffix (`#` `##` `%` `%%`) and replacement
//! (`/` `//`); quotes are taken off and the escape character takes the meaning from the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::Peekable;
use std::str::Chars;

use super::shell_pattern::ShellPattern;

/// How deep words may stand in words (`${a:-${b:-…}}`); deeper is refused rather than overflowing the stack.
const MAX_DEPTH: usize = 200;

/// The character that takes the meaning from the next one: a backslash, or a backtick by `# escape=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Escape {
    /// `\`
    #[default]
    Backslash,
    /// `` ` ``
    Backtick,
}

impl Escape {
    /// The character itself.
    pub fn char(self) -> char {
        match self {
            Escape::Backslash => '\\',
            Escape::Backtick => '`',
        }
    }
}

/// Where the values of variables come from.
pub trait Variables {
    /// The value of `name`; `None` where it is not set.
    fn value(&self, name: &str) -> Option<&str>;
}

impl Variables for HashMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

impl Variables for BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// No variables at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn value(&self, _: &str) -> Option<&str> {
        None
    }
}

/// Why a word can't be expanded, in BuildKit's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote is never closed.
    #[error("unexpected end of statement while looking for matching {0}")]
    Unclosed(&'static str),
    /// `${` is never closed.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${v/pattern` has no second slash.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${}` names no variable.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// A modifier nobody knows.
    #[error("unsupported modifier ({0}) in substitution")]
    UnsupportedModifier(String),
    /// `${v:?why}` and the variable is not there.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the Dockerfile says about it, or a default sentence.
        message: String,
    },
    /// Words in words without end.
    #[error("syntax error: substitutions nested too deep")]
    TooDeep,
}

/// An expanded word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The word with variables replaced and quotes taken off.
    pub text: String,
    /// Variables it asked for that are not set.
    pub unset: BTreeSet<String>,
}

/// What is done about quotes, escapes and variables that are not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mode {
    /// Keep quotes in the result.
    pub keep_quotes: bool,
    /// Keep escape characters in the result.
    pub keep_escapes: bool,
    /// Quotes are ordinary characters.
    pub ignore_quotes: bool,
    /// Leave unset variables as they are written.
    pub keep_unset: bool,
}

/// Expands one word.
///
/// # Errors
/// [`ExpandError`]: an open quote or brace, an unknown modifier, a required variable that is missing.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
/// use boxyard::dockerfile::expand::{Escape, expand};
///
/// let variables = BTreeMap::from([("tag".to_owned(), "v1.2".to_owned())]);
/// let word = expand("app:${tag#v}-${arch:-amd64}", &variables, Escape::Backslash).unwrap();
/// assert_eq!(word.text, "app:1.2-amd64");
/// ```
pub fn expand(word: &str, variables: &dyn Variables, escape: Escape) -> Result<Expanded, ExpandError> {
    let mut lexer = Lexer::new(word, variables, escape, Mode::default());
    let (text, _) = lexer.until(None, false)?;
    Ok(Expanded { text, unset: lexer.unset })
}

/// Expands one word and splits it at blanks that are not quoted (also at those that came from a variable).
///
/// # Errors
/// As [`expand`].
pub fn words(word: &str, variables: &dyn Variables, escape: Escape) -> Result<Vec<String>, ExpandError> {
    Lexer::new(word, variables, escape, Mode::default()).until(None, false).map(|(_, words)| words)
}

/// Expands the body of a heredoc: quotes in it are ordinary characters.
///
/// # Errors
/// As [`expand`].
pub fn expand_heredoc(body: &str, variables: &dyn Variables) -> Result<Expanded, ExpandError> {
    let mode = Mode { ignore_quotes: true, ..Mode::default() };
    let mut lexer = Lexer::new(body, variables, Escape::Backslash, mode);
    let (text, _) = lexer.until(None, false)?;
    Ok(Expanded { text, unset: lexer.unset })
}

/// Splits at blanks as [`words`] does, in another mode and with no variable set.
pub(super) fn raw_words(word: &str, escape: Escape, mode: Mode) -> Result<Vec<String>, ExpandError> {
    Lexer::new(word, &NoVariables, escape, mode).until(None, false).map(|(_, words)| words)
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    variables: &'a dyn Variables,
    escape: char,
    mode: Mode,
    unset: BTreeSet<String>,
    depth: usize,
}

impl<'a> Lexer<'a> {
    fn new(word: &'a str, variables: &'a dyn Variables, escape: Escape, mode: Mode) -> Self {
        Self { rest: word.chars().peekable(), variables, escape: escape.char(), mode, unset: BTreeSet::new(), depth: 0 }
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = self.variables.value(name).map(str::to_owned);
        if value.is_none() && !name.is_empty() {
            self.unset.insert(name.to_owned());
        }
        value
    }

    /// Reads up to `stop` (which is eaten), or to the end where there is no `stop`.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool) -> Result<(String, Vec<String>), ExpandError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        let outer = self.mode.keep_escapes;
        self.mode.keep_escapes = keep_escapes || (stop.is_none() && outer);
        let result = self.until_inner(stop);
        self.mode.keep_escapes = outer;
        self.depth -= 1;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(&next) = self.rest.peek() {
            if Some(next) == stop {
                self.rest.next();
                return Ok((text, words.finish()));
            }
            match next {
                '$' => {
                    let value = self.dollar()?;
                    words.push_unquoted(&value);
                    text.push_str(&value);
                }
                '\'' if !self.mode.ignore_quotes => {
                    let quoted = self.single_quoted()?;
                    words.push_quoted(&quoted);
                    text.push_str(&quoted);
                }
                '"' if !self.mode.ignore_quotes => {
                    let quoted = self.double_quoted()?;
                    words.push_quoted(&quoted);
                    text.push_str(&quoted);
                }
                _ if next == self.escape => {
                    self.rest.next();
                    let mut escaped = String::new();
                    if self.mode.keep_escapes {
                        escaped.push(next);
                    }
                    escaped.extend(self.rest.next());
                    if !escaped.is_empty() {
                        words.push_quoted(&escaped);
                    }
                    text.push_str(&escaped);
                }
                _ => {
                    self.rest.next();
                    words.push_char(next);
                    text.push(next);
                }
            }
        }
        match stop {
            None => Ok((text, words.finish())),
            Some('/') => Err(ExpandError::MissingSlash),
            Some(_) => Err(ExpandError::MissingBrace),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.quote(&mut text);
        loop {
            match self.rest.peek() {
                None => return Err(ExpandError::Unclosed("single-quote")),
                Some('\'') => {
                    self.quote(&mut text);
                    return Ok(text);
                }
                Some(_) => text.extend(self.rest.next()),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.quote(&mut text);
        loop {
            match self.rest.peek().copied() {
                None => return Err(ExpandError::Unclosed("double-quote")),
                Some('"') => {
                    self.quote(&mut text);
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(next) if next == self.escape => {
                    self.rest.next();
                    match self.rest.peek().copied() {
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == self.escape => {
                            if self.mode.keep_escapes {
                                text.push(next);
                            }
                            text.extend(self.rest.next());
                        }
                        // Before anything else the escape character is an ordinary one; at the end it is dropped.
                        Some(_) => text.push(next),
                        None => {}
                    }
                }
                Some(_) => text.extend(self.rest.next()),
            }
        }
    }

    /// Eats a quote, and keeps it where the mode says so.
    fn quote(&mut self, text: &mut String) {
        let quote = self.rest.next();
        if self.mode.keep_quotes {
            text.extend(quote);
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.rest.next();
        if self.rest.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.value(&name) {
                None if self.mode.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.rest.next();
        match self.rest.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.rest.next() {
            None => Err(ExpandError::MissingBrace),
            Some('}') => Ok(match self.value(&name) {
                None if self.mode.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            Some(':') => match self.rest.next() {
                None => Err(ExpandError::MissingBrace),
                Some(modifier @ ('-' | '+' | '?')) => self.conditional(&name, modifier, Empty::IsUnset),
                Some(other) => Err(ExpandError::UnsupportedModifier(format!(":{other}"))),
            },
            Some(modifier @ ('-' | '+' | '?')) => self.conditional(&name, modifier, Empty::IsSet),
            Some(side @ ('#' | '%')) => self.trim(&name, side),
            Some('/') => self.replace(&name),
            Some(other) => Err(ExpandError::UnsupportedModifier(other.to_string())),
        }
    }

    fn conditional(&mut self, name: &str, modifier: char, empty: Empty) -> Result<String, ExpandError> {
        let (word, _) = self.until(Some('}'), false)?;
        // A default is an answer, so the variable does not count as missing.
        let value = self.variables.value(name).map(str::to_owned);
        if value.is_none() && modifier == '?' {
            self.unset.insert(name.to_owned());
        }
        if value.is_none() && self.mode.keep_unset {
            let colon = if empty == Empty::IsUnset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let was_set = value.is_some();
        let value = value.filter(|value| empty == Empty::IsSet || !value.is_empty());
        match (modifier, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(value.map(|_| word).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let default = if was_set { "is not allowed to be empty" } else { "is not allowed to be unset" };
                let message = if word.is_empty() { default.to_owned() } else { word };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
        }
    }

    fn trim(&mut self, name: &str, side: char) -> Result<String, ExpandError> {
        let (word, _) = self.until(Some('}'), true)?;
        let value = self.value(name);
        if value.is_none() && self.mode.keep_unset {
            return Ok(format!("${{{name}{side}{word}}}"));
        }
        let value = value.unwrap_or_default();
        let (greedy, pattern) = match word.strip_prefix(side) {
            Some(pattern) => (true, pattern),
            None => (false, word.as_str()),
        };
        let pattern = ShellPattern::new(pattern);
        Ok(if side == '#' { pattern.trim_prefix(&value, greedy) } else { pattern.trim_suffix(&value, greedy) })
    }

    fn replace(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), false)?;
        let value = self.value(name);
        if value.is_none() && self.mode.keep_unset {
            let slash = if all { "//" } else { "/" };
            return Ok(format!("${{{name}{slash}{pattern}/{replacement}}}"));
        }
        Ok(ShellPattern::new(&pattern).replace(&value.unwrap_or_default(), &replacement, all))
    }

    /// A variable's name; digits stand alone (`$1x` is `$1` and an x), and so do the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some(first) if first.is_numeric() => {
                while let Some(digit) = self.rest.next_if(|next| next.is_numeric()) {
                    name.push(digit);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.rest.next()),
            _ => {
                while let Some(letter) = self.rest.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    name.push(letter);
                }
            }
        }
        name
    }
}

/// How a variable counts that is set to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    IsSet,
    IsUnset,
}

/// Gathers words split at unquoted blanks.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn push_char(&mut self, next: char) {
        if next.is_whitespace() {
            self.end_word();
        } else {
            self.word.push(next);
        }
    }

    fn push_unquoted(&mut self, text: &str) {
        text.chars().for_each(|next| self.push_char(next));
    }

    fn push_quoted(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.end_word();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [
            ("PWD", "/home"),
            ("SHELL", "bash"),
            ("KOREAN", "한국어"),
            ("NULL", ""),
            ("FILE", "a/b/c.tar.gz"),
            ("STAR", "x*y?z"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    fn check(cases: &[(&str, Option<&str>)]) {
        for (word, expected) in cases {
            let got = expand(word, &variables(), Escape::Backslash).map(|expanded| expanded.text);
            assert_eq!(got.as_deref().ok(), *expected, "{word} gave {got:?}");
        }
    }

    #[test]
    fn defaults_alternatives_and_demands() {
        check(&[
            ("he${XXX:-000}xx", Some("he000xx")),
            ("he${PWD:-000}xx", Some("he/homexx")),
            ("he${XXX:-${YYY:-yyy}}xx", Some("heyyyxx")),
            ("he${XXX:-$PWD}xx", Some("he/homexx")),
            ("he${NULL-000}", Some("he")),
            ("he${NULL:-000}", Some("he000")),
            ("he${XXX:+000}xx", Some("hexx")),
            ("he${PWD:+${SHELL}}xx", Some("hebashxx")),
            ("he${NULL+1}${NULL:+2}", Some("he1")),
            ("he${XXX?}", None),
            ("he${XXX:?}", None),
            ("he${PWD:?}", Some("he/home")),
            ("he${NULL?}", Some("he")),
            ("he${NULL:?}", None),
            ("he${XXX:YYY}", None),
            ("he${PWD:=000}xx", None),
            ("he${PWD:+${PWD}:}xx", Some("he/home:xx")),
            (r"he${XXX:-\$PWD:}xx", Some("he$PWD:xx")),
            (r"he${XXX:-\${PWD}z}xx", Some("he${PWDz}xx")),
            ("${aaa:-bbb", None),
            ("${aaa:-bbb ${foo}", None),
            ("${aaa:-bbb {foo}", Some("bbb {foo")),
        ]);
        let error = expand("${TAG:?give a tag}", &variables(), Escape::Backslash).unwrap_err();
        assert_eq!(error.to_string(), "TAG: give a tag");
    }

    #[test]
    fn prefixes_suffixes_and_replacements() {
        check(&[
            ("${FILE#*/}", Some("b/c.tar.gz")),
            ("${FILE##*/}", Some("c.tar.gz")),
            ("${FILE%.*}", Some("a/b/c.tar")),
            ("${FILE%%.*}", Some("a/b/c")),
            ("${FILE#nothing}", Some("a/b/c.tar.gz")),
            ("${FILE/\\//:}", Some("a:b/c.tar.gz")),
            ("${FILE//\\//:}", Some("a:b:c.tar.gz")),
            ("${FILE//[a]/}", Some("a/b/c.tar.gz")),
            ("${FILE/a}", None),
            ("${STAR#x\\*}", Some("y?z")),
            ("${STAR//\\?/!}", Some("x*y!z")),
            ("${XXX#a}", Some("")),
        ]);
    }

    #[test]
    fn a_backtick_can_be_the_escape() {
        assert_eq!(expand(r"C:\dir`$x", &NoVariables, Escape::Backtick).unwrap().text, r"C:\dir$x");
    }

    #[test]
    fn heredocs_keep_their_quotes() {
        let body = "a \"$PWD\" '$SHELL' \\$x\n";
        assert_eq!(expand_heredoc(body, &variables()).unwrap().text, "a \"/home\" 'bash' $x\n");
    }

    #[test]
    fn endless_nesting_is_refused() {
        let deep = "${a:-".repeat(100_000);
        assert_eq!(expand(&deep, &NoVariables, Escape::Backslash), Err(ExpandError::TooDeep));
    }
}
