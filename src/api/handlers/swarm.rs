//! What belongs to Docker Swarm and to plugins: answered as an engine answers that is no swarm manager and has no plugins.

use serde_json::Value;

use crate::api::call::Call;
use crate::api::reply::Json;
use crate::engine::{EngineError, ErrorKind};

/// Refuses as an engine outside of any swarm.
pub async fn not_a_manager(_call: Call) -> Result<(), EngineError> {
    Err(EngineError::new(
        ErrorKind::Unavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    ))
}

/// Refuses to become part of a swarm.
pub async fn no_swarm(_call: Call) -> Result<(), EngineError> {
    Err(EngineError::new(
        ErrorKind::NotImplemented,
        "this engine can't be part of a swarm; point the client at an existing manager (docker context) to work with one",
    ))
}

pub async fn no_plugins(_call: Call) -> Result<Json<Vec<Value>>, EngineError> {
    Ok(Json(Vec::new()))
}

pub async fn plugin_not_found(call: Call) -> Result<(), EngineError> {
    Err(EngineError::not_found(format!("plugin {:?} not found", call.name())))
}

/// Refuses to install plugins.
pub async fn plugins_are_not_supported(_call: Call) -> Result<(), EngineError> {
    Err(EngineError::new(ErrorKind::NotImplemented, "this engine runs no plugins"))
}
