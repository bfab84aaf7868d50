//! Becoming a copy of the program that nobody can write to, before a process of ours enters a container.
//!
//! See [`ShimBinary`]: what hostile code could open as `/proc/<pid>/exe` must not be the file on disk (CVE-2019-5736).

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags, fcntl_get_seals, fstatvfs, openat};

use super::failure::{Attempt, Failure};
use crate::engine::shim::ShimBinary;

/// Returns in a process that runs the sealed copy: this one if it does already, else this one after an exec.
pub(super) fn become_sealed() -> Result<(), Failure> {
    if is_sealed() {
        return Ok(());
    }
    let binary = ShimBinary::of_this_process().attempt("seal the program")?;
    let mut words = std::env::args_os();
    let mut command = Command::new(binary.path());
    command.arg0(words.next().unwrap_or_default()).args(words);
    Err(command.exec()).attempt("run the sealed program")
}

/// Whether what this process runs can't be written to: it has a seal, or its file system takes no writes.
fn is_sealed() -> bool {
    let Ok(program) = openat(CWD, "/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return false;
    };
    let has_seals = fcntl_get_seals(&program).is_ok_and(|seals| seals.contains(rustix::fs::SealFlags::WRITE));
    let is_detached = || {
        // a read-only mount of the host's can be made writable; one that is mounted nowhere has no path to do it by
        let path = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        path.parent() == Some(std::path::Path::new("/"))
    };
    has_seals
        || (fstatvfs(&program).is_ok_and(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
            && is_detached())
}
