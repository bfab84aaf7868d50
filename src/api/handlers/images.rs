//! Images: lists, pull, push, load, save, import, names, removal.

use bollard_stubs::models as docker;
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;

use crate::api::call::Call;
use crate::api::reply::{Json, Made, Reply};
use crate::engine::build::with_changes;
use crate::engine::image::{
    ImageImport, ListImages, ManifestForm, Progress, PullRequest, PushRequest, Reference, RegistryAuth, RemoveImage,
};
use crate::engine::{EngineError, ErrorKind};

pub async fn list(call: Call) -> Result<Json<Vec<docker::ImageSummary>>, EngineError> {
    let query = call.query();
    let mut filters = query.filters()?;
    // Before 1.25 a name to look for came as a parameter of its own.
    if let Some(name) = query.text("filter") {
        filters = filters.with("reference", name);
    }
    let list = ListImages { all: query.flag("all"), filters: filters.into(), shared_size: query.flag("shared-size") };
    call.engine().images().list(&list).map(Json)
}

pub async fn inspect(call: Call) -> Result<Json<docker::ImageInspect>, EngineError> {
    call.engine().images().inspect(call.name()).map(Json)
}

pub async fn history(call: Call) -> Result<Json<Vec<docker::ImageHistoryResponseItem>>, EngineError> {
    call.engine().images().history(call.name()).map(Json)
}

pub async fn tag(call: Call) -> Result<Made, EngineError> {
    let query = call.query();
    let repo = query.text("repo").unwrap_or_default();
    call.engine().images().tag(call.name(), repo, query.text("tag")).await.map(|()| Made)
}

pub async fn remove(call: Call) -> Result<Json<Vec<docker::ImageDeleteResponseItem>>, EngineError> {
    let query = call.query();
    let options = RemoveImage { force: query.flag("force"), noprune: query.flag("noprune") };
    call.engine().images().remove(call.name(), options).await.map(Json)
}

pub async fn prune(call: Call) -> Result<Json<docker::ImagePruneResponse>, EngineError> {
    call.engine().images().prune(&call.query().filters()?.into()).await.map(Json)
}

/// Pulls (`fromImage`) or imports (`fromSrc`).
pub async fn create(mut call: Call) -> Result<Reply, EngineError> {
    let archive = call.archive();
    let query = call.query();
    if let Some(source) = query.text("fromSrc") {
        if source != "-" {
            return Err(EngineError::new(
                ErrorKind::NotImplemented,
                format!(
                    "import from {source}: only archives sent with the request are taken; download it and import the file"
                ),
            ));
        }
        let reference = query.text("repo").map(|repo| reference(repo, query.text("tag"))).transpose()?;
        let import = ImageImport {
            reference,
            message: query.owned("message"),
            config: with_changes(docker::ImageConfig::default(), &query.list("changes"))?,
            platform: query.owned("platform"),
        };
        let images = call.engine().images().clone();
        let work = async move {
            match images.import(import, archive).await {
                Ok(id) => Progress::status(id.to_string()),
                Err(error) => Progress::failure(&error),
            }
        };
        return progress(Box::pin(stream::once(work))).await;
    }
    let image = query.text("fromImage").ok_or_else(|| EngineError::invalid("fromImage or fromSrc is missing"))?;
    let request = PullRequest {
        reference: reference(image, query.text("tag"))?,
        platform: query.owned("platform"),
        auth: registry_auth(&call)?,
    };
    progress(call.engine().images().pull(request)).await
}

pub async fn push(call: Call) -> Result<Reply, EngineError> {
    let request = PushRequest {
        reference: reference(call.name(), call.query().text("tag"))?,
        auth: registry_auth(&call)?,
        form: ManifestForm::default(),
    };
    progress(call.engine().images().push(request)).await
}

pub async fn load(mut call: Call) -> Result<Reply, EngineError> {
    let archive = call.archive();
    progress(call.engine().images().load(archive, call.query().flag("quiet"))).await
}

pub async fn save(call: Call) -> Result<Reply, EngineError> {
    let tar = call.engine().images().save(&[call.name().to_owned()])?;
    Ok(Reply::stream("application/x-tar", tar))
}

pub async fn save_all(call: Call) -> Result<Reply, EngineError> {
    let names = call.query().list("names");
    let tar = call.engine().images().save(&names)?;
    Ok(Reply::stream("application/x-tar", tar))
}

pub async fn search(_call: Call) -> Result<(), EngineError> {
    Err(EngineError::new(
        ErrorKind::NotImplemented,
        "this engine does not search registries; look at the registry's own web page and pull by name",
    ))
}

pub async fn distribution(call: Call) -> Result<(), EngineError> {
    Err(EngineError::new(
        ErrorKind::NotImplemented,
        format!("{}: this engine does not look at manifests without pulling", call.name()),
    ))
}

/// A name with the tag or digest that came beside it.
fn reference(name: &str, tag: Option<&str>) -> Result<Reference, EngineError> {
    let full = match tag {
        None => name.to_owned(),
        Some(digest) if digest.contains(':') => format!("{name}@{digest}"),
        Some(tag) => format!("{name}:{tag}"),
    };
    Ok(full.parse::<Reference>()?)
}

/// What `X-Registry-Auth` holds; clients without credentials send an empty object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireAuth {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

fn registry_auth(call: &Call) -> Result<Option<RegistryAuth>, EngineError> {
    // Docker ignores a header it can't read: a pull may need no credentials at all.
    Ok(call.json_header::<WireAuth>("x-registry-auth").ok().flatten().and_then(credentials))
}

fn credentials(wire: WireAuth) -> Option<RegistryAuth> {
    use base64::Engine as _;
    let token = |text: String| Some(text).filter(|text| !text.is_empty());
    let (mut username, mut password) = (wire.username, wire.password);
    if username.is_empty() {
        let decoded =
            base64::prelude::BASE64_STANDARD.decode(&wire.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((user, secret)) = decoded.as_deref().and_then(|pair| pair.split_once(':')) {
            (username, password) = (user.to_owned(), secret.trim_end_matches('\0').to_owned());
        }
    }
    let auth = RegistryAuth {
        username,
        password,
        identity_token: token(wire.identitytoken),
        registry_token: token(wire.registrytoken),
    };
    (auth != RegistryAuth::default()).then_some(auth)
}

/// Sends progress as it comes. A failure before anything else is answered by a status, as Docker does: its client then
/// says "Error response from daemon".
async fn progress(mut messages: impl Stream<Item = Progress> + Send + Unpin + 'static) -> Result<Reply, EngineError> {
    let first = messages.next().await;
    if let Some(Progress { error: Some(words), kind, .. }) = &first {
        return Err(EngineError::new(kind.unwrap_or(ErrorKind::System), words.clone()));
    }
    Ok(Reply::lines(stream::iter(first).chain(messages)))
}
