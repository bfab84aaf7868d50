//! Stacks of directories that overlayfs shows as one root.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::LayerError;

/// The directories of one container's root. The mount itself is made where it is needed, never in the engine's own
/// mount table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayStack {
    /// The image's layers, top first; empty for an image without layers.
    pub lowers: Vec<PathBuf>,
    /// What the container has written.
    pub upper: PathBuf,
    /// Overlayfs's own work directory, on the same file system as `upper`.
    pub work: PathBuf,
}

/// The stack as one directory, mounted nowhere: the descriptor is the only way in, and closing it unmounts.
///
/// # Errors
/// [`LayerError::Io`] where the kernel refuses.
pub fn detached_root(stack: &OverlayStack) -> Result<OwnedFd, LayerError> {
    let _ = stack;
    todo!("land signatures first")
}
