//! ARG and ENV: variables nobody has set, secrets in names.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::ast::{Body, Instruction, Span};
use super::super::super::expand::{Escape, NoVariables, expand};
use super::super::super::predefined::is_predefined;
use super::super::super::suggest::nearest;
use super::super::VariablesOf;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};

pub(super) const UNDEFINED_VAR: Rule = Rule::buildkit(
    "UndefinedVar",
    "https://docs.docker.com/go/dockerfile/rule/undefined-var/",
    "A variable that is not set is replaced by nothing",
    "Variables come from ARG and ENV of the stage, or from the base image. One that nobody has set is most often a \
     misspelt one. What a base image sets can't be seen in the file: where it is neither `scratch` nor a bare \
     distribution (`debian`, `alpine`, ...), only near misses of a name that is set are told. A build knows its base \
     images, and tells all.",
    Shown {
        bad: "FROM alpine:3.20\nARG VERSION=1\nENV APP_URL=http://example.org/«$VERSON»\n",
        good: "FROM alpine:3.20\nARG VERSION=1\nENV APP_URL=http://example.org/$VERSION\n",
    },
)
.with_fix(Fix::Guess);

const SECRET_NAME: Rule = Rule::buildkit(
    "SecretsUsedInArgOrEnv",
    "https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/",
    "What stands in ARG or ENV can be read from the image",
    "Values of ENV are part of the image's configuration, those of ARG of its history; whoever can pull the image can read \
     them. Hand secrets to the steps that need them by `RUN --mount=type=secret`.",
    Shown {
        bad: "FROM alpine:3.20\n«ARG DB_PASSWORD»\nRUN migrate\n",
        good: "FROM alpine:3.20\nRUN --mount=type=secret,id=db_password migrate\n",
    },
);

const USES_ITSELF: Rule = Rule::advice(
    "EnvUsesItself",
    &["DL3044"],
    "A variable can't be used in the ENV that sets it",
    "Within one ENV every variable still has the value from before it, so what the same ENV sets is not seen yet. Split it \
     in two.",
    Shown {
        bad: "FROM node:22\nENV APP_HOME=/srv APP_BIN=«$APP_HOME»/bin\n",
        good: "FROM node:22\nENV APP_HOME=/srv\nENV APP_BIN=$APP_HOME/bin\n",
    },
);

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[UNDEFINED_VAR, SECRET_NAME, USES_ITSELF];

/// What is always there in FROM, with values that stand for the real ones.
pub(super) const PLATFORM_ARGS: [(&str, &str); 11] = [
    ("TARGETPLATFORM", "linux/amd64"),
    ("TARGETOS", "linux"),
    ("TARGETOSVERSION", ""),
    ("TARGETARCH", "amd64"),
    ("TARGETVARIANT", ""),
    ("BUILDPLATFORM", "linux/amd64"),
    ("BUILDOS", "linux"),
    ("BUILDOSVERSION", ""),
    ("BUILDARCH", "amd64"),
    ("BUILDVARIANT", ""),
    ("TARGETSTAGE", ""),
];

/// The variables of a stage.
#[derive(Debug, Clone)]
struct Scope {
    names: BTreeSet<String>,
    /// Whether no other can come from a base image.
    is_complete: bool,
}

impl Scope {
    fn of_base(image: &str, variables_of: VariablesOf<'_>) -> Self {
        if let Some(names) = variables_of(image) {
            return Self { names: names.into_iter().collect(), is_complete: true };
        }
        let library = ["docker.io/library/", "docker.io/", "library/"].iter().find_map(|hub| image.strip_prefix(hub));
        let name = library.unwrap_or(image).split([':', '@']).next().unwrap_or_default();
        match (image == "scratch", BARE.contains(&name)) {
            // Docker gives it to an image that has none.
            (true, _) => Self { names: BTreeSet::from(["PATH".to_owned()]), is_complete: true },
            (_, true) => Self { names: SET_BY_BARE.map(str::to_owned).into(), is_complete: true },
            _ => Self { names: BTreeSet::from(["PATH".to_owned()]), is_complete: false },
        }
    }

    fn declare(&mut self, instruction: &Instruction) {
        match &instruction.body {
            Body::Env(pairs) => self.names.extend(pairs.iter().map(|pair| pair.key.clone())),
            Body::Arg(declarations) => {
                self.names.extend(declarations.iter().map(|declaration| declaration.name.clone()));
            }
            _ => {}
        }
    }
}

pub(super) fn check(linter: &mut Linter<'_>) {
    for stage in &linter.file.stages {
        linter.steps(stage).iter().for_each(|instruction| secrets(linter, instruction));
    }
    undefined(linter, &|_| None);
}

/// Images of distributions that set no more variables than these.
const BARE: [&str; 10] = [
    "almalinux",
    "alpine",
    "amazonlinux",
    "archlinux",
    "busybox",
    "centos",
    "debian",
    "fedora",
    "rockylinux",
    "ubuntu",
];
const SET_BY_BARE: [&str; 4] = ["PATH", "DISTTAG", "FGC", "container"];

/// Tells what nobody has set; `variables_of` has what base images set, where it knows them.
pub(super) fn undefined(linter: &mut Linter<'_>, variables_of: VariablesOf<'_>) {
    let mut scopes: BTreeMap<usize, Scope> = BTreeMap::new();
    for stage in &linter.file.stages {
        let parent = linter.parent(stage).and_then(|parent| scopes.get(&parent.index)).cloned();
        let image = linter.base_of(stage).map_or("", |(_, base)| base.image.as_str());
        let mut scope = parent.unwrap_or_else(|| Scope::of_base(image, variables_of));
        for instruction in linter.steps(stage) {
            uses(linter, instruction, &scope);
            scope.declare(instruction);
        }
        scopes.insert(stage.index, scope);
    }
}

/// A variable counts as undefined where all of the stage's variables are known, or where a declared one has nearly the
/// same name.
fn uses(linter: &mut Linter<'_>, instruction: &Instruction, scope: &Scope) {
    let mut told = BTreeSet::new();
    for word in expanded_words(instruction) {
        for name in unset(word, &scope.names, linter.file.escape) {
            // Many names end in PATH; only its own letters in another order are a slip of it.
            let near = nearest(&name, scope.names.iter().map(String::as_str));
            let near = near.filter(|near| *near != "PATH" || name.len() == near.len());
            if is_predefined(&name) || !(scope.is_complete || near.is_some()) || !told.insert(name.clone()) {
                continue;
            }
            let (span, written) = place(linter, instruction, &name);
            let advice = near.map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
            let message = format!("Usage of undefined variable '${name}'{advice}");
            match (near, written) {
                (Some(near), Some(_)) => {
                    linter.correct(&UNDEFINED_VAR, instruction, span, message, format!("${near}"));
                }
                _ => linter.warn(&UNDEFINED_VAR, instruction, span, message),
            }
        }
    }
}

/// Where `$name` stands in an instruction, and the text there; all of the instruction where it stands otherwise
/// (`${name:-x}`).
pub(super) fn place<'a>(linter: &Linter<'a>, instruction: &Instruction, name: &str) -> (Span, Option<&'a str>) {
    let text = instruction.span.of(linter.text);
    let is_end = |end: usize| {
        let next = text.get(end..).and_then(|rest| rest.chars().next());
        next.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_')
    };
    for (written, whole) in [(format!("${name}"), false), (format!("${{{name}}}"), true)] {
        let found = text.match_indices(&written).find(|(at, _)| whole || is_end(at + written.len()));
        if let Some((at, found)) = found {
            let start = instruction.span.start + at;
            return (Span::new(start, start + found.len()), Some(found));
        }
    }
    (instruction.span, None)
}

/// The words of an instruction in which variables are replaced.
fn expanded_words(instruction: &Instruction) -> Vec<&str> {
    let flags = instruction.flags.iter().filter_map(|flag| flag.value.as_deref());
    match &instruction.body {
        Body::Copy(transfer) | Body::Add(transfer) => {
            flags.chain(transfer.sources.iter().map(String::as_str)).chain([transfer.destination.as_str()]).collect()
        }
        Body::Env(pairs) | Body::Label(pairs) => {
            pairs.iter().flat_map(|pair| [pair.key.as_str(), pair.value.as_str()]).collect()
        }
        Body::Arg(declarations) => declarations.iter().filter_map(|it| it.default.as_deref()).collect(),
        Body::Workdir(word) | Body::User(word) | Body::StopSignal(word) => vec![word],
        Body::Expose(words) | Body::Volume(words) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The variables in `word` that are not among `known`.
pub(super) fn unset(word: &str, known: &BTreeSet<String>, escape: Escape) -> Vec<String> {
    if !word.contains('$') {
        return Vec::new();
    }
    let names = expand(word, &NoVariables, escape).map(|expanded| expanded.unset).unwrap_or_default();
    // The shell's own parameters ($1, $@) are nobody's typing mistake.
    let is_name = |name: &String| name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    names.into_iter().filter(|name| is_name(name) && !known.contains(name)).collect()
}

fn secrets(linter: &mut Linter<'_>, instruction: &Instruction) {
    let names: Vec<&str> = match &instruction.body {
        Body::Env(pairs) => pairs.iter().map(|pair| pair.key.as_str()).collect(),
        Body::Arg(declarations) => declarations.iter().map(|declaration| declaration.name.as_str()).collect(),
        _ => return,
    };
    for name in names.into_iter().filter(|name| is_secret(name)) {
        let message =
            format!("Do not use ARG or ENV instructions for sensitive data ({} {name:?})", instruction.keyword);
        linter.warn(&SECRET_NAME, instruction, instruction.span, message);
    }
}

/// Whether a name looks like it holds a secret.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 10] =
        ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let name = name.to_ascii_lowercase();
    let mut parts = name.split('_');
    parts.clone().any(|part| SECRET.contains(&part)) && !parts.any(|part| HARMLESS.contains(&part))
}

pub(super) fn advise(linter: &mut Linter<'_>) {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for instruction in &linter.file.instructions {
        match &instruction.body {
            Body::Env(pairs) => {
                let own: BTreeSet<&str> = pairs.iter().map(|pair| pair.key.as_str()).collect();
                for pair in pairs {
                    for name in unset(&pair.value, &known, linter.file.escape) {
                        // `PATH=/x:$PATH` means the value from before, which a base image may have.
                        if own.contains(name.as_str()) && pair.key != name && !is_predefined(&name) {
                            let (span, _) = place(linter, instruction, &name);
                            let message = format!("${name} is not what this ENV sets, but what was set before it");
                            linter.advise(&USES_ITSELF, span, message, None);
                        }
                    }
                }
                known.extend(pairs.iter().map(|pair| pair.key.clone()));
            }
            Body::Arg(declarations) => known.extend(declarations.iter().map(|it| it.name.clone())),
            _ => {}
        }
    }
}
