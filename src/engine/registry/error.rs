//! Why a registry did not give or take something; in Docker's words, and with what to do next.

use std::time::Duration;

use crate::engine::error::{EngineError, ErrorKind};
use crate::engine::layer::Digest;

/// A failed exchange with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answered.
    #[error("{method} \"{url}\": {reason}{advice}")]
    Unreachable {
        /// The request's method in Go's spelling (`Get`).
        method: String,
        /// What was asked for.
        url: String,
        /// The innermost cause (`dial tcp 127.0.0.1:5000: connect: connection refused`).
        reason: String,
        /// What to do next, with a separator; empty where nothing can be said.
        advice: &'static str,
    },
    /// The registry refused.
    #[error("{}", refusal(*status, code, message))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The registry's code (`MANIFEST_UNKNOWN`), empty if it gave none.
        code: String,
        /// The registry's words.
        message: String,
    },
    /// It asks to come back much later.
    #[error("toomanyrequests: the registry asks to wait {} seconds; log in for a higher limit, or try again then", after.as_secs())]
    TooMany {
        /// After how long.
        after: Duration,
    },
    /// Other bytes came than the digest names.
    #[error(
        "filesystem layer verification failed for digest {expected}: got {found}; the registry or a proxy on the way changed it, pull again"
    )]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// More bytes came than were announced.
    #[error("blob {digest} is larger than the {size} bytes its manifest announces")]
    TooLarge {
        /// Which blob.
        digest: Digest,
        /// How many bytes it should have.
        size: u64,
    },
    /// The registry's answer can't be used.
    #[error("{what}: {reason}")]
    Answer {
        /// Which answer.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The image is not made for the platform that was asked for.
    #[error("no matching manifest for {wanted} in the manifest list entries{}", available(offered))]
    Platform {
        /// The platform asked for.
        wanted: String,
        /// The platforms there are.
        offered: Vec<String>,
    },
    /// The TLS settings of this host can't be used.
    #[error("prepare TLS: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
}

fn available(offered: &[String]) -> String {
    if offered.is_empty() { String::new() } else { format!("; there are {}", offered.join(", ")) }
}

/// The registry's code in the distribution project's own spelling, then its words.
fn refusal(status: u16, code: &str, message: &str) -> String {
    let name = code.to_lowercase().replace('_', " ");
    match (name.as_str(), message) {
        ("", "") => format!("received unexpected HTTP status: {status}"),
        ("", message) => format!("received unexpected HTTP status: {status}: {message}"),
        ("toomanyrequests", message) => format!("toomanyrequests: {message}"),
        (name, "") => name.to_owned(),
        (name, message) => format!("{name}: {message}"),
    }
}

impl RegistryError {
    /// From a failed request.
    pub(super) fn from_request(method: &str, url: &str, error: &reqwest::Error) -> Self {
        let mut reason = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(next) = cause {
            reason = next.to_string();
            cause = next.source();
        }
        let host = reqwest::Url::parse(url).ok().map(|url| {
            let port = url.port_or_known_default().unwrap_or(443);
            format!("{}:{port}", url.host_str().unwrap_or_default())
        });
        let host = host.unwrap_or_default();
        let lower = reason.to_lowercase();
        let (reason, advice) = if lower.contains("connection refused") {
            (format!("dial tcp {host}: connect: connection refused"), "; is a registry running there?")
        } else if lower.contains("lookup") || lower.contains("resolve") || lower.contains("name or service") {
            let name = host.split(':').next().unwrap_or_default();
            (
                format!("dial tcp: lookup {name}: no such host"),
                "; check the registry's name in the image reference, and this host's network and DNS",
            )
        } else if lower.contains("unreachable") {
            (format!("dial tcp {host}: connect: {lower}"), "; check this host's network")
        } else if lower.contains("certificate") || lower.contains("unknownissuer") {
            (
                format!("tls: failed to verify certificate: {reason}"),
                "; put the registry's CA into this host's certificate store",
            )
        } else if error.is_timeout() || lower.contains("timed out") {
            (format!("dial tcp {host}: i/o timeout"), "; check this host's network, or try again later")
        } else {
            (reason, "")
        };
        let mut method = method.to_ascii_lowercase();
        if let Some(first) = method.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Self::Unreachable { method, url: url.to_owned(), reason, advice }
    }

    /// Whether the same request may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { reason, .. } => {
                !reason.contains("refused") && !reason.contains("no such host") && !reason.contains("certificate")
            }
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// The error of a pull or push of the image `name`, in Docker's words.
    pub fn about(self, name: &str, repository: &str) -> EngineError {
        let (kind, message) = match &self {
            Self::Refused { status, code, .. } => match (*status, code.as_str()) {
                (_, "MANIFEST_UNKNOWN") | (404, "") => (
                    ErrorKind::NotFound,
                    format!(
                        "manifest for {name} not found: {self}; check the tag, or look up which tags the registry has"
                    ),
                ),
                (_, "NAME_UNKNOWN") | (404, _) => (
                    ErrorKind::NotFound,
                    format!("repository {repository} not found: {self}; check the name's spelling"),
                ),
                (_, "DENIED") | (403, "") => (
                    ErrorKind::NotFound,
                    format!(
                        "pull access denied for {repository}, repository does not exist or may require 'docker login': {self}"
                    ),
                ),
                (401, _) | (_, "UNAUTHORIZED") => (
                    ErrorKind::Unauthorized,
                    format!("{}; log in to the registry with 'docker login' first", unauthorized(&self)),
                ),
                _ => (ErrorKind::System, self.to_string()),
            },
            Self::Unreachable { .. } | Self::TooMany { .. } => (ErrorKind::System, self.to_string()),
            Self::Platform { .. } => (ErrorKind::NotFound, self.to_string()),
            _ => (ErrorKind::System, self.to_string()),
        };
        EngineError::new(kind, message).because(self)
    }
}

fn unauthorized(error: &RegistryError) -> String {
    match error {
        RegistryError::Refused { code, .. } if code.is_empty() => "unauthorized: authentication required".to_owned(),
        other => other.to_string(),
    }
}
