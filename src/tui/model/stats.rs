//! Measurements of containers, and what is worked out of them.
//!
//! CPU is the container's share of one core in percent (two busy cores: 200 %), as `docker stats` counts. Memory leaves
//! out the page cache that can be dropped. Network and block figures are rates over all interfaces and devices.

use crate::client::models as docker;
use std::collections::VecDeque;

/// One measurement, as read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Unix milliseconds.
    pub at: i64,
    pub cpu_total: u64,
    pub system_total: u64,
    /// The measurement before, if the engine sent it along.
    pub before: Option<(u64, u64)>,
    pub cpus: u32,
    pub memory: u64,
    pub limit: u64,
    pub received: u64,
    pub sent: u64,
    pub read: u64,
    pub written: u64,
    pub pids: u64,
}

impl Sample {
    /// Reads the engine's answer; `now` (Unix milliseconds) stands in for a missing stamp.
    pub fn from_engine(stats: &docker::ContainerStatsResponse, now: i64) -> Sample {
        let at = stats.read.as_deref().and_then(|read| read.parse::<jiff::Timestamp>().ok());
        let cpu = stats.cpu_stats.clone().unwrap_or_default();
        let before = stats.precpu_stats.as_ref().and_then(|cpu| {
            let total = cpu.cpu_usage.as_ref()?.total_usage?;
            let system = cpu.system_cpu_usage.filter(|system| *system > 0)?;
            Some((total, system))
        });
        let usage = cpu.cpu_usage.unwrap_or_default();
        let memory = stats.memory_stats.clone().unwrap_or_default();
        let cache = memory
            .stats
            .as_ref()
            .and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")).copied());
        let used = memory.usage.unwrap_or_default();
        let networks = stats.networks.clone().unwrap_or_default();
        let blocks =
            stats.blkio_stats.as_ref().and_then(|io| io.io_service_bytes_recursive.clone()).unwrap_or_default();
        let of = |op: &str| -> u64 {
            blocks
                .iter()
                .filter(|entry| entry.op.as_deref().is_some_and(|o| o.eq_ignore_ascii_case(op)))
                .filter_map(|entry| entry.value)
                .sum()
        };
        Sample {
            at: at.map_or(now, |at| at.as_millisecond()),
            cpu_total: usage.total_usage.unwrap_or_default(),
            system_total: cpu.system_cpu_usage.unwrap_or_default(),
            before,
            cpus: cpu.online_cpus.unwrap_or_else(|| usage.percpu_usage.map_or(1, |cpus| cpus.len() as u32)).max(1),
            memory: used.saturating_sub(cache.unwrap_or(0)),
            limit: memory.limit.unwrap_or_default(),
            received: networks.values().filter_map(|n| n.rx_bytes).sum(),
            sent: networks.values().filter_map(|n| n.tx_bytes).sum(),
            read: of("read"),
            written: of("write"),
            pids: stats.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default(),
        }
    }
}

/// One point of the curves.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    pub cpu: f64,
    pub memory: u64,
    /// Bytes a second.
    pub received: f64,
    pub sent: f64,
    pub read: f64,
    pub written: f64,
    pub pids: u64,
}

/// Points kept for each container: five minutes at one a second.
pub const POINTS: usize = 300;

/// A container's recent past.
#[derive(Debug, Default)]
pub struct Series {
    points: VecDeque<Point>,
    last: Option<Sample>,
}

impl Series {
    /// Adds a measurement.
    pub fn push(&mut self, sample: Sample) {
        let last = self.last.as_ref().filter(|last| sample.cpu_total >= last.cpu_total && sample.at > last.at);
        let before = sample.before.or_else(|| last.map(|last| (last.cpu_total, last.system_total)));
        let cpu = match before {
            Some((cpu, system)) if sample.system_total > system => {
                let used = sample.cpu_total.saturating_sub(cpu) as f64;
                used / (sample.system_total - system) as f64 * f64::from(sample.cpus) * 100.0
            }
            _ => 0.0,
        };
        let seconds = last.map_or(0.0, |last| (sample.at - last.at) as f64 / 1000.0);
        let rate = |now: u64, then: fn(&Sample) -> u64| match last {
            Some(last) if seconds > 0.0 => now.saturating_sub(then(last)) as f64 / seconds,
            _ => 0.0,
        };
        let point = Point {
            cpu,
            memory: sample.memory,
            received: rate(sample.received, |s| s.received),
            sent: rate(sample.sent, |s| s.sent),
            read: rate(sample.read, |s| s.read),
            written: rate(sample.written, |s| s.written),
            pids: sample.pids,
        };
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.last = Some(sample);
    }

    pub fn latest(&self) -> Option<&Point> {
        self.points.back()
    }

    /// The newest `count` points, oldest first.
    pub fn tail(&self, count: usize) -> impl DoubleEndedIterator<Item = &Point> + Clone + ExactSizeIterator {
        self.points.range(self.points.len().saturating_sub(count)..)
    }

    /// The measurement behind the newest point.
    pub fn sample(&self) -> Option<&Sample> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_counts_cores_and_memory_leaves_out_cache() {
        let stats: docker::ContainerStatsResponse = serde_json::from_value(serde_json::json!({
            "read": "2026-01-01T00:00:01Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 3_000_000_000u64}, "system_cpu_usage": 8_000_000_000u64, "online_cpus": 4},
            "precpu_stats": {"cpu_usage": {"total_usage": 1_000_000_000u64}, "system_cpu_usage": 4_000_000_000u64},
            "memory_stats": {"usage": 100, "limit": 1000, "stats": {"inactive_file": 30}},
            "networks": {"eth0": {"rx_bytes": 5}, "eth1": {"rx_bytes": 7}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 9}, {"op": "write", "value": 4}]},
            "pids_stats": {"current": 3},
        }))
        .unwrap();
        let sample = Sample::from_engine(&stats, 0);
        assert_eq!((sample.memory, sample.received, sample.read, sample.written), (70, 12, 9, 4));
        let mut series = Series::default();
        series.push(sample);
        assert_eq!(series.latest().unwrap().cpu, 200.0, "half of the time of four cores");
    }

    #[test]
    fn rates_need_two_measurements_and_survive_a_restart() {
        let mut series = Series::default();
        let sample = |at, received| Sample { at, received, cpu_total: received, ..Sample::default() };
        series.push(sample(1000, 100));
        series.push(sample(3000, 300));
        assert_eq!(series.latest().unwrap().received, 100.0);
        series.push(sample(4000, 5));
        assert_eq!(series.latest().unwrap().received, 0.0, "counters began anew");
    }
}
