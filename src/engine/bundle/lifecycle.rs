//! `start`, `kill`, `delete`, `pause`, `resume`.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::command::Command;
use super::failure::Failure;
use super::state::{Place, State, Status};
use crate::engine::container::signal::parse_signal;
use crate::engine::runtime::{run_hook, start_later};
use crate::sys::signal::pidfd_signal;

/// How long a killed process may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

fn load(command: &Command) -> Result<(Place, State, Status), Failure> {
    let place = Place::of(&command.root, command.id()?);
    let state = place.read()?;
    let status = place.status(&state);
    Ok((place, state, status))
}

/// `start`.
pub(super) fn start(command: &Command) -> Result<(), Failure> {
    let (place, state, status) = load(command)?;
    match status {
        Status::Created => start_in(&place, &state).map_err(|failure| failure.during("boxyard start failed")),
        Status::Stopped => Err(Failure::new("cannot start a container that has stopped")),
        Status::Running | Status::Paused => Err(Failure::new("cannot start an already running container")),
    }
}

/// Lets the first process execute its program.
pub(super) fn start_in(place: &Place, state: &State) -> Result<(), Failure> {
    start_later(place.knock()?)?;
    run_poststart(state)
}

/// The hooks after the start; one that fails ends the container.
pub(super) fn run_poststart(state: &State) -> Result<(), Failure> {
    let told = state.told("running").to_string();
    let ran = state.poststart.iter().try_for_each(|hook| run_hook(hook, &told));
    if ran.is_err() {
        let _ = state.cgroups().kill_all(&state.cgroup.path); // the failure is the one to tell
    }
    Ok(ran?)
}

/// `kill`: a signal to the first process, or with `--all` to every one.
pub(super) fn kill(command: &Command) -> Result<(), Failure> {
    let (_, state, status) = load(command)?;
    let word = command.words.get(1).map_or("TERM", String::as_str);
    let signal = parse_signal(word).map_err(|error| Failure::usage(error.to_string()))?;
    let to_all = command.has("all");
    if to_all {
        return signal_all(&state, signal);
    }
    if status == Status::Stopped {
        return Err(Failure::is_not_running());
    }
    signal_one(&state, signal)?;
    if status == Status::Paused && signal == libc::SIGKILL {
        let _ = state.cgroups().thaw(&state.cgroup.path); // a frozen process of version 1 dies only when thawed
    }
    Ok(())
}

fn signal_one(state: &State, signal: i32) -> Result<(), Failure> {
    let Some(pid) = i32::try_from(state.pid).ok().and_then(Pid::from_raw) else {
        return Err(Failure::is_not_running());
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Failure::is_not_running())?;
    if !state.is_alive() {
        return Err(Failure::is_not_running()); // the number may be another's by now
    }
    pidfd_signal(std::os::fd::AsFd::as_fd(&pidfd), signal).map_err(|error| match error.raw_os_error() {
        Some(number) if number == Errno::SRCH.raw_os_error() => Failure::new("os: process already finished"),
        _ => Failure::new(error.to_string()),
    })
}

fn signal_all(state: &State, signal: i32) -> Result<(), Failure> {
    let cgroups = state.cgroups();
    if signal == libc::SIGKILL {
        return ignore_missing(cgroups.kill_all(&state.cgroup.path));
    }
    let pids = cgroups.pids(&state.cgroup.path).unwrap_or_default();
    for pid in pids.into_iter().filter_map(|pid| i32::try_from(pid).ok()).filter_map(Pid::from_raw) {
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
            let _ = pidfd_signal(std::os::fd::AsFd::as_fd(&pidfd), signal); // gone meanwhile is as good
        }
    }
    Ok(())
}

fn ignore_missing(result: Result<(), crate::engine::runtime::cgroup::CgroupError>) -> Result<(), Failure> {
    match result {
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

/// `delete`.
pub(super) fn delete(command: &Command) -> Result<(), Failure> {
    let is_forced = command.has("force");
    let place = Place::of(&command.root, command.id()?);
    let state = match place.read() {
        // what a killed `create` left has no state
        Err(_) if is_forced => return place.remove(),
        other => other?,
    };
    match place.status(&state) {
        Status::Stopped | Status::Created => {}
        _ if is_forced => {}
        status => {
            let words = format!("cannot delete container {} that is not stopped: {}", state.id, status.word());
            return Err(Failure::new(words));
        }
    }
    tear_down(&place, &state)
}

/// Ends what is left of a container and removes its cgroup and state; then its hooks.
pub(super) fn tear_down(place: &Place, state: &State) -> Result<(), Failure> {
    if state.is_alive() {
        let _ = signal_one(state, libc::SIGKILL); // it may have ended just now
        ignore_missing(state.cgroups().kill_all(&state.cgroup.path))?;
        let until = Instant::now() + PATIENCE;
        while state.is_alive() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    } else if state.cgroups().pids(&state.cgroup.path).is_ok_and(|pids| !pids.is_empty()) {
        // without a pid namespace of their own others may have outlived the first one
        ignore_missing(state.cgroups().kill_all(&state.cgroup.path))?;
    }
    clear(place, state)
}

/// Removes cgroup and state of a container of which no process is left; then its hooks.
pub(super) fn clear(place: &Place, state: &State) -> Result<(), Failure> {
    state.cgroups().remove(&state.cgroup.path)?;
    place.remove()?;
    let told = state.told("stopped").to_string();
    for hook in &state.poststop {
        if let Err(error) = run_hook(hook, &told) {
            eprintln!("{error}"); // the container is gone all the same
        }
    }
    Ok(())
}

/// `pause`.
pub(super) fn pause(command: &Command) -> Result<(), Failure> {
    let (_, state, status) = load(command)?;
    match status {
        Status::Running | Status::Created => Ok(state.cgroups().freeze(&state.cgroup.path)?),
        Status::Paused | Status::Stopped => Err(Failure::new(format!("container not running: {}", status.word()))),
    }
}

/// `resume`.
pub(super) fn resume(command: &Command) -> Result<(), Failure> {
    let (_, state, status) = load(command)?;
    match status {
        Status::Paused => Ok(state.cgroups().thaw(&state.cgroup.path)?),
        _ => Err(Failure::new("container not paused")),
    }
}
