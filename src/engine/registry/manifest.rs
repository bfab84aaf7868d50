//! Manifests and indexes, Docker's and OCI's forms alike, and the choice of a platform. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::layer::Digest;

use super::RegistryError;

/// Media types (image-spec `media-types.md`, distribution's `manifest-v2-2.md`).
pub mod media {
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// OCI's manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI's index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// OCI's image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI's layer, compressed by gzip.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// Docker's layer.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// All kinds of manifest this engine reads.
    pub const MANIFESTS: [&str; 4] = [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX];
}

/// Names a blob or manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// For which platform it is, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// An operating system and processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the processor.
    pub architecture: String,
    /// Go's name of the system.
    pub os: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl Platform {
    /// Reads `os[/arch[/variant]]`; `None` if it is none. Missing parts are `host`'s.
    pub fn parse(text: &str, host: &Platform) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let name = |architecture: &str| match architecture {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        match parts.as_slice() {
            ["linux"] => Some(host.clone()),
            [os, architecture] => Some(Self { os: (*os).to_owned(), architecture: name(architecture), variant: None }),
            [os, architecture, variant] => Some(Self {
                os: (*os).to_owned(),
                architecture: name(architecture),
                variant: Some((*variant).to_owned()),
            }),
            [architecture] => Some(Self { os: "linux".to_owned(), architecture: name(architecture), variant: None }),
            _ => None,
        }
    }

    /// How well `offered` serves: the higher the better, `None` not at all. An older variant serves a newer processor.
    fn rank(&self, offered: &Platform) -> Option<u32> {
        if offered.os != self.os || offered.architecture != self.architecture {
            return None;
        }
        let version = |platform: &Platform| -> Option<u32> {
            match (&platform.variant, platform.architecture.as_str()) {
                (Some(variant), _) => variant.strip_prefix('v')?.parse().ok(),
                (None, "arm64") => Some(8),
                (None, "arm") => Some(7),
                (None, _) => Some(1),
            }
        };
        match (version(self), version(offered)) {
            (Some(wanted), Some(found)) if self.variant.is_none() || found <= wanted => Some(found.min(wanted) + 1),
            (None, _) | (_, None) if offered.variant == self.variant => Some(1),
            _ => None,
        }
    }
}

/// An image's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// The image's configuration.
    pub config: Descriptor,
    /// Its layers, lowest first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

/// What a reference leads to.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The digest of what the reference names: an index, or the manifest itself.
    pub digest: Digest,
    /// The manifest for the platform.
    pub manifest: Manifest,
}

/// A document at a manifest's place.
#[derive(Debug)]
pub(super) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    manifests: Vec<Descriptor>,
}

impl Document {
    /// Reads a manifest or an index; `media_type` is what the registry calls it.
    pub fn parse(media_type: &str, text: &[u8]) -> Result<Self, RegistryError> {
        let refusal = |reason: String| RegistryError::Answer { what: "manifest".to_owned(), reason };
        let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| refusal(error.to_string()))?;
        if value.get("schemaVersion").and_then(serde_json::Value::as_u64) == Some(1) {
            return Err(refusal(
                "schema version 1 is no longer supported; the image must be pushed again with a current tool"
                    .to_owned(),
            ));
        }
        let is_index = [media::DOCKER_LIST, media::OCI_INDEX].contains(&media_type) || value.get("manifests").is_some();
        let read = if is_index {
            serde_json::from_value(value).map(|index: Index| Self::Index(index.manifests))
        } else {
            serde_json::from_value(value).map(Self::Manifest)
        };
        read.map_err(|error| refusal(error.to_string()))
    }
}

/// The manifest in an index that serves `wanted` best.
pub(super) fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor, RegistryError> {
    let ranked = manifests.iter().filter_map(|manifest| match &manifest.platform {
        Some(platform) => wanted.rank(platform).map(|rank| (rank, manifest)),
        None => Some((0, manifest)),
    });
    // Of equals the first, as in Docker.
    let best = ranked.fold(None, |best: Option<(u32, &Descriptor)>, next| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    });
    best.map(|(_, manifest)| manifest).ok_or_else(|| {
        let platforms = manifests.iter().filter_map(|manifest| manifest.platform.as_ref());
        let offered = platforms.filter(|platform| platform.os != "unknown").map(ToString::to_string).collect();
        RegistryError::Platform { wanted: wanted.to_string(), offered }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let parts: Vec<&str> = text.split('/').collect();
        Platform {
            os: parts[0].to_owned(),
            architecture: parts[1].to_owned(),
            variant: parts.get(2).map(|variant| (*variant).to_owned()),
        }
    }

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let descriptor = |(at, text): (usize, &&str)| Descriptor {
            media_type: media::OCI_MANIFEST.to_owned(),
            digest: Digest::of(&[at as u8]),
            size: at as u64,
            platform: Some(platform(text)),
        };
        platforms.iter().enumerate().map(descriptor).collect()
    }

    #[test]
    fn the_best_platform_is_chosen() {
        let table: [(&str, &[&str], Option<u64>); 7] = [
            ("linux/amd64", &["linux/arm64", "linux/amd64", "unknown/unknown"], Some(1)),
            ("linux/amd64", &["windows/amd64", "linux/arm64"], None),
            ("linux/arm64", &["linux/amd64", "linux/arm64/v8"], Some(1)),
            ("linux/arm64/v8", &["linux/amd64", "linux/arm64"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8"], Some(2)),
            ("linux/arm/v6", &["linux/arm/v5", "linux/arm/v7"], Some(0)),
            ("linux/amd64", &["linux/amd64", "linux/amd64"], Some(0)),
        ];
        for (wanted, offered, chosen) in table {
            let manifests = index(offered);
            let found = choose(&manifests, &platform(wanted)).ok().map(|manifest| manifest.size);
            assert_eq!(found, chosen, "{wanted} of {offered:?}");
        }
        let words =
            choose(&index(&["linux/arm64", "unknown/unknown"]), &platform("linux/amd64")).unwrap_err().to_string();
        assert_eq!(words, "no matching manifest for linux/amd64 in the manifest list entries; there are linux/arm64");
    }

    #[test]
    fn platforms_read_as_docker_reads_them() {
        let host = platform("linux/amd64");
        for (text, read) in [
            ("linux", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("arm64", "linux/arm64"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            assert_eq!(Platform::parse(text, &host).unwrap().to_string(), read);
        }
        assert_eq!(Platform::parse("linux//", &host), None);
    }
}
