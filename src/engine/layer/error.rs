//! Why a layer could not be unpacked, packed, stacked or kept.

use std::io;
use std::path::{Path, PathBuf};

use crate::engine::error::{EngineError, ErrorKind};
use crate::engine::store::RecordError;

use super::{ChainId, DigestError};

/// A refusal of this room: what was attempted, on what, and why not.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive holds an entry that may not be unpacked.
    #[error("archive entry {entry:?} refused: {reason}")]
    Entry {
        /// The entry's name as the archive gives it (invalid UTF-8 replaced).
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes are no tar archive, or end too early.
    #[error("invalid tar archive: {reason}")]
    Archive {
        /// What is wrong.
        reason: String,
    },
    /// The archive is larger than its limits allow.
    #[error("archive is too large: more than {limit} {unit}")]
    Limit {
        /// The limit that was met.
        limit: u64,
        /// Of what: `entries`, `bytes`.
        unit: &'static str,
    },
    /// The kernel or the disk refused.
    #[error("{action} {}: {}", subject.display(), describe(source))]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which path or archive entry.
        subject: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Reading the archive's bytes failed; the reader's own words.
    #[error("read archive: {source}")]
    Source {
        /// What the reader said.
        source: io::Error,
    },
    /// There is no such layer here.
    #[error("layer does not exist: {chain}")]
    Missing {
        /// Its name.
        chain: ChainId,
    },
    /// A layer's directory no longer gives the bytes it was made from.
    #[error("layer {chain} is damaged: its content gives {found}, not {expected}")]
    Damaged {
        /// Its name.
        chain: ChainId,
        /// The digest it should have.
        expected: String,
        /// The digest it has.
        found: String,
    },
    /// A layer's record could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A digest could not be read.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl LayerError {
    pub(crate) fn io(action: &'static str, subject: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::Io { action, subject: subject.as_ref().to_owned(), source: source.into() }
    }

    /// Whether the disk (or its quota) is full.
    pub fn is_disk_full(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } | Self::Source { source } => source,
            Self::Record(RecordError::Io { source, .. }) => source,
            _ => return false,
        };
        is_disk_full(source)
    }
}

/// Whether an I/O error says that no more bytes fit.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The kernel's words without Rust's "(os error N)".
pub(crate) fn describe(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(libc::ENOSPC) => return "no space left on device".to_owned(),
        _ => error.to_string(),
    };
    match text.rfind(" (os error ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_lowercase(),
        None => text,
    }
}

impl From<LayerError> for EngineError {
    fn from(error: LayerError) -> Self {
        let kind = match &error {
            LayerError::Entry { .. } | LayerError::Archive { .. } | LayerError::Limit { .. } => {
                ErrorKind::InvalidParameter
            }
            LayerError::Missing { .. } => ErrorKind::NotFound,
            _ => ErrorKind::System,
        };
        let mut message = error.to_string();
        if error.is_disk_full() {
            message.push_str(DISK_FULL_ADVICE);
        }
        EngineError::new(kind, message).because(error)
    }
}

/// What to do when the disk is full; appended to the error's text.
pub(crate) const DISK_FULL_ADVICE: &str = ": free some by removing unused images, stopped containers and build cache (prune), or give the state root more room";
