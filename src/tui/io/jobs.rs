//! Carries out works on the engine.

use super::failure;
use crate::client::models as docker;
use crate::client::query_parameters::{
    CreateContainerOptions, CreateImageOptions, KillContainerOptions, PruneBuildOptions, PruneImagesOptions,
    PruneVolumesOptions, RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions, RenameContainerOptions,
    TagImageOptions,
};
use crate::client::{Docker, Error, HostImageRequest};
use crate::tui::event::{Part, Progress};
use crate::tui::form::spec::{NetworkSpec, RunSpec};
use crate::tui::job::{Failure, Job, PruneKind, Report, Target};
use crate::tui::text;
use futures_util::StreamExt;
use std::collections::HashMap;

/// The name of the image that is made from the host.
const HOST_IMAGE: &str = "host/shell:latest";

/// Does a job, telling its progress.
pub(super) async fn run(client: &Docker, job: &Job, mut tell: impl FnMut(Progress)) -> Result<Report, Failure> {
    match job {
        Job::SaveLog { path, text } => {
            let written = tokio::fs::write(path, text).await;
            return written.map(|()| Report::default()).map_err(|error| Failure {
                why: format!("write {path}: {error}"),
                status: 0,
                is_cancelled: false,
            });
        }
        Job::Pull { reference } => return pull(client, reference, &mut tell).await,
        Job::Run(spec) => return start(client, spec, &mut tell).await,
        Job::FirstContainer => return first(client, &mut tell).await,
        _ => {}
    }
    simple(client, job).await.map_err(|error| failure(&error))
}

async fn simple(client: &Docker, job: &Job) -> Result<Report, Error> {
    match job {
        Job::Start(target) => client.start_container(&target.id, None).await?,
        Job::Stop(target) => client.stop_container(&target.id, None).await?,
        Job::Restart(target) => client.restart_container(&target.id, None).await?,
        Job::Pause(target) => client.pause_container(&target.id).await?,
        Job::Unpause(target) => client.unpause_container(&target.id).await?,
        Job::Kill { target, signal } => {
            client.kill_container(&target.id, Some(KillContainerOptions { signal: signal.clone() })).await?;
        }
        Job::Rename { target, name } => {
            client.rename_container(&target.id, RenameContainerOptions { name: name.clone() }).await?;
        }
        Job::RemoveContainer { target, force, volumes } => {
            let options = RemoveContainerOptions { v: *volumes, force: *force, link: false };
            client.remove_container(&target.id, Some(options)).await?;
        }
        Job::Tag { image, reference } => {
            let (repo, tag) = split(reference);
            let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
            client.tag_image(&image.id, Some(options)).await?;
        }
        Job::RemoveImage { target, force } => {
            let options = RemoveImageOptions { force: *force, ..Default::default() };
            client.remove_image(&target.id, Some(options), None).await?;
        }
        Job::CreateVolume(spec) => {
            let labels = spec.labels.iter().cloned().collect();
            let request = docker::VolumeCreateRequest {
                name: Some(spec.name.clone()),
                labels: Some(labels),
                ..Default::default()
            };
            client.create_volume(request).await?;
        }
        Job::RemoveVolume { name, force } => {
            client.remove_volume(name, Some(RemoveVolumeOptions { force: *force })).await?;
        }
        Job::CreateNetwork(spec) => {
            client.create_network(network(spec)).await?;
        }
        Job::RemoveNetwork(target) => client.remove_network(&target.id).await?,
        Job::Connect { network, container } => {
            let request = docker::NetworkConnectRequest { container: container.id.clone(), ..Default::default() };
            client.connect_network(&network.id, request).await?;
        }
        Job::Disconnect { network, container } => {
            let request = docker::NetworkDisconnectRequest { container: container.id.clone(), force: None };
            client.disconnect_network(&network.id, request).await?;
        }
        Job::Prune(kind) => return prune(client, *kind).await,
        Job::Pull { .. } | Job::Run(_) | Job::FirstContainer | Job::SaveLog { .. } => {}
    }
    Ok(Report::default())
}

async fn prune(client: &Docker, kind: PruneKind) -> Result<Report, Error> {
    let only = |key: &str, value: &str| Some(HashMap::from([(key.to_owned(), vec![value.to_owned()])]));
    let (count, freed) = match kind {
        PruneKind::Containers => {
            let answer = client.prune_containers(None).await?;
            (answer.containers_deleted.map_or(0, |list| list.len()), answer.space_reclaimed)
        }
        PruneKind::DanglingImages | PruneKind::UnusedImages => {
            let dangling = if kind == PruneKind::DanglingImages { "true" } else { "false" };
            let options = PruneImagesOptions { filters: only("dangling", dangling) };
            let answer = client.prune_images(Some(options)).await?;
            (answer.images_deleted.map_or(0, |list| list.len()), answer.space_reclaimed)
        }
        PruneKind::Volumes => {
            let answer = client.prune_volumes(Some(PruneVolumesOptions { filters: only("all", "true") })).await?;
            (answer.volumes_deleted.map_or(0, |list| list.len()), answer.space_reclaimed)
        }
        PruneKind::Networks => {
            let answer = client.prune_networks(None).await?;
            (answer.networks_deleted.map_or(0, |list| list.len()), None)
        }
        PruneKind::BuildCache => {
            let options = PruneBuildOptions { all: Some(true), ..Default::default() };
            let answer = client.prune_build(Some(options)).await?;
            (answer.caches_deleted.map_or(0, |list| list.len()), answer.space_reclaimed)
        }
    };
    let freed = freed.and_then(|bytes| u64::try_from(bytes).ok());
    Ok(Report { freed, count: Some(count), ..Report::default() })
}

fn network(spec: &NetworkSpec) -> docker::NetworkCreateRequest {
    let config = spec.subnet.clone().map(|subnet| docker::IpamConfig { subnet: Some(subnet), ..Default::default() });
    docker::NetworkCreateRequest {
        name: spec.name.clone(),
        driver: Some(spec.driver.clone()),
        internal: Some(spec.is_internal),
        ipam: config.map(|config| docker::Ipam { config: Some(vec![config]), ..Default::default() }),
        ..Default::default()
    }
}

/// Repository and tag of a reference; the tag is `latest` where there is none.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repo, tag)) if !tag.contains('/') => (repo, tag),
        _ => (reference, "latest"),
    }
}

/// A pull: each layer a part.
#[derive(Default)]
struct Layers {
    order: Vec<String>,
    parts: HashMap<String, Part>,
    note: String,
}

impl Layers {
    fn take(&mut self, info: docker::CreateImageInfo) {
        let status = text::clean(&info.status.unwrap_or_default());
        let Some(id) = info.id.filter(|_| info.progress_detail.is_some() || is_of_layer(&status)) else {
            if !status.is_empty() {
                self.note = status;
            }
            return;
        };
        if !self.parts.contains_key(&id) {
            self.order.push(id.clone());
        }
        let part = self.parts.entry(id.clone()).or_default();
        part.name = text::clean(&id);
        let detail = info.progress_detail.unwrap_or_default();
        if let Some(current) = detail.current {
            part.done = current.max(0) as u64;
        }
        if let Some(total) = detail.total.filter(|total| *total > 0) {
            part.total = total as u64;
        }
        if matches!(status.as_str(), "Pull complete" | "Already exists" | "Download complete") {
            part.done = part.total;
        }
        part.state = status;
    }

    fn progress(&self) -> Progress {
        let parts: Vec<Part> = self.order.iter().filter_map(|id| self.parts.get(id).cloned()).collect();
        let downloading = parts.iter().filter(|part| part.state != "Already exists");
        let (done, total) = downloading.fold((0, 0), |(done, total), part| {
            // Unpacking counts again from nothing; for the sum it is work that is already fetched.
            let done_here = if part.state.starts_with("Extract") { part.total } else { part.done };
            (done + done_here.min(part.total), total + part.total)
        });
        Progress { note: self.note.clone(), done, total, parts }
    }
}

fn is_of_layer(status: &str) -> bool {
    [
        "Pulling fs layer",
        "Waiting",
        "Downloading",
        "Verifying",
        "Download complete",
        "Extracting",
        "Pull complete",
        "Already exists",
    ]
    .iter()
    .any(|known| status.starts_with(known))
}

async fn pull(client: &Docker, reference: &str, tell: &mut impl FnMut(Progress)) -> Result<Report, Failure> {
    let options = if reference.contains('@') {
        CreateImageOptions { from_image: Some(reference.to_owned()), ..Default::default() }
    } else {
        let (repo, tag) = split(reference);
        CreateImageOptions { from_image: Some(repo.to_owned()), tag: Some(tag.to_owned()), ..Default::default() }
    };
    let mut stream = Box::pin(client.create_image(Some(options), None, None));
    let mut layers = Layers::default();
    while let Some(item) = stream.next().await {
        let info = item.map_err(|error| failure(&error))?;
        if let Some(why) = info.error_detail.as_ref().and_then(|detail| detail.message.clone()) {
            return Err(Failure { why, status: 500, is_cancelled: false });
        }
        layers.take(info);
        tell(layers.progress());
    }
    let note = match layers.note.as_str() {
        note if note.contains("up to date") => "already up to date".to_owned(),
        _ => String::new(),
    };
    Ok(Report { note, ..Report::default() })
}

async fn start(client: &Docker, spec: &RunSpec, tell: &mut impl FnMut(Progress)) -> Result<Report, Failure> {
    let options = CreateContainerOptions { name: spec.name.clone(), ..Default::default() };
    let mut created = client.create_container(Some(options.clone()), body(spec)).await;
    if matches!(&created, Err(error) if error.status_code() == Some(404)) {
        tell(Progress { note: format!("pulling {}", spec.image), ..Progress::default() });
        pull(client, &spec.image, tell).await?;
        created = client.create_container(Some(options), body(spec)).await;
    }
    let id = created.map_err(|error| failure(&error))?.id;
    let started = client.start_container(&id, None).await;
    if let Err(error) = started {
        // What never ran is of no use to anybody, and its name should be free for the next try.
        let _ = client.remove_container(&id, None).await;
        return Err(failure(&error));
    }
    let inspect = client.inspect_container(&id, None).await.ok();
    let name = inspect.and_then(|inspect| inspect.name).map(|name| name.trim_start_matches('/').to_owned());
    let made = Target::new(id.clone(), name.unwrap_or_else(|| text::short_id(&id).to_owned()));
    Ok(Report { made: Some(made), ..Report::default() })
}

fn body(spec: &RunSpec) -> docker::ContainerCreateBody {
    let mut bindings: HashMap<String, Option<Vec<docker::PortBinding>>> = HashMap::new();
    for port in &spec.ports {
        let binding = docker::PortBinding {
            host_ip: port.address.clone(),
            host_port: Some(port.host.map(|port| port.to_string()).unwrap_or_default()),
        };
        bindings.entry(port.container.clone()).or_default().get_or_insert_default().push(binding);
    }
    let restart = spec.restart.as_ref().and_then(|policy| policy.parse::<docker::RestartPolicyNameEnum>().ok());
    docker::ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: (!spec.env.is_empty()).then(|| spec.env.clone()),
        tty: Some(spec.has_tty),
        open_stdin: Some(spec.has_tty),
        exposed_ports: (!spec.ports.is_empty()).then(|| spec.ports.iter().map(|port| port.container.clone()).collect()),
        host_config: Some(docker::HostConfig {
            binds: (!spec.binds.is_empty()).then(|| spec.binds.clone()),
            port_bindings: (!bindings.is_empty()).then_some(bindings),
            network_mode: spec.network.clone(),
            memory: spec.memory,
            auto_remove: Some(spec.removes_itself),
            restart_policy: restart.map(|name| docker::RestartPolicy { name: Some(name), maximum_retry_count: None }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// From an empty machine to something that runs: an image of the host's own shell and tools, and a shell in it.
async fn first(client: &Docker, tell: &mut impl FnMut(Progress)) -> Result<Report, Failure> {
    tell(Progress { note: "copying a shell and its libraries".to_owned(), ..Progress::default() });
    let request = HostImageRequest { reference: HOST_IMAGE.to_owned(), ..Default::default() };
    client.image_from_host(&request).await.map_err(|error| failure(&error))?;
    let spec =
        RunSpec { image: HOST_IMAGE.to_owned(), name: Some("first".to_owned()), has_tty: true, ..RunSpec::default() };
    start(client, &spec, tell).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_split_at_the_tag_not_at_a_port() {
        assert_eq!(split("nginx"), ("nginx", "latest"));
        assert_eq!(split("localhost:5000/x"), ("localhost:5000/x", "latest"));
        assert_eq!(split("localhost:5000/x:1"), ("localhost:5000/x", "1"));
    }

    #[test]
    fn a_pull_sums_its_layers() {
        let mut layers = Layers::default();
        let info = |id: &str, status: &str, current: Option<i64>, total: Option<i64>| docker::CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(docker::ProgressDetail { current, total }),
            error_detail: None,
        };
        layers.take(info("a", "Already exists", None, None));
        layers.take(info("b", "Downloading", Some(30), Some(100)));
        layers.take(info("c", "Extracting", Some(5), Some(100)));
        let progress = layers.progress();
        assert_eq!((progress.done, progress.total, progress.parts.len()), (130, 200, 3));
    }
}
