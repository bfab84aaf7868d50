//! Pushing: an image's layers, configuration and manifest go to a registry.
//!
//! What the registry has is skipped: layers are first looked for under the digest they were pulled with, then mounted
//! from a repository of the same registry that is known to have them, and only then compressed and sent.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::Stream;
use serde_json::json;
use tokio::sync::mpsc;

use crate::engine::error::EngineError;
use crate::engine::layer::{Blob, ChainId, Digest, Hashing, Layer, LayerError};
use crate::engine::registry::{Registry, RegistryError, Upload, media};

use super::store::{Shared, blocking, no_such_image};
use super::stream::{Operation, Teller};
use super::{Image, Images, ManifestForm, Progress, PushRequest, Reference};

const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Compressed bytes gathered before they are sent.
const CHUNK: usize = 64 << 10;

impl Images {
    /// Pushes an image; a failure is the last message. Dropping the stream cancels.
    pub fn push(&self, request: PushRequest) -> impl Stream<Item = Progress> + Send + Unpin + 'static + use<> {
        let shared = Arc::clone(&self.shared);
        Operation::start(move |teller| Box::pin(async move { shared.push(request, &teller).await }))
    }
}

pub(super) struct Push {
    pub shared: Arc<Shared>,
    pub registry: Registry,
    pub teller: Teller,
    pub repository: Reference,
    pub form: ManifestForm,
}

impl Shared {
    async fn push(self: Arc<Self>, request: PushRequest, teller: &Teller) -> Result<(), EngineError> {
        let repository = request.reference.repository();
        let (name, familiar) = (request.reference.familiar(), repository.familiar_name());
        teller.tell(Progress::status(format!("The push refers to repository [{}]", repository.name())));
        let tags: Vec<Reference> = match request.reference.tag() {
            Some(_) => vec![request.reference.clone()],
            None => {
                let index = self.index();
                let names = index.names.keys().filter(|known| known.digest().is_none());
                names.filter(|known| known.name() == repository.name()).cloned().collect()
            }
        };
        if tags.is_empty() {
            return Err(EngineError::not_found(format!("An image does not exist locally with the tag: {familiar}")));
        }
        let about = |error: RegistryError| error.about(&name, &familiar);
        let registry =
            Registry::new(repository.domain(), repository.path(), request.auth.unwrap_or_default()).map_err(about)?;
        let (shared, teller, form) = (Arc::clone(&self), teller.clone(), request.form);
        let push = Arc::new(Push { shared, registry, teller, repository, form });
        for tag in tags {
            let id = self.index().names.get(&tag).copied();
            let image = id.and_then(|id| self.index().images.get(&id).cloned());
            let image = image.ok_or_else(|| {
                EngineError::not_found(format!("An image does not exist locally with the tag: {}", tag.familiar()))
                    .because(no_such_image(&tag.familiar()))
            })?;
            Arc::clone(&push).image(&image, &tag).await.map_err(|error| error.about(&name, &familiar))?;
        }
        Ok(())
    }
}

/// Why something did not get there.
pub(super) enum PushError {
    Registry(RegistryError),
    Engine(EngineError),
}

impl PushError {
    pub fn about(self, name: &str, familiar: &str) -> EngineError {
        match self {
            Self::Registry(error) => error.about(name, familiar),
            Self::Engine(error) => error,
        }
    }
}

impl From<RegistryError> for PushError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<EngineError> for PushError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl Push {
    async fn image(self: Arc<Self>, image: &Image, tag: &Reference) -> Result<(), PushError> {
        let hold = image.top.map(|top| self.shared.layers.hold(&top));
        let mut layers = Vec::new();
        for chain in &image.layers {
            let missing = LayerError::Missing { chain: *chain };
            layers.push(self.shared.layers.get(chain).ok_or_else(|| EngineError::from(missing))?);
        }
        for layer in layers.iter().rev() {
            self.teller.tell(Progress::of(short(layer), "Preparing"));
        }
        let mut descriptors = Vec::new();
        let (manifest_type, config_type, layer_type) = match self.form.wants_oci() {
            true => (media::OCI_MANIFEST, media::OCI_CONFIG, media::OCI_LAYER),
            false => (media::DOCKER_MANIFEST, media::DOCKER_CONFIG, media::DOCKER_LAYER),
        };
        for layer in &layers {
            let blob = self.layer(layer).await?;
            descriptors.push(json!({ "mediaType": layer_type, "size": blob.size, "digest": blob.digest.to_string() }));
        }
        self.registry.upload_document(image.id.digest(), &image.raw_config).await?;
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": {
                "mediaType": config_type,
                "size": image.raw_config.len(),
                "digest": image.id.to_string(),
            },
            "layers": descriptors,
        });
        if let (Some(fields), false) = (manifest.as_object_mut(), self.form.annotations.is_empty()) {
            fields.insert("annotations".to_owned(), json!(self.form.annotations));
        }
        let text = manifest.to_string().into_bytes();
        let digest = Digest::of(&text);
        let name = tag.tag().unwrap_or("latest");
        self.registry.put_manifest(name, manifest_type, &text).await?;
        drop(hold);

        let (shared, by_digest, id) = (Arc::clone(&self.shared), tag.with_digest(digest), image.id);
        blocking(move || shared.add_pulled_names(&[by_digest], &id)).await?;
        self.shared.publish("push", &tag.familiar(), &tag.familiar_name(), Some(&image.id));
        self.teller.tell(Progress::status(format!("{name}: digest: {digest} size: {}", text.len())));
        let aux = json!({ "Tag": name, "Digest": digest.to_string(), "Size": text.len() });
        let progress_detail = Some(bollard_stubs::models::ProgressDetail { current: None, total: None });
        self.teller.tell(Progress { aux: Some(aux), progress_detail, ..Progress::default() });
        Ok(())
    }

    /// Brings one layer to the registry, by the cheapest way.
    pub async fn layer(&self, layer: &Layer) -> Result<Blob, PushError> {
        let is_gzip = |blob: &&Blob| blob.media_type.ends_with("gzip");
        for blob in layer.blobs.iter().filter(is_gzip) {
            if self.registry.has_blob(&blob.digest).await? {
                self.teller.tell(Progress::of(short(layer), "Layer already exists"));
                return Ok(blob.clone());
            }
        }
        let domain = format!("{}/", self.repository.domain());
        for blob in layer.blobs.iter().filter(is_gzip) {
            let Some(from) = blob.repository.strip_prefix(&domain) else { continue };
            if let Upload::Mounted(from) = self.registry.begin_upload(&blob.digest, Some(from)).await? {
                self.teller.tell(Progress::of(short(layer), format!("Mounted from {from}")));
                return self.known_at(layer, blob.digest, blob.size).await;
            }
        }
        let (digest, size) = self.send(layer).await?;
        self.teller.tell(Progress::of(short(layer), "Pushed"));
        self.known_at(layer, digest, size).await
    }

    async fn known_at(&self, layer: &Layer, digest: Digest, size: u64) -> Result<Blob, PushError> {
        let blob =
            Blob { digest, size, media_type: media::DOCKER_LAYER.to_owned(), repository: self.repository.name() };
        let (shared, chain, kept) = (Arc::clone(&self.shared), layer.chain_id, blob.clone());
        blocking(move || Ok(shared.layers.add_blob(&chain, kept)?)).await?;
        Ok(blob)
    }

    /// Compresses and sends a layer in one pass; its digest is known at the end.
    async fn send(&self, layer: &Layer) -> Result<(Digest, u64), PushError> {
        let unknown = Digest::of(b"");
        let place = match self.registry.begin_upload(&unknown, None).await? {
            Upload::Needed(place) => place,
            Upload::Exists | Upload::Mounted(_) => {
                return Err(EngineError::system("the registry took a layer before it was sent").into());
            }
        };
        let (sender, mut receiver) = mpsc::channel::<std::io::Result<bytes::Bytes>>(16);
        let (shared, chain) = (Arc::clone(&self.shared), layer.chain_id);
        let packing = tokio::task::spawn_blocking(move || compress(&shared, &chain, sender));
        let (teller, id, total) = (self.teller.clone(), short(layer), layer.tar_size);
        let (mut told, mut sent) = (Instant::now(), 0);
        let body = futures_util::stream::poll_fn(move |context| {
            let chunk = receiver.poll_recv(context);
            if let std::task::Poll::Ready(Some(Ok(chunk))) = &chunk {
                sent += chunk.len() as u64;
                if told.elapsed() >= PROGRESS_EVERY {
                    told = Instant::now();
                    teller.tell(Progress::bytes(id.clone(), "Pushing", sent, total));
                }
            }
            chunk
        });
        let sent = self.registry.upload_stream(&place, body).await;
        let packed =
            packing.await.map_err(|error| EngineError::system("packing a layer was cut off").because(error))?;
        let place = sent?;
        let (digest, size) = packed?;
        self.registry.finish_upload(&place, &digest).await?;
        Ok((digest, size))
    }
}

fn compress(
    shared: &Shared,
    chain: &ChainId,
    sender: mpsc::Sender<std::io::Result<bytes::Bytes>>,
) -> Result<(Digest, u64), EngineError> {
    let told = |source| EngineError::from(LayerError::Io { action: "send", subject: "layer".into(), source });
    let failing = sender.clone();
    let hashing = Hashing::new(Sending { sender, pending: Vec::with_capacity(CHUNK) });
    let mut gzip = flate2::write::GzEncoder::new(hashing, flate2::Compression::new(4));
    if let Err(error) = shared.layers.write_layer(chain, &mut gzip) {
        // The registry must not take half a layer for a whole one.
        let _ = failing.blocking_send(Err(std::io::Error::other(error.to_string())));
        return Err(error.into());
    }
    let mut hashing = gzip.finish().map_err(told)?;
    hashing.flush().map_err(told)?;
    let (digest, size, _) = hashing.finish();
    Ok((digest, size))
}

struct Sending {
    sender: mpsc::Sender<std::io::Result<bytes::Bytes>>,
    pending: Vec<u8>,
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

fn short(layer: &Layer) -> String {
    layer.diff_id.hex().chars().take(12).collect()
}
