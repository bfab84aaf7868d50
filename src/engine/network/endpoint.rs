//! A container's place on a network.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use bollard_stubs::models as docker;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ports::{PortRequest, PublishedPort};

/// A link-layer address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The address that goes with `ip`: locally administered, and the same whenever the address is handed out again, so
    /// that no neighbour's ARP cache is ever stale (Docker's classic 02:42 scheme).
    pub fn for_ip(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refusal = || format!("invalid MAC address: {text}");
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(refusal)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| refusal())?;
        }
        if parts.next().is_some() { Err(refusal()) } else { Ok(Self(bytes)) }
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a container asks of a network.
#[derive(Debug, Clone, Default)]
pub struct EndpointRequest {
    /// The network's name, ID or unambiguous ID prefix.
    pub network: String,
    /// The container's 64 hex digits.
    pub container_id: String,
    /// The container's name, without the slash.
    pub container_name: String,
    /// The container's host name, where one was set by the user; it is resolvable too.
    pub hostname: Option<String>,
    /// The link's name inside, like `eth0`; empty: the first free `ethN`.
    pub interface: String,
    /// More names for it on this network.
    pub aliases: Vec<String>,
    /// Names that only this container resolves, on this network (`--link`): alias to the other container's name or ID.
    pub links: Vec<(String, String)>,
    /// The address it wants.
    pub ip: Option<Ipv4Addr>,
    /// The link-layer address it wants.
    pub mac: Option<MacAddr>,
    /// The ports to publish on the host; see [`super::ports::requests`].
    pub ports: Vec<PortRequest>,
}

/// A container's place on a network, as made. The container room keeps it in its record while the container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// 64 hex digits.
    pub id: String,
    /// The network's 64 hex digits.
    pub network_id: String,
    /// The network's name.
    pub network_name: String,
    /// The container's 64 hex digits.
    pub container_id: String,
    /// The container's name, without the slash.
    pub container_name: String,
    /// The container's host name, where the user set one.
    #[serde(default)]
    pub hostname: Option<String>,
    /// The link's name inside the container; empty on host and none.
    pub interface: String,
    /// The link's name on the host; empty on host and none.
    pub host_link: String,
    /// Address, prefix length and gateway; `None` on host and none.
    pub address: Option<EndpointAddress>,
    /// More names for it on this network, as given.
    pub aliases: Vec<String>,
    /// Names that only this container resolves: alias to the other container's name or ID.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// The published ports, with the host ports they really have.
    pub ports: Vec<PublishedPort>,
}

/// The addresses of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointAddress {
    /// Its IPv4 address.
    pub ip: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// The default route; `None` on internal networks.
    pub gateway: Option<Ipv4Addr>,
    /// Its link-layer address.
    pub mac: MacAddr,
}

impl Endpoint {
    /// The endpoint as `GET /containers/{id}/json` shows it.
    pub fn settings(&self) -> docker::EndpointSettings {
        let address = self.address.as_ref();
        let text = |value: Option<String>| Some(value.unwrap_or_default());
        docker::EndpointSettings {
            mac_address: text(address.map(|address| address.mac.to_string())),
            aliases: (!self.aliases.is_empty()).then(|| self.aliases.clone()),
            gw_priority: Some(0),
            network_id: Some(self.network_id.clone()),
            endpoint_id: Some(self.id.clone()),
            gateway: text(address.and_then(|address| address.gateway).map(|gateway| gateway.to_string())),
            ip_address: text(address.map(|address| address.ip.to_string())),
            ip_prefix_len: Some(address.map_or(0, |address| address.prefix.into())),
            ipv6_gateway: Some(String::new()),
            global_ipv6_address: Some(String::new()),
            global_ipv6_prefix_len: Some(0),
            dns_names: Some(self.dns_names()).filter(|names| !names.is_empty()),
            ..Default::default()
        }
    }

    /// The names it answers to on a network that resolves names: its own, aliases, short ID, host name; no doubles.
    pub fn dns_names(&self) -> Vec<String> {
        if self.network_name == "bridge" || self.address.is_none() {
            return Vec::new();
        }
        let short_id = self.container_id.get(..12).unwrap_or(&self.container_id);
        let mut names: Vec<String> = Vec::new();
        let all = std::iter::once(self.container_name.as_str())
            .chain(self.aliases.iter().map(String::as_str))
            .chain([short_id])
            .chain(self.hostname.as_deref());
        for name in all {
            if !name.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_read_back() {
        let mac = MacAddr::for_ip(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!("02:42:ac:11:00:02".parse(), Ok(mac));
        assert_eq!("02:42:ac".parse::<MacAddr>(), Err("invalid MAC address: 02:42:ac".to_owned()));
        assert!("02:42:ac:11:00:02:03".parse::<MacAddr>().is_err());
    }
}
