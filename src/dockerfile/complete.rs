//! What could stand at the cursor: instructions, flags, stages, variables.

use super::ast::{Body, Dockerfile, Instruction};
use super::keyword::{self, KEYWORDS};

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
        return match flag.strip_prefix("from=") {
            Some(stage) => (stage.len(), stages(file, line_number, stage)),
            None => (word.len(), flags(keyword, flag)),
        };
    }
    if keyword.eq_ignore_ascii_case("FROM") {
        return (word.len(), stages(file, line_number, word));
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
    let mut names: Vec<(String, &str)> = Vec::new();
    let stage = file.stages.iter().rev().find(|stage| stage.lines.first <= line);
    let visible: Vec<&Instruction> = match stage {
        Some(stage) => file.stage_instructions(stage).iter().filter(|it| it.lines.last < line).collect(),
        None => file.preamble().iter().collect(),
    };
    for instruction in visible {
        match &instruction.body {
            Body::Arg(declarations) => {
                names.extend(declarations.iter().map(|it| (it.name.clone(), "a build argument")));
            }
            Body::Env(pairs) => names.extend(pairs.iter().map(|it| (it.key.clone(), "an environment variable"))),
            _ => {}
        }
    }
    names.sort();
    names.dedup_by(|a, b| a.0 == b.0);
    names
        .into_iter()
        .filter(|(name, _)| name.starts_with(typed))
        .map(|(insert, help)| Completion { insert, help: help.to_owned() })
        .collect()
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
        assert_eq!(at_bar("FROM a\nRUN x \\\n  EN|").1, Vec::<String>::new());
    }
}
