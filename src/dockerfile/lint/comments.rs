//! Comments that hush advice: `# hadolint ignore=DL3008,AptPinVersions` above an instruction, as people have them in
//! their files already; `# hadolint global ignore=` for the whole file. Rules of BuildKit are skipped by `# check=` alone.

use super::super::ast::{Dockerfile, LineRange};
use super::super::diagnostic::{Diagnostic, Severity};
use super::rule;

/// Rules that are not told in some lines.
pub(super) struct Hush<'a> {
    names: &'a str,
    /// The lines; all where it is `None`.
    lines: Option<LineRange>,
}

impl Hush<'_> {
    /// Whether `finding` is not to be told.
    pub fn covers(&self, finding: &Diagnostic) -> bool {
        let is_here = self.lines.is_none_or(|lines| lines.contains(finding.lines.first));
        if finding.severity != Severity::Advice || !is_here {
            return false;
        }
        let aliases = rule(finding.code).map(|rule| rule.hadolint).unwrap_or_default();
        let mut names = self.names.split(',').map(str::trim);
        names.any(|name| name.eq_ignore_ascii_case(finding.code) || aliases.contains(&name))
    }
}

/// What the comments of a file hush.
pub(super) fn hushed<'a>(text: &'a str, file: &Dockerfile) -> Vec<Hush<'a>> {
    if !text.contains("hadolint") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix('#').map(str::trim_start) else { continue };
        let Some(rest) = comment.strip_prefix("hadolint").map(str::trim_start) else { continue };
        let (is_global, rest) = match rest.strip_prefix("global") {
            Some(rest) => (true, rest.trim_start()),
            None => (false, rest),
        };
        let Some(names) = rest.strip_prefix("ignore").and_then(|rest| rest.trim_start().strip_prefix('=')) else {
            continue;
        };
        let names = names.split('#').next().unwrap_or(names);
        let next = file.instructions.iter().find(|instruction| instruction.lines.first > index + 1);
        match (is_global, next) {
            (true, _) => found.push(Hush { names, lines: None }),
            (false, Some(next)) => found.push(Hush { names, lines: Some(next.lines) }),
            (false, None) => {}
        }
    }
    found
}
