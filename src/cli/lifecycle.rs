//! The verbs on containers that need no session: stop, kill, restart, pause, rename, remove, wait, logs, top, inspect.

use std::fmt::Display;
use std::pin::pin;
use std::process::ExitCode;

use clap::Args;
use futures_util::StreamExt;

use super::session;
use crate::client::Docker;
use crate::client::query_parameters::{
    KillContainerOptions, LogsOptions, RemoveContainerOptions, RenameContainerOptions, RestartContainerOptions,
    StopContainerOptions, TopOptions, WaitContainerOptions,
};

/// Does `work` for each name, prints those done, says of each other why not.
pub async fn each<E: Display>(names: &[String], work: impl AsyncFn(&str) -> Result<(), E>) -> anyhow::Result<ExitCode> {
    let mut outcome = ExitCode::SUCCESS;
    for name in names {
        match work(name).await {
            Ok(()) => println!("{name}"),
            Err(error) => {
                eprintln!("boxyard: {error}");
                outcome = ExitCode::FAILURE;
            }
        }
    }
    Ok(outcome)
}

/// Names of containers.
#[derive(Debug, Args)]
pub struct Names {
    /// The containers
    #[arg(required = true)]
    containers: Vec<String>,
}

/// How to stop.
#[derive(Debug, Args)]
pub struct Stop {
    /// Seconds to wait before it is killed; -1 waits for ever
    #[arg(short, long, visible_alias = "timeout", allow_hyphen_values = true)]
    time: Option<i32>,
    /// The signal to begin with
    #[arg(short, long)]
    signal: Option<String>,
    /// The containers
    #[arg(required = true)]
    containers: Vec<String>,
}

/// How to kill.
#[derive(Debug, Args)]
pub struct Kill {
    /// The signal
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// The containers
    #[arg(required = true)]
    containers: Vec<String>,
}

/// How to remove containers.
#[derive(Debug, Args)]
pub struct Remove {
    /// Kill it first where it runs
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// The containers
    #[arg(required = true)]
    containers: Vec<String>,
}

/// How to rename.
#[derive(Debug, Args)]
pub struct Rename {
    container: String,
    name: String,
}

/// Which part of a log.
#[derive(Debug, Args)]
pub struct Logs {
    /// Go on with new lines
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, default_value = "all")]
    tail: String,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Only lines since then: a time, or how long ago (10m)
    #[arg(long)]
    since: Option<String>,
    /// Only lines before then
    #[arg(long)]
    until: Option<String>,
    container: String,
}

/// Whose processes.
#[derive(Debug, Args)]
pub struct Top {
    container: String,
    /// Columns, as ps takes them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// What to tell all about.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Print a template instead, such as '{{.State.Pid}}'
    #[arg(short, long)]
    format: Option<String>,
    /// Containers, images, networks or volumes
    #[arg(required = true)]
    names: Vec<String>,
}

pub async fn stop(docker: &Docker, stop: &Stop) -> anyhow::Result<ExitCode> {
    let options = StopContainerOptions { signal: stop.signal.clone(), t: stop.time };
    each(&stop.containers, async |name| docker.stop_container(name, Some(options.clone())).await).await
}

pub async fn restart(docker: &Docker, stop: &Stop) -> anyhow::Result<ExitCode> {
    let options = RestartContainerOptions { signal: stop.signal.clone(), t: stop.time };
    each(&stop.containers, async |name| docker.restart_container(name, Some(options.clone())).await).await
}

pub async fn kill(docker: &Docker, kill: &Kill) -> anyhow::Result<ExitCode> {
    let options = KillContainerOptions { signal: kill.signal.clone() };
    each(&kill.containers, async |name| docker.kill_container(name, Some(options.clone())).await).await
}

pub async fn pause(docker: &Docker, names: &Names) -> anyhow::Result<ExitCode> {
    each(&names.containers, async |name| docker.pause_container(name).await).await
}

pub async fn unpause(docker: &Docker, names: &Names) -> anyhow::Result<ExitCode> {
    each(&names.containers, async |name| docker.unpause_container(name).await).await
}

pub async fn rename(docker: &Docker, rename: &Rename) -> anyhow::Result<ExitCode> {
    docker.rename_container(&rename.container, RenameContainerOptions { name: rename.name.clone() }).await?;
    Ok(ExitCode::SUCCESS)
}

pub async fn remove(docker: &Docker, remove: &Remove) -> anyhow::Result<ExitCode> {
    let options = RemoveContainerOptions { v: remove.volumes, force: remove.force, link: false };
    each(&remove.containers, async |name| docker.remove_container(name, Some(options.clone())).await).await
}

pub async fn wait(docker: &Docker, names: &Names) -> anyhow::Result<ExitCode> {
    for name in &names.containers {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let mut ended = pin!(docker.wait_container(name, Some(options)));
        if let Some(end) = ended.next().await {
            println!("{}", end?.status_code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn logs(docker: &Docker, logs: &Logs) -> anyhow::Result<ExitCode> {
    let now = jiff::Timestamp::now();
    let moment = |text: &Option<String>| text.as_deref().map_or(Ok(0), |text| moment(text, now));
    let options = LogsOptions {
        follow: logs.follow,
        stdout: true,
        stderr: true,
        since: moment(&logs.since)?,
        until: moment(&logs.until)?,
        timestamps: logs.timestamps,
        tail: logs.tail.clone(),
    };
    session::print(Box::pin(docker.logs(&logs.container, Some(options)))).await?;
    Ok(ExitCode::SUCCESS)
}

/// Seconds since 1970 from a time (RFC 3339 or Unix seconds) or a duration back from `now` (`10m`, `1h30m`).
pub fn moment(text: &str, now: jiff::Timestamp) -> anyhow::Result<i32> {
    let seconds = if let Ok(seconds) = text.parse::<i64>() {
        seconds
    } else if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        stamp.as_second()
    } else if let Ok(back) = text.parse::<jiff::SignedDuration>() {
        now.as_second().saturating_sub(back.as_secs())
    } else {
        anyhow::bail!("{text}: neither a time (2026-01-31T12:00:00Z) nor a duration (10m)");
    };
    Ok(i32::try_from(seconds).unwrap_or(i32::MAX))
}

pub async fn top(docker: &Docker, top: &Top) -> anyhow::Result<ExitCode> {
    let arguments = Some(top.arguments.join(" ")).filter(|arguments| !arguments.is_empty());
    let options = TopOptions { ps_args: arguments.unwrap_or_else(|| "-ef".to_owned()) };
    let found = docker.top_processes(&top.container, Some(options)).await?;
    let titles = found.titles.unwrap_or_default();
    let rows = found.processes.unwrap_or_default();
    let width = |index: usize| {
        let cells = rows.iter().chain([&titles]).filter_map(|row| row.get(index));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default() + 3
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    for row in [&titles].into_iter().chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<String>().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn inspect(docker: &Docker, inspect: &Inspect) -> anyhow::Result<ExitCode> {
    let mut found = Vec::new();
    let mut outcome = ExitCode::SUCCESS;
    for name in &inspect.names {
        match look(docker, name).await {
            Ok(document) => found.push(document),
            Err(_) => {
                eprintln!("boxyard: no such object: {name}");
                outcome = ExitCode::FAILURE;
            }
        }
    }
    match &inspect.format {
        None => println!("{}", serde_json::to_string_pretty(&found)?),
        Some(template) => {
            for document in &found {
                let value = |path: &str| {
                    let parts = path.split('.').filter(|part| !part.is_empty());
                    parts.into_iter().try_fold(document, |value, part| value.get(part)).cloned()
                };
                println!("{}", super::table::fill(template, &value).map_err(anyhow::Error::msg)?);
            }
        }
    }
    Ok(outcome)
}

async fn look(docker: &Docker, name: &str) -> anyhow::Result<serde_json::Value> {
    if let Ok(found) = docker.inspect_container(name, None).await {
        return Ok(serde_json::to_value(found)?);
    }
    if let Ok(found) = docker.inspect_image(name).await {
        return Ok(serde_json::to_value(found)?);
    }
    if let Ok(found) = docker.inspect_network(name, None).await {
        return Ok(serde_json::to_value(found)?);
    }
    Ok(serde_json::to_value(docker.inspect_volume(name).await?)?)
}
