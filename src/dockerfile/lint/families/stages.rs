//! FROM: stage names, base images, platforms, and the comments that describe stages and arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::super::super::ast::{Base, Body, Instruction, Span};
use super::super::super::diagnostic::Suggestion;
use super::super::super::expand::expand;
use super::super::super::suggest::nearest;
use super::super::PlatformOf;
use super::super::linter::Linter;
use super::super::rule::{Fix, Rule, Shown};
use super::variables::{PLATFORM_ARGS, unset};

const STAGE_NAME_CASING: Rule = Rule::buildkit(
    "StageNameCasing",
    "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
    "Stage names should be in lower case",
    "Stage names are compared without regard to case. In lower case they can't be taken for instructions, and always look \
     the same.",
    Shown { bad: "FROM alpine:3.20 AS «Build»\n", good: "FROM alpine:3.20 AS build\n" },
)
.with_fix(Fix::Sure);

const FROM_AS_CASING: Rule = Rule::buildkit(
    "FromAsCasing",
    "https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
    "AS should be written in the same case as FROM",
    "FROM and AS are one instruction; in two cases the name of the stage is easily overlooked.",
    Shown { bad: "FROM alpine:3.20 «as» build\n", good: "FROM alpine:3.20 AS build\n" },
)
.with_fix(Fix::Sure);

const DUPLICATE: Rule = Rule::buildkit(
    "DuplicateStageName",
    "https://docs.docker.com/go/dockerfile/rule/duplicate-stage-name/",
    "Only one of two stages of the same name can be referred to",
    "A name that two stages have leads to one of them only; the other can be reached by its number alone.",
    Shown {
        bad: "FROM golang:1.23 AS build\nFROM alpine:3.20 AS «build»\n",
        good: "FROM golang:1.23 AS build\nFROM alpine:3.20 AS run\n",
    },
)
.in_hadolint(&["DL3024"]);

const RESERVED: Rule = Rule::buildkit(
    "ReservedStageName",
    "https://docs.docker.com/go/dockerfile/rule/reserved-stage-name/",
    "scratch and context already mean something",
    "`FROM scratch` begins with an empty image and `context` is the build context; a stage of that name can't be referred \
     to, or hides them.",
    Shown { bad: "FROM alpine:3.20 AS «scratch»\n", good: "FROM alpine:3.20 AS base\n" },
);

const UNDEFINED_ARG: Rule = Rule::buildkit(
    "UndefinedArgInFrom",
    "https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/",
    "A variable in FROM must be declared by ARG before the first FROM",
    "FROM only knows the arguments declared above the first FROM, and the platform's. Any other variable is replaced by \
     nothing, so another image is taken than the one meant.",
    Shown {
        bad: "ARG VERSION=3.20\nFROM alpine:3-«$VERSON»\n",
        good: "ARG VERSION=3.20\nFROM alpine:3-$VERSION\n",
    },
)
.with_fix(Fix::Guess);

const INVALID_DEFAULT: Rule = Rule::buildkit(
    "InvalidDefaultArgInFrom",
    "https://docs.docker.com/go/dockerfile/rule/invalid-default-arg-in-from/",
    "Without build arguments FROM should still name an image",
    "The image's name comes from an argument that has no default, so a build without `--build-arg` fails. Give it a \
     default that builds.",
    Shown { bad: "ARG TAG\nFROM «alpine:$TAG»\n", good: "ARG TAG=3.20\nFROM alpine:$TAG\n" },
);

const CONST_PLATFORM: Rule = Rule::buildkit(
    "FromPlatformFlagConstDisallowed",
    "https://docs.docker.com/go/dockerfile/rule/from-platform-flag-const-disallowed/",
    "A fixed platform keeps the image from being built for others",
    "With a platform written in the file every build makes the same one, whatever `--platform` asks for. Leave it out, or \
     use `$BUILDPLATFORM` for stages that only compile. A stage whose name tells the platform may keep it.",
    Shown {
        bad: "FROM «--platform=linux/amd64» alpine:3.20\n", good: "FROM --platform=$BUILDPLATFORM alpine:3.20\n"
    },
)
.in_hadolint(&["DL3029"]);

const REDUNDANT_PLATFORM: Rule = Rule::buildkit(
    "RedundantTargetPlatform",
    "https://docs.docker.com/go/dockerfile/rule/redundant-target-platform/",
    "The target platform is what FROM takes anyway",
    "`--platform=$TARGETPLATFORM` asks for what FROM does by itself.",
    Shown { bad: "FROM «--platform=$TARGETPLATFORM» alpine:3.20\n", good: "FROM alpine:3.20\n" },
)
.with_fix(Fix::Sure);

const BASE_PLATFORM: Rule = Rule::buildkit(
    "InvalidBaseImagePlatform",
    "",
    "The base image should be for the platform that is built",
    "An image of another platform was found under the name, so its programs will not run here, or only emulated. Pull the \
     image for the platform you build, or choose one that has it.",
    Shown { bad: "FROM «alpine:arm»\n", good: "FROM alpine:3.20\n" },
);

const DESCRIPTION: Rule = Rule::buildkit(
    "InvalidDefinitionDescription",
    "https://docs.docker.com/go/dockerfile/rule/invalid-definition-description/",
    "A comment right above a stage or argument describes it by name",
    "`docker build --call=outline` shows the comment above an ARG or a named FROM as its description, where it begins \
     with the name. Begin it so, or leave a blank line below the comment if it is about something else.",
    Shown {
        bad: "# check=experimental=InvalidDefinitionDescription\n\n«# where it is compiled»\nFROM alpine:3.20 AS build\n",
        good: "# check=experimental=InvalidDefinitionDescription\n\n# build is where it is compiled\nFROM alpine:3.20 AS build\n",
    },
)
.experimental();

/// The rows of this family.
pub(in super::super) const RULES: &[Rule] = &[
    STAGE_NAME_CASING,
    FROM_AS_CASING,
    DUPLICATE,
    RESERVED,
    UNDEFINED_ARG,
    INVALID_DEFAULT,
    CONST_PLATFORM,
    REDUNDANT_PLATFORM,
    BASE_PLATFORM,
    DESCRIPTION,
];

pub(super) fn check(linter: &mut Linter<'_>) {
    let mut seen = BTreeSet::new();
    let globals = Globals::of(linter);
    for stage in &linter.file.stages {
        let Some((from, base)) = linter.base_of(stage) else { continue };
        name(linter, from, base, &mut seen);
        platform(linter, from, base, stage.name.as_deref().unwrap_or_default());
        arguments(linter, from, base, &globals);
    }
    descriptions(linter);
}

/// Base images of another platform than the one that is built for.
pub(super) fn platforms(linter: &mut Linter<'_>, target: &str, platform_of: PlatformOf<'_>) {
    for stage in &linter.file.stages {
        let Some((from, base)) = linter.base_of(stage) else { continue };
        let Some(actual) = platform_of(&base.image).filter(|_| linter.parent(stage).is_none()) else { continue };
        let same = |text: &str| text.split('/').take(2).collect::<Vec<_>>().join("/");
        let expected = base.platform.as_deref().filter(|platform| !platform.contains('$')).unwrap_or(target);
        if same(&actual) != same(expected) {
            let image = &base.image;
            let message = format!(
                "Base image {image} was pulled with platform {actual:?}, expected {expected:?} for current build"
            );
            linter.warn(&BASE_PLATFORM, from, base.image_span, message);
        }
    }
}

fn name(linter: &mut Linter<'_>, from: &Instruction, base: &Base, seen: &mut BTreeSet<String>) {
    let (Some(name), Some(span)) = (&base.name, base.name_span) else { return };
    let lower = name.to_lowercase();
    if *name != lower {
        let message = format!("Stage name '{name}' should be lowercase");
        linter.correct(&STAGE_NAME_CASING, from, span, message, lower.clone());
    }
    as_word(linter, from, Span::new(base.image_span.end, span.start));
    if lower == "scratch" || lower == "context" {
        let message = format!("Stage name should not use the same name as reserved stage {lower:?}");
        linter.warn(&RESERVED, from, span, message);
    }
    if seen.contains(&lower) {
        let message = format!("Duplicate stage name {lower:?}, stage names should be unique");
        linter.warn(&DUPLICATE, from, span, message);
    }
    seen.insert(lower);
}

/// Looks at the AS that stands between image and name.
fn as_word(linter: &mut Linter<'_>, from: &Instruction, between: Span) {
    let text = between.of(linter.text);
    let Some(at) = text.to_ascii_lowercase().find("as") else { return };
    let span = Span::new(between.start + at, between.start + at + 2);
    let (keyword, written) = (linter.written(from), span.of(linter.text));
    let wanted = if keyword == keyword.to_lowercase() {
        "as"
    } else if keyword == keyword.to_uppercase() {
        "AS"
    } else {
        return; // ConsistentInstructionCasing has its word about it
    };
    if written != wanted {
        let message = format!("'{written}' and '{keyword}' keywords' casing do not match");
        linter.correct(&FROM_AS_CASING, from, span, message, wanted);
    }
}

fn platform(linter: &mut Linter<'_>, from: &Instruction, base: &Base, stage: &str) {
    let Some(platform) = base.platform.as_deref() else { return };
    let flag = from.flags.iter().find(|flag| flag.name == "platform");
    let span = flag.map_or(from.span, |flag| flag.span);
    if matches!(platform, "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
        let message =
            format!("Setting platform to predefined {platform} in FROM is redundant as this is the default behavior");
        let blanks = linter.text.get(span.end..).unwrap_or_default();
        let blanks = blanks.len() - blanks.trim_start_matches([' ', '\t']).len();
        let suggestion = Suggestion { span: Span::new(span.start, span.end + blanks), replacement: String::new() };
        linter.tell(&REDUNDANT_PLATFORM, from.lines, span, message, Some(suggestion));
    } else if !platform.contains('$') {
        let mut parts = platform.split('/');
        let is_told = parts.by_ref().take(2).any(|part| !part.is_empty() && stage.contains(part));
        if !is_told {
            let message = format!("FROM --platform flag should not use constant value {platform:?}");
            linter.warn(&CONST_PLATFORM, from, span, message);
        }
    }
}

/// The arguments declared before the first FROM.
struct Globals {
    names: BTreeSet<String>,
    /// What they are where no build argument is given; `None` where a default can't be read.
    defaults: Option<BTreeMap<String, String>>,
}

impl Globals {
    fn of(linter: &Linter<'_>) -> Self {
        let mut names: BTreeSet<String> = PLATFORM_ARGS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let platform = PLATFORM_ARGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut defaults: Option<BTreeMap<String, String>> = Some(platform.collect());
        for instruction in linter.file.preamble() {
            let Body::Arg(declarations) = &instruction.body else { continue };
            for declaration in declarations {
                names.insert(declaration.name.clone());
                let (Some(known), Some(default)) = (&mut defaults, &declaration.default) else { continue };
                match expand(default, known, linter.file.escape) {
                    Ok(value) => {
                        known.insert(declaration.name.clone(), value.text);
                    }
                    Err(_) => defaults = None,
                }
            }
        }
        Self { names, defaults }
    }
}

fn arguments(linter: &mut Linter<'_>, from: &Instruction, base: &Base, globals: &Globals) {
    for word in [Some(&base.image), base.platform.as_ref()].into_iter().flatten() {
        for name in unset(word, &globals.names, linter.file.escape) {
            let (span, braced) = super::variables::place(linter, from, &name);
            let near = nearest(&name, globals.names.iter().map(String::as_str));
            let advice = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            let message = format!("FROM argument '{name}' is not declared{advice}");
            match near.filter(|_| braced.is_some()) {
                Some(near) => linter.correct(&UNDEFINED_ARG, from, span, message, format!("${near}")),
                None => linter.warn(&UNDEFINED_ARG, from, span, message),
            }
        }
    }
    let Some(defaults) = globals.defaults.as_ref().filter(|_| base.image.contains('$')) else { return };
    if let Ok(image) = expand(&base.image, defaults, linter.file.escape)
        && !is_image_name(&image.text)
    {
        let message = format!("Default value for ARG {} results in empty or invalid base image name", base.image);
        linter.warn(&INVALID_DEFAULT, from, base.image_span, message);
    }
}

/// Whether a text can be an image's name: `[host[:port]/]path[:tag][@digest]`.
fn is_image_name(name: &str) -> bool {
    static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let path = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
        let host = "(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?|\\[[0-9a-fA-F:]+\\](?::[0-9]+)?)";
        let rest = "(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,})?";
        Regex::new(&format!("^(?:{host}/)?{path}(?:/{path})*{rest}$")).ok()
    });
    NAME.as_ref().is_none_or(|pattern| pattern.is_match(name))
}

fn descriptions(linter: &mut Linter<'_>) {
    for instruction in &linter.file.instructions {
        let names: Vec<String> = match &instruction.body {
            Body::From(Base { name: Some(name), .. }) => vec![name.to_lowercase()],
            Body::Arg(declarations) => declarations.iter().map(|declaration| declaration.name.clone()).collect(),
            _ => continue,
        };
        let above = instruction.lines.first.wrapping_sub(1);
        let line = linter.line(above);
        let comment = line.of(linter.text).trim();
        let Some(text) = comment.strip_prefix('#').map(str::trim).filter(|text| !text.is_empty()) else { continue };
        let is_directive = linter.file.directives.iter().any(|directive| directive.line == above);
        if is_directive || names.iter().any(|name| text.split(' ').next() == Some(name)) {
            continue;
        }
        let name = if let [name] = names.as_slice() { name } else { "<arg_key>" };
        let keyword = &instruction.keyword;
        let message = format!("Comment for {keyword} should follow the format: `# {name} <description>`");
        let start = line.start + line.of(linter.text).find('#').unwrap_or(0);
        linter.warn(&DESCRIPTION, instruction, Span::new(start, start + comment.len()), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for name in
            ["alpine", "a/b:1", "localhost:5000/a_b/c-d:x.Y", "host.io/a@sha256:0123456789abcdef0123456789abcdef"]
        {
            assert!(is_image_name(name), "{name}");
        }
        for name in ["", ":x", "a:", "A", "a/B", "a b", "-a", "a@", "a//b"] {
            assert!(!is_image_name(name), "{name}");
        }
    }
}
