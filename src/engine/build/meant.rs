//! What was probably meant by a name that leads nowhere: a stage, a target, a file of the context, an image.
//!
//! The words follow Docker's own, each behind a semicolon or in brackets.

use std::collections::BTreeSet;

use crate::dockerfile::{Dockerfile, nearest};

/// Why no stage is called `target`, which somebody wants to build.
pub(super) fn no_target(file: &Dockerfile, target: &str) -> String {
    let names: Vec<&str> = file.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    match (nearest(target, names.iter().copied()), names.as_slice()) {
        (Some(near), _) => format!(" (did you mean {near}?)"),
        (None, []) => "; none of its stages has a name".to_owned(),
        (None, names) => format!("; its stages are {}", names.join(", ")),
    }
}

/// Why `--from=name` of the stage `before` can't be carried out, where it names a stage that is there but not above; it
/// is then no image either.
pub(super) fn misplaced_stage(file: &Dockerfile, name: &str, before: usize) -> Option<String> {
    let above = match before {
        0 => "no stage stands above".to_owned(),
        1 => "the stage above is 0".to_owned(),
        count => format!("the stages above are 0 to {}", count - 1),
    };
    if (1..4).contains(&name.len()) && name.chars().all(|c| c.is_ascii_digit()) {
        return Some(format!("invalid stage index {name}: {above}"));
    }
    let lower = name.to_lowercase();
    let here = file.stages.iter().skip(before).find(|stage| stage.name.as_deref() == Some(lower.as_str()))?;
    match here.index == before {
        true => Some(format!("circular dependency detected on stage: {name} (it can't copy from itself)")),
        false => {
            let line = here.lines.first;
            Some(format!("stage {name} begins on line {line}, below: copies are from the stages above"))
        }
    }
}

/// The stage above `before` that was perhaps meant by the name of an image that can't be had.
pub(super) fn near_stage(file: &Dockerfile, name: &str, before: usize) -> Option<String> {
    let is_plain = !name.is_empty() && !name.contains(['/', ':', '@', '.']);
    let below = file.stages.iter().skip(before + 1).find(|stage| stage.name.as_deref() == Some(name));
    if let Some(below) = below {
        return Some(format!("; the stage {name} begins on line {}, below", below.lines.first));
    }
    let names = file.stages.iter().take(before).filter_map(|stage| stage.name.as_deref());
    let near = nearest(name, names.filter(|_| is_plain))?;
    Some(format!("; no stage is called {name} (did you mean {near}?)"))
}

/// What was perhaps meant by `source`, which a COPY does not find; `names` lists a folder of where it looked (empty where
/// there is none), which is a build context or else a stage or image.
pub(super) fn of_source(source: &str, names: &dyn Fn(&str) -> Vec<String>, is_context: bool) -> String {
    let path = source.trim_start_matches('/');
    if path.split('/').next() == Some("..") && is_context {
        return "; a path can't lead out of the context: build in the folder above, or name one by --build-context"
            .to_owned();
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    for (at, part) in parts.iter().enumerate() {
        let (above, below) = (parts.get(..at).unwrap_or_default(), parts.get(at + 1..).unwrap_or_default());
        let here = names(&above.join("/"));
        if here.iter().any(|name| name == part) {
            continue;
        }
        let near = nearest(part, here.iter().map(String::as_str));
        let meant = |near: &str| [above, &[near], below].concat().join("/");
        return near.map(|near| format!(" (did you mean {}?)", meant(near))).unwrap_or_default();
    }
    String::new()
}

/// Why an image can't be called `name`, as FROM has it written as `written`.
pub(super) fn of_image(name: &str, written: &str, unset: &BTreeSet<String>) -> String {
    match unset.first() {
        Some(one) if written.contains('$') => {
            format!("; ${one} is not set: give it a default (ARG {one}=...) or a value (--build-arg {one}=...)")
        }
        _ if name.to_lowercase() != name && !name.contains('@') => {
            let (repository, tag) =
                name.rsplit_once(':').map_or((name, String::new()), |(it, tag)| (it, format!(":{tag}")));
            format!(" (did you mean {}{tag}?)", repository.to_lowercase())
        }
        _ => String::new(),
    }
}

/// What to do where a RUN's program is not in the image, by what the runtime said.
pub(super) fn of_program(refusal: &str) -> Option<String> {
    let (_, rest) = refusal.split_once("unable to start container process: exec: \"")?;
    let (program, why) = rest.split_once('"')?;
    let is_missing = why.contains("not found") || why.contains("no such file");
    let words = match program {
        "/bin/sh" => {
            "; the image has no shell: begin with an image that has one, or write the JSON form of RUN with a \
                      program of the image"
        }
        _ => "; no program of the image is called so: install it in a step above, or check the path",
    };
    is_missing.then(|| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    #[test]
    fn stages_and_targets() {
        let file = parse("FROM a AS builder\nFROM b AS test\nFROM c\nFROM d AS last\n").file;
        assert_eq!(no_target(&file, "bulider"), " (did you mean builder?)");
        assert_eq!(no_target(&file, "x-y-z"), "; its stages are builder, test, last");
        assert_eq!(no_target(&parse("FROM a").file, "x"), "; none of its stages has a name");
        let cases = [
            ("5", 2, Some("invalid stage index 5: the stages above are 0 to 1")),
            ("0", 0, Some("invalid stage index 0: no stage stands above")),
            ("Last", 2, Some("stage Last begins on line 4, below: copies are from the stages above")),
            ("test", 1, Some("circular dependency detected on stage: test (it can't copy from itself)")),
            ("debian", 1, None),
            ("builder", 1, None),
        ];
        for (name, before, expected) in cases {
            assert_eq!(misplaced_stage(&file, name, before).as_deref(), expected, "{name}");
        }
        assert_eq!(
            near_stage(&file, "bulider", 1).as_deref(),
            Some("; no stage is called bulider (did you mean builder?)")
        );
        assert_eq!(near_stage(&file, "example/bulider", 1), None);
        assert_eq!(near_stage(&file, "tset", 1), None);
        assert_eq!(near_stage(&file, "last", 1).as_deref(), Some("; the stage last begins on line 4, below"));
    }

    #[test]
    fn files_of_a_context() {
        let names = |folder: &str| match folder {
            "" => vec!["src".to_owned(), "package.json".to_owned()],
            "src" => vec!["main.c".to_owned()],
            _ => Vec::new(),
        };
        let cases = [
            ("pakage.json", " (did you mean package.json?)"),
            ("./Package.json", " (did you mean package.json?)"),
            ("scr/main.c", " (did you mean src/main.c?)"),
            ("/src/mian.c", " (did you mean src/main.c?)"),
            ("nothing", ""),
            ("src", ""),
        ];
        for (source, expected) in cases {
            assert_eq!(of_source(source, &names, true), expected, "{source}");
        }
        assert!(of_source("../x", &names, true).contains("--build-context"));
        assert_eq!(of_source("../x", &names, false), "");
    }

    #[test]
    fn images() {
        let unset = BTreeSet::from(["TAG".to_owned()]);
        assert!(of_image("a:", "a:$TAG", &unset).starts_with("; $TAG is not set: give it a default"));
        assert_eq!(of_image("Alpine:3.20-X", "Alpine:3.20-X", &BTreeSet::new()), " (did you mean alpine:3.20-X?)");
        assert_eq!(of_image("a:b:c", "a:b:c", &BTreeSet::new()), "");
    }
}
