//! What a step's outcome depends on, input by input, and the digest of it all.

use std::collections::BTreeMap;

use crate::engine::layer::{ChainId, Digest};

/// More files than this are kept as one digest: the explanation of a miss is not worth megabytes.
const MAX_FILES: usize = 5000;

/// The name of the input that is the layer below.
pub(super) const BELOW: &str = "below";
/// What the names of file inputs begin with.
pub(super) const FILE: &str = "file ";
/// The name of the input that stands for too many files.
pub(super) const FILES: &str = "files";

/// Everything that can change what a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) struct Key {
    pub(super) kind: &'static str,
    pub(super) identity: String,
    pub(super) inputs: BTreeMap<String, String>,
}

impl Key {
    /// The key of a step of some kind. `identity` is what makes a person call it the same step: its text.
    pub(in crate::engine::build) fn new(
        kind: &'static str,
        identity: impl Into<String>,
        below: Option<&ChainId>,
    ) -> Self {
        let below = below.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        Self { kind, identity: identity.into(), inputs: BTreeMap::from([(BELOW.to_owned(), below)]) }
    }

    /// Adds an input, called as a person would call it: `user`, `ENV PATH`, `ARG VERSION`.
    #[must_use]
    pub(in crate::engine::build) fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.inputs.insert(name.into(), value.into());
        self
    }

    /// Adds the files that are copied: path to what counts about it.
    #[must_use]
    pub(in crate::engine::build) fn with_files(mut self, files: &BTreeMap<String, String>) -> Self {
        if files.len() > MAX_FILES {
            let text: String = files.iter().map(|(path, facts)| format!("{path}\0{facts}\0")).collect();
            return self.with(FILES, Digest::of(text.as_bytes()).to_string());
        }
        self.inputs.extend(files.iter().map(|(path, facts)| (format!("{FILE}{path}"), facts.clone())));
        self
    }

    /// What the record is found by.
    pub(in crate::engine::build) fn digest(&self) -> Digest {
        let mut text = format!("{}\0{}\0", self.kind, self.identity);
        for (name, value) in &self.inputs {
            // Lengths keep two inputs from being read as one.
            text.push_str(&format!("{}\0{name}\0{}\0{value}\0", name.len(), value.len()));
        }
        Digest::of(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_different_inputs_have_one_key() {
        let base = || Key::new("run", "RUN x", None);
        assert_ne!(base().with("a", "b\0c").digest(), base().with("a", "b").with("c", "").digest());
        assert_ne!(base().with("ENV A", "1").digest(), base().with("ENV A", "2").digest());
    }
}
