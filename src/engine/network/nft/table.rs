//! Tables, sets, chains and rules as data, and their nft text.

use std::fmt;
use std::net::Ipv4Addr;

use crate::engine::network::ipam::Subnet;
use crate::engine::network::ports::Protocol;

/// Changes to one table of family ip, all to take effect at once or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The table's name.
    pub table: String,
    /// What to do, in order.
    pub commands: Vec<Command>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes the table; it may exist.
    AddTable,
    /// Makes the table; it must not exist.
    CreateTable,
    /// Removes the table with all in it; it must exist.
    DeleteTable,
    /// Makes a set or map.
    AddSet(Set),
    /// Puts keys (and values, in a map) into a set.
    AddElements(&'static str, Vec<Element>),
    /// Takes keys out of a set; all must be there.
    DeleteElements(&'static str, Vec<Element>),
    /// Makes a chain.
    AddChain(Chain),
    /// Appends a rule to a chain.
    AddRule(&'static str, Vec<Statement>),
}

/// A set, or a map where it has values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// What a key is made of.
    pub key: &'static [Field],
    /// What a value is made of; empty: no map.
    pub value: &'static [Field],
}

/// A part of a key or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address.
    Address,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// A link's name.
    Link,
}

/// A key and, in a map, its value.
pub type Element = (Vec<Key>, Vec<Key>);

/// The value of a [`Field`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// An IPv4 address.
    Address(Ipv4Addr),
    /// A transport protocol.
    Protocol(Protocol),
    /// A port.
    Port(u16),
    /// A link's name.
    Link(String),
}

/// A chain; without a hook it is only jumped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Where packets enter it.
    pub hook: Option<(Hook, i32)>,
}

/// Where a base chain hangs, which also says its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `type filter hook prerouting`.
    FilterPrerouting,
    /// `type filter hook forward`.
    FilterForward,
    /// `type filter hook output`.
    FilterOutput,
    /// `type nat hook prerouting`.
    NatPrerouting,
    /// `type nat hook output`.
    NatOutput,
    /// `type nat hook postrouting`.
    NatPostrouting,
}

/// A part of a rule. Parts that match come first; the rule ends at the first that doesn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The packet came in by a link of this set.
    FromLinkIn(&'static str),
    /// The packet goes out by a link of this set.
    ToLinkIn(&'static str),
    /// The pair of incoming and outgoing link is in this set.
    LinksIn(&'static str),
    /// The packet goes out by this link.
    ToLink(String),
    /// The packet goes out by another link than this.
    NotToLink(String),
    /// The source address is in the subnet.
    From(Subnet),
    /// The destination address is in the subnet.
    To(Subnet),
    /// The destination is an address of this host.
    ToThisHost,
    /// The packet belongs to, or is about, a connection that was let through.
    Established,
    /// The connection's destination was translated.
    Translated,
    /// The transport protocol and destination port are these.
    Port(Protocol, u16),
    /// Destination becomes what the map has for `proto . dport`.
    DnatByPort(&'static str),
    /// Destination becomes what the map has for `daddr . proto . dport`.
    DnatByAddressAndPort(&'static str),
    /// The transport protocol and source port are these.
    FromPort(Protocol, u16),
    /// The destination port becomes this, in the packet itself and without memory of it.
    RewritePort(Protocol, u16),
    /// The source port becomes this, in the packet itself and without memory of it.
    RewriteFromPort(Protocol, u16),
    /// Source becomes the address of the outgoing link.
    Masquerade,
    /// The end of the rule.
    Then(Verdict),
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This table has no objection.
    Accept,
    /// It is gone.
    Drop,
    /// Another chain goes on with it.
    Jump(&'static str),
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        for command in &self.commands {
            match command {
                Command::AddTable => writeln!(f, "add table ip {table}")?,
                Command::CreateTable => writeln!(f, "create table ip {table}")?,
                Command::DeleteTable => writeln!(f, "delete table ip {table}")?,
                Command::AddSet(set) => {
                    let kind = if set.value.is_empty() { "set" } else { "map" };
                    write!(f, "add {kind} ip {table} {} {{ type {}", set.name, Joined(set.key))?;
                    if !set.value.is_empty() {
                        write!(f, " : {}", Joined(set.value))?;
                    }
                    writeln!(f, "; }}")?;
                }
                Command::AddElements(set, elements) => {
                    writeln!(f, "add element ip {table} {set} {{ {} }}", Elements(elements))?;
                }
                Command::DeleteElements(set, elements) => {
                    writeln!(f, "delete element ip {table} {set} {{ {} }}", Elements(elements))?;
                }
                Command::AddChain(Chain { name, hook: None }) => writeln!(f, "add chain ip {table} {name}")?,
                Command::AddChain(Chain { name, hook: Some((hook, priority)) }) => {
                    writeln!(f, "add chain ip {table} {name} {{ type {hook} priority {priority}; }}")?;
                }
                Command::AddRule(chain, statements) => {
                    write!(f, "add rule ip {table} {chain}")?;
                    for statement in statements {
                        write!(f, " {statement}")?;
                    }
                    writeln!(f)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FilterPrerouting => "filter hook prerouting",
            Self::FilterForward => "filter hook forward",
            Self::FilterOutput => "filter hook output",
            Self::NatPrerouting => "nat hook prerouting",
            Self::NatOutput => "nat hook output",
            Self::NatPostrouting => "nat hook postrouting",
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "ipv4_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
            Self::Link => "ifname",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Protocol(protocol) => write!(f, "{protocol}"),
            Self::Port(port) => write!(f, "{port}"),
            Self::Link(name) => write!(f, "\"{name}\""),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromLinkIn(set) => write!(f, "iifname @{set}"),
            Self::ToLinkIn(set) => write!(f, "oifname @{set}"),
            Self::LinksIn(set) => write!(f, "iifname . oifname @{set}"),
            Self::ToLink(name) => write!(f, "oifname \"{name}\""),
            Self::NotToLink(name) => write!(f, "oifname != \"{name}\""),
            Self::From(subnet) => write!(f, "ip saddr {subnet}"),
            Self::To(subnet) => write!(f, "ip daddr {subnet}"),
            Self::ToThisHost => f.write_str("fib daddr type local"),
            Self::Established => f.write_str("ct state established,related"),
            Self::Translated => f.write_str("ct status dnat"),
            Self::Port(protocol, port) => write!(f, "{protocol} dport {port}"),
            Self::DnatByPort(map) => write!(f, "dnat to meta l4proto . th dport map @{map}"),
            Self::DnatByAddressAndPort(map) => write!(f, "dnat to ip daddr . meta l4proto . th dport map @{map}"),
            Self::FromPort(protocol, port) => write!(f, "{protocol} sport {port}"),
            Self::RewritePort(protocol, port) => write!(f, "{protocol} dport set {port}"),
            Self::RewriteFromPort(protocol, port) => write!(f, "{protocol} sport set {port}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Then(Verdict::Accept) => f.write_str("accept"),
            Self::Then(Verdict::Drop) => f.write_str("drop"),
            Self::Then(Verdict::Jump(chain)) => write!(f, "jump {chain}"),
        }
    }
}

/// Parts joined as nft joins them.
struct Joined<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { " . " };
            write!(f, "{before}{part}")?;
        }
        Ok(())
    }
}

struct Elements<'a>(&'a [Element]);

impl fmt::Display for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { ", " };
            write!(f, "{before}{}", Joined(key))?;
            if !value.is_empty() {
                write!(f, " : {}", Joined(value))?;
            }
        }
        Ok(())
    }
}
