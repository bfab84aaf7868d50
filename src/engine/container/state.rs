//! The life of a container: every state owns what is true only in it, and every refusal is made here, in Docker's words.
//!
//! ```text
//! Created --start--> Running <--pause/unpause--> Paused
//!    ^                  | exits                    | killed
//!    | start fails      v                          v
//!    +-----------  Exited / Restarting --start--> Running        any --remove--> Removing --> gone
//! ```
//! `Dead` is what is left of a container whose removal failed half way; it can only be removed again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use bollard_stubs::models::{ContainerStateStatusEnum, ContainerSummaryStateEnum};

use crate::engine::EngineError;
use crate::engine::error::ErrorKind;

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// Made, and never successfully started.
    Created {
        /// Why the last start failed, where one was tried.
        failure: Option<StartFailure>,
    },
    /// Its first process runs.
    Running(Alive),
    /// Its processes are frozen.
    Paused(Alive),
    /// It ended and will be started again by its restart policy.
    Restarting {
        /// How it ended.
        exit: Exit,
    },
    /// It is being removed.
    Removing {
        /// How it ended, where it ran.
        exit: Option<Exit>,
    },
    /// It ran and ended.
    Exited {
        /// How.
        exit: Exit,
    },
    /// Its removal failed half way.
    Dead {
        /// What could not be removed.
        why: String,
        /// How it ended, where it ran.
        exit: Option<Exit>,
    },
}

/// What is true of a container with processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Its first process, as the host numbers it.
    pub pid: u32,
    /// When that was started.
    pub started_at: Timestamp,
    /// Whether the kernel killed one of its processes for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code: the process's own, 128 + signal, or 125 to 127 where it could not run.
    pub code: i64,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel killed one of its processes for want of memory.
    pub oom_killed: bool,
    /// When it had been started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// What else there is to say; empty mostly.
    pub error: String,
}

/// Why a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// 127: not found; 126: not executable; 128: anything else.
    pub code: i64,
    /// The step and the cause.
    pub message: String,
}

impl State {
    /// What is true of it while it has processes.
    pub fn alive(&self) -> Option<&Alive> {
        match self {
            Self::Running(alive) | Self::Paused(alive) => Some(alive),
            _ => None,
        }
    }

    /// How it last ended.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Restarting { exit } | Self::Exited { exit } => Some(exit),
            Self::Removing { exit } | Self::Dead { exit, .. } => exit.as_ref(),
            _ => None,
        }
    }

    /// Whether it counts as running: also while it is paused or between two restarts, as in Docker.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_) | Self::Paused(_) | Self::Restarting { .. })
    }

    /// Docker's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Running(_) => "running",
            Self::Paused(_) => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Removing { .. } => "removing",
            Self::Exited { .. } => "exited",
            Self::Dead { .. } => "dead",
        }
    }

    /// The API's value for inspect.
    pub fn status(&self) -> ContainerStateStatusEnum {
        match self {
            Self::Created { .. } => ContainerStateStatusEnum::CREATED,
            Self::Running(_) => ContainerStateStatusEnum::RUNNING,
            Self::Paused(_) => ContainerStateStatusEnum::PAUSED,
            Self::Restarting { .. } => ContainerStateStatusEnum::RESTARTING,
            Self::Removing { .. } => ContainerStateStatusEnum::REMOVING,
            Self::Exited { .. } => ContainerStateStatusEnum::EXITED,
            Self::Dead { .. } => ContainerStateStatusEnum::DEAD,
        }
    }

    /// The API's value for lists.
    pub fn summary(&self) -> ContainerSummaryStateEnum {
        match self {
            Self::Created { .. } => ContainerSummaryStateEnum::CREATED,
            Self::Running(_) => ContainerSummaryStateEnum::RUNNING,
            Self::Paused(_) => ContainerSummaryStateEnum::PAUSED,
            Self::Restarting { .. } => ContainerSummaryStateEnum::RESTARTING,
            Self::Removing { .. } => ContainerSummaryStateEnum::REMOVING,
            Self::Exited { .. } => ContainerSummaryStateEnum::EXITED,
            Self::Dead { .. } => ContainerSummaryStateEnum::DEAD,
        }
    }

    /// May it be started?
    ///
    /// # Errors
    /// 304 where it runs; 409 where it is paused or going away.
    pub fn may_start(&self) -> Result<(), EngineError> {
        match self {
            Self::Created { .. } | Self::Exited { .. } | Self::Restarting { .. } => Ok(()),
            Self::Running(_) => Err(EngineError::new(ErrorKind::NotModified, "container is already running")),
            Self::Paused(_) => Err(EngineError::conflict("cannot start a paused container, try unpause instead")),
            Self::Removing { .. } | Self::Dead { .. } => {
                Err(EngineError::conflict("container is marked for removal and cannot be started"))
            }
        }
    }

    /// May it be stopped?
    ///
    /// # Errors
    /// 304 where it does not run.
    pub fn may_stop(&self) -> Result<(), EngineError> {
        if self.is_running() {
            return Ok(());
        }
        Err(EngineError::new(ErrorKind::NotModified, "container is already stopped"))
    }

    /// May a signal be sent to it?
    ///
    /// # Errors
    /// 409 where it has no process.
    pub fn may_signal(&self, id: &str) -> Result<&Alive, EngineError> {
        match self {
            Self::Running(alive) | Self::Paused(alive) => Ok(alive),
            _ => Err(not_running(id)),
        }
    }

    /// May it be paused?
    ///
    /// # Errors
    /// 409 where it does not run or already is.
    pub fn may_pause(&self, id: &str) -> Result<&Alive, EngineError> {
        match self {
            Self::Running(alive) => Ok(alive),
            Self::Paused(_) => Err(EngineError::conflict(format!("container {id} is already paused"))),
            Self::Restarting { .. } => Err(restarting(id)),
            _ => Err(not_running(id)),
        }
    }

    /// May it be unpaused?
    ///
    /// # Errors
    /// 500 where it is not paused, as Docker answers.
    pub fn may_unpause(&self, id: &str) -> Result<&Alive, EngineError> {
        match self {
            Self::Paused(alive) => Ok(alive),
            _ => Err(EngineError::system(format!("Container {id} is not paused"))),
        }
    }

    /// May a process be run in it, or a terminal be resized, or its processes be listed?
    ///
    /// # Errors
    /// 409 where it has no process that could answer; `verb` names what was tried on a paused one.
    pub fn may_enter(&self, id: &str, verb: &str) -> Result<&Alive, EngineError> {
        match self {
            Self::Running(alive) => Ok(alive),
            Self::Paused(_) => {
                Err(EngineError::conflict(format!("container {id} is paused, unpause the container before {verb}")))
            }
            Self::Restarting { .. } => Err(restarting(id)),
            _ => Err(not_running(id)),
        }
    }

    /// May its streams be attached to?
    ///
    /// # Errors
    /// 409 where it is paused or between two restarts.
    pub fn may_attach(&self, id: &str) -> Result<(), EngineError> {
        match self {
            Self::Paused(_) => {
                Err(EngineError::conflict(format!("container {id} is paused, unpause the container before attach")))
            }
            Self::Restarting { .. } => Err(restarting(id)),
            _ => Ok(()),
        }
    }

    /// May it be removed, without killing it?
    ///
    /// # Errors
    /// 409 while it runs or is being removed; `name` without the slash.
    pub fn may_remove(&self, id: &str, name: &str) -> Result<(), EngineError> {
        match self {
            Self::Paused(_) => Err(EngineError::conflict(format!(
                "cannot remove container \"/{name}\": container is paused and must be unpaused first"
            ))),
            Self::Running(_) | Self::Restarting { .. } => Err(EngineError::conflict(format!(
                "cannot remove container \"/{name}\": container is {}: stop the container before removing or force remove",
                self.word()
            ))),
            Self::Removing { .. } => Err(removing(id)),
            Self::Created { .. } | Self::Exited { .. } | Self::Dead { .. } => Ok(()),
        }
    }
}

/// Docker's refusal where a process is needed and there is none.
pub fn not_running(id: &str) -> EngineError {
    EngineError::conflict(format!("container {id} is not running"))
}

/// Docker's refusal between two restarts.
fn restarting(id: &str) -> EngineError {
    EngineError::conflict(format!("container {id} is restarting, wait until the container is running"))
}

/// Docker's refusal of a second removal.
pub fn removing(id: &str) -> EngineError {
    EngineError::conflict(format!("removal of container {id} is already in progress"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    pub fn running() -> State {
        State::Running(Alive { pid: 42, started_at: at("2026-01-01T00:00:00Z"), oom_killed: false })
    }

    pub fn exited(code: i64) -> State {
        State::Exited {
            exit: Exit {
                code,
                signal: None,
                oom_killed: false,
                started_at: at("2026-01-01T00:00:00Z"),
                finished_at: at("2026-01-01T00:01:00Z"),
                error: String::new(),
            },
        }
    }

    #[test]
    fn refusals_are_dockers() {
        let kinds =
            |result: Result<(), EngineError>| result.map_err(|error| (error.kind(), error.message().to_owned()));
        assert_eq!(
            kinds(running().may_remove("1", "web")),
            Err((
                ErrorKind::Conflict,
                "cannot remove container \"/web\": container is running: stop the container before removing or force \
                 remove"
                    .to_owned()
            ))
        );
        assert_eq!(kinds(running().may_start()).unwrap_err().0, ErrorKind::NotModified);
        assert_eq!(kinds(exited(0).may_stop()).unwrap_err().0, ErrorKind::NotModified);
        assert_eq!(exited(0).may_signal("1").unwrap_err().message(), "container 1 is not running");
        assert!(kinds(exited(0).may_start()).is_ok() && kinds(exited(0).may_remove("1", "x")).is_ok());
        assert_eq!(
            exited(0).may_enter("1", "exec").unwrap_err().message(),
            "container 1 is not running",
            "an exec needs a live container"
        );
    }

    #[test]
    fn a_state_survives_its_record() {
        for state in
            [State::Created { failure: None }, running(), exited(3), State::Dead { why: "x".into(), exit: None }]
        {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "{text}");
        }
    }
}
