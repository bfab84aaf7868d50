//! Docker's filters (`{"label":["a=b"]}`) over images.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::engine::error::EngineError;

/// Filters whose names are all known.
pub(super) struct Filters<'a>(&'a HashMap<String, Vec<String>>);

impl<'a> Filters<'a> {
    /// Takes filters, refusing names not in `known`.
    pub fn new(filters: &'a HashMap<String, Vec<String>>, known: &[&str]) -> Result<Self, EngineError> {
        match filters.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(EngineError::invalid(format!("invalid filter '{key}'"))),
            None => Ok(Self(filters)),
        }
    }

    /// All values of one filter.
    pub fn all(&self, key: &str) -> &'a [String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The first value of one filter.
    pub fn first(&self, key: &str) -> Option<&'a str> {
        self.all(key).first().map(String::as_str)
    }

    /// A filter that is true or false.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, EngineError> {
        match self.first(key) {
            None => Ok(None),
            Some("1" | "t" | "true" | "True" | "TRUE") => Ok(Some(true)),
            Some("0" | "f" | "false" | "False" | "FALSE") => Ok(Some(false)),
            Some(other) => Err(EngineError::invalid(format!("invalid filter '{key}={other}'"))),
        }
    }

    /// A moment: seconds since the epoch, RFC 3339, or how long ago (`24h`, `10m30s`).
    pub fn time(&self, key: &str) -> Result<Option<Timestamp>, EngineError> {
        let Some(text) = self.first(key) else { return Ok(None) };
        moment(text, Timestamp::now())
            .map(Some)
            .ok_or_else(|| EngineError::invalid(format!("invalid filter '{key}={text}': not a time or a duration")))
    }

    /// Whether labels satisfy `label` (all of them) and `label!` (none of them).
    pub fn labels_fit(&self, labels: Option<&HashMap<String, String>>) -> bool {
        let has = |wanted: &String| {
            let (key, value) = wanted.split_once('=').map_or((wanted.as_str(), None), |(key, value)| (key, Some(value)));
            labels
                .and_then(|labels| labels.get(key))
                .is_some_and(|found| value.is_none_or(|value| value == found))
        };
        self.all("label").iter().all(has) && !self.all("label!").iter().any(has)
    }
}

fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Timestamp::from_nanosecond((seconds * 1e9) as i128).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        return date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    }
    let ago: jiff::SignedDuration = text.parse().ok()?;
    now.checked_sub(ago).ok()
}

/// Go's `path.Match`: `*` and `?` do not cross `/`, `[a-z]` and `[^a-z]` are sets.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                (0..=text.len())
                    .take_while(|at| !text.get(..*at).unwrap_or_default().contains(&'/'))
                    .any(|at| matches(rest, text.get(at..).unwrap_or_default()))
            }
            (Some(('?', rest)), Some((letter, others))) => *letter != '/' && matches(rest, others),
            (Some(('[', rest)), Some((letter, others))) => {
                let Some(end) = rest.iter().position(|letter| *letter == ']') else { return false };
                let (set, rest) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
                let (negated, set) = match set.split_first() {
                    Some(('^', set)) => (true, set),
                    _ => (false, set),
                };
                (contains(set, *letter) != negated) && matches(rest, others)
            }
            (Some(('\\', rest)), Some((letter, others))) => {
                rest.split_first().is_some_and(|(wanted, rest)| wanted == letter && matches(rest, others))
            }
            (Some((wanted, rest)), Some((letter, others))) => wanted == letter && matches(rest, others),
            _ => false,
        }
    }
    fn contains(set: &[char], letter: char) -> bool {
        match set {
            [from, '-', to, rest @ ..] => (*from..=*to).contains(&letter) || contains(rest, letter),
            [only, rest @ ..] => *only == letter || contains(rest, letter),
            [] => false,
        }
    }
    matches(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, fits) in [
            ("busy*", "busybox", true),
            ("busy*", "busybox:latest", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("b?sy[a-c]ox", "busybox", true),
            ("[^b]*", "busybox", false),
            ("busybox", "busybo", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn times_are_moments_or_durations() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (text, moment_text) in [
            ("24h", "2026-01-01T00:00:00Z"),
            ("10m30s", "2026-01-01T23:49:30Z"),
            ("2025-12-31T00:00:00Z", "2025-12-31T00:00:00Z"),
            ("2025-12-31", "2025-12-31T00:00:00Z"),
            ("1767225600", "2026-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment(text, now), Some(moment_text.parse().unwrap()), "{text}");
        }
        assert_eq!(moment("soon", now), None);
    }
}
