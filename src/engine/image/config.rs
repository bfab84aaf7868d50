//! An image's configuration: what the digest of is the image's ID.
//!
//! The raw bytes are always kept beside it, because re-serialising would change the digest. Docker's fields that the
//! OCI specification lacks (`Healthcheck`, `OnBuild`, `Shell`) are read and written here too.

use std::collections::BTreeMap;

use bollard_stubs::models as docker;
use serde::{Deserialize, Serialize};

use crate::engine::error::EngineError;
use crate::engine::layer::DiffId;

/// The configuration of an image, Docker's and OCI's fields alike.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Go's name of the processor (`amd64`).
    #[serde(default)]
    pub architecture: String,
    /// The processor's variant (`v8`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Go's name of the system (`linux`).
    #[serde(default)]
    pub os: String,
    /// The system's version, for Windows.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// When it was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What was said at `commit` or `import`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The container it was committed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The defaults for containers made from it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: docker::ImageConfig,
    /// Its layers.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
    /// How it came to be, oldest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub history: Vec<HistoryEntry>,
    /// The build cache that the image carries for its own steps (`--cache-to type=inline`), base64.
    #[serde(default, rename = "boxyard.build.cache.v1", skip_serializing_if = "Option::is_none")]
    pub build_cache: Option<String>,
}

/// The layers of an image, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The digests of the layers' tars.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// A configuration for this host's processor and system, made at `created`, with nothing in it yet.
    pub fn for_host(created: jiff::Timestamp) -> Self {
        Self {
            architecture: host_architecture().to_owned(),
            variant: (std::env::consts::ARCH == "aarch64").then(|| "v8".to_owned()),
            os: "linux".to_owned(),
            created: Some(created.to_string()),
            ..Self::default()
        }
    }

    /// Says for which platform it is: `os[/arch[/variant]]`.
    ///
    /// # Errors
    /// `InvalidParameter` for more parts than three, or empty ones.
    pub fn set_platform(&mut self, platform: Option<&str>) -> Result<(), EngineError> {
        let Some(platform) = platform.filter(|text| !text.is_empty()) else { return Ok(()) };
        let parts: Vec<&str> = platform.split('/').collect();
        if parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
            return Err(EngineError::invalid(format!(
                "\"{platform}\" is an invalid platform: expected os[/arch[/variant]]"
            )));
        }
        let mut parts = parts.into_iter();
        self.os = parts.next().unwrap_or_default().to_owned();
        if let Some(architecture) = parts.next() {
            self.architecture = architecture.to_owned();
            self.variant = parts.next().map(str::to_owned);
        }
        Ok(())
    }

    /// The bytes whose digest is the image's ID: the same for the same configuration, every time.
    ///
    /// # Errors
    /// Where a value can't be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        // Labels, ports and volumes come from hash maps, whose order is random.
        serde_json::to_vec(&sorted(serde_json::to_value(self)?))
    }
}

/// Go's name of the processor this runs on.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let tree: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(tree.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_own_fields_survive() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"OnBuild":["RUN x"],"Shell":["/bin/sh","-c"],
            "Healthcheck":{"Test":["CMD","true"],"Interval":1000000000},"ExposedPorts":{"80/tcp":{}},"Volumes":null},
            "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.config.on_build.as_deref(), Some(&["RUN x".to_owned()][..]));
        assert_eq!(config.config.exposed_ports.as_deref(), Some(&["80/tcp".to_owned()][..]));
        assert_eq!(config.config.healthcheck.as_ref().and_then(|check| check.interval), Some(1_000_000_000));
    }

    #[test]
    fn the_same_configuration_always_has_the_same_bytes() {
        let labels = (0..40).map(|n| (format!("label{n}"), "x".to_owned()));
        let make = || ImageConfig {
            config: docker::ImageConfig { labels: Some(labels.clone().collect()), ..Default::default() },
            ..Default::default()
        };
        assert_eq!(make().to_bytes().unwrap(), make().to_bytes().unwrap());
    }
}
