//! One record of the cache: what a step did, and where it stood when it did so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::FILE;
use crate::engine::image::ImageId;
use crate::engine::layer::{ChainId, Digest};

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine::build) struct Record {
    /// The key's digest.
    pub key: Digest,
    /// `run`, `copy`, `workdir` or `config`.
    pub kind: String,
    /// The step's text.
    pub identity: String,
    /// What it depended on.
    pub inputs: BTreeMap<String, String>,
    /// The layer below.
    pub below: Option<ChainId>,
    /// The layer it made; `None` if it changed no file.
    pub layer: Option<ChainId>,
    /// Bytes of that layer's content.
    pub size: u64,
    /// When.
    pub created: Timestamp,
    /// When it was last of use.
    #[serde(default)]
    pub used: Option<Timestamp>,
    /// How often it was of use.
    #[serde(default)]
    pub uses: u64,
    /// Where it stood.
    #[serde(default)]
    pub about: About,
}

impl Record {
    /// Leaves the files among its inputs out; only explanations need them.
    pub(in crate::engine::build) fn drop_files(&mut self) {
        self.inputs.retain(|name, _| !name.starts_with(FILE));
    }

    /// When it was last of use, its making included.
    pub(super) fn last_used(&self) -> Timestamp {
        self.used.unwrap_or(self.created)
    }
}

/// Where a step stands. Nothing here is part of its key; it is what a miss is explained by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine::build) struct About {
    /// Which builds are runs of the same thing: the image's name without its tag, or the Dockerfile's where it has none.
    #[serde(default)]
    pub project: String,
    /// The stage: its name, or else its number.
    #[serde(default)]
    pub stage: String,
    /// Its number in the stage; FROM is 0.
    #[serde(default)]
    pub index: usize,
    /// The instruction as written, on one line.
    #[serde(default)]
    pub text: String,
    /// The image the stage stands on.
    #[serde(default)]
    pub base: Option<BaseImage>,
}

/// An image as a FROM named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine::build) struct BaseImage {
    /// The name.
    pub name: String,
    /// What it meant then.
    pub id: ImageId,
}
