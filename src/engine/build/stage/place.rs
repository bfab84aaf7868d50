//! Where a step writes: an overlay of the stage's layers, whose upper directory becomes the next layer without a copy.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::engine::EngineError;
use crate::engine::build::mounts::Targets;
use crate::engine::build::tree::Tree;
use crate::engine::build::under_way::Build;
use crate::engine::layer::{ChainId, Commit, Durability, Layer, OverlayStack, detached_root};

/// A root to write to: the stage's layers, and a fresh upper directory in a temp folder.
pub(super) struct Place {
    pub stack: OverlayStack,
    folder: TempDir,
}

impl Place {
    pub(super) fn new(build: &Build, layers: &[ChainId]) -> Result<Self, EngineError> {
        let failed = |error: std::io::Error| EngineError::system(format!("create a build step's folder: {error}"));
        let lowers = match layers.last() {
            Some(top) => build.images().layers().lowers(top)?,
            None => Vec::new(),
        };
        let folder = build.parts().root.temp_dir("step").map_err(failed)?;
        let (upper, work) = (folder.path().join("upper"), folder.path().join("work"));
        let stack = OverlayStack { lowers, upper, work, is_volatile: true };
        for path in [&stack.upper, &stack.work] {
            std::fs::create_dir(path).map_err(failed)?;
        }
        // The upper directory's own mode and owner are those of `/`.
        let (mode, uid, gid) = match stack.lowers.first().map(std::fs::metadata).transpose().map_err(failed)? {
            Some(root) => (root.mode() & 0o7777, root.uid(), root.gid()),
            None => (0o755, 0, 0),
        };
        std::fs::set_permissions(&stack.upper, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        std::os::unix::fs::chown(&stack.upper, Some(uid), Some(gid)).map_err(failed)?;
        Ok(Self { stack, folder })
    }

    /// What a container mounts upon has to be there. Where the image lacks it, it stands in a layer of its own at the very
    /// bottom, so that making it is no change of the step's. `targets` are those of the step's own mounts.
    pub(super) fn add_mount_points(&mut self, targets: &Targets) -> Result<(), EngineError> {
        let bottom = self.folder.path().join("bottom");
        let attempt = || {
            for folder in ["dev/pts", "dev/shm", "dev/mqueue", "etc", "proc", "sys"] {
                std::fs::create_dir_all(bottom.join(folder))?;
            }
            for file in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
                std::fs::write(bottom.join(file), "")?;
            }
            targets.make(&bottom)?;
            std::fs::set_permissions(&bottom, std::fs::Permissions::from_mode(0o755))
        };
        attempt().map_err(|error| EngineError::system(format!("create a build step's folder: {error}")))?;
        self.stack.lowers.push(bottom);
        Ok(())
    }

    /// The temp folder, which goes with it.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the upper directory a layer above `below`; `None` where nothing was written.
    pub(super) fn commit(self, build: &Build, below: Option<&ChainId>) -> Result<Option<Layer>, EngineError> {
        let failed = |error: std::io::Error| EngineError::system(format!("read a build step's changes: {error}"));
        if std::fs::read_dir(&self.stack.upper).map_err(failed)?.next().is_none() {
            return Ok(None);
        }
        if let Some(latest) = build.facts.epoch {
            super::epoch::clamp(&self.stack.upper, latest, &build.cancel).map_err(failed)?;
        }
        let layer = build.images().layers().commit_tree(below, self.stack.upper.clone(), build.commit())?;
        Ok(Some(layer))
    }

    /// Makes the upper directory a layer that stands on nothing; `made` are the folders in it that nobody asked for.
    pub(super) fn commit_alone(self, build: &Build, made: Vec<PathBuf>) -> Result<Option<Layer>, EngineError> {
        let failed = |error: std::io::Error| EngineError::system(format!("read a build step's changes: {error}"));
        if std::fs::read_dir(&self.stack.upper).map_err(failed)?.next().is_none() {
            return Ok(None);
        }
        if let Some(latest) = build.facts.epoch {
            super::epoch::clamp(&self.stack.upper, latest, &build.cancel).map_err(failed)?;
        }
        Ok(Some(build.images().layers().commit_alone(self.stack.upper.clone(), made, build.commit())?))
    }
}

impl Build {
    /// How a step's files become a layer: without waiting for the disk, and only for as long as somebody wants it.
    pub(in crate::engine::build) fn commit(&self) -> Commit {
        Commit { durability: Durability::Later, cancel: self.cancel.clone() }
    }
}

/// The files of `layers`, to be read.
pub(in crate::engine::build) async fn read_root(build: &Build, layers: &[ChainId]) -> Result<Tree, EngineError> {
    let place = Place::new(build, layers)?;
    let root = tokio::task::spawn_blocking(move || Ok(Tree::new(detached_root(&place.stack)?, place)));
    root.await.map_err(|error| EngineError::system(error.to_string()))?
}
