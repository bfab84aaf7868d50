//! Resource limits and device rules of a container's cgroup, as data in the kernel's units.

use serde::{Deserialize, Serialize};

use crate::engine::runtime::cgroup::CgroupLayout;

/// Where a container is accounted, and within which limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// Where this host's hierarchies are mounted.
    pub layout: CgroupLayout,
    /// The path under each hierarchy's mount, without a leading slash: `boxyard/<id>`.
    pub path: String,
    /// The limits.
    pub limits: Limits,
}

/// Limits; `None` leaves what is there. -1 lifts a limit, as in Docker's API.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together.
    pub memory_swap: Option<i64>,
    /// Soft limit in bytes.
    pub memory_reservation: Option<i64>,
    /// 0 to 100; only cgroup v1 has it.
    pub memory_swappiness: Option<u64>,
    /// Whether the kernel shall not kill at the limit; only cgroup v1 has it.
    pub oom_kill_disable: Option<bool>,
    /// Relative weight, 1024 being usual.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU a period.
    pub cpu_quota: Option<i64>,
    /// The period in microseconds.
    pub cpu_period: Option<u64>,
    /// Realtime period in microseconds; only cgroup v1 has it.
    pub cpu_rt_period: Option<u64>,
    /// Realtime microseconds a period; only cgroup v1 has it.
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs it may run on, `0-2,5`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use.
    pub cpuset_mems: Option<String>,
    /// How many tasks.
    pub pids: Option<i64>,
    /// Relative block I/O weight, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// The same by device.
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// Bytes read a second, by device.
    pub read_bps: Vec<DeviceThrottle>,
    /// Bytes written a second, by device.
    pub write_bps: Vec<DeviceThrottle>,
    /// Reads a second, by device.
    pub read_iops: Vec<DeviceThrottle>,
    /// Writes a second, by device.
    pub write_iops: Vec<DeviceThrottle>,
    /// Files of the version 2 group and what to write there, after all else.
    pub unified: std::collections::BTreeMap<String, String>,
    /// Device rules, later ones win; `None` (as in an update) leaves what is there.
    pub devices: Option<Vec<DeviceRule>>,
}

/// A block device's relative weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// The host's path of the device, or its numbers: `8:0`.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A block device's rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceThrottle {
    /// The host's path of the device, or its numbers: `8:0`.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// Character or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// Both kinds; in rules only.
    Any,
    /// A character device.
    Char,
    /// A block device.
    Block,
}

impl DeviceKind {
    /// The letter of the devices cgroup: a, c or b.
    pub const fn letter(self) -> char {
        match self {
            DeviceKind::Any => 'a',
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        }
    }
}

/// Which of read, write and mknod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAccess {
    /// May read.
    pub read: bool,
    /// May write.
    pub write: bool,
    /// May make nodes.
    pub mknod: bool,
}

impl DeviceAccess {
    /// All three.
    pub const ALL: DeviceAccess = DeviceAccess { read: true, write: true, mknod: true };
    /// Only mknod.
    pub const MKNOD: DeviceAccess = DeviceAccess { read: false, write: false, mknod: true };

    /// From letters out of `rwm`, each at most once; `None` for anything else.
    pub fn parse(letters: &str) -> Option<Self> {
        let mut access = DeviceAccess { read: false, write: false, mknod: false };
        for letter in letters.chars() {
            let flag = match letter {
                'r' => &mut access.read,
                'w' => &mut access.write,
                'm' => &mut access.mknod,
                _ => return None,
            };
            if std::mem::replace(flag, true) {
                return None;
            }
        }
        (!letters.is_empty()).then_some(access)
    }

    /// The letters, in the order `rwm`.
    pub fn letters(self) -> String {
        [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')].iter().filter(|(is, _)| *is).map(|(_, c)| *c).collect()
    }
}

/// One rule of the device controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Allows or denies.
    pub allow: bool,
    /// Which kind.
    pub kind: DeviceKind,
    /// Which driver; `None` is every one.
    pub major: Option<u32>,
    /// Which device; `None` is every one.
    pub minor: Option<u32>,
    /// Which uses.
    pub access: DeviceAccess,
}
