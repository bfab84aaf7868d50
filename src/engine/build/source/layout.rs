//! Images in OCI layouts of the client: one is chosen, and loaded like an archive that holds nothing else.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::Path;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio_util::io::SyncIoBridge;

use crate::engine::EngineError;
use crate::engine::build::kept::Held;
use crate::engine::image::{ImageConfig, Images};
use crate::engine::layer::Digest;

/// What an image index names.
const NAME: &str = "org.opencontainers.image.ref.name";
/// A document of a layout that is longer than this is none.
const MAX_DOCUMENT: u64 = 16 << 20;
/// Lists of lists of images are as deep as this at most.
const MAX_DEPTH: usize = 4;
/// Bytes between the packer and the loader.
const PIPE: usize = 256 << 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
    #[serde(default, skip_serializing)]
    annotations: HashMap<String, String>,
    #[serde(default, skip_serializing)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    #[serde(default)]
    schema_version: u32,
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// One image of a layout.
#[derive(Debug)]
struct Chosen {
    manifest: Descriptor,
    config: Digest,
    blobs: BTreeSet<String>,
}

/// Loads the image `wanted` (a tag or a digest; the only one where `None`) of a layout; answers its ID.
pub(super) async fn load(images: &Images, held: Held, wanted: Option<String>) -> Result<String, EngineError> {
    let choice = tokio::task::spawn_blocking(move || choose(&held.files, wanted.as_deref()).map(|it| (it, held)));
    let (chosen, held) = choice.await.map_err(|error| EngineError::system(error.to_string()))??;
    let id = chosen.config.to_string();
    if images.find(&id).is_ok() {
        return Ok(id);
    }
    let (far, near) = tokio::io::duplex(PIPE);
    let packing = tokio::task::spawn_blocking(move || {
        let mut writer = SyncIoBridge::new(far);
        pack(&held.files, &chosen, &mut writer).and_then(|()| writer.shutdown())
    });
    let mut loading = images.load(near, true);
    let mut failure = None;
    while let Some(progress) = loading.next().await {
        if let Some(message) = progress.error {
            failure = Some(EngineError::invalid(message));
        }
    }
    drop(loading);
    let packed = packing.await.map_err(|error| EngineError::system(error.to_string()))?;
    match (failure, packed) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(EngineError::system(format!("read the OCI layout: {error}"))),
        (None, Ok(())) => Ok(id),
    }
}

fn choose(folder: &Path, wanted: Option<&str>) -> Result<Chosen, EngineError> {
    let index: Index = document(&folder.join("index.json"))?
        .ok_or_else(|| EngineError::invalid("no OCI layout: index.json is missing"))?;
    let known = || {
        let names = index.manifests.iter().map(|it| it.annotations.get(NAME).map_or("untagged", String::as_str));
        names.collect::<Vec<_>>().join(", ")
    };
    let is_wanted = |it: &&Descriptor| match wanted {
        None => true,
        Some(wanted) if wanted.contains(':') => it.digest.to_string() == wanted,
        Some(tag) => it.annotations.get(NAME).is_some_and(|name| name == tag || name.ends_with(&format!(":{tag}"))),
    };
    let found: Vec<&Descriptor> = index.manifests.iter().filter(is_wanted).collect();
    let mut manifest = match (found.as_slice(), wanted) {
        ([], Some(wanted)) if wanted.contains(':') && !has_blob(folder, wanted) => {
            return Err(EngineError::not_found(format!("the OCI layout has no {wanted}; it has {}", known())));
        }
        // A digest may be of an image that a list in the layout names.
        ([], Some(wanted)) if wanted.contains(':') => Descriptor {
            media_type: String::new(),
            digest: wanted.parse::<Digest>().map_err(|error| EngineError::invalid(format!("{error}")))?,
            size: 0,
            annotations: HashMap::new(),
            platform: None,
        },
        ([], wanted) => {
            let wanted = wanted.unwrap_or("image");
            return Err(EngineError::not_found(format!("the OCI layout has no {wanted}; it has {}", known())));
        }
        ([first, ..], Some(_)) | ([first], None) => (*first).clone(),
        (_, None) => {
            // Several images that one list would hold are one image of several platforms; else a tag has to say which.
            let latest = found.iter().find(|it| it.annotations.get(NAME).is_some_and(|name| name == "latest"));
            let latest = latest.ok_or_else(|| {
                EngineError::invalid(format!("the OCI layout has several images: name one of {}", known()))
            })?;
            (*latest).clone()
        }
    };
    for _ in 0..MAX_DEPTH {
        let blob = blob_path(folder, &manifest.digest);
        let missing = || EngineError::invalid(format!("the OCI layout misses the blob {}", manifest.digest));
        let text = std::fs::read(&blob).map_err(|_| missing())?;
        manifest.size = text.len() as u64;
        if let Ok(Manifest { config, layers }) = serde_json::from_slice::<Manifest>(&text) {
            if manifest.media_type.is_empty() {
                manifest.media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
            }
            let blobs = [manifest.digest, config.digest].into_iter().chain(layers.iter().map(|layer| layer.digest));
            return Ok(Chosen { blobs: blobs.map(|digest| digest.hex()).collect(), config: config.digest, manifest });
        }
        let list: Index = serde_json::from_slice(&text)
            .map_err(|error| EngineError::invalid(format!("{} of the OCI layout: {error}", manifest.digest)))?;
        let host = ImageConfig::for_host(jiff::Timestamp::UNIX_EPOCH);
        let fits = |it: &&Descriptor| {
            it.platform.as_ref().is_none_or(|it| it.os == host.os && it.architecture == host.architecture)
        };
        manifest = list.manifests.iter().find(fits).cloned().ok_or_else(|| {
            EngineError::not_found(format!("the OCI layout has no image for {}/{}", host.os, host.architecture))
        })?;
    }
    Err(EngineError::invalid("the OCI layout's lists are too deep"))
}

fn has_blob(folder: &Path, digest: &str) -> bool {
    digest.parse::<Digest>().is_ok_and(|digest| blob_path(folder, &digest).is_file())
}

fn blob_path(folder: &Path, digest: &Digest) -> std::path::PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

fn document<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, EngineError> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| EngineError::system(format!("read the OCI layout: {error}")))?,
    };
    let mut text = Vec::new();
    file.take(MAX_DOCUMENT)
        .read_to_end(&mut text)
        .map_err(|error| EngineError::system(format!("read the OCI layout: {error}")))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| EngineError::invalid(format!("{name} of the OCI layout: {error}")))
}

/// Packs the layout with the chosen image alone, and without its names: it gets none here.
fn pack(folder: &Path, chosen: &Chosen, writer: &mut impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(io::BufWriter::with_capacity(PIPE, writer));
    let index = serde_json::to_vec(&Index { schema_version: 2, manifests: vec![chosen.manifest.clone()] })?;
    for (name, content) in
        [("oci-layout", &b"{\"imageLayoutVersion\":\"1.0.0\"}"[..]), ("index.json", index.as_slice())]
    {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content)?;
    }
    for blob in &chosen.blobs {
        let name = format!("blobs/sha256/{blob}");
        let mut file = std::fs::File::open(folder.join(&name))?;
        tar.append_file(name, &mut file)?;
    }
    tar.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(folder: &Path, text: &str) -> Digest {
        let digest = Digest::of(text.as_bytes());
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        std::fs::write(blob_path(folder, &digest), text).unwrap();
        digest
    }

    #[test]
    fn images_are_chosen_by_tag_digest_and_platform() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let host = ImageConfig::for_host(jiff::Timestamp::UNIX_EPOCH);
        let image = |config: &str| {
            let config = blob(at, config);
            let descriptor = format!("{{\"mediaType\":\"c\",\"digest\":\"{config}\",\"size\":1}}");
            (blob(at, &format!("{{\"schemaVersion\":2,\"config\":{descriptor},\"layers\":[]}}")), config)
        };
        let ((one, one_config), (two, two_config)) = (image("one"), image("two"));
        let of =
            |digest: &Digest, more: &str| format!("{{\"mediaType\":\"m\",\"digest\":\"{digest}\",\"size\":1{more}}}");
        let platform =
            |os: &str| format!(",\"platform\":{{\"os\":\"{os}\",\"architecture\":\"{}\"}}", host.architecture);
        let list = format!(
            "{{\"schemaVersion\":2,\"manifests\":[{},{}]}}",
            of(&one, &platform("plan9")),
            of(&two, &platform(&host.os))
        );
        let list = blob(at, &list);
        let tag = |tag: &str| format!(",\"annotations\":{{\"{NAME}\":\"{tag}\"}}");
        let index =
            format!("{{\"schemaVersion\":2,\"manifests\":[{},{}]}}", of(&one, &tag("v1")), of(&list, &tag("multi")));
        std::fs::write(at.join("index.json"), index).unwrap();

        let chosen =
            |wanted: Option<&str>| choose(at, wanted).map(|it| it.config).map_err(|it| it.message().to_owned());
        assert_eq!(chosen(Some("v1")), Ok(one_config));
        assert_eq!(chosen(Some("multi")), Ok(two_config));
        assert_eq!(chosen(Some(&one.to_string())), Ok(one_config));
        assert_eq!(chosen(Some(&two.to_string())), Ok(two_config), "one that only a list names");
        assert_eq!(chosen(Some("v2")).unwrap_err(), "the OCI layout has no v2; it has v1, multi");
        assert_eq!(chosen(None).unwrap_err(), "the OCI layout has several images: name one of v1, multi");
        std::fs::remove_file(at.join("index.json")).unwrap();
        assert_eq!(chosen(None).unwrap_err(), "no OCI layout: index.json is missing");
    }
}
