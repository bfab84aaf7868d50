//! Hooks: programs of the caller's that run while a container is made, with its state on their input.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::step::During;
use super::{Step, StepError};
use crate::engine::oci::spec::{Hook, VERSION};

/// The state as a hook in the container's namespaces is told it, where it is process 1 or nobody knows its number.
pub(super) fn state_inside(id: &str, status: &str) -> String {
    serde_json::json!({"ociVersion": VERSION, "id": id, "status": status, "pid": std::process::id(), "bundle": ""})
        .to_string()
}

/// Runs a hook to its end.
///
/// # Errors
/// It could not be run, took longer than it may, or failed; its words are told.
pub fn run_hook(hook: &Hook, state: &str) -> Result<(), StepError> {
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .during(Step::Hook, &hook.path)?;
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(state.as_bytes()); // a hook need not read it
    }
    if let Some(seconds) = hook.timeout
        && !ends_within(&mut child, Duration::from_secs(seconds))
    {
        let _ = child.kill(); // it may have ended just now
        let _ = child.wait();
        return Err(StepError::refused(Step::Hook, format!("{}: it takes longer than {seconds} s", hook.path)));
    }
    let output = child.wait_with_output().during(Step::Hook, &hook.path)?;
    if output.status.success() {
        return Ok(());
    }
    let mut words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    words.truncate(words.floor_char_boundary(4096));
    Err(StepError::refused(Step::Hook, format!("{}: {}, stderr: {words}", hook.path, output.status)))
}

fn ends_within(child: &mut std::process::Child, time: Duration) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        sleep(Duration::from_millis(2));
    }
    false
}
