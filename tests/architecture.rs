//! The arrows between rooms (docs/architecture.md), kept by looking at what each source file names.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms each room may name. A room may always name itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &["buildkit", "engine"]),
    ("buildkit", &["dockerfile"]),
    ("cli", &["buildkit", "client", "dockerfile"]),
    ("client", &["buildkit"]),
    ("dockerfile", &[]),
    ("engine", &["buildkit", "dockerfile", "sys"]),
    ("roles", &["api", "cli", "client", "engine", "tui"]),
    ("sys", &[]),
    ("tui", &["buildkit", "client", "dockerfile"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms that `text` names, as `crate::room` or inside `crate::{room, ..}`, each with its line.
fn named_rooms(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("//") {
            continue;
        }
        for after in line.split("crate::").skip(1) {
            let names = after.strip_prefix('{').map_or(after, |list| list.split('}').next().unwrap_or(list));
            for name in if after.starts_with('{') { names.split(',').collect() } else { vec![names] } {
                let room: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                named.push((number + 1, room));
            }
        }
    }
    named
}

#[test]
fn no_room_names_a_room_it_may_not_know() {
    let mut strays = Vec::new();
    for (room, allowed) in ARROWS {
        for path in sources(&source_root().join(room)) {
            for (line, named) in named_rooms(&fs::read_to_string(&path).unwrap()) {
                let is_room = ARROWS.iter().any(|(other, _)| *other == named);
                if is_room && named != *room && !allowed.contains(&named.as_str()) {
                    strays.push(format!("{}:{line}: {room} names {named}", path.display()));
                }
            }
        }
    }
    assert!(strays.is_empty(), "arrows run one way, see docs/architecture.md:\n{}", strays.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let folders = fs::read_dir(source_root()).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert!(ARROWS.iter().any(|(room, _)| *room == name), "src/{name} is in no row of ARROWS");
    }
}

#[test]
fn dockerfile_is_known_to_the_build_room_alone_within_the_engine() {
    for path in sources(&source_root().join("engine")) {
        let in_build = path.strip_prefix(source_root()).unwrap().starts_with("engine/build");
        for (line, named) in named_rooms(&fs::read_to_string(&path).unwrap()) {
            assert!(in_build || named != "dockerfile", "{}:{line}: only engine/build may name it", path.display());
        }
    }
}

#[test]
fn every_source_file_opens_with_its_why() {
    for path in sources(&source_root()) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{}: the first line should say what the file is for", path.display());
    }
}
