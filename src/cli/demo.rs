//! The demo's scene: a small shop of two containers, made from nothing but the host's own programs.
//!
//! No network and no registry is needed. Everything made carries the label [`LABEL`] (the base image, which can't, has a
//! name of its own), so cleaning removes exactly what the demo made, whatever a person added meanwhile. Making it again
//! makes what is missing and starts what does not run.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::client::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, NetworkCreateRequest, NetworkingConfig, VolumeCreateRequest,
};
use crate::client::query_parameters::{
    CreateContainerOptions, ListContainersOptions, ListImagesOptions, ListNetworksOptions, ListVolumesOptions,
    RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
};
use crate::client::{Docker, Error, HostImageRequest};

/// What marks the demo's own things.
const LABEL: &str = "boxyard.demo";
/// The base image, made of the host's programs.
const IMAGE: &str = "boxyard-demo:latest";
/// The project, in compose's sense.
const PROJECT: &str = "shop";
const NETWORK: &str = "shop_default";
const VOLUME: &str = "shop_data";

/// A service of the shop: its name and what its shell runs.
const SERVICES: [(&str, &str); 2] =
    [("web", include_str!("../../assets/demo/web.sh")), ("worker", include_str!("../../assets/demo/worker.sh"))];

/// The files of the sample folder.
const SAMPLE: [(&str, &str); 2] = [
    ("Dockerfile", include_str!("../../assets/demo/Dockerfile")),
    ("hello.sh", include_str!("../../assets/demo/hello.sh")),
];

/// Makes what is missing of the scene, and the sample folder in `sample`. Tells each step to `tell`.
///
/// # Errors
/// What the engine refused; what stands in the way under one of the demo's names.
pub async fn make(docker: &Docker, sample: &Path, tell: impl Fn(&str)) -> anyhow::Result<()> {
    if docker.inspect_image(IMAGE).await.is_err() {
        tell("making an image of this host's own programs");
        let request = HostImageRequest { reference: IMAGE.to_owned(), ..HostImageRequest::default() };
        docker.image_from_host(&request).await.map_err(explain)?;
    }
    if is_missing(docker.inspect_network(NETWORK, None).await)? {
        tell("making the network shop_default");
        docker.create_network(network()).await?;
    }
    if is_missing(docker.inspect_volume(VOLUME).await)? {
        tell("making the volume shop_data");
        docker.create_volume(volume()).await?;
    }
    for (service, script) in SERVICES {
        let name = container_name(service);
        match docker.inspect_container(&name, None).await {
            Ok(found) => {
                let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
                if !labels.contains_key(LABEL) {
                    bail!("a container named {name} exists already and is not the demo's; rename it, then try again");
                }
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                tell(&format!("making the container {name}"));
                let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
                docker.create_container(Some(options), container(service, script)).await?;
            }
            Err(other) => return Err(other.into()),
        }
        docker.start_container(&name, None).await.with_context(|| format!("start {name}"))?;
    }
    write_sample(sample).with_context(|| format!("write the sample into {}", sample.display()))
}

/// Removes the demo's containers, network, volume and images, and the sample folder.
///
/// # Errors
/// What could not be removed; the rest is gone nevertheless.
pub async fn clean(docker: &Docker, sample: &Path, tell: impl Fn(&str)) -> anyhow::Result<()> {
    let mut refusals: Vec<String> = Vec::new();
    let mut done = |what: &str, outcome: Result<(), Error>| match outcome {
        Ok(()) => tell(&format!("removed {what}")),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(error) => refusals.push(format!("{what}: {error}")),
    };
    let filters = || Some(HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]));
    let containers = ListContainersOptions { all: true, filters: filters(), ..ListContainersOptions::default() };
    for container in docker.list_containers(Some(containers)).await? {
        let id = container.id.unwrap_or_default();
        let name = container.names.and_then(|names| names.into_iter().next()).unwrap_or_else(|| id.clone());
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        let outcome = docker.remove_container(&id, Some(options)).await;
        done(&format!("container {}", name.trim_start_matches('/')), outcome);
    }
    for network in docker.list_networks(Some(ListNetworksOptions { filters: filters() })).await? {
        let name = network.name.unwrap_or_default();
        done(&format!("network {name}"), docker.remove_network(&name).await);
    }
    let volumes = docker.list_volumes(Some(ListVolumesOptions { filters: filters() })).await?.volumes;
    for volume in volumes.unwrap_or_default() {
        let outcome = docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
        done(&format!("volume {}", volume.name), outcome);
    }
    // Those that people built on the sample first, then the base they stand on.
    let built = ListImagesOptions { filters: filters(), ..ListImagesOptions::default() };
    let built = docker.list_images(Some(built)).await?.into_iter().map(|image| image.id);
    for image in built.chain([IMAGE.to_owned()]) {
        let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        done(&format!("image {image}"), docker.remove_image(&image, Some(options), None).await.map(drop));
    }
    match remove_sample(sample) {
        Ok(true) => tell(&format!("removed {}", sample.display())),
        Ok(false) => {}
        Err(error) => refusals.push(format!("{}: {error}", sample.display())),
    }
    match refusals.as_slice() {
        [] => Ok(()),
        _ => bail!("not all of the demo could be removed:\n  {}", refusals.join("\n  ")),
    }
}

/// Where the sample folder is: among the user's data.
///
/// # Errors
/// No home directory is known.
pub fn sample_folder() -> anyhow::Result<PathBuf> {
    use etcetera::BaseStrategy;
    let folders =
        etcetera::choose_base_strategy().context("no home directory is known: where should the sample go?")?;
    Ok(folders.data_dir().join("boxyard/demo"))
}

fn is_missing<T>(found: Result<T, Error>) -> Result<bool, Error> {
    match found {
        Ok(_) => Ok(false),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(true),
        Err(other) => Err(other),
    }
}

fn explain(error: Error) -> anyhow::Error {
    if error.status_code() == Some(404) && error.to_string().contains("page not found") {
        return anyhow::anyhow!(
            "the demo needs Boxyard's own engine, and this host is another one; leave -H, --context and DOCKER_HOST out"
        );
    }
    anyhow::Error::new(error).context("make an image of this host's programs")
}

fn container_name(service: &str) -> String {
    format!("{PROJECT}-{service}-1")
}

fn labels(more: &[(&str, &str)]) -> HashMap<String, String> {
    let ours = [(LABEL, "true"), ("com.docker.compose.project", PROJECT)];
    ours.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn network() -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: NETWORK.to_owned(),
        driver: Some("bridge".to_owned()),
        labels: Some(labels(&[("com.docker.compose.network", "default")])),
        ..NetworkCreateRequest::default()
    }
}

fn volume() -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(VOLUME.to_owned()),
        labels: Some(labels(&[("com.docker.compose.volume", "data")])),
        ..VolumeCreateRequest::default()
    }
}

fn container(service: &str, script: &str) -> ContainerCreateBody {
    let settings = EndpointSettings { aliases: Some(vec![service.to_owned()]), ..EndpointSettings::default() };
    ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
        hostname: Some(service.to_owned()),
        labels: Some(labels(&[("com.docker.compose.service", service), ("com.docker.compose.container-number", "1")])),
        host_config: Some(HostConfig {
            binds: Some(vec![format!("{VOLUME}:/srv")]),
            network_mode: Some(NETWORK.to_owned()),
            memory: Some(64 << 20),
            ..HostConfig::default()
        }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(NETWORK.to_owned(), settings)])),
        }),
        ..ContainerCreateBody::default()
    }
}

/// Writes the files that are not there; one that a person has changed stays as it is.
fn write_sample(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in SAMPLE {
        let path = folder.join(name);
        if !path.exists() {
            fs::write(path, text)?;
        }
    }
    Ok(())
}

/// Removes the sample's own files, and the folder where nothing else is in it. Tells whether there was anything.
fn remove_sample(folder: &Path) -> io::Result<bool> {
    let mut was_there = false;
    for (name, _) in SAMPLE {
        match fs::remove_file(folder.join(name)) {
            Ok(()) => was_there = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Err(error),
        _ => Ok(was_there),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_keeps_what_a_person_changed_and_goes_when_cleaned() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("boxyard/demo");
        write_sample(&folder).unwrap();
        fs::write(folder.join("hello.sh"), "mine").unwrap();
        write_sample(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("hello.sh")).unwrap(), "mine");

        assert!(remove_sample(&folder).unwrap());
        assert!(!folder.exists());
        assert!(!remove_sample(&folder).unwrap());
    }

    #[test]
    fn the_sample_has_no_problems() {
        let parsed = crate::dockerfile::parse(SAMPLE[0].1);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    }
}
