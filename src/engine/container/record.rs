//! What is kept of a container on disk: `<root>/containers/<id>/container.json`, always whole.
//!
//! ```text
//! <root>/containers/<id>/container.json   this record
//!                        upper/ work/     what the container wrote over its image
//!                        exit.json        how it last ended, written by its shim
//!                        <id>-json.log    its log, written by its shim
//!                        hosts hostname resolv.conf
//! <run>/containers/<id>/                  the live shim's bundle: gone after a reboot
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bollard_stubs::models as docker;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::options::TerminalSize;
use super::state::{Exit, State};
use crate::engine::image::ImageId;
use crate::engine::layer::ChainId;
use crate::engine::network::Endpoint;
use crate::engine::shim::{Health, RestartNote};
use crate::engine::volume::MountedPoint;

/// The version of the record that this build writes.
pub const VERSION: u32 = 1;

/// One container, as kept on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// [`VERSION`] of the engine that wrote it.
    pub version: u32,
    /// 64 hex digits.
    pub id: String,
    /// Without the slash.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// The image it was made from; `None` for one made without (a build's step).
    pub image: Option<ImageId>,
    /// The image's highest layer.
    pub top: Option<ChainId>,
    /// What it runs, merged with its image's configuration.
    pub config: docker::ContainerConfig,
    /// Where and within which limits it runs.
    pub host_config: docker::HostConfig,
    /// Its networks, by name.
    #[serde(default)]
    pub networks: BTreeMap<String, NetworkPlace>,
    /// What is mounted in it.
    #[serde(default)]
    pub mounts: Vec<MountedPoint>,
    /// What it is doing.
    pub state: State,
    /// How the run before this one ended, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// How often its restart policy started it again.
    #[serde(default)]
    pub restart_count: u32,
    /// Whether a person stopped it: then `unless-stopped` leaves it alone.
    #[serde(default)]
    pub is_stopped_by_person: bool,
    /// The size its terminal was last given.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
    /// How its health check finds it, as its shim said last; kept by the shim, in `health.json`.
    #[serde(skip)]
    pub health: Option<Health>,
}

/// A container's place on one network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkPlace {
    /// What was asked for.
    pub asked: docker::EndpointSettings,
    /// What it has, while it runs.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
}

impl ContainerRecord {
    /// The first twelve digits of its ID.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Whether it has a terminal.
    pub fn has_tty(&self) -> bool {
        self.config.tty == Some(true)
    }

    /// Whether it removes itself when it ends.
    pub fn is_auto_removed(&self) -> bool {
        self.host_config.auto_remove == Some(true)
    }

    /// Its labels.
    pub fn labels(&self) -> HashMap<String, String> {
        self.config.labels.clone().unwrap_or_default()
    }

    /// Its network mode, `bridge` where none was chosen.
    pub fn network_mode(&self) -> &str {
        match self.host_config.network_mode.as_deref() {
            None | Some("" | "default") => "bridge",
            Some(mode) => mode,
        }
    }

    /// The ports it says it listens on.
    pub fn exposed_ports(&self) -> Vec<String> {
        let mut ports = self.config.exposed_ports.clone().unwrap_or_default();
        ports.extend(self.host_config.port_bindings.iter().flatten().map(|(port, _)| port.clone()));
        ports.sort();
        ports.dedup();
        ports
    }

    /// The endpoints it has while it runs.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.networks.values().filter_map(|place| place.endpoint.as_ref())
    }

    /// The attributes of its events: labels, image and name.
    pub fn event_attributes(&self) -> HashMap<String, String> {
        let mut attributes = self.labels();
        attributes.insert("image".to_owned(), self.config.image.clone().unwrap_or_default());
        attributes.insert("name".to_owned(), self.name.clone());
        attributes
    }

    /// The health check's state as Docker's word; `None` where it has none.
    pub fn health(&self) -> Option<&str> {
        self.health.as_ref().map(|health| health.status.word())
    }

    /// Its cgroup, relative to each hierarchy's mount; the parent is `engine_parent` unless one was chosen.
    pub fn cgroup(&self, engine_parent: &str) -> String {
        let chosen = self.host_config.cgroup_parent.as_deref().map(|parent| parent.trim_matches('/'));
        format!("{}/{}", chosen.filter(|parent| !parent.is_empty()).unwrap_or(engine_parent), self.id)
    }
}

/// The files of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// `<root>/containers/<id>`.
    pub state: PathBuf,
    /// `<run>/containers/<id>`.
    pub bundle: PathBuf,
}

impl Folder {
    /// The record.
    pub fn record(&self) -> PathBuf {
        self.state.join("container.json")
    }

    /// How it last ended.
    pub fn exit(&self) -> PathBuf {
        self.state.join("exit.json")
    }

    /// How often its shim restarted it.
    pub fn restarts(&self) -> PathBuf {
        self.state.join(RestartNote::FILE)
    }

    /// How its health check found it.
    pub fn health(&self) -> PathBuf {
        self.state.join(Health::FILE)
    }

    /// Its log.
    pub fn log(&self, id: &str) -> PathBuf {
        self.state.join(format!("{id}-json.log"))
    }

    /// What it wrote over its image.
    pub fn upper(&self) -> PathBuf {
        self.state.join("upper")
    }

    /// Overlayfs's own.
    pub fn work(&self) -> PathBuf {
        self.state.join("work")
    }

    /// One of `hosts`, `hostname`, `resolv.conf`.
    pub fn network_file(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// The folders of container `id` under these roots.
    pub fn of(state_room: &Path, run: &Path, id: &str) -> Self {
        Self { state: state_room.join(id), bundle: run.join("containers").join(id) }
    }
}
