//! Applies fixes: those that are sure, never two that overlap, again and again until nothing is left to put right.

use std::collections::BTreeSet;

use super::super::diagnostic::{Diagnostic, Severity, Suggestion};
use super::rule::Fix;
use super::{Surroundings, lint, rule};

/// Rounds after which a fix that brings another is given up.
const MOST_ROUNDS: usize = 50;

/// A Dockerfile with its fixes applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// The text.
    pub text: String,
    /// How many fixes were applied.
    pub count: usize,
}

/// Applies every sure fix to `text`.
///
/// `is_wanted` chooses among the findings. Each round is looked at again before it is taken: it must not bring errors, and
/// a fix after which its rule says the same at the same place is not used at all.
pub fn fix(text: &str, surroundings: &Surroundings<'_>, is_wanted: impl Fn(&Diagnostic) -> bool) -> Fixed {
    let mut fixed = Fixed { text: text.to_owned(), count: 0 };
    let mut found = lint(text, surroundings).diagnostics;
    let mut useless: BTreeSet<&'static str> = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        let is_sure = |it: &&Diagnostic| rule(it.code).is_some_and(|rule| rule.fix == Fix::Sure);
        let chosen = found.iter().filter(is_sure).filter(|it| is_wanted(it) && !useless.contains(it.code));
        let (next, applied) = apply(&fixed.text, chosen);
        if applied.is_empty() {
            break;
        }
        let left = lint(&next, surroundings).diagnostics;
        let count = |all: &[Diagnostic], code: &str| all.iter().filter(|it| it.code == code).count();
        let fails = |fix: &&Applied| {
            let is_there = left.iter().any(|it| it.code == fix.code && it.span.start == fix.start);
            is_there && count(&left, fix.code) >= count(&found, fix.code)
        };
        let failing: Vec<&'static str> = applied.iter().filter(fails).map(|fix| fix.code).collect();
        if !failing.is_empty() {
            useless.extend(failing);
        } else if errors(&left) > errors(&found) {
            break;
        } else {
            fixed = Fixed { text: next, count: fixed.count + applied.len() };
            found = left;
        }
    }
    fixed
}

fn errors(diagnostics: &[Diagnostic]) -> usize {
    diagnostics.iter().filter(|found| found.severity == Severity::Error && rule(found.code).is_none()).count()
}

/// A fix that was applied.
struct Applied {
    /// Its rule.
    code: &'static str,
    /// Where in the new text its finding was.
    start: usize,
}

/// Applies the suggestions that do not touch one another, in the order of the text.
fn apply<'a>(text: &str, findings: impl Iterator<Item = &'a Diagnostic>) -> (String, Vec<Applied>) {
    let mut suggestions: Vec<_> = findings.filter_map(|found| Some((found.suggestion.as_ref()?, found))).collect();
    suggestions.sort_by_key(|(suggestion, _)| (suggestion.span.start, suggestion.span.end));
    let mut fixed = String::with_capacity(text.len());
    let mut taken: Vec<(&Suggestion, &Diagnostic)> = Vec::new();
    let mut done = 0;
    for (suggestion, found) in suggestions {
        let touches = !taken.is_empty() && suggestion.span.start <= done;
        let Some(kept) = text.get(done..suggestion.span.start).filter(|_| !touches) else { continue };
        fixed.push_str(kept);
        fixed.push_str(&suggestion.replacement);
        done = suggestion.span.end;
        taken.push((suggestion, found));
    }
    fixed.push_str(text.get(done..).unwrap_or_default());
    let moved = |found: &Diagnostic| {
        let before = taken.iter().filter(|(suggestion, _)| suggestion.span.end <= found.span.start);
        let (more, less) = before.fold((0, 0), |(more, less), (suggestion, _)| {
            (more + suggestion.replacement.len(), less + suggestion.span.end - suggestion.span.start)
        });
        (found.span.start + more).saturating_sub(less)
    };
    let applied = taken.iter().map(|(_, found)| Applied { code: found.code, start: moved(found) }).collect();
    (fixed, applied)
}
