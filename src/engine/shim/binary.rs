//! The program that shims are: our own, in a form that nobody can write to.
//!
//! A process on its way into a container has our executable as `/proc/self/exe`. Were that the file on disk, hostile
//! code in the container could open it from there and overwrite it (CVE-2019-5736). So shims run from an overlay of the program's
//! folder that has no upper layer and is mounted nowhere: there is nothing to write to and no flag to lift. It costs no
//! memory, as its pages are those of the engine's own program. Where that can't be made, it is a sealed copy in memory.
//! Either is made once per engine start, and lets a package update replace the file under a live engine.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, openat, sendfile};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

use crate::sys::spawn::{Streams, spawn_session};

/// An executable that can't be changed; clones share it.
#[derive(Debug, Clone)]
pub struct ShimBinary(Arc<OwnedFd>);

impl ShimBinary {
    /// The running program. May have to copy all of it, so call it off the async threads.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn of_this_process() -> io::Result<Self> {
        Self::of_file(Path::new("/proc/self/exe"))
    }

    /// The program at `path`.
    ///
    /// # Errors
    /// The disk's or the kernel's refusal.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let sealed = overlaid(path).or_else(|error| {
            tracing::debug!(%error, "the shim's program is copied to memory, as it can't be overlaid");
            copied(path)
        })?;
        Ok(Self(Arc::new(sealed)))
    }

    /// A path by which this process, and only it, can execute the program.
    pub fn path(&self) -> std::path::PathBuf {
        format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd()).into()
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

/// The file as an overlay without an upper layer shows it. Such an overlay wants two lower layers; the second is empty.
fn overlaid(path: &Path) -> io::Result<OwnedFd> {
    // Opened first: by `/proc/self/exe` this is the program that runs, whatever has taken its name since.
    let original = File::open(path)?;
    let path = path.canonicalize()?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if original.metadata()?.ino() != std::fs::metadata(&path)?.ino() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the running program was replaced on disk"));
    }
    // Descriptors stand for the folders: their names may hold the separators of mount options.
    let folder = File::open(folder)?;
    let second = empty_folder()?;
    let layers = format!("/proc/self/fd/{}:/proc/self/fd/{}", folder.as_raw_fd(), second.as_raw_fd());
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "lowerdir", layers)?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    Ok(openat(&mount, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A folder of a file system of its own, in memory and mounted nowhere.
fn empty_folder() -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// A copy in memory with every seal there is.
fn copied(path: &Path) -> io::Result<OwnedFd> {
    let original = File::open(path)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 and later wants to be told that it shall be executable, older ones do not know the flag.
    let copy = match memfd_create(c"boxyard", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(c"boxyard", flags)?,
        other => other?,
    };
    while sendfile(&copy, &original, None, 1 << 30)? > 0 {}
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn is_refused(program: &OwnedFd) -> io::ErrorKind {
        let path = format!("/proc/self/fd/{}", program.as_raw_fd());
        let written = File::options().write(true).open(path).and_then(|mut file| file.write_all(b"#!/bin/evil"));
        written.unwrap_err().kind()
    }

    #[test]
    fn the_overlay_can_not_be_written() {
        let program = overlaid(Path::new("/proc/self/exe")).unwrap();
        assert_eq!(is_refused(&program), io::ErrorKind::ReadOnlyFilesystem);
    }

    #[test]
    fn the_copy_can_not_be_written() {
        assert_eq!(is_refused(&copied(Path::new("/bin/true")).unwrap()), io::ErrorKind::PermissionDenied);
    }
}
