//! `build`: a Dockerfile and its files become an image, or whatever else is asked for.
//!
//! `flags` is what can be typed, `context` where the files come from, `ask` the request.

mod ask;
mod context;
mod flags;

use std::pin::pin;
use std::process::ExitCode;

use futures_util::StreamExt;

use self::context::Context;
pub use self::flags::Build;
use super::images::{Board, all_credentials};
use crate::client::Docker;

pub async fn build(docker: &Docker, flags: &Build) -> anyhow::Result<ExitCode> {
    flags.refuse_unsupported()?;
    let mut call = ask::ask(flags)?;
    let context = Context::find(&flags.path, flags.file.as_deref())?;
    let text = context.text()?;
    context.attach(&mut call, text.as_ref()).await?;
    call.credentials(all_credentials());
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
