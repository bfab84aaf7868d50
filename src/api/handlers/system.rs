//! The engine as a whole: ping, version, info, login, and what only Boxyard answers.

use bollard_stubs::models as docker;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::call::Call;
use crate::api::reply::{Created, Json, Reply};
use crate::api::server;
use crate::api::version::{NEWEST, OLDEST};
use crate::engine::image::{HostImage, Reference};
use crate::engine::{EngineError, ErrorKind};

pub async fn ping(_call: Call) -> Result<Reply, EngineError> {
    Ok(server::pong())
}

pub async fn version(call: Call) -> Result<Json<docker::SystemVersion>, EngineError> {
    let mut version = call.engine().version();
    version.api_version = Some(NEWEST.to_string());
    version.min_api_version = Some(OLDEST.to_string());
    Ok(Json(version))
}

pub async fn info(call: Call) -> Result<Json<docker::SystemInfo>, EngineError> {
    Ok(Json(call.engine().info().await))
}

/// Refuses to log in: credentials are read from the client's own requests, and nothing here could check them yet.
pub async fn auth(_call: Call) -> Result<(), EngineError> {
    Err(EngineError::new(
        ErrorKind::NotImplemented,
        "this engine does not check logins yet; put the credentials into ~/.docker/config.json, pull and push send them along",
    ))
}

/// Which Boxyard engine this is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct YardInfo {
    root: String,
    run: String,
    pid: u32,
    version: &'static str,
}

pub async fn yard(call: Call) -> Result<Json<YardInfo>, EngineError> {
    let instance = call.engine().instance();
    Ok(Json(YardInfo {
        root: instance.root().display().to_string(),
        run: instance.run().display().to_string(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// An image to be made of the host's own programs.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostImageRequest {
    reference: String,
    programs: Vec<String>,
    cmd: Vec<String>,
}

/// What a shell user expects to find; programs the host lacks are left out of this list, not of a client's own.
const USUAL_PROGRAMS: &[&str] = &[
    "sh",
    "bash",
    "ls",
    "cat",
    "cp",
    "mv",
    "rm",
    "mkdir",
    "rmdir",
    "ln",
    "touch",
    "chmod",
    "chown",
    "echo",
    "printf",
    "env",
    "id",
    "pwd",
    "date",
    "sleep",
    "seq",
    "head",
    "tail",
    "wc",
    "sort",
    "uniq",
    "tr",
    "cut",
    "tee",
    "grep",
    "sed",
    "awk",
    "find",
    "xargs",
    "uname",
    "hostname",
    "df",
    "du",
    "stat",
    "test",
    "true",
    "false",
    "expr",
    "kill",
    "sha256sum",
];

pub async fn image_from_host(call: Call) -> Result<Created<Value>, EngineError> {
    let request: HostImageRequest = call.json()?;
    let reference = match request.reference.as_str() {
        "" => None,
        name => Some(name.parse::<Reference>()?),
    };
    let programs = if request.programs.is_empty() { usual_programs() } else { request.programs };
    let cmd = if request.cmd.is_empty() { vec!["sh".to_owned()] } else { request.cmd };
    let image = HostImage { reference, programs, extra_files: Vec::new(), cmd };
    let id = call.engine().images().from_host(image).await?;
    Ok(Created(serde_json::json!({ "Id": id.to_string() })))
}

fn usual_programs() -> Vec<String> {
    const FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let is_there = |name: &&&str| FOLDERS.iter().any(|folder| std::path::Path::new(folder).join(name).exists());
    USUAL_PROGRAMS.iter().filter(is_there).map(|name| (*name).to_owned()).collect()
}
