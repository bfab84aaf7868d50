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

/// A time in nanoseconds as Go writes it: `1m30s`, `1.5s`, `250ms`, `0s`.
pub(super) fn go_duration(nanoseconds: i64) -> String {
    let all = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (unit, name) = match all {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let digits = unit.to_string().len() - 1;
    let fraction = format!("{:0digits$}", all % unit);
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        some => format!(".{some}"),
    };
    let whole = all / unit;
    match name {
        "s" if whole >= 3600 => format!("{sign}{}h{}m{}{fraction}s", whole / 3600, whole / 60 % 60, whole % 60),
        "s" if whole >= 60 => format!("{sign}{}m{}{fraction}s", whole / 60, whole % 60),
        name => format!("{sign}{whole}{fraction}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let second = 1_000_000_000;
        let cases = [
            (0, "0s"),
            (5 * second, "5s"),
            (90 * second, "1m30s"),
            (3600 * second, "1h0m0s"),
            (3_661_500_000_000, "1h1m1.5s"),
            (250_000_000, "250ms"),
            (1_500_000, "1.5ms"),
            (15, "15ns"),
            (-second, "-1s"),
        ];
        for (nanoseconds, expected) in cases {
            assert_eq!(go_duration(nanoseconds), expected);
        }
    }
}
