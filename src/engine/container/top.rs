//! `docker top`: the container's processes in the columns that ps would print, without ps.

use std::collections::HashMap;
use std::fs;

use bollard_stubs::models as docker;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::processes::{Process, TICKS, user_names};
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;

/// What turns a process into words.
struct Facts {
    users: HashMap<u32, String>,
    boot: i64,
    now: Timestamp,
    zone: TimeZone,
    memory_kb: u64,
}

/// One column: ps's names for it, its title, and its text.
struct Column {
    names: &'static [&'static str],
    title: &'static str,
    text: fn(&Process, &Facts) -> String,
}

const COLUMNS: &[Column] = &[
    Column { names: &["user", "euser", "uname"], title: "USER", text: |process, facts| facts.user(process.uid) },
    Column { names: &["uid", "euid"], title: "UID", text: |process, _| process.uid.to_string() },
    Column { names: &["pid", "tgid"], title: "PID", text: |process, _| process.pid.to_string() },
    Column { names: &["ppid"], title: "PPID", text: |process, _| process.ppid.to_string() },
    Column { names: &["pgid", "pgrp"], title: "PGID", text: |process, _| process.pgid.to_string() },
    Column { names: &["sid", "sess", "session"], title: "SID", text: |process, _| process.session.to_string() },
    Column { names: &["%cpu", "pcpu"], title: "%CPU", text: |process, facts| tenths(facts.cpu_per_mille(process)) },
    Column {
        names: &["%mem", "pmem"],
        title: "%MEM",
        text: |process, facts| tenths(process.resident_kb * 1000 / facts.memory_kb.max(1)),
    },
    Column { names: &["vsz", "vsize"], title: "VSZ", text: |process, _| process.virtual_kb.to_string() },
    Column { names: &["rss", "rssize", "rsz"], title: "RSS", text: |process, _| process.resident_kb.to_string() },
    Column { names: &["tty", "tt", "tname"], title: "TT", text: |process, _| process.terminal() },
    Column { names: &["stat"], title: "STAT", text: |process, _| process.stat_text() },
    Column { names: &["s", "state"], title: "S", text: |process, _| process.state.to_string() },
    Column {
        names: &["start", "start_time", "stime", "bsdstart"],
        title: "STIME",
        text: |process, facts| facts.start(process),
    },
    Column { names: &["time", "cputime"], title: "TIME", text: |process, _| clock(process.cpu_ticks / TICKS) },
    Column { names: &["etime"], title: "ELAPSED", text: |process, facts| elapsed(facts.seconds(process)) },
    Column { names: &["etimes"], title: "ELAPSED", text: |process, facts| facts.seconds(process).to_string() },
    Column { names: &["ni", "nice"], title: "NI", text: |process, _| process.nice.to_string() },
    Column { names: &["nlwp", "thcount"], title: "NLWP", text: |process, _| process.threads.to_string() },
    Column { names: &["comm", "ucmd", "ucomm"], title: "COMMAND", text: |process, _| process.name.clone() },
    Column { names: &["args", "cmd", "command"], title: "COMMAND", text: |process, _| process.command_text() },
    Column {
        names: &["c"],
        title: "C",
        text: |process, facts| (facts.cpu_per_mille(process) / 10).min(99).to_string(),
    },
];

/// The columns of `ps -ef`.
const FULL: &[(&str, &str)] = &[
    ("user", "UID"),
    ("pid", "PID"),
    ("ppid", "PPID"),
    ("c", "C"),
    ("stime", "STIME"),
    ("tty", "TTY"),
    ("time", "TIME"),
    ("args", "CMD"),
];
/// The columns of `ps aux`.
const BSD: &[(&str, &str)] = &[
    ("user", "USER"),
    ("pid", "PID"),
    ("%cpu", "%CPU"),
    ("%mem", "%MEM"),
    ("vsz", "VSZ"),
    ("rss", "RSS"),
    ("tty", "TTY"),
    ("stat", "STAT"),
    ("stime", "START"),
    ("time", "TIME"),
    ("args", "COMMAND"),
];
/// The columns of plain `ps`.
const SHORT: &[(&str, &str)] = &[("pid", "PID"), ("tty", "TTY"), ("time", "TIME"), ("comm", "CMD")];

impl Room {
    /// `GET /containers/{id}/top`.
    pub async fn top(&self, id: &str, ps_args: &str) -> Result<docker::ContainerTopResponse, EngineError> {
        let container = self.index.find(id)?;
        let record = container.record();
        let columns = columns(ps_args)?;
        if !matches!(record.state, State::Paused(_)) {
            record.state.may_enter(&container.id, "top")?;
        }
        let (cgroups, path) = (self.cgroups.clone(), self.cgroup_of(&record));
        let memory_kb = self.rooms.host.memory / 1024;
        Self::blocking(move || {
            let mut pids =
                cgroups.pids(&path).map_err(|error| EngineError::system(error.to_string()).because(error))?;
            pids.sort_unstable();
            let facts = Facts {
                users: user_names(&fs::read_to_string("/etc/passwd").unwrap_or_default()),
                boot: boot_time(&fs::read_to_string("/proc/stat").unwrap_or_default()),
                now: Timestamp::now(),
                zone: TimeZone::system(),
                memory_kb,
            };
            let processes: Vec<Process> = pids.into_iter().filter_map(Process::read).collect();
            Ok(table(&columns, &processes, &facts))
        })
        .await
    }
}

fn table(columns: &[(&'static Column, String)], processes: &[Process], facts: &Facts) -> docker::ContainerTopResponse {
    let row = |process: &Process| columns.iter().map(|(column, _)| (column.text)(process, facts)).collect();
    docker::ContainerTopResponse {
        titles: Some(columns.iter().map(|(_, title)| title.clone()).collect()),
        processes: Some(processes.iter().map(row).collect()),
    }
}

/// Reads ps's arguments as far as they choose columns; which processes are shown is not theirs to say.
fn columns(ps_args: &str) -> Result<Vec<(&'static Column, String)>, EngineError> {
    let words: Vec<&str> = ps_args.split_whitespace().collect();
    let mut chosen: Vec<(String, Option<String>)> = Vec::new();
    let mut layout = if words.is_empty() { FULL } else { SHORT };
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let letters = word.trim_start_matches('-');
        if let Some(list) = word.strip_prefix("--format=") {
            chosen.extend(formats(list));
        } else if *word == "--format" {
            chosen.extend(rest.next().map(|list| formats(list)).unwrap_or_default());
        } else if word.starts_with("--") {
        } else if let Some(at) = letters.find(['o', 'O']) {
            let list = letters.get(at + 1..).filter(|list| !list.is_empty());
            let list = list
                .or_else(|| rest.next().copied())
                .ok_or_else(|| EngineError::invalid("ps: error: format specification must follow -o"))?;
            chosen.extend(formats(list));
        } else if !word.starts_with('-') && letters.contains('u') {
            layout = BSD;
        } else if letters.contains('f') || letters.contains('F') {
            layout = FULL;
        }
    }
    if chosen.is_empty() {
        chosen = layout.iter().map(|(name, title)| ((*name).to_owned(), Some((*title).to_owned()))).collect();
    }
    let find = |(name, title): (String, Option<String>)| {
        let column = COLUMNS.iter().find(|column| column.names.contains(&name.to_ascii_lowercase().as_str()));
        let column = column.ok_or_else(|| {
            EngineError::invalid(format!("ps: error: unknown user-defined format specifier \"{name}\""))
        })?;
        Ok((column, title.unwrap_or_else(|| column.title.to_owned())))
    };
    chosen.into_iter().map(find).collect()
}

/// `pid,comm=NAME`.
fn formats(list: &str) -> Vec<(String, Option<String>)> {
    list.split(',')
        .filter(|one| !one.is_empty())
        .map(|one| match one.split_once('=') {
            Some((name, title)) => (name.to_owned(), Some(title.to_owned())),
            None => (one.to_owned(), None),
        })
        .collect()
}

impl Facts {
    fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    /// When it was started, in Unix seconds.
    fn started(&self, process: &Process) -> i64 {
        self.boot.saturating_add(i64::try_from(process.started_ticks / TICKS).unwrap_or(i64::MAX))
    }

    /// How long it has run.
    fn seconds(&self, process: &Process) -> u64 {
        u64::try_from(self.now.as_second().saturating_sub(self.started(process))).unwrap_or(0)
    }

    fn cpu_per_mille(&self, process: &Process) -> u64 {
        process.cpu_ticks * 1000 / (self.seconds(process) * TICKS).max(1)
    }

    /// Today the time, else the day, after a year the year: as ps.
    fn start(&self, process: &Process) -> String {
        let Ok(started) = Timestamp::from_second(self.started(process)) else { return "?".to_owned() };
        let format = match self.seconds(process) {
            ..86_400 => "%H:%M",
            86_400..31_536_000 => "%b%d",
            _ => "%Y",
        };
        started.to_zoned(self.zone.clone()).strftime(format).to_string()
    }
}

fn boot_time(stat: &str) -> i64 {
    stat.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn tenths(per_mille: u64) -> String {
    format!("{}.{}", per_mille / 10, per_mille % 10)
}

fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let time = format!("{:02}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60);
    if days > 0 { format!("{days}-{time}") } else { time }
}

fn elapsed(seconds: u64) -> String {
    if seconds < 3600 { format!("{:02}:{:02}", seconds / 60, seconds % 60) } else { clock(seconds) }
}

#[cfg(test)]
mod tests {
    use super::super::processes::tests::shell;
    use super::*;

    fn check(ps_args: &str, titles: &str, row: &str) {
        let facts = Facts {
            users: HashMap::from([(1000, "app".to_owned())]),
            boot: 1_000_000,
            now: Timestamp::from_second(1_000_110).unwrap(),
            zone: TimeZone::UTC,
            memory_kb: 2048 * 10,
        };
        let table = table(&columns(ps_args).unwrap(), &[shell()], &facts);
        assert_eq!(table.titles.unwrap().join(" "), titles);
        assert_eq!(table.processes.unwrap()[0].join("|"), row);
    }

    #[test]
    fn columns_are_those_of_ps() {
        check("", "UID PID PPID C STIME TTY TIME CMD", "app|4242|4200|2|13:46|pts/0|00:00:02|sh -c sleep 5");
        check("-ef", "UID PID PPID C STIME TTY TIME CMD", "app|4242|4200|2|13:46|pts/0|00:00:02|sh -c sleep 5");
        check(
            "aux",
            "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            "app|4242|2.0|10.0|8192|2048|pts/0|Ss+|13:46|00:00:02|sh -c sleep 5",
        );
        check("-o pid,comm=NAME", "PID NAME", "4242|my (odd) sh");
        check("-eo pid,etime", "PID ELAPSED", "4242|01:40");
    }

    #[test]
    fn an_unknown_column_is_told() {
        let error = columns("-o pid,colour").map(|_| ()).unwrap_err();
        assert!(error.message().contains("colour"), "{error}");
    }
}
