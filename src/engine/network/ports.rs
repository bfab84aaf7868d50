//! Published ports: from Docker's notation to what is asked for, and back to what the API shows. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use bollard_stubs::models as docker;
use serde::{Deserialize, Serialize};

use crate::engine::EngineError;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(format!("invalid proto: {text}")),
        }
    }
}

/// A port inside a container, as `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerPort {
    /// The number.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

impl FromStr for ContainerPort {
    type Err = String;

    /// Reads `80/tcp` or `80` (tcp).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self { port, protocol: protocol.parse()? }),
            _ => Err(format!("invalid port specification: \"{text}\"")),
        }
    }
}

/// A port to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// The port inside.
    pub container: ContainerPort,
    /// The host's address to listen on; unspecified (0.0.0.0): all of them.
    pub host_ip: IpAddr,
    /// The host ports that will do; `0..=0`: any free one.
    pub host_ports: RangeInclusive<u16>,
}

/// A port as published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The port inside.
    pub container: ContainerPort,
    /// The host's address it listens on; unspecified: all of them.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

/// What a container asks to publish: `PortBindings`, and with `publish_all` every exposed port that they do not name.
/// Sorted, no doubles.
///
/// # Errors
/// Malformed ports and addresses, in Docker's words.
pub fn requests(
    exposed: &[String],
    bindings: &docker::PortMap,
    publish_all: bool,
) -> Result<Vec<PortRequest>, EngineError> {
    let mut wanted = Vec::new();
    let mut bound = BTreeSet::new();
    let sorted: BTreeMap<&String, &Option<Vec<docker::PortBinding>>> = bindings.iter().collect();
    for (port, hosts) in sorted {
        let container: ContainerPort = port.parse().map_err(EngineError::invalid)?;
        let hosts = hosts.as_deref().unwrap_or_default();
        for host in hosts {
            wanted.push(PortRequest {
                container,
                host_ip: host_ip(host.host_ip.as_deref().unwrap_or_default())?,
                host_ports: host_ports(host.host_port.as_deref().unwrap_or_default())?,
            });
        }
        if !hosts.is_empty() {
            bound.insert(container);
        }
    }
    if publish_all {
        for port in exposed {
            let container: ContainerPort = port.parse().map_err(EngineError::invalid)?;
            if bound.insert(container) {
                wanted.push(PortRequest { container, host_ip: Ipv4Addr::UNSPECIFIED.into(), host_ports: 0..=0 });
            }
        }
    }
    wanted.sort_by_key(|port| (port.container, port.host_ip, *port.host_ports.start()));
    wanted.dedup();
    Ok(wanted)
}

fn host_ip(text: &str) -> Result<IpAddr, EngineError> {
    if text.is_empty() {
        return Ok(Ipv4Addr::UNSPECIFIED.into());
    }
    text.parse().map_err(|_| EngineError::invalid(format!("invalid IP address: {text}")))
}

fn host_ports(text: &str) -> Result<RangeInclusive<u16>, EngineError> {
    let refusal = || EngineError::invalid(format!("invalid port specification: \"{text}\""));
    if text.is_empty() {
        return Ok(0..=0);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().map_err(|_| refusal())?, last.parse().map_err(|_| refusal())?);
    if first > last { Err(refusal()) } else { Ok(first..=last) }
}

/// `NetworkSettings.Ports`: every exposed port, with the host ports it has (`None`: not published).
pub fn port_map<'a>(exposed: &[String], published: impl IntoIterator<Item = &'a PublishedPort>) -> docker::PortMap {
    let mut map: docker::PortMap = exposed
        .iter()
        .filter_map(|port| port.parse::<ContainerPort>().ok())
        .map(|port| (port.to_string(), None))
        .collect::<HashMap<_, _>>();
    for port in published {
        let host = docker::PortBinding {
            host_ip: Some(port.host_ip.to_string()),
            host_port: Some(port.host_port.to_string()),
        };
        map.entry(port.container.to_string()).or_default().get_or_insert_default().push(host);
    }
    map
}

/// The ports as `GET /containers/json` lists them.
pub fn summaries<'a>(
    exposed: &[String],
    published: impl IntoIterator<Item = &'a PublishedPort>,
) -> Vec<docker::PortSummary> {
    let kind = |protocol| match protocol {
        Protocol::Tcp => docker::PortSummaryTypeEnum::TCP,
        Protocol::Udp => docker::PortSummaryTypeEnum::UDP,
        Protocol::Sctp => docker::PortSummaryTypeEnum::SCTP,
    };
    let mut published: Vec<&PublishedPort> = published.into_iter().collect();
    published.sort();
    let mut list: Vec<_> = published
        .iter()
        .map(|port| docker::PortSummary {
            ip: Some(port.host_ip.to_string()),
            private_port: port.container.port,
            public_port: Some(port.host_port),
            typ: Some(kind(port.container.protocol)),
        })
        .collect();
    let bound: BTreeSet<ContainerPort> = published.iter().map(|port| port.container).collect();
    let exposed: BTreeSet<ContainerPort> = exposed.iter().filter_map(|port| port.parse().ok()).collect();
    list.extend(exposed.difference(&bound).map(|port| docker::PortSummary {
        ip: None,
        private_port: port.port,
        public_port: None,
        typ: Some(kind(port.protocol)),
    }));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings(list: &[(&str, &[(&str, &str)])]) -> docker::PortMap {
        list.iter()
            .map(|(port, hosts)| {
                let hosts = hosts.iter().map(|(ip, port)| docker::PortBinding {
                    host_ip: Some((*ip).to_owned()),
                    host_port: Some((*port).to_owned()),
                });
                ((*port).to_owned(), Some(hosts.collect()))
            })
            .collect()
    }

    fn wanted(list: &[(&str, &[(&str, &str)])], exposed: &[&str], all: bool) -> Vec<String> {
        let exposed: Vec<String> = exposed.iter().map(|port| (*port).to_owned()).collect();
        requests(&exposed, &bindings(list), all)
            .unwrap()
            .into_iter()
            .map(|port| format!("{}:{:?}->{}", port.host_ip, port.host_ports, port.container))
            .collect()
    }

    #[test]
    fn bindings_become_requests() {
        assert_eq!(
            wanted(&[("80/tcp", &[("", "8080"), ("127.0.0.1", "8000-8009")])], &["443/tcp"], false),
            ["0.0.0.0:8080..=8080->80/tcp", "127.0.0.1:8000..=8009->80/tcp"]
        );
        assert_eq!(
            wanted(&[("53/udp", &[("", "")])], &["53/udp", "443"], true),
            ["0.0.0.0:0..=0->53/udp", "0.0.0.0:0..=0->443/tcp"]
        );
    }

    #[test]
    fn malformed_ports_are_told() {
        let refusal =
            |port, ip, host| requests(&[], &bindings(&[(port, &[(ip, host)])]), false).unwrap_err().to_string();
        assert_eq!(refusal("80/tpc", "", "1"), "invalid proto: tpc");
        assert_eq!(refusal("x/tcp", "", "1"), "invalid port specification: \"x/tcp\"");
        assert_eq!(refusal("80/tcp", "local", "1"), "invalid IP address: local");
        assert_eq!(refusal("80/tcp", "", "9-1"), "invalid port specification: \"9-1\"");
    }

    #[test]
    fn exposed_ports_are_listed_without_a_host_port() {
        let published = [PublishedPort {
            container: "80/tcp".parse().unwrap(),
            host_ip: Ipv4Addr::UNSPECIFIED.into(),
            host_port: 8080,
        }];
        let exposed = ["80/tcp".to_owned(), "443/tcp".to_owned()];
        let map = port_map(&exposed, &published);
        assert_eq!(map["443/tcp"], None);
        assert_eq!(map["80/tcp"].as_ref().unwrap()[0].host_port.as_deref(), Some("8080"));
        let list = summaries(&exposed, &published);
        assert_eq!(list.iter().map(|port| port.public_port).collect::<Vec<_>>(), [Some(8080), None]);
    }
}
