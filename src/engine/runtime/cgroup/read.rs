//! Reading what a cgroup uses. A file that is missing counts as zero: kernels differ in what they keep.

use std::collections::BTreeMap;
use std::path::Path;

use super::{
    BlkioEntry, BlkioStats, CgroupError, CgroupLayout, CgroupStats, Controller, CpuStats, MemoryStats, PidsStats,
    SchedulerStats,
};

/// Version 1 writes "no limit" as the largest whole number of pages that fits.
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;
/// What `cpuacct.stat` counts in: USER_HZ, 100 on every architecture we run on.
const NS_PER_TICK: u64 = 10_000_000;

pub(super) fn stats(layout: &CgroupLayout, path: &str) -> Result<CgroupStats, CgroupError> {
    let mut stats = CgroupStats { is_v2: layout.is_v2(), ..CgroupStats::default() };
    match layout.controller("memory") {
        Controller::V1(mount) => stats.memory = memory_v1(&mount.join(path)),
        Controller::V2(root) => stats.memory = memory_v2(&root.join(path)),
        Controller::Absent => {}
    }
    match layout.controller("cpuacct") {
        Controller::V1(mount) => stats.cpu = usage_v1(&mount.join(path)),
        Controller::V2(root) => stats.cpu = cpu_v2(&root.join(path)),
        Controller::Absent => {}
    }
    if let Controller::V1(mount) = layout.controller("cpu") {
        let throttling = keyed(&text(&mount.join(path), "cpu.stat"));
        stats.cpu.periods = value(&throttling, "nr_periods");
        stats.cpu.throttled_periods = value(&throttling, "nr_throttled");
        stats.cpu.throttled_ns = value(&throttling, "throttled_time");
    }
    if let Controller::V1(at) | Controller::V2(at) = layout.controller("pids") {
        let at = at.join(path);
        stats.pids = PidsStats { current: number(&at, "pids.current").unwrap_or(0), limit: number(&at, "pids.max") };
    }
    match (layout.controller("blkio"), layout.controller("io")) {
        (Controller::V1(mount), _) => stats.blkio = blkio_v1(&mount.join(path)),
        (_, Controller::V2(root)) => stats.blkio = io_v2(&text(&root.join(path), "io.stat")),
        _ => {}
    }
    Ok(stats)
}

fn memory_v1(at: &Path) -> MemoryStats {
    MemoryStats {
        usage: number(at, "memory.usage_in_bytes").unwrap_or(0),
        max_usage: number(at, "memory.max_usage_in_bytes"),
        limit: number(at, "memory.limit_in_bytes").filter(|limit| *limit < V1_UNLIMITED),
        failcnt: number(at, "memory.failcnt"),
        stat: keyed(&text(at, "memory.stat")),
    }
}

fn memory_v2(at: &Path) -> MemoryStats {
    MemoryStats {
        usage: number(at, "memory.current").unwrap_or(0),
        max_usage: number(at, "memory.peak"),
        limit: number(at, "memory.max"),
        failcnt: None,
        stat: keyed(&text(at, "memory.stat")),
    }
}

fn usage_v1(at: &Path) -> CpuStats {
    let ticks = keyed(&text(at, "cpuacct.stat"));
    CpuStats {
        usage_ns: number(at, "cpuacct.usage").unwrap_or(0),
        // `cpuacct.usage_user` is finer, but counts whole timer ticks and can come out above the sum
        user_ns: value(&ticks, "user") * NS_PER_TICK,
        system_ns: value(&ticks, "system") * NS_PER_TICK,
        per_cpu_ns: Some(
            text(at, "cpuacct.usage_percpu").split_whitespace().filter_map(|ns| ns.parse().ok()).collect(),
        ),
        ..CpuStats::default()
    }
}

fn cpu_v2(at: &Path) -> CpuStats {
    let stat = keyed(&text(at, "cpu.stat"));
    CpuStats {
        usage_ns: value(&stat, "usage_usec") * 1000,
        user_ns: value(&stat, "user_usec") * 1000,
        system_ns: value(&stat, "system_usec") * 1000,
        per_cpu_ns: None,
        periods: value(&stat, "nr_periods"),
        throttled_periods: value(&stat, "nr_throttled"),
        throttled_ns: value(&stat, "throttled_usec") * 1000,
    }
}

fn blkio_v1(at: &Path) -> BlkioStats {
    let entries = |file: &str| -> Vec<BlkioEntry> { text(at, file).lines().filter_map(blkio_line).collect() };
    let scheduled = |name: &str| {
        let names = [format!("blkio.{name}_recursive"), format!("blkio.bfq.{name}_recursive")];
        names.iter().map(|file| entries(file)).find(|list| !list.is_empty()).unwrap_or_default()
    };
    BlkioStats {
        service_bytes: entries("blkio.throttle.io_service_bytes_recursive"),
        serviced: entries("blkio.throttle.io_serviced_recursive"),
        scheduler: SchedulerStats {
            queued: scheduled("io_queued"),
            service_time: scheduled("io_service_time"),
            wait_time: scheduled("io_wait_time"),
            merged: scheduled("io_merged"),
            time: scheduled("time"),
            sectors: scheduled("sectors"),
        },
    }
}

/// `8:0 Read 4096`, or `8:0 4096` where there are no operations; the last line, `Total 4096`, is not one.
fn blkio_line(line: &str) -> Option<BlkioEntry> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let (op, value) = match (words.next()?, words.next()) {
        (op, Some(value)) => (op, value),
        (value, None) => ("", value),
    };
    Some(BlkioEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: op.to_owned(),
        value: value.parse().ok()?,
    })
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn io_v2(stat: &str) -> BlkioStats {
    let mut blkio = BlkioStats::default();
    for line in stat.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let entry = |op: &str| BlkioEntry { major, minor, op: op.to_owned(), value };
            match key {
                "rbytes" => blkio.service_bytes.push(entry("read")),
                "wbytes" => blkio.service_bytes.push(entry("write")),
                "rios" => blkio.serviced.push(entry("read")),
                "wios" => blkio.serviced.push(entry("write")),
                _ => {}
            }
        }
    }
    blkio
}

/// Lines of `name number`.
pub(super) fn keyed(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(name, number)| Some((name.to_owned(), number.trim().parse().ok()?))).collect()
}

fn value(map: &BTreeMap<String, u64>, name: &str) -> u64 {
    map.get(name).copied().unwrap_or(0)
}

fn text(at: &Path, file: &str) -> String {
    std::fs::read_to_string(at.join(file)).unwrap_or_default()
}

/// A number; `max` and what is missing are `None`.
fn number(at: &Path, file: &str) -> Option<u64> {
    text(at, file).trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_block_statistics() {
        let v1 = blkio_line("254:0 Read 4096").unwrap();
        assert_eq!((v1.major, v1.minor, v1.op.as_str(), v1.value), (254, 0, "Read", 4096));
        assert!(blkio_line("Total 4096").is_none());
        assert_eq!(blkio_line("254:0 77").map(|entry| (entry.op, entry.value)), Some((String::new(), 77)));
        let v2 = io_v2("254:0 rbytes=4096 wbytes=8 rios=1 wios=2 dbytes=0 dios=0\n");
        assert_eq!((v2.service_bytes.len(), v2.serviced[1].value), (2, 2));
    }
}
