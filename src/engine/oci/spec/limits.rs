//! `linux.resources` as limits of a cgroup; the same for a new container and for `update`.

use super::{BlockIo, DeviceCgroup, Resources, SpecError, ThrottleDevice, invalid, unsupported};
use crate::engine::oci::{DeviceAccess, DeviceKind, DeviceRule, DeviceThrottle, DeviceWeight, Limits};

/// Whether the rules of devices are set as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// Those written, and what every container needs.
    OfContainer,
    /// An update leaves what is there.
    Left,
}

/// The limits that `resources` ask for.
///
/// # Errors
/// What makes no sense or is not supported, by its field.
pub fn limits(resources: &Resources, devices: Devices) -> Result<Limits, SpecError> {
    refuse_unsupported(resources)?;
    let (memory, cpu) = (&resources.memory, &resources.cpu);
    let list = |list: &String| Some(list.clone()).filter(|list| !list.is_empty());
    let mut limits = Limits {
        memory: memory.limit.filter(|bytes| *bytes != 0),
        memory_swap: memory.swap.filter(|bytes| *bytes != 0),
        memory_reservation: memory.reservation.filter(|bytes| *bytes != 0),
        memory_swappiness: memory.swappiness,
        oom_kill_disable: memory.disable_oom_killer.filter(|is_disabled| *is_disabled),
        cpu_shares: cpu.shares.filter(|shares| *shares != 0),
        cpu_quota: cpu.quota.filter(|quota| *quota != 0),
        cpu_period: cpu.period.filter(|period| *period != 0),
        cpu_rt_period: cpu.realtime_period.filter(|period| *period != 0),
        cpu_rt_runtime: cpu.realtime_runtime.filter(|runtime| *runtime != 0),
        cpuset_cpus: list(&cpu.cpus),
        cpuset_mems: list(&cpu.mems),
        pids: resources.pids.map(|pids| pids.limit).filter(|limit| *limit != 0),
        unified: resources.unified.clone(),
        ..Limits::default()
    };
    block_io(&resources.block_io, &mut limits)?;
    if devices == Devices::OfContainer {
        limits.devices = Some(rules(&resources.devices)?);
    }
    Ok(limits)
}

fn refuse_unsupported(resources: &Resources) -> Result<(), SpecError> {
    if let Some(limit) = resources.hugepage_limits.first() {
        return Err(unsupported("linux.resources.hugepageLimits", &limit.page_size));
    }
    if let Some(network) = &resources.network {
        let is_empty = network.as_object().is_some_and(serde_json::Map::is_empty);
        if !is_empty {
            return Err(unsupported("linux.resources.network", network.to_string()));
        }
    }
    if let Some(device) = resources.rdma.keys().next() {
        return Err(unsupported("linux.resources.rdma", device));
    }
    if let Some(bytes) = resources.memory.kernel_tcp.filter(|bytes| *bytes > 0) {
        return Err(unsupported("linux.resources.memory.kernelTCP", bytes.to_string()));
    }
    if let Some(burst) = resources.cpu.burst.filter(|burst| *burst != 0) {
        return Err(unsupported("linux.resources.cpu.burst", burst.to_string()));
    }
    if let Some(idle) = resources.cpu.idle.filter(|idle| *idle != 0) {
        return Err(unsupported("linux.resources.cpu.idle", idle.to_string()));
    }
    match resources.unified.keys().find(|name| name.contains('/') || !name.contains('.')) {
        Some(name) => Err(invalid("linux.resources.unified", name)),
        None => Ok(()),
    }
}

fn block_io(written: &BlockIo, limits: &mut Limits) -> Result<(), SpecError> {
    if let Some(weight) = written.leaf_weight.filter(|weight| *weight != 0) {
        return Err(unsupported("linux.resources.blockIO.leafWeight", weight.to_string()));
    }
    let throttles = |devices: &[ThrottleDevice]| {
        devices.iter().map(|one| DeviceThrottle { path: numbers(one.major, one.minor), rate: one.rate }).collect()
    };
    limits.blkio_weight = written.weight.filter(|weight| *weight != 0);
    limits.blkio_weight_device = written
        .weight_device
        .iter()
        .filter_map(|one| Some(DeviceWeight { path: numbers(one.major, one.minor), weight: one.weight? }))
        .collect();
    limits.read_bps = throttles(&written.throttle_read_bps_device);
    limits.write_bps = throttles(&written.throttle_write_bps_device);
    limits.read_iops = throttles(&written.throttle_read_iops_device);
    limits.write_iops = throttles(&written.throttle_write_iops_device);
    Ok(())
}

/// A device by its numbers, which stand where a path could.
fn numbers(major: i64, minor: i64) -> String {
    format!("{major}:{minor}")
}

/// What every container may use, after what is written: any node may be made, and these may be used.
const NEEDED: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

fn rules(written: &[DeviceCgroup]) -> Result<Vec<DeviceRule>, SpecError> {
    let mut rules: Vec<DeviceRule> = written.iter().map(rule).collect::<Result<_, _>>()?;
    let allow = |kind, major, minor, access| DeviceRule { allow: true, kind, major, minor, access };
    rules.push(allow(DeviceKind::Char, None, None, DeviceAccess::MKNOD));
    rules.push(allow(DeviceKind::Block, None, None, DeviceAccess::MKNOD));
    rules.extend(NEEDED.iter().map(|(major, minor)| allow(DeviceKind::Char, Some(*major), *minor, DeviceAccess::ALL)));
    Ok(rules)
}

fn rule(written: &DeviceCgroup) -> Result<DeviceRule, SpecError> {
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| invalid("linux.resources.devices", format!("device number {value}"))),
    };
    let kind = match written.kind.as_str() {
        "" | "a" => DeviceKind::Any,
        "c" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        other => return Err(invalid("linux.resources.devices", other)),
    };
    let access = if written.access.is_empty() { Some(DeviceAccess::ALL) } else { DeviceAccess::parse(&written.access) };
    Ok(DeviceRule {
        allow: written.allow,
        kind,
        major: number(written.major)?,
        minor: number(written.minor)?,
        access: access.ok_or_else(|| invalid("linux.resources.devices", &written.access))?,
    })
}
