//! An image that is not kept: its archive is made of layers that are.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tokio_util::sync::CancellationToken;

use crate::engine::EngineError;
use crate::engine::layer::{Digest, LayerError};

use super::record::chain_of;
use super::save::{Chosen, Form};
use super::{Image, ImageId, Images, NewImage, Packing};

/// An archive that is being made.
pub struct ImageArchive {
    /// The image's ID: the digest of its configuration.
    pub id: ImageId,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The archive.
    pub chunks: Box<dyn Stream<Item = io::Result<Bytes>> + Send + Unpin>,
}

/// What an archive is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArchiveForm {
    /// Whether `docker load` of old shall be able to read it.
    pub has_dockers_manifest: bool,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// How its layers are compressed.
    pub packing: Packing,
}

impl Images {
    /// Writes an image of existing layers as an OCI layout, and keeps nothing of it here. The layers must be held meanwhile.
    /// Compressing them ends with an error when `cancel` says so. Blocking, within a runtime.
    ///
    /// # Errors
    /// `NotFound` for a missing layer; what goes wrong later ends the stream with an error.
    pub fn archive(
        &self,
        new: NewImage,
        form: ArchiveForm,
        cancel: &CancellationToken,
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
        let packed = found.iter().map(|layer| self.shared.packed(layer, form.packing, cancel));
        let packed = packed.collect::<Result<Vec<_>, _>>()?;
        let mut chosen = Chosen { image: Arc::clone(&image), tags, annotations: form.annotations, packed: None };
        let manifest = Digest::of(chosen.manifest(&packed).as_bytes());
        chosen.packed = Some(packed);
        let form = if form.has_dockers_manifest { Form::Both } else { Form::Oci };
        let chunks = self.write(vec![chosen], form, |_| {});
        Ok(ImageArchive { id: image.id, manifest, chunks: Box::new(chunks) })
    }
}
