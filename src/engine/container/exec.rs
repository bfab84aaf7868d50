//! Running further processes in a container.

use std::sync::Arc;

use bollard_stubs::models as docker;
use tokio_util::sync::CancellationToken;

use super::attach::AttachIo;
use super::create::new_id;
use super::detach_keys::{DetachWatch, parse_keys};
use super::ends_on_record::EndsOnRecord;
use super::exec_table::{Exec, ExecState};
use super::live::Container;
use super::options::{Attached, ExecStart, ExecStarted, TerminalSize};
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::oci::{self, ConsoleSize, ExecInput};
use crate::engine::shim::{ExecRequest, ShimError, Target};

/// The exit code of what SIGKILL ended.
const KILLED: i64 = 137;

impl Room {
    /// `POST /containers/{id}/exec`.
    pub fn exec_create(&self, container: &str, config: docker::ExecConfig) -> Result<docker::IdResponse, EngineError> {
        let (asked, container) = (container, self.index.find(container)?);
        let state = container.record().state.clone();
        // Docker names a paused one as it was asked for, the others by ID.
        state.may_enter(if matches!(state, State::Paused(_)) { asked } else { &container.id }, "exec")?;
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(EngineError::invalid("No exec command specified"));
        }
        parse_keys(config.detach_keys.as_deref())?;
        let exec = self.execs.add(new_id()?, container.id.clone(), config);
        self.publish_exec(&container, &exec, "exec_create");
        Ok(docker::IdResponse { id: exec.id.clone() })
    }

    /// `POST /exec/{id}/start`.
    pub async fn exec_start(self: &Arc<Self>, id: &str, options: ExecStart) -> Result<ExecStarted, EngineError> {
        let exec = self.execs.find(id)?;
        let container = self.index.find(&exec.container_id)?;
        let record = container.record();
        record.state.may_enter(&container.id, "exec")?;
        let shim = container.shim().ok_or_else(|| super::state::not_running(&container.id))?;
        exec.begin()?;
        let asks = |wish: Option<bool>| wish == Some(true);
        let tty = asks(exec.config.tty);
        let plan = oci::exec_plan(&ExecInput {
            config: &record.config,
            host_config: &record.host_config,
            exec: &exec.config,
            host: &self.rooms.host,
        });
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                let error = ShimError::Start { code: 126, message: framed(error.message()) };
                return self.exec_failed(&container, &exec, &error, options.detach);
            }
        };
        let size = options.size.map(console_size).or_else(|| asked_size(exec.config.console_size.as_deref()));
        let request = ExecRequest {
            exec_id: exec.id.clone(),
            plan,
            stdin: !options.detach && asks(exec.config.attach_stdin),
            stdout: !options.detach && (asks(exec.config.attach_stdout) || tty),
            stderr: !options.detach && asks(exec.config.attach_stderr),
            tty,
            detach: options.detach,
            size,
        };
        self.publish_exec(&container, &exec, "exec_start");
        let started = match shim.exec(request).await {
            Ok(started) => started,
            Err(error) => return self.exec_failed(&container, &exec, &error, options.detach),
        };
        exec.runs(started.pid);
        let (room, watched, watched_container) = (Arc::clone(self), Arc::clone(&exec), Arc::clone(&container));
        let ended = started.exit;
        let noted = CancellationToken::new();
        let note = noted.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = room.closing.cancelled() => {}
                // With the shim the container is dead, and all that ran in it.
                code = ended => room.exec_ended(&watched_container, &watched.id, code.unwrap_or(KILLED)),
            }
            note.cancel();
        });
        let Some(stream) = started.io else { return Ok(ExecStarted::Detached) };
        let keys = if tty { parse_keys(exec.config.detach_keys.as_deref())? } else { Vec::new() };
        let (events, left, note) = (Arc::clone(&self.rooms.events), Arc::clone(&exec), noted.clone());
        let io = AttachIo::connected(stream, DetachWatch::new(keys)).telling(move || {
            container.publish(&events, "exec_detach", [("execID", left.id.clone())]);
            // It runs on; nobody waits for its end any more.
            note.cancel();
        });
        let io = EndsOnRecord::new(io, noted);
        Ok(ExecStarted::Attached(Attached { tty, io: Box::new(io) }))
    }

    /// Someone attached gets the reason as output and the exit code by inspect, as dockerd does it: by then the
    /// connection is raw. Someone detached gets the refusal.
    fn exec_failed(
        &self,
        container: &Container,
        exec: &Exec,
        error: &ShimError,
        is_detached: bool,
    ) -> Result<ExecStarted, EngineError> {
        let code = error.exit_code();
        let message = exec_message(error);
        exec.end(code);
        self.publish_exec_end(container, exec, code);
        if is_detached || !matches!(error, ShimError::Start { .. } | ShimError::Create { .. }) {
            let kind = if code == 126 || code == 127 {
                crate::engine::ErrorKind::InvalidParameter
            } else {
                crate::engine::ErrorKind::System
            };
            return Err(EngineError::new(kind, message));
        }
        let tty = exec.config.tty == Some(true);
        let io = AttachIo::last_words(&format!("{message}\r\n"), tty);
        Ok(ExecStarted::Attached(Attached { tty, io: Box::new(io) }))
    }

    /// Notes that an exec ended; told once, whoever says it first.
    pub fn exec_ended(&self, container: &Container, exec_id: &str, code: i64) {
        let Ok(exec) = self.execs.find(exec_id) else { return };
        if exec.end(code) {
            self.publish_exec_end(container, &exec, code);
        }
        if exec.is_probe {
            self.execs.remove(exec_id);
        }
    }

    pub fn publish_exec(&self, container: &Container, exec: &Exec, action: &str) {
        let command = exec.config.cmd.as_deref().unwrap_or_default();
        let (program, arguments) = command.split_at(command.len().min(1));
        // One without arguments ends in a space, as dockerd's does.
        let told = format!("{action}: {} {}", program.concat(), arguments.join(" "));
        container.publish(&self.rooms.events, told, [("execID", exec.id.clone())]);
    }

    fn publish_exec_end(&self, container: &Container, exec: &Exec, code: i64) {
        let attributes = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
        container.publish(&self.rooms.events, "exec_die", attributes);
    }

    /// `GET /exec/{id}/json`.
    pub fn exec_inspect(&self, id: &str) -> Result<docker::ExecInspectResponse, EngineError> {
        let exec = self.execs.find(id)?;
        let (is_running, pid, code) = match exec.state() {
            ExecState::Created => (false, 0, None),
            ExecState::Starting => (true, 0, None),
            ExecState::Running { pid } => (true, pid, None),
            ExecState::Ended { pid, code } => (false, pid, Some(code)),
        };
        let command = exec.config.cmd.clone().unwrap_or_default();
        Ok(docker::ExecInspectResponse {
            can_remove: Some(false),
            detach_keys: Some(exec.config.detach_keys.clone().unwrap_or_default()),
            id: Some(exec.id.clone()),
            running: Some(is_running),
            exit_code: code,
            process_config: Some(docker::ProcessConfig {
                privileged: Some(exec.config.privileged == Some(true)),
                user: exec.config.user.clone(),
                tty: Some(exec.config.tty == Some(true)),
                entrypoint: command.first().cloned(),
                arguments: Some(command.iter().skip(1).cloned().collect()),
            }),
            open_stdin: Some(exec.config.attach_stdin == Some(true)),
            open_stderr: Some(exec.config.attach_stderr == Some(true)),
            open_stdout: Some(exec.config.attach_stdout == Some(true)),
            container_id: Some(exec.container_id.clone()),
            pid: Some(pid.into()),
        })
    }

    /// `POST /exec/{id}/resize`.
    pub async fn exec_resize(&self, id: &str, size: TerminalSize) -> Result<(), EngineError> {
        let exec = self.execs.find(id)?;
        let container = self.index.find(&exec.container_id)?;
        let shim = container.shim().ok_or_else(|| super::state::not_running(&container.id))?;
        if !matches!(exec.state(), ExecState::Running { .. }) {
            return Err(EngineError::conflict(format!("exec {id} is not running")));
        }
        if exec.config.tty != Some(true) {
            return Ok(()); // nothing to size, which Docker takes for done
        }
        Ok(shim.resize(Target::Exec(exec.id.clone()), console_size(size)).await?)
    }
}

/// In the runtime's terms.
pub fn console_size(size: TerminalSize) -> ConsoleSize {
    ConsoleSize { rows: size.rows, cols: size.columns }
}

fn asked_size(size: Option<&[usize]>) -> Option<ConsoleSize> {
    match size? {
        [rows, cols] if *rows > 0 && *cols > 0 => {
            Some(ConsoleSize { rows: u16::try_from(*rows).ok()?, cols: u16::try_from(*cols).ok()? })
        }
        _ => None,
    }
}

/// Docker's frame around the reason.
fn exec_message(error: &ShimError) -> String {
    let reason = error.to_string();
    if matches!(error, ShimError::Start { .. }) {
        return reason; // in the frame already, or Docker has none for it
    }
    framed(&format!("unable to start container process: {reason}"))
}

fn framed(reason: &str) -> String {
    format!("OCI runtime exec failed: exec failed: {reason}: unknown")
}
