//! The order of ps's rows: by columns (`--sort=-%cpu,pid`), as a tree (`f`, `-H`), or by the columns within the tree.

use std::cmp::Ordering;

use super::processes::Process;
use super::ps_columns::{Column, Facts, find};

/// One column that rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    name: &'static str,
    is_falling: bool,
}

/// Children below their parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forest {
    /// With lines that lead to them. (dockerd takes ps's text apart at its spaces, so the lines are all that is left.)
    Drawn,
    /// With spaces, of which nothing is left.
    Indented,
}

/// Names that ps sorts by and shows under another one.
const OTHER_NAMES: &[(&str, &str)] = &[("start_time", "start"), ("vsize", "vsz"), ("size", "vsz"), ("resident", "rss")];

/// The letters of BSD's `O`.
const LETTERS: &[(char, &str)] = &[
    ('c', "comm"),
    ('C', "pcpu"),
    ('f', "f"),
    ('g', "pgrp"),
    ('G', "tpgid"),
    ('m', "min_flt"),
    ('M', "maj_flt"),
    ('o', "session"),
    ('p', "pid"),
    ('P', "ppid"),
    ('r', "rss"),
    ('R', "rss"),
    ('t', "tty"),
    ('T', "start"),
    ('U', "uid"),
    ('u', "user"),
    ('v', "vsz"),
    ('y', "priority"),
];

impl Order {
    /// Reads the value of `--sort` or `k`.
    ///
    /// # Errors
    /// ps's words where a column is unknown.
    pub(super) fn read(text: &str) -> Result<Vec<Self>, String> {
        let one = |item: &str| {
            let (is_falling, name) = match item.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, item.strip_prefix('+').unwrap_or(item)),
            };
            let other = OTHER_NAMES.iter().find(|(known, _)| *known == name).map_or(name, |(_, column)| column);
            let column = find(other).ok_or_else(|| "unknown sort specifier".to_owned())?;
            Ok(Self { name: canonical(column), is_falling })
        };
        text.split([',', ' ']).filter(|item| !item.is_empty()).map(one).collect()
    }

    /// Reads an order written as letters, such as `-Cp`; `None` where it is something else.
    pub(super) fn in_letters(text: &str) -> Option<Vec<Self>> {
        if text.split(',').all(|item| find(item).is_some()) {
            return None;
        }
        let (mut found, mut is_falling) = (Vec::new(), false);
        for letter in text.chars() {
            match letter {
                '-' => is_falling = true,
                '+' => is_falling = false,
                letter => {
                    let (_, name) = LETTERS.iter().find(|(known, _)| *known == letter)?;
                    found.push(Self { name: canonical(find(name)?), is_falling });
                    is_falling = false;
                }
            }
        }
        Some(found)
    }

    fn compare(self, one: &Process, other: &Process, facts: &Facts) -> Ordering {
        let order = match self.name {
            "start" | "lstart" | "stime" | "bsdstart" => one.started_ticks.cmp(&other.started_ticks),
            "etime" | "etimes" => other.started_ticks.cmp(&one.started_ticks),
            "time" | "bsdtime" => one.cpu_ticks.cmp(&other.cpu_ticks),
            name => find(name).map_or(Ordering::Equal, |column| {
                let (one, other) = ((column.text)(one, facts), (column.text)(other, facts));
                match (one.parse::<f64>(), other.parse::<f64>()) {
                    (Ok(one), Ok(other)) => one.total_cmp(&other),
                    _ => one.cmp(&other),
                }
            }),
        };
        if self.is_falling { order.reverse() } else { order }
    }
}

/// The first of a column's names.
fn canonical(column: &'static Column) -> &'static str {
    column.names.first().copied().unwrap_or_default()
}

/// A row, and what stands before its command.
pub(super) struct Row {
    pub process: Process,
    pub lines: String,
}

/// Puts `processes`, which are sorted by ID, into order.
pub(super) fn arranged(
    mut processes: Vec<Process>,
    order: &[Order],
    forest: Option<Forest>,
    facts: &Facts,
) -> Vec<Row> {
    processes.sort_by(|one, other| {
        order.iter().map(|by| by.compare(one, other, facts)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    let Some(forest) = forest else {
        return processes.into_iter().map(|process| Row { process, lines: String::new() }).collect();
    };
    let is_there = |pid: u32| processes.iter().any(|process| process.pid == pid);
    let (roots, mut others): (Vec<_>, Vec<_>) =
        processes.iter().cloned().partition(|process| process.ppid == process.pid || !is_there(process.ppid));
    let mut rows = Vec::new();
    grow(roots, &mut others, "", &mut rows);
    rows.extend(others.into_iter().map(|process| Row { process, lines: String::new() })); // in no tree: /proc moved on
    if forest == Forest::Indented {
        rows.iter_mut().for_each(|row| row.lines.clear());
    }
    rows
}

/// Adds `siblings` and all below them; `before` is what the lines of their ancestors' siblings leave.
fn grow(siblings: Vec<Process>, others: &mut Vec<Process>, before: &str, rows: &mut Vec<Row>) {
    let last = siblings.last().map(|process| (process.pid, process.thread));
    for process in siblings {
        let is_last = Some((process.pid, process.thread)) == last;
        // the threads of a process are rows of its own ID; what it started hangs below the first of them
        let children = others.extract_if(.., |other| other.ppid == process.pid).collect();
        rows.push(Row { lines: format!("{before}\\_ "), process });
        let below = if is_last { before.to_owned() } else { format!("{before}| ") };
        grow(children, others, &below, rows);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;

    fn process(pid: u32, ppid: u32, name: &str, resident_kb: u64) -> Process {
        Process { pid, thread: pid, ppid, name: name.to_owned(), resident_kb, ..Process::default() }
    }

    fn rows(order: &str, forest: Option<Forest>) -> Vec<String> {
        let processes = vec![
            process(10, 9, "sh", 100),
            process(11, 10, "web", 900),
            process(12, 11, "worker", 80),
            process(13, 10, "cron", 1000),
            process(14, 9, "exec", 20),
        ];
        let (users, groups) = (HashMap::new(), HashMap::new());
        let now = Timestamp::UNIX_EPOCH;
        let facts = Facts { users, groups, boot: 0, now, zone: TimeZone::UTC, memory_kb: 1 };
        let order = Order::read(order).unwrap();
        arranged(processes, &order, forest, &facts)
            .into_iter()
            .map(|row| format!("{}{}", row.lines, row.process.name))
            .collect()
    }

    #[test]
    fn rows_are_sorted() {
        assert_eq!(rows("", None), ["sh", "web", "worker", "cron", "exec"]);
        assert_eq!(rows("-rss", None), ["cron", "web", "sh", "worker", "exec"]);
        assert_eq!(rows("ppid,-pid", None), ["exec", "sh", "cron", "web", "worker"]);
        assert_eq!(rows("+comm", None), ["cron", "exec", "sh", "web", "worker"]);
    }

    #[test]
    fn a_forest_is_drawn() {
        let drawn = ["\\_ sh", "| \\_ web", "| | \\_ worker", "| \\_ cron", "\\_ exec"];
        assert_eq!(rows("", Some(Forest::Drawn)), drawn);
        assert_eq!(rows("", Some(Forest::Indented)), ["sh", "web", "worker", "cron", "exec"]);
        assert_eq!(rows("-pid", Some(Forest::Indented)), ["exec", "sh", "cron", "web", "worker"]);
    }

    #[test]
    fn letters_are_an_order() {
        assert_eq!(
            Order::in_letters("-Cp"),
            Some([Order::read("-pcpu").unwrap(), Order::read("pid").unwrap()].concat())
        );
        assert_eq!(Order::in_letters("ni"), None);
        assert_eq!(Order::in_letters("?"), None);
    }
}
