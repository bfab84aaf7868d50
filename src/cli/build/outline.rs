//! `build --call outline`: what a build can be given: the arguments, secrets and ssh agents of the target and of all stages
//! that it needs. Pure.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::call::Location;
use crate::dockerfile::expand::{Variables, expand};
use crate::dockerfile::mount::{Mount, MountKind};
use crate::dockerfile::{ArgDeclaration, Body, Dockerfile, Instruction, Stage};

/// What a build takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Outline {
    /// The target's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    /// What its comment says.
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Asked>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<Asked>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Argument {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    location: Location,
}

/// A secret or an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Asked {
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    location: Location,
}

/// The text behind `# NAME ` in the comments right above `line` (from 1).
pub fn comment_about(name: &str, line: usize, text: &str) -> String {
    let above: Vec<&str> = text.lines().take(line.saturating_sub(1)).collect();
    let comments = above.iter().rev().map_while(|line| line.trim_start().strip_prefix('#'));
    let about = comments.filter_map(|comment| comment.trim().strip_prefix(name)?.strip_prefix(' '));
    about.last().map(|words| words.trim().to_owned()).unwrap_or_default()
}

/// The target and what it needs.
///
/// # Errors
/// There is no such target.
pub fn outline(file: &Dockerfile, target: &str, given: &BTreeMap<String, String>) -> anyhow::Result<Outline> {
    let goal = match target {
        "" => file.stages.last(),
        target => stage_before(file, target, file.stages.len()),
    };
    let goal = goal.ok_or_else(|| anyhow::anyhow!("failed to reach build target {target} in Dockerfile"))?;
    let mut reading =
        Reading { file, given, globals: BTreeMap::new(), seen: BTreeSet::new(), outline: Outline::default() };
    reading.globals();
    reading.outline.name = goal.name.clone().unwrap_or_default();
    reading.outline.description = comment_about(&reading.outline.name, goal.lines.first, file.source());
    let mut wanted = vec![goal];
    while let Some(stage) = wanted.pop() {
        if reading.seen.insert(stage.index) {
            wanted.extend(reading.stage(stage));
        }
    }
    let Outline { args, secrets, ssh, .. } = &mut reading.outline;
    args.sort_by_key(|argument| argument.location.line());
    [secrets, ssh].into_iter().for_each(|asked| asked.sort_by_key(|asked| asked.location.line()));
    Ok(reading.outline)
}

/// The stage that FROM means, where a number may be an image's name.
fn stage_named<'a>(file: &'a Dockerfile, name: &str, before: usize) -> Option<&'a Stage> {
    let lower = name.to_lowercase();
    file.stages.iter().take(before).rev().find(|stage| stage.name.as_deref() == Some(lower.as_str()))
}

/// The stage that `--from` or `--target` means.
fn stage_before<'a>(file: &'a Dockerfile, name: &str, before: usize) -> Option<&'a Stage> {
    let by_number = || file.stages.get(name.parse::<usize>().ok().filter(|index| *index < before)?);
    stage_named(file, name, before).or_else(by_number)
}

/// A global ARG.
struct Global<'a> {
    value: Option<String>,
    instruction: &'a Instruction,
    /// Other global ones in its default.
    uses: BTreeSet<String>,
}

struct Reading<'a> {
    file: &'a Dockerfile,
    given: &'a BTreeMap<String, String>,
    globals: BTreeMap<String, Global<'a>>,
    seen: BTreeSet<usize>,
    outline: Outline,
}

/// Values, and which of them were asked for.
struct Watched<'a> {
    values: &'a BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl Variables for Watched<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.values.get(name).map(String::as_str)
    }
}

impl<'a> Reading<'a> {
    /// A word with its variables replaced, as far as they are known, and their names.
    fn expanded(&self, word: &str, values: &BTreeMap<String, String>) -> (String, BTreeSet<String>) {
        let watched = Watched { values, asked: RefCell::default() };
        let text = expand(word, &watched, self.file.escape).map_or_else(|_| word.to_owned(), |expanded| expanded.text);
        (text, watched.asked.into_inner())
    }

    fn global_values(&self) -> BTreeMap<String, String> {
        self.globals.iter().filter_map(|(name, global)| Some((name.clone(), global.value.clone()?))).collect()
    }

    fn globals(&mut self) {
        for instruction in self.file.preamble() {
            let Body::Arg(declarations) = &instruction.body else { continue };
            for ArgDeclaration { name, default } in declarations {
                let (default, uses) = match default {
                    Some(default) => {
                        let (text, uses) = self.expanded(default, &self.global_values());
                        (Some(text), uses)
                    }
                    None => (None, BTreeSet::new()),
                };
                let value = self.given.get(name).cloned().or(default);
                self.globals.insert(name.clone(), Global { value, instruction, uses });
            }
        }
    }

    /// Notes what the stage takes, and gives the stages it needs.
    fn stage(&mut self, stage: &Stage) -> Vec<&'a Stage> {
        let file = self.file;
        let globals = self.global_values();
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        let mut needs = Vec::new();
        for instruction in file.stage_instructions(stage) {
            match &instruction.body {
                Body::From(base) => {
                    let (image, mut uses) = self.expanded(&base.image, &globals);
                    uses.extend(base.platform.iter().flat_map(|platform| self.expanded(platform, &globals).1));
                    self.uses_globals(uses);
                    needs.extend(stage_named(file, &image, stage.index));
                }
                Body::Arg(declarations) => self.declared(instruction, declarations, &globals, &mut values),
                Body::Env(pairs) => {
                    for pair in pairs {
                        let value = self.expanded(&pair.value, &values).0;
                        values.insert(pair.key.clone(), value);
                    }
                }
                _ => {}
            }
            let copied = instruction.flag("from").map(|from| self.expanded(from, &values).0);
            let mounts = self.mounts(instruction, &values);
            let mounted = mounts.into_iter().filter_map(|mount| mount.from);
            needs.extend(copied.into_iter().chain(mounted).filter_map(|from| stage_before(file, &from, stage.index)));
        }
        needs
    }

    fn uses_globals(&mut self, names: BTreeSet<String>) {
        let mut wanted: Vec<String> = names.into_iter().collect();
        while let Some(name) = wanted.pop() {
            let Some(global) = self.globals.get(&name) else { continue };
            if self.outline.args.iter().any(|known| known.name == name) {
                continue;
            }
            wanted.extend(global.uses.iter().cloned());
            let (value, instruction) = (global.value.clone(), global.instruction);
            self.note(instruction, &name, value);
        }
    }

    fn declared(
        &mut self,
        instruction: &Instruction,
        declarations: &[ArgDeclaration],
        globals: &BTreeMap<String, String>,
        values: &mut BTreeMap<String, String>,
    ) {
        for ArgDeclaration { name, default } in declarations {
            let default = default.as_ref().map(|default| self.expanded(default, values).0);
            let value = self.given.get(name).cloned().or(default).or_else(|| globals.get(name).cloned());
            if let Some(value) = &value {
                values.insert(name.clone(), value.clone());
            }
            if !self.outline.args.iter().any(|known| known.name == *name) {
                self.note(instruction, name, value);
            }
        }
    }

    fn note(&mut self, instruction: &Instruction, name: &str, value: Option<String>) {
        let description = comment_about(name, instruction.lines.first, self.file.source());
        let (name, value) = (name.to_owned(), value.unwrap_or_default());
        self.outline.args.push(Argument { name, description, value, location: instruction.lines.into() });
    }

    /// The mounts of an instruction; its secrets and agents are noted.
    fn mounts(&mut self, instruction: &Instruction, values: &BTreeMap<String, String>) -> Vec<Mount> {
        let read = |text: &str| Mount::read(text, &|word| Ok(self.expanded(word, values).0)).ok();
        let mounts: Vec<Mount> =
            instruction.flags_named("mount").filter_map(|flag| read(flag.value.as_deref()?)).collect();
        for mount in &mounts {
            let asked = match mount.kind {
                MountKind::Secret => &mut self.outline.secrets,
                MountKind::Ssh => &mut self.outline.ssh,
                _ => continue,
            };
            let name = mount.client_id().unwrap_or("default");
            match asked.iter_mut().find(|known| known.name == name) {
                Some(known) => known.required |= mount.required,
                None => {
                    let (name, required) = (name.to_owned(), mount.required);
                    asked.push(Asked { name, required, location: instruction.lines.into() });
                }
            }
        }
        mounts
    }
}

impl Outline {
    /// As buildx shows it.
    pub fn table(&self) -> String {
        let mut said = String::new();
        let name = if self.name.is_empty() { "(default)" } else { &self.name };
        let mut head = vec![vec!["TARGET:", name]];
        if !self.description.is_empty() {
            head.push(vec!["DESCRIPTION:", &self.description]);
        }
        said.push_str(&columns(&head));
        if !self.args.is_empty() {
            let rows = self.args.iter().map(|it| vec![it.name.as_str(), &it.value, &it.description]);
            said.push('\n');
            said.push_str(&columns(
                &[vec!["BUILD ARG", "VALUE", "DESCRIPTION"]].into_iter().chain(rows).collect::<Vec<_>>(),
            ));
        }
        for (title, asked) in [("SECRET", &self.secrets), ("SSH", &self.ssh)] {
            if !asked.is_empty() {
                let rows = asked.iter().map(|it| vec![it.name.as_str(), if it.required { "true" } else { "" }]);
                said.push('\n');
                said.push_str(&columns(&[vec![title, "REQUIRED"]].into_iter().chain(rows).collect::<Vec<_>>()));
            }
        }
        said
    }
}

/// Rows of cells under each other, three blanks apart.
pub fn columns(rows: &[Vec<&str>]) -> String {
    let wide =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let mut said = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(at, cell)| format!("{cell:<width$}", width = wide(at) + 3));
        said.push_str(cells.collect::<String>().trim_end());
        said.push('\n');
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    const TEXT: &str = "\
# GO version of the compiler
ARG GO=1.22
ARG UNUSED=1
ARG IMAGE=golang:$GO
FROM scratch AS other
ARG OTHER
# build compiles all of it
FROM $IMAGE AS build
# TAGS what is compiled in
ARG TAGS=\"a b\" EMPTY
ARG GO
ARG ID=token
RUN --mount=type=secret,id=$ID,required=true --mount=type=ssh make
FROM scratch
COPY --from=build /x /x
RUN --mount=type=secret,id=late true
";

    fn of(target: &str, given: &[(&str, &str)]) -> String {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        outline(&parse(TEXT).file, target, &given).map_or_else(|error| error.to_string(), |it| it.table())
    }

    #[test]
    fn all_that_the_target_needs_is_told_in_the_order_of_the_text() {
        assert_eq!(
            of("", &[("TAGS", "mine")]),
            "TARGET:   (default)\n\n\
             BUILD ARG   VALUE         DESCRIPTION\n\
             GO          1.22          version of the compiler\n\
             IMAGE       golang:1.22\n\
             TAGS        mine          what is compiled in\n\
             EMPTY\n\
             ID          token\n\n\
             SECRET   REQUIRED\ntoken    true\nlate\n\n\
             SSH       REQUIRED\ndefault\n"
        );
        assert!(of("build", &[]).starts_with("TARGET:        build\nDESCRIPTION:   compiles all of it\n\nBUILD ARG"));
        assert_eq!(of("other", &[]), "TARGET:   other\n\nBUILD ARG   VALUE   DESCRIPTION\nOTHER\n");
        assert_eq!(of("none", &[]), "failed to reach build target none in Dockerfile");
    }

    #[test]
    fn json_has_buildkits_names() {
        let outline = outline(&parse(TEXT).file, "build", &BTreeMap::new()).unwrap();
        let json = serde_json::to_value(&outline).unwrap();
        let expected = serde_json::json!({
            "name": "TAGS", "description": "what is compiled in", "value": "a b",
            "location": { "ranges": [{ "start": { "line": 10 }, "end": { "line": 10 } }] },
        });
        assert_eq!(json["args"][2], expected, "{json}");
        assert_eq!((&json["name"], &json["secrets"][0]["required"]), (&"build".into(), &true.into()));
    }
}
