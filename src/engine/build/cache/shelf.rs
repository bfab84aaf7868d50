//! What occupies the disk for the sake of later builds, whatever keeps it: one row of `docker builder du`.
//!
//! The cache's records are such rows, and so is each cache mount of `RUN --mount=type=cache`. Who keeps another kind of them
//! is a [`Shelf`]; budget, prune and usage then treat all rows alike.

use std::path::Path;

use bollard_stubs::models::BuildCacheTypeEnum;
use jiff::Timestamp;

use crate::engine::layer::Digest;

/// What an entry is, in BuildKit's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::build) enum EntryKind {
    /// A step's outcome.
    Regular,
    /// The content of a cache mount.
    CacheMount,
    /// A context of a client, kept for its next build.
    Context,
    /// What came from a URL.
    Download,
}

impl EntryKind {
    /// As the API has it.
    pub(in crate::engine::build) fn wire(self) -> BuildCacheTypeEnum {
        match self {
            EntryKind::Regular | EntryKind::Download => BuildCacheTypeEnum::REGULAR,
            EntryKind::CacheMount => BuildCacheTypeEnum::EXEC_CACHEMOUNT,
            EntryKind::Context => BuildCacheTypeEnum::SOURCE_LOCAL,
        }
    }
}

/// How long the name of a row is, where it is the beginning of a digest.
pub(in crate::engine::build) const ID_LENGTH: usize = 25;

/// What rows are called whose keeper names folders by digests.
pub(in crate::engine::build) fn short_id(name: &str) -> String {
    name.chars().take(ID_LENGTH).collect()
}

/// The folder in `room` that [`short_id`] has called `id`.
pub(in crate::engine::build) fn folder_of(room: &Path, id: &str) -> Option<String> {
    let is_ours = |name: &str| Digest::from_hex(name).is_ok() && name.starts_with(id);
    let mut names = std::fs::read_dir(room).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    if id.len() < ID_LENGTH { None } else { names.find(|name| is_ours(name)) }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) struct Entry {
    /// Its name; unique among all shelves.
    pub id: String,
    /// What it is.
    pub kind: EntryKind,
    /// What a person reads.
    pub description: String,
    /// The entries it stands on.
    pub parents: Vec<String>,
    /// Bytes on disk.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last of use.
    pub used: Option<Timestamp>,
    /// How often it was of use.
    pub uses: u64,
    /// Whether something running needs it now.
    pub in_use: bool,
    /// Whether its bytes stay even without it, as an image has them too.
    pub shared: bool,
    /// Entries with the same storage occupy their bytes once; empty: its own.
    pub storage: String,
}

/// Who keeps entries other than the cache's records. Called by blocking code.
pub(in crate::engine::build) trait Shelf: Send + Sync {
    /// All entries it keeps.
    fn entries(&self) -> Vec<Entry>;

    /// Removes an entry that is not in use and answers the bytes that were freed; one that is gone already frees none.
    ///
    /// # Errors
    /// The disk's refusal, in words.
    fn discard(&self, id: &str) -> Result<u64, String>;
}
