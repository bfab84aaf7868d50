//! A cache in a folder of the client's: an OCI layout, which comes and goes as a tar.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Document, LayerPlace, MEDIA_TYPE};
use crate::engine::EngineError;
use crate::engine::image::Images;
use crate::engine::layer::{ChainId, DiffId, Digest, Hashing, Layer, Watched, inflater};
use crate::engine::registry::{Descriptor, Manifest, media};

const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The annotation that names a manifest in `index.json`.
const NAME: &str = "org.opencontainers.image.ref.name";

fn refused(action: &str, error: impl std::fmt::Display) -> EngineError {
    EngineError::system(format!("{action}: {error}"))
}

fn blob_path(folder: &Path, digest: &Digest) -> std::path::PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

/// Reads the cache called `tag` of a layout. Blocking.
pub(super) fn read(folder: &Path, tag: &str) -> Result<Document, EngineError> {
    let index = std::fs::read(folder.join("index.json")).map_err(|error| refused("read its index.json", error))?;
    let index: serde_json::Value =
        serde_json::from_slice(&index).map_err(|error| refused("read its index.json", error))?;
    let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
    let named = manifests.iter().find(|manifest| manifest["annotations"][NAME] == tag).or(match manifests.as_slice() {
        [only] if tag == "latest" => Some(only),
        _ => None,
    });
    let Some(found) = named else { return Err(EngineError::not_found(format!("it holds no cache called {tag}"))) };
    let descriptor: Descriptor =
        serde_json::from_value(found.clone()).map_err(|error| refused("read its index.json", error))?;
    let manifest = document(folder, &descriptor.digest)?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|error| refused("read its manifest", error))?;
    if manifest.config.media_type != MEDIA_TYPE {
        let kind = &manifest.config.media_type;
        return Err(EngineError::invalid(format!("it is a {kind}, and {MEDIA_TYPE} is wanted")));
    }
    Document::parse(&document(folder, &manifest.config.digest)?).map_err(EngineError::invalid)
}

fn document(folder: &Path, digest: &Digest) -> Result<Vec<u8>, EngineError> {
    let bytes = std::fs::read(blob_path(folder, digest)).map_err(|error| refused("read its blobs", error))?;
    match Digest::of(&bytes) == *digest {
        true => Ok(bytes),
        false => Err(EngineError::invalid(format!("its blob {digest} is damaged"))),
    }
}

/// Takes a layer out of a layout. Blocking.
pub(super) fn take_layer(
    images: &Images,
    folder: &Path,
    blob: &Descriptor,
    diff: DiffId,
    parent: Option<ChainId>,
    cancel: &CancellationToken,
) -> Result<Layer, EngineError> {
    let file = File::open(blob_path(folder, &blob.digest)).map_err(|error| refused("read a cached layer", error))?;
    let inflated = inflater(BufReader::new(file)).map_err(|error| refused("read a cached layer", error))?;
    images.take_layer(BufReader::new(Watched::new(inflated, cancel)), diff, parent)
}

/// Makes a layout of layers and the document that names them. Blocking.
pub(super) fn write(
    images: &Images,
    folder: &Path,
    layers: Vec<LayerPlace>,
    tag: &str,
    cancel: &CancellationToken,
    make: impl FnOnce(Vec<LayerPlace>) -> Document,
) -> Result<(), EngineError> {
    let told = |error: io::Error| refused("write the cache", error);
    std::fs::create_dir_all(folder.join("blobs/sha256")).map_err(told)?;
    let mut placed = Vec::new();
    for layer in layers {
        let blob = pack(images, folder, &layer.chain, cancel)?;
        placed.push(LayerPlace { blob: Some(blob), ..layer });
    }
    let blobs: Vec<Descriptor> = placed.iter().filter_map(|layer| layer.blob.clone()).collect();
    let config = put(folder, MEDIA_TYPE, &make(placed).to_bytes()).map_err(told)?;
    let manifest = json!({ "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": blobs });
    let manifest = put(folder, media::OCI_MANIFEST, manifest.to_string().as_bytes()).map_err(told)?;
    let mut entry = serde_json::to_value(manifest).unwrap_or_default();
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("annotations".to_owned(), json!({ NAME: tag }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [entry] });
    std::fs::write(folder.join("index.json"), index.to_string()).map_err(told)?;
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).map_err(told)
}

fn put(folder: &Path, media_type: &str, bytes: &[u8]) -> io::Result<Descriptor> {
    let digest = Digest::of(bytes);
    std::fs::write(blob_path(folder, &digest), bytes)?;
    Ok(Descriptor { media_type: media_type.to_owned(), digest, size: bytes.len() as u64, platform: None })
}

/// Compresses a layer into the layout.
fn pack(
    images: &Images,
    folder: &Path,
    chain: &ChainId,
    cancel: &CancellationToken,
) -> Result<Descriptor, EngineError> {
    let told = |error: io::Error| refused("write the cache", error);
    let file = tempfile::NamedTempFile::new_in(folder.join("blobs")).map_err(told)?;
    let mut gzip = flate2::write::GzEncoder::new(Hashing::new(file), flate2::Compression::new(4));
    images.layers().write_layer(chain, Watched::new(&mut gzip, cancel))?;
    let mut hashing = gzip.finish().map_err(told)?;
    hashing.flush().map_err(told)?;
    let (digest, size, file) = hashing.finish();
    file.persist(blob_path(folder, &digest)).map_err(|error| told(error.error))?;
    Ok(Descriptor { media_type: OCI_LAYER.to_owned(), digest, size, platform: None })
}
