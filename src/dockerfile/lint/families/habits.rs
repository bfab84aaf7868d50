//! What people do in RUN that does not do what it seems to.

use super::super::super::ast::{Body, Span};
use super::super::super::diagnostic::Suggestion;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};
use super::super::scene::{Form, Part, Run, Scene};
use super::super::shell::{Joint, Simple, base_name};

const CD: Rule = Rule::advice(
    "CdInRun",
    &["DL3003"],
    "WORKDIR should change directories, not cd",
    "What `cd` does ends with its RUN, so every following RUN has to do it again, and one that forgets works somewhere \
     else. WORKDIR holds until the next one. In a subshell, `(cd dir && make)`, it is meant to end.",
    Shown { bad: "FROM alpine:3.20\nRUN «cd /srv» && make\n", good: "FROM alpine:3.20\nWORKDIR /srv\nRUN make\n" },
);

const SUDO: Rule = Rule::advice(
    "SudoInRun",
    &["DL3004"],
    "RUN should not use sudo",
    "RUN is root unless USER says otherwise; sudo then does nothing but be installed, and after USER it is a way back to \
     root in the finished image. Switch users by USER.",
    Shown { bad: "FROM alpine:3.20\nRUN «sudo» make install\n", good: "FROM alpine:3.20\nRUN make install\n" },
)
.with_fix(Fix::Guess);

const PIPEFAIL: Rule = Rule::advice(
    "PipefailMissing",
    &["DL4006"],
    "A download that feeds a pipe needs pipefail",
    "The exit code of a pipe is that of its last command: when the download fails, `sh` runs what came through, or \
     nothing, and the build goes on. Say `SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]` or `set -o pipefail` \
     before, or download to a file first.",
    Shown {
        bad: "FROM debian:12\nRUN «curl -fsSL https://example.org/install | sh»\n",
        good: "FROM debian:12\nSHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN curl -fsSL https://example.org/install | sh\n",
    },
);

const TWO_FETCHERS: Rule = Rule::advice(
    "CurlAndWget",
    &["DL4001"],
    "One of curl and wget is enough",
    "Both do the same; the second one is only more to install and to keep patched.",
    Shown {
        bad: "FROM alpine:3.20\nRUN curl -fsSO https://example.org/a\nRUN «wget» https://example.org/b\n",
        good: "FROM alpine:3.20\nRUN curl -fsSO https://example.org/a\nRUN curl -fsSO https://example.org/b\n",
    },
);

const LINK_SHELL: Rule = Rule::advice(
    "LinkShell",
    &["DL4005"],
    "SHELL chooses the shell, not a link at /bin/sh",
    "A link at `/bin/sh` changes the shell of every script of the distribution too, some of which rely on their own. \
     SHELL changes it for RUN, CMD and ENTRYPOINT alone.",
    Shown {
        bad: "FROM debian:12\nRUN «ln -sf /bin/bash /bin/sh»\n",
        good: "FROM debian:12\nSHELL [\"/bin/bash\", \"-c\"]\n",
    },
);

const SENSELESS: Rule = Rule::advice(
    "SenselessCommand",
    &["DL3001"],
    "Interactive and machine-wide commands do nothing in a build",
    "An editor, a process viewer or a reboot has no one to talk to and no machine to act on while an image is built.",
    Shown { bad: "FROM alpine:3.20\nRUN make && «top»\n", good: "FROM alpine:3.20\nRUN make\n" },
);

const HEREDOC: Rule = Rule::advice(
    "HeredocWithoutSetE",
    &[],
    "A heredoc of several commands should begin with set -e",
    "The lines of a heredoc are a script whose exit code is that of its last command: a failure before it is passed over \
     in silence, which `&&` between commands never did. `set -e` ends it at the first failure.",
    Shown {
        bad: "FROM alpine:3.20\nRUN <<EOF\n«make»\nmake install\nEOF\n",
        good: "FROM alpine:3.20\nRUN <<EOF\nset -e\nmake\nmake install\nEOF\n",
    },
)
.with_fix(Fix::Guess);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[CD, SUDO, PIPEFAIL, TWO_FETCHERS, LINK_SHELL, SENSELESS, HEREDOC];

const FETCHERS: [&str; 2] = ["curl", "wget"];

pub(super) fn advise(linter: &mut Linter<'_>, scene: &Scene<'_>) {
    for run in &scene.runs {
        for part in &run.parts {
            changes_directory(linter, part);
            feeds_a_pipe(linter, run, part);
            goes_on(linter, part);
        }
        for (part, command) in run.commands() {
            sudo(linter, run, part, command);
            others(linter, command);
        }
    }
    two_fetchers(linter, scene);
}

fn changes_directory(linter: &mut Linter<'_>, part: &Part) {
    let is_cd = |command: &&Simple| command.program() == "cd" && command.subshells == 0;
    // One is enough: the others of the script go with it.
    if let Some(command) = part.script.commands.iter().find(is_cd) {
        linter.advise(&CD, command.span, "cd ends with its RUN; WORKDIR holds", None);
    }
}

fn sudo(linter: &mut Linter<'_>, run: &Run<'_>, part: &Part, command: &Simple) {
    let Some(sudo) = command.words.first().filter(|word| base_name(&word.text) == "sudo") else { return };
    let next = command.words.get(1).filter(|word| !word.text.starts_with('-') && !word.text.contains('='));
    let is_root = linter.file.stages.get(run.stage).is_none_or(|stage| {
        !linter.steps(stage).iter().any(|step| matches!(step.body, Body::User(_))) && linter.parent(stage).is_none()
    });
    let suggestion = next
        .filter(|_| is_root && part.form != Form::Json)
        .map(|next| Suggestion { span: Span::new(sudo.span.start, next.span.start), replacement: String::new() });
    linter.advise(&SUDO, sudo.span, "sudo does nothing in RUN, which is root already, or undoes USER", suggestion);
}

fn feeds_a_pipe(linter: &mut Linter<'_>, run: &Run<'_>, part: &Part) {
    const INTERPRETERS: [&str; 9] = ["sh", "bash", "ash", "dash", "zsh", "python", "python3", "perl", "node"];
    let mut has_pipefail = run.has_pipefail;
    for pair in part.script.commands.windows(2) {
        let [from, to] = pair else { continue };
        has_pipefail |= from.program() == "set" && from.arguments().iter().any(|word| word.text == "pipefail");
        if has_pipefail || to.joint != Joint::Pipe || !FETCHERS.contains(&from.program()) {
            continue;
        }
        let span = Span::new(from.span.start, to.span.end);
        let (program, reader) = (from.program(), to.program());
        let does = if INTERPRETERS.contains(&reader) { "runs what has come" } else { "gets what has come" };
        let message = format!("where {program} fails, {reader} {does} and the build goes on: pipefail is not set");
        linter.advise(&PIPEFAIL, span, message, None);
    }
}

fn goes_on(linter: &mut Linter<'_>, part: &Part) {
    let Form::Body { span, stops: false } = part.form else { return };
    let commands = &part.script.commands;
    let goes_on = commands.iter().skip(1).any(|it| it.joint == Joint::Then || it.joint == Joint::First);
    let Some(first) = commands.first().filter(|_| goes_on) else { return };
    let body = span.of(linter.text);
    // Behind a line that chooses the interpreter.
    let lead = if body.starts_with("#!") { body.find('\n').map_or(0, |end| end + 1) } else { 0 };
    let at = Span::new(span.start + lead, span.start + lead);
    let suggestion = Suggestion { span: at, replacement: "set -e\n".to_owned() };
    let message = "a failure in this heredoc is passed over, but for its last command";
    linter.advise(&HEREDOC, first.span, message, Some(suggestion));
}

fn others(linter: &mut Linter<'_>, command: &Simple) {
    const SENSELESS_COMMANDS: [&str; 9] =
        ["shutdown", "reboot", "vim", "vi", "nano", "top", "htop", "free", "ifconfig"];
    let program = command.program();
    if program == "ln" && command.arguments().last().is_some_and(|target| target.text == "/bin/sh") {
        linter.advise(&LINK_SHELL, command.span, "a link at /bin/sh changes every script's shell; use SHELL", None);
    }
    if SENSELESS_COMMANDS.contains(&program) {
        let message = format!("{program} does nothing of use in a build");
        linter.advise(&SENSELESS, command.span, message, None);
    }
}

fn two_fetchers(linter: &mut Linter<'_>, scene: &Scene<'_>) {
    for stage in 0..linter.file.stages.len() {
        let runs = scene.runs.iter().filter(|run| run.stage == stage);
        let mut first: Option<String> = None;
        for (_, command) in runs.flat_map(Run::commands) {
            let program = command.program();
            let Some(word) = command.call().first().filter(|_| FETCHERS.contains(&program)) else { continue };
            match &first {
                Some(other) if other != program => {
                    let message = format!("{program} here and {other} before: one of them is enough");
                    linter.advise(&TWO_FETCHERS, word.span, message, None);
                    break;
                }
                _ => first = Some(program.to_owned()),
            }
        }
    }
}
