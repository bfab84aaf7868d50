//! `create` and `run`.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::command::Command;
use super::console;
use super::failure::{Attempt, Failure};
use super::lifecycle;
use super::sealed::become_sealed;
use super::state::{Place, State, process_start_time, write_whole};
use crate::engine::oci::spec::{self, Config, Surroundings};
use crate::engine::oci::{LaunchPlan, NamespaceKind, PidNs};
use crate::engine::runtime::cgroup::CgroupLayout;
use crate::engine::runtime::{Created, Outside, Stdio, create_with, run_hook};

/// A bundle's container, made but for its start.
pub(super) struct Made {
    pub state: State,
    pub place: Place,
    created: Created,
    plan: LaunchPlan,
}

/// When the container's state is there to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// As soon as it has a process, while that sets itself up: by who stays with it, and removes it all if that fails.
    Early,
    /// Once it waits to be started.
    Created,
}

/// `create`: leaves the container waiting for `start`.
pub(super) fn create(command: &Command) -> Result<(), Failure> {
    let made = make(command, Known::Created).map_err(|failure| failure.during("boxyard create failed"))?;
    leave(made, command).map_err(|failure| failure.during("boxyard create failed")).map(drop)
}

/// `run`: create, start and, unless `--detach`, wait and delete.
pub(super) fn run(command: &Command) -> Result<ExitCode, Failure> {
    let is_detached = command.has("detach");
    let is_left = is_detached || command.path("console-socket").is_some();
    let known = if is_left { Known::Created } else { Known::Early };
    let made = make(command, known).map_err(|failure| failure.during("boxyard run failed"))?;
    let has_terminal = made.plan.process.tty;
    if has_terminal && is_detached && command.path("console-socket").is_none() {
        return Err(undo(
            made,
            Failure::usage("cannot allocate tty if boxyard will detach without setting console socket"),
        ));
    }
    if is_left {
        let pidfd = made.created.pidfd.try_clone().attempt("pidfd")?;
        let (state, place) = leave(made, command).map_err(|failure| failure.during("boxyard run failed"))?;
        if let Err(failure) = lifecycle::start_in(&place, &state) {
            lifecycle::tear_down(&place, &state)?;
            return Err(failure.during("boxyard run failed"));
        }
        if is_detached {
            return Ok(ExitCode::SUCCESS);
        }
        let code = wait(&pidfd)?;
        if !command.has("keep") {
            lifecycle::tear_down(&place, &state)?;
        }
        return Ok(code);
    }
    run_attached(made, command)
}

fn run_attached(made: Made, command: &Command) -> Result<ExitCode, Failure> {
    let Made { state, place, created, plan } = made;
    if let Some(path) = command.path("pid-file") {
        write_whole(path, state.pid.to_string().as_bytes())?;
    }
    let running = match created.start() {
        Ok(running) => running,
        Err(error) => {
            lifecycle::tear_down(&place, &state)?;
            return Err(Failure::from(error).during("boxyard run failed"));
        }
    };
    lifecycle::run_poststart(&state)?;
    if let Some(master) = running.pty_master {
        console::stand_between(master, &running.pidfd)?;
    }
    let code = wait(&running.pidfd)?;
    if command.has("keep") {
        return Ok(code);
    }
    let took_all_along = plan.namespaces.pid == PidNs::Private && !plan.namespaces.joins(NamespaceKind::Pid);
    if took_all_along {
        lifecycle::clear(&place, &state)?; // the kernel ends a pid namespace with its first process
    } else {
        lifecycle::tear_down(&place, &state)?;
    }
    Ok(code)
}

/// The status of a child that ended, as a shell tells it.
pub(super) fn wait(pidfd: &OwnedFd) -> Result<ExitCode, Failure> {
    let status = loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.attempt("wait for the process")?,
        }
    };
    let exit = status.as_ref().and_then(|status| status.exit_status());
    let signal = status.as_ref().and_then(|status| status.terminating_signal());
    let code = exit.or(signal.map(|number| 128 + number)).unwrap_or(255);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(255)))
}

fn make(command: &Command, known: Known) -> Result<Made, Failure> {
    become_sealed()?; // first of all, as everything before it is done twice
    let id = command.id()?;
    let bundle = std::path::absolute(command.path("bundle").unwrap_or(Path::new("."))).attempt("bundle")?;
    let config = read_config(&bundle)?;
    let layout = CgroupLayout::read();
    let around = Surroundings { id, bundle: &bundle, cgroups: &layout, kernel: kernel() };
    let mut plan = spec::plan(&config, &around)?;
    plan.process.preserve_fds = command.number("preserve-fds")?.unwrap_or(0);
    plan.process.shares_keyring = command.has("no-new-keyring");
    check_root(&plan)?;
    let place = Place::of(&command.root, id);
    place.make()?;
    make_in(&place, plan, &config, bundle, known)
        .inspect_err(|_| {
            let _ = place.remove(); // the first failure is the one to tell
        })
        .map(|(state, created, plan)| Made { state, place, created, plan })
}

fn make_in(
    place: &Place,
    plan: LaunchPlan,
    config: &Config,
    bundle: PathBuf,
    known: Known,
) -> Result<(State, Created, LaunchPlan), Failure> {
    let rootfs = match &plan.root {
        crate::engine::oci::RootPlan::Directory(path) => path.clone(),
        crate::engine::oci::RootPlan::Overlay(stack) => stack.upper.clone(),
    };
    let state = RefCell::new(State {
        id: plan.id.clone(),
        pid: 0,
        pid_start_time: 0,
        bundle,
        rootfs,
        created: jiff::Timestamp::now().to_string(),
        annotations: config.annotations.clone(),
        cgroup: plan.cgroup.clone(),
        process: config.process.clone().unwrap_or_default(),
        seccomp: plan.process.seccomp.clone(),
        poststart: config.hooks.poststart.clone(),
        poststop: config.hooks.poststop.clone(),
    });
    let stdio = stdio(plan.process.tty)?;
    let mut written = Ok(());
    let mut meanwhile = |pid| {
        let mut state = state.borrow_mut();
        state.pid = pid;
        state.pid_start_time = process_start_time(pid).unwrap_or(0);
        if known == Known::Early {
            written = place.write(&state);
        }
    };
    let mut run_hooks = |_| {
        let told = state.borrow().told("creating").to_string();
        let hooks = config.hooks.prestart.iter().chain(&config.hooks.create_runtime);
        hooks.into_iter().try_for_each(|hook| run_hook(hook, &told))
    };
    let outside = Outside { meanwhile: &mut meanwhile, run_hooks: &mut run_hooks };
    let created = create_with(&plan, stdio, None, outside)?;
    let state = state.into_inner();
    match written {
        Ok(()) => Ok((state, created, plan)),
        Err(failure) => {
            created.abandon();
            let _ = state.cgroups().remove(&state.cgroup.path); // the first failure is the one to tell
            Err(failure)
        }
    }
}

/// Our own three descriptors, or a terminal.
pub(super) fn stdio(has_terminal: bool) -> Result<Stdio, Failure> {
    if has_terminal {
        return Ok(Stdio::Terminal(None));
    }
    let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().attempt("standard streams");
    Ok(Stdio::Fds {
        stdin: copy(std::io::stdin().as_fd())?,
        stdout: copy(std::io::stdout().as_fd())?,
        stderr: copy(std::io::stderr().as_fd())?,
    })
}

/// Hands over the terminal, writes state and pid file; the process is then on its own.
fn leave(made: Made, command: &Command) -> Result<(State, Place), Failure> {
    let Made { state, place, created, plan } = made;
    let socket = command.path("console-socket");
    if plan.process.tty && socket.is_none() {
        created.abandon();
        lifecycle::tear_down(&place, &state)?;
        return Err(Failure::usage("cannot allocate tty if boxyard will detach without setting console socket"));
    }
    let left = place.open_door().and_then(|door| Ok(created.leave(door.as_fd())?)).and_then(|master| {
        if let (Some(master), Some(path)) = (&master, socket) {
            console::send_master(path, master)?;
        }
        place.write(&state)?;
        match command.path("pid-file") {
            Some(path) => write_whole(path, state.pid.to_string().as_bytes()),
            None => Ok(()),
        }
    });
    match left {
        Ok(()) => Ok((state, place)),
        Err(failure) => {
            let _ = lifecycle::tear_down(&place, &state); // the first failure is the one to tell
            Err(failure)
        }
    }
}

fn undo(made: Made, failure: Failure) -> Failure {
    made.created.abandon();
    let _ = lifecycle::tear_down(&made.place, &made.state); // the first failure is the one to tell
    failure
}

fn read_config(bundle: &Path) -> Result<Config, Failure> {
    let path = bundle.join("config.json");
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::new(format!("JSON specification file {} not found", path.display())));
        }
        other => other.attempt(path.display())?,
    };
    let text = std::io::read_to_string(file).attempt(path.display())?;
    serde_json::from_str(&text).attempt(path.display())
}

fn check_root(plan: &LaunchPlan) -> Result<(), Failure> {
    let crate::engine::oci::RootPlan::Directory(path) = &plan.root else { return Ok(()) };
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Failure::new(format!("rootfs ({}) is not a directory", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("rootfs ({}) does not exist", path.display())))
        }
        Err(error) => Err(error).attempt(path.display()),
    }
}

/// The kernel's version as numbers.
pub(super) fn kernel() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
