//! The verbs on the engine as a whole: version, info, events, disk usage, prune; and on networks and volumes.

use std::collections::HashMap;
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use futures_util::StreamExt;

use super::filters::FilterFlags;
use super::lifecycle::{each, moment};
use super::lists::{self, List};
use super::table::{Format, Table, column};
use super::words::{memory, size};
use crate::client::Docker;
use crate::client::models::{
    EventMessage, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
    VolumeCreateRequest,
};
use crate::client::query_parameters::{
    EventsOptions, PruneBuildOptions, PruneContainersOptions, PruneImagesOptions, PruneNetworksOptions,
    PruneVolumesOptions, RemoveVolumeOptions,
};

/// How to print a document.
#[derive(Debug, Args)]
pub struct Show {
    /// Print 'json', or a template such as '{{.ServerVersion}}'
    #[arg(short, long)]
    format: Option<String>,
}

/// Which events.
#[derive(Debug, Args)]
pub struct Events {
    /// From then on: a time, or how long ago (10m)
    #[arg(long)]
    since: Option<String>,
    /// Until then
    #[arg(long)]
    until: Option<String>,
    #[command(flatten)]
    filters: FilterFlags,
    /// Print 'json'
    #[arg(long)]
    format: Option<String>,
}

/// The engine's disk.
#[derive(Debug, Subcommand)]
pub enum System {
    /// Show what takes the disk
    Df,
    /// Remove stopped containers, unused networks, unnamed images and the build cache
    Prune(Prune),
    /// Show facts about the engine
    Info(Show),
    /// Show what happens
    Events(Events),
}

/// What to remove.
#[derive(Debug, Args)]
pub struct Prune {
    /// Every image that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Unused anonymous volumes too
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Networks.
#[derive(Debug, Subcommand)]
pub enum Network {
    /// List them
    #[command(visible_alias = "list")]
    Ls(List),
    /// Make one
    Create(NetworkCreate),
    /// Remove some
    #[command(visible_alias = "remove")]
    Rm(Names),
    /// Put a container on one
    Connect(NetworkMember),
    /// Take a container off one
    Disconnect(NetworkMember),
}

/// A network to make.
#[derive(Debug, Args)]
pub struct NetworkCreate {
    /// Its driver
    #[arg(short, long, default_value = "bridge")]
    driver: String,
    /// Its addresses, like 10.9.0.0/24
    #[arg(long)]
    subnet: Option<String>,
    /// Its gateway's address
    #[arg(long)]
    gateway: Option<String>,
    /// No way out of it
    #[arg(long)]
    internal: bool,
    /// Label it: KEY=VALUE
    #[arg(long)]
    label: Vec<String>,
    /// A setting of the driver: NAME=VALUE
    #[arg(short, long)]
    opt: Vec<String>,
    name: String,
}

/// A container and a network.
#[derive(Debug, Args)]
pub struct NetworkMember {
    network: String,
    container: String,
}

/// Volumes.
#[derive(Debug, Subcommand)]
pub enum Volume {
    /// List them
    #[command(visible_alias = "list")]
    Ls(List),
    /// Make one
    Create(VolumeCreate),
    /// Remove some
    #[command(visible_alias = "remove")]
    Rm(Names),
}

/// A volume to make.
#[derive(Debug, Args)]
pub struct VolumeCreate {
    /// Label it: KEY=VALUE
    #[arg(long)]
    label: Vec<String>,
    /// Its name; a random one where it is missing
    name: Option<String>,
}

/// Names of things.
#[derive(Debug, Args)]
pub struct Names {
    #[arg(required = true)]
    names: Vec<String>,
}

fn document(format: &str, document: &serde_json::Value) -> anyhow::Result<ExitCode> {
    let template = if format == "json" { "{{json .}}" } else { format };
    let value = |path: &str| {
        let parts = path.split('.').filter(|part| !part.is_empty());
        parts.into_iter().try_fold(document, |value, part| value.get(part)).cloned()
    };
    println!("{}", super::table::fill(template, &value).map_err(anyhow::Error::msg)?);
    Ok(ExitCode::SUCCESS)
}

pub async fn version(docker: &Docker, show: &Show) -> anyhow::Result<ExitCode> {
    let found = docker.version().await?;
    let client =
        serde_json::json!({ "Version": env!("CARGO_PKG_VERSION"), "ApiVersion": docker.client_version().to_string() });
    if let Some(format) = &show.format {
        return document(format, &serde_json::json!({ "Client": client, "Server": found }));
    }
    let text = Option::unwrap_or_default;
    println!("Client:\n Version:     {}\n API version: {}", env!("CARGO_PKG_VERSION"), docker.client_version());
    println!("\nServer: {}", found.platform.map(|platform| platform.name).unwrap_or_default());
    println!(" Address:     {}", docker.address());
    println!(" Version:     {}", text(found.version));
    println!(" API version: {} (minimum {})", text(found.api_version), text(found.min_api_version));
    println!(" OS/Arch:     {}/{}", text(found.os), text(found.arch));
    println!(" Kernel:      {}", text(found.kernel_version));
    Ok(ExitCode::SUCCESS)
}

pub async fn info(docker: &Docker, show: &Show) -> anyhow::Result<ExitCode> {
    let found = docker.info().await?;
    if let Some(format) = &show.format {
        return document(format, &serde_json::to_value(&found)?);
    }
    let text = Option::unwrap_or_default;
    println!("Server:           {}", docker.address());
    println!("Version:          {}", text(found.server_version));
    println!(
        "Containers:       {} ({} running, {} paused, {} stopped)",
        found.containers.unwrap_or_default(),
        found.containers_running.unwrap_or_default(),
        found.containers_paused.unwrap_or_default(),
        found.containers_stopped.unwrap_or_default(),
    );
    println!("Images:           {}", found.images.unwrap_or_default());
    println!("Storage driver:   {}", text(found.driver));
    println!("State root:       {}", text(found.docker_root_dir));
    println!(
        "Cgroups:          version {}",
        found.cgroup_version.map(|version| version.to_string()).unwrap_or_default()
    );
    println!("Operating system: {}", text(found.operating_system));
    println!("Kernel:           {}", text(found.kernel_version));
    println!("Architecture:     {}", text(found.architecture));
    println!("Processors:       {}", found.ncpu.unwrap_or_default());
    println!("Memory:           {}", memory(found.mem_total.unwrap_or_default()));
    println!("Name:             {}", text(found.name));
    found.security_options.into_iter().flatten().for_each(|option| println!("Security:         {option}"));
    found.warnings.into_iter().flatten().for_each(|warning| eprintln!("WARNING: {warning}"));
    Ok(ExitCode::SUCCESS)
}

pub async fn events(docker: &Docker, events: &Events) -> anyhow::Result<ExitCode> {
    let now = jiff::Timestamp::now();
    let moment = |text: &Option<String>| {
        text.as_deref().map(|text| moment(text, now).map(|seconds| seconds.to_string())).transpose()
    };
    let options = EventsOptions {
        since: moment(&events.since)?,
        until: moment(&events.until)?,
        filters: events.filters.gathered(),
    };
    let mut stream = pin!(docker.events(Some(options)));
    while let Some(event) = stream.next().await {
        let event = event?;
        let line = match events.format.as_deref() {
            Some(_) => serde_json::to_string(&event)?,
            None => event_line(&event),
        };
        if writeln!(std::io::stdout(), "{line}").is_err() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An event as docker prints it: time, kind, action, ID, attributes.
fn event_line(event: &EventMessage) -> String {
    let stamp = event.time_nano.and_then(|nanos| jiff::Timestamp::from_nanosecond(nanos.into()).ok());
    let stamp = stamp
        .map(|stamp| stamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string());
    let kind = event.typ.map(|kind| kind.to_string()).unwrap_or_default();
    let actor = event.actor.clone().unwrap_or_default();
    let mut attributes: Vec<String> =
        actor.attributes.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    attributes.sort();
    let attributes = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    let action = event.action.as_deref().unwrap_or_default();
    format!("{} {kind} {action} {}{attributes}", stamp.unwrap_or_default(), actor.id.unwrap_or_default())
}

pub async fn system(docker: &Docker, system: &System) -> anyhow::Result<ExitCode> {
    match system {
        System::Df => disk_usage(docker).await,
        System::Prune(what) => prune(docker, what).await,
        System::Info(show) => info(docker, show).await,
        System::Events(which) => events(docker, which).await,
    }
}

async fn disk_usage(docker: &Docker) -> anyhow::Result<ExitCode> {
    let found = docker.df(None).await?;
    let mut table = Table::new(&[
        column("Type", "TYPE"),
        column("TotalCount", "TOTAL"),
        column("Active", "ACTIVE"),
        column("Size", "SIZE"),
        column("Reclaimable", "RECLAIMABLE"),
    ]);
    let mut row = |name: &str, counts: [Option<i64>; 4]| {
        let [total, active, bytes, free] = counts.map(Option::unwrap_or_default);
        let share = if bytes > 0 { format!(" ({}%)", free.saturating_mul(100) / bytes) } else { String::new() };
        table.row(vec![name.to_owned(), total.to_string(), active.to_string(), size(bytes, 4), size(free, 4) + &share]);
    };
    let images = found.image_usage.unwrap_or_default();
    row("Images", [images.total_count, images.active_count, images.total_size, images.reclaimable]);
    let containers = found.container_usage.unwrap_or_default();
    row("Containers", [containers.total_count, containers.active_count, containers.total_size, containers.reclaimable]);
    let volumes = found.volume_usage.unwrap_or_default();
    row("Local Volumes", [volumes.total_count, volumes.active_count, volumes.total_size, volumes.reclaimable]);
    let cache = found.build_cache_usage.unwrap_or_default();
    row("Build Cache", [cache.total_count, cache.active_count, cache.total_size, cache.reclaimable]);
    print!("{}", table.render(&Format::default(), "Type").map_err(anyhow::Error::msg)?);
    Ok(ExitCode::SUCCESS)
}

async fn prune(docker: &Docker, prune: &Prune) -> anyhow::Result<ExitCode> {
    if !prune.force && !is_sure(prune)? {
        return Ok(ExitCode::SUCCESS);
    }
    let mut freed = 0;
    let containers = docker.prune_containers(None::<PruneContainersOptions>).await?;
    told("Deleted Containers:", containers.containers_deleted);
    freed += containers.space_reclaimed.unwrap_or_default();
    told("Deleted Networks:", docker.prune_networks(None::<PruneNetworksOptions>).await?.networks_deleted);
    if prune.volumes {
        let volumes = docker.prune_volumes(None::<PruneVolumesOptions>).await?;
        told("Deleted Volumes:", volumes.volumes_deleted);
        freed += volumes.space_reclaimed.unwrap_or_default();
    }
    let filters = HashMap::from([("dangling".to_owned(), vec![(!prune.all).to_string()])]);
    let images = docker.prune_images(Some(PruneImagesOptions { filters: Some(filters) })).await?;
    let gone = images.images_deleted.unwrap_or_default().into_iter().filter_map(|item| item.deleted.or(item.untagged));
    told("Deleted Images:", Some(gone.collect()));
    freed += images.space_reclaimed.unwrap_or_default();
    let cache = docker.prune_build(Some(PruneBuildOptions { all: Some(prune.all), ..Default::default() })).await?;
    told("Deleted build cache objects:", cache.caches_deleted);
    freed += cache.space_reclaimed.unwrap_or_default();
    println!("Total reclaimed space: {}", size(freed, 4));
    Ok(ExitCode::SUCCESS)
}

fn told(heading: &str, names: Option<Vec<String>>) {
    let names = names.unwrap_or_default();
    if !names.is_empty() {
        println!("{heading}\n{}\n", names.join("\n"));
    }
}

fn is_sure(prune: &Prune) -> anyhow::Result<bool> {
    let images = if prune.all { "all images that no container uses" } else { "all images without a name" };
    let volumes = if prune.volumes { "\n  - all anonymous volumes that no container uses" } else { "" };
    print!(
        "WARNING! This will remove:\n  - all stopped containers\n  - all networks that no container uses{volumes}\n  - {images}\n  \
         - unused build cache\n\nAre you sure you want to continue? [y/N] "
    );
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn pairs(texts: &[String]) -> Option<HashMap<String, String>> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    (!texts.is_empty()).then(|| texts.iter().map(pair).collect())
}

pub async fn network(docker: &Docker, network: &Network) -> anyhow::Result<ExitCode> {
    match network {
        Network::Ls(list) => lists::networks(docker, list).await,
        Network::Create(create) => {
            let pool =
                IpamConfig { subnet: create.subnet.clone(), gateway: create.gateway.clone(), ..IpamConfig::default() };
            let has_pool = create.subnet.is_some() || create.gateway.is_some();
            let request = NetworkCreateRequest {
                name: create.name.clone(),
                driver: Some(create.driver.clone()),
                internal: Some(create.internal),
                ipam: has_pool.then(|| Ipam { config: Some(vec![pool]), ..Ipam::default() }),
                labels: pairs(&create.label),
                options: pairs(&create.opt),
                ..NetworkCreateRequest::default()
            };
            println!("{}", docker.create_network(request).await?.id);
            Ok(ExitCode::SUCCESS)
        }
        Network::Rm(names) => each(&names.names, async |name| docker.remove_network(name).await).await,
        Network::Connect(member) => {
            let request = NetworkConnectRequest { container: member.container.clone(), ..Default::default() };
            docker.connect_network(&member.network, request).await?;
            Ok(ExitCode::SUCCESS)
        }
        Network::Disconnect(member) => {
            let request = NetworkDisconnectRequest { container: member.container.clone(), force: Some(false) };
            docker.disconnect_network(&member.network, request).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub async fn volume(docker: &Docker, volume: &Volume) -> anyhow::Result<ExitCode> {
    match volume {
        Volume::Ls(list) => lists::volumes(docker, list).await,
        Volume::Create(create) => {
            let request = VolumeCreateRequest {
                name: create.name.clone(),
                labels: pairs(&create.label),
                ..VolumeCreateRequest::default()
            };
            println!("{}", docker.create_volume(request).await?.name);
            Ok(ExitCode::SUCCESS)
        }
        Volume::Rm(names) => {
            each(&names.names, async |name| docker.remove_volume(name, None::<RemoveVolumeOptions>).await).await
        }
    }
}
