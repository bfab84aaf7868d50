//! Base images by name, and stages that are copied from.

use super::super::super::ast::{Body, Instruction, Stage};
use super::super::super::diagnostic::Suggestion;
use super::super::super::suggest::nearest;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};

const UNTAGGED: Rule = Rule::advice(
    "UntaggedBase",
    &["DL3006"],
    "A base image should have a tag or a digest",
    "Without a tag it is `latest`: whatever that is on the day, a major release on next. Name a version, or a digest where \
     it has to be the same to the byte.",
    Shown { bad: "FROM «debian»\n", good: "FROM debian:12\n" },
);

const LATEST: Rule = Rule::advice(
    "LatestBase",
    &["DL3007"],
    "A base image should not be latest",
    "`latest` is whatever is newest on the day, so a build that worked yesterday fails today. Name a version.",
    Shown { bad: "FROM «debian:latest»\n", good: "FROM debian:12\n" },
);

const UNKNOWN_STAGE: Rule = Rule::advice(
    "CopyFromUnknownStage",
    &["DL3022"],
    "COPY --from should name a stage that exists, or an image with a tag",
    "What `--from` names and no stage above is called, is pulled as an image, so a slip in a stage's name is told as an \
     image that does not exist.",
    Shown {
        bad: "FROM golang:1.23 AS build\nRUN make\nFROM alpine:3.20\nCOPY «--from=bulid» /app /app\n",
        good: "FROM golang:1.23 AS build\nRUN make\nFROM alpine:3.20\nCOPY --from=build /app /app\n",
    },
)
.with_fix(Fix::Guess);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[UNTAGGED, LATEST, UNKNOWN_STAGE];

pub(super) fn advise(linter: &mut Linter<'_>) {
    for stage in &linter.file.stages {
        base(linter, stage);
        for instruction in linter.steps(stage) {
            if matches!(instruction.body, Body::Copy(_)) {
                copied_from(linter, stage, instruction);
            }
        }
    }
}

fn base(linter: &mut Linter<'_>, stage: &Stage) {
    let Some((_, base)) = linter.base_of(stage) else { return };
    let image = base.image.as_str();
    if image == "scratch" || linter.parent(stage).is_some() || image.contains('@') {
        return;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    if image.ends_with(":latest") {
        linter.advise(&LATEST, base.image_span, format!("{image} is another image tomorrow"), None);
    } else if !name.contains([':', '$']) {
        linter.advise(&UNTAGGED, base.image_span, format!("{image} has no tag, so it is whatever is latest"), None);
    }
}

fn copied_from(linter: &mut Linter<'_>, stage: &Stage, instruction: &Instruction) {
    let Some(flag) = instruction.flags.iter().rev().find(|flag| flag.name == "from") else { return };
    let Some(name) = flag.value.as_deref().filter(|name| !name.contains(['/', ':', '$', '@'])) else { return };
    let names = |stages: &'_ [Stage]| stages.iter().filter_map(|stage| stage.name.clone()).collect::<Vec<String>>();
    let earlier = names(linter.file.stages.get(..stage.index).unwrap_or_default());
    let is_number = name.chars().all(|c| c.is_ascii_digit());
    if is_number || name == "scratch" || earlier.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return;
    }
    if names(&linter.file.stages).iter().any(|known| known.eq_ignore_ascii_case(name)) {
        let message = format!("no stage above is called {name}: it begins further down, or here");
        return linter.advise(&UNKNOWN_STAGE, flag.span, message, None);
    }
    if let Some(near) = nearest(name, earlier.iter().map(String::as_str)) {
        let message = format!("no stage is called {name} (did you mean {near}?)");
        let suggestion = Suggestion { span: flag.span, replacement: format!("--from={near}") };
        linter.advise(&UNKNOWN_STAGE, flag.span, message, Some(suggestion));
    }
}
