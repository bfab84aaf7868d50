//! Layers and documents at a registry, apart from whole images: what a build's cache is made of.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::pull::{Pull, wanted_platform};
use super::push::Push;
use super::store::blocking;
use super::stream::Teller;
use super::{Images, ManifestForm, Reference, RegistryAuth};
use crate::engine::error::{EngineError, ErrorKind};
use crate::engine::layer::{ChainId, DiffId, Digest, Layer, LayerError};
use crate::engine::registry::{Descriptor, Manifest, Registry, media};

/// OCI's layer.
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A repository at a registry whose single layers can be had.
pub struct FarLayers {
    images: Images,
    reference: Reference,
    auth: RegistryAuth,
}

/// A manifest with the document it names as its configuration.
pub struct FarDocument {
    /// The manifest.
    pub manifest: Manifest,
    /// The document.
    pub document: Vec<u8>,
}

impl Images {
    /// The repository of `reference`. Asks nobody yet.
    pub fn far_layers(&self, reference: Reference, auth: Option<RegistryAuth>) -> FarLayers {
        FarLayers { images: self.clone(), reference: reference.or_latest(), auth: auth.unwrap_or_default() }
    }

    /// Makes an unpacked layer the one above `parent`, if it is `diff`. Blocking.
    ///
    /// # Errors
    /// What can't be unpacked, or is another layer.
    pub fn take_layer(
        &self,
        reader: impl std::io::BufRead,
        diff: DiffId,
        parent: Option<ChainId>,
    ) -> Result<Layer, EngineError> {
        let layers = self.layers();
        let unpacked = layers.unpack(reader, crate::engine::layer::Limits::default())?;
        if unpacked.diff_id != diff {
            let found = unpacked.diff_id;
            return Err(EngineError::invalid(format!("a cached layer is not what it is called: {found}, not {diff}")));
        }
        only(layers.commit(parent.as_ref(), vec![unpacked])?)
    }
}

fn only(layers: Vec<Layer>) -> Result<Layer, EngineError> {
    layers.into_iter().next().ok_or_else(|| EngineError::system("a layer went missing while it was kept"))
}

impl FarLayers {
    fn registry(&self) -> Result<Registry, EngineError> {
        let registry = Registry::new(self.reference.domain(), self.reference.path(), self.auth.clone());
        registry.map_err(|error| error.about(&self.reference.familiar(), &self.reference.familiar_name()))
    }

    /// Reads what the reference names.
    ///
    /// # Errors
    /// The registry's refusal.
    pub async fn read(&self) -> Result<FarDocument, EngineError> {
        let (name, repository) = (self.reference.familiar(), self.reference.familiar_name());
        let registry = self.registry()?;
        let wanted = match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let platform = wanted_platform(None)?;
        let resolved = registry.resolve(&wanted, &platform).await.map_err(|error| error.about(&name, &repository))?;
        let document = registry.document(&resolved.manifest.config.digest).await;
        let document = document.map_err(|error| error.about(&name, &repository))?;
        Ok(FarDocument { manifest: resolved.manifest, document })
    }

    /// Brings the layer `diff`, which is there as `blob`, and puts it above `parent`.
    ///
    /// # Errors
    /// The registry's refusal; bytes that are not what they are called; the disk's refusal.
    pub async fn fetch(
        &self,
        blob: &Descriptor,
        diff: DiffId,
        parent: Option<ChainId>,
        cancel: &CancellationToken,
    ) -> Result<Layer, EngineError> {
        let shared = Arc::clone(&self.images.shared);
        let pull = Pull {
            shared: Arc::clone(&shared),
            registry: self.registry()?,
            teller: Teller::silent(),
            repository: self.reference.name(),
            stop: cancel.child_token(),
        };
        // Cut off here, not later: a layer that is kept has to find its owner.
        let unpacked = tokio::select! {
            unpacked = pull.layer(blob.clone(), diff) => unpacked,
            () = cancel.cancelled() => return Err(EngineError::new(ErrorKind::Unavailable, "it was cancelled")),
        };
        let unpacked =
            unpacked.map_err(|error| error.about(&self.reference.familiar(), &self.reference.familiar_name()))?;
        let layers = blocking(move || Ok(shared.layers.commit(parent.as_ref(), vec![unpacked])?)).await?;
        only(layers)
    }

    /// Puts layers and a document there, under the reference's tag. The document, of type `media_type`, is made when it is
    /// known what each layer is there as.
    ///
    /// # Errors
    /// The registry's refusal; the disk's.
    pub async fn write(
        &self,
        chains: &[ChainId],
        media_type: &str,
        document: impl FnOnce(&[Descriptor]) -> Vec<u8>,
    ) -> Result<(), EngineError> {
        let (name, familiar) = (self.reference.familiar(), self.reference.familiar_name());
        let shared = Arc::clone(&self.images.shared);
        let push = Push {
            shared: Arc::clone(&shared),
            registry: self.registry()?,
            teller: Teller::silent(),
            repository: self.reference.repository(),
            form: ManifestForm::default(),
        };
        let mut blobs = Vec::new();
        for chain in chains {
            let _hold = shared.layers.hold(chain);
            let layer = shared.layers.get(chain).ok_or(LayerError::Missing { chain: *chain })?;
            let blob = push.layer(&layer).await.map_err(|error| error.about(&name, &familiar))?;
            let media_type = OCI_LAYER.to_owned();
            blobs.push(Descriptor { media_type, digest: blob.digest, size: blob.size, platform: None });
        }
        let document = document(&blobs);
        let digest = Digest::of(&document);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::OCI_MANIFEST,
            "config": { "mediaType": media_type, "size": document.len(), "digest": digest.to_string() },
            "layers": blobs,
        });
        let told = |error: crate::engine::registry::RegistryError| error.about(&name, &familiar);
        push.registry.upload_document(&digest, &document).await.map_err(told)?;
        let told = |error: crate::engine::registry::RegistryError| error.about(&name, &familiar);
        let tag = self.reference.tag().unwrap_or("latest");
        push.registry.put_manifest(tag, media::OCI_MANIFEST, manifest.to_string().as_bytes()).await.map_err(told)
    }
}
