//! What is nearly a form of the language, and means something else as it stands: lists that are no JSON, flags behind
//! arguments.

use super::super::super::ast::{Body, Command, Healthcheck, Instruction, Span};
use super::super::super::diagnostic::Suggestion;
use super::super::super::keyword;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};

const NEARLY_JSON: Rule = Rule::advice(
    "NearlyJson",
    &[],
    "A list that is no JSON is no list",
    "Only what reads as a JSON list of strings is taken as one: double quotes, a comma between two strings and none behind \
     the last, backslashes doubled. Anything else goes to the shell, or is cut into words, as it is written, brackets and \
     quotes included.",
    Shown {
        bad: "FROM alpine:3.20\nRUN «['make', 'install']»\n",
        good: "FROM alpine:3.20\nRUN [\"make\", \"install\"]\n",
    },
)
.with_fix(Fix::Guess);

const MISPLACED_FLAG: Rule = Rule::advice(
    "MisplacedFlag",
    &[],
    "Flags stand in front of the arguments",
    "Flags of an instruction end at its first other word. Behind it they are file names for COPY and ADD, and part of the \
     command for RUN and HEALTHCHECK.",
    Shown {
        bad: "FROM alpine:3.20\nCOPY app /srv/ «--chown=1000»\n",
        good: "FROM alpine:3.20\nCOPY --chown=1000 app /srv/\n",
    },
)
.with_fix(Fix::Guess);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[NEARLY_JSON, MISPLACED_FLAG];

pub(super) fn advise(linter: &mut Linter<'_>) {
    for outer in &linter.file.instructions {
        let instruction = match &outer.body {
            Body::OnBuild(inner) => inner,
            _ => outer,
        };
        nearly_json(linter, instruction);
        misplaced_flags(linter, instruction);
    }
}

fn nearly_json(linter: &mut Linter<'_>, instruction: &Instruction) {
    let is_words = match &instruction.body {
        Body::Run(Command::Shell(_)) | Body::Cmd(Command::Shell(_)) | Body::Entrypoint(Command::Shell(_)) => false,
        Body::Healthcheck(Healthcheck::Check { command: Command::Shell(_), .. }) => false,
        Body::Copy(_) | Body::Add(_) | Body::Volume(_) => true,
        _ => return,
    };
    let mut span = linter.arguments(instruction);
    if matches!(instruction.body, Body::Healthcheck(_)) {
        let text = span.of(linter.text);
        let behind = text.get(3..).map_or("", str::trim_start);
        span.start += text.len() - behind.len();
    }
    let text = span.of(linter.text);
    if text.contains('\n') || serde_json::from_str::<Vec<String>>(text).is_ok() || !looks_like_a_list(text) {
        return;
    }
    let (items, why) = read_list(text);
    let becomes = if is_words { "is cut into words" } else { "goes to the shell" };
    let message = format!("this is no JSON and {becomes} as it is: {why}");
    let suggestion = items.and_then(|items| Some(serde_json::to_string(&items).ok()?.replace("\",\"", "\", \"")));
    let suggestion = suggestion.map(|replacement| Suggestion { span, replacement });
    linter.advise(&NEARLY_JSON, span, message, suggestion);
}

const TYPOGRAPHIC: [char; 5] = ['“', '”', '„', '‘', '’'];

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'') || TYPOGRAPHIC.contains(&c)
}

/// Whether it was meant as a list, and not as the shell's test: a bracket with a quote right behind it, or quoted words
/// with commas between them.
fn looks_like_a_list(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('[') else { return false };
    let is_closed = text.ends_with(']') && !text.ends_with("]]");
    let is_tight = inside.starts_with(is_quote);
    let pieces: Vec<&str> = inside.split(',').collect();
    let is_separated = pieces.len() > 1
        && pieces.iter().take(pieces.len() - 1).all(|piece| {
            let piece = piece.trim();
            piece.len() > 1 && piece.starts_with(is_quote) && piece.ends_with(is_quote)
        });
    let is_bare =
        is_closed && inside.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && !inside.contains("||");
    is_separated || is_tight && (is_closed || inside.contains("\"]")) || is_bare && !inside.contains('=')
}

/// What the list was meant to hold, where that can be told, and why it is none.
fn read_list(text: &str) -> (Option<Vec<String>>, &'static str) {
    let inside = text.strip_prefix('[').unwrap_or(text).trim_end();
    let (inside, is_closed) = match inside.strip_suffix(']') {
        Some(inside) => (inside, true),
        None => (inside, false),
    };
    let mut items = Vec::new();
    let (mut rest, mut has_bare, mut is_whole) = (inside.trim(), false, true);
    while let Some(first) = rest.chars().next() {
        let body = rest.get(first.len_utf8()..).unwrap_or_default();
        let (item, behind) = if is_quote(first) {
            let closes = |c: char| if first.is_ascii() { c == first } else { is_quote(c) && !c.is_ascii() };
            match body.find(closes) {
                Some(end) => (body.get(..end), body.get(end..).and_then(|it| it.get(it.chars().next()?.len_utf8()..))),
                None => (None, None),
            }
        } else {
            has_bare = true;
            let end = rest.find(',').unwrap_or(rest.len());
            (rest.get(..end).map(str::trim), rest.get(end..))
        };
        let (Some(item), Some(behind)) = (item, behind) else {
            is_whole = false;
            break;
        };
        items.push(item.to_owned());
        let behind = behind.trim_start();
        match (behind.is_empty(), behind.strip_prefix(',')) {
            (true, _) => break,
            (_, Some(next)) => rest = next.trim_start(),
            _ => {
                is_whole = false;
                break;
            }
        }
    }
    let why = if text.contains(TYPOGRAPHIC) {
        "typographic quotes quote nothing"
    } else if inside.trim_start().starts_with('\'') || inside.contains(",'") || inside.contains(", '") {
        "its strings need double quotes"
    } else if has_bare {
        "its strings need quotes"
    } else if !is_closed && inside.contains("\"]") {
        "something stands behind its ]"
    } else if !is_closed {
        "its ] is missing"
    } else if inside.trim_end().ends_with(',') {
        "no comma may stand behind the last string"
    } else if inside.contains('\\') {
        "a backslash in it has to be doubled"
    } else {
        "between two strings stands a comma, and nothing else"
    };
    let is_told = is_whole && !items.is_empty() && !items.iter().any(|item| item.contains(['"', '\\', '[', ']']));
    (is_told.then_some(items), why)
}

fn misplaced_flags(linter: &mut Linter<'_>, instruction: &Instruction) {
    let words = linter.words(instruction);
    let text = |span: &Span| span.of(linter.text);
    let is_json = words.first().is_some_and(|word| text(word).starts_with('['));
    let Some(keyword) = keyword::find(&instruction.keyword).filter(|_| !is_json) else { return };
    let is_flag = |word: &Span| {
        let name = text(word).strip_prefix("--").map(|flag| flag.split('=').next().unwrap_or(flag));
        name.is_some_and(|name| keyword.flags.iter().any(|flag| flag.name == name))
    };
    const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
    const HAVE_MOUNTS: [&str; 4] = ["docker", "podman", "nerdctl", "buildah"];
    let is_mount = |word: &Span| {
        let kind = text(word).strip_prefix("--mount=type=").and_then(|rest| rest.split(',').next());
        kind.is_some_and(|kind| KINDS.contains(&kind))
    };
    let found = match &instruction.body {
        Body::Copy(_) | Body::Add(_) => words.iter().skip(1).find(|word| is_flag(word)),
        Body::Run(_) if !words.iter().any(|word| HAVE_MOUNTS.contains(&text(word))) => {
            words.iter().skip(1).find(|word| is_mount(word))
        }
        Body::Healthcheck(_) => words.get(1).filter(|word| is_flag(word)),
        _ => None,
    };
    let (Some(flag), Some(first)) = (found.copied(), words.first().copied()) else { return };
    let before = Span::new(first.start, flag.start).of(linter.text).trim_end();
    // On one line it is moved, with what stood in front of it.
    let suggestion = (!before.contains('\n')).then(|| Suggestion {
        span: Span::new(first.start, flag.end),
        replacement: format!("{} {before}", text(&flag)),
    });
    let flag_text = text(&flag).split('=').next().unwrap_or_default().to_owned();
    let message = format!("{flag_text} is no flag here: flags stand in front of the arguments");
    linter.advise(&MISPLACED_FLAG, flag, message, suggestion);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_as_a_list() {
        let cases: [(&str, Option<&[&str]>, &str); 9] = [
            ("['a', 'b c']", Some(&["a", "b c"]), "its strings need double quotes"),
            ("[\"a\", \"b\",]", Some(&["a", "b"]), "no comma may stand behind the last string"),
            ("[\"a\", \"b\"", Some(&["a", "b"]), "its ] is missing"),
            ("[“a”, “b”]", Some(&["a", "b"]), "typographic quotes quote nothing"),
            ("[sh, -c]", Some(&["sh", "-c"]), "its strings need quotes"),
            ("[\"a\", b]", Some(&["a", "b"]), "its strings need quotes"),
            ("[\"a\"], \"b\"", None, "something stands behind its ]"),
            ("[\"C:\\d\"]", None, "a backslash in it has to be doubled"),
            ("[\"a\" \"b\"]", None, "between two strings stands a comma, and nothing else"),
        ];
        for (text, items, why) in cases {
            assert!(looks_like_a_list(text), "{text}");
            let expected = items.map(|items| items.iter().map(|item| (*item).to_owned()).collect());
            assert_eq!(read_list(text), (expected, why), "{text}");
        }
        for text in ["[ -f a ]", "[ \"$a\" = \"b\" ]", "[[ a == b ]]", "[ \"$a\" = \"x,y\" ] && z", "[a=b]", "x"] {
            assert!(!looks_like_a_list(text), "{text}");
        }
    }
}
