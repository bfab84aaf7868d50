//! The two halves of a COPY or ADD that touch files: finding what its sources match, and writing it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokio_util::sync::CancellationToken;

use crate::dockerfile::chmod::ModeChange;
use crate::dockerfile::glob::has_wildcards;
use crate::dockerfile::ignore::IgnoreRules;
use crate::engine::EngineError;
use crate::engine::build::contents::is_archive;
use crate::engine::build::copy::{CopyError, Destination};
use crate::engine::build::fetch::Download;
use crate::engine::build::meant;
use crate::engine::build::owner::Owner;
use crate::engine::build::plan::{CopyStep, needs_folder};
use crate::engine::build::source::{Checkout, GitUrl, without_password};
use crate::engine::build::tree::{Match, Owners, Tree};
use crate::engine::layer::{ApplyOptions, Digest, Watched, apply_tar, inflater};

/// One source of a COPY or ADD, as far as it has been brought here.
pub(super) enum Item {
    /// A path, not looked for yet.
    Path(String),
    /// What a path or pattern matched.
    Matches(Vec<Match>),
    /// A download whose bytes are known by their digest, without having been fetched.
    Known { url: String, digest: Digest },
    /// A download.
    Download(Download),
    /// A repository whose commit is known, without having been fetched.
    Repository { url: GitUrl, keeps_git_dir: bool, commit: String },
    /// A repository.
    Checkout { url: GitUrl, keeps_git_dir: bool, checkout: Checkout },
}

/// What a COPY or ADD brings, and what counts about it for the cache.
#[derive(Default)]
pub(super) struct Bundle {
    pub items: Vec<Item>,
    pub facts: BTreeMap<String, String>,
}

impl Bundle {
    /// How many things would go to the destination.
    pub(super) fn count(&self) -> usize {
        let counts = self.items.iter().map(|item| match item {
            Item::Matches(matches) => matches.len(),
            _ => 1,
        });
        counts.sum()
    }
}

/// What the sources match in `tree`; each of them that is no pattern has to be there.
pub(super) fn find(
    tree: &Tree,
    step: &CopyStep,
    items: Vec<Item>,
    exclude: &IgnoreRules,
    owners: Owners,
) -> Result<Bundle, EngineError> {
    let mut bundle = Bundle::default();
    for item in items {
        let item = match item {
            Item::Path(source) => {
                let found = if step.keeps_parents {
                    tree.find_with_parents(&source, exclude)
                } else {
                    tree.find(&source, exclude)
                };
                let found = found.map_err(|error| EngineError::invalid(error.to_string()))?;
                let found = found.ok_or_else(|| missing(tree, &source, step.from.as_deref()))?;
                // As BuildKit has it, a pattern may match nothing at all; a name that is left out may not.
                if found.is_empty() && !has_wildcards(&source) && step.exclude.is_empty() {
                    return Err(missing(tree, &source, step.from.as_deref()));
                }
                for matched in &found {
                    let told = |error: crate::engine::build::tree::TreeError| EngineError::system(error.to_string());
                    tree.facts(matched, owners, &mut bundle.facts).map_err(told)?;
                }
                Item::Matches(found)
            }
            Item::Known { ref url, digest } => {
                bundle.facts.insert(without_password(url), format!("file 600 - {}", digest.hex()));
                item
            }
            Item::Download(ref download) => {
                bundle.facts.insert(without_password(&download.url), format!("file 600 - {}", download.digest.hex()));
                item
            }
            Item::Repository { ref url, keeps_git_dir, ref commit } => {
                bundle.facts.insert(url.shown(), repository_facts(url, keeps_git_dir, commit));
                item
            }
            Item::Checkout { ref url, keeps_git_dir, ref checkout } => {
                bundle.facts.insert(url.shown(), repository_facts(url, keeps_git_dir, &checkout.commit));
                item
            }
            other => other,
        };
        bundle.items.push(item);
    }
    Ok(bundle)
}

/// Kind, mode, owner and content, as files have them.
fn repository_facts(url: &GitUrl, keeps_git_dir: bool, commit: &str) -> String {
    let kept = if keeps_git_dir { "with-git" } else { "files" };
    let modules = if url.wants_submodules { "" } else { ",no-submodules" };
    format!("git {kept}{modules} - {commit}:{}", url.subfolder.as_deref().unwrap_or(""))
}

/// Docker's words for a source that is not there, and what was probably meant by it.
fn missing(tree: &Tree, source: &str, from: Option<&str>) -> EngineError {
    let where_from = match from {
        Some(_) => "",
        None => "file not found in build context or excluded by .dockerignore: ",
    };
    let path = source.trim_start_matches('/');
    let meant = meant::of_source(source, &|folder| tree.names_in(folder), from.is_none());
    EngineError::not_found(format!("{where_from}stat {path}: file does not exist{meant}"))
}

/// What to write where.
pub(super) struct Orders<'a> {
    /// The root to write to.
    pub root: BorrowedFd<'a>,
    /// The folder that keeps what is written there, where it is known.
    pub upper: Option<&'a Path>,
    pub step: &'a CopyStep,
    pub owner: Option<Owner>,
    pub mode: Option<ModeChange>,
    /// Where the matches are.
    pub tree: &'a Tree,
    /// Ends it in the middle.
    pub cancel: &'a CancellationToken,
}

/// Writes all that a COPY or ADD brings; answers the folders that were made only to hold it.
pub(super) fn write(orders: &Orders<'_>, bundle: Bundle) -> Result<Vec<PathBuf>, EngineError> {
    let step = orders.step;
    let copy = |error: CopyError| match error {
        CopyError::Several { .. } => EngineError::invalid(needs_folder(step.keyword())),
        error => EngineError::invalid(error.to_string()),
    };
    let disk = |error: std::io::Error| EngineError::system(error.to_string());
    let mut to = Destination::new(orders.root, &step.destination);
    (to.owner, to.mode, to.upper, to.cancel) = (orders.owner, orders.mode.clone(), orders.upper, orders.cancel.clone());
    to.is_for_several = bundle.count() + step.inline.len() > 1;
    let given = step.chown.as_ref().and(orders.owner);
    for item in bundle.items {
        match item {
            Item::Matches(matches) => {
                for found in &matches {
                    let unpacks = step.unpack.unwrap_or(step.is_add);
                    if unpacks
                        && found.is_file()
                        && try_unpack(&to, given, orders.tree.open(&found.path).map_err(disk)?)?
                    {
                        continue;
                    }
                    to.take(orders.tree, found).map_err(copy)?;
                }
            }
            Item::Download(download) => {
                if step.unpack == Some(true) && try_unpack(&to, given, download.reopen().map_err(disk)?)? {
                    continue;
                }
                let name = download.name();
                if name.is_none() && step.destination.ends_with('/') {
                    return Err(EngineError::invalid(format!(
                        "cannot determine filename from url: {}; name the file in the destination",
                        without_password(&download.url)
                    )));
                }
                let target = to.file_path(OsStr::new(name.as_deref().unwrap_or("download"))).map_err(copy)?;
                to.write_download(&target, &download).map_err(copy)?;
            }
            Item::Checkout { checkout, .. } => {
                let top = File::open(&checkout.files).map_err(disk)?;
                let tree = Tree::new(top.into(), checkout.into_folder()).until(orders.cancel);
                let exclude = super::copy::excluded(&step.exclude)?;
                let found = tree.find("", &exclude).map_err(|error| EngineError::system(error.to_string()))?;
                let mut own = Destination::new(orders.root, &step.destination);
                (own.owner, own.mode) = (to.owner.or(Some(Owner::ROOT)), to.mode.clone());
                (own.upper, own.cancel) = (to.upper, to.cancel.clone());
                for found in found.into_iter().flatten() {
                    own.take(&tree, &found).map_err(copy)?;
                }
                to.made.borrow_mut().extend(own.made.take());
            }
            Item::Path(_) | Item::Known { .. } | Item::Repository { .. } => {
                return Err(EngineError::system("a source of ADD was not brought here"));
            }
        }
    }
    for (name, text) in &step.inline {
        to.write_inline(name, text.as_bytes(), 0o644).map_err(copy)?;
    }
    // Folders that somebody asked for by owner or mode count as copied.
    let is_plain = to.owner.is_none_or(|owner| owner == Owner::ROOT) && to.mode.is_none();
    Ok(if is_plain { to.made.take() } else { Vec::new() })
}

/// Unpacks the file if it is an archive; whether it was.
fn try_unpack(to: &Destination<'_>, owner: Option<Owner>, mut file: File) -> Result<bool, EngineError> {
    let is_archive = is_archive(&mut file).map_err(|error| EngineError::system(error.to_string()))?;
    if is_archive {
        unpack(to, owner, &file)?;
    }
    Ok(is_archive)
}

fn unpack(to: &Destination<'_>, owner: Option<Owner>, file: &File) -> Result<(), EngineError> {
    let folder =
        to.resolved().and_then(|path| to.folder(&path)).map_err(|error| EngineError::invalid(error.to_string()))?;
    let folder = rustix::fs::openat(
        &folder,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|errno| EngineError::system(format!("open {}: {errno}", to.path)))?;
    let inflated = inflater(std::io::BufReader::new(file)).map_err(|error| EngineError::invalid(error.to_string()))?;
    let options = ApplyOptions {
        // Without --chown, an archive's own owners stay.
        owner: owner.map(|it| (it.uid, it.gid)),
        ..ApplyOptions::default()
    };
    apply_tar(folder.as_fd(), Watched::new(inflated, &to.cancel), &options)?;
    Ok(())
}
