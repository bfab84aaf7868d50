//! Why a shim could not do as an engine asked.

use std::io;
use std::path::PathBuf;

use super::protocol::{ProtocolError, Refusal, RefusalKind};
use crate::engine::store::RecordError;
use crate::engine::{EngineError, ErrorKind};

/// A shim's refusal, or that it could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The container could not be set up; the message names the step. Nothing is left of it.
    #[error("{message}")]
    Create {
        /// Which step failed and why.
        message: String,
        /// 128, or 127 and 126 where the program itself is missing or unusable.
        code: i64,
    },
    /// The program could not be run. After `start` nothing is left of the container; after `exec` it runs on.
    #[error("{message}")]
    Start {
        /// 127: not found; 126: found but not executable; 128: anything else.
        code: i64,
        /// In Docker's words.
        message: String,
    },
    /// The request does not fit the container's state.
    #[error("{message}")]
    State {
        /// Which state is in the way.
        message: String,
    },
    /// There is no such exec, or it has no terminal.
    #[error("{message}")]
    NoSuchTarget {
        /// Which one.
        message: String,
    },
    /// The shim is an older one and can't do this.
    #[error("{message}")]
    Unsupported {
        /// What it did not understand.
        message: String,
    },
    /// The kernel refused it.
    #[error("{message}")]
    System {
        /// What was attempted and the kernel's answer.
        message: String,
    },
    /// The shim is no more.
    #[error("the container's shim is gone{}", if complaint.is_empty() { String::new() } else { format!(": {complaint}") })]
    Gone {
        /// Its last words, if it had any.
        complaint: String,
    },
    /// The shim did not answer in time.
    #[error("the container's shim did not answer within {seconds} s")]
    Timeout {
        /// How long it had.
        seconds: u64,
    },
    /// It answered something else than was asked.
    #[error("the container's shim answered out of turn")]
    Confused,
    /// A message was broken.
    #[error("talk to the container's shim: {0}")]
    Protocol(#[from] ProtocolError),
    /// `shim.json` or `shim.pid` could not be written or read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A process or socket could not be made.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ShimError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// The exit code Docker reports for it: 127, 126 or 128.
    pub fn exit_code(&self) -> i64 {
        match self {
            Self::Create { code, .. } | Self::Start { code, .. } => *code,
            _ => 128,
        }
    }
}

impl From<Refusal> for ShimError {
    fn from(Refusal { kind, code, message }: Refusal) -> Self {
        match kind {
            RefusalKind::Create => Self::Create { message, code },
            RefusalKind::Start => Self::Start { code, message },
            RefusalKind::State => Self::State { message },
            RefusalKind::NoSuchTarget => Self::NoSuchTarget { message },
            RefusalKind::Unknown => Self::Unsupported { message },
            RefusalKind::System | RefusalKind::Other => Self::System { message },
        }
    }
}

impl From<ShimError> for EngineError {
    fn from(error: ShimError) -> Self {
        let kind = match &error {
            // Docker answers 400 where the program is at fault and 500 where the set-up is.
            ShimError::Start { code: 126 | 127, .. } | ShimError::Create { code: 126 | 127, .. } => {
                ErrorKind::InvalidParameter
            }
            ShimError::State { .. } => ErrorKind::Conflict,
            ShimError::NoSuchTarget { .. } => ErrorKind::NotFound,
            ShimError::Unsupported { .. } => ErrorKind::NotImplemented,
            _ => ErrorKind::System,
        };
        EngineError::new(kind, error.to_string()).because(error)
    }
}
