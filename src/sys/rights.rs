//! Giving up rights: the capability bounding set, system call filters, the session keyring.

use std::ffi::CStr;

use rustix::io::Errno;

use super::process::last_errno;

/// Takes one capability, by its number, out of the bounding set for good.
pub fn drop_from_bounding_set(capability: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Loads a system call filter for this thread and what it executes. Each instruction is one `sock_filter` as its
/// eight bytes lie in memory.
///
/// # Errors
/// `EINVAL` for a program the kernel does not accept or one longer than 4096 instructions.
pub fn load_seccomp_filter(instructions: &[u64]) -> Result<(), Errno> {
    let len = u16::try_from(instructions.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len, filter: instructions.as_ptr().cast_mut().cast() };
    // SAFETY: program points at len eight-byte instructions, aligned more strictly than sock_filter; the kernel only
    // reads them, during the call.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Gives this process a session keyring of its own called `name`.
pub fn join_new_session_keyring(name: &CStr) -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1; // include/uapi/linux/keyctl.h
    // SAFETY: name is a C string that outlives the call.
    match unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Raises a network interface of the namespace `socket` was made in.
pub fn raise_interface(socket: &std::os::fd::OwnedFd, name: &CStr) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // SAFETY: an ifreq of zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes().iter().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is a whole ifreq, named and with its flags set, and outlives the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}
