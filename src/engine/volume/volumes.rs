//! The volumes themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_stubs::models as docker;
use serde::{Deserialize, Serialize};

use super::plan::MountRequest;
use crate::engine::EngineError;
use crate::engine::events::Events;
use crate::engine::filters::Filters;
use crate::engine::store::StateRoot;

/// Who uses a volume; the container room answers.
pub trait VolumeUsers: Send + Sync {
    /// The IDs of all containers, running or not, that have the volume `name` mounted.
    fn users_of(&self, name: &str) -> Vec<String>;
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListVolumes {
    /// `dangling`, `driver`, `label`, `name`.
    pub filters: Filters,
}

/// A mount as it stands: the request, and what it has become. The container room keeps it in the container's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MountedPoint {
    /// What was asked.
    pub request: MountRequest,
    /// The volume it is, where it is one.
    pub volume: Option<String>,
    /// Whether the volume is anonymous and goes with the container (`rm -v`, `--rm`).
    pub anonymous: bool,
    /// The folder or file of the host that is bound; `None` for tmpfs.
    pub source: Option<PathBuf>,
}

impl MountedPoint {
    /// The mount as `GET /containers/{id}/json` shows it.
    pub fn point(&self) -> docker::MountPoint {
        todo!()
    }
}

/// All volumes of this engine.
pub struct Volumes {
    root: Arc<StateRoot>,
    events: Arc<Events>,
}

impl Volumes {
    /// Reads the volumes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(root: Arc<StateRoot>, events: Arc<Events>) -> Result<Self, EngineError> {
        Ok(Self { root, events })
    }

    /// Tells who knows the users of volumes; called once, before the engine's door opens.
    pub fn set_users(&self, users: Arc<dyn VolumeUsers>) {
        let _ = users;
        todo!()
    }

    /// `POST /volumes/create`; an existing volume of the same name is the answer, too.
    ///
    /// # Errors
    /// Docker's words for a malformed name or option (400), an unknown driver (404), other options than it has (409).
    pub async fn create(&self, request: docker::VolumeCreateRequest) -> Result<docker::Volume, EngineError> {
        let _ = (&self.root, &self.events, request);
        todo!()
    }

    /// `GET /volumes`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(&self, list: &ListVolumes) -> Result<docker::VolumeListResponse, EngineError> {
        let _ = list;
        todo!()
    }

    /// `GET /volumes/{name}`.
    ///
    /// # Errors
    /// `get x: no such volume` (404).
    pub fn inspect(&self, name: &str) -> Result<docker::Volume, EngineError> {
        let _ = name;
        todo!()
    }

    /// `DELETE /volumes/{name}`; with `force`, a missing one is success.
    ///
    /// # Errors
    /// Missing (404), in use (409).
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), EngineError> {
        let _ = (name, force);
        todo!()
    }

    /// `POST /volumes/prune`: unused anonymous volumes, with `all=1` also named ones; `label`, `label!` filter.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<docker::VolumePruneResponse, EngineError> {
        let _ = filters;
        todo!()
    }

    /// All volumes with size and number of users, for `GET /system/df`. Walks the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn usage(&self) -> Result<Vec<docker::Volume>, EngineError> {
        todo!()
    }

    /// Makes what the requests name: volumes, and the bind sources of `-v`. At container create.
    ///
    /// # Errors
    /// Docker's words, like `invalid mount config for type "bind": bind source path does not exist: /x` (400).
    pub async fn realise(&self, requests: Vec<MountRequest>) -> Result<Vec<MountedPoint>, EngineError> {
        let _ = requests;
        todo!()
    }

    /// Copies the image's content at the target into each volume that is new or empty and wants it. `image_root` is the
    /// image's file system as a directory (see `layer::detached_root`). At container create, off the async threads by itself.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn copy_up(&self, points: &[MountedPoint], image_root: std::os::fd::OwnedFd) -> Result<(), EngineError> {
        let _ = (points, image_root);
        todo!()
    }

    /// Makes the points ready to be bound, at container start: volumes with a device are mounted, bind sources must be
    /// there. The answer is the host path of each point, in order; `None` for tmpfs.
    ///
    /// # Errors
    /// Docker's words where a source is missing or a device can't be mounted.
    pub async fn mount(
        &self,
        container_id: &str,
        points: &[MountedPoint],
    ) -> Result<Vec<Option<PathBuf>>, EngineError> {
        let _ = (container_id, points);
        todo!()
    }

    /// Gives up what [`mount`](Self::mount) did for a container, when it has ended.
    pub async fn unmount(&self, container_id: &str, points: &[MountedPoint]) {
        let _ = (container_id, points);
        todo!()
    }

    /// Removes a container's anonymous volumes that nobody else uses, when it is removed with its volumes.
    pub async fn release(&self, points: &[MountedPoint]) {
        let _ = points;
        todo!()
    }

    /// The folder with a volume's content.
    pub fn data(&self, name: &str) -> PathBuf {
        self.root.path().join("volumes").join(Path::new(name)).join("_data")
    }
}
