//! `.dockerignore`: which files of a context do not belong to it.
//!
//! Rules are Docker's: patterns of [`glob`](super::glob), one a line, `#` at the line's start is a comment, `!` takes a
//! file in again, the last match wins, and what stands for a folder stands for all that is in it.

use super::glob::{BadPattern, Pattern, clean};

/// The name of the file that holds the rules.
pub const FILE_NAME: &str = ".dockerignore";

/// The rules of an ignore file.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    rules: Vec<IgnoreRule>,
}

#[derive(Debug, Clone)]
struct IgnoreRule {
    pattern: Pattern,
    takes_in: bool,
}

/// A line of an ignore file that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse .dockerignore: line {line}: {pattern}: {source}")]
pub struct IgnoreError {
    /// The line, from 1.
    pub line: usize,
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub source: BadPattern,
}

impl IgnoreRules {
    /// Reads the text of an ignore file.
    ///
    /// # Errors
    /// [`IgnoreError`] names the line that is no pattern.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (takes_in, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            if line.is_empty() {
                continue;
            }
            let refuse = |source| IgnoreError { line: index + 1, pattern: line.to_owned(), source };
            if pattern.is_empty() {
                return Err(refuse(BadPattern));
            }
            let cleaned = clean(pattern);
            let cleaned = if cleaned.len() > 1 { cleaned.trim_start_matches('/') } else { cleaned.as_str() };
            rules.push(IgnoreRule { pattern: Pattern::ignore(cleaned).map_err(refuse)?, takes_in });
        }
        Ok(Self { rules })
    }

    /// Whether nothing is ignored.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether some rule takes files in again, so that an ignored folder still has to be looked into.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.takes_in)
    }

    /// Whether `path` (relative, slashes, no leading `./`) is left out: the last rule that matches it or a folder above
    /// it decides.
    pub fn ignores(&self, path: &str) -> bool {
        let mut ignored = false;
        for rule in &self.rules {
            // A rule that would change nothing needs no look.
            if rule.takes_in == ignored && covers(&rule.pattern, path) {
                ignored = !rule.takes_in;
            }
        }
        ignored
    }
}

/// Whether the pattern matches the path or one of the folders it lies in.
fn covers(pattern: &Pattern, path: &str) -> bool {
    pattern.matches(path) || path.match_indices('/').any(|(end, _)| pattern.matches(&path[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, ignored: &[&str], kept: &[&str]) {
        let parsed = IgnoreRules::parse(rules).unwrap();
        for path in ignored {
            assert!(parsed.ignores(path), "{rules:?} should leave out {path}");
        }
        for path in kept {
            assert!(!parsed.ignores(path), "{rules:?} should keep {path}");
        }
    }

    #[test]
    fn patterns_match_from_the_root_of_the_context() {
        check("*.log", &["a.log"], &["b/a.log", "alog"]);
        check("**/*.log", &["a.log", "b/c/a.log"], &["a.logs"]);
        check("/target/\n./dist", &["target", "target/x/y", "dist/a"], &["src/target", "targets"]);
        check("**", &["a", "a/b"], &[]);
        check("a/**", &["a/b", "a/b/c"], &["b", "ab"]);
        check("a/**/z", &["a/z", "a/b/c/z"], &["z"]);
        check("dir?/*", &["dir1/a"], &["dir/a"]);
        check("node_modules", &["node_modules/a/b.js"], &["x/node_modules/a"]);
        check("**/.git", &[".git", "a/.git/config"], &["git", "a.git"]);
        check("**foo", &["foo", "afoo", "a/bfoo/c"], &["foob"]);
        check("abc**", &["abc", "abcd/e"], &["ab"]);
        check("**/a*b**", &["ab", "x/axbc/d"], &["ba"]);
        check("a[^b]c", &["axc", "a/c"], &["abc"]);
        check("a\\*b", &["a*b"], &["axb"]);
        check("a.b+c(d){e}|$^", &["a.b+c(d){e}|$^"], &["axb+c(d){e}|$^"]);
        check("../x\n/\n.", &[], &["x"]);
    }

    #[test]
    fn the_last_match_wins() {
        check("*.md\n!README.md", &["a.md"], &["README.md"]);
        check("*.md\n!README*.md\nREADME-secret.md", &["README-secret.md", "x.md"], &["README.md"]);
        check("*\n!src", &["a", "b/c"], &["src", "src/main.rs"]);
        check("!a\n*", &["a", "b"], &[]);
    }

    #[test]
    fn comments_blanks_and_errors() {
        check("# a comment\n\n  spaced  \n", &["spaced"], &["# a comment"]);
        let error = IgnoreRules::parse("ok\n[a\n").unwrap_err();
        assert_eq!(error.to_string(), "failed to parse .dockerignore: line 2: [a: syntax error in pattern");
        assert!(IgnoreRules::parse("!").is_err());
    }
}
