//! Which limits mean which text in which file of which hierarchy. Decides; writes only when told to.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{CgroupError, CgroupLayout, Controller, write_file};
use crate::engine::oci::{DeviceKind, DeviceRule, DeviceThrottle, DeviceWeight, Limits};

/// One control file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    file: PathBuf,
    text: String,
    /// The block device whose number goes before the text.
    device: Option<String>,
    need: Need,
}

/// What it means if the file does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// A failure.
    Must,
    /// Nothing: the kernel was built or booted without it, as with swap accounting, and Docker goes on as well.
    IfPresent,
}

impl Write {
    fn new(file: PathBuf, text: impl ToString) -> Self {
        Self { file, text: text.to_string(), device: None, need: Need::Must }
    }

    fn if_present(file: PathBuf, text: impl ToString) -> Self {
        Self { need: Need::IfPresent, ..Self::new(file, text) }
    }

    /// Whether a refusal may be due to a limit that is written later.
    pub(super) fn may_wait(&self) -> bool {
        self.file.ends_with("memory.limit_in_bytes")
    }

    /// Writes it.
    pub(super) fn apply(&self) -> Result<(), CgroupError> {
        if self.need == Need::IfPresent && !self.file.exists() {
            return Ok(());
        }
        match &self.device {
            None => write_file(&self.file, &self.text),
            Some(numbers) if !numbers.contains('/') => write_file(&self.file, &format!("{numbers} {}", self.text)),
            Some(device) => {
                let found = std::fs::metadata(device);
                let number = found
                    .map_err(|source| CgroupError { attempted: "find device", path: PathBuf::from(device), source })?
                    .rdev();
                let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
                write_file(&self.file, &format!("{major}:{minor} {}", self.text))
            }
        }
    }
}

/// The files to write for `limits` on the group at `path`, in the order the kernel needs.
pub(super) fn writes(layout: &CgroupLayout, path: &str, limits: &Limits) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut with = |name: &str, v1: fn(&Path, &Limits) -> Vec<Write>, v2: fn(&Path, &Limits) -> Vec<Write>| match layout
        .controller(name)
    {
        Controller::V1(mount) => writes.extend(v1(&mount.join(path), limits)),
        Controller::V2(root) => writes.extend(v2(&root.join(path), limits)),
        Controller::Absent => {}
    };
    with("memory", memory_v1, memory_v2);
    with("cpu", cpu_v1, cpu_v2);
    with("cpuset", cpuset, cpuset);
    with("pids", pids, pids);
    with("blkio", blkio_v1, |_, _| Vec::new());
    with("io", |_, _| Vec::new(), io_v2);
    with("devices", devices_v1, |_, _| Vec::new());
    let unified = layout.v2.as_ref().map(|root| root.join(path)).unwrap_or_default();
    writes.extend(limits.unified.iter().map(|(file, text)| Write::new(unified.join(file), text)));
    writes
}

fn memory_v1(at: &Path, limits: &Limits) -> Vec<Write> {
    let mut writes = Vec::new();
    // memory before memory+swap; where that order is refused, the writer tries memory once more afterwards
    writes.extend(limits.memory.map(|bytes| Write::new(at.join("memory.limit_in_bytes"), bytes)));
    writes.extend(limits.memory_swap.map(|bytes| Write::if_present(at.join("memory.memsw.limit_in_bytes"), bytes)));
    writes.extend(limits.memory_reservation.map(|bytes| Write::new(at.join("memory.soft_limit_in_bytes"), bytes)));
    writes.extend(limits.memory_swappiness.map(|value| Write::new(at.join("memory.swappiness"), value)));
    if let Some(disable) = limits.oom_kill_disable {
        writes.push(Write::new(at.join("memory.oom_control"), u8::from(disable)));
    }
    writes
}

fn memory_v2(at: &Path, limits: &Limits) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(both) = limits.memory_swap {
        // version 2 limits swap alone
        let swap = match limits.memory {
            _ if both < 0 => -1,
            Some(memory) if memory > 0 => (both - memory).max(0),
            _ => both,
        };
        writes.push(Write::if_present(at.join("memory.swap.max"), or_max(swap)));
    }
    writes.extend(limits.memory.map(|bytes| Write::new(at.join("memory.max"), or_max(bytes))));
    writes.extend(limits.memory_reservation.map(|bytes| Write::new(at.join("memory.low"), or_max(bytes))));
    writes
}

fn cpu_v1(at: &Path, limits: &Limits) -> Vec<Write> {
    let mut writes = Vec::new();
    writes.extend(limits.cpu_shares.map(|shares| Write::new(at.join("cpu.shares"), shares)));
    writes.extend(limits.cpu_period.map(|period| Write::new(at.join("cpu.cfs_period_us"), period)));
    writes.extend(limits.cpu_quota.map(|quota| Write::new(at.join("cpu.cfs_quota_us"), quota)));
    writes.extend(limits.cpu_rt_period.map(|period| Write::new(at.join("cpu.rt_period_us"), period)));
    writes.extend(limits.cpu_rt_runtime.map(|runtime| Write::new(at.join("cpu.rt_runtime_us"), runtime)));
    writes
}

fn cpu_v2(at: &Path, limits: &Limits) -> Vec<Write> {
    let mut writes = Vec::new();
    writes.extend(
        limits
            .cpu_shares
            .filter(|shares| *shares > 0)
            .map(|shares| Write::new(at.join("cpu.weight"), weight_from_shares(shares))),
    );
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let quota = or_max(limits.cpu_quota.filter(|quota| *quota > 0).unwrap_or(-1));
        writes.push(Write::new(at.join("cpu.max"), format!("{quota} {}", limits.cpu_period.unwrap_or(100_000))));
    }
    writes
}

/// Shares (2 to 262144, usually 1024) as a version 2 weight (1 to 10000, usually 100): quadratic in the logarithm, so
/// that the smallest, the usual and the largest values meet. The formula of opencontainers/cgroups.
fn weight_from_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

fn cpuset(at: &Path, limits: &Limits) -> Vec<Write> {
    let mut writes = Vec::new();
    writes.extend(limits.cpuset_cpus.as_ref().map(|list| Write::new(at.join("cpuset.cpus"), list)));
    writes.extend(limits.cpuset_mems.as_ref().map(|list| Write::new(at.join("cpuset.mems"), list)));
    writes
}

fn pids(at: &Path, limits: &Limits) -> Vec<Write> {
    let limit = limits.pids.map(|count| Write::new(at.join("pids.max"), or_max(if count > 0 { count } else { -1 })));
    limit.into_iter().collect()
}

fn blkio_v1(at: &Path, limits: &Limits) -> Vec<Write> {
    let mut writes = Vec::new();
    // the first is of the CFQ scheduler (gone since 5.0), the second of BFQ; a kernel has at most one of them
    for file in ["blkio.weight", "blkio.bfq.weight"] {
        writes.extend(limits.blkio_weight.map(|weight| Write::if_present(at.join(file), weight)));
    }
    for file in ["blkio.weight_device", "blkio.bfq.weight_device"] {
        writes.extend(limits.blkio_weight_device.iter().map(|one| weight_of_device(at.join(file), one)));
    }
    let throttles = [
        ("blkio.throttle.read_bps_device", &limits.read_bps),
        ("blkio.throttle.write_bps_device", &limits.write_bps),
        ("blkio.throttle.read_iops_device", &limits.read_iops),
        ("blkio.throttle.write_iops_device", &limits.write_iops),
    ];
    for (file, devices) in throttles {
        writes.extend(devices.iter().map(|one| throttle_of_device(at.join(file), one, "")));
    }
    writes
}

fn io_v2(at: &Path, limits: &Limits) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some(weight) = limits.blkio_weight.map(u64::from).filter(|weight| *weight > 0) {
        writes.push(Write::if_present(at.join("io.bfq.weight"), weight));
        // 10..1000 to 1..10000
        writes.push(Write::if_present(at.join("io.weight"), 1 + (weight.max(10) - 10) * 9999 / 990));
    }
    writes.extend(limits.blkio_weight_device.iter().map(|one| weight_of_device(at.join("io.bfq.weight"), one)));
    let throttles = [
        ("rbps=", &limits.read_bps),
        ("wbps=", &limits.write_bps),
        ("riops=", &limits.read_iops),
        ("wiops=", &limits.write_iops),
    ];
    for (key, devices) in throttles {
        writes.extend(devices.iter().map(|one| throttle_of_device(at.join("io.max"), one, key)));
    }
    writes
}

fn weight_of_device(file: PathBuf, one: &DeviceWeight) -> Write {
    Write { device: Some(one.path.clone()), ..Write::if_present(file, one.weight) }
}

fn throttle_of_device(file: PathBuf, one: &DeviceThrottle, key: &str) -> Write {
    Write { device: Some(one.path.clone()), ..Write::new(file, format!("{key}{}", one.rate)) }
}

fn devices_v1(at: &Path, limits: &Limits) -> Vec<Write> {
    let rules = limits.devices.iter().flatten();
    rules
        .map(|rule| Write::new(at.join(if rule.allow { "devices.allow" } else { "devices.deny" }), device_line(rule)))
        .collect()
}

fn device_line(rule: &DeviceRule) -> String {
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    match (rule.kind, rule.major, rule.minor) {
        (DeviceKind::Any, None, None) => "a".to_owned(),
        _ => format!("{} {}:{} {}", rule.kind.letter(), number(rule.major), number(rule.minor), rule.access.letters()),
    }
}

fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::oci::DeviceAccess;
    use crate::engine::runtime::cgroup::Hierarchy;

    fn lines(layout: &CgroupLayout, limits: &Limits) -> Vec<String> {
        writes(layout, "g", limits).iter().map(|write| format!("{} <- {}", write.file.display(), write.text)).collect()
    }

    fn v1() -> CgroupLayout {
        let one = |name: &str| Hierarchy {
            mount: PathBuf::from("/c").join(name),
            controllers: vec![name.into()],
            name: None,
        };
        CgroupLayout { v1: ["memory", "cpu", "pids", "devices"].map(one).into(), ..CgroupLayout::default() }
    }

    fn v2() -> CgroupLayout {
        let controllers = ["cpu", "memory", "pids", "io"].map(str::to_owned).into();
        CgroupLayout { v2: Some(PathBuf::from("/c")), v2_controllers: controllers, ..CgroupLayout::default() }
    }

    fn some_limits() -> Limits {
        Limits {
            memory: Some(64 << 20),
            memory_swap: Some(96 << 20),
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            pids: Some(-1),
            ..Limits::default()
        }
    }

    #[test]
    fn version_1_files() {
        let expected = [
            "/c/memory/g/memory.limit_in_bytes <- 67108864",
            "/c/memory/g/memory.memsw.limit_in_bytes <- 100663296",
            "/c/cpu/g/cpu.shares <- 1024",
            "/c/cpu/g/cpu.cfs_period_us <- 100000",
            "/c/cpu/g/cpu.cfs_quota_us <- 50000",
            "/c/pids/g/pids.max <- max",
        ];
        assert_eq!(lines(&v1(), &some_limits()), expected);
    }

    #[test]
    fn version_2_files() {
        let expected = [
            "/c/g/memory.swap.max <- 33554432",
            "/c/g/memory.max <- 67108864",
            "/c/g/cpu.weight <- 100",
            "/c/g/cpu.max <- 50000 100000",
            "/c/g/pids.max <- max",
        ];
        assert_eq!(lines(&v2(), &some_limits()), expected);
    }

    #[test]
    fn device_rules_as_version_1_lines() {
        let rule = |allow, kind, major, minor, access| DeviceRule { allow, kind, major, minor, access };
        let rules = vec![
            rule(false, DeviceKind::Any, None, None, DeviceAccess::ALL),
            rule(true, DeviceKind::Char, Some(136), None, DeviceAccess::ALL),
            rule(true, DeviceKind::Block, None, None, DeviceAccess::MKNOD),
        ];
        let limits = Limits { devices: Some(rules), ..Limits::default() };
        let expected = [
            "/c/devices/g/devices.deny <- a",
            "/c/devices/g/devices.allow <- c 136:* rwm",
            "/c/devices/g/devices.allow <- b *:* m",
        ];
        assert_eq!(lines(&v1(), &limits), expected);
    }

    #[test]
    fn the_usual_shares_are_the_usual_weight() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000)] {
            assert_eq!(weight_from_shares(shares), weight, "{shares}");
        }
    }
}
