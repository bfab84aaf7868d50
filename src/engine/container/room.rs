//! What all container verbs share: the rooms they use, the index, and the tasks that outlive a caller.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::exec_table::ExecTable;
use super::index::Index;
use super::live::Container;
use super::quiet::Quiet;
use super::record::{ContainerRecord, Folder};
use super::syncs::Syncs;
use crate::engine::EngineError;
use crate::engine::events::Events;
use crate::engine::image::Images;
use crate::engine::instance::Instance;
use crate::engine::layer::OverlayStack;
use crate::engine::network::Networks;
use crate::engine::runtime::{Cgroups, HostFacts};
use crate::engine::runtimes::Runtimes;
use crate::engine::shim::ShimBinary;
use crate::engine::store::StateRoot;
use crate::engine::volume::Volumes;

/// The rooms that containers are made from.
pub struct Rooms {
    /// The locked state root.
    pub root: Arc<StateRoot>,
    /// Which engine this is.
    pub instance: Instance,
    /// Where changes are told.
    pub events: Arc<Events>,
    /// What this host is.
    pub host: Arc<HostFacts>,
    /// Images and their layers.
    pub images: Images,
    /// Networks.
    pub networks: Arc<Networks>,
    /// Volumes.
    pub volumes: Arc<Volumes>,
    /// What shims are run from.
    pub binary: ShimBinary,
    /// What may run containers.
    pub runtimes: Arc<Runtimes>,
}

/// The container room's inside.
pub struct Room {
    pub rooms: Rooms,
    pub cgroups: Cgroups,
    pub index: Arc<Index>,
    pub execs: ExecTable,
    /// `<root>/containers`.
    pub folder: PathBuf,
    /// Who may start or clean up a container now: of many at once a few at a time, see [`at_once`].
    pub turns: tokio::sync::Semaphore,
    /// The same for who ends one, by itself: a start shall not wait for those that take their time.
    pub endings: tokio::sync::Semaphore,
    /// The same for who makes or removes a container's folder, so that he waits for no start.
    pub folders: tokio::sync::Semaphore,
    /// What is to be on disk soon.
    pub syncs: Arc<Syncs>,
    /// Gives memory back after many containers.
    pub quiet: Arc<Quiet>,
    /// Everything that goes on without a caller: monitors, verbs under way, restarts.
    pub tasks: TaskTracker,
    /// Ends the monitors when the engine closes; containers run on.
    pub closing: CancellationToken,
    /// Whether every start is told stage by stage.
    pub traces_starts: bool,
}

/// How many containers start, end or are cleaned up at once: three for two of `cpus`, since that waits for little but the
/// kernel. More would not be done sooner (measured: 16 at once on two processors as slow as 5), but fill the processors
/// with threads and shims, and whoever asks for a list of containers meanwhile would wait behind all of them.
pub fn at_once(cpus: u32) -> usize {
    let cpus = usize::try_from(cpus).unwrap_or(1);
    cpus.saturating_add(cpus.div_ceil(2)).clamp(2, 64)
}

/// Nobody waits longer than this for a turn to end a container: it is a courtesy to others, and who was to end before may
/// be stuck.
const COURTESY: Duration = Duration::from_secs(3);

impl Room {
    /// Waits for a turn to start or clean up a container; it lasts until the answer is dropped.
    pub async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        // Nobody closes it; if somebody did, all could go on at once.
        self.turns.acquire().await.ok()
    }

    /// Waits for a turn to end a container, which lasts until the answer is dropped; not for ever.
    pub async fn turn_to_end(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        tokio::time::timeout(COURTESY, self.endings.acquire()).await.ok()?.ok()
    }

    /// Runs a verb to its end even if its caller goes away half way: a half-made start would be litter.
    ///
    /// # Errors
    /// The verb's, or that it broke down.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        verb: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.tasks.spawn(verb).await.unwrap_or_else(|error| {
            Err(EngineError::system(format!("the engine broke down while it was at work: {error}")))
        })
    }

    /// Runs blocking work off the async threads.
    ///
    /// # Errors
    /// The work's, or that it broke down.
    pub async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            Err(EngineError::system(format!("the engine broke down while it was at work: {error}")))
        })
    }

    /// The files of a container.
    pub fn folder_of(&self, id: &str) -> Folder {
        Folder::of(&self.folder, self.rooms.instance.run(), id)
    }

    /// A container's cgroup, relative to each hierarchy's mount.
    pub fn cgroup_of(&self, record: &ContainerRecord) -> String {
        record.cgroup(&self.rooms.instance.cgroup_parent())
    }

    /// The directories a container's root is made of.
    ///
    /// # Errors
    /// A layer that is missing.
    pub fn stack_of(&self, container: &Container, record: &ContainerRecord) -> Result<OverlayStack, EngineError> {
        let lowers = match &record.top {
            Some(top) => self.rooms.images.layers().lowers(top)?,
            None => Vec::new(),
        };
        Ok(OverlayStack { lowers, upper: container.folder.upper(), work: container.folder.work(), is_volatile: false })
    }
}

/// Removes a folder and what is in it; that it is not there is success.
///
/// # Errors
/// The disk's refusal.
pub fn remove_folder(path: &Path) -> std::io::Result<()> {
    // Somebody may still be writing a file into it (a name table, a socket); a few tries outlast that.
    for _ in 0..5 {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => return Err(error),
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
    }
    std::fs::remove_dir_all(path)
}
