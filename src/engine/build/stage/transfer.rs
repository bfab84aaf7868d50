//! The two halves of a COPY or ADD that touch files: finding what its sources match, and writing it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::OFlags;

use crate::dockerfile::chmod::ModeChange;
use crate::dockerfile::ignore::IgnoreRules;
use crate::engine::EngineError;
use crate::engine::build::copy::{CopyError, Destination, is_archive};
use crate::engine::build::fetch::Download;
use crate::engine::build::owner::{Owner, owner};
use crate::engine::build::plan::{CopyStep, PlanError};
use crate::engine::build::tree::{Match, Owners, Tree};
use crate::engine::layer::{ApplyOptions, apply_tar, inflater};

/// What a COPY's sources matched.
#[derive(Default)]
pub(super) struct Found {
    pub matches: Vec<Match>,
    pub facts: BTreeMap<String, String>,
}

impl CopyStep {
    pub(super) fn is_more_than_one(&self, found: &Found, downloads: &[Download]) -> bool {
        found.matches.len() + downloads.len() + self.inline.len() > 1
    }
}

/// What the sources match in `tree`; each of them has to match something.
pub(super) fn find(
    tree: &Tree,
    sources: &[String],
    exclude: &IgnoreRules,
    owners: Owners,
    is_from: bool,
) -> Result<Found, EngineError> {
    let mut all = Found::default();
    for source in sources {
        let found = tree.find(source, exclude).map_err(|error| EngineError::invalid(error.to_string()))?;
        let Some(found) = found else {
            let where_from =
                if is_from { "" } else { "file not found in build context or excluded by .dockerignore: " };
            return Err(EngineError::not_found(format!(
                "{where_from}stat {}: file does not exist",
                source.trim_start_matches('/')
            )));
        };
        for matched in &found {
            tree.facts(matched, owners, &mut all.facts).map_err(|error| EngineError::system(error.to_string()))?;
        }
        all.matches.extend(found);
    }
    if all.matches.is_empty() && !sources.is_empty() {
        return Err(EngineError::not_found("no source files were specified"));
    }
    Ok(all)
}

/// Writes all that a COPY or ADD brings into the file system at `root`.
pub(super) fn write(
    root: BorrowedFd<'_>,
    step: &CopyStep,
    tree: &Tree,
    owners: Owners,
    matches: &[Match],
    downloads: Vec<Download>,
) -> Result<(), EngineError> {
    let plan = |error: PlanError| EngineError::invalid(error.message);
    let copy = |error: CopyError| EngineError::invalid(error.to_string());
    let owner = match (&step.chown, owners) {
        (Some(spec), _) => Some(owner(spec, root).map_err(plan)?),
        (None, Owners::Ignored) => Some(Owner { uid: 0, gid: 0 }),
        (None, Owners::Kept) => None,
    };
    let mode = step.chmod.as_deref().map(ModeChange::parse).transpose();
    let mode = mode.map_err(|error| EngineError::invalid(error.to_string()))?;
    let to = Destination { root, path: &step.destination, owner, mode, keeps_parents: step.keeps_parents };
    for found in matches {
        if step.is_add && step.unpack != Some(false) && !found.is_folder() {
            let mut file = tree.open(&found.path).map_err(|error| EngineError::system(error.to_string()))?;
            let is_file = file.metadata().is_ok_and(|it| it.is_file());
            if is_file && is_archive(&mut file).map_err(|error| EngineError::system(error.to_string()))? {
                unpack(&to, &file)?;
                continue;
            }
        }
        to.take(tree, found).map_err(copy)?;
    }
    for download in downloads {
        if step.unpack == Some(true) {
            let mut file = download.file.reopen().map_err(|error| EngineError::system(error.to_string()))?;
            if is_archive(&mut file).map_err(|error| EngineError::system(error.to_string()))? {
                unpack(&to, &file)?;
                continue;
            }
        }
        let name = download.name();
        if name.is_none() && step.destination.ends_with('/') {
            return Err(EngineError::invalid(format!("cannot determine filename from url: {}", download.url)));
        }
        let target = to.file_path(OsStr::new(name.as_deref().unwrap_or("download"))).map_err(copy)?;
        to.write_download(&target, &download).map_err(copy)?;
    }
    for (name, text) in &step.inline {
        to.write_inline(name, text.as_bytes(), 0o644).map_err(copy)?;
    }
    Ok(())
}

fn unpack(to: &Destination<'_>, file: &std::fs::File) -> Result<(), EngineError> {
    let folder = to.folder(&PathBuf::from(to.path)).map_err(|error| EngineError::invalid(error.to_string()))?;
    let folder = rustix::fs::openat(
        &folder,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|errno| EngineError::system(format!("open {}: {errno}", to.path)))?;
    let inflated = inflater(std::io::BufReader::new(file)).map_err(|error| EngineError::invalid(error.to_string()))?;
    let options = ApplyOptions {
        owner: to.owner.filter(|owner| *owner != Owner { uid: 0, gid: 0 }).map(|it| (it.uid, it.gid)),
        ..ApplyOptions::default()
    };
    apply_tar(folder.as_fd(), inflated, &options)?;
    Ok(())
}
