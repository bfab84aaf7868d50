//! The Dockerfile language: parser, tree with places, word expansion, `.dockerignore`, lint and completion.
//!
//! Everything here is pure: the editor calls [`parse`] on every key stroke and the builder calls it once, so both see the
//! same instructions on the same lines and the same errors. Parsing never fails; it yields a tree and diagnostics.

mod ast;
mod diagnostic;
pub mod expand;

pub use ast::{
    ArgDeclaration, Base, Body, Command, Directive, Dockerfile, Flag, Healthcheck, Heredoc, Instruction, LineRange,
    Pair, Span, Stage, Transfer,
};
pub use diagnostic::{Diagnostic, Severity, Suggestion};

/// A parsed Dockerfile and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// The tree; instructions with errors are in it as [`Body::Invalid`].
    pub file: Dockerfile,
    /// Errors and lint warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// The first error, which is what a build refuses with.
    pub fn first_error(&self) -> Option<&Diagnostic> {
        self.diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Parses the text of a Dockerfile. Never fails: what can't be understood is told in the diagnostics.
pub fn parse(text: &str) -> Parsed {
    let _ = text;
    todo!("the parser")
}
