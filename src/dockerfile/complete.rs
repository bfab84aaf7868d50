//! What could stand at the cursor: instructions, flags, stages, variables.

use super::ast::Dockerfile;
use super::keyword::{self, KEYWORDS};
use super::mount::{self, MountKind, Sharing};
use super::scope::{Origin, Scope};

/// Something that could stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What to insert in place of the typed part.
    pub insert: String,
    /// One line about it.
    pub help: String,
}

/// What could stand at `column` (bytes) of `line`, the text of that line; `file` knows stages and variables. The first
/// value is how many bytes before the cursor the insertion replaces.
pub fn complete(file: &Dockerfile, line_number: usize, line: &str, column: usize) -> (usize, Vec<Completion>) {
    let before = line.get(..column).unwrap_or(line);
    let continues = file.at_line(line_number).is_some_and(|instruction| instruction.lines.first < line_number);
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_first = before.trim_start() == word && !continues;
    if is_first {
        return (word.len(), keywords(word));
    }
    if let Some((at, name)) = variable_at(word) {
        return (word.len() - at, variables(file, line_number, name));
    }
    let keyword = before.split_whitespace().next().unwrap_or_default();
    if let Some(flag) = word.strip_prefix("--") {
        return match flag.split_once('=') {
            Some(("from", stage)) => (stage.len(), stages(file, line_number, stage)),
            Some(("mount", typed)) => mount(typed),
            Some((flag, typed)) => (typed.len(), values(keyword, flag, typed)),
            None => (word.len(), flags(keyword, flag)),
        };
    }
    if keyword.eq_ignore_ascii_case("FROM") {
        return (word.len(), stages(file, line_number, word));
    }
    if keyword.eq_ignore_ascii_case("ARG") && !word.contains('=') {
        return (word.len(), globals(file, line_number, word));
    }
    (0, Vec::new())
}

fn keywords(typed: &str) -> Vec<Completion> {
    let lower = typed.chars().any(char::is_lowercase);
    KEYWORDS
        .iter()
        .filter(|keyword| keyword.name.starts_with(&typed.to_ascii_uppercase()))
        .map(|keyword| Completion {
            insert: if lower { keyword.name.to_ascii_lowercase() } else { keyword.name.to_owned() },
            help: keyword.help.to_owned(),
        })
        .collect()
}

fn flags(keyword: &str, typed: &str) -> Vec<Completion> {
    let known = keyword::find(keyword).map(|keyword| keyword.flags).unwrap_or_default();
    known
        .iter()
        .filter(|flag| flag.name.starts_with(typed))
        .map(|flag| {
            let equals = if flag.takes == keyword::Takes::Switch { "" } else { "=" };
            Completion { insert: format!("--{}{equals}", flag.name), help: flag.help.to_owned() }
        })
        .collect()
}

fn values(keyword: &str, flag: &str, typed: &str) -> Vec<Completion> {
    let known: &[&str] = match (keyword.to_ascii_uppercase().as_str(), flag) {
        ("RUN", "network") => &["default", "host", "none"],
        ("RUN", "security") => &["insecure", "sandbox"],
        ("FROM", "platform") => &["$BUILDPLATFORM", "$TARGETPLATFORM", "linux/amd64", "linux/arm64"],
        _ => &[],
    };
    let fitting = known.iter().filter(|word| word.starts_with(typed));
    fitting.map(|word| Completion { insert: (*word).to_owned(), help: format!("a value of --{flag}") }).collect()
}

fn stages(file: &Dockerfile, line: usize, typed: &str) -> Vec<Completion> {
    file.stages
        .iter()
        .filter(|stage| stage.lines.last < line || stage.lines.first < line && !stage.lines.contains(line))
        .filter_map(|stage| stage.name.as_ref())
        .filter(|name| name.starts_with(&typed.to_lowercase()))
        .map(|name| Completion { insert: name.clone(), help: "a stage of this file".to_owned() })
        .collect()
}

/// Where in the word an unfinished variable begins, and its typed name.
fn variable_at(word: &str) -> Option<(usize, &str)> {
    let at = word.rfind('$')?;
    let name = word.get(at + 1..)?;
    let name = name.strip_prefix('{').unwrap_or(name);
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some((word.len() - name.len(), name))
}

fn variables(file: &Dockerfile, line: usize, typed: &str) -> Vec<Completion> {
    let names = Scope::at(file, line).names.into_iter();
    names
        .filter(|(name, _)| name.starts_with(typed))
        .map(|(insert, origin)| Completion { insert, help: origin.help().to_owned() })
        .collect()
}

/// What an ARG of a stage can bring in: global arguments and what tells the platforms.
fn globals(file: &Dockerfile, line: usize, typed: &str) -> Vec<Completion> {
    let is_in_stage = file.stages.iter().any(|stage| stage.lines.first < line);
    let names = Scope::global(file, line).names.into_iter().filter(|_| is_in_stage);
    names
        .filter(|(name, _)| name.starts_with(typed))
        .map(|(insert, origin)| Completion { insert, help: origin.help().to_owned() })
        .collect()
}

impl Origin {
    fn help(self) -> &'static str {
        match self {
            Self::Platform => "tells a platform of the build",
            Self::Global => "an argument from before the first FROM",
            Self::Argument => "a build argument",
            Self::Environment => "an environment variable",
        }
    }
}

/// The keys, types and sharings of a `--mount`.
fn mount(typed: &str) -> (usize, Vec<Completion>) {
    let field = typed.rsplit(',').next().unwrap_or_default();
    let words: Vec<(String, &str)> = match field.split_once('=') {
        Some(("type", _)) => MountKind::names().map(|name| (name.to_owned(), "a type of mount")).collect(),
        Some(("sharing", _)) => Sharing::names().map(|name| (name.to_owned(), "who may use it at a time")).collect(),
        Some(_) => Vec::new(),
        None => mount::KEYS.iter().map(|key| (format!("{key}="), "a key of a mount")).collect(),
    };
    let typed = field.split_once('=').map_or(field, |(_, value)| value);
    let fitting = words.into_iter().filter(|(word, _)| word.starts_with(typed));
    (typed.len(), fitting.map(|(insert, help)| Completion { insert, help: help.to_owned() }).collect())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// Completes at the `|` in the text.
    fn at_bar(text: &str) -> (usize, Vec<String>) {
        let at = text.find('|').unwrap();
        let text = text.replacen('|', "", 1);
        let line_number = text[..at].matches('\n').count() + 1;
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default().to_owned();
        let (typed, found) = complete(&parse(&text).file, line_number, &line, at - start);
        (typed, found.into_iter().map(|completion| completion.insert).collect())
    }

    #[test]
    fn instructions_flags_stages_and_variables() {
        assert_eq!(at_bar("FROM a\nEN|"), (2, vec!["ENTRYPOINT".to_owned(), "ENV".to_owned()]));
        assert_eq!(at_bar("FROM a\nco|"), (2, vec!["copy".to_owned()]));
        assert_eq!(at_bar("FROM a\nCOPY --ch|"), (4, vec!["--chown=".to_owned(), "--chmod=".to_owned()]));
        assert_eq!(at_bar("FROM a AS build\nFROM b\nCOPY --from=b|"), (1, vec!["build".to_owned()]));
        assert_eq!(at_bar("FROM a AS build\nFROM bu|"), (2, vec!["build".to_owned()]));
        assert_eq!(
            at_bar("FROM a\nENV HOST=x HOME=y\nRUN echo ${HO|}"),
            (2, vec!["HOME".to_owned(), "HOST".to_owned()])
        );
        assert_eq!(at_bar("ARG VERSION=1\nFROM a\nARG VER|"), (3, vec!["VERSION".to_owned()]));
        assert_eq!(at_bar("FROM a\nARG TARGETA|"), (7, vec!["TARGETARCH".to_owned()]));
        assert_eq!(at_bar("FROM a\nRUN --mount=type=ca|"), (2, vec!["cache".to_owned()]));
        assert_eq!(at_bar("FROM a\nRUN --mount=type=cache,sha|"), (3, vec!["sharing=".to_owned()]));
        assert_eq!(at_bar("FROM a\nRUN --network=h|"), (1, vec!["host".to_owned()]));
        assert_eq!(at_bar("FROM a\nRUN x \\\n  EN|").1, Vec::<String>::new());
    }
}
