//! Links, addresses and routes (rtnetlink).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::message::{Message, attributes};
use super::socket::{Refusal, Socket};
use crate::engine::network::endpoint::MacAddr;
use crate::engine::network::ipam::Subnet;

/// `VETH_INFO_PEER` (linux/veth.h).
const VETH_INFO_PEER: u16 = 1;
/// `IFLA_BRPORT_MODE`, hairpin (linux/if_link.h).
const BRPORT_HAIRPIN: u16 = 4;
/// `IFLA_BRPORT_ISOLATED` (linux/if_link.h).
const BRPORT_ISOLATED: u16 = 33;
const AF_INET: u8 = 2;
const UP: u32 = 1;

/// A pair of linked interfaces to be made: one end in a bridge here, the other in a container.
#[derive(Debug)]
pub struct VethPair<'a> {
    /// The name of this end.
    pub name: &'a str,
    /// The index of the bridge this end goes into.
    pub bridge: u32,
    /// Both ends' MTU, where not the default.
    pub mtu: Option<u32>,
    /// The other end.
    pub peer: LinkPeer<'a>,
}

/// The end of a pair that is born in another network namespace.
#[derive(Debug)]
pub struct LinkPeer<'a> {
    /// Its name there.
    pub name: &'a str,
    /// Its link-layer address.
    pub mac: MacAddr,
    /// The namespace.
    pub netns: BorrowedFd<'a>,
}

/// How a bridge treats one of its ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BridgePort {
    /// Whether frames may leave by the port they came in. A container that asks for its own published port needs it
    /// where bridged packets pass iptables (br_netfilter), since they are translated before the bridge looks at them.
    pub hairpin: bool,
    /// Whether it reaches only ports that are not isolated (`enable_icc=false`).
    pub isolated: bool,
}

/// A socket for links, addresses and routes of the namespace it was opened in.
#[derive(Debug)]
pub struct RouteSocket(Socket);

impl RouteSocket {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        Socket::route().map(Self)
    }

    /// Makes a bridge and brings it up. One of that name may exist already.
    pub fn create_bridge(&mut self, name: &str, mac: MacAddr, mtu: Option<u32>) -> io::Result<()> {
        let mut link = link_message(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, 0, UP);
        link.text(libc::IFLA_IFNAME, name).attribute(libc::IFLA_ADDRESS, &mac.0);
        if let Some(mtu) = mtu {
            link.native(libc::IFLA_MTU, mtu);
        }
        link.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "bridge");
        });
        ignore(self.one(link), libc::EEXIST)
    }

    /// Makes a pair of interfaces, each in its place. This end is up; the other can't be before both exist (the kernel
    /// answers `ENOTCONN`), and has to be brought up in its namespace.
    pub fn create_veth(&mut self, pair: &VethPair<'_>) -> io::Result<()> {
        let mut link = link_message(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, 0, UP);
        link.text(libc::IFLA_IFNAME, pair.name).native(libc::IFLA_MASTER, pair.bridge);
        if let Some(mtu) = pair.mtu {
            link.native(libc::IFLA_MTU, mtu);
        }
        link.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.raw(&link_header(0, 0));
                    peer.text(libc::IFLA_IFNAME, pair.peer.name)
                        .attribute(libc::IFLA_ADDRESS, &pair.peer.mac.0)
                        .attribute(libc::IFLA_NET_NS_FD, &pair.peer.netns.as_raw_fd().to_ne_bytes());
                    if let Some(mtu) = pair.mtu {
                        peer.native(libc::IFLA_MTU, mtu);
                    }
                });
            });
        });
        self.one(link)
    }

    /// Says how the bridge treats the port `index`.
    pub fn set_bridge_port(&mut self, index: u32, port: BridgePort) -> io::Result<()> {
        let mut link = link_message(libc::RTM_SETLINK, 0, index, 0);
        link.nested(libc::IFLA_PROTINFO, |info| {
            info.attribute(BRPORT_HAIRPIN, &[port.hairpin.into()]);
            info.attribute(BRPORT_ISOLATED, &[port.isolated.into()]);
        });
        // IFLA_PROTINFO of a bridge port is read by the bridge family only.
        link.set_family(u8::try_from(libc::AF_BRIDGE).unwrap_or(7));
        self.one(link)
    }

    /// Brings a link up.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.one(link_message(libc::RTM_SETLINK, 0, index, UP))
    }

    /// Removes a link; that there is none is success.
    pub fn delete_link(&mut self, name: &str) -> io::Result<()> {
        let mut link = link_message(libc::RTM_DELLINK, 0, 0, 0);
        link.text(libc::IFLA_IFNAME, name);
        ignore(self.one(link), libc::ENODEV)
    }

    /// The index of the link `name`.
    pub fn index(&mut self, name: &str) -> io::Result<u32> {
        let mut request = link_message(libc::RTM_GETLINK, 0, 0, 0);
        request.text(libc::IFLA_IFNAME, name);
        self.0.get(request, |_, body| u32_at(body, 4))
    }

    /// The names of all links.
    pub fn link_names(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        self.0.dump(Message::new(libc::RTM_GETLINK, 0, &link_header(0, 0)), |_, body| {
            let name = attributes(body.get(16..).unwrap_or_default()).find(|(kind, _)| *kind == libc::IFLA_IFNAME);
            if let Some((_, name)) = name {
                names.push(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
            }
        })?;
        Ok(names)
    }

    /// Gives a link an address; it may have it already.
    pub fn add_address(&mut self, index: u32, ip: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut fixed = [0; 8];
        fixed[0] = AF_INET;
        fixed[1] = prefix;
        fixed[4..8].copy_from_slice(&index.to_ne_bytes());
        let broadcast = Subnet::around(ip, prefix).map_or(ip, |subnet| subnet.last());
        let mut address = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &fixed);
        address.attribute(libc::IFA_LOCAL, &ip.octets()).attribute(libc::IFA_ADDRESS, &ip.octets());
        if prefix < 31 {
            address.attribute(libc::IFA_BROADCAST, &broadcast.octets());
        }
        ignore(self.one(address), libc::EEXIST)
    }

    /// Sends everything without a better route to `gateway`; where there is such a route already, it stays.
    pub fn add_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        const TABLE_MAIN: u8 = 254;
        const PROTOCOL_BOOT: u8 = 3;
        const TYPE_UNICAST: u8 = 1;
        let fixed = [AF_INET, 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, 0, TYPE_UNICAST, 0, 0, 0, 0];
        let mut route = Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &fixed);
        route.attribute(libc::RTA_GATEWAY, &gateway.octets()).native(libc::RTA_OIF, index);
        ignore(self.one(route), libc::EEXIST)
    }

    /// The destinations of all IPv4 routes but the default one.
    pub fn destinations(&mut self) -> io::Result<Vec<Subnet>> {
        let mut fixed = [0; 12];
        fixed[0] = AF_INET;
        let mut list = Vec::new();
        self.0.dump(Message::new(libc::RTM_GETROUTE, 0, &fixed), |_, body| {
            const TYPE_UNICAST: u8 = 1;
            let (Some(prefix), Some(TYPE_UNICAST)) = (body.get(1).copied(), body.get(7).copied()) else { return };
            let destination = attributes(body.get(12..).unwrap_or_default())
                .find(|(kind, _)| *kind == libc::RTA_DST)
                .and_then(|(_, value)| <[u8; 4]>::try_from(value).ok());
            list.extend(destination.and_then(|address| Subnet::around(address.into(), prefix)));
        })?;
        Ok(list)
    }

    fn one(&mut self, request: Message) -> io::Result<()> {
        self.0.acknowledged(vec![request]).map_err(|Refusal { error, .. }| error)
    }
}

/// `struct ifinfomsg`: the flags given are set, none is cleared.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..16].copy_from_slice(&flags.to_ne_bytes());
    fixed
}

fn link_message(kind: u16, flags: i32, index: u32, up: u32) -> Message {
    Message::new(kind, flags, &link_header(index, up))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes)
}

fn ignore(outcome: io::Result<()>, errno: i32) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        other => other,
    }
}
