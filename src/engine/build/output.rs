//! What becomes of a build's result: the `outputs` of a request, as `docker buildx build --output` names them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::EngineError;
use crate::engine::image::Reference;

/// One output as the query has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OutputRequest {
    /// Its kind: `image`, `docker`, `oci`, `local`, `tar`, `cacheonly`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Its settings.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
}

/// One thing to make of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// An image among this engine's.
    Image {
        /// What it is called; the request's tags where there are none.
        names: Vec<Reference>,
        /// Whether it goes to the registries of its names, too.
        push: bool,
    },
    /// The files of its root, as a tar sent to the client.
    Files {
        /// Which output of the client's session.
        stream: String,
    },
    /// An image as an archive sent to the client.
    Archive {
        /// Which output of the client's session.
        stream: String,
        /// What it is called in the archive; the request's tags where there are none.
        names: Vec<Reference>,
        /// Whether `docker load` of old shall be able to read it.
        has_dockers_manifest: bool,
    },
    /// Nothing: the steps are in the cache.
    Nothing,
}

impl Output {
    /// What `request` means.
    ///
    /// # Errors
    /// `InvalidParameter`, naming the kind or the setting.
    pub(super) fn parse(request: &OutputRequest) -> Result<Self, EngineError> {
        let OutputRequest { kind, attrs } = request;
        let known: &[&str] = match kind.as_str() {
            "image" => &["name", "push", "store", "oci-mediatypes", "unpack"],
            "docker" | "oci" => &["name", "stream", "tar", "oci-mediatypes"],
            "local" | "tar" => &["stream", "platform-split"],
            "cacheonly" => &[],
            other => {
                return Err(EngineError::invalid(format!(
                    "output type {other:?} is not supported: one of image, docker, oci, local, tar, cacheonly"
                )));
            }
        };
        if let Some(unknown) = attrs.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(EngineError::invalid(format!("output type {kind}: {unknown} is not supported")));
        }
        let names = attrs.get("name").map(|names| references(names)).transpose()?.unwrap_or_default();
        let is_on = |name: &str| attrs.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "1"));
        let stream = attrs.get("stream").cloned();
        let needed = |stream: Option<String>| {
            stream.ok_or_else(|| EngineError::invalid(format!("output type {kind}: no stream of the session is named")))
        };
        Ok(match (kind.as_str(), stream) {
            ("image", _) | ("docker", None) => Output::Image { names, push: is_on("push") },
            ("docker" | "oci", stream) => {
                Output::Archive { stream: needed(stream)?, names, has_dockers_manifest: kind == "docker" }
            }
            ("local" | "tar", stream) => Output::Files { stream: needed(stream)? },
            _ => Output::Nothing,
        })
    }
}

fn references(names: &str) -> Result<Vec<Reference>, EngineError> {
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(|name| Ok(Reference::parse(name)?.or_latest())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Output, String> {
        let request: OutputRequest = serde_json::from_str(json).unwrap();
        Output::parse(&request).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn outputs_are_read() {
        let name = Reference::parse("a:latest").unwrap();
        let image = parse(r#"{"Type":"image","Attrs":{"name":"a","push":"true"}}"#);
        assert_eq!(image, Ok(Output::Image { names: vec![name.clone()], push: true }));
        assert_eq!(parse(r#"{"Type":"docker"}"#), Ok(Output::Image { names: vec![], push: false }));
        let archive = parse(r#"{"Type":"oci","Attrs":{"name":"a","stream":"0"}}"#);
        let stream = "0".to_owned();
        let expected = Output::Archive { stream: stream.clone(), names: vec![name], has_dockers_manifest: false };
        assert_eq!(archive, Ok(expected));
        assert_eq!(parse(r#"{"Type":"local","Attrs":{"stream":"0"}}"#), Ok(Output::Files { stream }));
        assert_eq!(parse(r#"{"Type":"cacheonly"}"#), Ok(Output::Nothing));
    }

    #[test]
    fn what_is_not_carried_out_is_refused_by_name() {
        assert!(parse(r#"{"Type":"pigeon"}"#).unwrap_err().starts_with("output type \"pigeon\" is not supported"));
        let refused = parse(r#"{"Type":"oci","Attrs":{"compression":"zstd","stream":"0"}}"#).unwrap_err();
        assert_eq!(refused, "output type oci: compression is not supported");
        assert!(parse(r#"{"Type":"oci"}"#).unwrap_err().contains("no stream"));
    }
}
