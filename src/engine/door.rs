//! The engine's only door: opens the rooms in order, joins them, and answers what concerns the engine as a whole.

use std::sync::Arc;

use bollard_stubs::models as docker;

use super::EngineError;
use super::build::Builds;
use super::container::{Containers, Execs};
use super::events::Events;
use super::image::Images;
use super::instance::Instance;
use super::network::Networks;
use super::volume::Volumes;

/// An open engine. Cheap to clone; the state root stays locked until the last clone is gone.
#[derive(Clone)]
pub struct Engine(Arc<Rooms>);

/// How to open an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Which one: its state root, run root and names on this host.
    pub instance: Instance,
}

struct Rooms {
    instance: Instance,
    events: Arc<Events>,
    containers: Containers,
    execs: Execs,
    images: Images,
    networks: Arc<Networks>,
    volumes: Arc<Volumes>,
    builds: Builds,
}

#[allow(unused_variables, clippy::unused_async)]
impl Engine {
    /// Takes the state root's lock, sweeps, opens the rooms and re-adopts what still runs.
    ///
    /// # Errors
    /// The lock's holder, or what could not be read.
    pub async fn open(options: EngineOptions) -> Result<Self, EngineError> {
        todo!()
    }

    /// The containers.
    pub fn containers(&self) -> &Containers {
        &self.0.containers
    }

    /// The processes run beside a container's own.
    pub fn execs(&self) -> &Execs {
        &self.0.execs
    }

    /// The images.
    pub fn images(&self) -> &Images {
        &self.0.images
    }

    /// The networks.
    pub fn networks(&self) -> &Networks {
        &self.0.networks
    }

    /// The volumes.
    pub fn volumes(&self) -> &Volumes {
        &self.0.volumes
    }

    /// The builder.
    pub fn builds(&self) -> &Builds {
        &self.0.builds
    }

    /// The event ring.
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Which engine this is.
    pub fn instance(&self) -> &Instance {
        &self.0.instance
    }

    /// Facts and counts, for `docker info`.
    pub async fn info(&self) -> docker::SystemInfo {
        todo!()
    }

    /// Versions, for `docker version`.
    pub fn version(&self) -> docker::SystemVersion {
        todo!()
    }

    /// What occupies the disk, for `docker system df`.
    pub async fn disk_usage(&self) -> Result<docker::SystemDataUsageResponse, EngineError> {
        todo!()
    }

    /// Lets go of the state root; containers run on.
    pub async fn close(self) {
        drop(self);
    }
}
