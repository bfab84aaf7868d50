//! `boxyard demo`: makes the scene, then opens the screen on it; `--clean` removes all of it.

use std::process::ExitCode;

use boxyard::cli::{Arguments, Demo, demo};

use super::{Joined, screen};

/// Makes (or removes) the scene and shows it.
pub fn play(arguments: &Arguments, options: &Demo) -> anyhow::Result<ExitCode> {
    let joined = super::join(arguments)?;
    let opens_screen = !options.clean && !options.no_screen;
    match &joined.handover {
        Some(handover) if opens_screen => super::logging::to_file(handover.instance().run()),
        _ => super::logging::to_stderr("warn"),
    }
    let sample = demo::sample_folder()?;
    let runtime = super::runtime()?;
    let outcome = runtime.block_on(async {
        let Joined { docker, handover } = joined;
        let docker = docker.negotiate_version().await?;
        let tell = |step: &str| println!("demo: {step}");
        let outcome = match options.clean {
            true => demo::clean(&docker, &sample, tell).await,
            false => demo::make(&docker, &sample, tell).await,
        };
        let outcome = match outcome {
            Ok(()) if opens_screen => {
                screen::show(&docker, handover.as_ref(), arguments, Some(sample.join("Dockerfile"))).await
            }
            Ok(()) if options.clean => {
                println!("demo: nothing of it is left");
                Ok(())
            }
            Ok(()) => {
                println!("demo: the shop is open; the sample is {}", sample.join("Dockerfile").display());
                Ok(())
            }
            refused => refused,
        };
        if let Some(handover) = handover {
            handover.close().await;
        }
        outcome
    });
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}
