//! `stats`: what containers use of processors, memory, network and disks; once, or again and again.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use futures_util::future::join_all;

use super::table::{Format, Table, column};
use super::words::{memory, short_id, size};
use crate::client::Docker;
use crate::client::models::{ContainerCpuStats, ContainerStatsResponse};
use crate::client::query_parameters::{ListContainersOptions, StatsOptions};

/// How often the live view is drawn anew; a sample takes a second of its own.
const PAUSE: Duration = Duration::from_millis(500);

/// Whose use, and how often.
#[derive(Debug, Args)]
pub struct Stats {
    /// Stopped ones too
    #[arg(short, long)]
    all: bool,
    /// Only once
    #[arg(long)]
    no_stream: bool,
    /// Print 'json', or a template such as '{{.Name}} {{.CPUPerc}}'
    #[arg(long)]
    format: Option<String>,
    /// The containers; all that run where none is named
    containers: Vec<String>,
}

pub async fn stats(docker: &Docker, stats: &Stats) -> anyhow::Result<ExitCode> {
    let is_live = !stats.no_stream && stats.format.is_none() && std::io::stdout().is_terminal();
    loop {
        let text = sample_all(docker, stats).await?;
        let mut out = std::io::stdout().lock();
        // Home, the table, and nothing of the last one below it.
        let written =
            if is_live { write!(out, "\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")) } else { write!(out, "{text}") };
        if written.and_then(|()| out.flush()).is_err() || stats.no_stream {
            return Ok(ExitCode::SUCCESS);
        }
        drop(out);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn sample_all(docker: &Docker, stats: &Stats) -> anyhow::Result<String> {
    let names = match stats.containers.is_empty() {
        false => stats.containers.clone(),
        true => {
            let options = ListContainersOptions { all: stats.all, ..ListContainersOptions::default() };
            docker.list_containers(Some(options)).await?.into_iter().filter_map(|found| found.id).collect()
        }
    };
    // Without one-shot: the processor's share needs two readings, which the engine takes.
    let options = StatsOptions { stream: false, one_shot: false };
    let samples = names.iter().map(|name| async { Box::pin(docker.stats(name, Some(options.clone()))).next().await });
    let mut table = Table::new(&[
        column("ID", "CONTAINER ID"),
        column("Name", "NAME"),
        column("CPUPerc", "CPU %"),
        column("MemUsage", "MEM USAGE / LIMIT"),
        column("MemPerc", "MEM %"),
        column("NetIO", "NET I/O"),
        column("BlockIO", "BLOCK I/O"),
        column("PIDs", "PIDS"),
    ]);
    for sample in join_all(samples).await.into_iter().flatten() {
        table.row(row(&sample?));
    }
    let format = Format { quiet: false, format: stats.format.clone() };
    table.render(&format, "ID").map_err(anyhow::Error::msg)
}

#[allow(clippy::cast_precision_loss)] // percentages with two decimals
fn row(sample: &ContainerStatsResponse) -> Vec<String> {
    let name = sample.name.as_deref().unwrap_or_default().trim_start_matches('/');
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (used, limit) = memory_use(sample);
    let share = if limit > 0 { used as f64 * 100.0 / limit as f64 } else { 0.0 };
    let links = sample.networks.iter().flatten().map(|(_, link)| link);
    let (received, sent) = links.fold((0, 0), |(received, sent), link| {
        (received + link.rx_bytes.unwrap_or_default(), sent + link.tx_bytes.unwrap_or_default())
    });
    let blocks = |wanted: &str| -> u64 {
        let entries = sample.blkio_stats.iter().filter_map(|stats| stats.io_service_bytes_recursive.as_ref()).flatten();
        entries
            .filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(wanted)))
            .filter_map(|e| e.value)
            .sum()
    };
    let pids = sample.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default();
    vec![
        short_id(sample.id.as_deref().unwrap_or_default()).to_owned(),
        name.to_owned(),
        format!("{:.2}%", processor_share(sample.precpu_stats.as_ref(), sample.cpu_stats.as_ref())),
        format!("{} / {}", memory(signed(used)), memory(signed(limit))),
        format!("{share:.2}%"),
        format!("{} / {}", size(signed(received), 3), size(signed(sent), 3)),
        format!("{} / {}", size(signed(blocks("read")), 3), size(signed(blocks("write")), 3)),
        pids.to_string(),
    ]
}

/// Memory in use without the page cache that could be dropped, and the limit.
fn memory_use(sample: &ContainerStatsResponse) -> (u64, u64) {
    let Some(stats) = &sample.memory_stats else { return (0, 0) };
    let droppable =
        stats.stats.as_ref().and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")));
    let used = stats.usage.unwrap_or_default().saturating_sub(droppable.copied().unwrap_or_default());
    (used, stats.limit.unwrap_or_default())
}

/// The share of one processor between two readings, in percent; several processors can make more than 100.
#[allow(clippy::cast_precision_loss)] // percentages with two decimals
fn processor_share(before: Option<&ContainerCpuStats>, now: Option<&ContainerCpuStats>) -> f64 {
    let total = |stats: Option<&ContainerCpuStats>| {
        stats.and_then(|stats| stats.cpu_usage.as_ref()).and_then(|usage| usage.total_usage).unwrap_or_default()
    };
    let host = |stats: Option<&ContainerCpuStats>| stats.and_then(|stats| stats.system_cpu_usage).unwrap_or_default();
    let used = total(now).saturating_sub(total(before)) as f64;
    let passed = host(now).saturating_sub(host(before)) as f64;
    let processors = f64::from(now.and_then(|stats| stats.online_cpus).unwrap_or(1));
    if passed > 0.0 { used / passed * processors * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::models::ContainerCpuUsage;

    #[test]
    fn the_share_of_a_processor_is_between_two_readings() {
        let reading = |used, host| ContainerCpuStats {
            cpu_usage: Some(ContainerCpuUsage { total_usage: Some(used), ..ContainerCpuUsage::default() }),
            system_cpu_usage: Some(host),
            online_cpus: Some(2),
            ..ContainerCpuStats::default()
        };
        let share = processor_share(Some(&reading(100, 1000)), Some(&reading(600, 2000)));
        assert!((share - 100.0).abs() < 1e-9, "{share}");
        assert!(processor_share(None, None).abs() < 1e-9);
    }
}
