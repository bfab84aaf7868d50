//! Which variables an instruction sees, and where each comes from.
//!
//! ARGs before the first FROM are global: FROM sees them, a stage only after an ARG of its own names them. A stage has
//! what the stage it stands on had at its end. ENV wins over ARG. What a base image sets can't be known here.

use std::collections::BTreeMap;

use super::ast::{Body, Dockerfile, Instruction, Stage};
use super::predefined::PLATFORM_ARGS;

/// Where a variable comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// It tells a platform.
    Platform,
    /// An ARG before the first FROM.
    Global,
    /// An ARG of the stage, or of one below it.
    Argument,
    /// An ENV.
    Environment,
}

/// The variables an instruction sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Their names, and where they come from.
    pub names: BTreeMap<String, Origin>,
    /// Whether these are all: the stage stands on `scratch` and not on an image that may set others.
    pub is_complete: bool,
}

impl Scope {
    /// What FROM sees, and ARG before the first FROM: the platforms and the global ARGs above `line` (from 1).
    pub fn global(file: &Dockerfile, line: usize) -> Self {
        let mut scope = Self { names: BTreeMap::new(), is_complete: true };
        scope.names.extend(PLATFORM_ARGS.iter().map(|name| ((*name).to_owned(), Origin::Platform)));
        for instruction in file.preamble().iter().filter(|it| it.lines.last < line) {
            scope.declare(instruction, Origin::Global);
        }
        scope
    }

    /// What is seen on `line` (from 1).
    ///
    /// # Examples
    /// ```
    /// use boxyard::dockerfile::{parse, scope::{Origin, Scope}};
    ///
    /// let file = parse("ARG tag=1\nFROM debian:$tag AS base\nENV home=/x\nFROM base\nARG tag\nRUN true\n").file;
    /// let names: Vec<_> = Scope::at(&file, 6).names.into_keys().collect();
    /// assert_eq!(names, ["home", "tag"]);
    /// assert_eq!(Scope::at(&file, 2).names.get("tag"), Some(&Origin::Global));
    /// ```
    pub fn at(file: &Dockerfile, line: usize) -> Self {
        let stage = file.stages.iter().rev().find(|stage| stage.lines.first <= line);
        let is_from =
            |stage: &Stage| file.stage_instructions(stage).first().is_some_and(|from| from.lines.contains(line));
        match stage {
            None => Self::global(file, line),
            Some(stage) if is_from(stage) => Self::global(file, line),
            Some(stage) => Self::in_stage(file, stage, line),
        }
    }

    fn in_stage(file: &Dockerfile, stage: &Stage, line: usize) -> Self {
        // Stages stand only on earlier ones, so the chain ends.
        let mut chain = vec![stage];
        let mut scope = Self::default();
        while let Some(lowest) = chain.last() {
            let Some(Body::From(base)) = file.stage_instructions(lowest).first().map(|from| &from.body) else {
                break;
            };
            scope.is_complete = base.image.eq_ignore_ascii_case("scratch");
            let name = base.image.to_lowercase();
            let earlier = file.stages.iter().take(lowest.index).rev();
            let Some(below) = earlier.into_iter().find(|it| it.name.as_deref() == Some(name.as_str())) else {
                break;
            };
            chain.push(below);
        }
        for stage in chain.into_iter().rev() {
            for instruction in file.stage_instructions(stage).iter().filter(|it| it.lines.last < line) {
                scope.declare(instruction, Origin::Argument);
            }
        }
        scope
    }

    fn declare(&mut self, instruction: &Instruction, origin: Origin) {
        match &instruction.body {
            Body::Arg(declarations) => {
                for declaration in declarations {
                    let known = self.names.entry(declaration.name.clone()).or_insert(origin);
                    if *known != Origin::Environment {
                        *known = origin;
                    }
                }
            }
            Body::Env(pairs) => {
                self.names.extend(pairs.iter().map(|pair| (pair.key.clone(), Origin::Environment)));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_without_lint;
    use super::*;

    fn names(text: &str, line: usize) -> Vec<String> {
        let scope = Scope::at(&parse_without_lint(text).file, line);
        scope.names.into_iter().filter(|(_, origin)| *origin != Origin::Platform).map(|(name, _)| name).collect()
    }

    #[test]
    fn stages_see_what_they_declare_and_what_they_stand_on() {
        let text = "ARG g=1\nFROM a AS one\nENV e=1\nARG x\nFROM b AS two\nARG y\nFROM ONE\nARG g\nRUN z\n";
        assert_eq!(names(text, 2), ["g"]);
        assert_eq!(names(text, 4), ["e"]);
        assert_eq!(names(text, 6), Vec::<String>::new());
        assert_eq!(names(text, 7), ["g"]);
        assert_eq!(names(text, 9), ["e", "g", "x"]);
    }

    #[test]
    fn platforms_are_global_until_named() {
        let file = parse_without_lint("FROM --platform=$BUILDPLATFORM a\nARG TARGETARCH\nRUN x\n").file;
        assert_eq!(Scope::at(&file, 1).names.get("BUILDPLATFORM"), Some(&Origin::Platform));
        assert_eq!(Scope::at(&file, 2).names.get("TARGETARCH"), None);
        assert_eq!(Scope::at(&file, 3).names.get("TARGETARCH"), Some(&Origin::Argument));
    }

    #[test]
    fn env_wins_and_scratch_is_complete() {
        let file = parse_without_lint("FROM scratch\nENV a=1\nARG a=2\nRUN x\n").file;
        let scope = Scope::at(&file, 4);
        assert_eq!((scope.names.get("a"), scope.is_complete), (Some(&Origin::Environment), true));
    }
}
