//! Unpacks a tar archive into a directory, trusting nothing in it.

use std::io::Read;
use std::os::fd::BorrowedFd;

use super::LayerError;

/// What `.wh.` entries of an archive mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// They delete things of the layers below: they become what overlayfs understands. For image layers.
    ToOverlay,
    /// They are ordinary files. For `docker cp` and build contexts.
    AsIs,
}

/// How much an archive may hold before it is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of any kind.
    pub entries: u64,
    /// Bytes of file content, unpacked.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: u64::MAX }
    }
}

/// How [`apply_tar`] treats an archive.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// What `.wh.` entries mean.
    pub whiteouts: Whiteouts,
    /// How much may come.
    pub limits: Limits,
    /// Everything belongs to this user and group, whatever the archive says.
    pub owner: Option<(u32, u32)>,
    /// Refuses to replace a directory by something else and the reverse (`docker cp`'s `noOverwriteDirNonDir`).
    pub keep_kinds: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self { whiteouts: Whiteouts::AsIs, limits: Limits::default(), owner: None, keep_kinds: false }
    }
}

/// What an archive held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries unpacked, whiteouts included.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Unpacks the (uncompressed) tar that `reader` gives into the directory `dir`. Paths never leave `dir`: symlinks on
/// the way resolve inside it. Existing files are replaced, existing directories kept.
///
/// # Errors
/// [`LayerError::Entry`] names a hostile or impossible entry; what was unpacked before it stays.
pub fn apply_tar(dir: BorrowedFd<'_>, reader: impl Read, options: &ApplyOptions) -> Result<Applied, LayerError> {
    let _ = (dir, reader, options);
    todo!("land signatures first")
}
