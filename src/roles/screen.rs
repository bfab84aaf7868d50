//! The screen, on our own engine or on a Docker host.

use std::path::PathBuf;
use std::process::ExitCode;

use boxyard::cli::Arguments;
use boxyard::client::Docker;

use super::Joined;
use super::handover::Handover;

/// Opens the screen and stays until the person quits. Containers run on.
pub fn play(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Joined { docker, handover } = super::join(arguments)?;
    if let Some(handover) = &handover {
        super::logging::to_file(handover.instance().run());
    }
    let runtime = super::runtime()?;
    let outcome = runtime.block_on(async {
        // Whoever can't be reached is told in plain words, before the screen takes the terminal.
        let docker = docker.negotiate_version().await?;
        let outcome = show(&docker, handover.as_deref(), None).await;
        if let Some(handover) = handover {
            handover.close().await;
        }
        outcome
    });
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// The screen itself; `dockerfile` is what the workbench offers first.
pub async fn show(docker: &Docker, handover: Option<&Handover>, dockerfile: Option<PathBuf>) -> anyhow::Result<()> {
    let _ = (docker, handover, dockerfile);
    anyhow::bail!("the screen is not built in yet")
}
