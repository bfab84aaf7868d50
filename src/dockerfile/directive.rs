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
        let Some((name, value)) = read(line.text) else { break };
        let span = Span::new(line.start, line.start + line.text.len());
        let mut refuse = |message: String| {
            diagnostics.push(Diagnostic {
                lines: LineRange::at(line.number),
                span,
                severity: Severity::Error,
                code: "InvalidDirective",
                message,
                suggestion: None,
            });
        };
        if found.iter().any(|directive| directive.name == name) {
            refuse(format!("only one {name} parser directive can be used"));
            continue;
        }
        match (name.as_str(), value) {
            ("escape", "\\") => escape = Escape::Backslash,
            ("escape", "`") => escape = Escape::Backtick,
            ("escape", other) => refuse(format!("invalid escape token '{other}' does not match ` or \\")),
            _ => {}
        }
        found.push(Directive { name, value: value.to_owned(), span, line: line.number });
    }
    (found, escape, diagnostics)
}

fn read(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let value = value.trim();
    (NAMES.contains(&name.as_str()) && !value.is_empty()).then_some((name, value))
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
        check("# colour=red\n# escape=`\n", &[], Escape::Backslash, 0);
        check("#escape=x\n", &["escape"], Escape::Backslash, 1);
        check("#escape=`\n#escape=`\n", &["escape"], Escape::Backtick, 1);
        check("#check=skip=JSONArgsRecommended;error=true\n", &["check"], Escape::Backslash, 0);
    }
}
