//! Which stages a build needs, and what each stands on. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::meant;
use super::plan::{BuildFacts, PlanError, expanded};
use super::source::Spec;
use crate::dockerfile::expand::expand;
use crate::dockerfile::{Body, Dockerfile, Instruction, Stage, parse};

/// What a stage stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// Nothing at all.
    Scratch,
    /// An earlier stage, by its number.
    Stage(usize),
    /// An image, by its name.
    Image(String),
    /// A named context that is no image of a registry, by its name.
    Context(String),
}

/// A stage that has to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Its number in the Dockerfile.
    pub index: usize,
    /// What it stands on.
    pub base: Base,
    /// The platform its FROM asks for.
    pub platform: Option<String>,
    /// Whether a named context stands in for it: that is its result, and its instructions are left out.
    pub is_replaced: bool,
}

impl Node {
    /// How many steps it has.
    pub(super) fn steps(&self, file: &Dockerfile) -> usize {
        let all = file.stages.get(self.index).map_or(0, |stage| stage.instructions.len());
        if self.is_replaced { all.min(1) } else { all }
    }
}

/// The stages a build needs, in the order of the Dockerfile; the last is the result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Graph {
    /// The stages.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// Finds the stages that `target` (the last stage where `None`) needs. `triggers` gives the ONBUILD instructions of a
    /// base image, as far as it is here: they may copy from stages, too.
    pub(super) fn of(
        file: &Dockerfile,
        target: Option<&str>,
        facts: &BuildFacts,
        triggers: &dyn Fn(&str) -> Vec<String>,
    ) -> Result<Self, PlanError> {
        let goal = match target.filter(|target| !target.is_empty()) {
            None => file.stages.last(),
            Some(target) => Some(find_target(file, target)?),
        };
        let Some(goal) = goal else { return Err(PlanError::new("no build stage in current context")) };
        let mut nodes = BTreeMap::new();
        let mut wanted = vec![goal.index];
        while let Some(index) = wanted.pop() {
            let Some(stage) = file.stages.get(index) else { continue };
            if nodes.contains_key(&index) {
                continue;
            }
            let node = node(file, stage, facts)?;
            if node.is_replaced {
                nodes.insert(index, node);
                continue;
            }
            if let Base::Stage(below) = node.base {
                wanted.push(below);
            }
            if let Base::Image(name) = &node.base {
                let triggers = triggers(name).iter().map(|text| trigger(text)).collect::<Result<Vec<_>, _>>()?;
                wanted.extend(sources(file, index, triggers.iter(), facts));
            }
            wanted.extend(sources(file, index, file.stage_instructions(stage).iter(), facts));
            nodes.insert(index, node);
        }
        Ok(Self { nodes: nodes.into_values().collect() })
    }
}

/// The instruction of a base image's ONBUILD: what may not be one is refused here again, since the image may be anybody's.
pub(super) fn trigger(text: &str) -> Result<Instruction, PlanError> {
    let mut parsed = parse(&format!("FROM scratch\nONBUILD {text}"));
    let about = |why: &str| PlanError::new(format!("the base image's ONBUILD instruction {text:?}: {why}"));
    if let Some(error) = parsed.first_error() {
        return Err(about(&error.message));
    }
    match (parsed.file.instructions.len(), parsed.file.instructions.pop().map(|last| last.body)) {
        (2, Some(Body::OnBuild(trigger))) => Ok(*trigger),
        _ => Err(about("it is not one instruction")),
    }
}

/// The stage before `before` that a name or number means: the last of that name, as in Docker.
pub(super) fn stage_before(file: &Dockerfile, name: &str, before: usize) -> Option<usize> {
    let lower = name.to_lowercase();
    let earlier = file.stages.iter().take(before);
    let named = earlier.rev().find(|stage| stage.name.as_deref() == Some(lower.as_str()));
    named.map(|stage| stage.index).or_else(|| name.parse().ok().filter(|index| *index < before))
}

fn find_target<'a>(file: &'a Dockerfile, target: &str) -> Result<&'a Stage, PlanError> {
    stage_before(file, target, file.stages.len()).and_then(|index| file.stages.get(index)).ok_or_else(|| {
        let meant = meant::no_target(file, target);
        PlanError::new(format!("failed to reach build target {target} in Dockerfile{meant}"))
    })
}

/// What is told in place of a stage's instructions where a named context stands in for it.
pub(super) fn replaced(stage: &Stage) -> String {
    format!("FROM named context {}", stage.name.as_deref().unwrap_or_default())
}

/// Whether a named context stands in for the stage.
pub(super) fn is_replaced(stage: &Stage, facts: &BuildFacts) -> bool {
    stage.name.as_deref().is_some_and(|name| facts.contexts.get(name).is_some())
}

fn node(file: &Dockerfile, stage: &Stage, facts: &BuildFacts) -> Result<Node, PlanError> {
    if let Some(name) = stage.name.as_deref().filter(|_| is_replaced(stage, facts)) {
        let base = match facts.contexts.get(name) {
            Some(Spec::Image(image)) => Base::Image(image.clone()),
            _ => Base::Context(name.to_owned()),
        };
        return Ok(Node { index: stage.index, base, platform: None, is_replaced: true });
    }
    let Some(Body::From(from)) = file.stage_instructions(stage).first().map(|first| &first.body) else {
        return Err(PlanError::new("no build stage in current context"));
    };
    let name = expanded(&from.image, &facts.global_args, facts.escape)?;
    if name.is_empty() {
        let unset = expand(&from.image, &facts.global_args, facts.escape).map(|it| it.unset).unwrap_or_default();
        let meant = meant::of_image(&name, &from.image, &unset);
        return Err(PlanError::new(format!("base name ({}) should not be blank{meant}", from.image)));
    }
    let platform = from.platform.as_deref().map(|it| expanded(it, &facts.global_args, facts.escape)).transpose()?;
    let lower = name.to_lowercase();
    let by_name =
        file.stages.iter().take(stage.index).rev().find(|earlier| earlier.name.as_deref() == Some(lower.as_str()));
    let base = match (facts.contexts.get(&name), by_name) {
        // A name of the caller's goes before stages and images.
        (Some(Spec::Image(image)), _) => Base::Image(image.clone()),
        (Some(_), _) => Base::Context(name),
        (None, Some(earlier)) => Base::Stage(earlier.index),
        (None, None) if name == "scratch" => Base::Scratch,
        (None, None) => Base::Image(name),
    };
    let platform = platform.filter(|platform| !platform.is_empty());
    Ok(Node { index: stage.index, base, platform, is_replaced: false })
}

/// The stages that a stage copies from. Where a variable of the stage decides, that is found out as the step comes; so
/// every stage it could mean counts.
fn sources<'a>(
    file: &Dockerfile,
    before: usize,
    instructions: impl Iterator<Item = &'a Instruction>,
    facts: &BuildFacts,
) -> BTreeSet<usize> {
    let is_replaced = |index: &usize| file.stages.get(*index).is_some_and(|stage| is_replaced(stage, facts));
    let mut found = BTreeSet::new();
    for instruction in instructions {
        let mounted = instruction.flags_named("mount").filter_map(|flag| from_of_mount(flag.value.as_deref()?));
        let copied = instruction.flag("from").map(str::to_owned);
        for from in mounted.chain(copied) {
            if from.contains('$') {
                found.extend((0..before).filter(|index| !is_replaced(index)));
            } else if facts.contexts.get(&from).is_none() {
                found.extend(stage_before(file, &from, before).filter(|index| !is_replaced(index)));
            }
        }
    }
    found
}

/// The `from` of a `--mount`, which holds no variables; the rest of it may.
fn from_of_mount(value: &str) -> Option<String> {
    let fields = value.split(',').filter_map(|field| field.trim_matches('"').split_once('='));
    fields.rev().find(|(key, _)| key.eq_ignore_ascii_case("from")).map(|(_, from)| from.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(text: &str, target: Option<&str>) -> Result<Vec<(usize, Base)>, String> {
        let file = parse(text).file;
        let mut facts = BuildFacts::default();
        for instruction in file.preamble() {
            facts.declare_global(instruction).unwrap();
        }
        let triggers = |name: &str| match name {
            "trigger" => vec!["COPY --from=build a b".to_owned()],
            "chain" => vec!["ONBUILD RUN x".to_owned()],
            _ => Vec::new(),
        };
        let graph = Graph::of(&file, target, &facts, &triggers).map_err(|error| error.message)?;
        Ok(graph.nodes.into_iter().map(|node| (node.index, node.base)).collect())
    }

    #[test]
    fn only_reachable_stages_are_built() {
        let text = "ARG v=12\nFROM debian:$v AS base\nFROM base AS unused\nFROM golang AS Build\nFROM scratch\nCOPY --from=build a b\nFROM base AS test\nCOPY --from=3 a b\n";
        let image = |name: &str| Base::Image(name.to_owned());
        assert_eq!(graph(text, Some("build")).unwrap(), [(2, image("golang"))]);
        assert_eq!(graph(text, Some("3")).unwrap(), [(2, image("golang")), (3, Base::Scratch)]);
        assert_eq!(
            graph(text, None).unwrap(),
            [(0, image("debian:12")), (2, image("golang")), (3, Base::Scratch), (4, Base::Stage(0))]
        );
    }

    #[test]
    fn stages_that_are_only_mounted_are_built() {
        let text = "FROM a AS tools\nFROM b AS unused\nFROM c\nRUN --mount=from=tools,target=$x --mount=type=cache,from=d,target=/d x\n";
        let built: Vec<usize> = graph(text, None).unwrap().into_iter().map(|(index, _)| index).collect();
        assert_eq!(built, [0, 2]);
    }

    #[test]
    fn triggers_of_a_base_may_copy_from_stages() {
        let text = "FROM a AS build\nFROM b AS other\nFROM trigger\n";
        let built: Vec<usize> = graph(text, None).unwrap().into_iter().map(|(index, _)| index).collect();
        assert_eq!(built, [0, 2]);
        assert_eq!(
            graph("FROM chain", None).unwrap_err(),
            "the base image's ONBUILD instruction \"ONBUILD RUN x\": Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
        );
    }

    #[test]
    fn a_stage_may_have_the_name_of_its_image() {
        assert_eq!(graph("FROM debian AS debian\nRUN x", None).unwrap(), [(0, Base::Image("debian".into()))]);
    }

    #[test]
    fn named_contexts_go_before_stages_and_images() {
        let file = parse(
            "FROM alpine AS build\nRUN x\nFROM debian AS other\nFROM src\nCOPY --from=build a b\nCOPY --from=other a b\nCOPY --from=0 a b",
        )
        .file;
        let given = [("alpine", "docker-image://mine"), ("build", "docker-image://ready"), ("src", "local:src")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let contexts = crate::engine::build::source::ContextSpecs::parse(&given).unwrap();
        let facts = BuildFacts { contexts, ..BuildFacts::default() };
        let nodes = |target: Option<&str>| -> Vec<(usize, Base)> {
            let graph = Graph::of(&file, target, &facts, &|_| Vec::new()).unwrap();
            graph.nodes.into_iter().map(|node| (node.index, node.base)).collect()
        };
        assert_eq!(nodes(None), [(1, Base::Image("debian".into())), (2, Base::Context("src".into()))]);
        assert_eq!(nodes(Some("0")), [(0, Base::Image("ready".into()))]);
        assert_eq!(nodes(Some("build")), [(0, Base::Image("ready".into()))]);
    }

    #[test]
    fn errors_are_dockers() {
        assert_eq!(
            graph("FROM a", Some("b")).unwrap_err(),
            "failed to reach build target b in Dockerfile; none of its stages has a name"
        );
        assert_eq!(
            graph("FROM $x", None).unwrap_err(),
            "base name ($x) should not be blank; $x is not set: give it a default (ARG x=...) or a value (--build-arg x=...)"
        );
    }
}
