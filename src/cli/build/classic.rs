//! A build by a host that is not Boxyard's engine: what the classic builder is asked for, and its text as it comes.

use std::pin::pin;
use std::process::ExitCode;

use futures_util::StreamExt;

use super::flags::Build;
use crate::cli::images::Board;
use crate::client::{BuildCall, Docker};

/// Builds and prints the builder's own text.
///
/// # Errors
/// What that builder can't do, what it refuses, and its failure.
pub async fn build(docker: &Docker, flags: &Build, mut call: BuildCall) -> anyhow::Result<ExitCode> {
    if let Some(flag) = flags.needs_our_engine() {
        anyhow::bail!("{flag} needs Boxyard's own engine, which {} is not", docker.address());
    }
    call.add("version", "1");
    let mut records = pin!(docker.build(call));
    let mut board = Board::new();
    let mut said = String::new();
    while let Some(record) = records.next().await {
        let record = record?;
        if let Some(words) = record.failure() {
            if flags.quiet {
                eprint!("{said}");
            }
            anyhow::bail!(words.to_owned());
        }
        if let Some(status) = &record.status {
            board.tell(record.id.as_deref(), status, record.progress_detail.as_ref());
        }
        let Some(text) = &record.stream else { continue };
        match flags.quiet {
            true => said.push_str(text),
            false => print!("{text}"),
        }
    }
    if flags.quiet {
        println!("{}", said.trim().lines().last().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}
