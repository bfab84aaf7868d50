//! Findings for people: where, what, the line with a marker below it, the fix.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

use super::place::Places;
use super::{Checked, word};
use crate::dockerfile::{Diagnostic, Fix, Severity, rule};

/// All of it, with a sum at the end where there was anything to tell.
pub(super) fn report(checked: &[Checked]) -> String {
    let mut report = String::new();
    for file in checked {
        let places = Places::new(&file.text);
        file.findings.iter().for_each(|found| one(&mut report, file, &places, found));
    }
    sum(&mut report, checked);
    report
}

fn one(report: &mut String, file: &Checked, places: &Places<'_>, found: &Diagnostic) {
    let ((line, column), (end_line, end_column)) = places.range(found.span);
    let (kind, code, name) = (word(found.severity), found.code, &file.name);
    let _ = writeln!(report, "{name}:{line}:{column}: {kind}[{code}]: {}", found.sentence());
    let source = places.line(line);
    let end = if end_line == line { end_column } else { source.trim_end().chars().count() + 1 };
    let margin = line.to_string().len().max(4);
    let _ = writeln!(report, "{line:>margin$} | {}", source.chars().map(shown).collect::<String>());
    let lead: usize = source.chars().take(column - 1).map(columns).sum();
    let marked: usize = source.chars().take(end - 1).skip(column - 1).map(columns).sum();
    let _ = writeln!(report, "{:>margin$} | {}{}", "", " ".repeat(lead), "^".repeat(marked.max(1)));
    if let Some(expected) = found.expected.as_ref().filter(|_| found.suggestion.is_none()) {
        let _ = writeln!(report, "{:>margin$} = expected: {expected}", "");
    }
    let suggestion = found.suggestion.as_ref().filter(|_| rule(code).is_some());
    if let Some(suggestion) = suggestion {
        let told: String = suggestion.told(&file.text).chars().map(shown).collect();
        let kind = if rule(code).is_some_and(|rule| rule.fix == Fix::Guess) { "perhaps" } else { "fix" };
        let _ = writeln!(report, "{:>margin$} = {kind}: {told}", "");
    }
}

/// Control characters are not let through to a terminal.
fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

fn columns(c: char) -> usize {
    shown(c).width().unwrap_or(0)
}

fn sum(report: &mut String, checked: &[Checked]) {
    let findings = || checked.iter().flat_map(|file| &file.findings);
    let fixed: usize = checked.iter().map(|file| file.fixed).sum();
    let of = |severity| findings().filter(|found| found.severity == severity).count();
    let many = |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let mut parts = Vec::new();
    let kinds = [
        (Severity::Error, "error", "errors"),
        (Severity::Warning, "warning", "warnings"),
        (Severity::Advice, "piece of advice", "pieces of advice"),
    ];
    for (severity, word, more) in kinds {
        let count = of(severity);
        if count > 0 {
            parts.push(many(count, word, more));
        }
    }
    if fixed > 0 {
        parts.push(format!("{fixed} fixed"));
    }
    let is_sure =
        |found: &&Diagnostic| found.suggestion.is_some() && rule(found.code).is_some_and(|it| it.fix == Fix::Sure);
    let fixable = findings().filter(is_sure).count();
    if parts.is_empty() {
        return;
    }
    let hint = if fixable > 0 { format!("; --fix puts {fixable} right") } else { String::new() };
    let _ = writeln!(report, "{}{hint}", parts.join(", "));
}

#[cfg(test)]
mod tests {
    use super::super::checked;
    use super::*;

    #[test]
    fn findings_show_line_marker_and_fix() {
        let text = "FROM alpine:3.20 AS Build\nEXPOSE\t80/TCP\nRUNN x\n";
        let expected = "\
Dockerfile:1:21: warning[StageNameCasing]: Stage name 'Build' should be lowercase
   1 | FROM alpine:3.20 AS Build
     |                     ^^^^^
     = fix: write `build` instead of `Build`
Dockerfile:2:8: warning[ExposeProtoCasing]: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase
   2 | EXPOSE 80/TCP
     |        ^^^^^^
     = fix: write `80/tcp` instead of `80/TCP`
Dockerfile:3:1: error[UnknownInstruction]: unknown instruction: RUNN (did you mean RUN?)
   3 | RUNN x
     | ^^^^
1 error, 2 warnings; --fix puts 2 right
";
        assert_eq!(report(&[checked("Dockerfile", text)]), expected);
        assert_eq!(report(&[checked("Dockerfile", "FROM alpine:3.20\n")]), "");
    }

    #[test]
    fn several_lines_wide_characters_and_nothing_at_all_are_marked() {
        let text = "FROM alpine:3.20\nRUN 日本 \\\n\n  x\nWORKDIR a\\\n b\n";
        let told = report(&[checked("D", text)]);
        assert!(told.contains("   3 | \n     | ^\n     = fix: take the blank line out\n"), "{told}");
        assert!(told.contains("   5 | WORKDIR a\\\n     | ^^^^^^^^^^\n"), "{told}");
    }
}
