//! The order of a container's mounts: the ones every container has, then the person's, outer ones first.

use std::path::Path;

use super::PlanInput;
use super::rights::Security;
use crate::engine::EngineError;
use crate::engine::oci::{IpcNs, MountFlags, MountKind, MountPlan, NamespacePlan};

/// Docker's default for `--shm-size`.
const SHM_SIZE: i64 = 64 << 20;

/// Files of `/proc` that may be mounted over: what lxcfs and the like replace.
const REPLACEABLE_IN_PROC: [&str; 12] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/random/boot_id",
    "/proc/uptime",
];

pub(super) fn plan(
    input: &PlanInput<'_>,
    namespaces: &NamespacePlan,
    security: &Security,
) -> Result<Vec<MountPlan>, EngineError> {
    let mut own = input.mounts.clone();
    for mount in &own {
        check(mount)?;
    }
    own.sort_by_key(|mount| mount.target.components().count());
    let mut mounts = usual(input, namespaces, security)?;
    mounts.retain(|usual| own.iter().all(|mount| mount.target != usual.target));
    mounts.extend(own);
    Ok(mounts)
}

fn check(mount: &MountPlan) -> Result<(), EngineError> {
    let target = mount.target.display();
    if !mount.target.is_absolute() {
        return Err(EngineError::invalid(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    if mount.target == Path::new("/") {
        return Err(EngineError::invalid("invalid specification: destination can't be '/'"));
    }
    let is_in_proc = mount.target.starts_with("/proc") && mount.target != Path::new("/proc");
    if is_in_proc && !REPLACEABLE_IN_PROC.iter().any(|path| mount.target == Path::new(path)) {
        return Err(EngineError::invalid(format!("\"{target}\" cannot be mounted because it is inside /proc")));
    }
    Ok(())
}

/// What every container has.
fn usual(
    input: &PlanInput<'_>,
    namespaces: &NamespacePlan,
    security: &Security,
) -> Result<Vec<MountPlan>, EngineError> {
    let is_privileged = input.host_config.privileged == Some(true);
    let own = |target: &str, kind| MountPlan { target: target.into(), kind, flags: MountFlags::default() };
    let or_read_only = |mount: MountPlan, is_writable: bool| if is_writable { mount } else { mount.read_only() };
    let mut dev = MountPlan::tmpfs("/dev", ["mode=755", "size=65536k"]);
    dev.flags.nosuid = true;
    let mut terminals = own("/dev/pts", MountKind::Devpts);
    terminals.flags = MountFlags { nosuid: true, noexec: true, ..MountFlags::default() };
    let mut mounts = vec![
        own("/proc", MountKind::Proc).hardened(),
        dev,
        terminals,
        or_read_only(own("/sys", MountKind::Sysfs).hardened(), is_privileged),
        or_read_only(own("/sys/fs/cgroup", MountKind::Cgroup).hardened(), is_privileged || security.writable_cgroups),
    ];
    let is_without_shm = input.host_config.ipc_mode.as_deref() == Some("none");
    // shows the queues of whichever namespace it is mounted in, the host's too
    mounts.push(own("/dev/mqueue", MountKind::Mqueue).hardened());
    match namespaces.ipc {
        IpcNs::Private => {
            if !is_without_shm {
                let size = shm_size(input)?;
                mounts.push(MountPlan::tmpfs("/dev/shm", ["mode=1777".to_owned(), format!("size={size}")]).hardened());
            }
        }
        IpcNs::Host => {
            mounts.push(MountPlan::bind("/dev/shm", "/dev/shm").hardened());
        }
        IpcNs::JoinPid(pid) => {
            mounts.push(own("/dev/shm", MountKind::OfProcess { pid, path: "/dev/shm".into() }).hardened());
        }
    }
    Ok(mounts)
}

fn shm_size(input: &PlanInput<'_>) -> Result<i64, EngineError> {
    match input.host_config.shm_size {
        None | Some(0) => Ok(SHM_SIZE),
        Some(size) if size < 0 => Err(EngineError::invalid("SHM size can not be less than 0")),
        Some(size) => Ok(size),
    }
}
