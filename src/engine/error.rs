//! What the engine's door answers when it can't do as asked.
//!
//! Inside, every room has its own error enum with named fields and a source. At the door they become an
//! [`EngineError`]: a kind, which the API maps to a status in one place, and the words a client reads, which are
//! Docker's own where Docker has words for the case.

use std::error::Error as StdError;
use std::fmt;

/// The kinds of refusal a client can tell apart. The API maps each to one status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is wrong (400).
    InvalidParameter,
    /// Credentials are missing or refused (401).
    Unauthorized,
    /// Allowed for nobody, as asked (403).
    Forbidden,
    /// The named object does not exist (404).
    NotFound,
    /// The object's state or another object is in the way (409).
    Conflict,
    /// Nothing had to be done (304).
    NotModified,
    /// The engine can't do this at all (501).
    NotImplemented,
    /// Something outside, like a registry, does not answer (503).
    Unavailable,
    /// The kernel or the disk refused, or the engine is at fault (500).
    System,
}

/// A refusal of the engine: kind, the words for the client, and what lay underneath for the log.
#[derive(Debug)]
pub struct EngineError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl EngineError {
    /// An error of `kind` that says `message` to the client.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParameter, message)
    }

    /// The named object does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// State or another object is in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// The kernel or the disk refused.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::System, message)
    }

    /// Keeps what lay underneath, for the log; the client does not read it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Which kind of refusal this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The words for the client.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for EngineError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
