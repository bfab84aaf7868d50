//! Networks.

use bollard_stubs::models as docker;

use crate::api::call::Call;
use crate::api::reply::{Created, Done, Json};
use crate::engine::EngineError;
use crate::engine::network::ListNetworks;

pub async fn list(call: Call) -> Result<Json<Vec<docker::Network>>, EngineError> {
    call.engine().networks().list(&ListNetworks { filters: call.query().filters()? }).map(Json)
}

pub async fn inspect(call: Call) -> Result<Json<docker::NetworkInspect>, EngineError> {
    call.engine().networks().inspect(call.id()).map(Json)
}

pub async fn create(call: Call) -> Result<Created<docker::NetworkCreateResponse>, EngineError> {
    call.engine().networks().create(call.loose_json()?).await.map(Created)
}

pub async fn connect(call: Call) -> Result<Done, EngineError> {
    call.engine().containers().connect_network(call.id(), call.loose_json()?).await.map(|()| Done)
}

pub async fn disconnect(call: Call) -> Result<Done, EngineError> {
    call.engine().containers().disconnect_network(call.id(), call.loose_json()?).await.map(|()| Done)
}

pub async fn remove(call: Call) -> Result<(), EngineError> {
    call.engine().networks().remove(call.id()).await
}

pub async fn prune(call: Call) -> Result<Json<docker::NetworkPruneResponse>, EngineError> {
    call.engine().networks().prune(&call.query().filters()?).await.map(Json)
}
