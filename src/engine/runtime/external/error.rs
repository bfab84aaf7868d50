//! Why another runtime could not do as the plan says, in the words that Docker's clients expect of one.

use std::io;
use std::path::{Path, PathBuf};

use crate::engine::runtime::StepError;

/// A failure at a container of another runtime.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// A step of ours, before the runtime was asked.
    #[error(transparent)]
    Step(#[from] StepError),
    /// There is no such program, or it can't be executed.
    #[error(
        "runtime \"{name}\" can't be run: {}: {}; put it back there, or name another one with `boxyard serve \
         --add-runtime {name}=PATH`, or create the container anew with --runtime boxyard", path.display(), in_words(source)
    )]
    Missing {
        /// What it is called.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It refused.
    #[error("{message}")]
    Refused {
        /// What it was asked to do: `create`.
        verb: String,
        /// Its own words.
        message: String,
    },
    /// It did not come to an end.
    #[error("runtime \"{name}\" did not finish \"{verb}\" within {seconds} s")]
    Late {
        /// What it is called.
        name: String,
        /// What it was asked to do.
        verb: String,
        /// How long it had.
        seconds: u64,
    },
    /// The bundle could not be written or read.
    #[error("{attempted} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The kernel's answer without its number.
fn in_words(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl ExternalError {
    pub(super) fn io(attempted: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { attempted, path: path.to_owned(), source }
    }

    /// The exit code that Docker reports, which it tells from the runtime's words as well: 127 for a program that is
    /// missing, 126 for one that can't be executed, 128 for all else.
    pub fn exit_code(&self) -> i64 {
        let message = match self {
            Self::Step(error) => return error.exit_code(),
            Self::Refused { message, .. } => message.to_lowercase(),
            _ => return 128,
        };
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if says(&["executable file not found", "no such file or directory"]) {
            127
        } else if says(&["permission denied", "is a directory"]) {
            126
        } else {
            128
        }
    }

    /// The words for Docker's clients where a container does not start.
    pub fn docker_message(&self) -> String {
        match self {
            Self::Step(error) => error.docker_message(),
            Self::Refused { verb, message } => format!(
                "failed to create task for container: failed to create shim task: OCI runtime {verb} failed: {message}: \
                 unknown"
            ),
            _ => self.to_string(),
        }
    }

    /// The same where a further process does not run.
    pub fn docker_exec_message(&self) -> String {
        match self {
            Self::Step(error) => error.docker_exec_message(),
            Self::Refused { message, .. } => format!("OCI runtime exec failed: {message}: unknown"),
            _ => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_from_a_runtimes_words() {
        let code = |message: &str| {
            ExternalError::Refused { verb: "create".to_owned(), message: message.to_owned() }.exit_code()
        };
        assert_eq!(code(r#"runc create failed: exec: "x": executable file not found in $PATH"#), 127);
        assert_eq!(code("executable file `x` not found in $PATH: No such file or directory"), 127);
        assert_eq!(code(r#"exec: "/etc": permission denied"#), 126);
        assert_eq!(code("open executable: Permission denied"), 126);
        assert_eq!(code("mount failed"), 128);
    }

    #[test]
    fn a_runtime_that_is_gone_is_named_with_the_ways_out() {
        let source = io::Error::from_raw_os_error(2);
        let gone = ExternalError::Missing { name: "kata".to_owned(), path: "/opt/kata".into(), source };
        let words = gone.docker_message();
        assert!(words.contains("/opt/kata: no such file") && words.contains("--add-runtime kata=PATH"), "{words}");
    }
}
