//! The other package managers: what they leave behind, and what they ask.

use super::super::super::ast::{Body, Span};
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};
use super::super::scene::{Run, Scene};
use super::super::shell::{Simple, Word};

const APK_CACHE: Rule = Rule::advice(
    "ApkNoCache",
    &["DL3019"],
    "apk add should leave no index behind",
    "`--no-cache` fetches the index, uses it and keeps nothing, so neither `apk update` before nor `rm -rf \
     /var/cache/apk/*` after it is needed.",
    Shown {
        bad: "FROM alpine:3.20\nRUN apk «add» curl=8.9.1-r1\n",
        good: "FROM alpine:3.20\nRUN apk add --no-cache curl=8.9.1-r1\n",
    },
)
.with_fix(Fix::Sure);

const PIP_CACHE: Rule = Rule::advice(
    "PipNoCacheDir",
    &["DL3042"],
    "pip should leave no cache in the layer",
    "pip keeps every download for a next time that never comes in an image. `--no-cache-dir` switches that off; a cache \
     mount on `/root/.cache/pip` keeps it for the next build without putting it into the layer.",
    Shown {
        bad: "FROM python:3.13\nRUN pip «install» flask==3.1.0\n",
        good: "FROM python:3.13\nRUN pip install --no-cache-dir flask==3.1.0\n",
    },
)
.with_fix(Fix::Sure);

const DNF_YES: Rule = Rule::advice(
    "DnfAssumeYes",
    &["DL3030", "DL3038"],
    "dnf and yum install need -y: nobody is there to answer",
    "Without `-y` the command asks, gets no answer, and gives up.",
    Shown {
        bad: "FROM fedora:41\nRUN dnf «install» curl && dnf clean all\n",
        good: "FROM fedora:41\nRUN dnf install -y curl && dnf clean all\n",
    },
)
.with_fix(Fix::Sure);

const DNF_CLEAN: Rule = Rule::advice(
    "DnfCleanAll",
    &["DL3032", "DL3040"],
    "dnf's and yum's caches should not stay in the layer",
    "Metadata and packages stay below `/var/cache` unless the same RUN removes them, or a cache mount keeps them out of \
     the layer.",
    Shown {
        bad: "FROM fedora:41\nRUN «dnf install -y curl»\n",
        good: "FROM fedora:41\nRUN dnf install -y curl && dnf clean all\n",
    },
)
.with_fix(Fix::Sure);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[APK_CACHE, PIP_CACHE, DNF_YES, DNF_CLEAN];

pub(super) fn advise(linter: &mut Linter<'_>, scene: &Scene<'_>) {
    for run in &scene.runs {
        dnf_yes(linter, run);
        if scene.is_shipped(run.stage) {
            apk(linter, run);
            pip(linter, run);
            dnf_clean(linter, run);
        }
    }
}

/// The word that says what `program` is to do, where it is one of `verbs`.
pub(super) fn verb<'a>(command: &'a Simple, programs: &[&str], verbs: &[&str]) -> Option<&'a Word> {
    if !programs.contains(&command.program()) {
        return None;
    }
    command.operands(&[]).first().copied().filter(|word| verbs.contains(&word.text.as_str()))
}

/// The `install` of pip, also of `python -m pip`.
pub(super) fn pip_install(command: &Simple) -> Option<&Word> {
    let program = command.program();
    let is_pip =
        |name: &str| name.strip_prefix("pip").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'));
    let mut words = command.arguments();
    if program.starts_with("python") {
        words = match words {
            [flag, module, rest @ ..] if flag.text == "-m" && module.text == "pip" => rest,
            _ => return None,
        };
    } else if !is_pip(program) {
        return None;
    }
    words.iter().find(|word| !word.text.starts_with('-')).filter(|word| word.text == "install")
}

fn apk(linter: &mut Linter<'_>, run: &Run<'_>) {
    let removes = |command: &Simple| {
        command.program() == "rm" && command.arguments().iter().any(|word| word.text.starts_with("/var/cache/apk"))
    };
    if run.mounts("/var/cache/apk") || run.mounts("/etc/apk/cache") || run.commands().any(|(_, it)| removes(it)) {
        return;
    }
    for (part, command) in run.commands() {
        let Some(add) = verb(command, &["apk"], &["add"]) else { continue };
        if !command.has_flag(None, "no-cache") {
            let suggestion = super::insert_after(part, add, "--no-cache");
            linter.advise(&APK_CACHE, add.span, "apk add without --no-cache leaves its index in the layer", suggestion);
        }
    }
}

fn pip(linter: &mut Linter<'_>, run: &Run<'_>) {
    const VARIABLE: &str = "PIP_NO_CACHE_DIR";
    let is_set = linter.file.instructions.iter().any(|instruction| match &instruction.body {
        Body::Env(pairs) => pairs.iter().any(|pair| pair.key == VARIABLE),
        Body::Arg(declarations) => declarations.iter().any(|declaration| declaration.name == VARIABLE),
        _ => false,
    });
    if is_set || run.mounts("/root/.cache/pip") {
        return;
    }
    let with_cache =
        |flag: &super::super::super::ast::Flag| flag.value.as_deref().is_some_and(|it| it.contains("cache/pip"));
    if run.instruction.flags.iter().any(with_cache) {
        return;
    }
    for (part, command) in run.commands() {
        let Some(install) = pip_install(command) else { continue };
        let is_told = command.assignments.iter().any(|word| word.text.starts_with(VARIABLE));
        if !command.has_flag(None, "no-cache-dir") && !is_told {
            let suggestion = super::insert_after(part, install, "--no-cache-dir");
            let message = "pip install without --no-cache-dir leaves its downloads in the layer";
            linter.advise(&PIP_CACHE, install.span, message, suggestion);
        }
    }
}

const DNF: [&str; 3] = ["dnf", "yum", "microdnf"];

fn dnf_yes(linter: &mut Linter<'_>, run: &Run<'_>) {
    const ASKING: [&str; 5] = ["install", "update", "upgrade", "groupinstall", "remove"];
    for (part, command) in run.commands() {
        let Some(verb) = verb(command, &DNF, &ASKING) else { continue };
        if !command.has_flag(Some('y'), "assumeyes") {
            let message = format!("{} {} without -y asks, and nobody answers", command.program(), verb.text);
            linter.advise(&DNF_YES, verb.span, message, super::insert_after(part, verb, "-y"));
        }
    }
}

fn dnf_clean(linter: &mut Linter<'_>, run: &Run<'_>) {
    let found =
        run.commands().map(|(_, command)| command).find(|it| verb(it, &DNF, &["install", "groupinstall"]).is_some());
    let Some(install) = found else { return };
    let cleans = |command: &Simple| {
        let removes = command.arguments().iter().any(|word| word.text.starts_with("/var/cache/"));
        verb(command, &DNF, &["clean"]).is_some() || command.program() == "rm" && removes
    };
    let caches = ["/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5"];
    if run.commands().any(|(_, command)| cleans(command)) || caches.iter().any(|cache| run.mounts(cache)) {
        return;
    }
    let program = install.program();
    let is_roots = install.words.first().is_some_and(|word| word.text != "sudo");
    let suggestion = super::append(linter, run, &format!("{program} clean all")).filter(|_| is_roots);
    let span = Span::new(install.call().first().map_or(install.span.start, |word| word.span.start), install.span.end);
    linter.advise(&DNF_CLEAN, span, format!("{program}'s cache stays in the layer"), suggestion);
}
