//! Calls on processes started in running containers.

use super::container::AttachContainerResults;
use super::docker::{Call, Docker, in_path};
use super::errors::Error;
use super::models::{ExecConfig, ExecInspectResponse, ExecStartConfig};
use super::query_parameters::ResizeExecOptions;
use serde::Deserialize;

/// What to run; the Engine API's own type.
pub type CreateExecOptions = ExecConfig;

/// The name of a prepared exec.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CreateExecResults {
    /// 64 hex digits.
    #[serde(rename = "Id")]
    pub id: String,
}

/// How to start an exec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartExecOptions {
    /// Do not wait for it.
    pub detach: bool,
    /// It was created with a terminal.
    pub tty: bool,
    /// Rows and columns of its terminal from the start.
    pub console_size: Option<(u16, u16)>,
}

/// A started exec.
#[derive(Debug)]
pub enum StartExecResults {
    /// With its input and output.
    Attached(AttachContainerResults),
    /// On its own.
    Detached,
}

impl Docker {
    /// Prepares a process in a running container.
    pub async fn create_exec(
        &self,
        container: &str,
        config: impl Into<ExecConfig>,
    ) -> Result<CreateExecResults, Error> {
        self.json(Call::post(format!("/containers/{}/exec", in_path(container))).body(&config.into())?).await
    }

    /// Starts it.
    pub async fn start_exec(
        &self,
        exec_id: &str,
        options: Option<StartExecOptions>,
    ) -> Result<StartExecResults, Error> {
        let options = options.unwrap_or_default();
        let body = ExecStartConfig {
            detach: Some(options.detach),
            tty: Some(options.tty),
            console_size: options.console_size.map(|(rows, columns)| vec![rows.into(), columns.into()]),
        };
        let call = Call::post(format!("/exec/{exec_id}/start")).body(&body)?;
        if options.detach {
            self.unit(call).await?;
            return Ok(StartExecResults::Detached);
        }
        let (io, framing) = self.upgrade(call).await?;
        Ok(StartExecResults::Attached(AttachContainerResults::over(io, framing)))
    }

    /// Its state and exit code.
    pub async fn inspect_exec(&self, exec_id: &str) -> Result<ExecInspectResponse, Error> {
        self.json(Call::get(format!("/exec/{exec_id}/json"))).await
    }

    /// Tells its terminal its size.
    pub async fn resize_exec(&self, exec_id: &str, options: ResizeExecOptions) -> Result<(), Error> {
        self.unit(Call::post(format!("/exec/{exec_id}/resize")).query(Some(options))?).await
    }
}
