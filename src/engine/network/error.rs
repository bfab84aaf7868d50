//! What goes wrong between this room and the kernel, and how it reads at the door.

use std::io;
use std::path::PathBuf;

use crate::engine::EngineError;
use crate::engine::store::RecordError;

/// Why a network operation did not take effect.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused a netlink request.
    #[error("{step} {subject}: {source}")]
    Kernel {
        /// What was attempted, as a verb phrase: `create link`, `add route`.
        step: &'static str,
        /// On what.
        subject: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file under `/proc/sys`, the run root or the state root could not be used.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A record could not be kept.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The thread that was to do the work ended without an answer.
    #[error("{step}: the worker thread is gone")]
    Worker {
        /// What was attempted.
        step: &'static str,
    },
}

impl NetworkError {
    /// The kernel's refusal of `step` on `subject`.
    pub(super) fn kernel(step: &'static str, subject: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let subject = subject.into();
        move |source| Self::Kernel { step, subject, source }
    }
}

impl From<NetworkError> for EngineError {
    fn from(error: NetworkError) -> Self {
        EngineError::system(error.to_string()).because(error)
    }
}
