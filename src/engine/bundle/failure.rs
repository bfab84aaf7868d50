//! A call that failed, told as runc tells it: a line of the log, which containerd and podman read, and a line on
//! standard error.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::engine::oci::spec::SpecError;
use crate::engine::runtime::StepError;
use crate::engine::runtime::cgroup::CgroupError;

/// Why a call failed, in the words that callers look for.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Failure {
    words: String,
    code: u8,
}

impl Failure {
    pub(super) fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), code: 1 }
    }

    /// The call itself makes no sense.
    pub(super) fn usage(words: impl Into<String>) -> Self {
        Self::new(words)
    }

    pub(super) fn does_not_exist() -> Self {
        Self::new("container does not exist")
    }

    pub(super) fn is_not_running() -> Self {
        Self::new("container not running")
    }

    /// The status to end with.
    pub(super) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Writes it to the log only.
    pub(super) fn log(&self, log: &Log) {
        log.error(&self.words);
    }

    /// Writes it to the log and to standard error.
    pub(super) fn tell(&self, log: &Log) -> ExitCode {
        log.error(&self.words);
        eprintln!("{}", self.words);
        ExitCode::from(self.code)
    }

    /// Puts what was attempted before the words.
    pub(super) fn during(self, attempted: &str) -> Self {
        Self { words: format!("{attempted}: {}", self.words), ..self }
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self::new(format!("unable to start container process: {error}"))
    }
}

impl From<CgroupError> for Failure {
    fn from(error: CgroupError) -> Self {
        Self::new(error.to_string())
    }
}

/// Names what was attempted on what.
pub(super) trait Attempt<T> {
    fn attempt(self, words: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Attempt<T> for Result<T, E> {
    fn attempt(self, words: impl Display) -> Result<T, Failure> {
        self.map_err(|error| {
            // as Go's programs write it, which is what callers know
            let error = error.to_string();
            let error = error.split(" (os error").next().unwrap_or_default();
            let error = error.strip_prefix("No such").map_or_else(|| error.to_owned(), |rest| format!("no such{rest}"));
            Failure::new(format!("{words}: {error}"))
        })
    }
}

/// Where failures are logged.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The file; nothing is standard error, where they go anyway.
    pub path: Option<PathBuf>,
    /// Whether its lines are JSON.
    pub is_json: bool,
}

impl Log {
    fn error(&self, words: &str) {
        let Some(path) = &self.path else { return };
        let now = jiff::Timestamp::now();
        let line = if self.is_json {
            serde_json::json!({"level": "error", "msg": words, "time": now.to_string()}).to_string()
        } else {
            format!("time=\"{now}\" level=error msg={words:?}")
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{line}")); // standard error has it as well
    }
}
