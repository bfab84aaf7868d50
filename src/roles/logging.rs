//! Where log lines go: standard error, or a file while the screen has the terminal.

use std::fs::{self, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

/// The variable that chooses what is logged, in `tracing`'s words (`debug`, `boxyard::api=trace,info`).
const VARIABLE: &str = "BOXYARD_LOG";

/// A log file longer than this is put aside when the screen starts.
const FILE_LIMIT: u64 = 8 << 20;

/// Logs to standard error, from `default` up unless the environment says otherwise.
pub fn to_stderr(default: &str) {
    let has_colours = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter(default))
        .with_ansi(has_colours)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Logs to `boxyard.log` in the run root. Where that can't be written nothing is logged: a screen is no worse for it.
pub fn to_file(run: &Path) {
    let _ = fs::DirBuilder::new().recursive(true).mode(0o711).create(run);
    let path = run.join("boxyard.log");
    if fs::metadata(&path).is_ok_and(|found| found.len() > FILE_LIMIT) {
        let _ = fs::rename(&path, run.join("boxyard.log.1"));
    }
    if let Ok(file) = OpenOptions::new().create(true).append(true).mode(0o600).open(&path) {
        let writer = Mutex::new(file);
        let _ =
            tracing_subscriber::fmt().with_env_filter(filter("info")).with_ansi(false).with_writer(writer).try_init();
    }
}

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default))
}
