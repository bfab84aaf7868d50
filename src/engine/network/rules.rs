//! What our nft table says: isolation, masquerading, published ports. Pure.
//!
//! The table has a fixed set of rules and, for each network that masquerades, one or two more; all else are elements of
//! sets, so a published port is one element, found in constant time. Nothing is ever changed in another table, and a
//! packet that ours accepts is still subject to the host's own tables.
//!
//! - `forward`: members of one bridge reach each other; an internal network reaches nothing else and nothing reaches it;
//!   from outside only published ports are reachable, which also keeps networks apart from each other.
//! - `dnat`: a packet for an address of this host goes to the container that published the port, whether it comes from
//!   outside, from a container or (by `output`) from this host, 127.0.0.1 included.
//! - `postrouting`: containers leave with the host's address; packets that come back into their own bridge, and those from
//!   127.0.0.1, get the bridge's, so that the answers take the same way back.
//! - `guard`: 127.0.0.0/8 is routable on our bridges (`route_localnet`) for the sake of the line above; from a container it
//!   is not (CVE-2020-8558).

use std::net::{IpAddr, Ipv4Addr};

use super::ipam::Subnet;
use super::nft::{Batch, Chain, Command, Element, Field, Hook, Key, Set, Statement, Verdict};
use super::ports::{Protocol, PublishedPort};

/// A bridge as the table sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its link's name.
    pub link: String,
    /// Its members' addresses.
    pub subnet: Subnet,
    /// Whether it is cut off from everything else.
    pub internal: bool,
    /// Whether its members leave with the host's address.
    pub masquerades: bool,
}

/// A published port as the table sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publication {
    /// The host's address; unspecified: any.
    pub host_ip: Ipv4Addr,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's port.
    pub host_port: u16,
    /// The container's address.
    pub to: Ipv4Addr,
    /// The container's port.
    pub to_port: u16,
}

impl Publication {
    /// `port` as published by the container at `to`; `None` for an IPv6 address of the host.
    pub fn new(port: &PublishedPort, to: Ipv4Addr) -> Option<Self> {
        let IpAddr::V4(host_ip) = port.host_ip else { return None };
        Some(Self {
            host_ip,
            protocol: port.container.protocol,
            host_port: port.host_port,
            to,
            to_port: port.container.port,
        })
    }
}

const BRIDGES: Set = Set { name: "bridges", key: &[Field::Link], value: &[] };
const INTERNAL: Set = Set { name: "internal", key: &[Field::Link], value: &[] };
const SAME: Set = Set { name: "same", key: &[Field::Link, Field::Link], value: &[] };
const PUBLISHED: Set = Set {
    name: "published",
    key: &[Field::Address, Field::Protocol, Field::Port],
    value: &[Field::Address, Field::Port],
};
const PUBLISHED_ANY: Set =
    Set { name: "published_any", key: &[Field::Protocol, Field::Port], value: &[Field::Address, Field::Port] };

// Priorities as nft names them: raw, filter, dstnat, srcnat.
const RAW: i32 = -300;
const FILTER: i32 = 0;
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;

/// Replaces the whole table, or makes it.
pub fn replace(table: &str, bridges: &[Bridge], published: &[Publication]) -> Batch {
    let mut commands = vec![Command::AddTable, Command::DeleteTable, Command::AddTable];
    commands.extend([BRIDGES, INTERNAL, SAME, PUBLISHED, PUBLISHED_ANY].map(Command::AddSet));

    let link = |bridge: &Bridge| Key::Link(bridge.link.clone());
    let internal = bridges.iter().filter(|bridge| bridge.internal);
    let keys = |keys: Vec<Vec<Key>>| keys.into_iter().map(|key| (key, Vec::new())).collect::<Vec<_>>();
    for (set, elements) in [
        (BRIDGES.name, keys(bridges.iter().map(|bridge| vec![link(bridge)]).collect())),
        (INTERNAL.name, keys(internal.map(|bridge| vec![link(bridge)]).collect())),
        (SAME.name, keys(bridges.iter().map(|bridge| vec![link(bridge), link(bridge)]).collect())),
    ] {
        if !elements.is_empty() {
            commands.push(Command::AddElements(set, elements));
        }
    }
    commands.extend(elements(published).into_iter().map(|(set, elements)| Command::AddElements(set, elements)));

    let base = |name, hook, priority| Command::AddChain(Chain { name, hook: Some((hook, priority)) });
    commands.extend([
        base("guard", Hook::FilterPrerouting, RAW),
        base("forward", Hook::FilterForward, FILTER),
        Command::AddChain(Chain { name: "dnat", hook: None }),
        base("prerouting", Hook::NatPrerouting, DSTNAT),
        base("output", Hook::NatOutput, DSTNAT),
        base("postrouting", Hook::NatPostrouting, SRCNAT),
    ]);
    commands.extend(fixed_rules().into_iter().map(|(chain, rule)| Command::AddRule(chain, rule)));
    commands.extend(bridges.iter().flat_map(masquerading).map(|rule| Command::AddRule("postrouting", rule)));
    Batch { table: table.to_owned(), commands }
}

/// Removes the table; that there is none is success.
pub fn remove(table: &str) -> Batch {
    Batch { table: table.to_owned(), commands: vec![Command::AddTable, Command::DeleteTable] }
}

/// Publishes more ports.
pub fn publish(table: &str, ports: &[Publication]) -> Batch {
    let commands = elements(ports).into_iter().map(|(set, elements)| Command::AddElements(set, elements));
    Batch { table: table.to_owned(), commands: commands.collect() }
}

/// Takes published ports back; all must be there.
pub fn unpublish(table: &str, ports: &[Publication]) -> Batch {
    let keys_only = |(set, elements): (_, Vec<Element>)| {
        Command::DeleteElements(set, elements.into_iter().map(|(key, _)| (key, Vec::new())).collect())
    };
    Batch { table: table.to_owned(), commands: elements(ports).into_iter().map(keys_only).collect() }
}

/// The ports as elements, by the map they belong to; maps without any are left out.
fn elements(ports: &[Publication]) -> Vec<(&'static str, Vec<Element>)> {
    let (any, one): (Vec<&Publication>, Vec<_>) = ports.iter().partition(|port| port.host_ip.is_unspecified());
    let value = |port: &Publication| vec![Key::Address(port.to), Key::Port(port.to_port)];
    let exact = |port: &&Publication| {
        let key = vec![Key::Address(port.host_ip), Key::Protocol(port.protocol), Key::Port(port.host_port)];
        (key, value(port))
    };
    let wide = |port: &&Publication| (vec![Key::Protocol(port.protocol), Key::Port(port.host_port)], value(port));
    [(PUBLISHED.name, one.iter().map(exact).collect::<Vec<_>>()), (PUBLISHED_ANY.name, any.iter().map(wide).collect())]
        .into_iter()
        .filter(|(_, elements)| !elements.is_empty())
        .collect()
}

fn loopback() -> Subnet {
    Subnet::around(Ipv4Addr::LOCALHOST, 8).expect("8 is a prefix length")
}

fn fixed_rules() -> Vec<(&'static str, Vec<Statement>)> {
    use Statement::*;
    use Verdict::{Accept, Drop, Jump};
    vec![
        ("guard", vec![FromLinkIn(BRIDGES.name), To(loopback()), Then(Drop)]),
        ("forward", vec![LinksIn(SAME.name), Then(Accept)]),
        ("forward", vec![FromLinkIn(INTERNAL.name), Then(Drop)]),
        ("forward", vec![ToLinkIn(INTERNAL.name), Then(Drop)]),
        ("forward", vec![Established, Then(Accept)]),
        ("forward", vec![ToLinkIn(BRIDGES.name), Translated, Then(Accept)]),
        ("forward", vec![ToLinkIn(BRIDGES.name), Then(Drop)]),
        ("dnat", vec![DnatByAddressAndPort(PUBLISHED.name)]),
        ("dnat", vec![DnatByPort(PUBLISHED_ANY.name)]),
        ("prerouting", vec![ToThisHost, Then(Jump("dnat"))]),
        ("output", vec![ToThisHost, Then(Jump("dnat"))]),
        ("postrouting", vec![From(loopback()), ToLinkIn(BRIDGES.name), Masquerade]),
    ]
}

fn masquerading(bridge: &Bridge) -> Vec<Vec<Statement>> {
    use Statement::*;
    if bridge.internal {
        return Vec::new();
    }
    let mut rules = vec![vec![From(bridge.subnet), ToLink(bridge.link.clone()), Translated, Masquerade]];
    if bridge.masquerades {
        rules.push(vec![From(bridge.subnet), NotToLink(bridge.link.clone()), Masquerade]);
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(host_ip: [u8; 4], host_port: u16) -> Publication {
        Publication {
            host_ip: host_ip.into(),
            protocol: Protocol::Tcp,
            host_port,
            to: [172, 17, 0, 2].into(),
            to_port: 80,
        }
    }

    #[test]
    fn a_published_port_is_one_element() {
        let any = publish("bx0", &[publication([0; 4], 8080)]);
        assert_eq!(any.to_string(), "add element ip bx0 published_any { tcp . 8080 : 172.17.0.2 . 80 }\n");
        let one = publish("bx0", &[publication([127, 0, 0, 1], 8080), publication([127, 0, 0, 1], 8081)]);
        assert_eq!(
            one.to_string(),
            "add element ip bx0 published { 127.0.0.1 . tcp . 8080 : 172.17.0.2 . 80, 127.0.0.1 . tcp . 8081 : 172.17.0.2 . 80 }\n"
        );
        let back = unpublish("bx0", &[publication([0; 4], 8080)]);
        assert_eq!(back.to_string(), "delete element ip bx0 published_any { tcp . 8080 }\n");
    }

    #[test]
    fn the_whole_table_reads_as_nft_text() {
        let bridges = [
            Bridge {
                link: "boxyard0".to_owned(),
                subnet: "172.17.0.0/16".parse().unwrap(),
                internal: false,
                masquerades: true,
            },
            Bridge {
                link: "byb1".to_owned(),
                subnet: "10.1.0.0/24".parse().unwrap(),
                internal: true,
                masquerades: false,
            },
        ];
        let text = replace("boxyard", &bridges, &[publication([0; 4], 8080)]).to_string();
        let expected = r#"add table ip boxyard
delete table ip boxyard
add table ip boxyard
add set ip boxyard bridges { type ifname; }
add set ip boxyard internal { type ifname; }
add set ip boxyard same { type ifname . ifname; }
add map ip boxyard published { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
add map ip boxyard published_any { type inet_proto . inet_service : ipv4_addr . inet_service; }
add element ip boxyard bridges { "boxyard0", "byb1" }
add element ip boxyard internal { "byb1" }
add element ip boxyard same { "boxyard0" . "boxyard0", "byb1" . "byb1" }
add element ip boxyard published_any { tcp . 8080 : 172.17.0.2 . 80 }
add chain ip boxyard guard { type filter hook prerouting priority -300; }
add chain ip boxyard forward { type filter hook forward priority 0; }
add chain ip boxyard dnat
add chain ip boxyard prerouting { type nat hook prerouting priority -100; }
add chain ip boxyard output { type nat hook output priority -100; }
add chain ip boxyard postrouting { type nat hook postrouting priority 100; }
add rule ip boxyard guard iifname @bridges ip daddr 127.0.0.0/8 drop
add rule ip boxyard forward iifname . oifname @same accept
add rule ip boxyard forward iifname @internal drop
add rule ip boxyard forward oifname @internal drop
add rule ip boxyard forward ct state established,related accept
add rule ip boxyard forward oifname @bridges ct status dnat accept
add rule ip boxyard forward oifname @bridges drop
add rule ip boxyard dnat dnat to ip daddr . meta l4proto . th dport map @published
add rule ip boxyard dnat dnat to meta l4proto . th dport map @published_any
add rule ip boxyard prerouting fib daddr type local jump dnat
add rule ip boxyard output fib daddr type local jump dnat
add rule ip boxyard postrouting ip saddr 127.0.0.0/8 oifname @bridges masquerade
add rule ip boxyard postrouting ip saddr 172.17.0.0/16 oifname "boxyard0" ct status dnat masquerade
add rule ip boxyard postrouting ip saddr 172.17.0.0/16 oifname != "boxyard0" masquerade
"#;
        assert_eq!(text, expected);
    }
}
