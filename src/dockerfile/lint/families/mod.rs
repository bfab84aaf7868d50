//! The families of rules. Each has its rows (`RULES`) and its checks: `check` for what is BuildKit's, `advise` for ours.

mod apt;
mod base;
mod cache;
mod files;
mod forms;
mod habits;
mod packages;
mod ports;
mod process;
mod secrets;
mod stages;
mod style;
mod users;
mod variables;
mod versions;

use super::super::ast::Span;
use super::super::diagnostic::Suggestion;
use super::linter::Linter;
use super::rule::Rule;
use super::scene::{Form, Part, Run, Scene};
use super::shell::{Simple, Word};
use super::{Notes, Surroundings};

/// All rows.
pub(super) const RULES: &[&[Rule]] = &[
    style::RULES,
    stages::RULES,
    variables::RULES,
    process::RULES,
    ports::RULES,
    files::RULES,
    forms::RULES,
    base::RULES,
    apt::RULES,
    packages::RULES,
    versions::RULES,
    habits::RULES,
    cache::RULES,
    secrets::RULES,
    users::RULES,
];

/// BuildKit's checks.
pub(super) fn check(linter: &mut Linter<'_>, notes: &Notes) {
    style::check(linter, notes);
    stages::check(linter);
    variables::check(linter);
    process::check(linter);
    ports::check(linter);
    files::check(linter);
}

/// BuildKit's checks that look beyond the Dockerfile.
pub(super) fn in_surroundings(linter: &mut Linter<'_>, surroundings: &Surroundings<'_>) {
    if let Some(ignore) = surroundings.ignore {
        files::ignored(linter, ignore);
    }
    if let Some((target, platform_of)) = surroundings.platforms {
        stages::platforms(linter, target, platform_of);
    }
    if let Some(variables_of) = surroundings.variables {
        variables::undefined(linter, variables_of);
    }
}

/// Whether `code` was told from the text alone, and more is known now.
pub(super) fn is_told_anew(code: &str, surroundings: &Surroundings<'_>) -> bool {
    surroundings.variables.is_some() && code == variables::UNDEFINED_VAR.name
}

/// Advice of our own.
pub(super) fn advise(linter: &mut Linter<'_>) {
    let scene = Scene::of(linter);
    variables::advise(linter);
    process::advise(linter);
    files::advise(linter);
    forms::advise(linter);
    base::advise(linter);
    apt::advise(linter, &scene);
    packages::advise(linter, &scene);
    versions::advise(linter, &scene);
    habits::advise(linter, &scene);
    cache::advise(linter, &scene);
    secrets::advise(linter);
    users::advise(linter);
}

/// Inserts an option behind a word; not in the JSON form, where it would have to be a string of its own.
fn insert_after(part: &Part, word: &Word, option: &str) -> Option<Suggestion> {
    let span = Span::new(word.span.end, word.span.end);
    (part.form != Form::Json).then(|| Suggestion { span, replacement: format!(" {option}") })
}

/// Appends a command to a RUN whose script is a plain list up to its very end.
fn append(linter: &Linter<'_>, run: &Run<'_>, command: &str) -> Option<Suggestion> {
    let (part, end, before) = match run.parts.as_slice() {
        [line] if line.form == Form::Line => (line, linter.arguments(run.instruction).end, " && "),
        [_, body] => match body.form {
            Form::Body { span, .. } => (body, span.end, "\n"),
            _ => return None,
        },
        _ => return None,
    };
    let is_end = |last: &&Simple| last.subshells == 0 && last.conditions == 0 && !part.script.is_open;
    let last = part.script.commands.last().filter(is_end)?;
    let rest = Span::new(last.span.end, end).of(linter.text);
    let span = Span::new(last.span.end, last.span.end);
    rest.trim().is_empty().then(|| Suggestion { span, replacement: format!("{before}{command}") })
}

/// Tells packages without a version, all of a command at once.
fn unpinned(linter: &mut Linter<'_>, rule: &'static Rule, kind: &str, words: &[&Word]) {
    let Some(first) = words.first() else { return };
    let names: Vec<&str> = words.iter().take(3).map(|word| word.text.as_str()).collect();
    let more =
        if words.len() > names.len() { format!(" and {} more", words.len() - names.len()) } else { String::new() };
    let message = match names.as_slice() {
        [name] => format!("{kind} package {name} has no version"),
        _ => format!("{kind} packages {}{more} have no version", names.join(", ")),
    };
    linter.advise(rule, first.span, message, None);
}
