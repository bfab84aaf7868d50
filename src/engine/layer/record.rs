//! What is known of one kept layer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ChainId, DiffId};

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
    /// The directory that holds its files.
    pub diff: PathBuf,
}

/// A layer as its `layer.json` keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub chain_id: ChainId,
    pub diff_id: DiffId,
    pub parent: Option<ChainId>,
    pub size: u64,
}
