//! `exec`: a further process in a container.

use std::process::ExitCode;

use super::command::Command;
use super::console;
use super::create::{stdio, wait};
use super::failure::{Attempt, Failure};
use super::sealed::become_sealed;
use super::state::{Place, State, Status, write_whole};
use crate::engine::oci::ProcessPlan;
use crate::engine::oci::spec::{Capabilities, Process, process_plan};
use crate::engine::runtime::{ExecTarget, exec as exec_in};

/// `exec`; the status is the program's, or 255 if it could not be run, as runc's.
pub(super) fn exec(command: &Command) -> Result<ExitCode, Failure> {
    exec_or_fail(command).map_err(|failure| failure.during("exec failed").with_code(255))
}

fn exec_or_fail(command: &Command) -> Result<ExitCode, Failure> {
    let place = Place::of(&command.root, command.id()?);
    let state = place.read()?;
    match place.status(&state) {
        Status::Stopped => return Err(Failure::new("cannot exec in a stopped container")),
        Status::Paused if !command.has("ignore-paused") => {
            return Err(Failure::new("cannot exec in a paused container (use --ignore-paused to override)"));
        }
        _ => {}
    }
    let plan = plan(command, &state)?;
    let socket = command.path("console-socket");
    let is_detached = command.has("detach");
    if plan.tty && is_detached && socket.is_none() {
        return Err(Failure::usage("cannot allocate tty if boxyard will detach without setting console socket"));
    }
    become_sealed()?;
    let target = ExecTarget { pid: state.pid, cgroup: &state.cgroup };
    let running = exec_in(target, &plan, stdio(plan.tty)?)?;
    if let (Some(master), Some(path)) = (&running.pty_master, socket) {
        console::send_master(path, master)?;
    }
    if let Some(path) = command.path("pid-file") {
        write_whole(path, running.pid.to_string().as_bytes())?;
    }
    if is_detached {
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(master), None) = (running.pty_master, socket) {
        console::stand_between(master, &running.pidfd)?;
    }
    wait(&running.pidfd)
}

fn plan(command: &Command, state: &State) -> Result<ProcessPlan, Failure> {
    for (option, value) in [("process-label", command.value("process-label")), ("cgroup", command.value("cgroup"))] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            return Err(Failure::usage(format!("--{option} is not supported by boxyard: {value}")));
        }
    }
    let process = match command.path("process") {
        Some(path) => {
            let text = std::fs::read(path).attempt(path.display())?;
            serde_json::from_slice(&text).attempt(path.display())?
        }
        None => by_options(command, state)?,
    };
    let mut plan = process_plan(&process)?;
    plan.seccomp = state.seccomp.clone();
    plan.preserve_fds = command.number("preserve-fds")?.unwrap_or(0);
    if plan.oom_score_adj.is_none() {
        plan.oom_score_adj = state.process.oom_score_adj;
    }
    Ok(plan)
}

/// The container's own process, with what the command line says otherwise.
fn by_options(command: &Command, state: &State) -> Result<Process, Failure> {
    let mut process = state.process.clone();
    process.args = command.words.get(1..).unwrap_or_default().to_vec();
    process.terminal = command.has("tty");
    process.console_size = None;
    if let Some(cwd) = command.value("cwd") {
        process.cwd = cwd.to_owned();
    }
    process.env.extend(command.values("env").iter().cloned());
    if let Some(profile) = command.value("apparmor") {
        process.apparmor_profile = profile.to_owned();
    }
    process.no_new_privileges |= command.has("no-new-privs");
    if let Some(user) = command.value("user") {
        let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
        let number = |text: &str| text.parse().map_err(|_| Failure::usage(format!("invalid user: {user}")));
        (process.user.uid, process.user.gid) = (number(uid)?, number(gid)?);
    }
    for gid in command.values("additional-gids") {
        let gid = gid.parse().map_err(|_| Failure::usage(format!("invalid group: {gid}")))?;
        process.user.additional_gids.push(gid);
    }
    let more = command.values("cap");
    if !more.is_empty() {
        let sets = process.capabilities.get_or_insert_with(Capabilities::default);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(more.iter().cloned());
        }
    }
    Ok(process)
}
