//! Brings the caches that a build is told of, and takes its own where it is told to. What fails is a warning, no failure.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::CancellationToken;

use super::super::Room;
use super::super::base::Bases;
use super::super::context::Cancelling;
use super::super::progress::BuildMessage;
use super::super::request::BuildRequest;
use super::super::session::Session;
use super::super::teller::Teller;
use super::super::under_way::Build;
use super::{Export, Imports};
use crate::buildkit::session::Ask;
use crate::buildkit::{CacheKind, CacheSpec, CacheWay, Vertex, VertexWarning};
use crate::engine::EngineError;
use crate::engine::layer::{ApplyOptions, ChainId, Digest, WriteOptions, apply_tar, write_tar};
use crate::engine::store::StateRoot;

/// How long a cache may take to come before the build goes on without it. Layers are not part of that.
const PATIENCE: Duration = Duration::from_secs(30);
/// BuildKit's other way to ask for an inline cache.
const INLINE: &str = "BUILDKIT_INLINE_CACHE";

/// The caches of a request.
#[derive(Debug, Default)]
pub(in crate::engine::build) struct Specs {
    pub from: Vec<CacheSpec>,
    pub to: Vec<CacheSpec>,
    /// Whether the image is to carry its own.
    pub is_inline: bool,
}

impl Specs {
    /// Reads `cachefrom` and `cacheto`.
    ///
    /// # Errors
    /// `InvalidParameter` names what is not known.
    pub(in crate::engine::build) fn read(request: &BuildRequest) -> Result<Self, EngineError> {
        let parse = |way: CacheWay, texts: &[String]| -> Result<Vec<CacheSpec>, EngineError> {
            let whole = rejoined(texts);
            let specs = whole.iter().map(|text| way.parse(text));
            specs.collect::<Result<_, _>>().map_err(|error| EngineError::invalid(error.to_string()))
        };
        let to = parse(CacheWay::To, &request.cache_to)?;
        let asked = request.build_args.get(INLINE).and_then(Option::as_deref);
        let is_inline = matches!(asked, Some("1" | "true")) || to.iter().any(|spec| spec.kind == CacheKind::Inline);
        Ok(Self { from: parse(CacheWay::From, &request.cache_from)?, to, is_inline })
    }
}

/// Docker's classic CLI cuts its flag at commas: `type=registry,ref=x` comes as two. No image's name has an equals sign.
fn rejoined(texts: &[String]) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for text in texts {
        let is_part = text.contains('=') && !text.starts_with("type=");
        match whole.last_mut().filter(|last| is_part && last.starts_with("type=")) {
            Some(last) => last.push_str(&format!(",{text}")),
            None => whole.push(text.clone()),
        }
    }
    whole
}

/// Who is told of it.
pub(in crate::engine::build) struct Told<'a> {
    pub teller: &'a Teller,
    /// What makes this build's digests its own.
    pub id: &'a str,
}

impl Told<'_> {
    fn begin(&self, what: String) -> Vertex {
        let digest = Digest::of(format!("{} {what}", self.id).as_bytes()).to_string();
        let vertex = Vertex { digest, name: what, started: Some(Timestamp::now()), ..Vertex::default() };
        self.teller.tell(BuildMessage::Vertex(vertex.clone()));
        vertex
    }

    fn end(&self, mut vertex: Vertex, warning: Option<String>) {
        vertex.completed = Some(Timestamp::now());
        if let Some(warning) = warning {
            self.teller.tell(BuildMessage::Warning(VertexWarning {
                vertex: vertex.digest.clone(),
                level: 1,
                short: warning.clone(),
                ..VertexWarning::default()
            }));
            self.teller.tell_in_order(0, BuildMessage::Text(format!("[Warning] {warning}\n")));
        }
        self.teller.tell(BuildMessage::Vertex(vertex));
    }
}

/// The caches to take from, as far as they can be reached.
pub(in crate::engine::build) async fn bring(
    room: &Room,
    bases: &Bases,
    from: &[CacheSpec],
    session: Option<&str>,
    told: &Told<'_>,
    cancel: &CancellationToken,
) -> Imports {
    let mut imports = Imports::default();
    for (index, spec) in from.iter().enumerate() {
        let vertex = told.begin(format!("importing cache manifest from {}", spec.shown()));
        // Whatever ends the wait ends the work, too.
        let cancel = cancel.child_token();
        let _ends = cancel.clone().drop_guard();
        let attempt = async {
            match spec.kind {
                CacheKind::Local => {
                    let session = session_of(room, session).await?;
                    let folder = receive(&room.parts.root, &session, CacheWay::From.in_session(index), &cancel).await?;
                    imports.add_folder(folder, spec).await
                }
                _ => imports.add_reference(&room.parts.images, bases, spec).await,
            }
        };
        let late = || EngineError::system(format!("it did not come within {} seconds", PATIENCE.as_secs()));
        let brought = tokio::select! {
            brought = tokio::time::timeout(PATIENCE, attempt) => brought.unwrap_or_else(|_| Err(late())),
            () = cancel.cancelled() => return imports,
        };
        let warning = brought.err().map(|error| format!("no cache from {}: {}", spec.shown(), error.message()));
        told.end(vertex, warning);
    }
    imports
}

/// Takes the cache of a build that is done to where it was asked for.
pub(in crate::engine::build) async fn take(build: &Build, layers: &[ChainId], told: &Told<'_>) {
    for (index, spec) in build.caches.to.iter().enumerate().filter(|(_, spec)| spec.kind != CacheKind::Inline) {
        let vertex = told.begin(format!("exporting cache to {}", spec.shown()));
        let export = Export { cache: build.cache(), images: build.images(), keys: build.keys(), layers };
        let taken = match spec.kind {
            CacheKind::Registry => tokio::select! {
                taken = export.to_registry(&build.bases, spec) => taken,
                () = build.cancel.cancelled() => return,
            },
            _ => to_client(build, &export, spec, index).await,
        };
        let warning = taken.err().filter(|_| !spec.ignores_errors);
        let warning = warning.map(|error| format!("the cache did not go to {}: {}", spec.shown(), error.message()));
        told.end(vertex, warning);
    }
}

async fn to_client(build: &Build, export: &Export<'_>, spec: &CacheSpec, index: usize) -> Result<(), EngineError> {
    let session = build.session().await.map_err(|failure| EngineError::new(failure.kind, failure.message))?;
    let session = session.ok_or_else(no_session)?;
    let folder = export.to_folder(&build.parts().root, spec, &build.cancel).await?;
    send(&session, folder, CacheWay::To.in_session(index), &build.cancel).await
}

async fn session_of(room: &Room, id: Option<&str>) -> Result<Session, EngineError> {
    match id {
        Some(id) => room.sessions.session(id).await,
        None => Err(no_session()),
    }
}

fn no_session() -> EngineError {
    EngineError::invalid("a folder of the client's needs a build session, which `boxyard build` opens")
}

async fn receive(
    root: &StateRoot,
    session: &Session,
    name: String,
    cancel: &CancellationToken,
) -> Result<TempDir, EngineError> {
    let told = |error: io::Error| EngineError::system(format!("receive it: {error}"));
    let folder = root.temp_dir("cache").map_err(told)?;
    let channel = session.open(&Ask::Context { name }).await?;
    let mut bridge = SyncIoBridge::new(Cancelling::new(channel, cancel));
    let work = move || {
        let target = File::open(folder.path()).map_err(told)?;
        apply_tar(target.as_fd(), &mut bridge, &ApplyOptions::default())?;
        Ok(folder)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))?
}

async fn send(session: &Session, folder: TempDir, name: String, cancel: &CancellationToken) -> Result<(), EngineError> {
    let told = |error: io::Error| EngineError::system(format!("send it: {error}"));
    let channel = session.open(&Ask::Output { name }).await?;
    let mut bridge = SyncIoBridge::new(Cancelling::new(channel, cancel));
    let work = move || {
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).map_err(told)?;
        let source = File::open(folder.path()).map_err(told)?;
        write_tar(source.as_fd(), Path::new(""), &WriteOptions::default(), &mut bridge)?;
        bridge.shutdown().map_err(told)?;
        // The client ends its own direction once all of it is stored, or says why it can't be.
        io::copy(&mut bridge, &mut io::sink()).map_err(told).map(drop)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_cut_is_joined_again() {
        let joined = |texts: &[&str]| rejoined(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(joined(&["type=registry", "ref=x:1", "app:2"]), ["type=registry,ref=x:1", "app:2"]);
        assert_eq!(
            joined(&["a", "type=local,src=d", "type=registry", "ref=y"]),
            ["a", "type=local,src=d", "type=registry,ref=y"]
        );
    }
}
