//! Order: what defeats the build cache, and what is written twice.

use super::super::super::ast::{Body, Instruction, Stage, Transfer};
use super::super::super::glob::clean;
use super::super::linter::Linter;
use super::super::rule::{Rule, Shown};
use super::super::scene::{Scene, is_within};
use super::super::shell::{Simple, base_name};
use super::packages::{pip_install, verb};

const ORDER: Rule = Rule::advice(
    "CopyBeforeInstall",
    &[],
    "What is needed to install should be copied before everything else",
    "A step is cached as long as everything above it is unchanged. With all files copied above the install, a change of \
     any of them installs everything anew. Copy the lists of dependencies, install, then copy the rest.",
    Shown {
        bad: "FROM node:22\nWORKDIR /app\n«COPY . .»\nRUN npm ci\n",
        good: "FROM node:22\nWORKDIR /app\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n",
    },
);

const CHANGE: Rule = Rule::advice(
    "ChangeAfterCopy",
    &[],
    "COPY can set owner and mode: a RUN that does it copies the files again",
    "A layer holds whole files, so a chmod or chown of what was copied before stores all of it a second time. \
     `COPY --chown=` and `COPY --chmod=` write it right at once.",
    Shown {
        bad: "FROM alpine:3.20\nCOPY run.sh /usr/local/bin/\nRUN «chmod +x /usr/local/bin/run.sh»\n",
        good: "FROM alpine:3.20\nCOPY --chmod=755 run.sh /usr/local/bin/\n",
    },
);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[ORDER, CHANGE];

pub(super) fn advise(linter: &mut Linter<'_>, scene: &Scene<'_>) {
    for stage in &linter.file.stages {
        order(linter, scene, stage);
        changes(linter, scene, stage);
    }
}

/// Whether all of the context is copied.
fn is_everything(instruction: &Instruction) -> bool {
    let (Body::Copy(transfer) | Body::Add(transfer)) = &instruction.body else { return false };
    let is_all = |source: &String| matches!(source.trim_matches(['"', '\'']), "." | "./" | "*" | "./*" | "/");
    instruction.flag("from").is_none() && transfer.sources.iter().any(is_all)
}

fn order(linter: &mut Linter<'_>, scene: &Scene<'_>, stage: &Stage) {
    let mut all: Option<&Instruction> = None;
    for step in linter.steps(stage) {
        if all.is_none() && is_everything(step) {
            all = Some(step);
        }
        let Some(copy) = all else { continue };
        let run = scene.runs.iter().find(|run| std::ptr::eq(run.instruction, step));
        let commands = run.into_iter().flat_map(|run| run.commands()).map(|(_, command)| command);
        if let Some(install) = commands.filter_map(installs).next() {
            let what = &copy.keyword;
            let message = format!("with this {what} above it, `{install}` runs again whenever any file changes");
            linter.advise(&ORDER, copy.span, message, None);
            return;
        }
    }
}

/// What a command installs with, where that needs no more than a list of dependencies.
fn installs(command: &Simple) -> Option<String> {
    /// Programs, and what they are told.
    const INSTALLS: [(&[&str], &[&str]); 10] = [
        (&["npm", "pnpm", "bun"], &["ci", "install", "i"]),
        (&["yarn"], &["install"]),
        (&["bundle", "composer", "poetry", "pipenv"], &["install"]),
        (&["uv"], &["sync"]),
        (&["go"], &["mod"]),
        (&["cargo"], &["fetch"]),
        (&["mvn"], &["dependency:go-offline", "dependency:resolve"]),
        (&["apt-get", "apt", "dnf", "yum", "microdnf"], &["install"]),
        (&["apk"], &["add"]),
        (&["gem"], &["install"]),
    ];
    let program = command.program();
    if pip_install(command).is_some() {
        // `pip install .` is the program itself.
        let is_here = |word: &str| word.starts_with('.') || word == "-e";
        return command.arguments().iter().all(|word| !is_here(&word.text)).then(|| format!("{program} install"));
    }
    let verb = INSTALLS.iter().find_map(|(programs, verbs)| verb(command, programs, verbs))?;
    Some(format!("{program} {}", verb.text))
}

fn changes(linter: &mut Linter<'_>, scene: &Scene<'_>, stage: &Stage) {
    let mut folder: Option<String> = None;
    let mut copied: Vec<String> = Vec::new();
    for step in linter.steps(stage) {
        match &step.body {
            Body::Workdir(path) => folder = absolute(folder.as_deref(), path.trim_matches(['"', '\''])),
            Body::Copy(transfer) | Body::Add(transfer) => copied.extend(destinations(transfer, folder.as_deref())),
            Body::Run(_) => {
                let run = scene.runs.iter().find(|run| std::ptr::eq(run.instruction, step));
                for (_, command) in run.into_iter().flat_map(|run| run.commands()) {
                    change(linter, command, folder.as_deref(), &copied);
                }
            }
            _ => {}
        }
    }
}

fn change(linter: &mut Linter<'_>, command: &Simple, folder: Option<&str>, copied: &[String]) {
    let program = command.program();
    if !matches!(program, "chmod" | "chown") {
        return;
    }
    let goes_down = command.has_flag(Some('R'), "recursive");
    // The first one is the mode, or the owner.
    for operand in command.operands(&[]).iter().skip(1).filter(|operand| operand.is_plain) {
        let Some(path) = absolute(folder, &operand.text) else { continue };
        let is_it = |there: &&String| is_within(&path, there) || goes_down && is_within(there, &path);
        if copied.iter().any(|there| is_it(&there)) {
            let path = &operand.text;
            let message =
                format!("{program} of {path}, which was copied before, stores it again; COPY --{program}= sets it");
            return linter.advise(&CHANGE, command.span, message, None);
        }
    }
}

/// A path from the root; `None` where that can't be told from the text.
fn absolute(folder: Option<&str>, path: &str) -> Option<String> {
    if path.contains(['$', '*', '?', '[']) {
        return None;
    }
    match path.starts_with('/') {
        true => Some(clean(path)),
        false => Some(clean(&format!("{}/{path}", folder?))),
    }
}

/// What a COPY writes: the files by name where it has names, else the folder.
fn destinations(transfer: &Transfer, folder: Option<&str>) -> Vec<String> {
    let Some(target) = absolute(folder, transfer.destination.trim_matches(['"', '\''])) else { return Vec::new() };
    let is_folder = transfer.destination.ends_with('/') || transfer.sources.len() > 1;
    let into = |source: &String| {
        let name = base_name(source.trim_end_matches('/'));
        let has_name = is_folder && !source.contains(['$', '*', '?', '[']) && name != "." && !source.ends_with('/');
        match has_name {
            true => clean(&format!("{target}/{name}")),
            false => target.clone(),
        }
    };
    // All of the root is nothing that could be told apart.
    transfer.sources.iter().map(into).filter(|path| path != "/").collect()
}
