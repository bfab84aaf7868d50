//! Making processes and leaving them: clone3, signal dispositions, descriptors, exit.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

/// In which of the two processes a [`clone3`] returned.
#[derive(Debug)]
pub enum Cloned {
    /// The caller: its new child, as the caller's pid namespace counts, and a descriptor of it.
    Parent {
        /// The child's number.
        pid: u32,
        /// The child, safe from reuse of the number.
        pidfd: OwnedFd,
    },
    /// The new process. It must end by exec or [`exit_now`].
    Child,
}

/// The kernel's `struct clone_args` up to `cgroup` (include/uapi/linux/sched.h, CLONE_ARGS_SIZE_VER2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `CLONE_INTO_CGROUP` (include/uapi/linux/sched.h).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks the process into new namespaces (`namespaces`: `CLONE_NEW*` bits, and `CLONE_PARENT` for a sibling instead of
/// a child) and, if given, into a version 2 cgroup.
///
/// # Errors
/// `EBUSY` if the caller has more than one thread, since the child would inherit locks nobody will release; else the
/// kernel's answer.
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    if thread_count() != Some(1) {
        return Err(Errno::BUSY);
    }
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        // a sibling's end is told as ours would be, and the kernel wants no other wish
        exit_signal: if namespaces & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 },
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: args is a valid clone_args of the size given and outlives the call; without a stack the child runs on a
    // copy of ours, and the single thread (checked above) means that no lock is held by another.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match result {
        -1 => Err(last_errno()),
        0 => Ok(Cloned::Child),
        // SAFETY: the kernel stored a fresh descriptor there that nobody else owns.
        pid => Ok(Cloned::Parent { pid: pid as u32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Forks the process the old way: no new namespaces, which is all that a container's filter lets pass. `None` in the
/// child, which must end by exec or [`exit_now`]; the caller must have one thread.
pub fn fork() -> Result<Option<rustix::process::Pid>, Errno> {
    // SAFETY: without a stack the child runs on a copy of ours; the other pointers are unused with these flags.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0usize, 0usize, 0usize, 0usize) };
    match i32::try_from(pid) {
        Ok(-1) | Err(_) => Err(last_errno()),
        Ok(pid) => Ok(rustix::process::Pid::from_raw(pid)),
    }
}

/// How many threads this process has; `None` if `/proc` does not say.
fn thread_count() -> Option<u64> {
    std::fs::metadata("/proc/self/task").ok().map(|tasks| tasks.nlink().saturating_sub(2))
}

/// Ends the process at once: no destructors, no exit handlers, which belong to the process it was cloned from.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Gives every signal its default action and unblocks all of them. Rust ignores SIGPIPE, and exec would pass that on.
pub fn reset_signals() {
    /// The kernel's `struct sigaction`, zeroed: SIG_DFL, no flags, nothing masked.
    const DEFAULT: [u64; 4] = [0; 4];
    const SET_BYTES: usize = 8;
    // past libc, which hides two signals that it keeps to itself but that may be ignored all the same
    for signal in 1..=64 {
        // SAFETY: the action is as long as the kernel's largest form of it and outlives the call; signals that cannot
        // be changed answer EINVAL.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), std::ptr::null::<u64>(), SET_BYTES) };
    }
    let none = 0u64;
    // SAFETY: the set is of the size given and outlives the call.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, std::ptr::null::<u64>(), SET_BYTES)
    };
}

/// Closes the descriptors `first..=last` at once. Whoever owns one of them must not use or drop it afterwards; meant
/// for a fresh clone, which never returns to its owners.
pub fn close_descriptors(first: u32, last: u32) -> Result<(), Errno> {
    close_range(first, last, 0)
}

/// Marks all descriptors from `first` on to be closed by exec.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: takes numbers only; the rule for owners is in the callers' documentation.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
