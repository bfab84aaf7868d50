//! What a container has changed against its image (`docker diff`).

use std::path::{Path, PathBuf};

use bollard_stubs::models as docker;

use super::LayerError;

/// The changes that `upper` makes to `lowers` (top first), sorted by path.
///
/// # Errors
/// [`LayerError::Io`] where a directory can't be read.
pub fn changes(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<docker::FilesystemChange>, LayerError> {
    let _ = (upper, lowers);
    todo!("land signatures first")
}
