//! Containers: records, the state machine, and the verbs that people and programs know from Docker.
//!
//! [`Containers`] and [`Execs`] are the room's doors. What decides is pure (`state`, `status`, `merge`, `validate`,
//! `names`, `restart`, filters); what acts is one file a verb. A container's processes belong to its shim and live on without us:
//! `monitor` hears of their end, `adopt` meets them again when an engine opens.
//!
//! Verbs on one container are serial (a lock per container, held across I/O on purpose, see `live`), verbs on different
//! ones are not. `list`, `inspect`, `logs` and `stats` read a snapshot and never wait for a verb. A verb that was begun
//! is finished even if its caller goes away.

mod adopt;
mod archive;
mod attach;
mod commit;
mod create;
mod detach_keys;
mod ends_on_record;
mod exec;
mod exec_table;
mod health;
mod index;
mod inside;
mod inspect;
mod launch;
mod lifecycle;
mod list;
mod live;
mod log_options;
mod logs;
mod merge;
mod monitor;
mod names;
mod network_files;
mod networking;
mod options;
mod processes;
mod ps_args;
mod ps_columns;
mod ps_order;
mod quiet;
mod record;
mod remove;
mod restart;
mod room;
mod sandbox;
mod sharing;
pub(in crate::engine) mod signal;
mod state;
mod stats;
mod status;
mod syncs;
mod top;
mod update;
mod usage;
mod validate;

use std::pin::Pin;
use std::sync::Arc;

use bollard_stubs::models as docker;
use tokio::io::AsyncRead;

pub use attach::put_frame;
pub use options::{
    ArchivePut, AttachOptions, Attached, AttachedIo, ByteStream, CommitOptions, ExecStart, ExecStarted, ListContainers,
    LogLine, LogSource, LogStream, Logs, LogsOptions, PathStat, RemoveContainer, StatsOptions, StatsStream,
    StopOptions, StopTimeout, TerminalSize, WaitCondition,
};
pub use room::Rooms;
pub use status::human_duration;
pub use usage::Counts;

use super::EngineError;
use super::filters::Filters;
use index::Index;
use room::Room;

/// All containers of an engine and the verbs on them. `id` is always an ID, a unique beginning of one, or a name; what
/// names no container is refused with Docker's `No such container: x` (404). Cheap to clone.
#[derive(Clone)]
pub struct Containers(Arc<Room>);

/// A wait that has begun: it misses nothing from the moment it was asked for.
pub type Waiting = Pin<Box<dyn Future<Output = docker::ContainerWaitResponse> + Send>>;

impl Containers {
    /// Reads all records; [`Containers::adopt`] must follow before anything else is asked.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn open(rooms: Rooms) -> Result<Self, EngineError> {
        Room::open(rooms).await.map(Self)
    }

    /// Takes over what lives, puts on record what ended since the last engine, starts what is to start with an engine.
    ///
    /// # Errors
    /// The kernel refuses the networks.
    pub async fn adopt(&self) -> Result<(), EngineError> {
        self.0.adopt().await
    }

    /// The door for processes beside a container's own.
    pub fn execs(&self) -> Execs {
        Execs(Arc::clone(&self.0))
    }

    /// Who uses which image and volume.
    pub fn users(&self) -> Arc<Index> {
        Arc::clone(&self.0.index)
    }

    /// Stops watching the containers, which run on, and waits for verbs under way.
    pub async fn close(&self) {
        self.0.close().await;
    }

    /// How many there are in which state.
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }

    /// `POST /containers/create`.
    ///
    /// # Errors
    /// 404 for an unknown image; 409 for a taken name; 400 for what makes no sense.
    pub async fn create(
        &self,
        name: Option<&str>,
        body: docker::ContainerCreateBody,
        platform: Option<&str>,
    ) -> Result<docker::ContainerCreateResponse, EngineError> {
        let (room, name, platform) = (Arc::clone(&self.0), name.map(str::to_owned), platform.map(str::to_owned));
        self.0.to_its_end(async move { room.create(name.as_deref(), body, platform.as_deref()).await }).await
    }

    /// `POST /containers/{id}/start`.
    ///
    /// # Errors
    /// 304 where it runs; else the step that failed, after everything was undone.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let (room, id) = (Arc::clone(&self.0), id.to_owned());
        self.0.to_its_end(async move { room.start(&id).await }).await
    }

    /// `POST /containers/{id}/stop`.
    ///
    /// # Errors
    /// 304 where it does not run; 400 for an unknown signal.
    pub async fn stop(&self, id: &str, options: StopOptions) -> Result<(), EngineError> {
        let (room, id) = (Arc::clone(&self.0), id.to_owned());
        self.0.to_its_end(async move { room.stop(&id, options).await }).await
    }

    /// `POST /containers/{id}/restart`; starts one that does not run.
    ///
    /// # Errors
    /// As stop and start.
    pub async fn restart(&self, id: &str, options: StopOptions) -> Result<(), EngineError> {
        let (room, id) = (Arc::clone(&self.0), id.to_owned());
        self.0.to_its_end(async move { room.restart(&id, options).await }).await
    }

    /// `POST /containers/{id}/kill`; an empty `signal` is SIGKILL, which is also waited for.
    ///
    /// # Errors
    /// 409 where it does not run; 400 for an unknown signal.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let (room, id, signal) = (Arc::clone(&self.0), id.to_owned(), signal.to_owned());
        self.0.to_its_end(async move { room.kill(&id, &signal).await }).await
    }

    /// `POST /containers/{id}/pause`: its processes stand still.
    ///
    /// # Errors
    /// 409 where it does not run or already is.
    pub async fn pause(&self, id: &str) -> Result<(), EngineError> {
        let (room, id) = (Arc::clone(&self.0), id.to_owned());
        self.0.to_its_end(async move { room.pause(&id).await }).await
    }

    /// `POST /containers/{id}/unpause`.
    ///
    /// # Errors
    /// 500 where it is not paused.
    pub async fn unpause(&self, id: &str) -> Result<(), EngineError> {
        let (room, id) = (Arc::clone(&self.0), id.to_owned());
        self.0.to_its_end(async move { room.unpause(&id).await }).await
    }

    /// `POST /containers/{id}/rename`.
    ///
    /// # Errors
    /// 409 where another container has the name; 400 for a malformed one.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let (room, id, name) = (Arc::clone(&self.0), id.to_owned(), name.to_owned());
        self.0.to_its_end(async move { room.rename(&id, &name).await }).await
    }

    /// `DELETE /containers/{id}`.
    ///
    /// # Errors
    /// 409 while it runs, without force.
    pub async fn remove(&self, id: &str, options: RemoveContainer) -> Result<(), EngineError> {
        let (room, id) = (Arc::clone(&self.0), id.to_owned());
        self.0.to_its_end(async move { room.remove(&id, options).await }).await
    }

    /// `POST /containers/{id}/wait`. Subscribes at once; answer the headers when this returns, then await the
    /// [`Waiting`].
    ///
    /// # Errors
    /// Only that there is no such container.
    #[allow(clippy::unused_async)] // the seam is async
    pub async fn wait(&self, id: &str, condition: WaitCondition) -> Result<Waiting, EngineError> {
        self.0.wait(id, condition)
    }

    /// `GET /containers/json`, newest first.
    ///
    /// # Errors
    /// 400 for an unknown filter.
    pub async fn list(&self, options: ListContainers) -> Result<Vec<docker::ContainerSummary>, EngineError> {
        self.0.list(options).await
    }

    /// `GET /containers/{id}/json`.
    ///
    /// # Errors
    /// Only that there is no such container.
    pub async fn inspect(&self, id: &str, size: bool) -> Result<docker::ContainerInspectResponse, EngineError> {
        self.0.inspect(id, size).await
    }

    /// `POST /containers/{id}/attach`; one that does not run is waited for.
    ///
    /// # Errors
    /// 409 where it is paused or between two restarts; 400 for malformed detach keys.
    pub async fn attach(&self, id: &str, options: AttachOptions) -> Result<Attached, EngineError> {
        self.0.attach(id, options).await
    }

    /// `GET /containers/{id}/logs`.
    ///
    /// # Errors
    /// 400 without a stream; 501 where nothing is logged.
    #[allow(clippy::unused_async)] // the seam is async
    pub async fn logs(&self, id: &str, options: LogsOptions) -> Result<Logs, EngineError> {
        self.0.logs(id, options)
    }

    /// `POST /containers/{id}/resize`.
    ///
    /// # Errors
    /// 409 where it ran and does not any more.
    pub async fn resize(&self, id: &str, size: TerminalSize) -> Result<(), EngineError> {
        self.0.resize(id, size).await
    }

    /// `GET /containers/{id}/top`; `ps_args` as ps takes them, empty for `-ef`.
    ///
    /// # Errors
    /// 409 where it does not run.
    pub async fn top(&self, id: &str, ps_args: &str) -> Result<docker::ContainerTopResponse, EngineError> {
        self.0.top(id, ps_args).await
    }

    /// `GET /containers/{id}/stats`.
    ///
    /// # Errors
    /// Only that there is no such container.
    pub async fn stats(&self, id: &str, options: StatsOptions) -> Result<StatsStream, EngineError> {
        self.0.stats(id, options).await
    }

    /// `GET /containers/{id}/changes`: what it changed in its image's files.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn changes(&self, id: &str) -> Result<Vec<docker::FilesystemChange>, EngineError> {
        self.0.changes(id).await
    }

    /// `GET /containers/{id}/export`: all its files as a tar.
    ///
    /// # Errors
    /// The kernel refuses the overlay.
    pub async fn export(&self, id: &str) -> Result<ByteStream, EngineError> {
        self.0.export(id).await
    }

    /// `HEAD /containers/{id}/archive`.
    ///
    /// # Errors
    /// 404 for a path that is not there.
    pub async fn archive_stat(&self, id: &str, path: &str) -> Result<PathStat, EngineError> {
        self.0.archive_stat(id, path).await
    }

    /// `GET /containers/{id}/archive`: a file or folder as a tar.
    ///
    /// # Errors
    /// 404 for a path that is not there.
    pub async fn archive_get(&self, id: &str, path: &str) -> Result<(PathStat, ByteStream), EngineError> {
        self.0.archive_get(id, path).await
    }

    /// `PUT /containers/{id}/archive`: unpacks a tar into a folder.
    ///
    /// # Errors
    /// 404 for a folder that is not there; 400 for a bad archive.
    pub async fn archive_put(
        &self,
        id: &str,
        path: &str,
        options: ArchivePut,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), EngineError> {
        self.0.archive_put(id, path, options, archive).await
    }

    /// `POST /commit`: an image of what it is now.
    ///
    /// # Errors
    /// 400 for a malformed name or change.
    pub async fn commit(&self, id: &str, options: CommitOptions) -> Result<docker::IdResponse, EngineError> {
        let (room, id) = (Arc::clone(&self.0), id.to_owned());
        self.0.to_its_end(async move { room.commit(&id, options).await }).await
    }

    /// `POST /containers/{id}/update`: limits at once, the restart policy from now on.
    ///
    /// # Errors
    /// 400 for limits that make no sense.
    pub async fn update(
        &self,
        id: &str,
        body: docker::ContainerUpdateBody,
    ) -> Result<docker::ContainerUpdateResponse, EngineError> {
        let (room, id) = (Arc::clone(&self.0), id.to_owned());
        self.0.to_its_end(async move { room.update(&id, body).await }).await
    }

    /// `POST /containers/prune`: removes what does not run.
    ///
    /// # Errors
    /// 400 for an unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<docker::ContainerPruneResponse, EngineError> {
        let (room, filters) = (Arc::clone(&self.0), filters.clone());
        self.0.to_its_end(async move { room.prune(&filters).await }).await
    }

    /// `POST /networks/{id}/connect`: at once where it runs, else at its start.
    ///
    /// # Errors
    /// 404 for an unknown network; 403 where it is on it already.
    pub async fn connect_network(
        &self,
        network: &str,
        request: docker::NetworkConnectRequest,
    ) -> Result<(), EngineError> {
        let (room, network) = (Arc::clone(&self.0), network.to_owned());
        self.0.to_its_end(async move { room.connect_network(&network, request).await }).await
    }

    /// `POST /networks/{id}/disconnect`.
    ///
    /// # Errors
    /// 404 for an unknown network; 403 where it is not on it.
    pub async fn disconnect_network(
        &self,
        network: &str,
        request: docker::NetworkDisconnectRequest,
    ) -> Result<(), EngineError> {
        let (room, network) = (Arc::clone(&self.0), network.to_owned());
        self.0.to_its_end(async move { room.disconnect_network(&network, request).await }).await
    }

    /// All containers with what they wrote, for `GET /system/df`. Walks the disk.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn usage(&self) -> Result<Vec<docker::ContainerSummary>, EngineError> {
        self.list(ListContainers { all: true, size: true, ..ListContainers::default() }).await
    }
}

/// Processes run beside a container's own. Cheap to clone.
#[derive(Clone)]
pub struct Execs(Arc<Room>);

impl Execs {
    /// `POST /containers/{id}/exec`.
    ///
    /// # Errors
    /// 409 where the container does not run; 400 without a command.
    #[allow(clippy::unused_async)] // the seam is async
    pub async fn create(&self, container: &str, config: docker::ExecConfig) -> Result<docker::IdResponse, EngineError> {
        self.0.exec_create(container, config)
    }

    /// `POST /exec/{id}/start`.
    ///
    /// # Errors
    /// 404 for an unknown one; 409 where it was started before or the container does not run.
    pub async fn start(&self, id: &str, options: ExecStart) -> Result<ExecStarted, EngineError> {
        self.0.exec_start(id, options).await
    }

    /// `GET /exec/{id}/json`.
    ///
    /// # Errors
    /// 404 for an unknown one.
    #[allow(clippy::unused_async)] // the seam is async
    pub async fn inspect(&self, id: &str) -> Result<docker::ExecInspectResponse, EngineError> {
        self.0.exec_inspect(id)
    }

    /// `POST /exec/{id}/resize`.
    ///
    /// # Errors
    /// 404 for an unknown one; 409 where it does not run.
    pub async fn resize(&self, id: &str, size: TerminalSize) -> Result<(), EngineError> {
        self.0.exec_resize(id, size).await
    }
}
