//! A transport that always leads to the engine of one state root, whoever that is at the moment.
//!
//! Connect: to the engine in this process if there is one; else to the socket; and where nobody answers there, this
//! process takes the state root's lock and is the engine from then on. So a second boxyard is a client of the first, and
//! goes on by itself when the first one ends. Between two processes that both find the socket dead, the lock decides; the
//! loser finds the winner's socket a moment later.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use boxyard::client::{Connecting, Io, Transport};
use boxyard::engine::instance::Instance;
use tokio::net::UnixStream;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::embedded::{Embedded, OpenError, is_taken};

/// How long another process may hold the lock without answering at its socket: it may still be sweeping and adopting.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long between two looks at whether the lock's holder listens yet.
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);

/// Leads to the engine of one instance. Cheap to clone.
#[derive(Clone)]
pub struct Handover(Arc<Place>);

struct Place {
    instance: Instance,
    embedded: OnceCell<Embedded>,
}

/// What a search for the engine found instead of becoming it.
enum Instead {
    Socket(UnixStream),
    Refused(io::Error),
}

/// Why nobody can be reached, with the next step.
#[derive(Debug, thiserror::Error)]
enum Unreachable {
    #[error("{}: permission denied; try as root, or add yourself to the socket's group", socket.display())]
    Denied { socket: PathBuf },
    #[error("nobody answers at {} and this user can't become the engine; try `sudo boxyard`, or drive a Docker host: \
             `boxyard -H unix:///var/run/docker.sock`", socket.display())]
    NotRoot { socket: PathBuf },
    #[error("{holder}, but it does not answer at {}; is its run root another one?", socket.display())]
    Silent { holder: OpenError, socket: PathBuf },
    #[error(transparent)]
    Open(OpenError),
}

impl Handover {
    /// Leads to the engine of `instance`.
    pub fn new(instance: Instance) -> Self {
        Self(Arc::new(Place { instance, embedded: OnceCell::new() }))
    }

    /// The instance it leads to.
    pub fn instance(&self) -> &Instance {
        &self.0.instance
    }

    /// Whether this process is the engine.
    pub fn is_embedded(&self) -> bool {
        self.0.embedded.initialized()
    }

    /// Lets go of the engine where this process is it.
    pub async fn close(&self) {
        if let Some(embedded) = self.0.embedded.get() {
            embedded.close().await;
        }
    }
}

impl Place {
    async fn reach(&self) -> io::Result<Box<dyn Io>> {
        match self.embedded.get_or_try_init(|| self.find_or_become()).await {
            Ok(embedded) => Ok(embedded.connect()),
            Err(Instead::Socket(socket)) => Ok(Box::new(socket)),
            Err(Instead::Refused(error)) => Err(error),
        }
    }

    async fn find_or_become(&self) -> Result<Embedded, Instead> {
        let socket = self.instance.socket();
        let refused = |why: Unreachable| Err(Instead::Refused(io::Error::other(why)));
        let give_up = Instant::now() + PATIENCE;
        loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => return Err(Instead::Socket(stream)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return refused(Unreachable::Denied { socket });
                }
                // Nobody listens: no such file, or the socket of a process that is gone.
                Err(_) => {}
            }
            if !rustix::process::geteuid().is_root() {
                return refused(Unreachable::NotRoot { socket });
            }
            match Embedded::open(&self.instance, super::runtimes()).await {
                Ok(embedded) => {
                    tracing::info!(root = %self.instance.root().display(), "this process is the engine now");
                    return Ok(embedded);
                }
                Err(holder) if is_taken(&holder) && Instant::now() >= give_up => {
                    return refused(Unreachable::Silent { holder, socket });
                }
                Err(error) if is_taken(&error) => tokio::time::sleep(BETWEEN_LOOKS).await,
                Err(error) => return refused(Unreachable::Open(error)),
            }
        }
    }
}

impl Transport for Handover {
    /// In a task of its own: whoever asked may look away in the middle (a time-out, a `select!`), and others wait for the
    /// same take-over.
    fn connect(&self) -> Connecting<'_> {
        let place = Arc::clone(&self.0);
        let reaching = tokio::spawn(async move { place.reach().await });
        Box::pin(async move { reaching.await.unwrap_or_else(|error| Err(io::Error::other(error))) })
    }

    fn address(&self) -> String {
        match self.is_embedded() {
            true => format!("embedded · {}", self.instance().root().display()),
            false => format!("unix://{}", self.instance().socket().display()),
        }
    }
}
