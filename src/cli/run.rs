//! `run`, `create`, `start`, `attach`, `exec`: the verbs that bring a process to life, and stay with it if asked.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;

use super::create::CreateFlags;
use super::images;
use super::session::{Passing, Peer, carry};
use super::terminal;
use crate::client::models::{ContainerWaitResponse, ExecConfig};
use crate::client::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use crate::client::{Docker, Error, StartExecOptions, StartExecResults};

/// docker's exit code for "the engine refused", as against the program's own.
const REFUSED: u8 = 125;

/// Make a container of an image and run it.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Run {
    #[command(flatten)]
    create: Create,
    /// Do not stay with it; print its ID
    #[arg(short, long)]
    detach: bool,
    /// The keys that leave it running (ctrl-p,ctrl-q)
    #[arg(long)]
    detach_keys: Option<String>,
}

/// Make a container of an image.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Create {
    #[command(flatten)]
    flags: CreateFlags,
    /// When to pull the image: missing, always or never
    #[arg(long, default_value = "missing", value_parser = ["missing", "always", "never"])]
    pull: String,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
    /// The image
    image: String,
    /// What it runs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Run a program beside a container's own.
#[derive(Debug, Args)]
pub struct Exec {
    /// Do not stay with it
    #[arg(short, long)]
    detach: bool,
    /// The keys that leave it running (ctrl-p,ctrl-q)
    #[arg(long)]
    detach_keys: Option<String>,
    /// Keep its input open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set a variable
    #[arg(short, long)]
    env: Vec<String>,
    /// As whom it runs
    #[arg(short, long)]
    user: Option<String>,
    /// Where it starts
    #[arg(short, long)]
    workdir: Option<String>,
    /// All rights on this host
    #[arg(long)]
    privileged: bool,
    /// The container
    container: String,
    /// What to run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// Start containers.
#[derive(Debug, Args)]
pub struct Start {
    /// Stay with it: its output comes here
    #[arg(short, long)]
    attach: bool,
    /// Hand it our input too
    #[arg(short, long)]
    interactive: bool,
    /// The keys that leave it running (ctrl-p,ctrl-q)
    #[arg(long)]
    detach_keys: Option<String>,
    /// The containers
    #[arg(required = true)]
    containers: Vec<String>,
}

/// Stay with a running container: input, output, signals.
#[derive(Debug, Args)]
pub struct Attach {
    /// Do not hand it our input
    #[arg(long)]
    no_stdin: bool,
    /// The keys that leave it running (ctrl-p,ctrl-q)
    #[arg(long)]
    detach_keys: Option<String>,
    /// The container
    container: String,
}

impl Create {
    async fn make(&self, docker: &Docker) -> anyhow::Result<String> {
        let variable = |name: &str| std::env::var(name).ok();
        let mut body = self.flags.body(&self.image, &self.command, variable).map_err(anyhow::Error::msg)?;
        if let (Some(host), Some((rows, columns))) = (body.host_config.as_mut(), terminal::size()) {
            host.console_size = Some(vec![rows.into(), columns.into()]);
        }
        let options = CreateContainerOptions {
            name: self.flags.name.clone(),
            platform: self.flags.platform.clone().unwrap_or_default(),
        };
        if self.pull == "always" {
            images::pull(docker, &self.image, self.flags.platform.as_deref()).await?;
        }
        let created = match docker.create_container(Some(options.clone()), body.clone()).await {
            Err(Error::DockerResponseServerError { status_code: 404, message })
                if self.pull == "missing" && message.contains("No such image") =>
            {
                eprintln!("Unable to find image '{}' locally", self.image);
                images::pull(docker, &self.image, self.flags.platform.as_deref()).await?;
                docker.create_container(Some(options), body).await?
            }
            other => other?,
        };
        for warning in &created.warnings {
            eprintln!("WARNING: {warning}");
        }
        Ok(created.id)
    }
}

pub async fn create(docker: &Docker, create: &Create) -> anyhow::Result<ExitCode> {
    println!("{}", create.make(docker).await?);
    Ok(ExitCode::SUCCESS)
}

pub async fn run(docker: &Docker, run: &Run) -> anyhow::Result<ExitCode> {
    let flags = &run.create.flags;
    if flags.tty && flags.interactive && !run.detach && !terminal::has_keys() {
        anyhow::bail!("the input device is not a TTY; leave -t out where the input is no terminal");
    }
    let id = match run.create.make(docker).await {
        Ok(id) => id,
        Err(error) => return Ok(refuse(&error)),
    };
    if run.detach {
        if let Err(error) = docker.start_container(&id, None).await {
            return Ok(refuse_start(&error));
        }
        println!("{id}");
        return Ok(ExitCode::SUCCESS);
    }
    let passing = Passing { stdin: flags.interactive, tty: flags.tty, signals: true };
    let condition = if flags.rm { "removed" } else { "next-exit" };
    stay(docker, &id, Stay { passing, keys: run.detach_keys.as_deref(), condition, begin: Begin::Start }).await
}

/// Whether a container is started by the session, or runs already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    Start,
    Runs,
}

/// How a session goes.
#[derive(Debug, Clone, Copy)]
struct Stay<'a> {
    passing: Passing,
    /// The keys that end it; `None` is the engine's default.
    keys: Option<&'a str>,
    /// Which end gives the exit code.
    condition: &'a str,
    begin: Begin,
}

/// How soon the end of a container is told after the end of its output. Later than that, and it may be that the session was
/// left by its detach keys.
const END_FOLLOWS: Duration = Duration::from_secs(1);

/// Attaches, begins, and stays until the container ends; its exit code is ours.
async fn stay(docker: &Docker, id: &str, stay: Stay<'_>) -> anyhow::Result<ExitCode> {
    let Stay { passing, keys, condition, begin } = stay;
    let options = AttachContainerOptions {
        stream: true,
        stdin: passing.stdin,
        stdout: true,
        stderr: true,
        detach_keys: keys.map(str::to_owned),
        ..AttachContainerOptions::default()
    };
    let streams = docker.attach_container(id, Some(options)).await?;
    // Asked for before the start, so that an end in the same moment is not missed.
    let waiting = WaitContainerOptions { condition: condition.to_owned() };
    let mut ended = pin!(docker.wait_container(id, Some(waiting)));
    let mut end: Option<Result<ContainerWaitResponse, Error>> = None;
    let starting = async {
        match begin {
            Begin::Start => docker.start_container(id, None::<StartContainerOptions>).await,
            Begin::Runs => Ok(()),
        }
    };
    let carried = {
        let mut carrying = pin!(carry(docker, Peer::Container(id.to_owned()), streams, passing, starting));
        loop {
            tokio::select! {
                carried = &mut carrying => break carried,
                found = ended.next(), if end.is_none() => end = found,
            }
        }
    };
    if let Err(error) = carried {
        return match error.downcast::<Error>() {
            Ok(refused @ Error::DockerResponseServerError { .. }) => Ok(refuse_start(&refused)),
            Ok(other) => Err(other.into()),
            Err(other) => Err(other),
        };
    }
    let end = match end {
        Some(end) => Some(end),
        None => match tokio::time::timeout(END_FOLLOWS, ended.next()).await {
            Ok(end) => end,
            Err(_) if passing.tty && passing.stdin && is_running(docker, id).await? => return Ok(ExitCode::SUCCESS),
            Err(_) => ended.next().await,
        },
    };
    match end {
        Some(Ok(end)) => Ok(code(end.status_code)),
        Some(Err(error)) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn is_running(docker: &Docker, id: &str) -> Result<bool, Error> {
    match docker.inspect_container(id, None).await {
        Ok(found) => Ok(found.state.and_then(|state| state.running) == Some(true)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// An exit code as a process can have one.
fn code(code: i64) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

fn refuse(error: &anyhow::Error) -> ExitCode {
    eprintln!("boxyard: {}", super::words::causes(error));
    ExitCode::from(REFUSED)
}

/// Prints why it did not start; the exit code tells, as a shell's does, whether the program is missing or can't be run.
fn refuse_start(error: &Error) -> ExitCode {
    let words = error.to_string();
    eprintln!("boxyard: {words}");
    let is_missing = ["executable file not found", "no such file or directory"].iter().any(|part| words.contains(part));
    match words {
        _ if is_missing => ExitCode::from(127),
        words if words.contains("permission denied") => ExitCode::from(126),
        _ => ExitCode::from(REFUSED),
    }
}

pub async fn start(docker: &Docker, start: &Start) -> anyhow::Result<ExitCode> {
    if !start.attach && !start.interactive {
        return super::lifecycle::each(&start.containers, async |name| docker.start_container(name, None).await).await;
    }
    let [name] = start.containers.as_slice() else { anyhow::bail!("stay with one container at a time") };
    let tty = has_terminal(docker, name).await?;
    let passing = Passing { stdin: start.interactive, tty, signals: true };
    let keys = start.detach_keys.as_deref();
    stay(docker, name, Stay { passing, keys, condition: "next-exit", begin: Begin::Start }).await
}

pub async fn attach(docker: &Docker, attach: &Attach) -> anyhow::Result<ExitCode> {
    let tty = has_terminal(docker, &attach.container).await?;
    let passing = Passing { stdin: !attach.no_stdin, tty, signals: true };
    let keys = attach.detach_keys.as_deref();
    stay(docker, &attach.container, Stay { passing, keys, condition: "not-running", begin: Begin::Runs }).await
}

async fn has_terminal(docker: &Docker, name: &str) -> Result<bool, Error> {
    let found = docker.inspect_container(name, None).await?;
    Ok(found.config.and_then(|config| config.tty).unwrap_or_default())
}

pub async fn exec(docker: &Docker, exec: &Exec) -> anyhow::Result<ExitCode> {
    if exec.tty && exec.interactive && !exec.detach && !terminal::has_keys() {
        anyhow::bail!("the input device is not a TTY; leave -t out where the input is no terminal");
    }
    let config = ExecConfig {
        attach_stdin: Some(exec.interactive && !exec.detach),
        attach_stdout: Some(!exec.detach),
        attach_stderr: Some(!exec.detach),
        tty: Some(exec.tty),
        env: Some(exec.env.clone()).filter(|env| !env.is_empty()),
        cmd: Some(exec.command.clone()),
        privileged: Some(exec.privileged),
        detach_keys: exec.detach_keys.clone(),
        user: exec.user.clone(),
        working_dir: exec.workdir.clone(),
        ..ExecConfig::default()
    };
    let id = docker.create_exec(&exec.container, config).await?.id;
    let options =
        StartExecOptions { detach: exec.detach, tty: exec.tty, console_size: terminal::size().filter(|_| exec.tty) };
    match docker.start_exec(&id, Some(options)).await? {
        StartExecResults::Detached => Ok(ExitCode::SUCCESS),
        StartExecResults::Attached(streams) => {
            let passing = Passing { stdin: exec.interactive, tty: exec.tty, signals: false };
            carry(docker, Peer::Exec(id.clone()), streams, passing, std::future::ready(Ok(()))).await?;
            let ended = docker.inspect_exec(&id).await?;
            Ok(code(ended.exit_code.unwrap_or_default()))
        }
    }
}
