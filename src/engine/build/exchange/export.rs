//! `--cache-to`: what a build used of the cache goes to a registry, or to a folder of the client's.

use std::collections::HashSet;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::base::Bases;
use super::super::cache::{Cache, Record};
use super::{Document, LayerPlace, MEDIA_TYPE, layout};
use crate::buildkit::{CacheMode, CacheSpec};
use crate::engine::EngineError;
use crate::engine::image::{Images, Reference};
use crate::engine::layer::{ChainId, Digest};
use crate::engine::store::StateRoot;

/// What is to be taken along.
pub(in crate::engine::build) struct Export<'a> {
    pub cache: &'a Cache,
    pub images: &'a Images,
    /// The keys of the build's steps.
    pub keys: Vec<Digest>,
    /// The result's layers.
    pub layers: &'a [ChainId],
}

impl Export<'_> {
    /// The records that `mode` takes, and the layers they need.
    fn chosen(&self, mode: CacheMode) -> (Vec<Record>, Vec<LayerPlace>) {
        let result: HashSet<&ChainId> = self.layers.iter().collect();
        let is_of_result = |record: &Record| record.layer.or(record.below).is_none_or(|chain| result.contains(&chain));
        let records: Vec<Record> = self.cache.some(&self.keys);
        let records: Vec<Record> =
            records.into_iter().filter(|record| mode == CacheMode::Max || is_of_result(record)).collect();
        let mut layers: Vec<LayerPlace> = Vec::new();
        for chain in records.iter().filter_map(|record| record.layer) {
            if layers.iter().all(|layer| layer.chain != chain)
                && let Some(layer) = self.images.layers().get(&chain)
            {
                layers.push(LayerPlace { chain, diff: layer.diff_id, parent: layer.parent, blob: None });
            }
        }
        layers.sort_by_key(|layer| layer.chain);
        (records, layers)
    }

    /// The cache as the image's own configuration carries it.
    pub(in crate::engine::build) fn inline(&self) -> String {
        let (records, layers) = self.chosen(CacheMode::Min);
        Document::new(records, layers).to_text()
    }

    /// To a registry.
    pub(in crate::engine::build) async fn to_registry(
        &self,
        bases: &Bases,
        spec: &CacheSpec,
    ) -> Result<(), EngineError> {
        let (records, layers) = self.chosen(spec.mode);
        let reference = Reference::parse(&spec.reference).map_err(EngineError::from)?.or_latest();
        let far = self.images.far_layers(reference.clone(), bases.auth_for(&reference));
        let chains: Vec<ChainId> = layers.iter().map(|layer| layer.chain).collect();
        far.write(&chains, MEDIA_TYPE, |blobs| {
            let placed = layers.into_iter().zip(blobs);
            let placed = placed.map(|(layer, blob)| LayerPlace { blob: Some(blob.clone()), ..layer });
            Document::new(records, placed.collect()).to_bytes()
        })
        .await
    }

    /// Into a folder, which is the client's next.
    pub(in crate::engine::build) async fn to_folder(
        &self,
        root: &StateRoot,
        spec: &CacheSpec,
        cancel: &CancellationToken,
    ) -> Result<TempDir, EngineError> {
        let (records, layers) = self.chosen(spec.mode);
        let folder =
            root.temp_dir("cache").map_err(|error| EngineError::system(format!("write the cache: {error}")))?;
        let (images, tag, cancel) = (self.images.clone(), spec.tag.clone(), cancel.clone());
        let work = move || {
            layout::write(&images, folder.path(), layers, &tag, &cancel, |placed| Document::new(records, placed))?;
            Ok(folder)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))?
    }
}
