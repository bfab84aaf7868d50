//! What the container runs: CMD, ENTRYPOINT, HEALTHCHECK.

use super::super::super::ast::{Body, Command, Instruction, Stage};
use super::super::super::diagnostic::Suggestion;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};

const JSON_ARGS: Rule = Rule::buildkit(
    "JSONArgsRecommended",
    "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
    "With the shell form a shell stands between the program and the signals",
    "The shell form runs `/bin/sh -c \"...\"`. The shell is process 1, gets the signals and passes none on, so the \
     program is killed hard after the grace period instead of ending in order. Write the JSON form, or say by SHELL that \
     a shell is what you want.",
    Shown { bad: "FROM alpine:3.20\nUSER app\n«CMD serve --port 80»\n", good: "FROM alpine:3.20\nUSER app\nCMD [\"serve\", \"--port\", \"80\"]\n" },
)
.with_fix(Fix::Sure)
.in_hadolint(&["DL3025"]);

const MULTIPLE: Rule = Rule::buildkit(
    "MultipleInstructionsDisallowed",
    "https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/",
    "Only the last one of these counts in a stage",
    "Of several CMD, ENTRYPOINT or HEALTHCHECK instructions in a stage only the last has an effect; the others mislead \
     whoever reads them.",
    Shown {
        bad: "FROM alpine:3.20\nUSER app\n«CMD» [\"one\"]\nCMD [\"two\"]\n",
        good: "FROM alpine:3.20\nUSER app\nCMD [\"two\"]\n",
    },
)
.with_fix(Fix::Sure)
.in_hadolint(&["DL3012", "DL4003", "DL4004"]);

const IGNORED_CMD: Rule = Rule::advice(
    "ShellEntrypointIgnoresCmd",
    &[],
    "CMD gives arguments to ENTRYPOINT only in the JSON form",
    "An ENTRYPOINT in the shell form takes no arguments: neither CMD nor what stands behind the image's name in \
     `docker run` reaches it.",
    Shown {
        bad: "FROM alpine:3.20\nUSER app\nSHELL [\"/bin/sh\", \"-c\"]\nENTRYPOINT serve\n«CMD» [\"--port\", \"80\"]\n",
        good: "FROM alpine:3.20\nUSER app\nENTRYPOINT [\"serve\"]\nCMD [\"--port\", \"80\"]\n",
    },
);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[JSON_ARGS, MULTIPLE, IGNORED_CMD];

pub(super) fn check(linter: &mut Linter<'_>) {
    // For each stage, whether a SHELL is in force at its end.
    let mut with_shell: Vec<bool> = Vec::new();
    for stage in &linter.file.stages {
        only_last_counts(linter, stage);
        let parent = linter.parent(stage).and_then(|parent| with_shell.get(parent.index));
        let mut has_shell = parent.copied().unwrap_or(false);
        for instruction in linter.steps(stage) {
            has_shell |= matches!(instruction.body, Body::Shell(_));
            let (Body::Cmd(Command::Shell(text)) | Body::Entrypoint(Command::Shell(text))) = &instruction.body else {
                continue;
            };
            if !has_shell && !text.is_empty() {
                shell_form(linter, instruction, text);
            }
        }
        with_shell.push(has_shell);
    }
}

/// What a shell does itself, and no program of that name.
const BUILTINS: [&str; 12] =
    [".", ":", "cd", "eval", "exec", "exit", "export", "set", "source", "trap", "ulimit", "umask"];

fn shell_form(linter: &mut Linter<'_>, instruction: &Instruction, text: &str) {
    let keyword = linter.written(instruction);
    let message =
        format!("JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals");
    let is_plain =
        |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '/' | ',' | ':' | '+' | '@' | '%');
    let is_assignment = text.split_whitespace().next().is_some_and(|word| word.contains('='));
    // Only words that mean the same without a shell.
    let is_builtin = text.split_whitespace().next().is_some_and(|word| BUILTINS.contains(&word));
    let is_clear = text.chars().all(|c| is_plain(c) || c == '=') && !is_assignment && !is_builtin;
    if !is_clear || instruction.lines.first != instruction.lines.last {
        return linter.warn(&JSON_ARGS, instruction, instruction.span, message);
    }
    let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
    let span = linter.arguments(instruction);
    let suggestion = Suggestion { span, replacement: format!("[{}]", words.join(", ")) };
    linter.tell(&JSON_ARGS, instruction.lines, instruction.span, message, Some(suggestion));
}

fn only_last_counts(linter: &mut Linter<'_>, stage: &Stage) {
    for keyword in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
        let all: Vec<&Instruction> = linter.steps(stage).iter().filter(|it| it.keyword == keyword).collect();
        let Some((_, ignored)) = all.split_last() else { continue };
        for instruction in ignored {
            let written = linter.written(instruction);
            let message = format!(
                "Multiple {written} instructions should not be used in the same stage because only the last one will be used"
            );
            let suggestion = Suggestion { span: linter.whole_lines(instruction), replacement: String::new() };
            linter.tell(&MULTIPLE, instruction.lines, instruction.keyword_span, message, Some(suggestion));
        }
    }
}

pub(super) fn advise(linter: &mut Linter<'_>) {
    for stage in &linter.file.stages {
        let steps = linter.steps(stage);
        let entrypoint = steps.iter().rev().find(|step| matches!(step.body, Body::Entrypoint(_)));
        let cmd = steps.iter().rev().find(|step| matches!(step.body, Body::Cmd(_)));
        let is_shell = entrypoint.is_some_and(|it| matches!(it.body, Body::Entrypoint(Command::Shell(_))));
        if let Some(cmd) = cmd.filter(|_| is_shell) {
            let message = "this never reaches ENTRYPOINT, which is in the shell form";
            linter.advise(&IGNORED_CMD, cmd.keyword_span, message, None);
        }
    }
}
