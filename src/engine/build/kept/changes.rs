//! What has to be done to a kept context so that it is what the client lists. Pure.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::record::{Entry, os};
use super::{ASIDE, FILES};
use crate::buildkit::listing::{Kind, Listed};

/// What to do; numbers are those of the listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Files to ask for.
    pub wants: Vec<u32>,
    /// Folders and links to make, or to make again.
    pub made: Vec<u32>,
    /// What is no longer there, the deepest first.
    pub gone: Vec<PathBuf>,
    /// The folders that are listed.
    pub stay: HashSet<PathBuf>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.wants.is_empty() && self.made.is_empty() && self.gone.is_empty()
    }
}

/// Where an entry is kept, below the context's own folder.
pub(super) fn place(entry: &Listed) -> PathBuf {
    Path::new(if entry.is_aside { ASIDE } else { FILES }).join(os(&entry.path))
}

/// Whether a listing can be carried out by name: nothing lies in what is no folder, where a link might lead anywhere, and
/// what has further names is a file that stands before them.
pub(super) fn check(listed: &[Listed]) -> io::Result<()> {
    let places: Vec<PathBuf> = listed.iter().map(place).collect();
    let leaves: HashMap<&Path, (usize, Kind)> = (0..)
        .zip(listed.iter().zip(&places))
        .filter(|(_, (entry, _))| entry.kind != Kind::Folder)
        .map(|(number, (entry, place))| (place.as_path(), (number, entry.kind)))
        .collect();
    let refused = |path: &Path, why: &str| {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("the listing has {}, {why}", path.display())))
    };
    for (number, (entry, place)) in listed.iter().zip(&places).enumerate() {
        if place.ancestors().skip(1).any(|folder| leaves.contains_key(folder)) {
            return refused(place, "which lies in what is no folder");
        }
        if entry.kind == Kind::HardLink {
            let first = leaves.get(Path::new(FILES).join(os(&entry.target)).as_path());
            if !first.is_some_and(|(at, kind)| *at < number && *kind == Kind::File) {
                return refused(place, "a further name of what is not there");
            }
        }
    }
    Ok(())
}

pub(super) fn changes(kept: &HashMap<PathBuf, Entry>, listed: &[Listed]) -> Changes {
    let mut changes = Changes::default();
    let mut found = 0;
    let places: Vec<PathBuf> = listed.iter().map(place).collect();
    for ((number, entry), place) in (0_u32..).zip(listed).zip(&places) {
        let known = kept.get(place);
        found += usize::from(known.is_some());
        let is_same = match (known, entry.kind) {
            (None, _) => false,
            // A folder's times change with its content, which is looked at for itself.
            (Some(known), Kind::Folder) => known.listed.kind == Kind::Folder && known.listed.mode == entry.mode,
            (Some(known), Kind::Link) => {
                known.listed.kind == Kind::Link
                    && known.listed.target == entry.target
                    && known.listed.modified == entry.modified
            }
            (Some(known), Kind::File | Kind::HardLink) => known.digest.is_some() && known.listed.is_like(entry),
        };
        match (is_same, entry.kind) {
            (true, _) => {}
            (false, Kind::File) => changes.wants.push(number),
            (false, _) => changes.made.push(number),
        }
    }
    if found < kept.len() {
        let there: HashSet<&PathBuf> = places.iter().collect();
        changes.gone = kept.keys().filter(|path| !there.contains(path)).cloned().collect();
        changes.gone.sort_unstable_by(|a, b| b.cmp(a));
    }
    if !changes.is_empty() {
        let folders = listed.iter().zip(places).filter(|(entry, _)| entry.kind == Kind::Folder);
        changes.stay = folders.map(|(_, place)| place).collect();
    }
    changes
}
