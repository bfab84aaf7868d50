//! `docker top`: the container's processes in the columns that ps would print, without ps.

use std::fs;

use bollard_stubs::models as docker;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::processes::{Process, user_names};
use super::ps_args::{self, Only, Wish};
use super::ps_columns::{Facts, fitted};
use super::ps_order::{Row, arranged};
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;

impl Room {
    /// `GET /containers/{id}/top`.
    pub async fn top(&self, id: &str, ps_args: &str) -> Result<docker::ContainerTopResponse, EngineError> {
        let container = self.index.find(id)?;
        let record = container.record();
        if !matches!(record.state, State::Paused(_)) {
            record.state.may_enter(&container.id, "top")?;
        }
        let wish = ps_args::read(ps_args)?;
        let (cgroups, path) = (self.cgroups.clone(), self.cgroup_of(&record));
        let memory_kb = self.rooms.host.memory / 1024;
        Self::blocking(move || {
            let mut pids =
                cgroups.pids(&path).map_err(|error| EngineError::system(error.to_string()).because(error))?;
            pids.sort_unstable();
            let facts = Facts {
                users: user_names(&fs::read_to_string("/etc/passwd").unwrap_or_default()),
                groups: user_names(&fs::read_to_string("/etc/group").unwrap_or_default()),
                boot: boot_time(&fs::read_to_string("/proc/stat").unwrap_or_default()),
                now: Timestamp::now(),
                zone: TimeZone::system(),
                memory_kb,
            };
            let read = |pid: u32| {
                if wish.threads { Process::threads_of(pid) } else { Process::read(pid).into_iter().collect() }
            };
            let processes: Vec<Process> = pids.into_iter().flat_map(read).collect();
            Ok(table(&wish, processes, &facts))
        })
        .await
    }
}

fn table(wish: &Wish, mut processes: Vec<Process>, facts: &Facts) -> docker::ContainerTopResponse {
    processes.retain(|process| is_chosen(&wish.only, process, facts));
    let row = |row: &Row| {
        let cells = wish.columns.iter().map(|shown| {
            let text = (shown.column.text)(&row.process, facts);
            let text = if shown.column.is_command() { format!("{}{text}", row.lines) } else { text };
            fitted(shown.column, shown.width, text)
        });
        cells.collect()
    };
    let rows = arranged(processes, &wish.order, wish.forest, facts);
    docker::ContainerTopResponse {
        titles: Some(wish.columns.iter().map(|shown| shown.title.clone()).collect()),
        processes: Some(rows.iter().map(row).collect()),
    }
}

/// ps shows what any of the choices names.
fn is_chosen(only: &Only, process: &Process, facts: &Facts) -> bool {
    if *only == Only::default() {
        return true;
    }
    let owner = facts.users.get(&process.uid);
    let is_owner = |user: &String| Some(user) == owner || *user == process.uid.to_string();
    only.pids.contains(&process.pid) || only.names.contains(&process.name) || only.users.iter().any(is_owner)
}

fn boot_time(stat: &str) -> i64 {
    stat.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::processes::tests::shell;
    use super::*;

    fn shown(ps_args: &str) -> Vec<String> {
        let facts = Facts {
            users: HashMap::from([(1000, "app".to_owned())]),
            groups: HashMap::new(),
            boot: 1_000_000,
            now: Timestamp::from_second(1_000_110).unwrap(),
            zone: TimeZone::UTC,
            memory_kb: 2048 * 10,
        };
        let table = table(&ps_args::read(ps_args).unwrap(), vec![shell()], &facts);
        table.processes.unwrap().iter().map(|row| row.join("|")).collect()
    }

    #[test]
    fn rows_are_those_of_ps() {
        assert_eq!(shown(""), ["app|4242|4200|2|13:46|pts/0|00:00:02|sh -c sleep 5"]);
        assert_eq!(shown("aux"), ["app|4242|2.0|10.0|8192|2048|pts/0|Ss+|13:46|0:02|sh -c sleep 5"]);
        assert_eq!(shown("-o pid,comm=NAME"), ["4242|my (odd) sh"]);
        assert_eq!(shown("-eo pid,etime,f,pri,gid"), ["4242|01:40|4|19|100"]);
        assert_eq!(shown("-o pid,comm=NAME f"), ["4242|\\_ my (odd) sh"]);
        assert_eq!(shown("-o pid,comm=NAME -H"), ["4242|my (odd) sh"]);
        assert_eq!(shown("-o pid,lstart"), ["4242|Mon Jan 12 13:46:50 1970"]);
    }

    #[test]
    fn rows_are_chosen() {
        assert_eq!(shown("-o pid -p 1"), [""; 0]);
        assert_eq!(shown("-o pid -p 1,4242"), ["4242"]);
        assert_eq!(shown("-o pid -u app"), ["4242"]);
        assert_eq!(shown("-o pid -C nothing"), [""; 0]);
    }
}
