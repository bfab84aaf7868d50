//! API versions: what `/v1.NN` in a path asks for, and the words for one we don't speak.
//!
//! Docker's clients match on these words to offer a downgrade, so they are Docker's own.

use std::fmt;
use std::str::FromStr;

use crate::engine::EngineError;

/// The oldest version a client may ask for.
pub const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 24 };
/// The newest version, and the one an unversioned path means.
pub const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 51 };

/// A version of the Docker Engine API, like 1.51.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// Version `major`.`minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Itself, where it is one we speak.
    ///
    /// # Errors
    /// `InvalidParameter` in Docker's words for a version that is too old or too new.
    pub fn supported(self) -> Result<Self, EngineError> {
        if self < OLDEST {
            return Err(EngineError::invalid(format!(
                "client version {self} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
            )));
        }
        if self > NEWEST {
            return Err(EngineError::invalid(format!(
                "client version {self} is too new. Maximum supported API version is {NEWEST}"
            )));
        }
        Ok(self)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let bad = || EngineError::invalid(format!("invalid API version: {text:?}"));
        let (major, minor) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self { major: major.parse().map_err(|_| bad())?, minor: minor.parse().map_err(|_| bad())? })
    }
}

/// Takes a leading `/v1.NN` off `path`. No such prefix means the newest version. A prefix we don't speak is left to
/// the caller, who must still put the usual headers on the refusal.
///
/// # Errors
/// `InvalidParameter` for a version that can't be read or isn't spoken.
pub fn split(path: &str) -> Result<(ApiVersion, &str), EngineError> {
    let Some(rest) = path.strip_prefix("/v") else { return Ok((NEWEST, path)) };
    let end = rest.find('/').unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Ok((NEWEST, path));
    }
    Ok((number.parse::<ApiVersion>()?.supported()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_one_strip() {
        assert_eq!(split("/v1.41/info").unwrap(), (ApiVersion::new(1, 41), "/info"));
        assert_eq!(split("/info").unwrap(), (NEWEST, "/info"));
        assert_eq!(split("/volumes/x").unwrap(), (NEWEST, "/volumes/x"));
        assert_eq!(split("/version").unwrap(), (NEWEST, "/version"));
    }

    #[test]
    fn versions_we_do_not_speak_are_refused_in_dockers_words() {
        let words = |path| split(path).unwrap_err().to_string();
        assert_eq!(
            words("/v1.23/info"),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert_eq!(words("/v1.99/info"), "client version 1.99 is too new. Maximum supported API version is 1.51");
        assert_eq!(words("/v1..2/info"), "invalid API version: \"1..2\"");
    }
}
