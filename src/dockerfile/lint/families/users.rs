//! Who the container runs as.

use super::super::super::ast::{Body, Instruction, Stage};
use super::super::linter::Linter;
use super::super::rule::{Rule, Shown};

const ROOT: Rule = Rule::advice(
    "LastUserRoot",
    &["DL3002"],
    "The last USER should not be root",
    "The last USER is who the container runs as. Root in a container that is broken out of, or that mounts the wrong \
     folder, is root on the host. Install as root, then switch to a user of its own.",
    Shown {
        bad: "FROM alpine:3.20\nUSER app\nRUN make\nUSER «root»\n",
        good: "FROM alpine:3.20\nUSER root\nRUN make\nUSER app\n",
    },
);

const MISSING: Rule = Rule::advice(
    "MissingUser",
    &[],
    "An image with a program of its own should say who runs it",
    "Without a USER the program runs as whoever the base image says, which is root nearly always. Make a user, and name it \
     before CMD.",
    Shown {
        bad: "FROM alpine:3.20\nCOPY serve /usr/bin/serve\n«CMD» [\"serve\"]\n",
        good: "FROM alpine:3.20\nCOPY serve /usr/bin/serve\nUSER 10001\nCMD [\"serve\"]\n",
    },
);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[ROOT, MISSING];

/// What images are called that have a user of their own.
const WITH_USER: [&str; 3] = ["nonroot", "rootless", "unprivileged"];

pub(super) fn advise(linter: &mut Linter<'_>) {
    let Some(last) = linter.file.stages.last() else { return };
    let mut stages = vec![last];
    while let Some(parent) = stages.last().and_then(|stage| linter.parent(stage)) {
        stages.push(parent);
    }
    // The last one first.
    let steps: Vec<&Instruction> = stages.iter().flat_map(|stage| linter.steps(stage).iter().rev()).collect();
    let user = steps.iter().find_map(|step| match &step.body {
        Body::User(user) => Some((*step, user)),
        _ => None,
    });
    match user {
        Some((step, user)) => {
            let name = user.trim_matches(['"', '\'']).split(':').next().unwrap_or_default();
            if name == "root" || name == "0" {
                let message = format!("the container runs as {name}");
                linter.advise(&ROOT, linter.arguments(step), message, None);
            }
        }
        None => missing(linter, &stages, &steps),
    }
}

fn missing(linter: &mut Linter<'_>, stages: &[&Stage], steps: &[&Instruction]) {
    let base = stages.last().and_then(|stage| linter.base_of(stage));
    if base.is_some_and(|(_, base)| WITH_USER.iter().any(|word| base.image.contains(word))) {
        return;
    }
    let is_program = |step: &&&Instruction| matches!(step.body, Body::Cmd(_) | Body::Entrypoint(_));
    if let Some(program) = steps.iter().find(is_program) {
        let message = "no USER says who runs this, so it is root, or whoever the base image says";
        linter.advise(&MISSING, program.keyword_span, message, None);
    }
}
