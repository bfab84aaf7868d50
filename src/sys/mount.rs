//! Changing the attributes of mounts by descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::process::last_errno;

/// The kernel's `struct mount_attr` (include/uapi/linux/mount.h).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// What [`mount_setattr`] changes: `MOUNT_ATTR_*` bits and one of `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, or 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// How mounts below it propagate from now on.
    pub propagation: u64,
}

/// Changes the mount at `mount`, and with `recursive` those below it (Linux 5.12).
///
/// # Errors
/// The kernel's answer.
pub fn mount_setattr(mount: BorrowedFd<'_>, change: Change, recursive: bool) -> Result<(), Errno> {
    let attr =
        MountAttr { attr_set: change.set, attr_clr: change.clear, propagation: change.propagation, userns_fd: 0 };
    set_attr(mount, &attr, recursive)
}

/// Sets attributes of which one refers to a user namespace.
pub(super) fn change_mount(
    mount: BorrowedFd<'_>,
    set: u64,
    user_namespace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let userns_fd = user_namespace.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs()));
    set_attr(mount, &MountAttr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd }, false)
}

fn set_attr(mount: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and attr a mount_attr of the size given; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}
