//! What becomes of a build's result: the `outputs` of a request, as `docker buildx build --output` names them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::EngineError;
use crate::engine::image::{ArchiveForm, GZIP_LEVEL, ManifestForm, Packing, Reference};

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
        /// What goes to the registries of its names, too, where anything does.
        push: Option<ManifestForm>,
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
        /// What it is.
        form: ArchiveForm,
    },
    /// Nothing: the steps are in the cache.
    Nothing,
}

impl Output {
    /// Whether it goes to a registry, and only the request's tags can say under which name.
    pub(super) fn pushes_without_name(&self) -> bool {
        matches!(self, Output::Image { names, push: Some(_) } if names.is_empty())
    }

    /// What `request` means.
    ///
    /// # Errors
    /// `InvalidParameter`, naming the kind or the setting.
    pub(super) fn parse(request: &OutputRequest) -> Result<Self, EngineError> {
        let OutputRequest { kind, attrs } = request;
        let known: &[&str] = match kind.as_str() {
            "image" => &["name", "push", "store", "oci-mediatypes", "unpack", "compression", "force-compression"],
            "docker" | "oci" => {
                &["name", "stream", "oci-mediatypes", "compression", "compression-level", "force-compression"]
            }
            "local" | "tar" => &["stream", "platform-split"],
            "cacheonly" => &[],
            other => {
                return Err(EngineError::invalid(format!(
                    "output type {other:?} is not supported: one of image, docker, oci, local, tar, cacheonly"
                )));
            }
        };
        let has_manifest = matches!(kind.as_str(), "image" | "docker" | "oci");
        let is_known = |name: &str| known.contains(&name) || (has_manifest && annotated(name).is_some());
        let refused = |what: &str| EngineError::invalid(format!("output type {kind}: {what} is not supported"));
        if let Some(unknown) = attrs.keys().find(|name| !is_known(name)) {
            return Err(refused(unknown));
        }
        let is_off = |name: &str| attrs.get(name).is_some_and(|value| matches!(value.as_str(), "false" | "0"));
        if is_off("store") {
            return Err(refused("store=false (an image is kept here, too; type=oci keeps none)"));
        }
        let annotations: BTreeMap<String, String> =
            attrs.iter().filter_map(|(name, value)| Some((annotated(name)?.to_owned(), value.clone()))).collect();
        let packing = packing(attrs).map_err(|what| refused(&what))?;
        let names = attrs.get("name").map(|names| references(names)).transpose()?.unwrap_or_default();
        let is_on = |name: &str| attrs.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "1"));
        let stream = attrs.get("stream").cloned();
        let needed = |stream: Option<String>| {
            stream.ok_or_else(|| EngineError::invalid(format!("output type {kind}: no stream of the session is named")))
        };
        Ok(match (kind.as_str(), stream) {
            ("image", _) | ("docker", None) if !matches!(packing, None | Some(Packing::Gzip(_))) => {
                return Err(refused("compression but gzip (as which layers are pushed)"));
            }
            ("image", _) | ("docker", None) => {
                let push = is_on("push").then(|| ManifestForm { is_oci: is_on("oci-mediatypes"), annotations });
                Output::Image { names, push }
            }
            ("oci", _) if is_off("oci-mediatypes") => {
                return Err(refused("oci-mediatypes=false (type=docker has Docker's manifest)"));
            }
            ("docker" | "oci", stream) => {
                let (packing, has_dockers_manifest) = (packing.unwrap_or_default(), kind == "docker");
                let form = ArchiveForm { has_dockers_manifest, annotations, packing };
                Output::Archive { stream: needed(stream)?, names, form }
            }
            ("local" | "tar", stream) => Output::Files { stream: needed(stream)? },
            _ => Output::Nothing,
        })
    }
}

/// The key of an annotation of the manifest, as `annotation.KEY` and `annotation-manifest.KEY` name it.
fn annotated(name: &str) -> Option<&str> {
    name.strip_prefix("annotation.").or_else(|| name.strip_prefix("annotation-manifest."))
}

/// How layers are to be compressed, where anything is said of that. They are all compressed so, as `force-compression` asks.
fn packing(attrs: &BTreeMap<String, String>) -> Result<Option<Packing>, String> {
    let level = attrs.get("compression-level").map(|level| {
        let number = level.parse::<u32>().ok().filter(|level| *level <= 9);
        number.ok_or_else(|| format!("compression-level={level} (0 to 9 are gzip's levels)"))
    });
    let level = level.transpose()?;
    match (attrs.get("compression").map(String::as_str), level) {
        (None, None) => Ok(None),
        (Some("gzip"), level) | (None, level @ Some(_)) => Ok(Some(Packing::Gzip(level.unwrap_or(GZIP_LEVEL)))),
        (Some("uncompressed"), _) => Ok(Some(Packing::Plain)),
        (Some("zstd"), None) => Ok(Some(Packing::Zstd)),
        (Some("zstd"), Some(_)) => Err("compression-level of zstd (there is one level)".to_owned()),
        (Some(other), _) => Err(format!("compression={other} (gzip, zstd and uncompressed are)")),
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
        assert_eq!(image, Ok(Output::Image { names: vec![name.clone()], push: Some(ManifestForm::default()) }));
        assert_eq!(parse(r#"{"Type":"docker"}"#), Ok(Output::Image { names: vec![], push: None }));
        let image = parse(r#"{"Type":"image","Attrs":{"push":"1","oci-mediatypes":"true","annotation.a":"b"}}"#);
        let form = ManifestForm { is_oci: true, annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]) };
        assert_eq!(image, Ok(Output::Image { names: vec![], push: Some(form) }));
        let archive = parse(r#"{"Type":"oci","Attrs":{"name":"a","stream":"0"}}"#);
        let stream = "0".to_owned();
        let form = ArchiveForm::default();
        assert_eq!(archive, Ok(Output::Archive { stream: stream.clone(), names: vec![name], form }));
        let packing = |attrs: &str| match parse(&format!(r#"{{"Type":"oci","Attrs":{{"stream":"0",{attrs}}}}}"#)) {
            Ok(Output::Archive { form, .. }) => Ok(form.packing),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(packing(r#""compression":"gzip","force-compression":"true""#), Ok(Packing::Gzip(6)));
        assert_eq!(packing(r#""compression":"gzip","compression-level":"9""#), Ok(Packing::Gzip(9)));
        assert_eq!(packing(r#""compression":"zstd""#), Ok(Packing::Zstd));
        assert_eq!(packing(r#""compression":"uncompressed""#), Ok(Packing::Plain));
        assert_eq!(parse(r#"{"Type":"local","Attrs":{"stream":"0"}}"#), Ok(Output::Files { stream }));
        assert_eq!(parse(r#"{"Type":"cacheonly"}"#), Ok(Output::Nothing));
    }

    #[test]
    fn what_is_not_carried_out_is_refused_by_name() {
        assert!(parse(r#"{"Type":"pigeon"}"#).unwrap_err().starts_with("output type \"pigeon\" is not supported"));
        for (attrs, why) in [
            (r#""compression":"estargz""#, "compression=estargz (gzip, zstd and uncompressed are) is not supported"),
            (r#""compression":"zstd","compression-level":"3""#, "compression-level of zstd (there is one level)"),
            (r#""compression":"gzip","compression-level":"99""#, "compression-level=99 (0 to 9 are gzip's levels)"),
            (r#""oci-mediatypes":"false""#, "oci-mediatypes=false (type=docker has Docker's manifest)"),
            (r#""rewrite-timestamp":"true""#, "rewrite-timestamp is not supported"),
        ] {
            let refused = parse(&format!(r#"{{"Type":"oci","Attrs":{{"stream":"0",{attrs}}}}}"#)).unwrap_err();
            assert!(refused.starts_with(&format!("output type oci: {why}")), "{refused}");
        }
        let refused = parse(r#"{"Type":"image","Attrs":{"compression":"zstd"}}"#).unwrap_err();
        assert!(refused.contains("compression but gzip"), "{refused}");
        assert!(parse(r#"{"Type":"oci"}"#).unwrap_err().contains("no stream"));
    }
}
