//! What a container's resolver knows: its settings, and the table of names that the engine rewrites.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The settings of one container's resolver, handed to the shim at spawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Where the [`NameTable`] is; replaced atomically whenever a member of its networks comes or goes.
    pub names_path: PathBuf,
    /// Who answers for all other names, in order of preference; asked from the host's network namespace.
    pub upstreams: Vec<IpAddr>,
}

/// The names a container can resolve without asking anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameTable {
    /// Names in lower case, without a final dot, to addresses.
    pub names: BTreeMap<String, Vec<Ipv4Addr>>,
    /// Addresses to the name a reverse lookup answers.
    pub addresses: BTreeMap<Ipv4Addr, String>,
    /// Whether other names are asked of the upstreams; not on internal networks.
    pub forwards: bool,
}
