//! Files in and out of containers: `docker cp` and `docker export`.

use base64::Engine as _;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::api::call::Call;
use crate::api::reply::{Done, Reply};
use crate::engine::EngineError;
use crate::engine::container::{ArchivePut, PathStat};

const TAR: &str = "application/x-tar";

pub async fn export(call: Call) -> Result<Reply, EngineError> {
    let tar = call.engine().containers().export(call.id()).await?;
    Ok(Reply::stream("application/octet-stream", tar))
}

pub async fn stat(call: Call) -> Result<Reply, EngineError> {
    let stat = call.engine().containers().archive_stat(call.id(), path(&call)?).await?;
    describe(Reply::empty(StatusCode::OK), &stat)
}

pub async fn get(call: Call) -> Result<Reply, EngineError> {
    let (stat, tar) = call.engine().containers().archive_get(call.id(), path(&call)?).await?;
    describe(Reply::stream(TAR, tar), &stat)
}

pub async fn put(mut call: Call) -> Result<Done, EngineError> {
    let archive = call.archive();
    let query = call.query();
    let options = ArchivePut {
        no_overwrite_dir_non_dir: query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: query.flag("copyUIDGID"),
    };
    call.engine().containers().archive_put(call.id(), path(&call)?, options, archive).await.map(|()| Done)
}

fn path(call: &Call) -> Result<&str, EngineError> {
    call.query().text("path").ok_or_else(|| EngineError::invalid("bad parameter: path cannot be empty"))
}

fn describe(reply: Reply, stat: &PathStat) -> Result<Reply, EngineError> {
    const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");
    let unsayable = |error: &dyn std::fmt::Display| EngineError::system(format!("describe the path: {error}"));
    let json = serde_json::to_vec(stat).map_err(|error| unsayable(&error))?;
    let value =
        HeaderValue::try_from(base64::prelude::BASE64_STANDARD.encode(json)).map_err(|error| unsayable(&error))?;
    Ok(reply.with(PATH_STAT, value))
}
