//! The columns that ps can show: its names for each, the title, and the text for a process.

use std::collections::HashMap;
use std::fs;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::processes::{Process, TICKS};

/// How wide ps makes a user's or group's name before it shortens it.
const NAME_WIDTH: usize = 8;
/// How wide ps makes what a process waits in.
const WAIT_WIDTH: usize = 6;

/// What turns a process into words.
pub(super) struct Facts {
    pub users: HashMap<u32, String>,
    pub groups: HashMap<u32, String>,
    /// Unix seconds.
    pub boot: i64,
    pub now: Timestamp,
    pub zone: TimeZone,
    pub memory_kb: u64,
}

/// One column.
pub(super) struct Column {
    /// ps's names for it, as `-o` takes them.
    pub names: &'static [&'static str],
    pub title: &'static str,
    /// The width that the text is shortened to; `None`: never.
    pub width: Option<usize>,
    pub text: fn(&Process, &Facts) -> String,
}

impl Column {
    /// Whether a forest's lines stand before it.
    pub(super) fn is_command(&self) -> bool {
        matches!(self.names.first(), Some(&("comm" | "ucmd" | "args" | "cmd")))
    }
}

const fn column(names: &'static [&'static str], title: &'static str, text: fn(&Process, &Facts) -> String) -> Column {
    Column { names, title, width: None, text }
}

const fn name(names: &'static [&'static str], title: &'static str, text: fn(&Process, &Facts) -> String) -> Column {
    Column { names, title, width: Some(NAME_WIDTH), text }
}

/// The column that ps calls `name`.
pub(super) fn find(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.names.contains(&name))
}

const COLUMNS: &[Column] = &[
    name(&["user", "uname"], "USER", |process, facts| facts.user(process.uid)),
    name(&["euser"], "EUSER", |process, facts| facts.user(process.uid)),
    name(&["ruser"], "RUSER", |process, facts| facts.user(process.real_uid)),
    name(&["group"], "GROUP", |process, facts| facts.group(process.gid)),
    name(&["egroup"], "EGROUP", |process, facts| facts.group(process.gid)),
    name(&["rgroup"], "RGROUP", |process, facts| facts.group(process.real_gid)),
    column(&["uid"], "UID", |process, _| process.uid.to_string()),
    column(&["euid"], "EUID", |process, _| process.uid.to_string()),
    column(&["ruid"], "RUID", |process, _| process.real_uid.to_string()),
    column(&["gid"], "GID", |process, _| process.gid.to_string()),
    column(&["egid"], "EGID", |process, _| process.gid.to_string()),
    column(&["rgid"], "RGID", |process, _| process.real_gid.to_string()),
    column(&["pid", "tgid"], "PID", |process, _| process.pid.to_string()),
    column(&["lwp"], "LWP", |process, _| process.thread.to_string()),
    column(&["tid"], "TID", |process, _| process.thread.to_string()),
    column(&["spid"], "SPID", |process, _| process.thread.to_string()),
    column(&["ppid"], "PPID", |process, _| process.ppid.to_string()),
    column(&["pgid", "pgrp"], "PGID", |process, _| process.pgid.to_string()),
    column(&["sid", "sess", "session"], "SID", |process, _| process.session.to_string()),
    column(&["tpgid"], "TPGID", |process, _| process.terminal_group.to_string()),
    column(&["%cpu", "pcpu"], "%CPU", |process, facts| tenths(facts.cpu_per_mille(process))),
    column(&["c", "util"], "C", |process, facts| (facts.cpu_per_mille(process) / 10).min(99).to_string()),
    column(&["%mem", "pmem"], "%MEM", |process, facts| {
        tenths((process.resident_kb * 1000 / facts.memory_kb.max(1)).min(999))
    }),
    column(&["vsz", "vsize"], "VSZ", |process, _| process.virtual_kb.to_string()),
    column(&["rss", "rssize", "rsz"], "RSS", |process, _| process.resident_kb.to_string()),
    column(&["sz"], "SZ", |process, _| (process.virtual_kb / 4).to_string()),
    column(&["trs"], "TRS", |process, _| process.text_kb.to_string()),
    column(&["drs"], "DRS", |process, _| process.virtual_kb.saturating_sub(process.text_kb).to_string()),
    column(&["tty", "tt", "tname"], "TT", |process, _| process.terminal()),
    column(&["stat"], "STAT", |process, _| process.stat_text()),
    column(&["s", "state"], "S", |process, _| process.state.to_string()),
    column(&["f", "flag", "flags"], "F", |process, _| (process.flags >> 6 & 7).to_string()),
    column(&["stime", "start_time"], "STIME", |process, facts| facts.start(process)),
    column(&["bsdstart"], "START", |process, facts| facts.start(process)),
    column(&["start"], "STARTED", |process, facts| {
        facts.started_as(process, if facts.seconds(process) < 86_400 { "%H:%M:%S" } else { "%b %d" })
    }),
    column(&["lstart"], "STARTED", |process, facts| facts.started_as(process, "%a %b %e %H:%M:%S %Y")),
    column(&["time", "cputime"], "TIME", |process, _| clock(process.cpu_ticks / TICKS)),
    column(&["bsdtime"], "TIME", |process, _| {
        let seconds = process.cpu_ticks / TICKS;
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }),
    column(&["cputimes", "times"], "TIME", |process, _| (process.cpu_ticks / TICKS).to_string()),
    column(&["etime"], "ELAPSED", |process, facts| elapsed(facts.seconds(process))),
    column(&["etimes"], "ELAPSED", |process, facts| facts.seconds(process).to_string()),
    column(&["ni", "nice"], "NI", |process, _| process.nice.to_string()),
    column(&["pri"], "PRI", |process, _| (39 - process.priority).to_string()),
    column(&["opri"], "PRI", |process, _| (60 + process.priority).to_string()),
    column(&["priority"], "PRI", |process, _| process.priority.to_string()),
    column(&["cls", "class", "policy"], "CLS", |process, _| process.class().to_owned()),
    column(&["rtprio"], "RTPRIO", |process, _| {
        if process.realtime_priority == 0 { "-".to_owned() } else { process.realtime_priority.to_string() }
    }),
    column(&["psr", "sgi_p"], "PSR", |process, _| process.processor.to_string()),
    column(&["nlwp", "thcount"], "NLWP", |process, _| process.threads.to_string()),
    column(&["min_flt"], "MINFL", |process, _| process.minor_faults.to_string()),
    column(&["minflt"], "MINFLT", |process, _| process.minor_faults.to_string()),
    column(&["maj_flt"], "MAJFL", |process, _| process.major_faults.to_string()),
    column(&["majflt"], "MAJFLT", |process, _| process.major_faults.to_string()),
    column(&["pending", "sig"], "PENDING", |process, _| process.signals.pending.clone()),
    column(&["blocked", "sigmask", "sig_block"], "BLOCKED", |process, _| process.signals.blocked.clone()),
    column(&["ignored", "sigignore", "sig_ignore"], "IGNORED", |process, _| process.signals.ignored.clone()),
    column(&["caught", "sigcatch", "sig_catch"], "CAUGHT", |process, _| process.signals.caught.clone()),
    column(&["addr"], "ADDR", |_, _| "-".to_owned()),
    column(&["label", "context"], "LABEL", |_, _| "-".to_owned()),
    column(&["cgroup"], "CGROUP", |process, _| cgroups(process.pid)),
    Column {
        names: &["wchan", "wname"],
        title: "WCHAN",
        width: Some(WAIT_WIDTH),
        text: |process, _| waits_in(process),
    },
    column(&["comm", "ucomm"], "COMMAND", |process, _| process.name.clone()),
    column(&["ucmd"], "CMD", |process, _| process.name.clone()),
    column(&["args", "command"], "COMMAND", |process, _| process.command_text()),
    column(&["cmd"], "CMD", |process, _| process.command_text()),
];

impl Facts {
    fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    fn group(&self, gid: u32) -> String {
        self.groups.get(&gid).cloned().unwrap_or_else(|| gid.to_string())
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
        let format = match self.seconds(process) {
            ..86_400 => "%H:%M",
            86_400..31_536_000 => "%b%d",
            _ => "%Y",
        };
        self.started_as(process, format)
    }

    fn started_as(&self, process: &Process, format: &str) -> String {
        let Ok(started) = Timestamp::from_second(self.started(process)) else { return "?".to_owned() };
        started.to_zoned(self.zone.clone()).strftime(format).to_string()
    }
}

/// `text` as ps fits it into `width`: a name that is too long ends in a plus sign.
pub(super) fn fitted(column: &Column, width: Option<usize>, text: String) -> String {
    let Some(width) = column.width.map(|own| width.unwrap_or(own)) else { return text };
    if text.chars().count() <= width {
        return text;
    }
    let is_name = column.width == Some(NAME_WIDTH);
    let kept: String = text.chars().take(if is_name { width.saturating_sub(1) } else { width }).collect();
    if is_name { format!("{kept}+") } else { kept }
}

fn waits_in(process: &Process) -> String {
    let place = fs::read_to_string(format!("/proc/{}/wchan", process.pid)).unwrap_or_default();
    if place.is_empty() || place == "0" { "-".to_owned() } else { place }
}

fn cgroups(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if text.is_empty() { "-".to_owned() } else { text.lines().collect::<Vec<_>>().join(",") }
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
    use super::*;

    #[test]
    fn every_name_is_one_columns() {
        let mut names: Vec<&str> = COLUMNS.iter().flat_map(|column| column.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn long_names_are_shortened() {
        let fit = |name: &str, width, text: &str| fitted(find(name).unwrap(), width, text.to_owned());
        assert_eq!(fit("user", None, "systemd-network"), "systemd+");
        assert_eq!(fit("user", Some(20), "systemd-network"), "systemd-network");
        assert_eq!(fit("wchan", None, "do_wait"), "do_wai");
        assert_eq!(fit("args", None, "anything at all"), "anything at all");
    }
}
