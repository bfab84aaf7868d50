//! What a network is, as kept on disk: `<root>/networks/<id>.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::ipam::Subnet;

/// What carries a network's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Linux bridge on this host with a subnet of its own.
    Bridge,
    /// The host's own network namespace.
    Host,
    /// Loopback only.
    Null,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
        })
    }
}

/// One network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// 64 hex digits.
    pub id: String,
    /// The name people use; unique.
    pub name: String,
    /// What carries its packets.
    pub driver: Driver,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Whether its members reach nothing outside it.
    #[serde(default)]
    pub internal: bool,
    /// Kept for clients that set it; has no effect on one host.
    #[serde(default)]
    pub attachable: bool,
    /// Whether it was asked to have IPv6 too; kept and shown, not acted upon.
    #[serde(default)]
    pub ipv6: bool,
    /// What its addresses come from; `None` for host and none.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// The bridge's link name; `None` for host and none.
    #[serde(default)]
    pub link: Option<String>,
    /// Whether the bridge was there before the network: then it is used, and stays when the network goes.
    #[serde(default)]
    pub borrows_link: bool,
    /// Driver options as given.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// IPAM options as given.
    #[serde(default)]
    pub ipam_options: BTreeMap<String, String>,
    /// Labels as given.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What a bridge network's addresses come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// All of the network's addresses.
    pub subnet: Subnet,
    /// The bridge's own address, the members' default route.
    pub gateway: Ipv4Addr,
    /// The part of the subnet that automatic addresses come from, where that is not all of it.
    #[serde(default)]
    pub range: Option<Subnet>,
    /// Addresses that are never handed out, by the name they were given.
    #[serde(default)]
    pub reserved: BTreeMap<String, Ipv4Addr>,
    /// Whether the subnet was given by the user; only there may members ask for an address.
    #[serde(default)]
    pub chosen: bool,
}

impl NetworkRecord {
    /// Whether this is one of bridge, host and none, which can't be removed.
    pub fn is_predefined(&self) -> bool {
        matches!(self.name.as_str(), "bridge" | "host" | "none")
    }

    /// The bridge's link name, where it is ours to make and remove.
    pub fn own_link(&self) -> Option<&str> {
        self.link.as_deref().filter(|_| !self.borrows_link)
    }

    /// Whether members find each other by name here (every bridge but the default one, as in Docker).
    pub fn resolves_names(&self) -> bool {
        self.driver == Driver::Bridge && !self.is_predefined()
    }

    /// The value of a driver option.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str)
    }

    /// The MTU members get, where one was asked for.
    pub fn mtu(&self) -> Option<u32> {
        self.option("com.docker.network.driver.mtu").and_then(|mtu| mtu.parse().ok())
    }

    /// Whether members reach each other (`enable_icc`, on by default).
    pub fn lets_members_talk(&self) -> bool {
        self.flag("com.docker.network.bridge.enable_icc")
    }

    /// Whether packets leaving the network take the host's address (`enable_ip_masquerade`, on by default).
    pub fn masquerades(&self) -> bool {
        !self.internal && self.flag("com.docker.network.bridge.enable_ip_masquerade")
    }

    fn flag(&self, key: &str) -> bool {
        self.option(key).is_none_or(|value| value.parse().unwrap_or(true))
    }
}

/// What `HostConfig.NetworkMode` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// The default bridge (`""`, `default`, `bridge`).
    Bridge,
    /// The host's own namespace.
    Host,
    /// Loopback only.
    None,
    /// The namespace of another container, by name or ID.
    Container(String),
    /// A user-made network, by name or ID.
    Network(String),
}

impl NetworkMode {
    /// Reads Docker's notation.
    pub fn parse(mode: &str) -> Self {
        match mode {
            "" | "default" | "bridge" => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::None,
            other => match other.strip_prefix("container:") {
                Some(container) => Self::Container(container.to_owned()),
                None => Self::Network(other.to_owned()),
            },
        }
    }

    /// The name of the network an endpoint is made on; `None` for another container's namespace.
    pub fn network(&self) -> Option<&str> {
        match self {
            Self::Bridge => Some("bridge"),
            Self::Host => Some("host"),
            Self::None => Some("none"),
            Self::Network(name) => Some(name),
            Self::Container(_) => None,
        }
    }
}
