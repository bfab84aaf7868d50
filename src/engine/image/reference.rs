//! Image references: `[domain/]path[:tag][@digest]`, with Docker's defaults.
//!
//! The grammar is distribution's `reference` package; a first component is a domain only if it has a dot, a colon or
//! an upper-case letter, or is `localhost`. Everything else is on `docker.io`, and there a bare name is in `library/`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::engine::error::EngineError;
use crate::engine::layer::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// Longest repository name, domain included (distribution/reference `NameTotalLengthMax`).
const NAME_MAX: usize = 255;
/// Longest tag (distribution/reference `TagRegexp`).
const TAG_MAX: usize = 128;

/// A parsed reference to an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference; Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// Upper-case letters in the repository's name.
    #[error("invalid reference format: repository name ({name}) must be lowercase")]
    Uppercase {
        /// The name as given.
        name: String,
    },
    /// An image ID where a name is wanted.
    #[error("invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId {
        /// The name as given.
        name: String,
    },
    /// Longer than 255 characters.
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong,
}

impl From<ReferenceError> for EngineError {
    fn from(error: ReferenceError) -> Self {
        EngineError::invalid(error.to_string()).because(error)
    }
}

impl Reference {
    /// Reads what a person wrote (`ubuntu`, `ghcr.io/x/y:1`, `x@sha256:...`). A missing tag stays missing.
    ///
    /// # Errors
    /// [`ReferenceError`], in Docker's words.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_hex_id(text) {
            return Err(ReferenceError::LooksLikeId { name: text.to_owned() });
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| ReferenceError::Format)?)),
            None => (text, None),
        };
        let (domain, remote) = split_domain(rest);
        let (path, tag) = match remote.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(ReferenceError::Format),
            None => (remote, None),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase { name: path.to_owned() });
        }
        if !is_domain(domain) || !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Format);
        }
        let path =
            if domain == DEFAULT_DOMAIN && !path.contains('/') { format!("{OFFICIAL}{path}") } else { path.into() };
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain: domain.to_owned(), path, tag, digest })
    }

    /// The registry's host, with its port if one was given (`docker.io`, `localhost:5000`).
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository on that registry (`library/ubuntu`).
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one is named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one is named.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path (`docker.io/library/ubuntu`).
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name as people write it (`ubuntu`, `user/thing`, `ghcr.io/x/y`).
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as people write it (`ubuntu:latest`).
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// With the tag `latest` if neither tag nor digest is named.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The same repository with this tag and no digest.
    ///
    /// # Errors
    /// [`ReferenceError::Format`] if `tag` is none.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with this digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository, without tag and digest.
    #[must_use]
    pub fn repository(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    /// The full form (`docker.io/library/ubuntu:latest`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name(), self.suffix())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        Self::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// Whether `text` is a full image ID without its algorithm.
pub(super) fn is_hex_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn split_domain(text: &str) -> (&str, &str) {
    let is_host = |host: &str| {
        host.contains(['.', ':']) || host == "localhost" || host.bytes().any(|byte| byte.is_ascii_uppercase())
    };
    match text.split_once('/') {
        Some((LEGACY_DOMAIN, path)) => (DEFAULT_DOMAIN, path),
        Some((host, path)) if is_host(host) => (host, path),
        _ => (DEFAULT_DOMAIN, text),
    }
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    text.len() <= TAG_MAX
        && bytes.next().is_some_and(is_word)
        && bytes.all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_domain(text: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<std::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// `[a-z0-9]+` groups joined by one dot, one or two underscores, or any number of dashes.
fn is_path_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| is_word(**byte)).count();
        let Some(after) = rest.get(word..).filter(|_| word > 0) else { return false };
        if after.is_empty() {
            return true;
        }
        let separator = after.iter().take_while(|byte| !is_word(**byte)).count();
        let (Some(mark), Some(next)) = (after.get(..separator), after.get(separator..)) else { return false };
        let is_separator = matches!(mark, b"." | b"_" | b"__") || mark.iter().all(|byte| *byte == b'-');
        if !is_separator {
            return false;
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_read_as_docker_reads_them() {
        let with_digest = format!("docker.io/library/ubuntu@{DIGEST}");
        let table = [
            ("ubuntu", "docker.io/library/ubuntu", "ubuntu"),
            ("ubuntu:22.04", "docker.io/library/ubuntu:22.04", "ubuntu:22.04"),
            ("user/thing", "docker.io/user/thing", "user/thing"),
            ("library/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
            ("docker.io/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
            ("index.docker.io/library/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
            ("localhost/thing", "localhost/thing", "localhost/thing"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x", "127.0.0.1:5000/x"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            ("ghcr.io/a/b-c__d.e", "ghcr.io/a/b-c__d.e", "ghcr.io/a/b-c__d.e"),
            ("UPPER/x", "UPPER/x", "UPPER/x"),
            ("a---b", "docker.io/library/a---b", "a---b"),
            (with_digest.as_str(), with_digest.as_str(), &with_digest["docker.io/library/".len()..]),
        ];
        for (text, full, familiar) in table {
            let reference = Reference::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (full, familiar), "{text}");
        }
    }

    #[test]
    fn bad_references_are_refused_in_dockers_words() {
        let id = "a".repeat(64);
        let long = "a".repeat(256);
        let table = [
            ("", "invalid reference format"),
            (":tag", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("a..b", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("-a", "invalid reference format"),
            ("a:", "invalid reference format"),
            ("a:.b", "invalid reference format"),
            ("a@sha256:00", "invalid reference format"),
            ("a b", "invalid reference format"),
            ("http://x/y", "invalid reference format"),
            ("Ubuntu", "invalid reference format: repository name (Ubuntu) must be lowercase"),
            (&id, &format!("invalid repository name ({id}), cannot specify 64-byte hexadecimal strings")),
            (&long, "repository name must not be more than 255 characters"),
        ];
        for (text, words) in table {
            assert_eq!(Reference::parse(text).map_err(|error| error.to_string()), Err(words.to_owned()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = Reference::parse(&text);
        }

        #[test]
        fn both_written_forms_read_back_the_same(
            text in "([a-z]{1,5}\\.[a-z]{1,3}(:[0-9]{2,4})?/)?[a-z0-9]{1,6}(/[a-z0-9]{1,6}){0,2}(:[a-z0-9.]{1,6})?",
        ) {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
                prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            }
        }
    }
}
