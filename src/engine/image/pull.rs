//! Pulling: a registry's manifest becomes an image.
//!
//! All layers come at once, each in one pass through three stages (download, inflate and check, unpack and hash), every
//! layer into a folder of its own. Only when the last one is whole and right do they get their places, lowest first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::Stream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::error::{EngineError, ErrorKind};
use crate::engine::layer::{Blob, ChainId, DiffId, LayerError, Limits, Unpacked, chunks, inflate};
use crate::engine::registry::{Descriptor, Platform, Registry, RegistryError, Resolved};

use super::record::chain_of;
use super::store::{Shared, blocking};
use super::stream::{Operation, Teller};
use super::{ImageConfig, ImageId, Images, Progress, PullRequest, Reference, host_architecture};

/// Layers under way at once.
const LAYERS_AT_ONCE: usize = 6;
/// How often written bytes are pushed on to the disk while layers come. Without it, the one `syncfs` at the end of a
/// Debian layer of 206 MB took half a second on a virtual disk, doing nothing else meanwhile.
const WRITE_BACK_EVERY: Duration = Duration::from_millis(120);
/// How often a layer says how far it is (as dockerd).
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

impl Images {
    /// Pulls an image; a failure is the last message. Dropping the stream cancels.
    pub fn pull(&self, request: PullRequest) -> impl Stream<Item = Progress> + Send + Unpin + 'static + use<> {
        let shared = Arc::clone(&self.shared);
        Operation::start(move |teller| Box::pin(async move { shared.pull(request, &teller).await }))
    }
}

/// What all layers of one pull share.
pub(super) struct Pull {
    pub shared: Arc<Shared>,
    pub registry: Registry,
    pub teller: Teller,
    /// `domain/path`, to remember where blobs came from.
    pub repository: String,
    /// Set when one layer failed: the others need not come any more.
    pub stop: CancellationToken,
}

impl Shared {
    async fn pull(self: Arc<Self>, request: PullRequest, teller: &Teller) -> Result<(), EngineError> {
        let reference = request.reference.or_latest();
        let (name, repository) = (reference.familiar(), reference.familiar_name());
        let about = |error: RegistryError| error.about(&name, &repository);
        let platform = wanted_platform(request.platform.as_deref())?;
        let registry =
            Registry::new(reference.domain(), reference.path(), request.auth.unwrap_or_default()).map_err(about)?;
        let wanted = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let resolved = registry.resolve(&wanted, &platform).await.map_err(about)?;
        teller.tell(Progress { id: Some(wanted), ..Progress::status(format!("Pulling from {}", reference.path())) });

        let id = ImageId(resolved.manifest.config.digest);
        let mut names = vec![reference.with_digest(resolved.digest)];
        if reference.digest().is_none() {
            names.push(reference.clone());
        }
        let known = self.index().images.get(&id).map(|image| image.top);
        let is_whole = match known {
            Some(Some(top)) => self.layers.lowers(&top).is_ok(),
            Some(None) => true,
            None => false,
        };
        if !is_whole {
            let raw = registry.document(&resolved.manifest.config.digest).await.map_err(about)?;
            let config: ImageConfig = serde_json::from_slice(&raw).map_err(|error| {
                EngineError::invalid(format!("{name}: its configuration is not one of an image: {error}"))
                    .because(error)
            })?;
            check_platform(&name, &config, &platform, request.platform.is_some())?;
            let pull = Pull {
                shared: Arc::clone(&self),
                registry,
                teller: teller.clone(),
                repository: reference.name(),
                stop: CancellationToken::new(),
            };
            Arc::new(pull).layers(&resolved, &config).await.map_err(|error| error.about(&name, &repository))?;
            let (shared, names) = (Arc::clone(&self), names.clone());
            blocking(move || shared.keep(raw, None, &names)).await?;
        }
        self.end_pull(reference, names, id, &resolved, teller).await
    }

    async fn end_pull(
        self: Arc<Self>,
        reference: Reference,
        names: Vec<Reference>,
        id: ImageId,
        resolved: &Resolved,
        teller: &Teller,
    ) -> Result<(), EngineError> {
        let digest = resolved.digest;
        let name = reference.familiar();
        let shared = Arc::clone(&self);
        let is_newer = blocking(move || {
            let is_newer = names.iter().any(|name| shared.index().names.get(name) != Some(&id));
            if is_newer {
                shared.add_pulled_names(&names, &id)?;
                shared.settle(&id, None)?;
            }
            Ok(is_newer)
        })
        .await?;
        self.publish("pull", &name, &reference.familiar_name(), Some(&id));
        teller.tell(Progress::status(format!("Digest: {digest}")));
        let outcome = if is_newer { "Downloaded newer image" } else { "Image is up to date" };
        teller.tell(Progress::status(format!("Status: {outcome} for {name}")));
        Ok(())
    }
}

/// Why the layers did not come.
pub(super) enum LayersError {
    Registry(RegistryError),
    Engine(EngineError),
}

impl LayersError {
    pub fn about(self, name: &str, repository: &str) -> EngineError {
        match self {
            Self::Registry(error) => error.about(name, repository),
            Self::Engine(error) => error,
        }
    }
}

impl<E: Into<EngineError>> From<E> for LayersError {
    fn from(error: E) -> Self {
        Self::Engine(error.into())
    }
}

impl Pull {
    /// Brings all layers of the image that are not here yet.
    async fn layers(self: Arc<Self>, resolved: &Resolved, config: &ImageConfig) -> Result<(), LayersError> {
        let blobs: Vec<Descriptor> = resolved.manifest.layers.clone();
        let diffs = &config.rootfs.diff_ids;
        if blobs.len() != diffs.len() {
            return Err(LayersError::Engine(EngineError::invalid(format!(
                "the manifest has {} layers, but the image's configuration {}",
                blobs.len(),
                diffs.len()
            ))));
        }
        let chains = chain_of(config);
        let holds: Vec<_> = chains.iter().map(|chain| self.shared.layers.hold(chain)).collect();
        let here = chains.iter().take_while(|chain| self.shared.layers.get(chain).is_some()).count();
        for (at, blob) in blobs.iter().enumerate() {
            let status = if at < here { "Already exists" } else { "Pulling fs layer" };
            self.teller.tell(Progress::of(short(blob), status));
        }
        let turns = Arc::new(Semaphore::new(LAYERS_AT_ONCE));
        let mut tasks = JoinSet::new();
        for (at, (blob, diff)) in blobs.iter().zip(diffs).enumerate().skip(here) {
            let (pull, blob, diff, turns) = (Arc::clone(&self), blob.clone(), *diff, Arc::clone(&turns));
            tasks.spawn(async move {
                let turn = turns.acquire_owned().await;
                let unpacked = pull.layer(blob, diff).await;
                drop(turn);
                (at, unpacked)
            });
        }
        let _writeback = self.write_back();
        let mut unpacked = Vec::new();
        let mut failed = None;
        while let Some(done) = tasks.join_next().await {
            let (at, layer) =
                done.map_err(|error| EngineError::system("a layer's download was cut off").because(error))?;
            match layer {
                Ok(layer) => unpacked.push((at, layer)),
                // The first failure counts; the others follow from it, and have cleaned up when they are joined.
                Err(error) => {
                    self.stop.cancel();
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        unpacked.sort_by_key(|(at, _)| *at);
        let parent: Option<ChainId> = here.checked_sub(1).and_then(|top| chains.get(top).copied());
        let shared = Arc::clone(&self.shared);
        let layers = unpacked.into_iter().map(|(_, layer)| layer).collect();
        blocking(move || Ok(shared.layers.commit(parent.as_ref(), layers)?)).await?;
        for blob in blobs.iter().skip(here) {
            self.teller.tell(Progress::of(short(blob), "Pull complete"));
        }
        drop(holds);
        Ok(())
    }

    /// Has the disk take in what was written while more still comes, so that little is left to wait for at the end.
    /// Ends when the answer is dropped.
    fn write_back(&self) -> JoinSet<()> {
        let shared = Arc::clone(&self.shared);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                tokio::time::sleep(WRITE_BACK_EVERY).await;
                let shared = Arc::clone(&shared);
                // Whether the disk took everything is asked once more, and told, when the layers are committed.
                let _ = tokio::task::spawn_blocking(move || shared.layers.sync()).await;
            }
        });
        task
    }

    /// Brings one layer: the three stages, and whose error counts.
    pub async fn layer(&self, blob: Descriptor, diff: DiffId) -> Result<Unpacked, LayersError> {
        let (compressed, compressed_reader) = chunks();
        let (inflated, inflated_reader) = chunks();
        let layers = Arc::clone(&self.shared.layers);
        let inflating = tokio::task::spawn_blocking(move || inflate(compressed_reader, inflated));
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut reader = inflated_reader;
            let unpacked = layers.unpack(&mut reader, Limits::default());
            if matches!(unpacked, Err(LayerError::Archive { .. } | LayerError::Entry { .. })) {
                // Read on, so that a blob which is not the one that was asked for is told as such.
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
            }
            unpacked
        });

        let id = short(&blob);
        let mut told = Instant::now();
        let fetch = self.registry.fetch(&blob, compressed, |received| {
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                self.teller.tell(Progress::bytes(id.clone(), "Downloading", received, blob.size));
            }
        });
        let fetched = tokio::select! {
            fetched = fetch => fetched.map_err(LayersError::Registry),
            // Dropping the download lets the stages after it end.
            () = self.stop.cancelled() => Err(LayersError::Engine(EngineError::system("cancelled"))),
        };
        if fetched.is_ok() {
            self.teller.tell(Progress::of(id.clone(), "Verifying Checksum"));
            self.teller.tell(Progress::of(id.clone(), "Download complete"));
            self.teller.tell(Progress::bytes(id, "Extracting", blob.size, blob.size));
        }
        let cut = |error| EngineError::system("a layer's download was cut off").because(error);
        let inflated = inflating.await.map_err(cut)?;
        let unpacked = unpacking.await.map_err(cut)?;
        fetched?;
        let unpacked = match unpacked {
            Err(LayerError::Source { .. } | LayerError::Archive { .. } | LayerError::Entry { .. }) | Ok(_)
                if inflated.digest != blob.digest =>
            {
                let (expected, found) = (blob.digest, inflated.digest);
                return Err(LayersError::Registry(RegistryError::Digest { expected, found }));
            }
            Err(LayerError::Source { source }) => {
                return Err(LayersError::Engine(
                    EngineError::invalid(format!("layer {} can't be unpacked: {source}", blob.digest)).because(source),
                ));
            }
            Err(error) => return Err(error.into()),
            Ok(unpacked) => unpacked,
        };
        if unpacked.diff_id != diff {
            return Err(LayersError::Engine(EngineError::invalid(format!(
                "wrong diff id calculated on extraction \"{}\", expected \"{diff}\"",
                unpacked.diff_id
            ))));
        }
        let repository = self.repository.clone();
        Ok(unpacked.from_blob(Blob { digest: blob.digest, size: blob.size, media_type: blob.media_type, repository }))
    }
}

fn short(blob: &Descriptor) -> String {
    blob.digest.hex().chars().take(12).collect()
}

fn host_platform() -> Platform {
    let variant = (host_architecture() == "arm64").then(|| "v8".to_owned());
    Platform { architecture: host_architecture().to_owned(), os: "linux".to_owned(), variant }
}

pub(super) fn wanted_platform(text: Option<&str>) -> Result<Platform, EngineError> {
    let host = host_platform();
    match text.filter(|text| !text.is_empty()) {
        None => Ok(host),
        Some(text) => Platform::parse(text, &host).ok_or_else(|| {
            EngineError::invalid(format!("\"{text}\" is an invalid platform: expected os[/arch[/variant]]"))
        }),
    }
}

/// A lone manifest may be for another platform than the one asked for.
fn check_platform(name: &str, config: &ImageConfig, wanted: &Platform, is_asked: bool) -> Result<(), EngineError> {
    let fits = (config.architecture.is_empty() || config.architecture == wanted.architecture)
        && (config.os.is_empty() || config.os == wanted.os);
    if fits || (!is_asked && config.os == "linux") {
        return Ok(());
    }
    Err(EngineError::new(
        ErrorKind::NotFound,
        format!(
            "image with reference {name} was found but its platform ({}/{}) does not match the specified platform ({wanted})",
            config.os, config.architecture
        ),
    ))
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;
