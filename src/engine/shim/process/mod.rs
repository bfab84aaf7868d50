//! The shim process: one thread, one `epoll` loop, one container.

use std::ffi::OsString;
use std::process::ExitCode;

/// Is the shim that `args` (after `shim`) describe; returns when its container is over and everybody was told.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let _ = args;
    todo!()
}
