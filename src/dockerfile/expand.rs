//! Replaces variables in a word, as BuildKit's shell lexer does.

/// The character that takes the meaning from the next one: a backslash, or a backtick by `# escape=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Escape {
    /// `\`
    #[default]
    Backslash,
    /// `` ` ``
    Backtick,
}

impl Escape {
    /// The character itself.
    pub fn char(self) -> char {
        match self {
            Escape::Backslash => '\\',
            Escape::Backtick => '`',
        }
    }
}
