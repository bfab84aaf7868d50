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
    let mut socket = NftSocket::open()?;
    let mut batch = table(ports);
    match socket.commit(&batch) {
        // An earlier shim's: its sockets are gone with it. Not removed at a venture, since closing a socket on which a
        // table was removed takes the kernel 10 ms.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            batch.commands.insert(0, Command::DeleteTable);
            socket.commit(&batch)
        }
        outcome => outcome,
    }
}

/// The table that sends what is for port 53 to where we listen, and gives the answers the port they were asked at. The
/// ports are rewritten in the packets, which takes no connection tracking: with it, each packet of the container would cost
/// a little more.
fn table(ports: [(Protocol, u16); 2]) -> Batch {
    const FILTER: i32 = 0;
    let own = || Subnet::around(ADDRESS, 32).expect("32 is a prefix length");
    let chain = Chain { name: "output", hook: Some((Hook::FilterOutput, FILTER)) };
    let mut commands = vec![Command::CreateTable, Command::AddChain(chain)];
    for (protocol, port) in ports {
        let ask = vec![Statement::To(own()), Statement::Port(protocol, PORT), Statement::RewritePort(protocol, port)];
        let answer = vec![
            Statement::From(own()),
            Statement::FromPort(protocol, port),
            Statement::RewriteFromPort(protocol, PORT),
        ];
        commands.extend([ask, answer].map(|rule| Command::AddRule("output", rule)));
    }
    Batch { table: TABLE.to_owned(), commands }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_redirection_reads_as_nft_text() {
        let text = table([(Protocol::Udp, 40000), (Protocol::Tcp, 40001)]).to_string();
        let expected = "create table ip boxyard-dns
add chain ip boxyard-dns output { type filter hook output priority 0; }
add rule ip boxyard-dns output ip daddr 127.0.0.11/32 udp dport 53 udp dport set 40000
add rule ip boxyard-dns output ip saddr 127.0.0.11/32 udp sport 40000 udp sport set 53
add rule ip boxyard-dns output ip daddr 127.0.0.11/32 tcp dport 53 tcp dport set 40001
add rule ip boxyard-dns output ip saddr 127.0.0.11/32 tcp sport 40001 tcp sport set 53
";
        assert_eq!(text, expected);
    }
}
