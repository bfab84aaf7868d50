//! What all families of rules share: the file, where things stand in it, and how a finding is told.

use super::super::ast::{Body, Dockerfile, Instruction, LineRange, Span, Stage};
use super::super::diagnostic::{Diagnostic, Severity, Suggestion};
use super::check::Check;
use super::rule::{Rule, Tier};
use super::shell::Placed;

/// A lint in progress.
pub(super) struct Linter<'a> {
    pub text: &'a str,
    pub file: &'a Dockerfile,
    pub found: Vec<Diagnostic>,
    check: Check,
    refused: Option<String>,
    /// The first byte of every line.
    line_starts: Vec<usize>,
}

impl<'a> Linter<'a> {
    pub fn new(text: &'a str, file: &'a Dockerfile) -> Self {
        let (check, refused) = Check::read(file.directive("check").unwrap_or_default());
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(starts).collect();
        Self { text, file, found: Vec::new(), check, refused, line_starts }
    }

    /// Tells what is wrong with `# check=`.
    pub fn refuse_unknown_options(&mut self) {
        let directive = self.file.directives.iter().find(|directive| directive.name == "check");
        if let (Some(message), Some(directive)) = (self.refused.take(), directive) {
            self.found.push(Diagnostic {
                lines: LineRange::at(directive.line),
                span: directive.span,
                severity: Severity::Error,
                code: "InvalidCheck",
                message,
                expected: None,
                suggestion: None,
            });
        }
    }

    /// A finding about `span` of `instruction`.
    pub fn warn(&mut self, rule: &'static Rule, instruction: &Instruction, span: Span, message: impl Into<String>) {
        self.tell(rule, instruction.lines, span, message.into(), None);
    }

    /// A finding about `span` of `instruction`, and what to write in its place.
    pub fn correct(
        &mut self,
        rule: &'static Rule,
        instruction: &Instruction,
        span: Span,
        message: impl Into<String>,
        replacement: impl Into<String>,
    ) {
        let suggestion = Some(Suggestion { span, replacement: replacement.into() });
        self.tell(rule, instruction.lines, span, message.into(), suggestion);
    }

    /// A finding about `span` alone.
    pub fn advise(
        &mut self,
        rule: &'static Rule,
        span: Span,
        message: impl Into<String>,
        suggestion: Option<Suggestion>,
    ) {
        let lines = LineRange { first: self.line_of(span.start), last: self.line_of(span.end) };
        self.tell(rule, lines, span, message.into(), suggestion);
    }

    /// Tells a finding, where the rule is not switched off.
    pub fn tell(
        &mut self,
        rule: &'static Rule,
        lines: LineRange,
        span: Span,
        message: String,
        suggestion: Option<Suggestion>,
    ) {
        if !self.check.allows(rule) {
            return;
        }
        let severity = match rule.tier {
            Tier::Advice => Severity::Advice,
            _ if self.check.is_error => Severity::Error,
            _ => Severity::Warning,
        };
        self.found.push(Diagnostic { lines, span, severity, code: rule.name, message, expected: None, suggestion });
    }

    /// The line (from 1) of a byte.
    pub fn line_of(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= byte)
    }

    /// The bytes of a line (from 1), its line end included.
    pub fn line(&self, number: usize) -> Span {
        let start = self.line_starts.get(number.wrapping_sub(1)).copied().unwrap_or(self.text.len());
        Span::new(start, self.line_starts.get(number).copied().unwrap_or(self.text.len()))
    }

    /// The whole lines of an instruction.
    pub fn whole_lines(&self, instruction: &Instruction) -> Span {
        Span::new(self.line(instruction.lines.first).start, self.line(instruction.lines.last).end)
    }

    /// The keyword as it is written.
    pub fn written(&self, instruction: &Instruction) -> &'a str {
        instruction.keyword_span.of(self.text)
    }

    /// What follows keyword and flags, without heredocs.
    pub fn arguments(&self, instruction: &Instruction) -> Span {
        let flags = instruction.flags.iter().map(|flag| flag.span.end);
        let start = flags.fold(instruction.keyword_span.end, usize::max);
        let end = instruction.heredocs.first().map_or(instruction.span.end, |heredoc| heredoc.span.start).max(start);
        let text = Span::new(start, end).of(self.text);
        let lead = text.len() - text.trim_start().len();
        Span::new(start + lead, start + text.trim_end().len().max(lead))
    }

    /// [`Linter::arguments`] on one line, as the instruction's reader sees them.
    pub fn joined(&self, instruction: &Instruction) -> Placed {
        Placed::joined(self.text, self.arguments(instruction), self.file.escape.char())
    }

    /// The words between blanks of what follows keyword and flags.
    pub fn words(&self, instruction: &Instruction) -> Vec<Span> {
        let joined = self.joined(instruction);
        let is_blank = |at: usize| joined.chars.get(at).is_none_or(|(_, c)| c.is_whitespace());
        let starts = (0..joined.chars.len()).filter(|at| !is_blank(*at) && (*at == 0 || is_blank(at - 1)));
        starts.map(|start| joined.span(start, (start..).find(|at| is_blank(*at)).unwrap_or(start))).collect()
    }

    /// The first place of `needle` in what follows keyword and flags; all of that where it is not found.
    pub fn place_of(&self, instruction: &Instruction, needle: &str) -> Span {
        let arguments = self.arguments(instruction);
        match arguments.of(self.text).find(needle).filter(|_| !needle.is_empty()) {
            Some(at) => Span::new(arguments.start + at, arguments.start + at + needle.len()),
            None => arguments,
        }
    }

    /// The FROM of a stage.
    pub fn base_of(&self, stage: &Stage) -> Option<(&'a Instruction, &'a super::super::ast::Base)> {
        let from = self.file.instructions.get(stage.instructions.start)?;
        match &from.body {
            Body::From(base) => Some((from, base)),
            _ => None,
        }
    }

    /// The earlier stage that a stage is built on.
    pub fn parent(&self, stage: &Stage) -> Option<&'a Stage> {
        let image = &self.base_of(stage)?.1.image;
        let earlier = self.file.stages.get(..stage.index)?;
        earlier.iter().rev().find(|other| other.name.as_deref().is_some_and(|name| image.eq_ignore_ascii_case(name)))
    }

    /// The instructions of a stage after its FROM.
    pub fn steps(&self, stage: &Stage) -> &'a [Instruction] {
        self.file.instructions.get(stage.instructions.clone()).and_then(|all| all.get(1..)).unwrap_or_default()
    }
}
