//! Boxyard's own: which builds ran, how they went and what they said.

use futures_util::stream;

use crate::api::call::Call;
use crate::api::reply::{Json, Reply};
use crate::buildkit::BuildEntry;
use crate::engine::EngineError;

pub async fn list(call: Call) -> Result<Json<Vec<BuildEntry>>, EngineError> {
    Ok(Json(call.engine().builds().history()))
}

pub async fn inspect(call: Call) -> Result<Json<BuildEntry>, EngineError> {
    call.engine().builds().past(call.id()).map(Json)
}

pub async fn logs(call: Call) -> Result<Reply, EngineError> {
    let log = call.engine().builds().log(call.id()).await?;
    Ok(Reply::stream("text/plain; charset=utf-8", stream::iter([Ok(log.into())])))
}

pub async fn remove(call: Call) -> Result<(), EngineError> {
    call.engine().builds().forget(call.id()).await
}
