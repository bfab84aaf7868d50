//! The arguments of a build: those given, those declared before the first FROM, and those that nobody has to declare.

use std::collections::BTreeMap;

use super::plan::{BuildFacts, PlanError};
use super::platform::Platforms;
use crate::dockerfile::{BUILDER_ARGS, Body, PLATFORM_ARGS, PROXY_ARGS, Parsed};

/// What BuildKit calls the stage that is built where none is asked for.
const DEFAULT_STAGE: &str = "default";

/// What an instruction of `parsed` can refer to, for the stage `target` on `platforms`.
pub(super) fn facts(
    parsed: &Parsed,
    build_args: &BTreeMap<String, Option<String>>,
    target: Option<&str>,
    platforms: &Platforms,
) -> Result<BuildFacts, PlanError> {
    let given = build_args.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    let mut facts = BuildFacts { escape: parsed.file.escape, build_args: given.collect(), ..BuildFacts::default() };
    let stage = target.filter(|target| !target.is_empty()).unwrap_or(DEFAULT_STAGE);
    let automatic = platforms.args().chain([("TARGETSTAGE".to_owned(), stage.to_owned())]);
    // Who gives one of these knows better.
    let automatic = automatic.map(|(name, value)| match facts.build_args.get(&name) {
        Some(given) => (name, given.clone()),
        None => (name, value),
    });
    facts.global_args = automatic.collect();
    facts.read_epoch()?;
    for instruction in parsed.file.preamble() {
        facts.declare_global(instruction)?;
    }
    Ok(facts)
}

/// Build arguments that no ARG declares and that are not predefined.
pub(super) fn unused(parsed: &Parsed, given: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let declared: Vec<&str> = parsed
        .file
        .instructions
        .iter()
        .filter_map(|instruction| match &instruction.body {
            Body::Arg(declarations) => Some(declarations),
            _ => None,
        })
        .flatten()
        .map(|declaration| declaration.name.as_str())
        .collect();
    let is_unused = |name: &&String| {
        let name = name.as_str();
        !declared.contains(&name)
            && ![&PROXY_ARGS[..], &PLATFORM_ARGS[..], &BUILDER_ARGS[..]].concat().contains(&name)
            && !name.starts_with("BUILDKIT_")
    };
    given.keys().filter(is_unused).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;
    use crate::engine::build::platform::Emulators;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect()
    }

    #[test]
    fn platforms_are_known_before_the_first_from_and_can_be_overruled() {
        let platforms = Platforms::of(None, &Emulators::default()).unwrap();
        let parsed = parse("ARG A=$TARGETOS-$TARGETSTAGE\nARG B=$A.b\nFROM x$B\n");
        let facts_for = |args: &[(&str, &str)], target| facts(&parsed, &given(args), target, &platforms).unwrap();
        assert_eq!(facts_for(&[], None).global_args["B"], "linux-default.b");
        assert_eq!(facts_for(&[("TARGETOS", "own")], Some("dev")).global_args["B"], "own-dev.b");
        assert_eq!(facts_for(&[("A", "a")], None).global_args["B"], "a.b");
    }

    #[test]
    fn only_arguments_that_nobody_knows_are_unused() {
        let parsed = parse("ARG A\nFROM x\nARG B=1\n");
        let given = given(&[
            ("A", ""),
            ("B", ""),
            ("C", ""),
            ("http_proxy", ""),
            ("BUILDKIT_X", ""),
            ("SOURCE_DATE_EPOCH", "0"),
            ("TARGETARCH", "x"),
        ]);
        assert_eq!(unused(&parsed, &given), ["C"]);
    }
}
