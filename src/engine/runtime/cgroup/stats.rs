//! What a cgroup uses, rich enough for Docker's stats of both cgroup versions.

use std::collections::BTreeMap;

/// What a container uses now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CgroupStats {
    /// Whether the memory figures are version 2's (which also decides the names in `memory.stat`).
    pub is_v2: bool,
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Block I/O.
    pub blkio: BlkioStats,
}

/// Processor time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuStats {
    /// Nanoseconds in all.
    pub usage_ns: u64,
    /// Nanoseconds in user mode.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub system_ns: u64,
    /// Nanoseconds by processor; version 1 only.
    pub per_cpu_ns: Option<Vec<u64>>,
    /// Elapsed enforcement periods.
    pub periods: u64,
    /// Periods in which it was throttled.
    pub throttled_periods: u64,
    /// Nanoseconds it was throttled for.
    pub throttled_ns: u64,
}

/// Memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryStats {
    /// Bytes now, page cache included.
    pub usage: u64,
    /// The most bytes so far, where the kernel keeps it.
    pub max_usage: Option<u64>,
    /// The limit in bytes; `None` is none.
    pub limit: Option<u64>,
    /// How often the limit was hit; version 1 only.
    pub failcnt: Option<u64>,
    /// `memory.stat`, as the kernel names its lines.
    pub stat: BTreeMap<String, u64>,
}

/// Tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// At most; `None` is no limit.
    pub limit: Option<u64>,
}

/// Block I/O by device and operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlkioStats {
    /// Bytes.
    pub service_bytes: Vec<BlkioEntry>,
    /// Operations.
    pub serviced: Vec<BlkioEntry>,
    /// What only an I/O scheduler of version 1 counts; empty without one that does.
    pub scheduler: SchedulerStats,
}

/// What an I/O scheduler counts for a group of version 1 (CFQ up to Linux 4.x; BFQ on kernels built to debug it).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchedulerStats {
    /// Requests that wait.
    pub queued: Vec<BlkioEntry>,
    /// Nanoseconds from dispatch to completion.
    pub service_time: Vec<BlkioEntry>,
    /// Nanoseconds spent waiting.
    pub wait_time: Vec<BlkioEntry>,
    /// Requests merged into others.
    pub merged: Vec<BlkioEntry>,
    /// Milliseconds that the device was the group's; no operation.
    pub time: Vec<BlkioEntry>,
    /// Sectors moved; no operation.
    pub sectors: Vec<BlkioEntry>,
}

/// One figure of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlkioEntry {
    /// The device.
    pub major: u64,
    /// The device.
    pub minor: u64,
    /// `read`, `write`, ... in the kernel's spelling: capitalised by version 1, lower case by version 2.
    pub op: String,
    /// How many bytes or operations.
    pub value: u64,
}
