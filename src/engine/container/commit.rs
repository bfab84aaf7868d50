//! `docker commit`: a container's changes become a layer, its configuration an image's.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use bollard_stubs::models as docker;
use jiff::Timestamp;

use super::archive::MOUNT_POINTS;
use super::create::disk;
use super::lifecycle::Pause;
use super::live::Container;
use super::merge::{command_line, completed};
use super::options::CommitOptions;
use super::record::ContainerRecord;
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::build::with_changes;
use crate::engine::image::{HistoryEntry, ImageConfig, NewImage, Reference};
use crate::engine::layer::{ApplyOptions, Durability, Layer, Whiteouts, WriteOptions, apply_tar, write_tar};

impl Room {
    /// `POST /commit`.
    pub async fn commit(self: &Arc<Self>, id: &str, options: CommitOptions) -> Result<docker::IdResponse, EngineError> {
        let container = self.index.find(id)?;
        let tags = tag(&options)?;
        let _verb = container.verb.lock().await;
        let record = container.record();
        if matches!(record.state, State::Removing { .. } | State::Dead { .. }) {
            return Err(EngineError::conflict(format!(
                "You cannot commit container {} which is {}",
                container.id,
                record.state.word()
            )));
        }
        let config = image_config(&record, &options)?;
        let freezes = options.pause && matches!(record.state, State::Running(_));
        if freezes {
            self.freeze(&container, Pause::WhileAtWork).await?;
            container.publish(&self.rooms.events, "pause", []);
        }
        let layer = self.layer_of_changes(&container, &record).await;
        if freezes {
            self.thaw(&container).await?;
        }
        let layer = layer?;
        let image = self.image_from(&record, &options, config, layer, tags).await?;
        container.publish(
            &self.rooms.events,
            "commit",
            [
                ("comment", options.comment.unwrap_or_default()),
                ("imageID", image.clone()),
                ("imageRef", options.repo.unwrap_or_default()),
            ],
        );
        Ok(docker::IdResponse { id: image })
    }

    /// A copy of what the container wrote, kept as a layer: by way of a tar, so that whiteouts, links and attributes
    /// come over as they would from a registry.
    async fn layer_of_changes(&self, container: &Container, record: &ContainerRecord) -> Result<Layer, EngineError> {
        let (upper, parent) = (container.folder.upper(), record.top);
        let (root, layers) = (Arc::clone(&self.rooms.root), Arc::clone(self.rooms.images.layers()));
        Self::blocking(move || {
            let temp = root.temp_dir("commit").map_err(disk("make room for the layer"))?;
            let tree = temp.path().join("tree");
            std::fs::create_dir(&tree).map_err(disk("make room for the layer"))?;
            copy_tree(&upper, &tree)?;
            remove_mount_points(&tree)?;
            Ok(layers.commit_tree(parent.as_ref(), tree, Durability::Now)?)
        })
        .await
    }

    async fn image_from(
        &self,
        record: &ContainerRecord,
        options: &CommitOptions,
        config: docker::ImageConfig,
        layer: Layer,
        tags: Vec<Reference>,
    ) -> Result<String, EngineError> {
        let base = record.image.as_ref().and_then(|id| self.rooms.images.get(id));
        let created = Timestamp::now();
        let mut new = base.as_ref().map_or_else(|| ImageConfig::for_host(created), |base| base.config.clone());
        new.created = Some(created.to_string());
        new.author.clone_from(&options.author);
        new.comment.clone_from(&options.comment);
        new.container = Some(record.id.clone());
        new.config = config;
        new.history.push(HistoryEntry {
            created: Some(created.to_string()),
            created_by: Some(command_line(&record.config).join(" ")),
            author: options.author.clone(),
            comment: options.comment.clone(),
            empty_layer: false,
        });
        let mut layers = base.as_ref().map(|base| base.layers.clone()).unwrap_or_default();
        layers.push(layer.chain_id);
        let image = self.rooms.images.create(NewImage { config: new, layers, tags, parent: record.image }).await?;
        Ok(image.id.to_string())
    }
}

/// Takes out what only the container's own mounts needed: empty files and folders under them.
fn remove_mount_points(tree: &Path) -> Result<(), EngineError> {
    for target in MOUNT_POINTS.iter().rev() {
        let path = tree.join(target.trim_start_matches('/'));
        // a folder above that is a link is the container's own doing
        let is_reached = path.parent().is_some_and(|folder| folder == tree || folder.is_dir() && !folder.is_symlink());
        let Ok(found) = path.symlink_metadata() else { continue };
        let gone = match (is_reached, found.is_dir()) {
            (false, _) => Ok(()),
            (true, true) => std::fs::remove_dir(&path),
            (true, false) if found.is_file() && found.len() == 0 => std::fs::remove_file(&path),
            _ => Ok(()),
        };
        match gone {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                return Err(disk("take a mount point out of the layer")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), EngineError> {
    let (reader, writer) = io::pipe().map_err(disk("make a pipe"))?;
    let source = File::open(from).map_err(disk("open the container's files"))?;
    let target = File::open(to).map_err(disk("open the new layer"))?;
    let options = WriteOptions { whiteouts: Whiteouts::ToOverlay, ..WriteOptions::default() };
    let (written, applied) = std::thread::scope(|scope| {
        let writing = scope.spawn(move || write_tar(source.as_fd(), Path::new(""), &options, writer));
        let apply = ApplyOptions { whiteouts: Whiteouts::ToOverlay, ..ApplyOptions::default() };
        let applied = apply_tar(target.as_fd(), io::BufReader::with_capacity(1 << 16, reader), &apply);
        (writing.join(), applied)
    });
    // Where unpacking failed, packing fails with a broken pipe, which says less.
    applied?;
    written.map_err(|_| EngineError::system("copy the container's files: broke down"))??;
    Ok(())
}

fn tag(options: &CommitOptions) -> Result<Vec<Reference>, EngineError> {
    let Some(repo) = options.repo.as_deref().filter(|repo| !repo.is_empty()) else { return Ok(Vec::new()) };
    let text = match options.tag.as_deref().filter(|tag| !tag.is_empty()) {
        Some(tag) => format!("{repo}:{tag}"),
        None => repo.to_owned(),
    };
    Ok(vec![text.parse::<Reference>()?])
}

/// The image's configuration: the container's, or what the request puts in its place, changed, and completed by the
/// container's where that leaves something out.
fn image_config(record: &ContainerRecord, options: &CommitOptions) -> Result<docker::ImageConfig, EngineError> {
    let own = as_image(record.config.clone());
    let given = options.config.clone().filter(|config| *config != docker::ContainerConfig::default());
    let changed = with_changes(given.map_or_else(|| own.clone(), as_image), &options.changes)?;
    Ok(as_image(completed(as_container(changed), &own)))
}

fn as_image(config: docker::ContainerConfig) -> docker::ImageConfig {
    docker::ImageConfig {
        user: config.user,
        exposed_ports: config.exposed_ports,
        env: config.env,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        args_escaped: None,
        volumes: config.volumes,
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        on_build: config.on_build,
        labels: config.labels,
        stop_signal: config.stop_signal,
        shell: config.shell,
    }
}

fn as_container(config: docker::ImageConfig) -> docker::ContainerConfig {
    docker::ContainerConfig {
        user: config.user,
        exposed_ports: config.exposed_ports,
        env: config.env,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        volumes: config.volumes,
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        on_build: config.on_build,
        labels: config.labels,
        stop_signal: config.stop_signal,
        shell: config.shell,
        ..docker::ContainerConfig::default()
    }
}
