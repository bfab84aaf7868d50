//! Brings files from where they are: a folder of the client over its session, a repository, a download.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use tokio_util::io::SyncIoBridge;
use tokio_util::sync::CancellationToken;

use super::named::{Files, Spec};
use super::{Git, layout};
use crate::buildkit::listing::Head;
use crate::buildkit::session::{Ask, Channel};
use crate::engine::build::context::Cancelling;
use crate::engine::build::kept::{Held, KeptContexts, Talk};
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::remote;
use crate::engine::build::session::Session;
use crate::engine::build::under_way::Build;
use crate::engine::{EngineError, ErrorKind};

/// Asks the client for its folder `name`; only what changed since it was asked last comes over.
pub(in crate::engine::build) async fn client_folder(
    session: &Session,
    kept: &Arc<KeptContexts>,
    name: &str,
    cancel: &CancellationToken,
) -> Result<Held, BuildFailure> {
    let failed = |error: io::Error| EngineError::system(format!("receive build context {name:?}: {error}"));
    let mut channel = session.open(&Ask::Context { name: name.to_owned() }).await?;
    let head: Head = tokio::select! {
        head = channel.hear() => head.map_err(failed)?,
        () = cancel.cancelled() => return Err(BuildFailure::cancelled()),
    };
    let mut talk = Conversation(SyncIoBridge::new(Cancelling::new(channel, cancel)));
    let kept = Arc::clone(kept);
    let until = cancel.clone();
    let work = tokio::task::spawn_blocking(move || kept.sync(&head, &mut talk, &until));
    let held = work.await.map_err(|error| EngineError::system(error.to_string()))?;
    if held.is_err() && cancel.is_cancelled() {
        return Err(BuildFailure::cancelled());
    }
    let held = held.map_err(failed)?;
    tracing::debug!(name, bytes = held.bytes, sent = held.sent, "a context of the client");
    Ok(held)
}

struct Conversation(SyncIoBridge<Cancelling<Channel>>);

impl Read for Conversation {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Conversation {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Talk for Conversation {
    fn end(&mut self) -> io::Result<()> {
        self.0.shutdown()
    }
}

impl Build {
    /// The files that the named context `key` stands for, brought here by the first who asks; `None` where it is an image.
    pub(in crate::engine::build) async fn named_files(&self, key: &str) -> Result<Option<Arc<Files>>, BuildFailure> {
        let Some(spec) = self.facts.contexts.get(key) else { return Ok(None) };
        if matches!(spec, Spec::Image(_) | Spec::Layout { .. }) {
            return Ok(None);
        }
        let cell = self.brought.files(key);
        let files = cell.get_or_try_init(|| async { self.bring(key, spec).await.map(Arc::new) }).await?;
        Ok(Some(Arc::clone(files)))
    }

    /// The name or ID of the image that the named context `key` stands for; `None` where it stands for files.
    pub(in crate::engine::build) async fn named_image(&self, key: &str) -> Result<Option<String>, BuildFailure> {
        match self.facts.contexts.get(key) {
            Some(Spec::Image(name)) => Ok(Some(name.clone())),
            Some(Spec::Layout { folder, image }) => {
                let cell = self.brought.image(key);
                let id = cell.get_or_try_init(|| async {
                    let session = self.client(key).await?;
                    let held = client_folder(&session, self.kept(), folder, &self.cancel).await?;
                    layout::load(self.images(), held, image.clone()).await.map_err(|error| named(key, error))
                });
                Ok(Some(id.await?.clone()))
            }
            _ => Ok(None),
        }
    }

    /// The client, which has what `key` stands for.
    async fn client(&self, key: &str) -> Result<Session, BuildFailure> {
        let missing = || {
            EngineError::invalid(format!(
                "build context {key} is a folder of the client, which opened no session for it"
            ))
        };
        Ok(self.session().await?.ok_or_else(missing)?)
    }

    async fn bring(&self, key: &str, spec: &Spec) -> Result<Files, BuildFailure> {
        let root = &self.parts().root;
        match spec {
            Spec::Git(url) => {
                let git = Git { root, cancel: &self.cancel };
                let keeps_git_dir = url.keeps_git_dir == Some(true);
                let checkout = git.checkout(url, keeps_git_dir).await.map_err(|error| named(key, error))?;
                Ok(Files::new(checkout.files.clone(), checkout.into_folder()))
            }
            Spec::Url(url) => {
                // What is no archive is a file by its own name.
                let path = url.split(['?', '#']).next().unwrap_or(url);
                let name = Path::new(path).file_name().map_or("context".into(), |name| name.to_string_lossy());
                let context = remote::context(self.downloads(), url, &name, false, &self.cancel).await?;
                Ok(Files::new(context.path().to_owned(), context))
            }
            Spec::Client(name) => {
                let session = self.client(key).await?;
                Ok(Files::held(client_folder(&session, self.kept(), name, &self.cancel).await?))
            }
            Spec::Image(_) | Spec::Layout { .. } => {
                Err(EngineError::new(ErrorKind::System, format!("context {key} is an image")).into())
            }
        }
    }
}

fn named(key: &str, error: EngineError) -> BuildFailure {
    EngineError::new(error.kind(), format!("build context {key}: {}", error.message())).into()
}
