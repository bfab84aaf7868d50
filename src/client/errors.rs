//! What can go wrong between us and a Docker host.

use std::io;
use std::time::Duration;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host can't be reached.
    #[error("connect to {address}: {source}")]
    Connect {
        /// Where the host should be, as a URL.
        address: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The host understood and refused; `message` is its own text.
    #[error("{message}")]
    DockerResponseServerError {
        /// HTTP status.
        status_code: u16,
        /// The host's words.
        message: String,
    },
    /// A stream of progress ended with an error record.
    #[error("{error}")]
    DockerStreamError {
        /// The host's words.
        error: String,
    },
    /// The answer is no document of the expected type.
    #[error("unexpected answer from the Docker host: {source}")]
    JsonDataError {
        /// Where and why the document ends being valid.
        #[from]
        source: serde_json::Error,
    },
    /// The host did not answer in time.
    #[error("no answer from the Docker host in {} s", .0.as_secs())]
    RequestTimeout(Duration),
    /// The connection broke under the call.
    #[error("connection to the Docker host lost: {0}")]
    Http(#[from] hyper::Error),
    /// The connection broke under a stream.
    #[error("connection to the Docker host lost: {0}")]
    Io(#[from] io::Error),
    /// A name or an option can't be put into a request.
    #[error("not a valid request: {0}")]
    InvalidRequest(#[from] http::Error),
    /// A host's address is in no form we speak.
    #[error("{host}: {reason}")]
    UnsupportedHost {
        /// The address as given.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host did not switch protocols where it must.
    #[error("the Docker host did not open a stream (status {status_code})")]
    NotUpgraded {
        /// HTTP status it sent instead of 101.
        status_code: u16,
    },
}

impl Error {
    /// The HTTP status, where the host gave one.
    pub fn status_code(&self) -> Option<u16> {
        match self {
            Self::DockerResponseServerError { status_code, .. } | Self::NotUpgraded { status_code } => {
                Some(*status_code)
            }
            _ => None,
        }
    }

    /// Whether the host is not there at all (any more), as against refusing a call.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Http(_) | Self::Io(_))
    }
}
