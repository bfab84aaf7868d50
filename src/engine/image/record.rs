//! One kept image, in memory and on disk.

use serde::{Deserialize, Serialize};

use crate::engine::layer::{ChainId, Digest, digest_newtype};

use super::{ImageConfig, Reference};

digest_newtype! {
    /// An image's ID: the digest of its configuration.
    ImageId
}

impl ImageId {
    /// The first 12 digits, as people see them.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }
}

/// One kept image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its ID.
    pub id: ImageId,
    /// Its configuration.
    pub config: ImageConfig,
    /// The bytes `id` is the digest of.
    pub raw_config: Vec<u8>,
    /// Its highest layer; `None` for an image without layers.
    pub top: Option<ChainId>,
    /// Its layers, lowest first.
    pub layers: Vec<ChainId>,
    /// The image it was built or committed on, if that is known.
    pub parent: Option<ImageId>,
    /// Bytes of its files' content.
    pub size: u64,
    /// When it last got a name (RFC 3339).
    pub tagged_at: Option<String>,
}

/// An image as `<hex>.json` keeps it. The layers follow from the configuration's diff IDs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    /// The configuration, byte by byte; JSON is always UTF-8.
    pub config: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ImageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tagged_at: Option<String>,
    /// Names it was to get when it was kept, and may not have got: who opens this record gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaited_names: Vec<Reference>,
}

/// The chain IDs of an image's layers, lowest first.
pub(super) fn chain_of(config: &ImageConfig) -> Vec<ChainId> {
    let mut below: Option<ChainId> = None;
    let chain = config.rootfs.diff_ids.iter().map(|diff| {
        let chain = ChainId::above(below.as_ref(), diff);
        below = Some(chain);
        chain
    });
    chain.collect()
}

impl Image {
    /// The image whose configuration is `raw`. Its size is the caller's to fill in.
    pub(super) fn read(raw: Vec<u8>) -> Result<Self, serde_json::Error> {
        let config: ImageConfig = serde_json::from_slice(&raw)?;
        let layers = chain_of(&config);
        let id = ImageId(Digest::of(&raw));
        let top = layers.last().copied();
        Ok(Self { id, config, raw_config: raw, top, layers, parent: None, size: 0, tagged_at: None })
    }
}
