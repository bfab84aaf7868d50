//! Files and folders: COPY, ADD, WORKDIR.

use super::super::super::ast::{Body, Instruction, Transfer};
use super::super::super::diagnostic::Suggestion;
use super::super::super::glob::clean;
use super::super::super::ignore::IgnoreRules;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};

const RELATIVE_WORKDIR: Rule = Rule::buildkit(
    "WorkdirRelativePath",
    "https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/",
    "A relative WORKDIR depends on what the base image has set",
    "The first WORKDIR of a file continues from wherever the base image left off, and moves when the base image does. \
     Begin with an absolute path; relative ones after it are fine.",
    Shown { bad: "FROM alpine:3.20\n«WORKDIR srv/app»\n", good: "FROM alpine:3.20\nWORKDIR /srv/app\n" },
)
.in_hadolint(&["DL3000"]);

const IGNORED_FILE: Rule = Rule::buildkit(
    "CopyIgnoredFile",
    "https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/",
    "What .dockerignore leaves out can't be copied",
    "Files that match a pattern of `.dockerignore` are no part of the context, so copying them fails. Change the pattern, \
     or take the file in again by a `!` line.",
    Shown {
        bad: "FROM alpine:3.20\nCOPY «build/app.log» /srv/\n",
        good: "FROM alpine:3.20\nCOPY build/app /srv/\n",
    },
)
.beside("*/*.log\n");

const ADD: Rule = Rule::advice(
    "AddInsteadOfCopy",
    &["DL3020"],
    "COPY does what ADD does for plain files",
    "ADD also fetches URLs and unpacks archives, by what it finds in them. Where neither is meant COPY says so, and can't \
     surprise.",
    Shown { bad: "FROM alpine:3.20\n«ADD» app /srv/app\n", good: "FROM alpine:3.20\nCOPY app /srv/app\n" },
)
.with_fix(Fix::Guess);

const RELATIVE_TARGET: Rule = Rule::advice(
    "CopyRelativeDestination",
    &["DL3045"],
    "A relative destination needs a WORKDIR",
    "Without a WORKDIR in the file the copy lands wherever the base image happens to be, and elsewhere when that changes.",
    Shown { bad: "FROM alpine:3.20\nCOPY app «bin/»\n", good: "FROM alpine:3.20\nWORKDIR /srv\nCOPY app bin/\n" },
);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[RELATIVE_WORKDIR, IGNORED_FILE, ADD, RELATIVE_TARGET];

/// Only the first WORKDIR counts, as later ones are put right by it; a stage goes on from where its parent is.
pub(super) fn check(linter: &mut Linter<'_>) {
    let mut is_set: Vec<bool> = Vec::new();
    for stage in &linter.file.stages {
        let parent = linter.parent(stage).and_then(|parent| is_set.get(parent.index));
        let has_workdir = parent.copied().unwrap_or(false);
        let first = linter.steps(stage).iter().find_map(|it| match &it.body {
            Body::Workdir(path) => Some((it, path.trim_matches(['"', '\'']))),
            _ => None,
        });
        is_set.push(has_workdir || first.is_some());
        let Some((instruction, path)) = first.filter(|_| !has_workdir) else { continue };
        let is_drive = path.get(1..3).is_some_and(|drive| drive == ":\\" || drive == ":/");
        if !path.starts_with(['/', '$', '\\']) && !is_drive {
            let message = format!("Relative workdir {path:?} can have unexpected results if the base image changes");
            linter.warn(&RELATIVE_WORKDIR, instruction, instruction.span, message);
        }
    }
}

/// Sources that the context does not have because of its ignore rules. With `!` lines it can't be told from the pattern
/// alone, and BuildKit says nothing.
pub(super) fn ignored(linter: &mut Linter<'_>, ignore: &IgnoreRules) {
    if ignore.has_exceptions() {
        return;
    }
    for stage in &linter.file.stages {
        for instruction in linter.steps(stage) {
            let (Body::Copy(transfer) | Body::Add(transfer)) = &instruction.body else { continue };
            if instruction.flag("from").is_some() {
                continue;
            }
            for source in transfer.sources.iter().filter(|source| !is_remote(source) && !source.contains('$')) {
                ignored_source(linter, ignore, instruction, source);
            }
        }
    }
}

fn ignored_source(linter: &mut Linter<'_>, ignore: &IgnoreRules, instruction: &Instruction, source: &str) {
    let cleaned = clean(source.trim_matches(['"', '\'']));
    let path = if cleaned.len() > 1 { cleaned.trim_start_matches('/') } else { cleaned.as_str() };
    if !ignore.ignores(path) {
        return;
    }
    let verb = if instruction.keyword == "ADD" { "Add" } else { "Copy" };
    let message = format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore");
    let span = linter.place_of(instruction, source);
    linter.warn(&IGNORED_FILE, instruction, span, message);
}

/// Whether a source of ADD is fetched rather than copied.
pub(super) fn is_remote(source: &str) -> bool {
    let source = source.trim_matches(['"', '\'']);
    ["http://", "https://", "git://", "git@", "ssh://"].iter().any(|scheme| source.starts_with(scheme))
}

pub(super) fn advise(linter: &mut Linter<'_>) {
    let mut is_set: Vec<bool> = Vec::new();
    for stage in &linter.file.stages {
        let parent = linter.parent(stage).and_then(|parent| is_set.get(parent.index));
        // Of scratch the directory is known: the root.
        let is_scratch = linter.base_of(stage).is_some_and(|(_, base)| base.image == "scratch");
        let mut has_workdir = is_scratch || parent.copied().unwrap_or(false);
        for instruction in linter.steps(stage) {
            match &instruction.body {
                Body::Workdir(_) => has_workdir = true,
                Body::Add(transfer) if is_plain_copy(instruction, transfer) => {
                    let span = instruction.keyword_span;
                    let is_lower = linter.written(instruction) == "add";
                    let replacement = if is_lower { "copy" } else { "COPY" }.to_owned();
                    let suggestion = Suggestion { span, replacement };
                    linter.advise(&ADD, span, "ADD of plain files; COPY says so", Some(suggestion));
                }
                _ => {}
            }
            if let (Body::Copy(transfer) | Body::Add(transfer), false) = (&instruction.body, has_workdir) {
                relative_target(linter, instruction, transfer);
            }
        }
        is_set.push(has_workdir);
    }
}

/// Whether an ADD neither fetches nor unpacks anything.
fn is_plain_copy(instruction: &Instruction, transfer: &Transfer) -> bool {
    const OF_ADD: [&str; 3] = ["checksum", "unpack", "keep-git-dir"];
    const ARCHIVES: [&str; 8] = [".tar", ".tgz", ".gz", ".bz2", ".tbz2", ".xz", ".txz", ".zst"];
    let may_unpack = |source: &String| {
        let source = source.trim_matches(['"', '\'']).to_lowercase();
        source.contains(['$', '*', '?', '[']) || ARCHIVES.iter().any(|end| source.ends_with(end))
    };
    let has_own_flag = instruction.flags.iter().any(|flag| OF_ADD.contains(&flag.name.as_str()));
    !has_own_flag && !transfer.sources.iter().any(|source| is_remote(source) || may_unpack(source))
}

fn relative_target(linter: &mut Linter<'_>, instruction: &Instruction, transfer: &Transfer) {
    let target = transfer.destination.trim_matches(['"', '\'']);
    let is_drive = target.get(1..2) == Some(":");
    // A flag there is out of its place, which is told as that.
    if target.starts_with(['/', '$', '\\']) || target.starts_with("--") || is_drive {
        return;
    }
    let span = linter.words(instruction).last().copied().unwrap_or(instruction.span);
    let message = format!("{target} is in whatever directory the base image has set");
    linter.advise(&RELATIVE_TARGET, span, message, None);
}
