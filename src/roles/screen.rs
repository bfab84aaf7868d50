//! The screen, on our own engine or on a Docker host.

use std::path::PathBuf;
use std::process::ExitCode;

use boxyard::cli::Arguments;
use boxyard::client::Docker;
use boxyard::tui::{self, EngineKind, TuiOptions};

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
        let outcome = show(&docker, handover.as_ref(), arguments, None).await;
        if let Some(handover) = handover {
            handover.close().await;
        }
        outcome
    });
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// The screen itself; `dockerfile` is what the workbench opens first.
pub async fn show(
    docker: &Docker,
    handover: Option<&Handover>,
    arguments: &Arguments,
    dockerfile: Option<PathBuf>,
) -> anyhow::Result<()> {
    let about = match handover {
        Some(handover) if handover.is_embedded() => {
            EngineKind::Embedded { root: handover.instance().root().display().to_string() }
        }
        _ => EngineKind::Host(docker.address()),
    };
    let ascii = arguments.ascii.then_some(true);
    let options = TuiOptions { about, theme: arguments.theme.clone(), ascii, dockerfile, ..TuiOptions::default() };
    tui::run(docker.clone(), options).await
}
