//! What is known of one kept layer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ChainId, DiffId, Digest};

/// One kept layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name, parents included.
    pub chain_id: ChainId,
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The layer below.
    pub parent: Option<ChainId>,
    /// Bytes of its files' content.
    pub size: u64,
    /// Bytes of its tar.
    pub tar_size: u64,
    /// The directory that holds its files.
    pub diff: PathBuf,
    /// The blobs it came in or was pushed as.
    pub blobs: Vec<Blob>,
}

/// A layer's compressed form at a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// Which compression, as a media type.
    pub media_type: String,
    /// Where it is known to be: `domain/path`.
    pub repository: String,
}

/// A layer as its `layer.json` keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub chain_id: ChainId,
    pub diff_id: DiffId,
    pub parent: Option<ChainId>,
    pub size: u64,
    pub tar_size: u64,
    pub tar: TarSource,
    #[serde(default)]
    pub blobs: Vec<Blob>,
    /// Directories of a packed layer that its tar does not name: they are what the layers below have there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unnamed: Vec<PathBuf>,
}

/// How the layer's tar is made again, byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TarSource {
    /// From the tape beside it: it was unpacked from someone else's tar.
    Tape,
    /// By packing its directory in this format: it never was a tar.
    Packed(u32),
}
