//! What has to be done to a kept context so that it is what the client lists. Pure.

use std::collections::{HashMap, HashSet};
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
            (Some(known), Kind::File) => known.digest.is_some() && known.listed.is_like(entry),
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
