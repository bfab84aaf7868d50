//! The resolver's sockets inside the container's network namespace.
//!
//! A container may itself be a name server, and then wants port 53 on all its addresses. So the sockets are on ports that
//! the kernel chooses, and a table in the container's namespace sends what is for 127.0.0.11:53 there. Where the kernel
//! has no nf_tables, they are on port 53 after all.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sched::{CloneFlags, setns};

use crate::engine::network::ipam::Subnet;
use crate::engine::network::nft::{Batch, Chain, Command, Hook, NftSocket, Statement};
use crate::engine::network::ports::Protocol;

/// Where the container asks.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PORT: u16 = 53;
const TABLE: &str = "boxyard-dns";

/// The sockets that take the container's questions.
#[derive(Debug)]
pub struct Inside {
    /// Questions in a datagram.
    pub udp: UdpSocket,
    /// Questions over a connection.
    pub tcp: TcpListener,
}

/// Opens the sockets in `netns` and comes back.
///
/// # Errors
/// The kernel's refusal; should it refuse the way back, too, the thread must not go on with anything else.
pub fn open(netns: BorrowedFd<'_>) -> io::Result<Inside> {
    let home = File::open("/proc/thread-self/ns/net")?;
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    let opened = open_here();
    setns(home.as_fd(), CloneFlags::CLONE_NEWNET)?;
    opened
}

fn open_here() -> io::Result<Inside> {
    let inside = match sockets(0).and_then(|inside| redirect(&inside).map(|()| inside)) {
        Ok(inside) => inside,
        Err(_) => sockets(PORT)?,
    };
    inside.udp.set_nonblocking(true)?;
    inside.tcp.set_nonblocking(true)?;
    Ok(inside)
}

fn sockets(port: u16) -> io::Result<Inside> {
    Ok(Inside { udp: UdpSocket::bind((ADDRESS, port))?, tcp: TcpListener::bind((ADDRESS, port))? })
}

fn redirect(inside: &Inside) -> io::Result<()> {
    let ports = [(Protocol::Udp, inside.udp.local_addr()?.port()), (Protocol::Tcp, inside.tcp.local_addr()?.port())];
    NftSocket::open()?.commit(&table(ports))
}

/// The table that sends what is for port 53 to where we listen. The answers' way back is conntrack's business.
fn table(ports: [(Protocol, u16); 2]) -> Batch {
    const DSTNAT: i32 = -100;
    let own = Subnet::around(ADDRESS, 32).expect("32 is a prefix length");
    let rules = ports.map(|(protocol, port)| {
        let rule = vec![Statement::To(own), Statement::Port(protocol, PORT), Statement::Dnat(ADDRESS, port)];
        Command::AddRule("output", rule)
    });
    let chain = Chain { name: "output", hook: Some((Hook::NatOutput, DSTNAT)) };
    // Made anew where an earlier shim left one: its sockets are gone with it.
    let mut commands = vec![Command::AddTable, Command::DeleteTable, Command::AddTable, Command::AddChain(chain)];
    commands.extend(rules);
    Batch { table: TABLE.to_owned(), commands }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_redirection_reads_as_nft_text() {
        let text = table([(Protocol::Udp, 40000), (Protocol::Tcp, 40001)]).to_string();
        let rules: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(
            rules,
            [
                "add chain ip boxyard-dns output { type nat hook output priority -100; }",
                "add rule ip boxyard-dns output ip daddr 127.0.0.11/32 udp dport 53 dnat to 127.0.0.11:40000",
                "add rule ip boxyard-dns output ip daddr 127.0.0.11/32 tcp dport 53 dnat to 127.0.0.11:40001",
            ]
        );
    }
}
