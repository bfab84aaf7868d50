//! The formatter: one layout for all Dockerfiles, and never another meaning.
//!
//! Keywords are in upper case, words have one blank between them, continued lines are indented (what was deeper stays
//! deeper), blank lines inside of instructions go, runs of them outside become one, blanks at line ends go, the last
//! line ends. Comments stay. Heredocs, quoted text and what stands between blanks inside of a shell command are nobody's
//! layout and are left alone. After laying out, the result is read again; should it not mean the same, the text stays
//! as it was.

mod diff;
mod layout;
mod meaning;
mod shell;

#[cfg(test)]
mod tests;

use super::{Diagnostic, parse_without_lint};

pub use diff::unified_diff;
pub use meaning::same_meaning;

/// How it shall look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// By how many blanks continued lines are indented.
    pub indent: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { indent: 4 }
    }
}

/// The text in the one layout.
///
/// # Errors
/// The first syntax error: what can't be read is not laid out.
///
/// # Examples
/// ```
/// use boxyard::dockerfile::fmt::{Style, format};
///
/// let text = "from  debian as base\nrun apt-get update && \\\n apt-get install -y curl\n\n\n\ncmd [ \"sh\",\"-l\" ]";
/// assert_eq!(
///     format(text, Style::default()).unwrap(),
///     "FROM debian AS base\nRUN apt-get update && \\\n    apt-get install -y curl\n\nCMD [\"sh\", \"-l\"]\n"
/// );
/// ```
pub fn format(text: &str, style: Style) -> Result<String, Box<Diagnostic>> {
    let parsed = parse_without_lint(text);
    if let Some(error) = parsed.diagnostics.first() {
        return Err(Box::new(error.clone()));
    }
    let laid_out = layout::lay_out(&parsed.file, style);
    let again = parse_without_lint(&laid_out);
    if !again.diagnostics.is_empty() || !same_meaning(&parsed.file, &again.file) {
        return Ok(text.to_owned());
    }
    Ok(laid_out)
}
