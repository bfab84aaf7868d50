//! Calls on volumes.

use super::docker::{Call, Docker, in_path};
use super::errors::Error;
use super::models::{Volume, VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};
use super::query_parameters::{ListVolumesOptions, PruneVolumesOptions, RemoveVolumeOptions};

impl Docker {
    /// The volumes.
    pub async fn list_volumes(&self, options: Option<ListVolumesOptions>) -> Result<VolumeListResponse, Error> {
        self.json(Call::get("/volumes").query(options)?).await
    }

    /// Makes one; an unnamed one gets 64 hex digits.
    pub async fn create_volume(&self, config: VolumeCreateRequest) -> Result<Volume, Error> {
        self.json(Call::post("/volumes/create").body(&config)?).await
    }

    /// Everything about it.
    pub async fn inspect_volume(&self, name: &str) -> Result<Volume, Error> {
        self.json(Call::get(format!("/volumes/{}", in_path(name)))).await
    }

    /// Removes it with its content.
    pub async fn remove_volume(&self, name: &str, options: Option<RemoveVolumeOptions>) -> Result<(), Error> {
        self.unit(Call::delete(format!("/volumes/{}", in_path(name))).query(options)?).await
    }

    /// Removes those that no container uses.
    pub async fn prune_volumes(&self, options: Option<PruneVolumesOptions>) -> Result<VolumePruneResponse, Error> {
        self.json(Call::post("/volumes/prune").query(options)?).await
    }
}
