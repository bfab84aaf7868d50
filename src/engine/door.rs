//! The engine's only door: opens the rooms in order and joins them.
//!
//! The order matters: the lock first, so that nothing is touched that another engine owns; then rooms that know nobody;
//! then containers, who know images, networks and volumes; last of all, live containers are taken over.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use super::build::{Budget, BuildParts, Builds};
use super::container::{Containers, Execs, Rooms};
use super::events::Events;
use super::image::{ImageUsers, Images};
use super::instance::Instance;
use super::layer::Layers;
use super::network::Networks;
use super::runtime::{Cgroups, HostFacts};
use super::runtimes::Runtimes;
use super::shim::ShimBinary;
use super::store::{StateRoot, StateRootError};
use super::volume::{VolumeUsers, Volumes};
use super::{EngineError, ErrorKind};

/// An open engine. Cheap to clone; the state root stays locked until the last clone is gone.
#[derive(Clone)]
pub struct Engine(Arc<House>);

/// How to open an engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Which one: its state root, run root and names on this host.
    pub instance: Instance,
    /// What may run its containers.
    pub runtimes: Runtimes,
    /// What its build cache may keep.
    pub build_cache: Budget,
}

struct House {
    instance: Instance,
    runtimes: Arc<Runtimes>,
    events: Arc<Events>,
    host: Arc<HostFacts>,
    containers: Containers,
    execs: Execs,
    images: Images,
    networks: Arc<Networks>,
    volumes: Arc<Volumes>,
    builds: Builds,
}

impl Engine {
    /// Takes the state root's lock, sweeps, opens the rooms and re-adopts what still runs.
    ///
    /// # Errors
    /// `Conflict` with the lock's holder; else what could not be read or made.
    pub async fn open(options: EngineOptions) -> Result<Self, EngineError> {
        let EngineOptions { instance, runtimes, build_cache } = options;
        let runtimes = Arc::new(runtimes);
        let (root, host, binary) = tokio::task::spawn_blocking({
            let instance = instance.clone();
            move || prepare(&instance)
        })
        .await
        .map_err(|error| EngineError::system(format!("open the engine: {error}")))??;
        let events = Arc::new(Events::default());
        let layers = Arc::new(Layers::open(Arc::clone(&root))?);
        let images = Images::open(Arc::clone(&root), layers, Arc::clone(&events))?;
        let networks = Arc::new(Networks::open(Arc::clone(&root), instance.clone(), Arc::clone(&events)).await?);
        let volumes = Arc::new(Volumes::open(Arc::clone(&root), Arc::clone(&events))?);
        let containers = Containers::open(Rooms {
            root: Arc::clone(&root),
            instance: instance.clone(),
            events: Arc::clone(&events),
            host: Arc::clone(&host),
            images: images.clone(),
            networks: Arc::clone(&networks),
            volumes: Arc::clone(&volumes),
            binary: binary.clone(),
            runtimes: Arc::clone(&runtimes),
        })
        .await?;
        images.add_users(Arc::clone(&containers.users()) as Arc<dyn ImageUsers>);
        volumes.set_users(containers.users() as Arc<dyn VolumeUsers>);
        let folders = root.path().join("containers");
        volumes.remove_orphans(move |id| folders.join(id).exists()).await?;
        let builds = Builds::open(BuildParts {
            root,
            instance: instance.clone(),
            images: images.clone(),
            networks: Arc::clone(&networks),
            host: Arc::clone(&host),
            shim: binary,
            events: Arc::clone(&events),
            budget: build_cache,
        })
        .await?;
        images.drop_unused_layers().await?;
        containers.adopt().await?;
        let execs = containers.execs();
        Ok(Self(Arc::new(House {
            instance,
            runtimes,
            events,
            host,
            containers,
            execs,
            images,
            networks,
            volumes,
            builds,
        })))
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

    /// What this host is and has.
    pub fn host(&self) -> &HostFacts {
        &self.0.host
    }

    /// What may run its containers.
    pub fn runtimes(&self) -> &Runtimes {
        &self.0.runtimes
    }

    /// Which engine this is.
    pub fn instance(&self) -> &Instance {
        &self.0.instance
    }

    /// Finishes the verbs under way and lets go of the state root; containers run on.
    pub async fn close(self) {
        self.0.builds.close().await;
        self.0.containers.close().await;
        self.0.networks.close().await;
        // The parent of all containers' cgroups goes with the last of them.
        let (cgroups, parent) = (Cgroups::detect(&self.0.host), self.0.instance.cgroup_parent());
        let _ = tokio::task::spawn_blocking(move || cgroups.remove_if_empty(&parent)).await;
    }
}

/// The lock, the run root, the host's facts and the shims' binary.
fn prepare(instance: &Instance) -> Result<(Arc<StateRoot>, Arc<HostFacts>, ShimBinary), EngineError> {
    let root = StateRoot::open(instance.root()).map_err(|error| {
        let kind = match &error {
            StateRootError::Locked { .. } => ErrorKind::Conflict,
            StateRootError::Io { .. } => ErrorKind::System,
        };
        EngineError::new(kind, error.to_string()).because(error)
    })?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(instance.run())
        .map_err(|error| EngineError::system(format!("create {}: {error}", instance.run().display())).because(error))?;
    let binary = ShimBinary::of_this_process()
        .map_err(|error| EngineError::system(format!("copy this program for its shims: {error}")).because(error))?;
    Ok((Arc::new(root), Arc::new(HostFacts::read()), binary))
}
