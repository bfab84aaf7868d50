//! How a follower learns that there is more to read.
//!
//! By inotify on the log's folder, which sees writes and rotations alike. Instances are few (`max_user_instances` is 128
//! by default), so a follower that gets none looks by itself, a few times a second.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::sys::readiness;

/// How often one looks who is not told.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Tells when something happened in a log's folder since the last time.
#[derive(Debug)]
pub(super) enum News {
    /// By the kernel.
    Told(AsyncFd<OwnedFd>),
    /// By looking.
    Looked,
}

impl News {
    /// Begins to listen; must be called before the log is read, so that nothing falls in between.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let watched = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).and_then(|inotify| {
            add_watch(&inotify, folder, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
            Ok(inotify)
        });
        match watched {
            Ok(inotify) => Ok(Self::Told(readiness::readable(inotify)?)),
            Err(Errno::MFILE | Errno::NFILE | Errno::NOSPC | Errno::NOENT | Errno::NOSYS) => Ok(Self::Looked),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until something happened.
    pub(super) async fn wait(&mut self) -> io::Result<()> {
        let inotify = match self {
            Self::Told(inotify) => inotify,
            Self::Looked => {
                tokio::time::sleep(LOOK_EVERY).await;
                return Ok(());
            }
        };
        loop {
            let mut ready = inotify.readable().await?;
            // What exactly happened does not matter; all of it is taken so that it is news only once.
            let mut events = [0; 4096];
            match rustix::io::read(inotify.get_ref(), &mut events) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
