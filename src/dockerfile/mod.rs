//! The Dockerfile language: parser, tree with places, word expansion, `.dockerignore`, lint and completion.
//!
//! Everything here is pure: the editor calls [`parse`] on every key stroke and the builder calls it once, so both see the
//! same instructions on the same lines and the same errors. Parsing never fails; it yields a tree and diagnostics.

mod ast;
mod body;
pub mod chmod;
pub mod complete;
mod diagnostic;
mod directive;
mod duration;
pub mod expand;
mod flag_values;
pub mod fmt;
pub mod glob;
mod healthcheck;
mod heredoc;
pub mod ignore;
mod instruction;
pub mod keyword;
mod lint;
mod logical;
mod meant;
pub mod mount;
mod parser;
mod pieces;
mod predefined;
pub mod scope;
mod shell_pattern;
pub mod size;
mod suggest;
mod words;

#[cfg(test)]
mod tests;

pub use ast::{
    ArgDeclaration, Base, Body, Command, Directive, Dockerfile, Flag, Healthcheck, Heredoc, Instruction, LineRange,
    Pair, Part, Role, Span, Stage, Transfer,
};
pub use diagnostic::{Diagnostic, Severity, Suggestion};
pub use directive::detect_syntax;
pub use lint::{
    Fix, Fixed, PlatformOf, Rule, Surroundings, Tier, VariablesOf, fix, lint, page as lint_page, rule, rules, unmarked,
};
pub use parser::{parse, parse_without_lint};
pub use pieces::{Piece, PieceKind};
pub use predefined::{BUILDER_ARGS, PLATFORM_ARGS, PROXY_ARGS};
pub use suggest::nearest;

/// A parsed Dockerfile and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// The tree; instructions with errors are in it as [`Body::Invalid`].
    pub file: Dockerfile,
    /// Errors and lint findings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// The first error, which is what a build refuses with. Warnings that `# check=error=true` makes errors are not among
    /// them: [`Parsed::lint_violation`] has those.
    pub fn first_error(&self) -> Option<&Diagnostic> {
        let mut errors = self.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        errors.find(|found| !lint::is_buildkits(found.code))
    }

    /// What BuildKit's checks say, which builds tell; advice is not among it.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|found| found.severity > Severity::Advice && lint::is_buildkits(found.code))
    }
}
