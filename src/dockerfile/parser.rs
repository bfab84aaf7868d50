//! Puts instructions together to a Dockerfile: directives, the preamble before the first FROM, stages.

use super::Parsed;
use super::ast::{Body, Dockerfile, Instruction, LineRange, Span, Stage};
use super::diagnostic::{Diagnostic, Severity};
use super::directive::directives;
use super::instruction;
use super::lint;
use super::logical::{logical_lines, physical_lines};
use super::meant;

/// Parses the text of a Dockerfile. Never fails: what can't be understood is told in the diagnostics, and the rest is
/// read on.
///
/// # Examples
/// ```
/// let parsed = boxyard::dockerfile::parse("FROM debian\nRUNN true\nCMD [\"sh\"]\n");
/// assert_eq!(
///     parsed.first_error().unwrap().parse_error(),
///     "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"
/// );
/// assert_eq!(parsed.file.instructions.len(), 3);
/// ```
pub fn parse(text: &str) -> Parsed {
    let (mut parsed, notes) = read(text);
    lint::check(text, &parsed.file, &notes, &mut parsed.diagnostics);
    lint::sort(&mut parsed.diagnostics);
    parsed
}

/// As [`parse`], without lint: the diagnostics are the language's errors alone.
pub fn parse_without_lint(text: &str) -> Parsed {
    let (mut parsed, _) = read(text);
    lint::sort(&mut parsed.diagnostics);
    parsed
}

fn read(text: &str) -> (Parsed, lint::Notes) {
    let lines = physical_lines(text);
    let (directives, escape, mut diagnostics) = directives(&lines);
    let logical = logical_lines(text, &lines, escape);
    let mut instructions = Vec::with_capacity(logical.len());
    let mut notes = lint::Notes::default();
    for line in &logical {
        instructions.push(instruction::read(line, escape, &mut diagnostics));
        notes.blank_lines.extend(line.blank_line);
    }
    meant::explain_unknown(text, &instructions, escape, &mut diagnostics);
    let stages = stages(&instructions);
    refuse_strays(&instructions, &stages, &mut diagnostics);
    if instructions.is_empty() {
        diagnostics.push(Diagnostic {
            lines: LineRange::at(1),
            span: Span::default(),
            severity: Severity::Error,
            code: "EmptyDockerfile",
            message: "file with no instructions".to_owned(),
            expected: Some("FROM image".to_owned()),
            suggestion: None,
        });
    }
    let file = Dockerfile { directives, escape, instructions, stages, source: text.to_owned() };
    (Parsed { file, diagnostics }, notes)
}

fn stages(instructions: &[Instruction]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (index, instruction) in instructions.iter().enumerate() {
        // A FROM with an error still begins a stage: what follows belongs to it, not to the stage before.
        if instruction.keyword == "FROM" {
            let name = match &instruction.body {
                Body::From(base) => base.name.as_ref().map(|name| name.to_lowercase()),
                _ => None,
            };
            stages.push(Stage { index: stages.len(), name, instructions: index..index, lines: instruction.lines });
        }
        if let Some(stage) = stages.last_mut() {
            stage.instructions.end = index + 1;
            stage.lines.last = instruction.lines.last;
        }
    }
    stages
}

/// Before the first FROM only ARG may stand. The first that stands there all the same is told; what follows it has the
/// same reason.
fn refuse_strays(instructions: &[Instruction], stages: &[Stage], diagnostics: &mut Vec<Diagnostic>) {
    let end = stages.first().map_or(instructions.len(), |stage| stage.instructions.start);
    let is_unknown = |it: &Instruction| super::keyword::find(&it.keyword).is_none();
    // An unknown instruction was perhaps meant to be the FROM, and has its own error already.
    let mut before = instructions.iter().take(end).take_while(|it| !is_unknown(it));
    let stray = match before.find(|it| it.keyword != "ARG") {
        Some(stray) => Some(stray),
        None if stages.is_empty() && !instructions.iter().any(is_unknown) => instructions.last(),
        None => None,
    };
    if let Some(stray) = stray {
        let (message, expected) = match stages.first() {
            None => ("no build stage in current context: the file has no FROM", "FROM image"),
            Some(_) => ("no build stage in current context: only ARG may stand above the first FROM", "FROM image"),
        };
        diagnostics.push(Diagnostic {
            lines: stray.lines,
            span: stray.keyword_span,
            severity: Severity::Error,
            code: "NoBuildStage",
            message: message.to_owned(),
            expected: Some(expected.to_owned()),
            suggestion: None,
        });
    }
}
