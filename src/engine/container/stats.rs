//! `docker stats`: what a container uses, in the API's shape, once or each second.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models as docker;
use futures_util::stream;
use jiff::Timestamp;

use super::live::Container;
use super::options::{StatsOptions, StatsStream};
use super::record::ContainerRecord;
use super::room::Room;
use crate::engine::EngineError;
use crate::engine::runtime::CgroupStats;
use crate::engine::runtime::cgroup::BlkioEntry;

/// How often a stream samples.
const PERIOD: Duration = Duration::from_secs(1);
/// What Go prints for a time that is not set.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// One look at a container.
#[derive(Debug, Clone, Default)]
struct Sample {
    read: Option<Timestamp>,
    cgroup: CgroupStats,
    networks: HashMap<String, docker::ContainerNetworkStats>,
    /// Nanoseconds of all processors since boot.
    system_ns: u64,
}

/// What stays the same from sample to sample.
#[derive(Debug, Clone)]
struct Setting {
    id: String,
    name: String,
    cpus: u32,
    host_memory: u64,
}

impl Room {
    /// `GET /containers/{id}/stats`.
    pub async fn stats(self: &Arc<Self>, id: &str, options: StatsOptions) -> Result<StatsStream, EngineError> {
        let container = self.index.find(id)?;
        let room = Arc::clone(self);
        if !options.stream {
            return Ok(Box::pin(stream::once(async move { room.once(&container, options.one_shot).await })));
        }
        let states =
            stream::unfold((room, container, None::<Sample>, true), |(room, container, before, is_first)| async move {
                if !is_first && !room.next_period(&container).await {
                    return None;
                }
                let answer = match room.sample(&container).await {
                    Ok(sample) => {
                        let shown = response(&room.setting(&container), &sample, before.as_ref());
                        (Ok(shown), sample.read.map(|_| sample))
                    }
                    Err(error) => (Err(error), None),
                };
                Some((answer.0, (room, container, answer.1, false)))
            });
        Ok(Box::pin(states))
    }

    /// Waits for the next second; false where there is no more to come.
    async fn next_period(&self, container: &Container) -> bool {
        let mut pulse = container.pulse();
        tokio::select! {
            () = self.closing.cancelled() => false,
            _ = pulse.wait_for(|pulse| pulse.is_removed) => false,
            () = tokio::time::sleep(PERIOD) => true,
        }
    }

    async fn once(
        &self,
        container: &Arc<Container>,
        one_shot: bool,
    ) -> Result<docker::ContainerStatsResponse, EngineError> {
        let first = self.sample(container).await?;
        if one_shot || first.read.is_none() || !self.next_period(container).await {
            return Ok(response(&self.setting(container), &first, None));
        }
        let second = self.sample(container).await?;
        Ok(response(&self.setting(container), &second, Some(&first)))
    }

    fn setting(&self, container: &Container) -> Setting {
        Setting {
            id: container.id.clone(),
            name: container.record().name.clone(),
            cpus: self.rooms.host.cpus,
            host_memory: self.rooms.host.memory,
        }
    }

    /// Looks at a container; the sample of one that does not run is empty and has no time.
    async fn sample(&self, container: &Container) -> Result<Sample, EngineError> {
        let record = container.record();
        let Some(alive) = record.state.alive() else { return Ok(Sample::default()) };
        let (cgroups, path, pid) = (self.cgroups.clone(), self.cgroup_of(&record), alive.pid);
        let counts_network = has_own_network(&record);
        let ended = container.pulse();
        Self::blocking(move || {
            let cgroup = match cgroups.stats(&path) {
                Ok(cgroup) => cgroup,
                // It ended between the look at its state and the look at its cgroup.
                Err(_) if !ended.borrow().is_running => return Ok(Sample::default()),
                Err(error) => return Err(EngineError::system(error.to_string()).because(error)),
            };
            let dev = if counts_network { fs::read_to_string(format!("/proc/{pid}/net/dev")).ok() } else { None };
            Ok(Sample {
                read: Some(Timestamp::now()),
                cgroup,
                networks: dev.map(|text| interfaces(&text)).unwrap_or_default(),
                system_ns: system_ns(&fs::read_to_string("/proc/stat").unwrap_or_default()),
            })
        })
        .await
    }
}

fn has_own_network(record: &ContainerRecord) -> bool {
    record.network_mode() != "host"
}

/// The interfaces of a `/proc/PID/net/dev` but for the loopback.
fn interfaces(text: &str) -> HashMap<String, docker::ContainerNetworkStats> {
    let parse = |line: &str| {
        let (name, counts) = line.split_once(':')?;
        let numbers: Vec<u64> = counts.split_whitespace().filter_map(|text| text.parse().ok()).collect();
        let number = |at: usize| numbers.get(at).copied();
        let stats = docker::ContainerNetworkStats {
            rx_bytes: number(0),
            rx_packets: number(1),
            rx_errors: number(2),
            rx_dropped: number(3),
            tx_bytes: number(8),
            tx_packets: number(9),
            tx_errors: number(10),
            tx_dropped: number(11),
            ..Default::default()
        };
        Some((name.trim().to_owned(), stats))
    };
    text.lines().skip(2).filter_map(parse).filter(|(name, _)| name != "lo").collect()
}

/// The time all processors have counted, busy or not, from the first line of `/proc/stat`.
fn system_ns(stat: &str) -> u64 {
    const NS_A_TICK: u64 = 1_000_000_000 / super::processes::TICKS;
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    // user, nice, system, idle, iowait, irq, softirq; what follows is counted in these already.
    let ticks: u64 =
        line.unwrap_or_default().split_whitespace().take(7).filter_map(|text| text.parse::<u64>().ok()).sum();
    ticks.saturating_mul(NS_A_TICK)
}

fn response(setting: &Setting, sample: &Sample, before: Option<&Sample>) -> docker::ContainerStatsResponse {
    let text = |time: Option<Timestamp>| Some(time.map_or_else(|| NEVER.to_owned(), |time| time.to_string()));
    let is_empty = sample.read.is_none();
    docker::ContainerStatsResponse {
        id: Some(setting.id.clone()),
        name: Some(format!("/{}", setting.name)),
        os_type: Some("linux".to_owned()),
        read: text(sample.read),
        preread: text(before.and_then(|before| before.read)),
        cpu_stats: Some(if is_empty { empty_cpu() } else { cpu(sample, setting.cpus) }),
        precpu_stats: Some(
            before.filter(|before| before.read.is_some()).map_or_else(empty_cpu, |before| cpu(before, setting.cpus)),
        ),
        memory_stats: Some(if is_empty {
            docker::ContainerMemoryStats::default()
        } else {
            memory(sample, setting.host_memory)
        }),
        networks: (!sample.networks.is_empty()).then(|| sample.networks.clone()),
        pids_stats: Some(if is_empty {
            docker::ContainerPidsStats::default()
        } else {
            docker::ContainerPidsStats {
                current: Some(sample.cgroup.pids.current),
                // Docker shows "no limit" of version 2 as the largest number, and that of version 1 not at all.
                limit: sample.cgroup.pids.limit.or_else(|| sample.cgroup.is_v2.then_some(u64::MAX)),
            }
        }),
        blkio_stats: Some(blkio(&sample.cgroup)),
        num_procs: Some(0),
        storage_stats: Some(docker::ContainerStorageStats::default()),
    }
}

/// Version 2 has no lists but the first two.
fn blkio(cgroup: &CgroupStats) -> docker::ContainerBlkioStats {
    let scheduler = &cgroup.blkio.scheduler;
    let only_v1 = |list: &[BlkioEntry]| (!cgroup.is_v2).then(|| entries(list));
    docker::ContainerBlkioStats {
        io_service_bytes_recursive: Some(entries(&cgroup.blkio.service_bytes)),
        io_serviced_recursive: Some(entries(&cgroup.blkio.serviced)),
        io_queue_recursive: only_v1(&scheduler.queued),
        io_service_time_recursive: only_v1(&scheduler.service_time),
        io_wait_time_recursive: only_v1(&scheduler.wait_time),
        io_merged_recursive: only_v1(&scheduler.merged),
        io_time_recursive: only_v1(&scheduler.time),
        sectors_recursive: only_v1(&scheduler.sectors),
    }
}

fn cpu(sample: &Sample, cpus: u32) -> docker::ContainerCpuStats {
    let cpu = &sample.cgroup.cpu;
    docker::ContainerCpuStats {
        cpu_usage: Some(docker::ContainerCpuUsage {
            total_usage: Some(cpu.usage_ns),
            percpu_usage: cpu.per_cpu_ns.clone(),
            usage_in_kernelmode: Some(cpu.system_ns),
            usage_in_usermode: Some(cpu.user_ns),
        }),
        system_cpu_usage: Some(sample.system_ns),
        online_cpus: Some(cpus),
        throttling_data: Some(docker::ContainerThrottlingData {
            periods: Some(cpu.periods),
            throttled_periods: Some(cpu.throttled_periods),
            throttled_time: Some(cpu.throttled_ns),
        }),
    }
}

fn empty_cpu() -> docker::ContainerCpuStats {
    let zero = Some(0);
    docker::ContainerCpuStats {
        cpu_usage: Some(docker::ContainerCpuUsage {
            total_usage: zero,
            percpu_usage: None,
            usage_in_kernelmode: zero,
            usage_in_usermode: zero,
        }),
        throttling_data: Some(docker::ContainerThrottlingData {
            periods: zero,
            throttled_periods: zero,
            throttled_time: zero,
        }),
        ..Default::default()
    }
}

fn memory(sample: &Sample, host_memory: u64) -> docker::ContainerMemoryStats {
    let memory = &sample.cgroup.memory;
    docker::ContainerMemoryStats {
        usage: Some(memory.usage),
        max_usage: memory.max_usage,
        stats: Some(memory.stat.iter().map(|(name, value)| (name.clone(), *value)).collect()),
        failcnt: memory.failcnt,
        limit: Some(memory.limit.map_or(host_memory, |limit| limit.min(host_memory))),
        ..Default::default()
    }
}

fn entries(list: &[BlkioEntry]) -> Vec<docker::ContainerBlkioStatEntry> {
    let entry = |entry: &BlkioEntry| docker::ContainerBlkioStatEntry {
        major: Some(entry.major),
        minor: Some(entry.minor),
        op: Some(entry.op.clone()),
        value: Some(entry.value),
    };
    list.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting { id: "1".to_owned(), name: "web".to_owned(), cpus: 2, host_memory: 1 << 30 }
    }

    fn sample(usage_ns: u64, system_ns: u64) -> Sample {
        let mut cgroup = CgroupStats::default();
        cgroup.cpu.usage_ns = usage_ns;
        cgroup.memory.usage = 4096;
        Sample { read: Some(Timestamp::UNIX_EPOCH), cgroup, networks: HashMap::new(), system_ns }
    }

    /// As the docker CLI counts it.
    fn cpu_percent(shown: &docker::ContainerStatsResponse) -> f64 {
        let part = |stats: &Option<docker::ContainerCpuStats>| {
            let stats = stats.clone().unwrap();
            (stats.cpu_usage.unwrap().total_usage.unwrap() as f64, stats.system_cpu_usage.unwrap_or_default() as f64)
        };
        let ((now, system), (then, system_then)) = (part(&shown.cpu_stats), part(&shown.precpu_stats));
        (now - then) / (system - system_then) * 2.0 * 100.0
    }

    #[test]
    fn the_clients_sum_comes_out_right() {
        let shown =
            response(&setting(), &sample(1_500_000_000, 12_000_000_000), Some(&sample(1_000_000_000, 10_000_000_000)));
        assert!((cpu_percent(&shown) - 50.0).abs() < 1e-9);
        assert_eq!(shown.memory_stats.unwrap().limit, Some(1 << 30), "without a limit it is the host's memory");
    }

    #[test]
    fn a_container_at_rest_has_an_empty_sample() {
        let shown = response(&setting(), &Sample::default(), None);
        assert_eq!(shown.read.as_deref(), Some(NEVER));
        assert_eq!(shown.memory_stats.unwrap().usage, None);
    }

    #[test]
    fn interfaces_without_the_loopback() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 100 2 0 1 0 0 0 0 200 3 4 5 0 0 0 0\n";
        let all = interfaces(text);
        assert_eq!(all.len(), 1);
        let eth0 = &all["eth0"];
        assert_eq!(
            (eth0.rx_bytes, eth0.rx_dropped, eth0.tx_bytes, eth0.tx_dropped),
            (Some(100), Some(1), Some(200), Some(5))
        );
    }

    #[test]
    fn all_processors_time() {
        assert_eq!(system_ns("cpu  100 0 50 850 0 0 0 0 0 0\ncpu0 1 1 1\n"), 10_000_000_000);
    }
}
