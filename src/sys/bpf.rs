//! Device programs of version 2 cgroups, by bpf(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::process::last_errno;

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The start of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The start of `union bpf_attr` for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// The start of `union bpf_attr` for BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The start of `union bpf_attr` for BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Replaces the device programs attached to `cgroup` itself by this one (eBPF, eight bytes an instruction). The new one
/// is attached before the old ones go, so nothing is open in between.
///
/// # Errors
/// The kernel's answer: `EPERM` without CAP_BPF or CAP_SYS_ADMIN, `EINVAL` for a program it does not accept.
pub fn replace_device_program(cgroup: BorrowedFd<'_>, instructions: &[u64]) -> Result<(), Errno> {
    let old = attached_device_programs(cgroup)?;
    let program = load_device_program(instructions)?;
    attach(BPF_PROG_ATTACH, cgroup, &program, BPF_F_ALLOW_MULTI)?;
    for program in old {
        attach(BPF_PROG_DETACH, cgroup, &program, 0)?;
    }
    Ok(())
}

fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    let attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::INVAL)?,
        insns: instructions.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: attr is laid out as the kernel's and its pointers outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<Load>()) };
    owned(fd)
}

fn attach(command: libc::c_int, cgroup: BorrowedFd<'_>, program: &OwnedFd, flags: u32) -> Result<(), Errno> {
    let attr = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: flags,
    };
    // SAFETY: attr is laid out as the kernel's and holds numbers only.
    match unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of::<Attach>()) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

fn attached_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0u32; 64]; // BPF_CGROUP_MAX_PROGS
    let mut attr = Query {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        padding: 0,
    };
    // SAFETY: attr is laid out as the kernel's; it writes at most prog_cnt ids into the array, which outlives the call.
    if unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut attr, size_of::<Query>()) } == -1 {
        return Err(last_errno());
    }
    ids.iter().take(attr.prog_cnt as usize).map(|id| program_by_id(*id)).collect()
}

fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let attr = ById { id, next_id: 0, open_flags: 0 };
    // SAFETY: attr is laid out as the kernel's and holds numbers only.
    owned(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_GET_FD_BY_ID, &raw const attr, size_of::<ById>()) })
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us (bpf descriptors are close-on-exec).
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_errno()),
    }
}
