//! `state`, `list`, `ps`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::command::Command;
use super::failure::{Attempt, Failure};
use super::state::{Place, State};

/// `state`.
pub(super) fn state(command: &Command) -> Result<(), Failure> {
    let place = Place::of(&command.root, command.id()?);
    let state = place.read()?;
    let told = state.told(place.status(&state).word());
    say(&serde_json::to_string_pretty(&told).attempt("state")?);
    Ok(())
}

/// `list`.
pub(super) fn list(command: &Command) -> Result<(), Failure> {
    let containers = all(&command.root)?;
    if command.has("quiet") {
        containers.iter().for_each(|(state, _)| say(&state.id));
        return Ok(());
    }
    match command.value("format") {
        None | Some("table") => {
            let rows = containers.iter().map(|(state, told)| {
                let text =
                    |name: &str| told.get(name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
                let mut row = vec![state.id.clone()];
                row.extend(["pid", "status", "bundle", "created"].map(|name| text(name).unwrap_or_default()));
                row.push("root".to_owned());
                row
            });
            let titles = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec();
            table(std::iter::once(titles).chain(rows).collect());
        }
        Some("json") => {
            let told: Vec<&Value> = containers.iter().map(|(_, told)| told).collect();
            say(&json!(told).to_string());
        }
        Some(other) => return Err(Failure::usage(format!("invalid format option: {other}"))),
    }
    Ok(())
}

fn all(root: &Path) -> Result<Vec<(State, Value)>, Failure> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.attempt(root.display())?,
    };
    let mut containers = Vec::new();
    for entry in entries.flatten() {
        let place = Place::of(root, &entry.file_name().to_string_lossy());
        let Ok(state) = place.read() else { continue }; // one that is being made or deleted
        let told = state.told(place.status(&state).word());
        containers.push((state, told));
    }
    containers.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    Ok(containers)
}

/// `ps`: the processes' numbers as JSON, or a table of them. What `ps` itself would show is for those who have it.
pub(super) fn ps(command: &Command) -> Result<(), Failure> {
    let place = Place::of(&command.root, command.id()?);
    let state = place.read()?;
    let pids = state.cgroups().pids(&state.cgroup.path)?;
    match command.value("format") {
        Some("json") => say(&json!(pids).to_string()),
        None | Some("table") => {
            let titles = ["UID", "PID", "PPID", "CMD"].map(str::to_owned).to_vec();
            table(std::iter::once(titles).chain(pids.into_iter().filter_map(row_of)).collect());
        }
        Some(other) => return Err(Failure::usage(format!("invalid format option: {other}"))),
    }
    Ok(())
}

fn row_of(pid: u32) -> Option<Vec<String>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> =
        words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let mut line = words.join(" ").trim_end().to_owned();
    if line.is_empty() {
        line = format!("[{}]", field("Name:")?);
    }
    Some(vec![field("Uid:")?, pid.to_string(), field("PPid:")?, line])
}

/// Columns as wide as their widest cell.
fn table(rows: Vec<Vec<String>>) {
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0)).map(widest).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        say(cells.join("   ").trim_end());
    }
}

/// A line on standard output; whoever closed it does not want it.
pub(super) fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
