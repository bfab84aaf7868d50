//! Volumes.

use bollard_stubs::models as docker;

use crate::api::call::Call;
use crate::api::reply::{Created, Json};
use crate::engine::EngineError;
use crate::engine::volume::ListVolumes;

pub async fn list(call: Call) -> Result<Json<docker::VolumeListResponse>, EngineError> {
    call.engine().volumes().list(&ListVolumes { filters: call.query().filters()? }).map(Json)
}

pub async fn inspect(call: Call) -> Result<Json<docker::Volume>, EngineError> {
    call.engine().volumes().inspect(call.name()).map(Json)
}

pub async fn create(call: Call) -> Result<Created<docker::Volume>, EngineError> {
    call.engine().volumes().create(call.loose_json()?).await.map(Created)
}

pub async fn remove(call: Call) -> Result<(), EngineError> {
    call.engine().volumes().remove(call.name(), call.query().flag("force")).await
}

pub async fn prune(call: Call) -> Result<Json<docker::VolumePruneResponse>, EngineError> {
    call.engine().volumes().prune(&call.query().filters()?).await.map(Json)
}
