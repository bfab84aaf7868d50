//! `--cache-from` and `--cache-to` as people write them: `type=registry,ref=host/app:cache,mode=max`, or just an image's name.
//!
//! Client and engine read them alike: the client to find the folders of `type=local`, the engine to do the rest.

use std::collections::BTreeMap;
use std::fmt;

/// Which way the cache goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheWay {
    /// `--cache-from`.
    From,
    /// `--cache-to`.
    To,
}

/// Where a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheKind {
    /// In the image itself.
    Inline,
    /// In a folder of the client's.
    Local,
    /// At a registry.
    Registry,
}

/// How much of a build goes into a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// The steps of the image's own layers.
    #[default]
    Min,
    /// All steps of all stages.
    Max,
}

/// One `--cache-from` or `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSpec {
    /// Where it is.
    pub kind: CacheKind,
    /// How much of the build.
    pub mode: CacheMode,
    /// The registry's reference (`ref`).
    pub reference: String,
    /// The client's folder (`src` or `dest`).
    pub folder: String,
    /// Which of the caches in the folder (`tag`); `latest` unless told otherwise.
    pub tag: String,
    /// Whether a failure to write it is to be passed over in silence (`ignore-error`).
    pub ignores_errors: bool,
}

/// Why a text is no such thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {text}: {reason}")]
pub struct CacheSpecError {
    flag: &'static str,
    text: String,
    reason: String,
}

impl fmt::Display for CacheKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CacheKind::Inline => "inline",
            CacheKind::Local => "local",
            CacheKind::Registry => "registry",
        })
    }
}

impl CacheWay {
    /// The flag.
    pub fn flag(self) -> &'static str {
        match self {
            CacheWay::From => "--cache-from",
            CacheWay::To => "--cache-to",
        }
    }

    fn known(self) -> &'static [&'static str] {
        match self {
            // An image with an inline cache is read as any other reference.
            CacheWay::From => &["registry", "local"],
            CacheWay::To => &["inline", "registry", "local"],
        }
    }

    fn attributes(self, kind: CacheKind) -> &'static [&'static str] {
        // What only tells how BuildKit packs it is taken, and of no consequence here.
        match (self, kind) {
            (CacheWay::From, CacheKind::Local) => &["src", "tag"],
            (CacheWay::From, _) => &["ref"],
            (CacheWay::To, CacheKind::Inline) => &["mode"],
            (CacheWay::To, CacheKind::Local) => &[
                "dest",
                "mode",
                "tag",
                "ignore-error",
                "compression",
                "force-compression",
                "oci-mediatypes",
                "image-manifest",
            ],
            (CacheWay::To, CacheKind::Registry) => {
                &["ref", "mode", "ignore-error", "compression", "force-compression", "oci-mediatypes", "image-manifest"]
            }
        }
    }

    /// Reads a flag's text.
    ///
    /// # Errors
    /// [`CacheSpecError`] names what is wrong and what is known.
    pub fn parse(self, text: &str) -> Result<CacheSpec, CacheSpecError> {
        let refused = |reason: String| CacheSpecError { flag: self.flag(), text: text.to_owned(), reason };
        let fields: Vec<&str> = text.split(',').map(str::trim).filter(|field| !field.is_empty()).collect();
        let mut attributes: BTreeMap<String, String> = BTreeMap::new();
        match fields.as_slice() {
            [] => return Err(refused("it is empty".to_owned())),
            [name] if !name.contains('=') => {
                attributes.insert("type".to_owned(), "registry".to_owned());
                attributes.insert("ref".to_owned(), (*name).to_owned());
            }
            fields => {
                for field in fields {
                    let Some((name, value)) = field.split_once('=') else {
                        return Err(refused(format!("{field} is no NAME=VALUE")));
                    };
                    attributes.insert(name.to_lowercase(), value.to_owned());
                }
            }
        }
        let kind = match attributes.remove("type").as_deref() {
            Some("registry") => CacheKind::Registry,
            Some("local") => CacheKind::Local,
            Some("inline") if self == CacheWay::To => CacheKind::Inline,
            Some(other) => {
                return Err(refused(format!("type {other:?} is not supported; known are {}", self.known().join(", "))));
            }
            None => return Err(refused(format!("a type is wanted: {}", self.known().join(", ")))),
        };
        let known = self.attributes(kind);
        if let Some(name) = attributes.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(refused(format!("{name} is not known for type={kind}; known are {}", known.join(", "))));
        }
        let mut take = |name: &str| attributes.remove(name).unwrap_or_default();
        let mode = match take("mode").as_str() {
            "" | "min" => CacheMode::Min,
            "max" => CacheMode::Max,
            other => return Err(refused(format!("mode {other:?} is not known; known are min, max"))),
        };
        let compression = take("compression");
        if !matches!(compression.as_str(), "" | "gzip") {
            return Err(refused(format!("compression {compression:?} is not supported; known is gzip")));
        }
        let folder = take(if self == CacheWay::From { "src" } else { "dest" });
        let tag = Some(take("tag")).filter(|tag| !tag.is_empty()).unwrap_or_else(|| "latest".to_owned());
        let ignores_errors = matches!(take("ignore-error").as_str(), "1" | "true");
        let spec = CacheSpec { kind, mode, reference: take("ref"), folder, tag, ignores_errors };
        match kind {
            CacheKind::Registry if spec.reference.is_empty() => Err(refused("ref=IMAGE is wanted".to_owned())),
            CacheKind::Local if spec.folder.is_empty() => Err(refused(match self {
                CacheWay::From => "src=FOLDER is wanted".to_owned(),
                CacheWay::To => "dest=FOLDER is wanted".to_owned(),
            })),
            CacheKind::Inline if spec.mode == CacheMode::Max => Err(refused(
                "an inline cache holds the image's own steps only; mode=max needs type=registry or local".to_owned(),
            )),
            _ => Ok(spec),
        }
    }

    /// What the folder of the `index`th text is called in the build session.
    pub fn in_session(self, index: usize) -> String {
        match self {
            CacheWay::From => format!("cache-from/{index}"),
            CacheWay::To => format!("cache-to/{index}"),
        }
    }
}

impl CacheSpec {
    /// What a person calls it.
    pub fn shown(&self) -> String {
        match self.kind {
            CacheKind::Inline => "inline".to_owned(),
            CacheKind::Local => self.folder.clone(),
            CacheKind::Registry => self.reference.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<CacheSpec, String> {
        CacheWay::From.parse(text).map_err(|error| error.to_string())
    }

    fn to(text: &str) -> Result<CacheSpec, String> {
        CacheWay::To.parse(text).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_are_read_as_buildx_reads_them() {
        let image = from("host:5000/app:1").unwrap();
        assert_eq!((image.kind, image.reference.as_str()), (CacheKind::Registry, "host:5000/app:1"));
        assert_eq!(from("type=registry,ref=host:5000/app:1").unwrap(), image);
        assert_eq!(from("type=local,src=a/b").unwrap().folder, "a/b");
        let max = to("type=registry, ref=x , mode=max, ignore-error=true").unwrap();
        assert_eq!((max.mode, max.ignores_errors, max.reference.as_str()), (CacheMode::Max, true, "x"));
        assert_eq!(to("type=inline").unwrap().kind, CacheKind::Inline);
        assert_eq!(to("type=local,dest=/d,tag=t").unwrap().tag, "t");
    }

    #[test]
    fn what_is_not_known_is_told_with_what_is() {
        let table = [
            (
                from("type=s3,bucket=b"),
                "--cache-from type=s3,bucket=b: type \"s3\" is not supported; known are registry, local",
            ),
            (to("type=gha"), "--cache-to type=gha: type \"gha\" is not supported; known are inline, registry, local"),
            (to("ref=x,mode=max"), "--cache-to ref=x,mode=max: a type is wanted: inline, registry, local"),
            (to("type=registry"), "--cache-to type=registry: ref=IMAGE is wanted"),
            (to("type=local"), "--cache-to type=local: dest=FOLDER is wanted"),
            (
                from("type=local,dest=x"),
                "--cache-from type=local,dest=x: dest is not known for type=local; known are src, tag",
            ),
            (
                to("type=registry,ref=x,mode=all"),
                "--cache-to type=registry,ref=x,mode=all: mode \"all\" is not known; known are min, max",
            ),
            (from(""), "--cache-from : it is empty"),
        ];
        for (found, words) in table {
            assert_eq!(found.unwrap_err(), words);
        }
        assert!(to("type=inline,mode=max").unwrap_err().contains("own steps only"));
    }
}
