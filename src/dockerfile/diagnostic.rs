//! What is wrong, or better written otherwise, and where.

use super::ast::{LineRange, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It builds, and could be better. Only the editor and `boxyard lint` tell it.
    Advice,
    /// It builds, but should be written otherwise.
    Warning,
    /// It does not build.
    Error,
}

/// A finding about a place in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The lines it is about, from 1.
    pub lines: LineRange,
    /// The bytes it is about.
    pub span: Span,
    /// How bad it is.
    pub severity: Severity,
    /// Its stable name: a lint rule (`JSONArgsRecommended`), or what kind of error (`UnknownInstruction`).
    pub code: &'static str,
    /// What is the matter, in Docker's words where Docker has words for it.
    pub message: String,
    /// What should stand there instead, for errors: how the instruction is written, or which words are known.
    pub expected: Option<String>,
    /// What would put it right, where that is known.
    pub suggestion: Option<Suggestion>,
}

impl Diagnostic {
    /// The message as one line for a person; an error's with the word that was meant.
    pub fn sentence(&self) -> String {
        match &self.suggestion {
            // The line that ends a heredoc is named already.
            Some(_) if self.code == "UnterminatedHeredoc" => self.message.clone(),
            Some(suggestion) if self.severity == Severity::Error && super::rule(self.code).is_none() => {
                format!("{} (did you mean {}?)", self.message, suggestion.replacement)
            }
            _ => self.message.clone(),
        }
    }

    /// Docker's words for a Dockerfile that does not parse, with the advice.
    pub fn parse_error(&self) -> String {
        format!("dockerfile parse error on line {}: {}", self.lines.first, self.sentence())
    }
}

/// A replacement of some bytes that would put it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// Which bytes to replace.
    pub span: Span,
    /// By what.
    pub replacement: String,
}

impl Suggestion {
    /// What it does to `text`, for a person: one line without a full stop.
    pub fn told(&self, text: &str) -> String {
        let shown = |text: &str| {
            let mut lines = text.trim().lines();
            let first = lines.next().unwrap_or_default().trim_end();
            if lines.next().is_some() { format!("`{first} …`") } else { format!("`{first}`") }
        };
        let old = self.span.of(text);
        match (old.trim().is_empty(), self.replacement.trim().is_empty()) {
            (true, true) => "take the blank line out".to_owned(),
            (true, false) => format!("insert {}", shown(&self.replacement)),
            (false, true) => format!("take {} out", shown(old)),
            (false, false) => format!("write {} instead of {}", shown(&self.replacement), shown(old)),
        }
    }
}
