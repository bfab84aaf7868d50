//! Signals by number: the named ones and the real-time ones, which no crate sends by pidfd.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Sends `signal` to the process of `pidfd` (`pidfd_send_signal(2)`, Linux 5.1).
///
/// # Errors
/// The kernel's refusal: ESRCH where the process has ended and was waited for, EINVAL where there is no such signal.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info = ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the call takes two numbers, a null pointer (which it documents as "as kill(2) would fill it in") and flags,
    // which must be 0; it reads no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
