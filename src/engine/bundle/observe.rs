//! `events`: statistics, once or again and again.

use std::time::Duration;

use serde_json::{Value, json};

use super::command::Command;
use super::failure::Failure;
use super::show::say;
use super::state::{Place, Status};
use crate::engine::runtime::CgroupStats;

/// `events`: with `--stats` once, else each interval until the container ends; kills by lack of memory as they happen.
pub(super) fn events(command: &Command) -> Result<(), Failure> {
    let place = Place::of(&command.root, command.id()?);
    let state = place.read()?;
    if place.status(&state) == Status::Stopped {
        return Err(Failure::new(format!("container with id {} is not running", state.id)));
    }
    let interval = interval(command.value("interval").unwrap_or("5s"))?;
    let cgroups = state.cgroups();
    let mut killed = cgroups.oom_kills(&state.cgroup.path).unwrap_or(0);
    loop {
        let stats = cgroups.stats(&state.cgroup.path)?;
        say(&json!({"type": "stats", "id": state.id, "data": told(&stats)}).to_string());
        if command.has("stats") {
            return Ok(());
        }
        std::thread::sleep(interval);
        let now = cgroups.oom_kills(&state.cgroup.path).unwrap_or(killed);
        if now > killed {
            killed = now;
            say(&json!({"type": "oom", "id": state.id}).to_string());
        }
        if !state.is_alive() {
            return Ok(());
        }
    }
}

/// Go's way to write a time: `5s`, `500ms`, `1m`.
fn interval(text: &str) -> Result<Duration, Failure> {
    let wrong = || Failure::usage(format!("invalid interval: {text}"));
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let interval = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        _ => return Err(wrong()),
    };
    if interval.is_zero() { Err(Failure::usage("duration interval must be greater than 0")) } else { Ok(interval) }
}

fn told(stats: &CgroupStats) -> Value {
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    let blkio = |entries: &[crate::engine::runtime::cgroup::BlkioEntry]| -> Value {
        entries
            .iter()
            .map(|one| json!({"major": one.major, "minor": one.minor, "op": one.op, "value": one.value}))
            .collect()
    };
    json!({
        "cpu": {
            "usage": {
                "total": cpu.usage_ns, "percpu": cpu.per_cpu_ns, "kernel": cpu.system_ns, "user": cpu.user_ns,
            },
            "throttling": {
                "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled_ns,
            },
        },
        "memory": {
            "usage": {
                "limit": memory.limit.unwrap_or(u64::MAX), "usage": memory.usage, "max": memory.max_usage,
                "failcnt": memory.failcnt.unwrap_or(0),
            },
            "raw": memory.stat,
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit.unwrap_or(0)},
        "blkio": {
            "ioServiceBytesRecursive": blkio(&stats.blkio.service_bytes),
            "ioServicedRecursive": blkio(&stats.blkio.serviced),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_as_go_writes_them() {
        assert_eq!(interval("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(interval("2m").unwrap(), Duration::from_secs(120));
        assert!(interval("5").is_err() && interval("0s").is_err() && interval("x").is_err());
    }
}
