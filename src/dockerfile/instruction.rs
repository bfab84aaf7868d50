//! Reads one logical line as an instruction: keyword, flags, and then the body by the keyword's own rules.
//!
//! Reading goes on after a fault: each flag and each pair is looked at, and an instruction with a fault is kept as
//! [`Body::Invalid`] with the parts that could be told.

use std::ops::Range;

use super::ast::{Body, Flag, Instruction, Part, Role, Span};
use super::diagnostic::{Diagnostic, Severity, Suggestion};
use super::expand::Escape;
use super::flag_values;
use super::keyword::{self, KEYWORDS, Keyword, Takes};
use super::logical::Logical;
use super::mount::MountFault;
use super::suggest::nearest;
use super::words::{self, Word};

/// What is wrong with an instruction, placed in its joined line.
pub(super) struct Fault {
    pub range: Range<usize>,
    pub code: &'static str,
    pub message: String,
    pub expected: Option<String>,
    pub replacement: Option<String>,
}

/// Reads `logical`. With a fault its body is [`Body::Invalid`] and the fault is among the diagnostics.
pub(super) fn read(logical: &Logical, escape: Escape, diagnostics: &mut Vec<Diagnostic>) -> Instruction {
    let mut reader = Reader { logical, escape, faults: Vec::new(), parts: Vec::new() };
    let instruction = reader.instruction(0, Position::Line);
    diagnostics.extend(reader.faults.into_iter().map(|fault| {
        let span = logical.place(fault.range);
        Diagnostic {
            lines: logical.lines,
            span,
            severity: Severity::Error,
            code: fault.code,
            message: fault.message,
            expected: fault.expected,
            suggestion: fault.replacement.map(|replacement| Suggestion { span, replacement }),
        }
    }));
    if let Some(open) = &logical.unterminated {
        let name = &open.name;
        let near = open.near_line.map(|line| format!("; line {line} should be {name} and nothing else"));
        diagnostics.push(Diagnostic {
            lines: logical.lines,
            span: open.near.unwrap_or_else(|| logical.place(0..logical.text.len())),
            severity: Severity::Error,
            code: "UnterminatedHeredoc",
            message: format!(
                "unterminated heredoc: the line {name} that ends it is missing{}",
                near.unwrap_or_default()
            ),
            expected: Some(format!("a line with nothing but {name}")),
            suggestion: open.near.map(|span| Suggestion { span, replacement: name.clone() }),
        });
    }
    instruction
}

/// Where an instruction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// At the start of a line.
    Line,
    /// After ONBUILD.
    Trigger,
}

pub(super) struct Reader<'a> {
    pub logical: &'a Logical,
    pub escape: Escape,
    pub faults: Vec<Fault>,
    parts: Vec<(Role, Range<usize>)>,
}

/// The part of the joined line after keyword and flags.
pub(super) struct Rest<'a> {
    pub text: &'a str,
    pub at: usize,
    /// How the instruction is written.
    pub form: &'static str,
    /// Where the keyword stands.
    pub keyword: Range<usize>,
}

impl Rest<'_> {
    pub(super) fn range(&self) -> Range<usize> {
        if self.text.is_empty() { self.keyword.clone() } else { self.at..self.at + self.text.len() }
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        self.fault_at(self.range(), message)
    }

    pub(super) fn fault_at(&self, range: Range<usize>, message: impl Into<String>) -> Fault {
        let (code, message) = ("SyntaxError", message.into());
        Fault { range, code, message, expected: Some(self.form.to_owned()), replacement: None }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn part(&mut self, role: Role, range: Range<usize>) {
        if !range.is_empty() {
            self.parts.push((role, range));
        }
    }

    pub(super) fn instruction(&mut self, at: usize, position: Position) -> Instruction {
        let logical = self.logical;
        let text = logical.text.get(at..).unwrap_or_default();
        let end = text.find(words::is_blank).unwrap_or(text.len());
        let (word, after) = text.split_at(end);
        let keyword_range = at..at + end;
        let (faults_before, parts_before) = (self.faults.len(), self.parts.len());
        self.part(Role::Keyword, keyword_range.clone());
        let (mut flags, mut body) = (Vec::new(), Body::Invalid);
        match keyword::find(word) {
            None => {
                self.unknown(word, keyword_range.clone());
                self.part(Role::Unread, at + end..at + text.len());
            }
            Some(keyword) => {
                let after_at = at + end;
                let (words, rest_at) = words::flags(after, after_at, self.escape);
                let text = after.get(rest_at..).unwrap_or_default().trim_end();
                let rest = Rest { text, at: after_at + rest_at, form: keyword.form, keyword: keyword_range.clone() };
                flags = self.flags(keyword, words);
                let parts_of_flags = self.parts.len();
                match self.body(keyword.name, &rest, &flags, position) {
                    Ok(read) => body = read,
                    Err(fault) => {
                        // Behind a flag with a fault nothing may be left that could be missed.
                        if self.faults.len() == faults_before || !text.is_empty() {
                            self.faults.push(fault);
                        }
                        self.parts.truncate(parts_of_flags);
                        self.part(Role::Unread, rest.at..rest.at + text.len());
                    }
                }
            }
        }
        if self.faults.len() > faults_before {
            body = Body::Invalid;
        }
        let start = logical.place(keyword_range.clone()).start;
        Instruction {
            keyword: word.to_ascii_uppercase(),
            keyword_span: logical.place(keyword_range),
            span: Span::new(start, logical.span.end.max(start)),
            lines: logical.lines,
            text: text.to_owned(),
            flags,
            heredocs: logical.heredocs.clone(),
            body,
            parts: self.placed(parts_before),
        }
    }

    fn unknown(&mut self, word: &str, range: Range<usize>) {
        self.faults.push(Fault {
            range,
            code: "UnknownInstruction",
            message: format!("unknown instruction: {word}"),
            expected: Some(format!(
                "one of {}",
                KEYWORDS.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
            )),
            replacement: nearest(word, KEYWORDS.iter().map(|known| known.name)).map(|near| same_case(word, near)),
        });
    }

    /// The parts from the `first` on, with their places in the source.
    fn placed(&self, first: usize) -> Vec<Part> {
        let read = self.parts.get(first..).unwrap_or_default();
        let mut parts = Vec::with_capacity(read.len() + 2 * self.logical.heredocs.len());
        for (role, range) in read {
            let places = self.logical.places(range.clone()).enumerate();
            parts.extend(places.map(|(line, span)| Part { role: *role, span, continues: line > 0 }));
        }
        for heredoc in &self.logical.heredocs {
            if heredoc.span.start < heredoc.span.end {
                parts.push(Part { role: Role::HeredocBody, span: heredoc.span, continues: false });
            }
            parts.extend(heredoc.end_span.map(|span| Part { role: Role::HeredocEnd, span, continues: false }));
        }
        parts
    }

    fn flags(&mut self, keyword: &Keyword, words: Vec<Word>) -> Vec<Flag> {
        let mut flags: Vec<Flag> = Vec::with_capacity(words.len());
        for word in words {
            let bare = word.text.trim_start_matches("--");
            let (name, value) = match bare.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (bare, None),
            };
            let written = self.logical.text.get(word.range.clone()).unwrap_or_default();
            let name_end = word.range.start + written.find('=').unwrap_or(written.len());
            let value_start = (name_end + 1).min(word.range.end);
            self.part(Role::FlagName, word.range.start..name_end);
            self.part(Role::Punctuation, name_end..value_start);
            self.part(Role::FlagValue, value_start..word.range.end);
            let mut refuse = |message: String, expected: Option<String>, replacement: Option<String>| {
                self.faults.push(Fault {
                    range: word.range.clone(),
                    code: "InvalidFlag",
                    message,
                    expected,
                    replacement,
                });
            };
            match keyword.flags.iter().find(|known| known.name == name) {
                None => {
                    let near = nearest(name, keyword.flags.iter().map(|known| known.name));
                    let replacement = near.map(|near| match &value {
                        Some(value) => format!("--{near}={value}"),
                        None => format!("--{near}"),
                    });
                    refuse(format!("unknown flag: --{name}"), Some(known_flags(keyword)), replacement);
                }
                Some(known) => match (known.takes, value.as_deref()) {
                    (Takes::Value | Takes::Switch, _) if flags.iter().any(|flag| flag.name == name) => {
                        refuse(format!("Duplicate flag specified: {name}"), Some(format!("--{name} once")), None);
                    }
                    (Takes::Value | Takes::Values, None) => {
                        let fault = self.without_value(name, &word);
                        self.faults.push(fault);
                    }
                    (Takes::Switch, Some(value))
                        if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") =>
                    {
                        let message = format!("Expecting boolean value for flag {name}, not: {value}");
                        refuse(message, Some("true or false".to_owned()), None);
                    }
                    (_, Some(value)) => {
                        let is_plain = written.get(value_start - word.range.start..) == Some(value);
                        for found in flag_values::check(keyword.name, name, value) {
                            let inner = found.range.start + value_start..found.range.end + value_start;
                            let range = if is_plain { inner } else { value_start..word.range.end };
                            let MountFault { message, expected, replacement, .. } = found;
                            let replacement = replacement.filter(|_| is_plain);
                            self.faults.push(Fault { range, code: "InvalidFlag", message, expected, replacement });
                        }
                    }
                    _ => {}
                },
            }
            let has_value = value.is_some();
            flags.push(Flag {
                name: name.to_owned(),
                value,
                span: self.logical.place(word.range.clone()),
                name_span: self.logical.place(word.range.start..name_end),
                value_span: has_value.then(|| self.logical.place(value_start..word.range.end)),
            });
        }
        flags
    }
    /// A flag whose value is missing, perhaps because a blank stands where `=` should.
    fn without_value(&self, name: &str, flag: &Word) -> Fault {
        let behind = self.logical.text.get(flag.range.end..).unwrap_or_default();
        let value = words::plain(behind, flag.range.end).into_iter().next().filter(|it| !it.text.starts_with("--"));
        Fault {
            range: flag.range.start..value.as_ref().map_or(flag.range.end, |value| value.range.end),
            code: "InvalidFlag",
            message: format!("Missing a value on flag: {name}"),
            expected: Some(format!("--{name}=value")),
            replacement: value.map(|value| format!("--{name}={}", value.text)),
        }
    }
}

fn known_flags(keyword: &Keyword) -> String {
    match keyword.flags {
        [] => format!("no flag: {} has none", keyword.name),
        flags => {
            let names: Vec<String> = flags.iter().map(|flag| format!("--{}", flag.name)).collect();
            format!("one of {}", names.join(", "))
        }
    }
}

/// `near` in lower case where the person wrote lower case.
fn same_case(written: &str, near: &str) -> String {
    if written.chars().any(char::is_lowercase) { near.to_ascii_lowercase() } else { near.to_owned() }
}
