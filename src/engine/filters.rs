//! Docker's `filters`: names with the values to match, as list and prune calls carry them.
//!
//! Two JSON forms are on the wire: `{"label":["a","b"]}` and the older `{"label":{"a":true}}`. Values of one name are
//! alternatives unless the filter says otherwise (all labels must match); different names must all match.

use std::collections::{BTreeMap, HashMap};

use regex::Regex;

use super::EngineError;

/// Parsed filters. Empty matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl From<Filters> for HashMap<String, Vec<String>> {
    fn from(filters: Filters) -> Self {
        filters.0.into_iter().collect()
    }
}

impl From<HashMap<String, Vec<String>>> for Filters {
    fn from(filters: HashMap<String, Vec<String>>) -> Self {
        Self(filters.into_iter().collect())
    }
}

impl Filters {
    /// Reads both JSON forms; an empty text is no filter.
    ///
    /// # Errors
    /// `invalid filter` where the text is neither form.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        if let Ok(lists) = serde_json::from_str::<BTreeMap<String, Option<Vec<String>>>>(text) {
            return Ok(Self(lists.into_iter().map(|(name, values)| (name, values.unwrap_or_default())).collect()));
        }
        serde_json::from_str::<BTreeMap<String, BTreeMap<String, bool>>>(text)
            .map(|sets| Self(sets.into_iter().map(|(name, values)| (name, values.into_keys().collect())).collect()))
            .map_err(|_| EngineError::invalid("invalid filter"))
    }

    /// Adds one value, for callers inside the engine and tests.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.entry(name.to_owned()).or_default().push(value.to_owned());
        self
    }

    /// The values given for `name`; empty where it is not filtered by.
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether `name` is filtered by at all.
    pub fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Whether nothing is filtered by.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Vec::is_empty)
    }

    /// Refuses names other than `known`.
    ///
    /// # Errors
    /// Docker's `invalid filter 'x'`.
    pub fn accept(&self, known: &[&str]) -> Result<(), EngineError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(EngineError::invalid(format!("invalid filter '{name}'"))),
            None => Ok(()),
        }
    }

    /// The one truth value given for `name`; `None` where it is not filtered by.
    ///
    /// # Errors
    /// Docker's `invalid filter 'name=[x]'` for anything but 1, 0, true, false.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, EngineError> {
        let values = self.get(name);
        let refuse = || EngineError::invalid(format!("invalid filter '{name}={values:?}'"));
        let truth = |value: &String| match value.as_str() {
            "1" | "true" | "True" | "TRUE" | "t" | "T" => Ok(true),
            "0" | "false" | "False" | "FALSE" | "f" | "F" => Ok(false),
            _ => Err(refuse()),
        };
        match values {
            [] => Ok(None),
            [first, rest @ ..] => {
                let first = truth(first)?;
                if rest.iter().all(|value| truth(value).is_ok_and(|value| value == first)) {
                    Ok(Some(first))
                } else {
                    Err(refuse())
                }
            }
        }
    }

    /// Whether `value` is one of the values given for `name`, or nothing is given.
    pub fn exact(&self, name: &str, value: &str) -> bool {
        !self.has(name) || self.get(name).iter().any(|wanted| wanted == value)
    }

    /// Whether one of the values given for `name` begins `value`, or nothing is given (for IDs).
    pub fn prefix(&self, name: &str, value: &str) -> bool {
        !self.has(name) || self.get(name).iter().any(|wanted| value.starts_with(wanted.as_str()))
    }

    /// Whether one of the values given for `name` is found in `value` as a regular expression (or, where it is none, as
    /// plain text), or nothing is given (for names).
    pub fn pattern(&self, name: &str, value: &str) -> bool {
        !self.has(name)
            || self.get(name).iter().any(|wanted| {
                Regex::new(wanted).map_or_else(|_| value.contains(wanted.as_str()), |pattern| pattern.is_match(value))
            })
    }

    /// Whether `labels` has every `label` (`key` or `key=value`) and none of the `label!` ones.
    pub fn labels(&self, labels: &HashMap<String, String>) -> bool {
        self.all_labels("label", labels) && (!self.has("label!") || !self.all_labels("label!", labels))
    }

    fn all_labels(&self, name: &str, labels: &HashMap<String, String>) -> bool {
        self.get(name).iter().all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        })
    }

    /// The instant that `until` (or `since`) names: a Unix time, an RFC 3339 time, or a Go duration back from `now`.
    ///
    /// # Errors
    /// More than one value, or one that is none of the three.
    pub fn instant(&self, name: &str, now: jiff::Timestamp) -> Result<Option<jiff::Timestamp>, EngineError> {
        match self.get(name) {
            [] => Ok(None),
            [one] => parse_instant(one, now)
                .map(Some)
                .ok_or_else(|| EngineError::invalid(format!("failed to parse value as time or duration: {one:?}"))),
            _ => Err(EngineError::invalid(format!("more than one {name} filter specified"))),
        }
    }
}

/// A point in time as Docker's `since` and `until` take it: Unix seconds with an optional fraction, RFC 3339 (date only
/// too), or a Go duration (`1h30m`) back from `now`.
pub fn parse_instant(text: &str, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
    if let Some(stamp) = parse_unix(text) {
        return Some(stamp);
    }
    if let Some(back) = parse_go_duration(text) {
        return now.checked_sub(jiff::SignedDuration::try_from(back).ok()?).ok();
    }
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Some(stamp);
    }
    let local = text.parse::<jiff::civil::DateTime>().ok().or_else(|| {
        text.parse::<jiff::civil::Date>().ok().map(|date| date.to_datetime(jiff::civil::Time::midnight()))
    })?;
    local.to_zoned(jiff::tz::TimeZone::system()).ok().map(|zoned| zoned.timestamp())
}

fn parse_unix(text: &str) -> Option<jiff::Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().ok()?;
    jiff::Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

/// A positive Go duration: numbers with units, like `1h30m`, `10s`, `1.5h`, `250ms`.
pub fn parse_go_duration(text: &str) -> Option<std::time::Duration> {
    let mut rest = text;
    let mut total = std::time::Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match rest.get(..unit_end)? {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(std::time::Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = rest.get(unit_end..)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_wire_forms_say_the_same() {
        let new = Filters::parse(r#"{"status":["running","paused"]}"#).unwrap();
        let old = Filters::parse(r#"{"status":{"paused":true,"running":true}}"#).unwrap();
        for filters in [new, old] {
            assert!(filters.exact("status", "running") && filters.exact("status", "paused"));
            assert!(!filters.exact("status", "exited"));
        }
        assert!(Filters::parse("nonsense").is_err());
        assert!(Filters::parse("").unwrap().is_empty());
    }

    #[test]
    fn an_unknown_filter_is_refused_in_dockers_words() {
        let filters = Filters::default().with("colour", "red");
        assert_eq!(filters.accept(&["status"]).unwrap_err().message(), "invalid filter 'colour'");
    }

    #[test]
    fn all_labels_must_match_and_negated_ones_must_not() {
        let labels = HashMap::from([("tier".to_owned(), "web".to_owned()), ("a".to_owned(), String::new())]);
        assert!(Filters::default().with("label", "tier=web").with("label", "a").labels(&labels));
        assert!(!Filters::default().with("label", "tier=web").with("label", "b").labels(&labels));
        assert!(!Filters::default().with("label!", "tier").labels(&labels));
        assert!(Filters::default().with("label!", "other").labels(&labels));
    }

    #[test]
    fn instants_come_as_unix_rfc3339_or_go_durations() {
        let now: jiff::Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let check = |text: &str, expected: &str| {
            assert_eq!(parse_instant(text, now).map(|t| t.to_string()).as_deref(), Some(expected), "{text}")
        };
        check("1767323045.5", "2026-01-02T03:04:05.5Z");
        check("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
        check("1h4m5s", "2026-01-02T02:00:00Z");
        check("90m", "2026-01-02T01:34:05Z");
        assert_eq!(parse_instant("soon", now), None);
    }
}
