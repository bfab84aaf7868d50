//! Saving images: one archive that is Docker's form (`manifest.json`) and an OCI layout (`index.json`) at once.
//!
//! Layers are written as the very tars their diff IDs name, so loading the archive anywhere gives the same image IDs.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use serde_json::json;
use tokio::sync::mpsc;

use crate::engine::error::EngineError;
use crate::engine::layer::{Digest, Layer, LayerError, file_header, padding};

use super::packing::Packed;
use super::store::{Shared, no_such_image};
use super::{Image, ImageId, Images, Reference};

/// Bytes gathered before they are sent on.
const CHUNK: usize = 128 << 10;
/// Chunks under way at most.
const DEPTH: usize = 16;

/// An image to be saved, and the names it is saved under.
pub(super) struct Chosen {
    pub image: Arc<Image>,
    pub tags: Vec<Reference>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Its layers, lowest first, where they are packed already.
    pub packed: Option<Vec<Packed>>,
}

impl Chosen {
    /// Its manifest, as it is written.
    pub(super) fn manifest(&self, layers: &[Packed]) -> String {
        let mut manifest = manifest_of(&self.image, layers.iter().map(Packed::descriptor));
        if let (Some(fields), false) = (manifest.as_object_mut(), self.annotations.is_empty()) {
            fields.insert("annotations".to_owned(), json!(self.annotations));
        }
        manifest.to_string()
    }
}

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Docker's form and an OCI layout at once.
    Both,
    /// An OCI layout alone.
    Oci,
}

impl Images {
    /// Saves images into one archive that is Docker's and OCI's form at once. A repository without a tag means all its
    /// tags.
    ///
    /// # Errors
    /// `NotFound`; what goes wrong later ends the stream with an error.
    pub fn save(
        &self,
        names: &[String],
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static + use<>, EngineError> {
        if names.is_empty() {
            return Err(EngineError::invalid("no image to save was named"));
        }
        let chosen = self.shared.choose(names)?;
        let saved: Vec<ImageId> = chosen.iter().map(|one| one.image.id).collect();
        let holds: Vec<_> =
            chosen.iter().filter_map(|one| one.image.top.map(|top| self.shared.layers.hold(&top))).collect();
        Ok(self.write(chosen, Form::Both, move |shared| {
            for id in &saved {
                shared.publish("save", &id.to_string(), &id.to_string(), Some(id));
            }
            drop(holds);
        }))
    }

    /// Writes an archive from a thread; `end` is called where it came to its end.
    pub(super) fn write<F: FnOnce(&Shared) + Send + 'static>(
        &self,
        chosen: Vec<Chosen>,
        form: Form,
        end: F,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static + use<F> {
        let shared = Arc::clone(&self.shared);
        let (sender, mut receiver) = mpsc::channel(DEPTH);
        tokio::task::spawn_blocking(move || {
            let mut out = Sending { sender, pending: Vec::with_capacity(CHUNK) };
            match shared.write_archive(&chosen, form, &mut out).and_then(|()| out.flush().map_err(gone)) {
                Ok(()) => end(&shared),
                Err(error) => {
                    let _ = out.sender.blocking_send(Err(io::Error::other(error.to_string())));
                }
            }
        });
        futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
    }
}

impl Shared {
    fn choose(&self, names: &[String]) -> Result<Vec<Chosen>, EngineError> {
        let mut chosen: Vec<Chosen> = Vec::new();
        let mut add =
            |image: Arc<Image>, tag: Option<Reference>| match chosen.iter_mut().find(|one| one.image.id == image.id) {
                Some(known) => {
                    known.tags.extend(tag.filter(|tag| !known.tags.contains(tag)).into_iter().collect::<Vec<_>>())
                }
                None => chosen.push(Chosen {
                    image,
                    tags: tag.into_iter().collect(),
                    annotations: BTreeMap::new(),
                    packed: None,
                }),
            };
        for name in names {
            let reference = Reference::parse(name).ok().filter(|reference| reference.digest().is_none());
            let tags: Vec<(Reference, ImageId)> = match &reference {
                Some(reference) => {
                    let fits = |known: &Reference| {
                        known.digest().is_none()
                            && known.name() == reference.name()
                            && reference.tag().is_none_or(|tag| known.tag() == Some(tag))
                    };
                    self.index()
                        .names
                        .iter()
                        .filter(|(known, _)| fits(known))
                        .map(|(known, id)| (known.clone(), *id))
                        .collect()
                }
                None => Vec::new(),
            };
            if tags.is_empty() {
                add(self.find(name)?, None);
            }
            for (tag, id) in tags {
                let image = self.index().images.get(&id).cloned().ok_or_else(|| no_such_image(name))?;
                add(image, Some(tag));
            }
        }
        Ok(chosen)
    }

    fn write_archive(&self, chosen: &[Chosen], form: Form, out: &mut Sending) -> Result<(), EngineError> {
        let mut written: HashSet<Digest> = HashSet::new();
        let (mut listed, mut indexed) = (Vec::new(), Vec::new());
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for one @ Chosen { image, tags, .. } in chosen {
            let layers: Vec<Layer> = image
                .layers
                .iter()
                .map(|chain| self.layers.get(chain).ok_or(LayerError::Missing { chain: *chain }))
                .collect::<Result<_, _>>()?;
            let plain: Vec<Packed>;
            let packed = match &one.packed {
                Some(packed) => packed,
                None => {
                    plain = layers.iter().map(Packed::plain).collect();
                    &plain
                }
            };
            for (layer, packed) in layers.iter().zip(packed).filter(|(_, packed)| written.insert(packed.digest)) {
                out.put(&file_header(&blob_path(&packed.digest), packed.size))?;
                match &packed.file {
                    Some(file) => drop(io::copy(&mut &*file, &mut *out).map_err(gone)?),
                    None => self.layers.write_layer(&layer.chain_id, &mut *out)?,
                }
                out.pad(packed.size)?;
            }
            let manifest = one.manifest(packed).into_bytes();
            for blob in [&image.raw_config, &manifest] {
                let digest = Digest::of(blob);
                if written.insert(digest) {
                    out.file(&blob_path(&digest), blob)?;
                }
            }
            let descriptor = |annotations: Option<serde_json::Value>| {
                let mut descriptor = json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": Digest::of(&manifest).to_string(),
                    "size": manifest.len(),
                    "platform": { "architecture": image.config.architecture, "os": image.config.os },
                });
                if let (Some(object), Some(annotations)) = (descriptor.as_object_mut(), annotations) {
                    object.insert("annotations".to_owned(), annotations);
                }
                descriptor
            };
            for tag in tags {
                let short = tag.tag().unwrap_or_default();
                indexed.push(descriptor(Some(json!({
                    "io.containerd.image.name": tag.to_string(),
                    "org.opencontainers.image.ref.name": short,
                }))));
                let top = image.top.map(|top| top.hex()).unwrap_or_default();
                repositories.entry(tag.familiar_name()).or_default().insert(short.to_owned(), top);
            }
            if tags.is_empty() {
                indexed.push(descriptor(None));
            }
            listed.push(json!({
                "Config": blob_path(&image.id.0),
                "RepoTags": if tags.is_empty() { json!(null) } else { json!(tags.iter().map(Reference::familiar).collect::<Vec<_>>()) },
                "Layers": packed.iter().map(|layer| blob_path(&layer.digest)).collect::<Vec<_>>(),
            }));
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": indexed,
        });
        out.file("index.json", index.to_string().as_bytes())?;
        out.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if form == Form::Both {
            out.file("manifest.json", json!(listed).to_string().as_bytes())?;
        }
        if form == Form::Both && !repositories.is_empty() {
            out.file("repositories", json!(repositories).to_string().as_bytes())?;
        }
        out.put(&[0; 1024])
    }
}

/// The OCI manifest of an image with layers of these descriptors.
fn manifest_of(image: &Image, layers: impl Iterator<Item = serde_json::Value>) -> serde_json::Value {
    let layers: Vec<serde_json::Value> = layers.collect();
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": image.id.to_string(),
            "size": image.raw_config.len(),
        },
        "layers": layers,
    })
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Gathers bytes into chunks and sends them from a thread.
struct Sending {
    sender: mpsc::Sender<io::Result<Bytes>>,
    pending: Vec<u8>,
}

impl Sending {
    fn put(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.write_all(bytes).map_err(gone)
    }

    fn pad(&mut self, size: u64) -> Result<(), EngineError> {
        self.put([0; 512].get(..padding(size)).unwrap_or_default())
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), EngineError> {
        let size = bytes.len() as u64;
        self.put(&file_header(name, size))?;
        self.put(bytes)?;
        self.pad(size)
    }
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn gone(error: io::Error) -> EngineError {
    EngineError::system("nobody reads the archive any more").because(error)
}
