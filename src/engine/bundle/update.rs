//! `update`: limits of a container that runs.

use super::command::Command;
use super::failure::{Attempt, Failure};
use super::state::{Place, Status};
use crate::engine::oci::spec::{Devices, Pids, Resources, limits};

/// `update`, by `--resources FILE` (`-` is standard input) or by single options.
pub(super) fn update(command: &Command) -> Result<(), Failure> {
    let place = Place::of(&command.root, command.id()?);
    let state = place.read()?;
    if place.status(&state) == Status::Stopped {
        return Err(Failure::is_not_running());
    }
    let resources = match command.value("resources") {
        Some(path) => read(path)?,
        None => by_options(command)?,
    };
    let limits = limits(&resources, Devices::Left)?;
    Ok(state.cgroups().update(&state.cgroup.path, &limits)?)
}

fn read(path: &str) -> Result<Resources, Failure> {
    let text = match path {
        "-" => std::io::read_to_string(std::io::stdin()),
        path => std::fs::read_to_string(path),
    };
    serde_json::from_str(&text.attempt(path)?).attempt(path)
}

fn by_options(command: &Command) -> Result<Resources, Failure> {
    let mut resources = Resources::default();
    resources.memory.limit = bytes(command, "memory")?;
    resources.memory.swap = bytes(command, "memory-swap")?;
    resources.memory.reservation = bytes(command, "memory-reservation")?;
    resources.cpu.shares = command.number("cpu-share")?;
    resources.cpu.quota = command.number("cpu-quota")?;
    resources.cpu.period = command.number("cpu-period")?;
    resources.cpu.realtime_period = command.number("cpu-rt-period")?;
    resources.cpu.realtime_runtime = command.number("cpu-rt-runtime")?;
    resources.cpu.cpus = command.value("cpuset-cpus").unwrap_or_default().to_owned();
    resources.cpu.mems = command.value("cpuset-mems").unwrap_or_default().to_owned();
    resources.block_io.weight = command.number("blkio-weight")?;
    resources.pids = command.number("pids-limit")?.map(|limit| Pids { limit });
    Ok(resources)
}

/// A number of bytes, also with a unit: `64m`.
fn bytes(command: &Command, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = command.value(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let lower = text.to_ascii_lowercase();
    let lower = lower.trim_end_matches('b').trim_end_matches('i');
    let (digits, shift) = match lower.char_indices().next_back() {
        Some((at, 'k')) => (lower.get(..at), 10),
        Some((at, 'm')) => (lower.get(..at), 20),
        Some((at, 'g')) => (lower.get(..at), 30),
        _ => (Some(lower), 0),
    };
    let number: Option<i64> = digits.and_then(|digits| digits.parse().ok());
    let scaled = number.and_then(|number| number.checked_mul(1 << shift));
    scaled.map(Some).ok_or_else(|| Failure::usage(format!("invalid value for {name}: {text}")))
}
