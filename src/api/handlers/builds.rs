//! `POST /build`, in the classic builder's records (`version=1`) or in BuildKit's (`version=2`), and the build cache.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use bollard_stubs::models as docker;
use futures_util::{Stream, StreamExt, stream};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::api::call::Call;
use crate::api::problem::page_not_found;
use crate::api::query::Query;
use crate::api::reply::{Json, Reply};
use crate::buildkit::session::{ID_HEADER, PROTOCOL};
use crate::engine::build::{BuildContext, BuildMessage, BuildRequest, PruneRequest};
use crate::engine::{EngineError, ErrorKind};

/// How a client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// `version=1`: texts.
    Classic,
    /// `version=2`: BuildKit's trace records.
    Trace,
}

/// A Dockerfile larger than this is none.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// Reads a Dockerfile that is the body.
async fn dockerfile(body: impl AsyncRead + Unpin) -> Result<String, EngineError> {
    let mut text = Vec::new();
    let read = body.take(MAX_DOCKERFILE).read_to_end(&mut text).await;
    read.map_err(|error| EngineError::invalid(format!("read the Dockerfile: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

pub async fn build(mut call: Call) -> Result<Reply, EngineError> {
    let mut archive = call.archive();
    let text = match call.query().text("dockerfilefrom") {
        Some("body") => Some(dockerfile(&mut archive).await?),
        _ => None,
    };
    let query = call.query();
    let context = match query.text("remote") {
        // BuildKit's clients say so, too, and have no session of ours.
        Some("client-session") if query.text("session").is_none() => return Err(no_session()),
        Some("client-session") => BuildContext::Client("context".to_owned()),
        Some(url) => BuildContext::Remote(url.to_owned()),
        None => BuildContext::Tar(Box::new(archive)),
    };
    let auth = call.json_header("x-registry-config")?.unwrap_or_default();
    let request = BuildRequest { text, ..request(query, context, auth)? };
    let telling = match query.text("version") {
        None | Some("1") => Telling::Classic,
        Some("2") => Telling::Trace,
        Some(other) => return Err(EngineError::invalid(format!("invalid version {other:?}: 1 and 2 are known"))),
    };
    let gone = call.gone();
    tell(Box::pin(call.engine().builds().build(request)), telling, gone).await
}

fn no_session() -> EngineError {
    EngineError::new(
        ErrorKind::NotImplemented,
        "builds over a BuildKit session are not supported yet; set DOCKER_BUILDKIT=0 to build with this engine's own builder",
    )
}

fn request(
    query: &Query,
    context: BuildContext,
    auth: HashMap<String, docker::AuthConfig>,
) -> Result<BuildRequest, EngineError> {
    let mut request = BuildRequest::new(context);
    if let Some(dockerfile) = query.owned("dockerfile") {
        request.dockerfile = dockerfile;
    }
    request.called = query.owned("dockerfilename");
    request.tags = query.list("t");
    request.target = query.owned("target");
    request.build_args = query.json::<BTreeMap<String, Option<String>>>("buildargs")?.unwrap_or_default();
    request.labels = query.json("labels")?.unwrap_or_default();
    request.no_cache = query.flag("nocache");
    request.no_cache_filter =
        query.list("nocachefilter").iter().flat_map(|it| it.split(',')).map(str::to_owned).collect();
    request.cache_from = query.json::<Option<Vec<String>>>("cachefrom")?.flatten().unwrap_or_default();
    request.cache_to = query.json::<Option<Vec<String>>>("cacheto")?.flatten().unwrap_or_default();
    request.pull = query.flag("pull");
    request.quiet = query.flag("q");
    request.platform = query.owned("platform");
    request.outputs = query.json("outputs")?.unwrap_or_default();
    request.annotations = query.json("annotations")?.unwrap_or_default();
    request.session = query.owned("session");
    request.allow = query.json("allow")?.unwrap_or_default();
    request.contexts = query.json("contexts")?.unwrap_or_default();
    request.auth = auth;
    request.run = docker::HostConfig {
        network_mode: query.owned("networkmode"),
        memory: positive(query, "memory")?,
        memory_swap: query.number("memswap")?.filter(|bytes| *bytes != 0),
        cpu_shares: positive(query, "cpushares")?,
        cpu_period: positive(query, "cpuperiod")?,
        cpu_quota: positive(query, "cpuquota")?,
        cpuset_cpus: query.owned("cpusetcpus"),
        cpuset_mems: query.owned("cpusetmems"),
        shm_size: positive(query, "shmsize")?,
        cgroup_parent: query.owned("cgroupparent"),
        extra_hosts: Some(query.list("extrahosts")).filter(|hosts| !hosts.is_empty()),
        ulimits: query
            .json::<Option<Vec<Ulimit>>>("ulimits")?
            .flatten()
            .map(|limits| limits.into_iter().map(Into::into).collect()),
        ..docker::HostConfig::default()
    };
    Ok(request)
}

/// Clients send 0 for what is not limited.
fn positive(query: &Query, name: &str) -> Result<Option<i64>, EngineError> {
    Ok(query.number(name)?.filter(|value| *value > 0))
}

/// An ulimit as the query has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ulimit {
    name: String,
    #[serde(default)]
    soft: i64,
    #[serde(default)]
    hard: i64,
}

impl From<Ulimit> for docker::ResourcesUlimits {
    fn from(limit: Ulimit) -> Self {
        Self { name: Some(limit.name), soft: Some(limit.soft), hard: Some(limit.hard) }
    }
}

/// Sends the build's messages as records. A failure that comes before any record is answered by its status. The build
/// ends with its client.
async fn tell(
    mut messages: impl Stream<Item = BuildMessage> + Send + Unpin + 'static,
    telling: Telling,
    gone: impl Future<Output = ()> + Send + 'static,
) -> Result<Reply, EngineError> {
    let record = move |message: BuildMessage| match telling {
        Telling::Classic => message.classic(),
        Telling::Trace => message.trace(),
    };
    let first = loop {
        match messages.next().await {
            Some(BuildMessage::Failed(failure)) => return Err(EngineError::new(failure.kind, failure.message)),
            Some(message) => match record(message) {
                None => {}
                first => break first,
            },
            None => break None,
        }
    };
    let rest = messages.filter_map(move |message| std::future::ready(record(message)));
    Ok(Reply::lines(stream::iter(first).chain(rest).take_until(Box::pin(gone))))
}

/// Takes the connection over as a session of our own protocol; BuildKit's (h2c) has no page here.
pub async fn session(mut call: Call) -> Result<Reply, EngineError> {
    let is_ours = call.header("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case(PROTOCOL));
    let (Some(upgrade), true) = (call.take_upgrade(), is_ours) else { return Err(page_not_found()) };
    let id = call.header(ID_HEADER).map(str::to_owned);
    let id = id.ok_or_else(|| EngineError::invalid(format!("a build session needs a name: {ID_HEADER} is missing")))?;
    let sessions = call.engine().builds().sessions().clone();
    tokio::spawn(async move {
        let served = match upgrade.await {
            Ok(connection) => sessions.serve(&id, TokioIo::new(connection)),
            Err(error) => return tracing::debug!(%error, "the client left before its session was opened"),
        };
        match served {
            Ok(serving) => serving.await,
            Err(error) => tracing::warn!(%error, "a build session was turned away"),
        }
    });
    Ok(Reply::switched_to(PROTOCOL))
}

pub async fn prune(call: Call) -> Result<Json<docker::BuildPruneResponse>, EngineError> {
    let query = call.query();
    // 0 is what clients send for "no limit".
    let bytes = |name| Ok::<_, EngineError>(query.number::<u64>(name)?.filter(|bytes| *bytes > 0));
    let request = PruneRequest {
        all: query.flag("all"),
        filters: query.filters()?,
        // What it was called before API 1.48.
        reserved: bytes("reserved-space")?.or(bytes("keep-storage")?).unwrap_or(0),
        max_used: bytes("max-used-space")?,
        min_free: bytes("min-free-space")?,
    };
    call.engine().builds().prune(request).await.map(Json)
}

/// Clients close the connection of a build to cancel it; by ID nothing can be, since builds carry none.
pub async fn cancel(_call: Call) -> Result<(), EngineError> {
    Err(no_session())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_docker_cli_asks_for() {
        let query = Query::parse(
            "buildargs=%7B%22A%22%3A%221%22%2C%22B%22%3Anull%7D&cachefrom=%5B%5D&cgroupparent=&cpuperiod=0&cpuquota=0\
             &cpusetcpus=&cpusetmems=&cpushares=0&dockerfile=Dockerfile&labels=%7B%7D&memory=0&memswap=0&networkmode=default\
             &rm=1&shmsize=0&t=app&t=app%3A2&target=&ulimits=null&version=1",
        );
        let request = request(&query, BuildContext::Remote(String::new()), HashMap::new()).unwrap();
        assert_eq!(request.tags, ["app", "app:2"]);
        assert_eq!(request.build_args["A"].as_deref(), Some("1"));
        assert_eq!(request.build_args["B"], None);
        assert_eq!(request.run.memory, None);
        assert_eq!(request.run.network_mode.as_deref(), Some("default"));
        assert_eq!(request.target, None);
    }
}
