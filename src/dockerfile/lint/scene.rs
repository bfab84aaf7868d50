//! What advice looks at: the commands of every RUN, and which stages end up in the image.

use super::super::ast::{Body, Command, Instruction, Span, Stage};
use super::super::expand::Escape;
use super::linter::Linter;
use super::shell::{Placed, Script, Simple, base_name, json_strings, read, read_words};

/// Shells whose language the reader knows.
const SHELLS: [&str; 7] = ["sh", "bash", "ash", "dash", "zsh", "ksh", "busybox"];

/// A RUN and its commands.
pub(super) struct Run<'a> {
    pub instruction: &'a Instruction,
    /// The number of its stage.
    pub stage: usize,
    pub parts: Vec<Part>,
    /// Whether a failure within a pipe fails the RUN.
    pub has_pipefail: bool,
}

/// A script of a RUN.
pub(super) struct Part {
    pub script: Script,
    pub form: Form,
}

/// How a script is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// On the instruction's line.
    Line,
    /// In the JSON form.
    Json,
    /// In a heredoc, whose bytes these are; whether a failing command ends it.
    Body { span: Span, stops: bool },
}

impl Run<'_> {
    /// All commands, also those in substitutions.
    pub fn commands(&self) -> impl Iterator<Item = (&Part, &Simple)> {
        self.parts.iter().flat_map(|part| part.script.all().into_iter().map(move |command| (part, command)))
    }

    /// Whether a mount covers `path`, so that what is written there is in no layer.
    pub fn mounts(&self, path: &str) -> bool {
        let mounts = self.instruction.flags.iter().filter(|flag| flag.name == "mount");
        let options = mounts.filter_map(|flag| flag.value.as_deref()).flat_map(|value| value.split(','));
        let targets = options.filter_map(|option| option.split_once('='));
        let mut targets = targets.filter(|(key, _)| matches!(*key, "target" | "dst" | "destination"));
        targets.any(|(_, target)| is_within(path, target.trim_end_matches('/')))
    }
}

/// Whether `path` is `folder` or lies in it.
pub(super) fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder.ends_with('/'))
}

/// A file, seen for advice.
pub(super) struct Scene<'a> {
    pub runs: Vec<Run<'a>>,
    /// For each stage, whether its layers are in the image: it is the last one, or the last one is built on it.
    shipped: Vec<bool>,
}

impl<'a> Scene<'a> {
    pub fn of(linter: &Linter<'a>) -> Self {
        let mut scene = Self { runs: Vec::new(), shipped: vec![false; linter.file.stages.len()] };
        let mut stage = linter.file.stages.last();
        while let Some(here) = stage {
            if let Some(shipped) = scene.shipped.get_mut(here.index) {
                *shipped = true;
            }
            stage = linter.parent(here);
        }
        let mut shells: Vec<Vec<String>> = Vec::new();
        for stage in &linter.file.stages {
            let parent = linter.parent(stage).and_then(|parent| shells.get(parent.index));
            let mut shell = parent.cloned().unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            for instruction in linter.steps(stage) {
                let inner = match &instruction.body {
                    Body::OnBuild(inner) => inner,
                    _ => instruction,
                };
                match &inner.body {
                    Body::Shell(words) => shell.clone_from(words),
                    Body::Run(command) => scene.runs.extend(run(linter, stage, inner, command, &shell)),
                    _ => {}
                }
            }
            shells.push(shell);
        }
        scene
    }

    /// Whether the layers of a stage are in the image.
    pub fn is_shipped(&self, stage: usize) -> bool {
        self.shipped.get(stage).copied().unwrap_or(false)
    }
}

/// Reads a RUN; `None` where its shell speaks another language.
fn run<'a>(
    linter: &Linter<'a>,
    stage: &Stage,
    instruction: &'a Instruction,
    command: &Command,
    shell: &[String],
) -> Option<Run<'a>> {
    let program = shell.first().map_or("", |program| base_name(program));
    let is_known = SHELLS.contains(&program) && linter.file.escape == Escape::Backslash;
    let source = linter.joined(instruction);
    let mut parts = Vec::new();
    match command {
        Command::Exec(words) => {
            let strings = json_strings(&source);
            let is_shell = words.first().is_some_and(|word| SHELLS.contains(&base_name(word)));
            let with_script = words.get(1).is_some_and(|flag| flag.starts_with('-') && flag.ends_with('c'));
            let script = match strings.get(2).filter(|_| is_shell && with_script) {
                Some(script) => read(script),
                None => read_words(&strings),
            };
            parts.push(Part { script, form: Form::Json });
        }
        Command::Shell(_) if !is_known => return None,
        Command::Shell(_) => {
            let script = read(&source);
            bodies(linter, instruction, &script, shell, &mut parts);
            parts.insert(0, Part { script, form: Form::Line });
        }
    }
    let has_pipefail = shell.iter().any(|word| word == "pipefail");
    Some(Run { instruction, stage: stage.index, parts, has_pipefail })
}

/// Adds the heredocs that are scripts: those of a RUN without a command, and those that a shell reads.
fn bodies(linter: &Linter<'_>, instruction: &Instruction, line: &Script, shell: &[String], parts: &mut Vec<Part>) {
    let call = line.commands.first().map(Simple::call).unwrap_or_default();
    let is_script = match call.first() {
        None => true,
        Some(program) => call.len() <= 2 && SHELLS.contains(&base_name(&program.text)),
    };
    if line.commands.len() > 1 || !is_script {
        return;
    }
    let words = call.iter().map(|word| word.text.as_str());
    for heredoc in &instruction.heredocs {
        let first = heredoc.content.lines().next().unwrap_or_default().trim();
        let interpreter: Vec<&str> = match first.strip_prefix("#!") {
            Some(interpreter) => interpreter.split_whitespace().collect(),
            None if call.is_empty() => shell.iter().map(String::as_str).collect(),
            None => words.clone().collect(),
        };
        let mut names = interpreter.iter().map(|word| base_name(word)).filter(|name| *name != "env");
        if !names.next().is_some_and(|name| SHELLS.contains(&name)) {
            continue;
        }
        let script = read(&Placed::verbatim(linter.text, heredoc.span));
        let stops = interpreter.iter().any(|word| is_stopping(word)) || script.commands.iter().any(sets_stop);
        parts.push(Part { script, form: Form::Body { span: heredoc.span, stops } });
    }
}

/// Whether a word is a flag that ends the shell at the first failure.
fn is_stopping(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|flags| !flags.starts_with('-') && flags.contains('e')) || word == "errexit"
}

fn sets_stop(command: &Simple) -> bool {
    command.program() == "set" && command.arguments().iter().any(|word| is_stopping(&word.text))
}
