//! A verb of the command line, on whichever engine is meant; where that is our own and nobody is it yet, this process is
//! it for as long as the verb takes. Containers it starts run on.

use std::process::ExitCode;

use boxyard::cli::{Arguments, Verb, perform};

use super::Joined;

/// Does `verb` and tells its exit code.
pub fn play(arguments: &Arguments, verb: &Verb) -> anyhow::Result<ExitCode> {
    super::logging::to_stderr("warn");
    let Joined { docker, handover } = super::join(arguments)?;
    let runtime = super::runtime()?;
    let outcome = runtime.block_on(async {
        let docker = docker.negotiate_version().await?;
        let outcome = perform(&docker, verb).await;
        if let Some(handover) = handover {
            handover.close().await;
        }
        outcome
    });
    // A reader of standard input may still wait for a key nobody will press.
    runtime.shutdown_background();
    outcome
}
