//! Which Dockerfile to work on: those found below this folder, a path typed in, or a new one.

use std::path::{Path, PathBuf};

/// How deep below the folder Dockerfiles are looked for.
const DEPTH: usize = 3;
/// How many files are offered at the most.
const MOST: usize = 200;

/// What is offered, and what was typed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chooser {
    folder: PathBuf,
    found: Vec<PathBuf>,
    typed: String,
    selected: usize,
}

/// One line of the offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// A file that is there.
    Open(PathBuf),
    /// A file that is not there yet.
    Create(PathBuf),
}

impl Choice {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Open(path) | Self::Create(path) => path,
        }
    }
}

impl Chooser {
    /// The offer for `folder`, where `found` was found.
    pub fn new(folder: &Path, found: Vec<PathBuf>) -> Self {
        Self { folder: folder.to_owned(), found, typed: String::new(), selected: 0 }
    }

    /// The folder below which was looked.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was typed.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Which line is selected.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The lines: matching files, then a new one of the typed path (or `Dockerfile` here).
    pub fn choices(&self) -> Vec<Choice> {
        let typed = self.typed.trim();
        let matching = self.found.iter().filter(|path| path.to_string_lossy().contains(typed));
        let mut choices: Vec<Choice> = matching.cloned().map(Choice::Open).collect();
        let new = self.folder.join(if typed.is_empty() { "Dockerfile" } else { typed });
        if !self.found.contains(&new) {
            choices.push(Choice::Create(new));
        }
        choices
    }

    /// The selected line.
    pub fn choice(&self) -> Option<Choice> {
        self.choices().into_iter().nth(self.selected)
    }

    /// One more character.
    pub fn type_char(&mut self, c: char) {
        self.typed.push(c);
        self.selected = 0;
    }

    /// One character less.
    pub fn erase(&mut self) {
        self.typed.pop();
        self.selected = 0;
    }

    /// Moves the selection; it stops at the ends.
    pub fn step(&mut self, by: isize) {
        self.selected = self.selected.saturating_add_signed(by).min(self.choices().len().saturating_sub(1));
    }
}

/// Looks for Dockerfiles below `folder`: `Dockerfile`, `Dockerfile.*`, `*.Dockerfile`, `Containerfile`. Hidden folders and
/// usual heaps of foreign files are passed over, unreadable ones too. Blocking.
pub fn find_dockerfiles(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![(folder.to_owned(), 0)];
    while let Some((place, depth)) = pending.pop() {
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < DEPTH && !is_passed_over(&name) {
                pending.push((entry.path(), depth + 1));
            } else if !kind.is_dir() && is_dockerfile(&name) && found.len() < MOST {
                found.push(entry.path());
            }
        }
    }
    found.sort_by_key(|path| (path.components().count(), path.clone()));
    found
}

fn is_passed_over(folder: &str) -> bool {
    folder.starts_with('.') || matches!(folder, "node_modules" | "target" | "vendor" | "proc" | "sys" | "dev")
}

fn is_dockerfile(name: &str) -> bool {
    let is_ignore_file = name.ends_with(".dockerignore");
    let lower = name.to_ascii_lowercase();
    !is_ignore_file
        && (matches!(lower.as_str(), "dockerfile" | "containerfile")
            || lower.starts_with("dockerfile.")
            || lower.ends_with(".dockerfile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_nearest_first() {
        let folder = tempfile::tempdir().unwrap();
        for path in
            ["api/Dockerfile", "Dockerfile", "web/prod.Dockerfile", "node_modules/x/Dockerfile", "a.dockerignore"]
        {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = find_dockerfiles(folder.path());
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["Dockerfile", "api/Dockerfile", "web/prod.Dockerfile"]);
    }

    #[test]
    fn typing_narrows_and_offers_a_new_file() {
        let mut chooser = Chooser::new(Path::new("/srv"), vec!["/srv/Dockerfile".into(), "/srv/api/Dockerfile".into()]);
        assert_eq!(chooser.choices().len(), 2);
        for c in "api".chars() {
            chooser.type_char(c);
        }
        let expected = [Choice::Open("/srv/api/Dockerfile".into()), Choice::Create("/srv/api".into())];
        assert_eq!(chooser.choices(), expected);
        chooser.step(5);
        assert_eq!(chooser.choice(), Some(expected[1].clone()));
    }
}
