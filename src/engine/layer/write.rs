//! Packs a directory into a tar archive, the same bytes for the same tree every time.

use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::{LayerError, Whiteouts};

/// How [`write_tar`] names and reads things.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// What the top of the tree is called in the archive; empty: the entries stand at the archive's root.
    pub name: PathBuf,
    /// `ToOverlay`: overlayfs's whiteouts are written as `.wh.` entries (a layer). `AsIs`: the tree is an ordinary one.
    pub whiteouts: Whiteouts,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { name: PathBuf::new(), whiteouts: Whiteouts::AsIs }
    }
}

/// Writes `sub` (a file or a whole directory, relative to `dir`, resolved inside it; the last component is not
/// followed) as a tar archive.
///
/// # Errors
/// [`LayerError::Io`] with the path, where the disk refuses.
pub fn write_tar(
    dir: BorrowedFd<'_>,
    sub: &Path,
    options: &WriteOptions,
    writer: impl Write,
) -> Result<(), LayerError> {
    let _ = (dir, sub, options, writer);
    todo!("land signatures first")
}
