//! The query string, read the way Docker reads it.
//!
//! Booleans are anything but "", "0", "no", "false" and "none"; a number that isn't one is the client's fault and named
//! so.

use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::engine::EngineError;
use crate::engine::filters::{Filters, parse_instant};

/// The parameters of one request, in the order sent; a name may come several times.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL after `?`.
    pub fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value of `name`; an empty one counts as not sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// The first value of `name`, owned.
    pub fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// All values of `name` that are not empty.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone()).collect()
    }

    /// Whether `name` was sent as true.
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// Whether `name` was sent as true, or `default` where it wasn't sent.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        self.raw(name).map_or(default, is_true)
    }

    /// `name` as a number.
    ///
    /// # Errors
    /// `InvalidParameter` for anything else.
    pub fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, EngineError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| EngineError::invalid(format!("invalid value for {name}: {text:?} is not a number")))
    }

    /// `name` as a JSON document.
    ///
    /// # Errors
    /// `InvalidParameter` where it isn't the JSON we expect.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, EngineError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|error| EngineError::invalid(format!("invalid {name}: {error}")))
    }

    /// `name` as a moment: seconds since 1970 with an optional fraction, RFC 3339, or a duration back from `now`. A zero
    /// counts as not sent: clients write it for "from the beginning".
    ///
    /// # Errors
    /// `InvalidParameter` for anything else.
    pub fn moment(&self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, EngineError> {
        let Some(text) = self.text(name).filter(|text| *text != "0") else { return Ok(None) };
        let bad = || EngineError::invalid(format!("invalid value for {name:?}: {text:?} is no point in time"));
        parse_instant(text, now).map(Some).ok_or_else(bad)
    }

    /// The `filters` parameter.
    ///
    /// # Errors
    /// `InvalidParameter` where it is neither of the two forms.
    pub fn filters(&self) -> Result<Filters, EngineError> {
        Filters::parse(self.text("filters").unwrap_or_default())
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn is_true(value: &str) -> bool {
    !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_dockers() {
        let query = Query::parse("a=1&b=true&c=0&d=False&e=&f=none&g=yes");
        let on: Vec<&str> =
            ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().filter(|name| query.flag(name)).collect();
        assert_eq!(on, ["a", "b", "g"]);
        assert!(query.flag_or("rm", true));
    }

    #[test]
    fn a_number_that_is_none_is_named() {
        let error = Query::parse("t=soon").number::<i64>("t").unwrap_err();
        assert_eq!(error.message(), "invalid value for t: \"soon\" is not a number");
    }
}
