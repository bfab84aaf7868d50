//! Lint: what builds but should be written otherwise.
//!
//! BuildKit's checks (names, conditions and words are BuildKit's) are part of [`parse`](super::parse), since builds tell
//! them. Advice of our own and what depends on the context are added by [`lint`]. Each family of rules is a file with its
//! rows ([`Rule`]) and its checks; everything that lists rules reads the rows.

mod check;
mod comments;
mod families;
mod fix;
mod linter;
mod page;
mod rule;
mod scene;
mod shell;

use super::Parsed;
use super::ast::{Dockerfile, LineRange};
use super::diagnostic::{Diagnostic, Severity};
use super::ignore::IgnoreRules;
use super::parser::parse;

pub use fix::{Fixed, fix};
pub use page::page;
pub use rule::{Fix, Rule, Tier, unmarked};

use linter::Linter;

/// All rules, family by family.
pub fn rules() -> impl Iterator<Item = &'static Rule> + Clone {
    families::RULES.iter().flat_map(|family| family.iter())
}

/// The rule of that name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.name == name)
}

/// What the tree does not hold.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Blank lines inside of instructions.
    pub blank_lines: Vec<LineRange>,
}

/// What some rules need to know beside the Dockerfile; they say nothing where it is not known.
#[derive(Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The context's ignore rules.
    pub ignore: Option<&'a IgnoreRules>,
    /// The platform that is built for (`linux/amd64`), and what platform base images have.
    pub platforms: Option<(&'a str, PlatformOf<'a>)>,
    /// The variables that base images set.
    pub variables: Option<VariablesOf<'a>>,
}

/// The names of the variables that a base image sets, as FROM names it, where that is known.
pub type VariablesOf<'a> = &'a dyn Fn(&str) -> Option<Vec<String>>;

/// The platform of a base image, as FROM names it, where that is known.
pub type PlatformOf<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Parses `text` and says all there is to say about it: errors, BuildKit's warnings, advice.
///
/// # Examples
/// ```
/// use boxyard::dockerfile::{Surroundings, lint};
///
/// let linted = lint("FROM debian\nRUN cd /srv && make\n", &Surroundings::default());
/// let codes: Vec<&str> = linted.diagnostics.iter().map(|finding| finding.code).collect();
/// assert_eq!(codes, ["UntaggedBase", "CdInRun"]);
/// ```
pub fn lint(text: &str, surroundings: &Surroundings<'_>) -> Parsed {
    let mut parsed = parse(text);
    let mut linter = Linter::new(text, &parsed.file);
    families::in_surroundings(&mut linter, surroundings);
    parsed.diagnostics.retain(|found| !families::is_told_anew(found.code, surroundings));
    families::advise(&mut linter);
    let hushed = comments::hushed(text, &parsed.file);
    let found = linter.found.into_iter().filter(|finding| !hushed.iter().any(|hush| hush.covers(finding)));
    let found: Vec<Diagnostic> = found.collect();
    parsed.diagnostics.extend(found);
    sort(&mut parsed.diagnostics);
    parsed
}

/// Adds what BuildKit's checks say about `file`, as far as `# check=` does not skip them.
pub(super) fn check(text: &str, file: &Dockerfile, notes: &Notes, diagnostics: &mut Vec<Diagnostic>) {
    let mut linter = Linter::new(text, file);
    linter.refuse_unknown_options();
    families::check(&mut linter, notes);
    diagnostics.append(&mut linter.found);
}

/// In the order of the text, the worst first where several begin at one place.
pub(super) fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, std::cmp::Reverse(diagnostic.severity)));
}

impl Parsed {
    /// Adds what BuildKit's checks say that look beyond the text; builds tell that too.
    pub fn look_around(&mut self, text: &str, surroundings: &Surroundings<'_>) {
        let mut linter = Linter::new(text, &self.file);
        families::in_surroundings(&mut linter, surroundings);
        let found = linter.found;
        self.diagnostics.retain(|known| !families::is_told_anew(known.code, surroundings));
        self.diagnostics.extend(found);
        sort(&mut self.diagnostics);
    }

    /// Why a build fails over its warnings, where `# check=error=true` asks for that: BuildKit's sentence, then each
    /// finding.
    pub fn lint_violation(&self) -> Option<String> {
        let found: Vec<&Diagnostic> = self.warnings().filter(|found| found.severity == Severity::Error).collect();
        let mut names: Vec<&str> = found.iter().map(|found| found.code).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return None;
        }
        let mut text = format!("lint violation found for rules: {}", names.join(", "));
        for found in found {
            text.push_str(&format!("\n  line {}: {}: {}", found.lines.first, found.code, found.message));
        }
        Some(text)
    }
}

/// Whether `code` is a check of BuildKit.
pub(super) fn is_buildkits(code: &str) -> bool {
    rule(code).is_some_and(|rule| rule.tier != Tier::Advice)
}

#[cfg(test)]
mod tests;
