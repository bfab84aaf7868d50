//! How instructions are written: letters, blank lines, old forms.

use super::super::super::ast::{Body, Instruction, Span};
use super::super::super::diagnostic::Suggestion;
use super::super::Notes;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};

const CONSISTENT_CASING: Rule = Rule::buildkit(
    "ConsistentInstructionCasing",
    "https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/",
    "All instructions should be written in the same case",
    "Docker reads `run` and `RUN` alike; people do not. One case throughout, usually upper, lets instructions stand out \
     from what they are given.",
    Shown { bad: "FROM alpine:3.20\n«Run» make\nWORKDIR /srv\n", good: "FROM alpine:3.20\nRUN make\nWORKDIR /srv\n" },
)
.with_fix(Fix::Sure);

const NO_EMPTY_CONTINUATION: Rule = Rule::buildkit(
    "NoEmptyContinuation",
    "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/",
    "Blank lines inside of an instruction will be refused in future",
    "After a line that ends in `\\` an empty line is skipped today, which hides where the instruction ends. Take it out, \
     or put a comment in its place.",
    Shown {
        bad: "FROM alpine:3.20\nRUN make \\\n«»\n    install\n",
        good: "FROM alpine:3.20\nRUN make \\\n    install\n",
    },
)
.with_fix(Fix::Sure);

const MAINTAINER: Rule = Rule::buildkit(
    "MaintainerDeprecated",
    "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/",
    "A label says the same and more",
    "MAINTAINER sets a field that tools no longer show. The label `org.opencontainers.image.authors` is what they read.",
    Shown {
        bad: "FROM alpine:3.20\n«MAINTAINER jo@example.org»\n",
        good: "FROM alpine:3.20\nLABEL org.opencontainers.image.authors=\"jo@example.org\"\n",
    },
)
.with_fix(Fix::Sure)
.in_hadolint(&["DL4000"]);

const LEGACY_KEY_VALUE: Rule = Rule::buildkit(
    "LegacyKeyValueFormat",
    "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/",
    "The form without = can only set one value",
    "`ENV key value` takes the rest of the line as the value, so a second pair on the line silently becomes part of the \
     first. `ENV key=value` says what it means.",
    Shown {
        bad: "FROM alpine:3.20\n«ENV GREETING good morning»\n",
        good: "FROM alpine:3.20\nENV GREETING=\"good morning\"\n",
    },
)
.with_fix(Fix::Sure);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[CONSISTENT_CASING, NO_EMPTY_CONTINUATION, MAINTAINER, LEGACY_KEY_VALUE];

pub(super) fn check(linter: &mut Linter<'_>, notes: &Notes) {
    blank_lines(linter, notes);
    casing(linter);
    for instruction in &linter.file.instructions {
        match &instruction.body {
            Body::Maintainer(name) => {
                let label = format!("{:?}", name.trim_matches(['"', '\'']));
                let keyword = if is_lower(linter.written(instruction)) { "label" } else { "LABEL" };
                let replacement = format!("{keyword} org.opencontainers.image.authors={label}");
                let message = "Maintainer instruction is deprecated in favor of using label";
                // In a label these would mean something.
                if name.contains(['$', '\\', '`']) {
                    linter.warn(&MAINTAINER, instruction, instruction.span, message);
                } else {
                    linter.correct(&MAINTAINER, instruction, instruction.span, message, replacement);
                }
            }
            Body::Env(_) | Body::Label(_) => legacy(linter, instruction),
            _ => {}
        }
    }
}

fn is_lower(word: &str) -> bool {
    !word.chars().any(char::is_uppercase)
}

fn is_upper(word: &str) -> bool {
    !word.chars().any(char::is_lowercase)
}

fn blank_lines(linter: &mut Linter<'_>, notes: &Notes) {
    for lines in &notes.blank_lines {
        let line = linter.line(lines.first);
        let is_blank = |number: &usize| {
            let line = linter.line(*number);
            line.end > line.start && line.of(linter.text).trim().is_empty()
        };
        let last = (lines.first..).take_while(is_blank).last().unwrap_or(lines.first);
        let whole = Span::new(line.start, linter.line(last).end);
        let suggestion = Suggestion { span: whole, replacement: String::new() };
        let span = Span::new(line.start, line.start);
        linter.tell(&NO_EMPTY_CONTINUATION, *lines, span, "Empty continuation line".to_owned(), Some(suggestion));
    }
}

/// All but the ARGs before the first FROM, which BuildKit does not look at.
fn casing(linter: &mut Linter<'_>) {
    let first = linter.file.stages.first().map_or(0, |stage| stage.instructions.start);
    let steps = linter.file.instructions.get(first..).unwrap_or_default();
    let is_known = |it: &&Instruction| super::super::super::keyword::find(&it.keyword).is_some();
    let known: Vec<&Instruction> = steps.iter().filter(is_known).collect();
    let lower = known.iter().filter(|it| is_lower(linter.written(it))).count();
    let upper = known.iter().filter(|it| is_upper(linter.written(it))).count();
    let wants_lower = lower > upper;
    let majority = if wants_lower { "lowercase" } else { "uppercase" };
    for instruction in known {
        let written = linter.written(instruction);
        if if wants_lower { is_lower(written) } else { is_upper(written) } {
            continue;
        }
        let message = format!("Command '{written}' should match the case of the command majority ({majority})");
        let replacement = if wants_lower { written.to_ascii_lowercase() } else { written.to_ascii_uppercase() };
        linter.correct(&CONSISTENT_CASING, instruction, instruction.keyword_span, message, replacement);
    }
}

fn legacy(linter: &mut Linter<'_>, instruction: &Instruction) {
    let (Body::Env(pairs) | Body::Label(pairs)) = &instruction.body else { return };
    let Some(pair) = pairs.iter().find(|pair| pair.legacy) else { return };
    let keyword = linter.written(instruction);
    let message = format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format");
    let is_one_word = !pair.value.contains(char::is_whitespace);
    let is_quoted = pair.value.contains(['"', '\'']);
    // Several words with quotes in them may mean more than one thing.
    let is_escaped = pair.value.contains(linter.file.escape.char());
    let is_clear = instruction.lines.first == instruction.lines.last && (is_one_word || !is_quoted && !is_escaped);
    if !is_clear {
        return linter.warn(&LEGACY_KEY_VALUE, instruction, instruction.span, message);
    }
    let value = if is_one_word { pair.value.clone() } else { format!("\"{}\"", pair.value) };
    let replacement = format!("{keyword} {}={value}", pair.key);
    linter.correct(&LEGACY_KEY_VALUE, instruction, instruction.span, message, replacement);
}
