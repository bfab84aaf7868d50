//! The program that shims are: a sealed copy of our own.
//!
//! A process on its way into a container has our executable as `/proc/self/exe`. Were that the file on disk, hostile
//! code in the container could open it from there and overwrite it (CVE-2019-5736). So shims run from a memory file that nobody
//! can change any more, made once per engine start. This also lets a package update replace the file under a live engine.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::io::Errno;

use crate::sys::spawn::{Streams, spawn_session};

/// A sealed executable; clones share it.
#[derive(Debug, Clone)]
pub struct ShimBinary(Arc<OwnedFd>);

impl ShimBinary {
    /// Seals a copy of the running program. Reads all of it, so call it off the async threads.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn of_this_process() -> io::Result<Self> {
        Self::of_file(Path::new("/proc/self/exe"))
    }

    /// Seals a copy of the program at `path`.
    ///
    /// # Errors
    /// The disk's or the kernel's refusal.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let original = File::open(path)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Linux 6.3 and later wants to be told that it shall be executable, older ones do not know the flag.
        let copy = match memfd_create(c"boxyard", flags | MemfdFlags::EXEC) {
            Err(Errno::INVAL) => memfd_create(c"boxyard", flags)?,
            other => other?,
        };
        while sendfile(&copy, &original, None, 1 << 30)? > 0 {}
        fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
        Ok(Self(Arc::new(copy)))
    }

    /// Runs it with `args` after its name, in a session of its own and with nothing of our environment.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn spawn(&self, args: &[&str], streams: Streams<'_>) -> io::Result<u32> {
        let program =
            CString::new(format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd())).map_err(io::Error::other)?;
        let args: Vec<CString> = ["boxyard"]
            .iter()
            .chain(args)
            .map(|arg| CString::new(*arg))
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?;
        spawn_session(&program, &args, &[], streams)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_copy_can_not_be_written() {
        let binary = ShimBinary::of_file(Path::new("/bin/true")).unwrap();
        let path = format!("/proc/self/fd/{}", binary.0.as_raw_fd());
        let written = File::options().write(true).open(path).and_then(|mut file| file.write_all(b"#!/bin/evil"));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
