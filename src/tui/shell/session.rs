//! A shell in a container, run through the Engine API's exec: its bytes both ways, its size, its end.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::terminal::Size;
use crate::client::models::ExecConfig;
use crate::client::query_parameters::ResizeExecOptionsBuilder;
use crate::client::{Docker, Error, StartExecOptions, StartExecResults};

/// Looks for the best shell there is: bash, else sh.
const SHELL: &str = "command -v bash >/dev/null 2>&1 && exec bash || exec sh";
/// Input that may wait for a slow container before keys are dropped.
const INPUT_AHEAD: usize = 256;
/// How long we wait to hear how a shell ended.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellRequest {
    /// The container's ID.
    pub container: String,
    /// The terminal's size at the start.
    pub size: Size,
}

/// News of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionNews {
    /// It printed something.
    Output(Bytes),
    /// It ended, with its exit code where that is known.
    Ended(Option<i64>),
    /// It could not begin, or broke.
    Failed(String),
}

enum Input {
    Bytes(Vec<u8>),
    Size(Size),
}

/// A running session. Dropping it ends our side; the shell then reads the end of its terminal.
#[derive(Debug)]
pub struct Session {
    input: mpsc::Sender<Input>,
    task: JoinHandle<()>,
}

impl Session {
    /// Starts a shell; its news go to `tell`, which is called on the runtime's threads.
    pub fn start(docker: Docker, request: ShellRequest, tell: impl Fn(SessionNews) + Send + Sync + 'static) -> Self {
        let (input, keys) = mpsc::channel(INPUT_AHEAD);
        let task = tokio::spawn(async move {
            let end = match converse(&docker, &request, keys, &tell).await {
                Ok(code) => SessionNews::Ended(code),
                Err(error) => SessionNews::Failed(error.to_string()),
            };
            tell(end);
        });
        Self { input, task }
    }

    /// Sends keys; dropped where the container has not read for long.
    pub fn send(&self, bytes: Vec<u8>) {
        let _ = self.input.try_send(Input::Bytes(bytes));
    }

    /// Tells it the terminal's new size.
    pub fn resize(&self, size: Size) {
        let _ = self.input.try_send(Input::Size(size));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    docker: &Docker,
    request: &ShellRequest,
    mut keys: mpsc::Receiver<Input>,
    tell: &(impl Fn(SessionNews) + Send + Sync),
) -> Result<Option<i64>, Error> {
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(true),
        env: Some(vec!["TERM=xterm-256color".to_owned()]),
        cmd: Some(["/bin/sh", "-c", SHELL].map(str::to_owned).to_vec()),
        console_size: Some(vec![request.size.rows.into(), request.size.columns.into()]),
        ..Default::default()
    };
    let exec = docker.create_exec(&request.container, config).await?.id;
    let start =
        StartExecOptions { detach: false, tty: true, console_size: Some((request.size.rows, request.size.columns)) };
    let StartExecResults::Attached(mut attached) = docker.start_exec(&exec, Some(start)).await? else {
        return Ok(None);
    };
    resize(docker, &exec, request.size).await;
    loop {
        tokio::select! {
            output = attached.output.next() => match output {
                Some(Ok(output)) => tell(SessionNews::Output(output.into_bytes())),
                Some(Err(error)) => return Err(error),
                None => break,
            },
            input = keys.recv() => match input {
                Some(Input::Bytes(bytes)) => {
                    attached.input.write_all(&bytes).await?;
                    attached.input.flush().await?;
                }
                Some(Input::Size(size)) => resize(docker, &exec, size).await,
                None => return Ok(None),
            },
        }
    }
    let ended = tokio::time::timeout(EXIT_PATIENCE, docker.inspect_exec(&exec)).await;
    Ok(ended.ok().and_then(Result::ok).and_then(|exec| exec.exit_code))
}

/// A size that can't be told is no reason to end the session: the shell may just have ended.
async fn resize(docker: &Docker, exec: &str, size: Size) {
    let options = ResizeExecOptionsBuilder::default().h(size.rows.into()).w(size.columns.into()).build();
    if let Err(error) = docker.resize_exec(exec, options).await {
        tracing::debug!(%error, "terminal size not passed on");
    }
}
