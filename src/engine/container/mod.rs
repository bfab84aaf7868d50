//! Containers: records, the state machine, lifecycle verbs.

mod options;

use std::future::Future;
use std::pin::Pin;

use bollard_stubs::models as docker;
use tokio::io::AsyncRead;

pub use options::{
    ArchivePut, AttachOptions, Attached, AttachedIo, ByteStream, CommitOptions, ExecStart, ExecStarted, ListContainers,
    LogLine, LogSource, LogStream, Logs, LogsOptions, PathStat, RemoveContainer, StatsOptions, StatsStream,
    StopOptions, StopTimeout, TerminalSize, WaitCondition,
};

use super::EngineError;
use super::filters::Filters;

/// All containers of an engine and the verbs on them. `id` is always an ID, a unique beginning of one, or a name.
#[derive(Clone)]
pub struct Containers {}

/// A wait that has begun: it misses nothing from the moment it was asked for.
pub type Waiting = Pin<Box<dyn Future<Output = docker::ContainerWaitResponse> + Send>>;

#[allow(unused_variables, clippy::unused_async)]
impl Containers {
    pub async fn create(
        &self,
        name: Option<&str>,
        body: docker::ContainerCreateBody,
        platform: Option<&str>,
    ) -> Result<docker::ContainerCreateResponse, EngineError> {
        todo!()
    }
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn stop(&self, id: &str, options: StopOptions) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn restart(&self, id: &str, options: StopOptions) -> Result<(), EngineError> {
        todo!()
    }
    /// `signal` empty is SIGKILL.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn pause(&self, id: &str) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn unpause(&self, id: &str) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn remove(&self, id: &str, options: RemoveContainer) -> Result<(), EngineError> {
        todo!()
    }
    /// Subscribes at once; answer the headers when this returns, then await the [`Waiting`].
    pub async fn wait(&self, id: &str, condition: WaitCondition) -> Result<Waiting, EngineError> {
        todo!()
    }
    pub async fn list(&self, options: ListContainers) -> Result<Vec<docker::ContainerSummary>, EngineError> {
        todo!()
    }
    pub async fn inspect(&self, id: &str, size: bool) -> Result<docker::ContainerInspectResponse, EngineError> {
        todo!()
    }
    pub async fn attach(&self, id: &str, options: AttachOptions) -> Result<Attached, EngineError> {
        todo!()
    }
    pub async fn logs(&self, id: &str, options: LogsOptions) -> Result<Logs, EngineError> {
        todo!()
    }
    pub async fn resize(&self, id: &str, size: TerminalSize) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn top(&self, id: &str, ps_args: &str) -> Result<docker::ContainerTopResponse, EngineError> {
        todo!()
    }
    pub async fn stats(&self, id: &str, options: StatsOptions) -> Result<StatsStream, EngineError> {
        todo!()
    }
    pub async fn changes(&self, id: &str) -> Result<Vec<docker::FilesystemChange>, EngineError> {
        todo!()
    }
    pub async fn export(&self, id: &str) -> Result<ByteStream, EngineError> {
        todo!()
    }
    pub async fn archive_stat(&self, id: &str, path: &str) -> Result<PathStat, EngineError> {
        todo!()
    }
    pub async fn archive_get(&self, id: &str, path: &str) -> Result<(PathStat, ByteStream), EngineError> {
        todo!()
    }
    pub async fn archive_put(
        &self,
        id: &str,
        path: &str,
        options: ArchivePut,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn commit(&self, id: &str, options: CommitOptions) -> Result<docker::IdResponse, EngineError> {
        todo!()
    }
    pub async fn update(
        &self,
        id: &str,
        body: docker::ContainerUpdateBody,
    ) -> Result<docker::ContainerUpdateResponse, EngineError> {
        todo!()
    }
    pub async fn prune(&self, filters: &Filters) -> Result<docker::ContainerPruneResponse, EngineError> {
        todo!()
    }
    pub async fn connect_network(
        &self,
        network: &str,
        request: docker::NetworkConnectRequest,
    ) -> Result<(), EngineError> {
        todo!()
    }
    pub async fn disconnect_network(
        &self,
        network: &str,
        request: docker::NetworkDisconnectRequest,
    ) -> Result<(), EngineError> {
        todo!()
    }
}

/// Processes run beside a container's own.
#[derive(Clone)]
pub struct Execs {}

#[allow(unused_variables, clippy::unused_async)]
impl Execs {
    pub async fn create(&self, container: &str, config: docker::ExecConfig) -> Result<docker::IdResponse, EngineError> {
        todo!()
    }
    pub async fn start(&self, id: &str, options: ExecStart) -> Result<ExecStarted, EngineError> {
        todo!()
    }
    pub async fn inspect(&self, id: &str) -> Result<docker::ExecInspectResponse, EngineError> {
        todo!()
    }
    pub async fn resize(&self, id: &str, size: TerminalSize) -> Result<(), EngineError> {
        todo!()
    }
}
