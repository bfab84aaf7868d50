//! Processes run beside a container's own.

use bollard_stubs::models as docker;
use serde_json::Value;

use super::containers::terminal_size;
use crate::api::call::Call;
use crate::api::hijack;
use crate::api::reply::{Created, Done, IntoReply, Json, Reply};
use crate::engine::EngineError;
use crate::engine::container::{ExecStart, ExecStarted, TerminalSize};

pub async fn create(call: Call) -> Result<Created<Value>, EngineError> {
    let made = call.engine().execs().create(call.id(), call.json()?).await?;
    Ok(Created(serde_json::json!({ "Id": made.id })))
}

pub async fn start(mut call: Call) -> Result<Reply, EngineError> {
    let config: docker::ExecStartConfig = call.json_or_default()?;
    let options = ExecStart {
        detach: config.detach.unwrap_or_default(),
        tty: config.tty.unwrap_or_default(),
        size: config.console_size.as_deref().and_then(size),
    };
    match call.engine().execs().start(call.id(), options).await? {
        ExecStarted::Detached => Ok(Done.into_reply()),
        ExecStarted::Attached(attached) => Ok(hijack::connect(call.take_upgrade(), attached, call.version())),
    }
}

/// The API's `[height, width]`; nothing where a side is zero or absurd.
fn size(sides: &[usize]) -> Option<TerminalSize> {
    let [rows, columns] = sides else { return None };
    let side = |value: usize| u16::try_from(value).ok().filter(|value| *value > 0);
    Some(TerminalSize { rows: side(*rows)?, columns: side(*columns)? })
}

pub async fn resize(call: Call) -> Result<Done, EngineError> {
    call.engine().execs().resize(call.id(), terminal_size(&call)?).await.map(|()| Done)
}

/// An exit code that is not there yet is written as null: clients look it up without asking whether it is there.
pub async fn inspect(call: Call) -> Result<Json<Value>, EngineError> {
    let found = call.engine().execs().inspect(call.id()).await?;
    let mut found = serde_json::to_value(found).map_err(|error| EngineError::system(error.to_string()))?;
    if let Some(fields) = found.as_object_mut() {
        fields.entry("ExitCode").or_insert(Value::Null);
    }
    Ok(Json(found))
}
