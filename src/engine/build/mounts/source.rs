//! What a bind shows and a cache begins with: files of the context, of a stage, of an image.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dockerfile::ignore::IgnoreRules;
use crate::engine::EngineError;
use crate::engine::build::tree::{Owners, Tree};
use crate::engine::layer::ChainId;

/// Files to mount.
#[derive(Clone)]
pub(in crate::engine::build) struct Source {
    /// The files, to be looked at.
    pub tree: Arc<Tree>,
    /// Where they come from.
    pub origin: Origin,
}

/// How the sandbox gets them.
#[derive(Clone)]
pub(in crate::engine::build) enum Origin {
    /// A folder of the state root. Its files belong to root, whoever owns them here.
    Folder,
    /// Layers, topmost first.
    Layers { lowers: Vec<PathBuf>, top: Option<ChainId> },
}

impl Source {
    /// The directories that show it, topmost first, as any process of this host finds them.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        match &self.origin {
            // By its name, as the kernel binds only what is mounted where the sandbox looks from.
            Origin::Folder => {
                let link = path_of(&self.tree.root());
                vec![std::fs::read_link(&link).unwrap_or(link)]
            }
            Origin::Layers { lowers, .. } => lowers.clone(),
        }
    }

    /// What names the whole content; `None` where only looking at it tells.
    pub(super) fn name(&self) -> Option<String> {
        match &self.origin {
            Origin::Folder => None,
            Origin::Layers { top, .. } => Some(top.as_ref().map_or_else(|| "scratch".to_owned(), ChainId::to_string)),
        }
    }

    /// What counts of `path` for the cache, and whether it is a folder: the content of what is mounted. A whole stage or
    /// image is known by its layers.
    pub(super) fn look(&self, path: &str, from: &str) -> Result<(BTreeMap<String, String>, bool), EngineError> {
        let mut facts = BTreeMap::new();
        if let (Some(name), "/") = (self.name(), path) {
            facts.insert(format!("{from}:/"), name);
            return Ok((facts, true));
        }
        let inside = path.trim_start_matches('/');
        let rules = IgnoreRules::default();
        // Not a pattern: a mount's source is a path.
        let literal: String = inside
            .chars()
            .flat_map(|c| matches!(c, '*' | '?' | '[' | '\\').then_some('\\').into_iter().chain([c]))
            .collect();
        let found = self.tree.find(&literal, &rules).map_err(|error| EngineError::invalid(error.to_string()))?;
        let Some(found) = found.and_then(|found| found.into_iter().next()) else {
            let place = if from.is_empty() { "the build context" } else { from };
            return Err(EngineError::not_found(format!("{path:?}: not found in {place}, where RUN --mount wants it")));
        };
        let owners = if matches!(self.origin, Origin::Folder) { Owners::Ignored } else { Owners::Kept };
        let mut files = BTreeMap::new();
        self.tree.facts(&found, owners, &mut files).map_err(|error| EngineError::system(error.to_string()))?;
        facts.extend(files.into_iter().map(|(path, fact)| match from {
            "" => (path, fact),
            from => (format!("{from}:{path}"), fact),
        }));
        Ok((facts, found.is_folder()))
    }
}

/// A path that leads to an open file of ours, for other processes of this host.
pub(super) fn path_of(file: &impl AsRawFd) -> PathBuf {
    Path::new("/proc").join(std::process::id().to_string()).join("fd").join(file.as_raw_fd().to_string())
}
