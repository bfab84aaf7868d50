//! Which program of the host listens on a port, from /proc, so that a clash can be told with its holder's name.

use std::fs;
use std::path::Path;

use super::ports::Protocol;

/// The program that has `port` open in this network namespace, as `nginx, pid 12`; `None` where it can't be told.
pub fn holder(protocol: Protocol, port: u16) -> Option<String> {
    let tables: &[&str] = match protocol {
        Protocol::Tcp => &["tcp", "tcp6"],
        Protocol::Udp => &["udp", "udp6"],
        Protocol::Sctp => return None,
    };
    let inode = tables.iter().find_map(|table| {
        let text = fs::read_to_string(Path::new("/proc/thread-self/net").join(table)).ok()?;
        inode(&text, protocol, port)
    })?;
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let has = |entry: fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(&link));
        fs::read_dir(process.path().join("fd")).ok()?.flatten().any(has).then_some(())?;
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        Some(format!("{}, pid {pid}", name.trim()))
    })
}

/// The inode of the socket that is bound to `port` in the text of /proc/net/tcp and the like.
fn inode(table: &str, protocol: Protocol, port: u16) -> Option<u64> {
    const LISTENING: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?;
        let state = words.nth(1)?;
        let inode = words.nth(5)?;
        let (_, number) = local.rsplit_once(':')?;
        let is_it = u16::from_str_radix(number, 16) == Ok(port) && (protocol != Protocol::Tcp || state == LISTENING);
        is_it.then(|| inode.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_sockets_inode_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 0100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 20 0 0 10 -1\n\
            1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0 20 0 0 10 -1\n";
        assert_eq!(inode(table, Protocol::Tcp, 8080), Some(42));
        assert_eq!(inode(table, Protocol::Tcp, 8081), None);
    }
}
