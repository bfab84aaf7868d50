//! The end of a build: its result becomes an image here, files or an archive at the client's, an image in registries.

use std::collections::BTreeMap;
use std::io::Write;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::announce::Internal;
use super::exchange::{Export, Told, take};
use super::output::Output;
use super::progress::{BuildFailure, BuildMessage};
use super::session::Session;
use super::stage::{StageResult, read_root};
use super::under_way::Build;
use crate::buildkit::session::Ask;
use crate::engine::EngineError;
use crate::engine::image::{
    ArchiveForm, ImageArchive, ImageConfig, ManifestForm, NewImage, PushRequest, Reference, RegistryAuth,
};
use crate::engine::layer::{Durability, WriteOptions, write_tar};

/// The `id` of the record that carries what was made, as buildx's metadata file has it.
pub(super) const RESULT_ID: &str = "boxyard.build.result";
const CONFIG_DIGEST: &str = "containerimage.config.digest";
const DIGEST: &str = "containerimage.digest";
const NAME: &str = "image.name";
const BUILD: &str = "buildx.build.ref";

/// Bytes of an archive gathered before they are sent, and how many such pieces may wait.
const CHUNK: usize = 128 << 10;
const DEPTH: usize = 8;

/// What is to become of the result.
pub(super) struct Wants {
    /// Labels to add.
    pub labels: BTreeMap<String, String>,
    /// Names for images.
    pub tags: Vec<Reference>,
    /// What to make; an image where there is none.
    pub outputs: Vec<Output>,
    /// Annotations of manifests in archives.
    pub annotations: BTreeMap<String, String>,
    /// Who may push where.
    pub auth: std::collections::HashMap<String, bollard_stubs::models::AuthConfig>,
    /// The client, where outputs go to it.
    pub session: Option<Session>,
}

/// What was made.
pub(super) struct Built {
    /// The image's ID, where it is one of this engine's.
    pub id: Option<String>,
    /// Its names.
    pub tags: Vec<String>,
    /// What buildx's metadata file has.
    pub metadata: Map<String, Value>,
}

/// Makes all that is wanted.
pub(super) async fn export(build: &Build, result: &StageResult, wants: Wants) -> Result<Built, BuildFailure> {
    let mut config = result.config.clone();
    if !wants.labels.is_empty() {
        config.config.labels.get_or_insert_default().extend(wants.labels.clone());
    }
    if let Some(epoch) = build.facts.epoch {
        date(&mut config, epoch);
    }
    if config.created.is_none() {
        config.created = Some(Timestamp::now().to_string());
    }
    if build.caches.is_inline {
        let own = Export { cache: build.cache(), images: build.images(), keys: build.keys(), layers: &result.layers };
        config.build_cache = Some(own.inline());
    }
    let outputs = match wants.outputs.as_slice() {
        [] => vec![Output::Image { names: Vec::new(), push: None }],
        outputs => outputs.to_vec(),
    };
    let mut built = Built { id: None, tags: Vec::new(), metadata: Map::new() };
    note(&mut built, BUILD, &format!("boxyard/boxyard/{}", build.id));
    for (index, output) in outputs.iter().enumerate() {
        let exporting = Exporting { build, config: &config, layers: result, wants: &wants, index };
        match output {
            Output::Image { names, push } => exporting.image(names, push.as_ref(), &mut built).await?,
            Output::Files { stream } => exporting.files(stream).await?,
            Output::Archive { stream, names, form } => exporting.archive(stream, names, form, &mut built).await?,
            Output::Nothing => {}
        }
    }
    take(build, &result.layers, &Told { teller: &build.teller, id: &build.id }).await;
    Ok(built)
}

/// Dates the image, and every step of its history that is younger, the base's ones too.
fn date(config: &mut ImageConfig, epoch: Timestamp) {
    for step in &mut config.history {
        let is_older = step.created.as_ref().and_then(|at| at.parse::<Timestamp>().ok()).is_some_and(|at| at <= epoch);
        if !is_older {
            step.created = Some(epoch.to_string());
        }
    }
    config.created = Some(epoch.to_string());
}

/// One output on its way.
struct Exporting<'a> {
    build: &'a Build,
    config: &'a ImageConfig,
    layers: &'a StageResult,
    wants: &'a Wants,
    index: usize,
}

impl Exporting<'_> {
    fn begin(&self, what: &str, name: &str) -> Internal {
        Internal::begin(&self.build.teller, &self.build.id, &format!("{what} {}", self.index), name)
    }

    fn names(&self, own: &[Reference]) -> Vec<Reference> {
        if own.is_empty() { self.wants.tags.clone() } else { own.to_vec() }
    }

    fn image_of(&self, tags: Vec<Reference>) -> NewImage {
        // Without a parent, as BuildKit's: a base is an image of its own, not a half-made one of this.
        NewImage { config: self.config.clone(), layers: self.layers.layers.clone(), tags, parent: None }
    }

    async fn image(
        &self,
        own: &[Reference],
        push: Option<&ManifestForm>,
        built: &mut Built,
    ) -> Result<(), BuildFailure> {
        let tags = self.names(own);
        let exporting = self.begin("export", "exporting to image");
        exporting.part("exporting layers", exporting.started());
        let writing = Some(Timestamp::now());
        let image = self.build.images().create_by(self.image_of(tags.clone()), Durability::Later).await;
        self.build.images().settle_soon();
        let id = match image {
            Ok(image) => image.id.to_string(),
            Err(error) => return exporting.end(Err(error)),
        };
        exporting.part(format!("writing image {id}"), writing);
        for tag in &tags {
            exporting.part(format!("naming to {}", tag.familiar()), None);
        }
        exporting.end(Ok::<_, BuildFailure>(()))?;
        let familiar: Vec<String> = tags.iter().map(Reference::familiar).collect();
        note(built, CONFIG_DIGEST, &id);
        note(built, DIGEST, &id);
        note(built, NAME, &tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        built.id = Some(id);
        built.tags.extend(familiar);
        if let Some(form) = push {
            let form = ManifestForm { annotations: self.annotations(&form.annotations), ..form.clone() };
            for tag in &tags {
                let digest = self.push(tag, form.clone()).await?;
                digest.iter().for_each(|digest| note(built, DIGEST, digest));
            }
        }
        Ok(())
    }

    /// Sends the image `tag` to its registry and gives its manifest's digest.
    async fn push(&self, tag: &Reference, form: ManifestForm) -> Result<Option<String>, BuildFailure> {
        let familiar = tag.familiar();
        let pushing = self.begin(&format!("push {tag}"), &format!("pushing {familiar}"));
        let request = PushRequest { reference: tag.clone(), auth: self.auth_for(tag), form };
        let mut messages = self.build.images().push(request);
        let mut digest = None;
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = self.build.cancel.cancelled() => return pushing.end(Err(BuildFailure::cancelled())),
            };
            let Some(message) = message else { break };
            if let Some(error) = message.error {
                let kind = message.kind.unwrap_or(crate::engine::ErrorKind::System);
                return pushing.end(Err(EngineError::new(kind, format!("push {familiar}: {error}"))));
            }
            if let Some(found) = message.aux.as_ref().and_then(|aux| aux.get("Digest")).and_then(Value::as_str) {
                digest = Some(found.to_owned());
            }
            if let (Some(id), Some(status)) = (&message.id, &message.status)
                && message.progress_detail.as_ref().is_none_or(|detail| detail.current.is_none())
            {
                pushing.part(format!("{id}: {status}"), None);
            }
        }
        pushing.end(Ok::<_, BuildFailure>(digest))
    }

    /// An output's own annotations, and those that all outputs get.
    fn annotations(&self, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        self.wants.annotations.iter().chain(own).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn auth_for(&self, tag: &Reference) -> Option<RegistryAuth> {
        super::base::access(&self.wants.auth, tag)
    }

    async fn files(&self, stream: &str) -> Result<(), BuildFailure> {
        let exporting = self.begin("files", "exporting to client");
        let root = read_root(self.build, &self.layers.layers).await;
        let root = match root {
            Ok(root) => root,
            Err(error) => return exporting.end(Err(error)),
        };
        let (sender, receiver) = mpsc::channel(DEPTH);
        let packing = tokio::task::spawn_blocking(move || {
            let mut out = Pieces { sender: sender.clone(), piece: Vec::with_capacity(CHUNK) };
            let packed = write_tar(root.root(), std::path::Path::new(""), &WriteOptions::default(), &mut out);
            let packed = packed.map_err(|error| std::io::Error::other(error.to_string())).and_then(|()| out.flush());
            if let Err(error) = packed {
                let _ = sender.blocking_send(Err(error));
            }
        });
        let chunks = tokio_stream(receiver);
        let sent = self.send(stream, chunks, &exporting).await;
        drop(packing);
        exporting.end(sent)
    }

    async fn archive(
        &self,
        stream: &str,
        own: &[Reference],
        form: &ArchiveForm,
        built: &mut Built,
    ) -> Result<(), BuildFailure> {
        let name = if form.has_dockers_manifest { "docker" } else { "oci" };
        let exporting = self.begin("archive", &format!("exporting to {name} image format"));
        exporting.part("exporting layers", exporting.started());
        let tags = self.names(own);
        let form = ArchiveForm { annotations: self.annotations(&form.annotations), ..form.clone() };
        let (images, new, cancel) =
            (self.build.images().clone(), self.image_of(tags.clone()), self.build.cancel.clone());
        let archive = tokio::task::spawn_blocking(move || images.archive(new, form, &cancel)).await;
        let archive = archive.unwrap_or_else(|error| Err(EngineError::system(error.to_string())));
        if self.build.cancel.is_cancelled() {
            return exporting.end(Err(BuildFailure::cancelled()));
        }
        let ImageArchive { id, manifest, chunks } = match archive {
            Ok(archive) => archive,
            Err(error) => return exporting.end(Err(error)),
        };
        exporting.part(format!("exporting manifest {manifest}"), None);
        exporting.part(format!("exporting config {id}"), None);
        let sent = self.send(stream, chunks, &exporting).await;
        exporting.end(sent)?;
        note(built, CONFIG_DIGEST, &id.to_string());
        note(built, DIGEST, &manifest.to_string());
        if !tags.is_empty() {
            note(built, NAME, &tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        }
        Ok(())
    }

    /// Sends an archive to the client, and waits until it says that it has it.
    async fn send(
        &self,
        stream: &str,
        mut chunks: impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
        exporting: &Internal,
    ) -> Result<(), BuildFailure> {
        let started = Some(Timestamp::now());
        let Some(session) = &self.wants.session else {
            return Err(EngineError::invalid("an output goes to the client, but the build names no session").into());
        };
        let failed = |error: std::io::Error| EngineError::system(format!("send the output to the client: {error}"));
        let sending = async {
            let mut channel = session.open(&Ask::Output { name: stream.to_owned() }).await?;
            let mut bytes = 0;
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(chunk) => {
                        bytes += chunk.len() as u64;
                        if let Err(error) = channel.write_all(&chunk).await {
                            // What the client says of it tells more than that it listens no more.
                            return Err(refusal(&mut channel).await.unwrap_or_else(|| failed(error)));
                        }
                    }
                    Err(error) => {
                        let words = error.to_string();
                        let _ = channel.fail(&words).await;
                        return Err(EngineError::system(format!("make the output: {words}")));
                    }
                }
            }
            channel.shutdown().await.map_err(failed)?;
            let mut rest = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut channel, &mut rest)
                .await
                .map_err(|error| EngineError::system(format!("the client could not take the output: {error}")))?;
            Ok::<u64, EngineError>(bytes)
        };
        tokio::select! {
            sent = sending => {
                exporting.part(format!("sending tarball {}", super::announce::size(sent?)), started);
                Ok(())
            }
            () = self.build.cancel.cancelled() => Err(BuildFailure::cancelled()),
        }
    }
}

/// What the client said before it stopped listening.
async fn refusal(channel: &mut crate::buildkit::session::Channel) -> Option<EngineError> {
    let mut rest = Vec::new();
    let error = tokio::io::AsyncReadExt::read_to_end(channel, &mut rest).await.err()?;
    Some(EngineError::system(format!("the client could not take the output: {error}")))
}

fn note(built: &mut Built, name: &str, value: &str) {
    if !value.is_empty() {
        built.metadata.insert(name.to_owned(), Value::String(value.to_owned()));
    }
}

/// Tells what was made, in the order clients expect.
pub(super) fn tell(teller: &super::teller::Teller, built: Built, is_quiet: bool) {
    let Built { id, tags, metadata } = built;
    teller.tell(BuildMessage::Aux { id: RESULT_ID, aux: Value::Object(metadata) });
    let Some(id) = id else { return };
    teller.tell(BuildMessage::Image(id.clone()));
    if is_quiet {
        return teller.tell(BuildMessage::Text(format!("{id}\n")));
    }
    let hex = id.trim_start_matches("sha256:");
    teller.tell(BuildMessage::Text(format!("Successfully built {}\n", hex.get(..12).unwrap_or(hex))));
    for tag in tags {
        teller.tell(BuildMessage::Text(format!("Successfully tagged {tag}\n")));
    }
}

fn tokio_stream(
    mut receiver: mpsc::Receiver<std::io::Result<Bytes>>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin {
    futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// Gathers bytes into pieces and sends them from a thread.
struct Pieces {
    sender: mpsc::Sender<std::io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}
