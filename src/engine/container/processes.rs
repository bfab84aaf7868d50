//! What `/proc` tells of a process, as far as `docker top` shows it.

use std::collections::HashMap;
use std::fs;

/// Clock ticks a second in `/proc/PID/stat`: USER_HZ, fixed for user space (`include/asm-generic/param.h`).
pub const TICKS: u64 = 100;
/// Kilobytes of a page.
const PAGE_KB: u64 = 4;

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// The thread; the process itself where it is not about one.
    pub thread: u32,
    pub ppid: u32,
    pub pgid: i64,
    pub session: i64,
    /// The terminal's foreground group; -1 without one.
    pub terminal_group: i64,
    pub uid: u32,
    pub real_uid: u32,
    pub gid: u32,
    pub real_gid: u32,
    pub name: String,
    /// Arguments; empty for kernel threads and zombies.
    pub command: Vec<String>,
    pub state: char,
    /// Device number of its terminal; 0 is none.
    pub tty: u64,
    /// Ticks of CPU used.
    pub cpu_ticks: u64,
    /// Ticks after boot.
    pub started_ticks: u64,
    pub nice: i64,
    pub threads: u64,
    pub virtual_kb: u64,
    pub resident_kb: u64,
    pub text_kb: u64,
    pub is_foreground: bool,
    /// The kernel's `PF_*`.
    pub flags: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    /// As `/proc` tells it: 20 for a nice value of 0.
    pub priority: i64,
    pub realtime_priority: u64,
    pub processor: u64,
    /// `SCHED_*`.
    pub policy: u64,
    pub signals: Signals,
}

/// Signal masks, in the kernel's 16 hex digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signals {
    pub pending: String,
    pub blocked: String,
    pub ignored: String,
    pub caught: String,
}

impl Process {
    /// Reads process `pid`; `None` where it is gone.
    pub fn read(pid: u32) -> Option<Self> {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self::parse(&text(read("stat")?), &text(read("status")?), &read("cmdline").unwrap_or_default())
    }

    /// The threads of process `pid`.
    pub fn threads_of(pid: u32) -> Vec<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().map_while(Result::ok);
        let mut ids: Vec<u32> = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
        ids.sort_unstable();
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let read = |id: u32| {
            let text = |name: &str| fs::read_to_string(format!("/proc/{pid}/task/{id}/{name}")).ok();
            let thread = Self::parse(&text("stat")?, &text("status")?, &cmdline)?;
            Some(Self { pid, ..thread })
        };
        ids.into_iter().filter_map(read).collect()
    }

    /// From the texts of `stat`, `status` and `cmdline`.
    pub fn parse(stat: &str, status: &str, cmdline: &[u8]) -> Option<Self> {
        // The name, in brackets, may hold anything, brackets too.
        let (head, tail) = stat.rsplit_once(") ")?;
        let (pid, name) = head.split_once(" (")?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<i64>().ok()).unwrap_or_default();
        let count = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let id = |name: &str, at: usize| field(name)?.split_whitespace().nth(at)?.parse::<u32>().ok();
        let mask = |name: &str| field(name).unwrap_or_default().trim().to_owned();
        let command =
            cmdline.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>();
        let length = command.iter().rposition(|word| !word.is_empty()).map_or(0, |last| last + 1);
        Some(Self {
            pid: pid.parse().ok()?,
            thread: pid.parse().ok()?,
            ppid: u32::try_from(number(1)).unwrap_or_default(),
            pgid: number(2),
            session: number(3),
            terminal_group: number(5),
            uid: id("Uid", 1)?,
            real_uid: id("Uid", 0)?,
            gid: id("Gid", 1).unwrap_or_default(),
            real_gid: id("Gid", 0).unwrap_or_default(),
            name: name.to_owned(),
            command: command.into_iter().take(length).collect(),
            state: fields.first()?.chars().next()?,
            tty: count(4),
            cpu_ticks: count(11) + count(12),
            started_ticks: count(19),
            nice: number(16),
            threads: count(17),
            virtual_kb: count(20) / 1024,
            resident_kb: count(21) * PAGE_KB,
            text_kb: count(24).saturating_sub(count(23)) / 1024,
            is_foreground: number(5) == number(2),
            flags: count(6),
            minor_faults: count(7),
            major_faults: count(9),
            priority: number(15),
            realtime_priority: count(37),
            processor: count(36),
            policy: count(38),
            signals: Signals {
                pending: mask("SigPnd"),
                blocked: mask("SigBlk"),
                ignored: mask("SigIgn"),
                caught: mask("SigCgt"),
            },
        })
    }

    /// Its command line, or its name in square brackets where it has none.
    pub fn command_text(&self) -> String {
        if self.command.is_empty() { format!("[{}]", self.name) } else { self.command.join(" ") }
    }

    /// Its terminal as ps names it.
    pub fn terminal(&self) -> String {
        let (major, minor) = ((self.tty >> 8) & 0xfff, (self.tty & 0xff) | ((self.tty >> 12) & 0xfff00));
        match major {
            _ if self.tty == 0 => "?".to_owned(),
            136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
            4 if minor < 64 => format!("tty{minor}"),
            4 => format!("ttyS{}", minor - 64),
            _ => "?".to_owned(),
        }
    }

    /// Its scheduling class as ps names it.
    pub fn class(&self) -> &'static str {
        match self.policy {
            0 => "TS",
            1 => "FF",
            2 => "RR",
            3 => "B",
            5 => "IDL",
            6 => "DLN",
            _ => "?",
        }
    }

    /// The letters of ps's STAT column.
    pub fn stat_text(&self) -> String {
        let mut text = String::from(self.state);
        match self.nice {
            ..0 => text.push('<'),
            1.. => text.push('N'),
            0 => {}
        }
        if self.session == i64::from(self.pid) {
            text.push('s');
        }
        if self.threads > 1 {
            text.push('l');
        }
        if self.tty != 0 && self.is_foreground {
            text.push('+');
        }
        text
    }
}

/// Names by number, from the text of a passwd or group file.
pub fn user_names(passwd: &str) -> HashMap<u32, String> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, uid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((uid.parse().ok()?, name.to_owned()))
    };
    // The first of several names for one number is the one that counts.
    passwd.lines().rev().filter_map(entry).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn shell() -> Process {
        let stat =
            "4242 (my (odd) sh) S 4200 4242 4242 34816 4242 4194560 0 0 0 0 150 50 0 0 20 0 1 0 1000 8388608 512 0";
        Process::parse(
            stat,
            "Name:\tsh\nUid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\n",
            b"sh\0-c\0sleep 5\0",
        )
        .unwrap()
    }

    #[test]
    fn a_stat_line_with_brackets_in_its_name_is_read() {
        let shell = shell();
        assert_eq!((shell.pid, shell.ppid, shell.uid, shell.name.as_str()), (4242, 4200, 1000, "my (odd) sh"));
        assert_eq!((shell.cpu_ticks, shell.started_ticks, shell.resident_kb), (200, 1000, 2048));
        assert_eq!(shell.command_text(), "sh -c sleep 5");
        assert_eq!(shell.terminal(), "pts/0");
        assert_eq!(shell.stat_text(), "Ss+");
    }

    #[test]
    fn names_come_from_passwd() {
        let names = user_names("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&1000).map(String::as_str), Some("app"));
    }

    #[test]
    fn this_process_is_there() {
        assert_eq!(Process::read(std::process::id()).map(|me| me.pid), Some(std::process::id()));
    }
}
