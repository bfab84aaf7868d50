//! The parser directives at the top of a Dockerfile: `# syntax=`, `# escape=`, `# check=`.
//!
//! They end at the first line that is none: any other comment, a blank line, an unknown name.

use super::ast::{Directive, LineRange, Span};
use super::diagnostic::{Diagnostic, Severity};
use super::expand::Escape;
use super::logical::Physical;

const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// The directives, the escape character in force, and what is wrong with them.
pub(super) fn directives(lines: &[Physical<'_>]) -> (Vec<Directive>, Escape, Vec<Diagnostic>) {
    let mut found: Vec<Directive> = Vec::new();
    let mut escape = Escape::default();
    let mut diagnostics = Vec::new();
    for line in lines {
        let Some((name, name_span, value_span)) = read(line) else { break };
        let value = line.text.get(value_span.start - line.start..value_span.end - line.start).unwrap_or_default();
        let span = Span::new(line.start, line.start + line.text.len());
        let mut refuse = |span: Span, message: String, expected: &str| {
            diagnostics.push(Diagnostic {
                lines: LineRange::at(line.number),
                span,
                severity: Severity::Error,
                code: "InvalidDirective",
                message,
                expected: Some(expected.to_owned()),
                suggestion: None,
            });
        };
        if found.iter().any(|directive| directive.name == name) {
            refuse(span, format!("only one {name} parser directive can be used"), "each directive once");
            continue;
        }
        match (name.as_str(), value) {
            ("escape", "\\") => escape = Escape::Backslash,
            ("escape", "`") => escape = Escape::Backtick,
            ("escape", other) => {
                refuse(value_span, format!("invalid escape token '{other}' does not match ` or \\"), "` or \\");
            }
            _ => {}
        }
        found.push(Directive { name, value: value.to_owned(), span, name_span, value_span, line: line.number });
    }
    (found, escape, diagnostics)
}

/// Whether a comment would be a directive if it stood at the top.
pub(super) fn is_directive(comment: &str) -> bool {
    read(&Physical { number: 1, start: 0, text: comment, next: comment.len() }).is_some()
}

/// The directive on a line: its name in lower case, where the name and where the value stands. The `#` must be the
/// line's first character, and the name a letter and then letters and digits.
fn read(line: &Physical<'_>) -> Option<(String, Span, Span)> {
    let (before, after) = line.text.strip_prefix('#')?.split_once('=')?;
    let name = before.trim();
    let value = after.trim();
    let lower = name.to_ascii_lowercase();
    if !NAMES.contains(&lower.as_str()) || value.is_empty() {
        return None;
    }
    let name_start = line.start + 1 + (before.len() - before.trim_start().len());
    let value_start = line.start + 2 + before.len() + (after.len() - after.trim_start().len());
    let name_span = Span::new(name_start, name_start + name.len());
    Some((lower, name_span, Span::new(value_start, value_start + value.len())))
}

/// The frontend that a build file asks for by `# syntax=`, whatever language the file is in: the directive may also
/// stand behind `//`, or be a member of a JSON object, and a first line that begins with `#!` does not count.
///
/// # Examples
/// ```
/// use boxyard::dockerfile::detect_syntax;
///
/// assert_eq!(detect_syntax("# syntax=docker/dockerfile:1\nFROM a\n").as_deref(), Some("docker/dockerfile:1"));
/// assert_eq!(detect_syntax("#!/usr/bin/env x\n// syntax = example/front\n").as_deref(), Some("example/front"));
/// assert_eq!(detect_syntax(r#"{"syntax": "example/json"}"#).as_deref(), Some("example/json"));
/// ```
pub fn detect_syntax(text: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}');
    let text = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => rest,
        _ => text,
    };
    let commented = |mark: &str| {
        let lines = text.lines().map_while(|line| {
            let (name, value) = line.strip_prefix(mark)?.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            (NAMES.contains(&name.as_str()) && !value.trim().is_empty()).then(|| (name, value.trim().to_owned()))
        });
        lines.into_iter().find(|(name, _)| name == "syntax").map(|(_, value)| value)
    };
    let found = commented("#").or_else(|| commented("//")).or_else(|| {
        let json: serde_json::Value = serde_json::from_str(text).ok()?;
        json.get("syntax")?.as_str().map(str::to_owned)
    })?;
    found.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::logical::physical_lines;
    use super::*;

    fn check(text: &str, names: &[&str], escape: Escape, errors: usize) {
        let (found, found_escape, diagnostics) = directives(&physical_lines(text));
        assert_eq!(found.iter().map(|directive| directive.name.as_str()).collect::<Vec<_>>(), names, "{text}");
        assert_eq!((found_escape, diagnostics.len()), (escape, errors), "{text}");
    }

    #[test]
    fn directives_stand_at_the_top() {
        check("# syntax=docker/dockerfile:1\n# ESCAPE = `\nFROM a", &["syntax", "escape"], Escape::Backtick, 0);
        check("# about\n# escape=`\n", &[], Escape::Backslash, 0);
        check("\n# escape=`\n", &[], Escape::Backslash, 0);
        check(" # escape=`\n", &[], Escape::Backslash, 0);
        check("\u{feff}#  Escape =  `  \r\n", &["escape"], Escape::Backtick, 0);
        check("# colour=red\n# escape=`\n", &[], Escape::Backslash, 0);
        check("#escape=x\n", &["escape"], Escape::Backslash, 1);
        check("#escape=`\n#escape=`\n", &["escape"], Escape::Backtick, 1);
        check("#check=skip=JSONArgsRecommended;error=true\n", &["check"], Escape::Backslash, 0);
    }
}
