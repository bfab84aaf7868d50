//! The engine inside of this process: opened, listening on its socket, reached from within by memory alone.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use boxyard::api;
use boxyard::client::Io;
use boxyard::engine::instance::Instance;
use boxyard::engine::runtimes::Runtimes;
use boxyard::engine::{Engine, EngineError, EngineOptions};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How much may be on its way between client and engine; a screenful of log lines.
const IN_FLIGHT: usize = 64 << 10;

/// How long clients of the socket may take to end once this process goes.
const GOODBYE: Duration = Duration::from_secs(4);

/// An open engine that listens on its socket.
pub struct Embedded {
    engine: Engine,
    stop: CancellationToken,
    listening: Mutex<Option<JoinHandle<()>>>,
    _socket: Socket,
}

/// Why there is no engine here.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The engine refused; another one may hold the state root.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its socket can't be made.
    #[error("listen on {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Embedded {
    /// Opens the engine of `instance`, whose containers may be run by `runtimes`, and listens on its socket.
    pub async fn open(instance: &Instance, runtimes: Runtimes) -> Result<Self, OpenError> {
        // Before there are threads for long work.
        super::priority::answers_go_first();
        let engine =
            Engine::open(EngineOptions { instance: instance.clone(), runtimes, build_cache: instance.build_cache() })
                .await?;
        let (socket, listener) = Socket::bind(&instance.socket())?;
        let stop = CancellationToken::new();
        let listening = tokio::spawn(api::listen(engine.clone(), listener, stop.clone()));
        Ok(Self { engine, stop, listening: Mutex::new(Some(listening)), _socket: socket })
    }

    /// The engine itself.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Ends when the engine is told to.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// A connection that never leaves this process.
    pub fn connect(&self) -> Box<dyn Io> {
        let (ours, theirs) = tokio::io::duplex(IN_FLIGHT);
        tokio::spawn(api::serve_connection(self.engine.clone(), theirs));
        Box::new(ours)
    }

    /// Stops listening, lets clients end, lets go of the state root. Containers run on.
    pub async fn close(&self) {
        self.stop.cancel();
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listening) = listening
            && tokio::time::timeout(GOODBYE, listening).await.is_err()
        {
            tracing::warn!("clients of the socket did not end in time");
        }
        self.engine.clone().close().await;
    }
}

/// A Unix socket's file; goes with its owner.
pub struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`, for root and its group alone. Made beside and renamed into place, so that a stale socket of a
    /// killed engine is replaced and no moment shows wider rights. Only the holder of the state root's lock may call this.
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), OpenError> {
        let refused = |source| OpenError::Socket { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o711).create(folder).map_err(refused)?;
        let beside = folder.join(format!(".engine-{}.sock", std::process::id()));
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(refused)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o660)).map_err(refused)?;
        fs::rename(&beside, path).map_err(refused)?;
        Ok((Self { path: path.to_owned() }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// `error` with the next step for a person whose engine could not be opened.
pub fn advise(error: OpenError, instance: &Instance) -> anyhow::Error {
    if is_taken(&error) {
        let socket = instance.socket();
        return anyhow::Error::new(error).context(format!(
            "the engine runs already; plain `boxyard` joins it, docker does with DOCKER_HOST=unix://{}",
            socket.display()
        ));
    }
    anyhow::Error::new(error).context("open the engine")
}

/// Whether another process is the engine.
pub fn is_taken(error: &OpenError) -> bool {
    matches!(error, OpenError::Engine(error) if error.kind() == boxyard::engine::ErrorKind::Conflict)
}
