//! The cache beyond this engine: brought from registries, images and the client's folders, and taken there.
//!
//! What travels is a [`Document`]: the cache's own records, and of each layer they name its digests and where its blob is. A
//! record's key holds nothing of this host but contents, so it means the same on another one. Layers come only when a
//! step asks for them. BuildKit's own cache documents are neither read nor written.

mod export;
mod import;
mod layout;
mod plain;
mod travel;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub(super) use self::export::Export;
pub(super) use self::import::{Found, Imports, Wanted};
pub(super) use self::travel::{Specs, Told, bring, take};
use super::cache::Record;
use crate::engine::layer::{ChainId, DiffId};
use crate::engine::registry::Descriptor;

/// What a cache's document is called, at a registry and in a folder.
pub(super) const MEDIA_TYPE: &str = "application/vnd.boxyard.build.cache.v1+json";
/// Changes with the document's meaning; others are not read.
const VERSION: u32 = 1;
/// With more bytes of inputs than this, the files among them stay behind: only explanations need them.
const INPUTS_MAX: usize = 512 << 10;

/// Records and layers on their way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    version: u32,
    records: Vec<Record>,
    layers: Vec<LayerPlace>,
}

/// A layer and where its blob is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerPlace {
    chain: ChainId,
    diff: DiffId,
    #[serde(default)]
    parent: Option<ChainId>,
    /// In an image's own cache the image's manifest says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<Descriptor>,
}

impl Document {
    /// `records` without what only this engine cares for.
    fn new(mut records: Vec<Record>, layers: Vec<LayerPlace>) -> Self {
        for record in &mut records {
            // Counted anew by whoever takes it; so an unchanged build gives the same document.
            (record.used, record.uses) = (None, 0);
        }
        let bytes = |record: &Record| record.inputs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if records.iter().map(bytes).sum::<usize>() > INPUTS_MAX {
            records.iter_mut().for_each(Record::drop_files);
        }
        records.sort_by_key(|record| record.key);
        Self { version: VERSION, records, layers }
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Self = serde_json::from_slice(text).map_err(|error| format!("it is no cache: {error}"))?;
        match document.version {
            VERSION => Ok(document),
            other => Err(format!("it is of version {other}, and version {VERSION} is wanted")),
        }
    }

    /// As an image's configuration carries it.
    fn to_text(&self) -> String {
        STANDARD.encode(self.to_bytes())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(text).map_err(|error| format!("its inline cache is not valid: {error}"))?;
        Self::parse(&bytes)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod travel_tests;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::engine::build::cache::About;
    use crate::engine::layer::Digest;

    fn record(files: usize) -> Record {
        let inputs = (0..files).map(|number| (format!("file {number:0100}"), "f".repeat(64)));
        Record {
            key: Digest::of(b"key"),
            kind: "run".to_owned(),
            identity: "RUN a".to_owned(),
            inputs: inputs.chain([("user".to_owned(), "root".to_owned())]).collect(),
            below: None,
            layer: None,
            size: 0,
            created: Timestamp::UNIX_EPOCH,
            used: Some(Timestamp::UNIX_EPOCH),
            uses: 7,
            about: About::default(),
        }
    }

    #[test]
    fn a_document_comes_back_without_what_is_this_engines() {
        let document = Document::new(vec![record(2)], Vec::new());
        let back = Document::of_text(&document.to_text()).unwrap();
        assert_eq!(back, document);
        assert_eq!((back.records[0].used, back.records[0].uses, back.records[0].inputs.len()), (None, 0, 3));
        assert_eq!(Document::new(vec![record(9000)], Vec::new()).records[0].inputs.len(), 1);
    }

    #[test]
    fn what_is_no_document_is_told() {
        assert!(Document::parse(b"{}").unwrap_err().starts_with("it is no cache: "));
        let other = br#"{"version":9,"records":[],"layers":[]}"#;
        assert_eq!(Document::parse(other).unwrap_err(), "it is of version 9, and version 1 is wanted");
    }
}
