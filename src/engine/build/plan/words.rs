//! Words of instructions with their variables replaced, and words as the history shows them.

use std::collections::BTreeMap;

use super::PlanError;
use crate::dockerfile::Pair;
use crate::dockerfile::expand::{Escape, expand};

/// A word with its variables replaced.
pub(in crate::engine::build) fn expanded(
    text: &str,
    variables: &BTreeMap<String, String>,
    escape: Escape,
) -> Result<String, PlanError> {
    expand(text, variables, escape).map(|expanded| expanded.text).map_err(|error| process(text, &error))
}

pub(super) fn process(word: &str, error: &dyn std::error::Error) -> PlanError {
    PlanError::new(format!("failed to process {word:?}: {error}"))
}

pub(super) fn expanded_pairs(
    pairs: &[Pair],
    word: &dyn Fn(&str) -> Result<String, PlanError>,
) -> Result<Vec<(String, String)>, PlanError> {
    pairs.iter().map(|pair| Ok((word(&pair.key)?, word(&pair.value)?))).collect()
}

pub(super) fn joined_pairs(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// `["a" "b"]`, as Docker's history shows lists.
pub(super) fn quoted_list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" "))
}
