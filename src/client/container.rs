//! Calls on containers.

use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::FramedRead;

use super::connection::RequestBody;
use super::docker::{Call, Docker, in_path};
use super::errors::Error;
use super::models::{
    ContainerCreateBody, ContainerCreateResponse, ContainerInspectResponse, ContainerPruneResponse,
    ContainerStatsResponse, ContainerSummary, ContainerTopResponse, ContainerUpdateBody, ContainerUpdateResponse,
    ContainerWaitResponse, FilesystemChange,
};
use super::output::{LogOutput, OutputDecoder};
use super::query_parameters::{
    AttachContainerOptions, ContainerArchiveInfoOptions, CreateContainerOptions, DownloadFromContainerOptions,
    InspectContainerOptions, KillContainerOptions, ListContainersOptions, LogsOptions, PruneContainersOptions,
    RemoveContainerOptions, RenameContainerOptions, ResizeContainerTTYOptions, RestartContainerOptions,
    StartContainerOptions, StatsOptions, StopContainerOptions, TopOptions, UploadToContainerOptions,
    WaitContainerOptions,
};

/// Output and input of a container or exec.
pub struct AttachContainerResults {
    /// What it prints.
    pub output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>,
    /// What it reads; shutting it down is the end of its input.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl std::fmt::Debug for AttachContainerResults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AttachContainerResults")
    }
}

impl AttachContainerResults {
    pub(super) fn over<T>(io: T, framing: Option<super::output::Framing>) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (output, input) = tokio::io::split(io);
        Self { output: Box::pin(FramedRead::new(output, OutputDecoder::new(framing))), input: Box::pin(input) }
    }
}

/// A file in a container, as the archive endpoint describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// Its last path component.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's file mode bits.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where it leads, if it is a symbolic link.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

fn path(container: &str, verb: &str) -> String {
    format!("/containers/{}/{verb}", in_path(container))
}

impl Docker {
    /// The containers.
    pub async fn list_containers(
        &self,
        options: Option<ListContainersOptions>,
    ) -> Result<Vec<ContainerSummary>, Error> {
        self.json(Call::get("/containers/json").query(options)?).await
    }

    /// Makes a container; it does not run yet.
    pub async fn create_container(
        &self,
        options: Option<CreateContainerOptions>,
        config: ContainerCreateBody,
    ) -> Result<ContainerCreateResponse, Error> {
        self.json(Call::post("/containers/create").query(options)?.body(&config)?).await
    }

    /// Starts it; that it runs already is success.
    pub async fn start_container(&self, name: &str, options: Option<StartContainerOptions>) -> Result<(), Error> {
        self.unit(Call::post(path(name, "start")).query(options)?).await
    }

    /// Stops it: stop signal, grace period, SIGKILL. That it is stopped already is success.
    pub async fn stop_container(&self, name: &str, options: Option<StopContainerOptions>) -> Result<(), Error> {
        let grace = options.as_ref().and_then(|options| options.t);
        self.unit(Call::post(path(name, "stop")).query(options)?.patience(seconds(grace))).await
    }

    /// Stops and starts it.
    pub async fn restart_container(&self, name: &str, options: Option<RestartContainerOptions>) -> Result<(), Error> {
        let grace = options.as_ref().and_then(|options| options.t);
        self.unit(Call::post(path(name, "restart")).query(options)?.patience(seconds(grace))).await
    }

    /// Sends it a signal.
    pub async fn kill_container(&self, name: &str, options: Option<KillContainerOptions>) -> Result<(), Error> {
        self.unit(Call::post(path(name, "kill")).query(options)?).await
    }

    /// Freezes its processes.
    pub async fn pause_container(&self, name: &str) -> Result<(), Error> {
        self.unit(Call::post(path(name, "pause"))).await
    }

    /// Lets them run again.
    pub async fn unpause_container(&self, name: &str) -> Result<(), Error> {
        self.unit(Call::post(path(name, "unpause"))).await
    }

    /// Gives it another name.
    pub async fn rename_container(&self, name: &str, options: RenameContainerOptions) -> Result<(), Error> {
        self.unit(Call::post(path(name, "rename")).query(Some(options))?).await
    }

    /// Removes it.
    pub async fn remove_container(&self, name: &str, options: Option<RemoveContainerOptions>) -> Result<(), Error> {
        self.unit(Call::delete(format!("/containers/{}", in_path(name))).query(options)?).await
    }

    /// Changes its limits or restart policy while it runs.
    pub async fn update_container(
        &self,
        name: &str,
        config: ContainerUpdateBody,
    ) -> Result<ContainerUpdateResponse, Error> {
        self.json(Call::post(path(name, "update")).body(&config)?).await
    }

    /// Everything about it.
    pub async fn inspect_container(
        &self,
        name: &str,
        options: Option<InspectContainerOptions>,
    ) -> Result<ContainerInspectResponse, Error> {
        self.json(Call::get(path(name, "json")).query(options)?).await
    }

    /// Its processes.
    pub async fn top_processes(&self, name: &str, options: Option<TopOptions>) -> Result<ContainerTopResponse, Error> {
        self.json(Call::get(path(name, "top")).query(options)?).await
    }

    /// What its file system differs in from its image.
    pub async fn container_changes(&self, name: &str) -> Result<Option<Vec<FilesystemChange>>, Error> {
        self.json(Call::get(path(name, "changes"))).await
    }

    /// Removes all that do not run.
    pub async fn prune_containers(
        &self,
        options: Option<PruneContainersOptions>,
    ) -> Result<ContainerPruneResponse, Error> {
        self.json(Call::post("/containers/prune").query(options)?).await
    }

    /// Its log.
    pub fn logs(
        &self,
        name: &str,
        options: Option<LogsOptions>,
    ) -> impl Stream<Item = Result<LogOutput, Error>> + Send + use<> {
        self.output_stream(Call::get(path(name, "logs")).query(options))
    }

    /// Its use of processors, memory, network and disks, once or each second.
    pub fn stats(
        &self,
        name: &str,
        options: Option<StatsOptions>,
    ) -> impl Stream<Item = Result<ContainerStatsResponse, Error>> + Send + use<> {
        self.json_stream(Call::get(path(name, "stats")).query(options))
    }

    /// One answer, when it has ended. Unlike bollard's, an exit code other than 0 is no error.
    pub fn wait_container(
        &self,
        name: &str,
        options: Option<WaitContainerOptions>,
    ) -> impl Stream<Item = Result<ContainerWaitResponse, Error>> + Send + use<> {
        self.json_stream(Call::post(path(name, "wait")).query(options))
    }

    /// Its input and output, live.
    pub async fn attach_container(
        &self,
        name: &str,
        options: Option<AttachContainerOptions>,
    ) -> Result<AttachContainerResults, Error> {
        let (io, framing) = self.upgrade(Call::post(path(name, "attach")).query(options)?).await?;
        Ok(AttachContainerResults::over(io, framing))
    }

    /// Tells its terminal its size.
    pub async fn resize_container_tty(&self, name: &str, options: ResizeContainerTTYOptions) -> Result<(), Error> {
        self.unit(Call::post(path(name, "resize")).query(Some(options))?).await
    }

    /// Its file system as a tar.
    pub fn export_container(&self, name: &str) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        self.byte_stream(Ok(Call::get(path(name, "export"))))
    }

    /// A file or folder in it as a tar.
    pub fn download_from_container(
        &self,
        name: &str,
        options: Option<DownloadFromContainerOptions>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        self.byte_stream(Call::get(path(name, "archive")).query(options))
    }

    /// Unpacks a tar in it.
    pub async fn upload_to_container(
        &self,
        name: &str,
        options: Option<UploadToContainerOptions>,
        tar: RequestBody,
    ) -> Result<(), Error> {
        self.unit(Call::put(path(name, "archive")).query(options)?.streamed(tar)).await
    }

    /// What kind of file is there in it.
    pub async fn get_container_archive_info(
        &self,
        name: &str,
        options: Option<ContainerArchiveInfoOptions>,
    ) -> Result<PathStat, Error> {
        let headers = self.head(Call::head(path(name, "archive")).query(options)?).await?;
        let stat = headers.get("X-Docker-Container-Path-Stat").map(|value| value.as_bytes()).unwrap_or_default();
        let stat = STANDARD.decode(stat).map_err(|error| Error::Io(std::io::Error::other(error)))?;
        Ok(serde_json::from_slice(&stat)?)
    }
}

fn seconds(count: Option<i32>) -> Duration {
    // 10 s is Docker's default grace period.
    Duration::from_secs(count.map_or(10, |count| u64::try_from(count).unwrap_or(0)))
}
