//! Docker's resource options as cgroup limits, with Docker's checks.

use bollard_stubs::models as docker;

use super::devices;
use crate::engine::EngineError;
use crate::engine::oci::{DeviceThrottle, DeviceWeight, Limits};
use crate::engine::runtime::HostFacts;

/// Docker's smallest memory limit.
const LEAST_MEMORY: i64 = 6 << 20;

/// The limits of a new container.
pub(super) fn plan(
    host_config: &docker::HostConfig,
    host: &HostFacts,
    is_privileged: bool,
) -> Result<Limits, EngineError> {
    let devices = devices::rules(host_config, is_privileged)?;
    Ok(Limits { devices: Some(devices), ..resources(host_config, host)? })
}

/// The limits without the device rules, which an update leaves alone.
pub(super) fn resources(host_config: &docker::HostConfig, host: &HostFacts) -> Result<Limits, EngineError> {
    let mut limits = Limits::default();
    memory(host_config, &mut limits)?;
    cpu(host_config, host, &mut limits)?;
    block_io(host_config, &mut limits)?;
    limits.pids = host_config.pids_limit.filter(|limit| *limit != 0);
    Ok(limits)
}

fn refuse<T>(words: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::invalid(words))
}

fn memory(host_config: &docker::HostConfig, limits: &mut Limits) -> Result<(), EngineError> {
    let memory = host_config.memory.unwrap_or(0);
    let swap = host_config.memory_swap.unwrap_or(0);
    let reservation = host_config.memory_reservation.unwrap_or(0);
    if memory != 0 && memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if reservation != 0 && reservation < LEAST_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > memory {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    limits.memory = Some(memory).filter(|bytes| *bytes > 0);
    limits.memory_swap = match swap {
        // as much swap as memory, unless told otherwise
        0 => limits.memory.map(|bytes| bytes.saturating_mul(2)),
        other => Some(other),
    };
    limits.memory_reservation = Some(reservation).filter(|bytes| *bytes > 0);
    limits.memory_swappiness = match host_config.memory_swappiness {
        None | Some(-1) => None,
        Some(value @ 0..=100) => Some(value.unsigned_abs()),
        Some(value) => return refuse(format!("Invalid value: {value}, valid memory swappiness range is 0-100")),
    };
    limits.oom_kill_disable = host_config.oom_kill_disable.filter(|is_disabled| *is_disabled);
    Ok(())
}

fn cpu(host_config: &docker::HostConfig, host: &HostFacts, limits: &mut Limits) -> Result<(), EngineError> {
    let period = host_config.cpu_period.unwrap_or(0);
    let quota = host_config.cpu_quota.unwrap_or(0);
    let nano = host_config.nano_cpus.unwrap_or(0);
    if nano > 0 && period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if nano > 0 && quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if nano < 0 || nano > i64::from(host.cpus) * 1_000_000_000 {
        let cpus = host.cpus;
        return refuse(format!("range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"));
    }
    if period != 0 && !(1000..=1_000_000).contains(&period) {
        return refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if quota > 0 && quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    limits.cpu_shares = match host_config.cpu_shares.unwrap_or(0) {
        shares if shares < 0 => {
            return refuse(format!("invalid CPU shares ({shares}): value must be a positive integer"));
        }
        0 => None,
        // the kernel's own bounds
        shares => Some(shares.clamp(2, 262_144).unsigned_abs()),
    };
    if nano > 0 {
        limits.cpu_period = Some(100_000);
        limits.cpu_quota = Some((nano / 10_000).max(1000));
    } else {
        limits.cpu_period = Some(period.unsigned_abs()).filter(|period| *period > 0);
        limits.cpu_quota = Some(quota).filter(|quota| *quota != 0);
    }
    limits.cpu_rt_period = host_config.cpu_realtime_period.filter(|period| *period > 0).map(i64::unsigned_abs);
    limits.cpu_rt_runtime = host_config.cpu_realtime_runtime.filter(|runtime| *runtime != 0);
    limits.cpuset_cpus = cpuset("CPUs", "cpus", host_config.cpuset_cpus.as_deref(), &host.cpu_list)?;
    limits.cpuset_mems = cpuset("memory nodes", "mems", host_config.cpuset_mems.as_deref(), &host.memory_nodes)?;
    Ok(())
}

fn cpuset(what: &str, name: &str, list: Option<&str>, available: &str) -> Result<Option<String>, EngineError> {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
    let Some(wanted) = numbers(list) else {
        return refuse(format!("Invalid value {list} for cpuset {name}: invalid format: {list}"));
    };
    let has = numbers(available).unwrap_or_default();
    if !available.is_empty() && wanted.iter().any(|number| !has.contains(number)) {
        return refuse(format!("Requested {what} are not available - requested {list}, available: {available}"));
    }
    Ok(Some(list.to_owned()))
}

/// The numbers of a list like `0-2,5`; `None` if it is none. Bounded, since people type it.
fn numbers(list: &str) -> Option<Vec<u32>> {
    const MOST: u32 = 8192;
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn block_io(host_config: &docker::HostConfig, limits: &mut Limits) -> Result<(), EngineError> {
    limits.blkio_weight = match host_config.blkio_weight {
        None | Some(0) => None,
        Some(weight @ 10..=1000) => Some(weight),
        Some(_) => return refuse("Range of blkio weight is from 10 to 1000"),
    };
    for device in host_config.blkio_weight_device.iter().flatten() {
        let weight = device.weight.and_then(|weight| u16::try_from(weight).ok());
        match weight.filter(|weight| (10..=1000).contains(weight)) {
            Some(weight) => {
                limits.blkio_weight_device.push(DeviceWeight { path: device.path.clone().unwrap_or_default(), weight });
            }
            None => return refuse("Range of blkio weight is from 10 to 1000"),
        }
    }
    limits.read_bps = throttles(host_config.blkio_device_read_bps.as_deref());
    limits.write_bps = throttles(host_config.blkio_device_write_bps.as_deref());
    limits.read_iops = throttles(host_config.blkio_device_read_iops.as_deref());
    limits.write_iops = throttles(host_config.blkio_device_write_iops.as_deref());
    Ok(())
}

fn throttles(devices: Option<&[docker::ThrottleDevice]>) -> Vec<DeviceThrottle> {
    let throttle = |device: &docker::ThrottleDevice| DeviceThrottle {
        path: device.path.clone().unwrap_or_default(),
        rate: device.rate.unwrap_or(0).max(0).unsigned_abs(),
    };
    devices.unwrap_or_default().iter().map(throttle).collect()
}
