//! `--cache-from`: caches that a build may take from, beside the engine's own.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::base::Bases;
use super::super::cache::Record;
use super::super::stage::Position;
use super::{Document, LayerPlace, MEDIA_TYPE, layout, plain};
use crate::buildkit::{CacheKind, CacheSpec};
use crate::engine::image::{FarLayers, HistoryEntry, ImageConfig, Images, Reference};
use crate::engine::layer::{ChainId, DiffId, Digest, Layer};
use crate::engine::registry::Descriptor;
use crate::engine::{EngineError, ErrorKind};

/// The caches of one build.
#[derive(Default)]
pub(in crate::engine::build) struct Imports {
    sources: Vec<Source>,
}

/// One cache.
struct Source {
    name: String,
    place: Place,
    records: HashMap<Digest, Record>,
    layers: HashMap<ChainId, LayerPlace>,
    /// An image that has no records.
    image: Option<(ImageConfig, Vec<Descriptor>)>,
}

/// Where its layers are.
enum Place {
    /// In this engine already.
    Here,
    /// In a registry.
    Registry(Box<FarLayers>),
    /// Received from the client; goes with the build.
    Folder(Arc<TempDir>),
}

/// A step that the engine's own cache knows nothing of.
pub(in crate::engine::build) struct Wanted<'a> {
    /// Its key's digest.
    pub key: Digest,
    /// Where it stands.
    pub position: &'a Position,
    /// The history so far.
    pub done: &'a [HistoryEntry],
    /// The layers so far.
    pub layers: &'a [ChainId],
    /// Ends the search, and a layer that is on its way.
    pub cancel: &'a CancellationToken,
}

/// What a cache has for it.
pub(in crate::engine::build) struct Found {
    /// The layer it made.
    pub layer: Option<Layer>,
    /// When.
    pub created: Timestamp,
    /// Its record, where there is one.
    pub record: Option<Record>,
    /// Which cache.
    pub name: String,
}

impl Imports {
    /// Whether there is none.
    pub(in crate::engine::build) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Adds the cache at a registry, or the image of that name that is here.
    ///
    /// # Errors
    /// It can't be reached, or is no cache.
    pub(in crate::engine::build) async fn add_reference(
        &mut self,
        images: &Images,
        bases: &Bases,
        spec: &CacheSpec,
    ) -> Result<(), EngineError> {
        debug_assert_eq!(spec.kind, CacheKind::Registry);
        let mut source = Source::new(spec, Place::Here);
        match images.find(&spec.reference) {
            Ok(image) => source.take_image(image.config, Vec::new())?,
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) => {
                let reference = Reference::parse(&spec.reference).map_err(EngineError::from)?.or_latest();
                let far = images.far_layers(reference.clone(), bases.auth_for(&reference));
                let read = far.read().await?;
                if read.manifest.config.media_type == MEDIA_TYPE {
                    source.take(Document::parse(&read.document).map_err(EngineError::invalid)?, &[]);
                } else {
                    let config: ImageConfig = serde_json::from_slice(&read.document).map_err(|error| {
                        EngineError::invalid(format!("it is neither an image nor a cache: {error}"))
                    })?;
                    source.take_image(config, read.manifest.layers)?;
                }
                source.place = Place::Registry(Box::new(far));
            }
        }
        self.sources.push(source);
        Ok(())
    }

    /// Adds a cache that was received from the client.
    ///
    /// # Errors
    /// It is none.
    pub(in crate::engine::build) async fn add_folder(
        &mut self,
        folder: TempDir,
        spec: &CacheSpec,
    ) -> Result<(), EngineError> {
        let (folder, tag) = (Arc::new(folder), spec.tag.clone());
        let read = Arc::clone(&folder);
        let read = tokio::task::spawn_blocking(move || layout::read(read.path(), &tag)).await;
        let document = read.map_err(|error| EngineError::system(error.to_string()))??;
        let mut source = Source::new(spec, Place::Folder(folder));
        source.take(document, &[]);
        self.sources.push(source);
        Ok(())
    }

    /// What the caches have for a step; its layer is here then. `warn` hears of a cache that has it and can't give it.
    pub(in crate::engine::build) async fn find(
        &self,
        images: &Images,
        wanted: &Wanted<'_>,
        mut warn: impl FnMut(String),
    ) -> Option<Found> {
        for source in &self.sources {
            match source.find(images, wanted).await {
                Ok(None) => {}
                Ok(found) => return found,
                Err(error) => warn(format!("cache {} can't give a layer: {}", source.name, error.message())),
            }
        }
        None
    }
}

impl Imports {
    /// The layer that an image has for a COPY or WORKDIR, if it differs from the one that was `made` in nothing but times.
    pub(in crate::engine::build) async fn same(
        &self,
        images: &Images,
        wanted: &Wanted<'_>,
        made: &Layer,
    ) -> Option<Layer> {
        for source in &self.sources {
            let same = source.same(images, wanted, made).await;
            match same.inspect_err(|error| tracing::debug!(error = error.message(), "a cached layer is no help")) {
                Ok(None) | Err(_) => {}
                Ok(found) => return found,
            }
        }
        None
    }
}

impl Source {
    fn new(spec: &CacheSpec, place: Place) -> Self {
        Self { name: spec.shown(), place, records: HashMap::new(), layers: HashMap::new(), image: None }
    }

    /// An image: its inline records, or else its history. `blobs` are its layers at the registry.
    fn take_image(&mut self, config: ImageConfig, blobs: Vec<Descriptor>) -> Result<(), EngineError> {
        match &config.build_cache {
            Some(text) => {
                let document = Document::of_text(text).map_err(EngineError::invalid)?;
                let mut chains: Vec<ChainId> = Vec::new();
                for diff in &config.rootfs.diff_ids {
                    chains.push(ChainId::above(chains.last(), diff));
                }
                let placed: Vec<(ChainId, Descriptor)> = chains.into_iter().zip(blobs).collect();
                self.take(document, &placed);
            }
            None => self.image = Some((config, blobs)),
        }
        Ok(())
    }

    fn take(&mut self, document: Document, placed: &[(ChainId, Descriptor)]) {
        self.records = document.records.into_iter().map(|record| (record.key, record)).collect();
        let layers = document.layers.into_iter().map(|mut layer| {
            if let Some((_, blob)) = placed.iter().find(|(chain, _)| *chain == layer.chain) {
                layer.blob.get_or_insert_with(|| blob.clone());
            }
            (layer.chain, layer)
        });
        self.layers = layers.collect();
    }

    async fn find(&self, images: &Images, wanted: &Wanted<'_>) -> Result<Option<Found>, EngineError> {
        if let Some(record) = self.records.get(&wanted.key) {
            let layer = match record.layer {
                None => None,
                Some(chain) => match self.layers.get(&chain) {
                    Some(LayerPlace { diff, parent, blob, .. }) => {
                        let Some(layer) = self.layer(wanted, images, (chain, *diff, *parent), blob.as_ref()).await?
                        else {
                            return Ok(None);
                        };
                        Some(layer)
                    }
                    None => match images.layers().get(&chain) {
                        Some(layer) => Some(layer),
                        None => return Ok(None),
                    },
                },
            };
            let (created, record) = (record.created, Some(record.clone()));
            return Ok(Some(Found { layer, created, record, name: self.name.clone() }));
        }
        let Some((image, blobs)) = &self.image else { return Ok(None) };
        let Some(step) = plain::past_step(image, wanted.done, wanted.layers, wanted.position) else { return Ok(None) };
        let layer = match step.layer {
            None => None,
            Some((chain, diff, at)) => {
                let parent = wanted.layers.last().copied();
                let Some(layer) = self.layer(wanted, images, (chain, diff, parent), blobs.get(at)).await? else {
                    return Ok(None);
                };
                Some(layer)
            }
        };
        let created = step.created.and_then(|at| at.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Some(Found { layer, created, record: None, name: self.name.clone() }))
    }

    async fn same(&self, images: &Images, wanted: &Wanted<'_>, made: &Layer) -> Result<Option<Layer>, EngineError> {
        let Some((image, blobs)) = &self.image else { return Ok(None) };
        let step = plain::past_files(image, wanted.done, wanted.layers, wanted.position);
        let Some((chain, diff, at)) = step.and_then(|step| step.layer) else { return Ok(None) };
        let parent = wanted.layers.last().copied();
        let Some(layer) = self.layer(wanted, images, (chain, diff, parent), blobs.get(at)).await? else {
            return Ok(None);
        };
        let _hold = images.layers().hold(&layer.chain_id);
        let (of_work, made, cancel) = (images.clone(), made.chain_id, wanted.cancel.clone());
        let work = move || of_work.layers().are_alike(&chain, &made, &cancel);
        let alike = tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))?;
        Ok(alike?.then_some(layer))
    }

    /// A layer, brought here where it is not; `None` where nobody says where it is, or the one below it is not here.
    async fn layer(
        &self,
        wanted: &Wanted<'_>,
        images: &Images,
        (chain, diff, parent): (ChainId, DiffId, Option<ChainId>),
        blob: Option<&Descriptor>,
    ) -> Result<Option<Layer>, EngineError> {
        if let Some(layer) = images.layers().get(&chain) {
            return Ok(Some(layer));
        }
        if parent.is_some_and(|parent| images.layers().get(&parent).is_none()) {
            return Ok(None);
        }
        if ChainId::above(parent.as_ref(), &diff) != chain {
            return Err(EngineError::invalid("it calls a layer by a name that is not its own"));
        }
        let layer = match (&self.place, blob) {
            (Place::Here, _) | (_, None) => return Ok(None),
            (Place::Registry(far), Some(blob)) => far.fetch(blob, diff, parent, wanted.cancel).await?,
            (Place::Folder(folder), Some(blob)) => {
                let (images, folder, blob) = (images.clone(), Arc::clone(folder), blob.clone());
                let cancel = wanted.cancel.clone();
                let work = move || layout::take_layer(&images, folder.path(), &blob, diff, parent, &cancel);
                tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))??
            }
        };
        Ok(Some(layer))
    }
}
