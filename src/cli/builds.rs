//! `builds`: what was built here, by whichever client, how it went and what it said; `builder`: what the builds left.

use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::table::{Format, Table, column};
use super::words::{ellipsis, parse_size, size, span};
use crate::buildkit::{BuildEntry, BuildState, BuildStepState};
use crate::client::Docker;
use crate::client::models::BuildCache;
use crate::client::query_parameters::PruneBuildOptions;

/// The builds that ran.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Builds {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the builds that run and the last that ran
    Ls(List),
    /// Tell all about a build: its steps, and why they were not taken from the cache
    Show(One),
    /// Show what a build said
    Logs(One),
    /// Forget builds; their images stay
    Rm(Many),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
struct One {
    /// The build's ID, or the beginning of it, or buildx.build.ref of --metadata-file; the last build where it is missing
    build: Option<String>,
}

#[derive(Debug, Args)]
struct Many {
    /// IDs, or the beginnings of them
    #[arg(required = true)]
    builds: Vec<String>,
}

/// The build cache.
#[derive(Debug, Subcommand)]
pub enum Builder {
    /// Show what the build cache holds
    Du(Usage),
    /// Remove build cache
    Prune(Prune),
}

/// Which rows.
#[derive(Debug, Args)]
pub struct Usage {
    #[command(flatten)]
    format: Format,
}

/// What of the cache is to go.
#[derive(Debug, Args)]
pub struct Prune {
    /// Also what images share their layers with
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Keep so much, the most recently used of it
    #[arg(long, alias = "reserved-space", value_name = "SIZE", value_parser = parse_size)]
    keep_storage: Option<i64>,
    /// Keep no more than so much
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_used_space: Option<i64>,
    /// Have so much of the disk free
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    min_free_space: Option<i64>,
    /// Only what matches, like unused-for=24h, type=regular or id=… (may be repeated)
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<String>,
}

pub async fn builds(docker: &Docker, builds: &Builds) -> anyhow::Result<ExitCode> {
    match &builds.what {
        None => list(docker, &builds.list).await?,
        Some(What::Ls(which)) => list(docker, which).await?,
        Some(What::Show(one)) => print!("{}", shown(&one.find(docker).await?, Timestamp::now())),
        Some(What::Logs(one)) => {
            let log = docker.build_log(&one.find(docker).await?.id).await?;
            std::io::stdout().write_all(&log)?;
        }
        Some(What::Rm(many)) => {
            for id in &many.builds {
                docker.forget_build(without_builder(id)).await?;
                println!("{id}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The ID of `buildx.build.ref`, which has a builder's and a node's name before it.
fn without_builder(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

impl One {
    async fn find(&self, docker: &Docker) -> anyhow::Result<BuildEntry> {
        match &self.build {
            Some(id) => Ok(docker.inspect_build(without_builder(id)).await?),
            None => {
                let last = docker.builds().await?.into_iter().next();
                last.ok_or_else(|| anyhow::anyhow!("no build is known yet"))
            }
        }
    }
}

async fn list(docker: &Docker, list: &List) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        column("ID", "BUILD ID"),
        column("Name", "NAME"),
        column("Status", "STATUS"),
        column("Steps", "STEPS"),
        column("Cached", "CACHED"),
        column("CreatedAt", "CREATED"),
        column("Duration", "DURATION"),
    ]);
    let now = Timestamp::now();
    for build in docker.builds().await? {
        let (done, cached) = build.counts();
        table.row(vec![
            build.id.clone(),
            build.name().to_owned(),
            state(build.state).to_owned(),
            format!("{done}/{}", build.steps.len()),
            percent(cached, build.steps.len()),
            format!("{} ago", span(now, build.started)),
            seconds(build.millis(now)),
        ]);
    }
    print!("{}", table.render(&list.format, "ID").map_err(anyhow::Error::msg)?);
    Ok(())
}

/// A build with its steps, as text.
fn shown(build: &BuildEntry, now: Timestamp) -> String {
    let (done, cached) = build.counts();
    let steps = build.steps.len();
    let facts = [
        ("ID", build.id.clone()),
        ("Name", build.tags.join(", ")),
        ("Dockerfile", build.dockerfile.clone()),
        ("Target", build.target.clone().unwrap_or_default()),
        ("Context", build.context.clone()),
        ("Status", state(build.state).to_owned()),
        ("Error", build.error.clone().unwrap_or_default()),
        ("Image", build.image.clone().unwrap_or_default()),
        ("Started", build.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
        ("Duration", seconds(build.millis(now))),
        ("Steps", format!("{done} of {steps}, {cached} cached ({})", percent(cached, steps))),
    ];
    let mut text: String = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{:<12}{value}\n", format!("{name}:")))
        .collect();
    if steps > 0 {
        text.push('\n');
        let mut table = Table::new(&[column("", "STATE"), column("", "TIME"), column("", "STEP"), column("", "WHY")]);
        for step in &build.steps {
            table.row(vec![
                step_state(step.state).to_owned(),
                if step.millis > 0 { seconds(step.millis) } else { String::new() },
                ellipsis(&step.name, 70),
                step.why.clone().unwrap_or_default(),
            ]);
        }
        text.push_str(&table.render(&Format::default(), "").unwrap_or_default());
    }
    text
}

fn state(state: BuildState) -> &'static str {
    match state {
        BuildState::Running => "running",
        BuildState::Succeeded => "succeeded",
        BuildState::Failed => "failed",
        BuildState::Cancelled => "cancelled",
    }
}

fn step_state(state: BuildStepState) -> &'static str {
    match state {
        BuildStepState::Waiting => "waiting",
        BuildStepState::Running => "running",
        BuildStepState::Cached => "cached",
        BuildStepState::Done => "done",
        BuildStepState::Failed => "failed",
        BuildStepState::Cancelled => "cancelled",
    }
}

fn percent(part: usize, whole: usize) -> String {
    format!("{}%", (part * 100).checked_div(whole).unwrap_or(0))
}

fn seconds(millis: u64) -> String {
    match millis / 1000 {
        0 => format!("{millis}ms"),
        seconds if seconds < 60 => format!("{seconds}.{}s", millis % 1000 / 100),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

pub async fn builder(docker: &Docker, builder: &Builder) -> anyhow::Result<ExitCode> {
    match builder {
        Builder::Du(usage) => disk_usage(docker, usage).await?,
        Builder::Prune(which) => prune(docker, which).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn disk_usage(docker: &Docker, usage: &Usage) -> anyhow::Result<()> {
    let mut found = docker.df_objects().await?;
    let records = found.get_mut("BuildCache").map(serde_json::Value::take).unwrap_or_default();
    let records: Vec<BuildCache> = serde_json::from_value(records)?;
    let mut table = Table::new(&[
        column("ID", "ID"),
        column("Type", "TYPE"),
        column("Size", "SIZE"),
        column("Shared", "SHARED"),
        column("InUse", "IN USE"),
        column("Usage", "USAGE"),
        column("LastUsedAt", "LAST USED"),
        column("Parents", "PARENTS"),
        column("Description", "DESCRIPTION"),
    ]);
    let now = Timestamp::now();
    let mut total = 0;
    for record in records {
        let bytes = record.size.unwrap_or_default();
        total += if record.shared == Some(true) { 0 } else { bytes };
        let used = record.last_used_at.and_then(|at| at.parse::<Timestamp>().ok());
        table.row(vec![
            record.id.unwrap_or_default(),
            record.typ.map(|kind| kind.to_string()).unwrap_or_default(),
            size(bytes, 3),
            record.shared.unwrap_or_default().to_string(),
            record.in_use.unwrap_or_default().to_string(),
            record.usage_count.unwrap_or_default().to_string(),
            used.map(|used| format!("{} ago", span(now, used))).unwrap_or_default(),
            record.parents.unwrap_or_default().join(","),
            ellipsis(&record.description.unwrap_or_default(), 60),
        ]);
    }
    print!("{}", table.render(&usage.format, "ID").map_err(anyhow::Error::msg)?);
    if usage.format.format.is_none() && !usage.format.quiet {
        println!("\nReclaimable: {}", size(total, 3));
    }
    Ok(())
}

async fn prune(docker: &Docker, prune: &Prune) -> anyhow::Result<()> {
    if !prune.force {
        let what = if prune.all { "all build cache" } else { "all build cache that no image shares" };
        print!("WARNING! This will remove {what}. Are you sure you want to continue? [y/N] ");
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
    }
    let mut filters: HashMap<String, Vec<String>> = HashMap::new();
    for filter in &prune.filters {
        let (name, value) = filter.split_once('=').unwrap_or((filter.as_str(), "true"));
        filters.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    let options = PruneBuildOptions {
        all: Some(prune.all),
        reserved_space: prune.keep_storage,
        max_used_space: prune.max_used_space,
        min_free_space: prune.min_free_space,
        filters: (!filters.is_empty()).then_some(filters),
    };
    let answer = docker.prune_build(Some(options)).await?;
    for id in answer.caches_deleted.unwrap_or_default() {
        println!("{id}");
    }
    println!("Total reclaimed space: {}", size(answer.space_reclaimed.unwrap_or_default(), 4));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::BuildStep;

    #[test]
    fn a_build_is_shown_with_its_steps() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let step = |name: &str, state, millis, why: Option<&str>| BuildStep {
            name: name.to_owned(),
            line: Some(1),
            state,
            millis,
            why: why.map(str::to_owned),
        };
        let build = BuildEntry {
            id: "3f2a9c1b7d4e".into(),
            tags: vec!["app:dev".into()],
            dockerfile: "Dockerfile".into(),
            target: None,
            context: String::new(),
            started: at(0),
            ended: Some(at(2)),
            state: BuildState::Failed,
            image: None,
            error: Some("exit code 1".into()),
            steps: vec![
                step("[1/2] FROM base", BuildStepState::Cached, 0, None),
                step("[2/2] RUN make", BuildStepState::Failed, 1500, Some("a.c changed (content)")),
            ],
        };
        let expected = "\
ID:         3f2a9c1b7d4e
Name:       app:dev
Dockerfile: Dockerfile
Status:     failed
Error:      exit code 1
Started:    1970-01-01 00:00:00 UTC
Duration:   2.0s
Steps:      1 of 2, 1 cached (50%)

STATE     TIME      STEP              WHY
cached              [1/2] FROM base   
failed    1.5s      [2/2] RUN make    a.c changed (content)
";
        assert_eq!(shown(&build, at(9)), expected);
    }
}
