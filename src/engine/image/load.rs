//! Loading saved images: Docker's archive (`manifest.json`) and the OCI layout (`index.json`), plain or compressed.
//!
//! The archive's table of contents stands at its end, so it is first unpacked into a temp folder, by the same careful
//! code as any layer; then each layer goes from there to its place.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::AsFd;
use std::sync::Arc;

use futures_util::Stream;
use serde::Deserialize;
use tokio::io::AsyncRead;

use crate::engine::error::EngineError;
use crate::engine::layer::{
    ApplyOptions, ChainId, ChunkReader, Digest, LayerError, Limits, apply_tar, inflater, open_in_root,
};

use super::record::chain_of;
use super::store::{Shared, blocking};
use super::stream::{Operation, Teller, readable};
use super::{ImageConfig, ImageId, Images, Progress, Reference};

/// The most bytes of a JSON document in an archive.
const DOCUMENT_MAX: u64 = 16 << 20;

/// One image in `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct OciIndex {
    #[serde(default)]
    manifests: Vec<OciDescriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciDescriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    annotations: HashMap<String, String>,
    #[serde(default)]
    platform: Option<OciPlatform>,
}

#[derive(Debug, Deserialize)]
struct OciPlatform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
struct OciManifest {
    config: OciDescriptor,
    #[serde(default)]
    layers: Vec<OciDescriptor>,
}

impl Images {
    /// Loads images from an archive made by `save` (Docker's or OCI's form, plain or compressed); a failure is the last
    /// message.
    pub fn load<R: AsyncRead + Send + Unpin + 'static>(
        &self,
        archive: R,
        quiet: bool,
    ) -> impl Stream<Item = Progress> + Send + Unpin + 'static + use<R> {
        let shared = Arc::clone(&self.shared);
        let archive = readable(archive);
        Operation::start(move |teller| blocking(move || shared.load(archive, quiet, &teller)))
    }
}

impl Shared {
    fn load(&self, archive: ChunkReader, quiet: bool, teller: &Teller) -> Result<(), EngineError> {
        let temp = self.root.temp_dir("load").map_err(|source| LayerError::io("create", "tmp", source))?;
        let folder = File::open(temp.path()).map_err(|source| LayerError::io("open", temp.path(), source))?;
        let inflated = inflater(archive).map_err(|source| LayerError::Source { source })?;
        apply_tar(folder.as_fd(), inflated, &ApplyOptions::default())?;
        let listed = match document(&folder, "manifest.json")? {
            Some(text) => read_json(&text, "manifest.json")?,
            None => match document(&folder, "index.json")? {
                Some(text) => oci_images(&folder, &read_json(&text, "index.json")?)?,
                None => {
                    return Err(EngineError::invalid(
                        "invalid archive: it has neither manifest.json nor index.json; was it made by `docker save`?",
                    ));
                }
            },
        };
        for image in listed {
            self.load_one(&folder, &image, quiet, teller)?;
        }
        Ok(())
    }

    fn load_one(&self, folder: &File, listed: &Listed, quiet: bool, teller: &Teller) -> Result<(), EngineError> {
        let raw = document(folder, &listed.config)?
            .ok_or_else(|| EngineError::invalid(format!("invalid archive: {} is missing", listed.config)))?;
        let config: ImageConfig = read_json(&raw, &listed.config)?;
        let layers = listed.layers.as_deref().unwrap_or_default();
        if layers.len() != config.rootfs.diff_ids.len() {
            return Err(EngineError::invalid(format!(
                "invalid manifest, layers length mismatch: expected {}, got {}",
                config.rootfs.diff_ids.len(),
                layers.len()
            )));
        }
        let tags: Vec<Reference> =
            listed.repo_tags.iter().flatten().map(|tag| Reference::parse(tag)).collect::<Result<_, _>>()?;

        let chains = chain_of(&config);
        let mut holds = Vec::new();
        let mut parent: Option<ChainId> = None;
        for ((path, diff_id), chain) in layers.iter().zip(&config.rootfs.diff_ids).zip(&chains) {
            holds.push(self.layers.hold(chain));
            if self.layers.get(chain).is_none() {
                let file = open_file(folder, path)?
                    .ok_or_else(|| EngineError::invalid(format!("invalid archive: {path} is missing")))?;
                let total = file.metadata().map_or(0, |facts| facts.len());
                let told = Told {
                    inner: file,
                    teller,
                    id: diff_id.hex().chars().take(12).collect(),
                    total,
                    done: 0,
                    quiet,
                    last: 0,
                };
                let inflated = inflater(BufReader::with_capacity(256 << 10, told))
                    .map_err(|source| LayerError::Source { source })?;
                let unpacked = self.layers.unpack(BufReader::with_capacity(256 << 10, inflated), Limits::default())?;
                if unpacked.diff_id != *diff_id {
                    return Err(EngineError::invalid(format!(
                        "wrong diff id calculated on extraction \"{}\", expected \"{diff_id}\"",
                        unpacked.diff_id
                    )));
                }
                self.layers.commit(parent.as_ref(), vec![unpacked])?;
            }
            parent = Some(*chain);
        }
        let image = self.keep(raw, None, &tags)?;
        for tag in &tags {
            self.tell_of_move(tag, &image.id, teller);
        }
        self.add_names(&tags, &image.id)?;
        for tag in &tags {
            teller.tell(Progress::stream(format!("Loaded image: {}\n", tag.familiar())));
        }
        if tags.is_empty() {
            teller.tell(Progress::stream(format!("Loaded image ID: {}\n", image.id)));
        }
        self.publish("load", &image.id.to_string(), &image.id.to_string(), Some(&image.id));
        Ok(())
    }

    /// Says which image is about to lose the name.
    fn tell_of_move(&self, tag: &Reference, id: &ImageId, teller: &Teller) {
        let before = self.index().names.get(tag).copied();
        if let Some(before) = before.filter(|before| before != id) {
            teller.tell(Progress::stream(format!(
                "The image {} already exists, renaming the old one with ID {before} to empty string\n",
                tag.familiar()
            )));
        }
    }
}

/// Finds the images of an OCI layout: those for this host, or all if it does not say for what they are.
fn oci_images(folder: &File, index: &OciIndex) -> Result<Vec<Listed>, EngineError> {
    let mut images = Vec::new();
    for descriptor in &index.manifests {
        let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
            .iter()
            .find_map(|key| descriptor.annotations.get(*key))
            .filter(|name| Reference::parse(name).is_ok());
        if let Some(manifest) = oci_manifest(folder, descriptor, 0)? {
            images.push(Listed {
                config: blob_path(&manifest.config.digest),
                repo_tags: name.map(|name| vec![name.clone()]),
                layers: Some(manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect()),
            });
        }
    }
    Ok(images)
}

fn oci_manifest(folder: &File, descriptor: &OciDescriptor, depth: u32) -> Result<Option<OciManifest>, EngineError> {
    let path = blob_path(&descriptor.digest);
    // An archive for one platform lists the others without having them.
    let Some(text) = document(folder, &path)? else { return Ok(None) };
    let is_index = descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list");
    if !is_index {
        return read_json(&text, &path).map(Some);
    }
    if depth > 4 {
        return Err(EngineError::invalid(format!("invalid archive: {path}: indexes within indexes")));
    }
    let index: OciIndex = read_json(&text, &path)?;
    let fits = |child: &&OciDescriptor| {
        child.platform.as_ref().is_none_or(|platform| {
            platform.os == "linux" && platform.architecture == super::config::host_architecture()
        })
    };
    for child in index.manifests.iter().filter(fits) {
        if let Some(manifest) = oci_manifest(folder, child, depth + 1)? {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn read_json<V: serde::de::DeserializeOwned>(text: &[u8], path: &str) -> Result<V, EngineError> {
    serde_json::from_slice(text)
        .map_err(|error| EngineError::invalid(format!("invalid archive: {path}: {error}")).because(error))
}

fn document(folder: &File, path: &str) -> Result<Option<Vec<u8>>, EngineError> {
    let Some(file) = open_file(folder, path)? else { return Ok(None) };
    let mut text = Vec::new();
    file.take(DOCUMENT_MAX + 1).read_to_end(&mut text).map_err(|source| LayerError::io("read", path, source))?;
    if text.len() as u64 > DOCUMENT_MAX {
        return Err(EngineError::invalid(format!("invalid archive: {path} is larger than {DOCUMENT_MAX} bytes")));
    }
    Ok(Some(text))
}

/// Opens a regular file of the unpacked archive; links in it stay inside.
fn open_file(folder: &File, path: &str) -> Result<Option<File>, EngineError> {
    match open_in_root(folder.as_fd(), path.as_ref()) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LayerError::io("open", path, source).into()),
    }
}

/// Tells how much of a layer has been read.
struct Told<'a> {
    inner: File,
    teller: &'a Teller,
    id: String,
    total: u64,
    done: u64,
    last: u64,
    quiet: bool,
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        // Every half megabyte, as Docker does, and the end.
        let is_due = self.done - self.last >= 512 << 10 || (count == 0 && self.last != self.done);
        if is_due && !self.quiet {
            self.last = self.done;
            self.teller.tell(Progress::bytes(self.id.clone(), "Loading layer", self.done, self.total));
        }
        Ok(count)
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
