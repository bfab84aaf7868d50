//! The commands of a RUN, each word with its place in the Dockerfile.
//!
//! It reads as much of the shell's grammar as lint rules need: quotes, escapes, `$(...)` and backticks, assignments
//! before a command, redirections, lists (`&&` `||` `;` `|` `&`), subshells, groups and the compound commands' keywords.
//! It runs nothing, expands nothing and never fails: what it can't understand becomes ordinary words.

mod read;
mod source;

use crate::dockerfile::ast::Span;

pub(super) use read::{read, read_words};
pub(super) use source::{Placed, json_strings};

/// A word of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Word {
    /// The word without quotes and escapes; variables and substitutions stay as they are written.
    pub text: String,
    /// Where it stands in the Dockerfile, quotes included.
    pub span: Span,
    /// Whether nothing in it is known only when it runs: no variable, no substitution.
    pub is_plain: bool,
}

/// How a command is joined to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// It is the first, or the first after a keyword or a parenthesis.
    First,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|`
    Pipe,
    /// `;`, `&` or a line end
    Then,
}

/// A simple command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Simple {
    /// `NAME=value` before the program.
    pub assignments: Vec<Word>,
    /// The program and its arguments; redirections are not among them.
    pub words: Vec<Word>,
    /// How it is joined to the command before it.
    pub joint: Joint,
    /// How many subshells it stands in: what it does to the shell itself ends with them.
    pub subshells: usize,
    /// How many `if`, `for`, `case`, ... it stands in.
    pub conditions: usize,
    /// All of its bytes, redirections included.
    pub span: Span,
}

/// Programs that run the program that follows them.
const WRAPPERS: [&str; 9] = ["sudo", "env", "command", "exec", "nohup", "time", "nice", "ionice", "eatmydata"];

impl Simple {
    /// The program's words without what only wraps it (`sudo`, `env A=b`, `exec`), the program first.
    pub fn call(&self) -> &[Word] {
        let mut words = self.words.as_slice();
        while let Some((first, rest)) = words.split_first() {
            if !WRAPPERS.contains(&base_name(&first.text)) {
                break;
            }
            let mut skipped = 0;
            while let Some(word) = rest.get(skipped) {
                let takes_value = matches!(word.text.as_str(), "-u" | "-g" | "-n" | "-c");
                if !word.text.starts_with('-') && !is_assignment(&word.text) {
                    break;
                }
                skipped += 1 + usize::from(takes_value);
            }
            words = rest.get(skipped..).unwrap_or_default();
        }
        words
    }

    /// The program's name, without its folder; empty where there is none.
    pub fn program(&self) -> &str {
        self.call().first().map_or("", |word| base_name(&word.text))
    }

    /// The arguments of [`Simple::program`].
    pub fn arguments(&self) -> &[Word] {
        self.call().split_first().map_or(&[], |(_, arguments)| arguments)
    }

    /// Whether one of the arguments is the flag `--long`, `--long=...` or a bundle of short ones with `short`.
    pub fn has_flag(&self, short: Option<char>, long: &str) -> bool {
        self.arguments().iter().any(|word| match word.text.strip_prefix("--") {
            Some(rest) => !long.is_empty() && rest.split('=').next() == Some(long),
            None => short.is_some_and(|short| word.text.strip_prefix('-').is_some_and(|flags| flags.contains(short))),
        })
    }

    /// The arguments that are no flags; those in `with_value` take the next word along.
    pub fn operands(&self, with_value: &[&str]) -> Vec<&Word> {
        let mut operands = Vec::new();
        let mut arguments = self.arguments().iter();
        let mut only_operands = false;
        while let Some(word) = arguments.next() {
            if only_operands || !word.text.starts_with('-') || word.text == "-" {
                operands.push(word);
            } else if word.text == "--" {
                only_operands = true;
            } else if with_value.contains(&word.text.as_str()) {
                arguments.next();
            }
        }
        operands
    }
}

/// A list of commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Script {
    /// The commands in the order of the text, those in subshells and compound commands too.
    pub commands: Vec<Simple>,
    /// What stands in `$(...)`, backticks and `<(...)`.
    pub inner: Vec<Script>,
    /// Whether it ends within a quote or a substitution, so that nothing can be put behind it.
    pub is_open: bool,
}

impl Script {
    /// All commands, those in substitutions too.
    pub fn all(&self) -> Vec<&Simple> {
        let inner = self.inner.iter().flat_map(Script::all);
        self.commands.iter().chain(inner).collect()
    }
}

/// The last part of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a word is `NAME=value`.
pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests;
