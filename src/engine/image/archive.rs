//! An image that is not kept: its archive is made of layers that are.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;

use crate::engine::EngineError;
use crate::engine::layer::{Digest, LayerError};

use super::record::chain_of;
use super::save::{Chosen, Form};
use super::{Image, ImageId, Images, NewImage};

/// An archive that is being made.
pub struct ImageArchive {
    /// The image's ID: the digest of its configuration.
    pub id: ImageId,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The archive.
    pub chunks: Box<dyn Stream<Item = io::Result<Bytes>> + Send + Unpin>,
}

impl Images {
    /// Writes an image of existing layers as an OCI layout, and keeps nothing of it here. The layers must be held meanwhile.
    ///
    /// # Errors
    /// `NotFound` for a missing layer; what goes wrong later ends the stream with an error.
    pub fn archive(
        &self,
        new: NewImage,
        annotations: BTreeMap<String, String>,
        has_dockers_manifest: bool,
    ) -> Result<ImageArchive, EngineError> {
        let NewImage { mut config, layers, tags, .. } = new;
        config.rootfs.kind = "layers".to_owned();
        let found = layers
            .iter()
            .map(|chain| self.shared.layers.get(chain).ok_or(LayerError::Missing { chain: *chain }))
            .collect::<Result<Vec<_>, _>>()?;
        config.rootfs.diff_ids = found.iter().map(|layer| layer.diff_id).collect();
        if chain_of(&config) != layers {
            return Err(EngineError::system("the layers of a new image do not stand on each other"));
        }
        let malformed = |error: serde_json::Error| EngineError::system("write image configuration").because(error);
        let image = Arc::new(Image::read(config.to_bytes().map_err(malformed)?).map_err(malformed)?);
        let chosen = Chosen { image: Arc::clone(&image), tags, annotations };
        let manifest = Digest::of(chosen.manifest(&found).as_bytes());
        let form = if has_dockers_manifest { Form::Both } else { Form::Oci };
        let chunks = self.write(vec![chosen], form, |_| {});
        Ok(ImageArchive { id: image.id, manifest, chunks: Box::new(chunks) })
    }
}
