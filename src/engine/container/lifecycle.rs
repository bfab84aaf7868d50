//! The verbs that move a container from state to state: start, stop, kill, restart, pause, unpause, rename, wait.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models as docker;

use super::Waiting;
use super::health::note_rest;
use super::live::{Container, Intent};
use super::names::valid_name;
use super::options::{RemoveContainer, StopOptions, StopTimeout, WaitCondition};
use super::record::ContainerRecord;
use super::room::Room;
use super::signal::{SIGKILL, SIGTERM, parse_signal};
use super::state::State;
use crate::engine::EngineError;
use crate::engine::error::ErrorKind;
use crate::engine::shim::{Asked, ShimError, Target};

/// How long a stop waits where nothing else is said (Docker's default).
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a SIGKILL may take; longer means that the kernel holds a process.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// How long a container takes to end that ends by its signal at once, in the middle of many that do so.
const USUAL_END: Duration = Duration::from_millis(25);

/// How long a shim may take to pass a signal on before something is wrong.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// Who ends a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Whoever asks for it, be it in years and of another engine.
    UntilTold,
    /// The verb that froze it; where its engine is killed meanwhile, the next one.
    WhileAtWork,
}

impl Room {
    /// `POST /containers/{id}/start`.
    pub async fn start(self: &Arc<Self>, id: &str) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        let _verb = container.verb.lock().await;
        if matches!(container.record().state, State::Restarting { .. }) {
            return Err(EngineError::new(ErrorKind::NotModified, "container is already running"));
        }
        let started = self.launch(&container, 0).await;
        if let Err(error) = &started {
            let record = container.record();
            if record.is_auto_removed() && !record.state.is_running() && error.kind() != ErrorKind::NotModified {
                let options = RemoveContainer { volumes: true, ..RemoveContainer::default() };
                if let Err(error) = self.remove_locked(&container, options).await {
                    tracing::warn!(container = container.id, %error, "it was to remove itself and is still here");
                }
            }
        }
        started
    }

    /// `POST /containers/{id}/stop`.
    pub async fn stop(self: &Arc<Self>, id: &str, options: StopOptions) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        if let Some(signal) = options.signal.as_deref().filter(|signal| !signal.is_empty()) {
            parse_signal(signal)?;
        }
        let _verb = container.verb.lock().await;
        container.record().state.may_stop()?;
        self.stop_locked(&container, &options, Intent::Stop)
            .await
            .map_err(|error| wrapped(&error, format!("cannot stop container: {id}")))?;
        container.publish(&self.rooms.events, "stop", []);
        Ok(())
    }

    /// `POST /containers/{id}/restart`.
    pub async fn restart(self: &Arc<Self>, id: &str, options: StopOptions) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        if let Some(signal) = options.signal.as_deref().filter(|signal| !signal.is_empty()) {
            parse_signal(signal)?;
        }
        let _verb = container.verb.lock().await;
        if container.record().state.may_stop().is_ok() {
            self.stop_locked(&container, &options, Intent::Restart)
                .await
                .map_err(|error| wrapped(&error, format!("Cannot restart container {id}")))?;
            container.publish(&self.rooms.events, "stop", []);
        }
        self.launch(&container, 0).await.map_err(|error| wrapped(&error, format!("Cannot restart container {id}")))?;
        container.publish(&self.rooms.events, "restart", []);
        Ok(())
    }

    /// Stops a container whose verb lock is held: signal, grace, SIGKILL.
    pub async fn stop_locked(
        self: &Arc<Self>,
        container: &Arc<Container>,
        options: &StopOptions,
        intent: Intent,
    ) -> Result<(), EngineError> {
        let record = container.record();
        if matches!(record.state, State::Restarting { .. }) && container.shim().is_none() {
            return self.give_up_restart(container, intent).await;
        }
        self.end_for_good(container, intent).await;
        let signal = match options.signal.as_deref().filter(|signal| !signal.is_empty()) {
            Some(signal) => parse_signal(signal)?,
            None => stop_signal(&record),
        };
        let grace = options.timeout.unwrap_or_else(|| stop_timeout(&record));
        let usual_end = match grace {
            StopTimeout::Never => USUAL_END,
            StopTimeout::After(grace) => grace.min(USUAL_END),
        };
        self.signal_to_end(container, signal, usual_end).await?;
        let ended = match grace {
            StopTimeout::Never => {
                container.settled().await;
                true
            }
            StopTimeout::After(grace) => tokio::time::timeout(grace, container.settled()).await.is_ok(),
        };
        if ended { Ok(()) } else { self.kill_and_wait(container).await }
    }

    /// Says why the next exit will happen, to the shim, too: its restart policy shall not undo it.
    pub async fn end_for_good(&self, container: &Container, intent: Intent) {
        container.intend(intent);
        let _turn = self.turn_to_end().await;
        let Some(shim) = container.shim() else { return };
        let why = if intent == Intent::Restart { Asked::ToStartAnew } else { Asked::ToStop };
        if let Err(error) = shim.last_run(why).await {
            tracing::debug!(container = container.id, %error, "its shim knows no restart policy, or is gone");
        }
    }

    async fn give_up_restart(&self, container: &Container, intent: Intent) -> Result<(), EngineError> {
        container.restart_cancelled.notify_waiters();
        container
            .change(|record| {
                if let State::Restarting { exit } = &record.state {
                    record.state = State::Exited { exit: exit.clone() };
                }
                record.is_stopped_by_person |= intent == Intent::Stop;
                Ok(())
            })
            .await?;
        container.beat(|pulse| pulse.is_running = false);
        Ok(())
    }

    /// `POST /containers/{id}/kill`.
    pub async fn kill(self: &Arc<Self>, id: &str, signal: &str) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        let signal = if signal.is_empty() { SIGKILL } else { parse_signal(signal)? };
        let refuse = |error: EngineError| wrapped(&error, format!("cannot kill container: {id}"));
        let _verb = container.verb.lock().await;
        let record = container.record();
        if matches!(record.state, State::Restarting { .. }) {
            let options = StopOptions { timeout: Some(StopTimeout::After(Duration::ZERO)), ..StopOptions::default() };
            return self.stop_locked(&container, &options, Intent::Stop).await.map_err(refuse);
        }
        record.state.may_signal(&container.id).map_err(refuse)?;
        if signal == SIGKILL || signal == stop_signal(&record) || signal == SIGTERM {
            self.end_for_good(&container, Intent::Stop).await;
        }
        if signal == SIGKILL {
            return self.kill_and_wait(&container).await.map_err(refuse);
        }
        self.signal(&container, signal).await.map_err(refuse)
    }

    /// Sends a signal that is to end the container, in turn. The turn lasts until it has ended, `at_most` so long.
    async fn signal_to_end(&self, container: &Container, signal: i32, at_most: Duration) -> Result<(), EngineError> {
        let _turn = self.turn_to_end().await;
        self.signal(container, signal).await?;
        let _ = tokio::time::timeout(at_most, container.settled()).await; // whoever takes longer ends beside the others
        Ok(())
    }

    /// Sends `signal` to the first process; one that is paused goes on, so that the signal takes effect.
    async fn signal(&self, container: &Container, signal: i32) -> Result<(), EngineError> {
        // Without a shim it ended since the verb began, as one that waited for its restart does when it is told to.
        let Some(shim) = container.shim() else { return Ok(()) };
        let mut signalling = pin!(shim.signal(Target::Init, signal));
        let signalled = match tokio::time::timeout(STUCK_AFTER, &mut signalling).await {
            Ok(signalled) => signalled,
            // A shim that was about to run a process when the container was frozen waits until that one may go on.
            Err(_) => {
                if matches!(container.record().state, State::Paused(_)) {
                    self.thaw(container).await?;
                }
                signalling.await
            }
        };
        match signalled {
            Ok(()) => {}
            // It ended meanwhile: what the signal was for has happened.
            Err(ShimError::NoSuchTarget { .. } | ShimError::State { .. } | ShimError::Gone { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        container.publish(&self.rooms.events, "kill", [("signal", signal.to_string())]);
        if matches!(container.record().state, State::Paused(_)) {
            self.thaw(container).await?;
        }
        Ok(())
    }

    /// SIGKILL, and waits for the end. A first process that does not go is followed by all others of its cgroup.
    pub async fn kill_and_wait(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), EngineError> {
        self.signal_to_end(container, SIGKILL, USUAL_END).await?;
        if tokio::time::timeout(KILL_LIMIT, container.settled()).await.is_ok() {
            return Ok(());
        }
        let (cgroups, path) = (self.cgroups.clone(), self.cgroup_of(&container.record()));
        // Its own refusal says less than that the container is still there.
        let _ = tokio::task::spawn_blocking(move || cgroups.kill_all(&path)).await;
        tokio::time::timeout(KILL_LIMIT, container.settled()).await.map_err(|_| {
            EngineError::system(format!(
                "tried to kill container, but did not receive an exit event; process {} may be stuck in the kernel",
                container.record().state.alive().map_or(0, |alive| alive.pid)
            ))
        })
    }

    /// `POST /containers/{id}/pause`.
    pub async fn pause(self: &Arc<Self>, id: &str) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        let _verb = container.verb.lock().await;
        self.freeze(&container, Pause::UntilTold).await?;
        container.publish(&self.rooms.events, "pause", []);
        Ok(())
    }

    /// `POST /containers/{id}/unpause`.
    pub async fn unpause(self: &Arc<Self>, id: &str) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        let _verb = container.verb.lock().await;
        container.record().state.may_unpause(&container.id)?;
        self.thaw(&container).await
    }

    /// Freezes a container whose verb lock is held. Shown first: nobody finds one that stands still and is called
    /// running. What is on disk decides whether the next engine lets it go on.
    pub async fn freeze(&self, container: &Container, pause: Pause) -> Result<(), EngineError> {
        let path = self.cgroup_of(&container.record());
        let edit = |record: &mut ContainerRecord| {
            let alive = record.state.may_pause(&record.id)?.clone();
            record.state = State::Paused(alive);
            Ok(())
        };
        match pause {
            Pause::UntilTold => {
                container.change(edit).await?;
                container.change_unwritten(note_rest).await;
            }
            Pause::WhileAtWork => {
                let mut edited = Ok(());
                container.change_unwritten(|record| edited = edit(record)).await;
                edited?;
            }
        }
        let cgroups = self.cgroups.clone();
        let frozen = Self::blocking(move || {
            cgroups.freeze(&path).map_err(|error| EngineError::system(error.to_string()).because(error))
        });
        if let Err(error) = frozen.await {
            container.change(go_on).await?;
            return Err(wrapped(&error, format!("cannot pause container {}", container.id)));
        }
        Ok(())
    }

    /// Lets a paused container go on.
    pub async fn thaw(&self, container: &Container) -> Result<(), EngineError> {
        let (cgroups, path) = (self.cgroups.clone(), self.cgroup_of(&container.record()));
        Self::blocking(move || {
            cgroups.thaw(&path).map_err(|error| EngineError::system(error.to_string()).because(error))
        })
        .await
        .map_err(|error| wrapped(&error, format!("Cannot unpause container {}", container.id)))?;
        container.change(go_on).await?;
        container.publish(&self.rooms.events, "unpause", []);
        Ok(())
    }

    /// `POST /containers/{id}/rename`.
    pub async fn rename(self: &Arc<Self>, id: &str, name: &str) -> Result<(), EngineError> {
        if id.is_empty() || name.is_empty() {
            return Err(EngineError::invalid("Neither old nor new names may be empty"));
        }
        let container = self.index.find(id)?;
        let _verb = container.verb.lock().await;
        let name =
            valid_name(name).map_err(|error| wrapped(&error, "Error when allocating new name".to_owned()))?.to_owned();
        let old = container.record().name.clone();
        if old == name {
            return Err(EngineError::invalid("Renaming a container with the same name as its current name"));
        }
        self.index
            .reserve(&name, &container.id)
            .map_err(|error| wrapped(&error, "Error when allocating new name".to_owned()))?;
        let endpoints = match self.rooms.networks.rename(&container.id, &name).await {
            Ok(endpoints) => endpoints,
            Err(error) => {
                self.index.release(&name, &container.id);
                return Err(error);
            }
        };
        let renamed = container.change(|record| {
            record.name.clone_from(&name);
            for endpoint in endpoints {
                if let Some(place) = record.networks.get_mut(&endpoint.network_name) {
                    place.endpoint = Some(endpoint);
                }
            }
            Ok(())
        });
        if let Err(error) = renamed.await {
            self.index.release(&name, &container.id);
            return Err(error);
        }
        self.index.release(&old, &container.id);
        container.publish(&self.rooms.events, "rename", [("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// `POST /containers/{id}/wait`: watches from now on.
    pub fn wait(&self, id: &str, condition: WaitCondition) -> Result<Waiting, EngineError> {
        let container = self.index.find(id)?;
        let mut pulse = container.pulse();
        let exits = pulse.borrow_and_update().exits;
        // A container that never ran and is waited for by `not-running` is done at once, as in Docker.
        Ok(Box::pin(async move {
            let seen = pulse
                .wait_for(|pulse| {
                    pulse.is_removed
                        || match condition {
                            // A restarting container has stopped once: dockerd tells those who wait for it.
                            WaitCondition::NotRunning => !pulse.is_running || pulse.exits > exits,
                            WaitCondition::NextExit => pulse.exits > exits,
                            WaitCondition::Removed => false,
                        }
                })
                .await
                .map(|pulse| pulse.exit.clone());
            let code = match seen {
                Ok(Some(exit)) => exit.code,
                // It never ran: Docker answers 0, or the failed start's code.
                _ => match &container.record().state {
                    State::Created { failure: Some(failure) } => failure.code,
                    _ => 0,
                },
            };
            docker::ContainerWaitResponse { status_code: code, error: None }
        }))
    }
}

/// A paused record's return to running; nothing where it ended meanwhile.
pub fn go_on(record: &mut ContainerRecord) -> Result<(), EngineError> {
    if let State::Paused(alive) = &record.state {
        record.state = State::Running(alive.clone());
    }
    Ok(())
}

/// The signal a container is stopped with.
pub fn stop_signal(record: &ContainerRecord) -> i32 {
    record.config.stop_signal.as_deref().and_then(|signal| parse_signal(signal).ok()).unwrap_or(SIGTERM)
}

fn stop_timeout(record: &ContainerRecord) -> StopTimeout {
    record.config.stop_timeout.map_or(StopTimeout::After(STOP_TIMEOUT), StopTimeout::from_seconds)
}

/// The same refusal with what was attempted before it.
pub fn wrapped(error: &EngineError, attempted: String) -> EngineError {
    EngineError::new(error.kind(), format!("{attempted}: {}", error.message()))
}
