//! User namespaces: whose a namespace is, and mounts that show other owners.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::mount::change_mount;
use super::process::last_errno;

/// `NS_GET_USERNS` (include/uapi/linux/nsfs.h): `_IO(0xb7, 0x1)`.
const NS_GET_USERNS: libc::Ioctl = 0xb701;

/// `MOUNT_ATTR_IDMAP` (include/uapi/linux/mount.h).
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// The user namespace that owns the namespace `of`.
///
/// # Errors
/// `EPERM` where it is not the caller's or one below; else the kernel's answer.
pub fn owner_of(of: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes no argument and returns a new descriptor or -1.
    match unsafe { libc::ioctl(of.as_raw_fd(), NS_GET_USERNS) } {
        -1 => Err(last_errno()),
        // SAFETY: the kernel just made this descriptor, and nobody else owns it.
        number => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
    }
}

/// Makes the detached mount `mount` show the owners that are on the disk as those ids of `user_namespace` (Linux 5.12).
///
/// # Errors
/// `EINVAL` where the file system can't; else the kernel's answer.
pub fn map_owners(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    change_mount(mount, MOUNT_ATTR_IDMAP, Some(user_namespace))
}
