//! stub
use boxyard::cli::{Arguments, Demo};
use std::process::ExitCode;
pub fn play(_arguments: &Arguments, _demo: &Demo) -> anyhow::Result<ExitCode> {
    anyhow::bail!("soon")
}
