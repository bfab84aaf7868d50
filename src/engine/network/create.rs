//! What a new network is to be, from what was asked and what is there already. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bollard_stubs::models as docker;

use super::ipam::{Home, Subnet, free_subnet};
use super::record::{Driver, NetworkRecord, Pool};
use crate::engine::{EngineError, ErrorKind};

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// The longest name a link can have (IFNAMSIZ less the NUL).
const LINK_NAME: usize = 15;

/// What the room knows when a network is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The new network's 64 hex digits.
    pub id: &'a str,
    /// Now, RFC 3339.
    pub now: &'a str,
    /// What names of our links begin with.
    pub link_prefix: &'a str,
    /// Subnets that an automatic choice avoids: the host's live routes and name servers.
    pub host: &'a [Subnet],
    /// The names of the host's links.
    pub links: &'a [String],
    /// The other networks.
    pub others: &'a [NetworkRecord],
    /// Where automatic subnets come from.
    pub home: Home,
}

/// The network that `request` asks for, and a warning for the client (empty: none).
///
/// # Errors
/// Docker's words: 400 for malformed settings, 403 for overlaps and reserved names, 409 for a name in use, 404 for an
/// unknown driver.
pub fn plan(request: &docker::NetworkCreateRequest, facts: Facts<'_>) -> Result<(NetworkRecord, String), EngineError> {
    let name = request.name.trim();
    check_name(name, facts.others)?;
    check_kind(request)?;
    let options = sorted(request.options.as_ref());
    let internal = request.internal.unwrap_or_default();
    let (pool, warning) = pool(request.ipam.as_ref(), facts)?;
    let link = link(&options, facts)?;
    if let Some(mtu) = options.get("com.docker.network.driver.mtu")
        && !mtu.parse::<u32>().is_ok_and(|mtu| mtu >= 68)
    {
        return Err(EngineError::invalid(format!("failed to parse com.docker.network.driver.mtu value: \"{mtu}\"")));
    }
    let record = NetworkRecord {
        id: facts.id.to_owned(),
        name: name.to_owned(),
        driver: Driver::Bridge,
        created: facts.now.to_owned(),
        internal,
        attachable: request.attachable.unwrap_or_default(),
        ipv6: request.enable_ipv6.unwrap_or_default(),
        pool: Some(pool),
        borrows_link: facts.links.contains(&link),
        link: Some(link),
        options,
        ipam_options: sorted(request.ipam.as_ref().and_then(|ipam| ipam.options.as_ref())),
        labels: sorted(request.labels.as_ref()),
    };
    Ok((record, warning))
}

/// The networks every engine has: bridge, host and none.
pub fn predefined(name: &str, facts: Facts<'_>, default_bridge: &str) -> Result<NetworkRecord, EngineError> {
    let driver = match name {
        "bridge" => Driver::Bridge,
        "host" => Driver::Host,
        _ => Driver::Null,
    };
    let pool = match driver {
        Driver::Bridge => Some(pool(None, facts)?.0),
        Driver::Host | Driver::Null => None,
    };
    let options: BTreeMap<String, String> = match driver {
        Driver::Bridge => [
            ("com.docker.network.bridge.default_bridge", "true"),
            ("com.docker.network.bridge.enable_icc", "true"),
            ("com.docker.network.bridge.enable_ip_masquerade", "true"),
            ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
            (BRIDGE_NAME, default_bridge),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        Driver::Host | Driver::Null => BTreeMap::new(),
    };
    Ok(NetworkRecord {
        id: facts.id.to_owned(),
        name: name.to_owned(),
        driver,
        created: facts.now.to_owned(),
        internal: false,
        attachable: false,
        ipv6: false,
        borrows_link: false,
        link: pool.is_some().then(|| default_bridge.to_owned()),
        pool,
        options,
        ipam_options: BTreeMap::new(),
        labels: BTreeMap::new(),
    })
}

fn check_name(name: &str, others: &[NetworkRecord]) -> Result<(), EngineError> {
    if name.is_empty() {
        return Err(EngineError::invalid("invalid network name: name is empty"));
    }
    if matches!(name, "bridge" | "host" | "none" | "default") {
        let text = format!("operation is not permitted on predefined {name} network ");
        return Err(EngineError::new(ErrorKind::Forbidden, text));
    }
    if name.starts_with("container:") || name.contains('/') {
        return Err(EngineError::invalid(format!("invalid network name: {name}")));
    }
    if others.iter().any(|other| other.name == name) {
        return Err(EngineError::conflict(format!("network with name {name} already exists")));
    }
    Ok(())
}

fn check_kind(request: &docker::NetworkCreateRequest) -> Result<(), EngineError> {
    let unsupported = |what| Err(EngineError::new(ErrorKind::NotImplemented, format!("{what} is not supported")));
    match request.driver.as_deref().unwrap_or_default() {
        "" | "bridge" | "default" => {}
        only @ ("host" | "null") => {
            let text = format!("only one instance of \"{only}\" network is allowed");
            return Err(EngineError::new(ErrorKind::Forbidden, text));
        }
        swarm @ "overlay" => {
            let text = format!(
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
                 node to swarm and try again. ({swarm} networks need one)"
            );
            return Err(EngineError::new(ErrorKind::Unavailable, text));
        }
        later @ ("macvlan" | "ipvlan") => return unsupported(format!("the network driver {later}")),
        other => return Err(EngineError::not_found(format!("plugin \"{other}\" not found"))),
    }
    if request.config_only.unwrap_or_default() || request.config_from.as_ref().is_some_and(has_network) {
        return unsupported("a configuration-only network".to_owned());
    }
    if request.ingress.unwrap_or_default() {
        return unsupported("an ingress network".to_owned());
    }
    if request.enable_ipv4 == Some(false) {
        return unsupported("a network without IPv4".to_owned());
    }
    match request.ipam.as_ref().and_then(|ipam| ipam.driver.as_deref()).unwrap_or_default() {
        "" | "default" => Ok(()),
        other => Err(EngineError::not_found(format!("plugin \"{other}\" not found"))),
    }
}

fn has_network(from: &docker::ConfigReference) -> bool {
    from.network.as_deref().is_some_and(|name| !name.is_empty())
}

fn link(options: &BTreeMap<String, String>, facts: Facts<'_>) -> Result<String, EngineError> {
    let Some(name) = options.get(BRIDGE_NAME).filter(|name| !name.is_empty()) else {
        return Ok(format!("{}b{}", facts.link_prefix, facts.id.get(..8).unwrap_or(facts.id)));
    };
    let is_odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || !c.is_ascii();
    if name.len() > LINK_NAME || name.contains(is_odd) || name == "." || name == ".." {
        return Err(EngineError::invalid(format!("invalid bridge name: {name}")));
    }
    if let Some(other) = facts.others.iter().find(|other| other.link.as_ref() == Some(name)) {
        let text = format!(
            "cannot create network {} ({name}): conflicts with network {} ({}): networks have same bridge name",
            facts.id, other.id, other.name
        );
        return Err(EngineError::new(ErrorKind::Forbidden, text));
    }
    Ok(name.clone())
}

/// The network's addresses, and a warning about what of the request is passed over.
fn pool(ipam: Option<&docker::Ipam>, facts: Facts<'_>) -> Result<(Pool, String), EngineError> {
    let all = ipam.and_then(|ipam| ipam.config.as_deref()).unwrap_or_default();
    let is_six = |config: &&docker::IpamConfig| config.subnet.as_deref().is_some_and(|subnet| subnet.contains(':'));
    let (six, four): (Vec<_>, Vec<_>) = all.iter().partition(is_six);
    let warning = if six.is_empty() { "" } else { "IPv6 subnets are kept out: this engine's networks have IPv4 only" };
    if four.len() > 1 {
        return Err(EngineError::invalid("invalid network config:\na bridge network has one IPv4 subnet"));
    }
    let asked = four.first().map(|config| Asked::read(config)).transpose()?.unwrap_or_default();
    let others = || facts.others.iter().filter_map(|other| other.pool.as_ref()).map(|pool| pool.subnet);
    let subnet = match asked.subnet {
        Some(subnet) => {
            if others().any(|other| other.overlaps(&subnet)) {
                let text = "invalid pool request: Pool overlaps with other one on this address space";
                return Err(EngineError::new(ErrorKind::Forbidden, text));
            }
            subnet
        }
        None => {
            let taken: Vec<Subnet> = facts.host.iter().copied().chain(others()).collect();
            free_subnet(&taken, facts.home)
                .ok_or_else(|| EngineError::invalid("all predefined address pools have been fully subnetted"))?
        }
    };
    let gateway = match asked.gateway {
        Some(gateway) => gateway,
        None => first_host(subnet, &asked.reserved)
            .ok_or_else(|| EngineError::invalid(format!("no available IPv4 addresses in the subnet {subnet}")))?,
    };
    let pool = Pool { subnet, gateway, range: asked.range, reserved: asked.reserved, chosen: asked.subnet.is_some() };
    Ok((pool, warning.to_owned()))
}

fn first_host(subnet: Subnet, reserved: &BTreeMap<String, Ipv4Addr>) -> Option<Ipv4Addr> {
    super::ipam::free_address(subnet, subnet, None, |ip| reserved.values().any(|taken| *taken == ip))
}

/// What a request says about addresses, each part checked against the others.
#[derive(Debug, Default)]
struct Asked {
    subnet: Option<Subnet>,
    range: Option<Subnet>,
    gateway: Option<Ipv4Addr>,
    reserved: BTreeMap<String, Ipv4Addr>,
}

impl Asked {
    fn read(config: &docker::IpamConfig) -> Result<Self, EngineError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let auxiliary = sorted(config.auxiliary_addresses.as_ref());
        let Some(subnet) = given(&config.subnet) else {
            // Docker takes a gateway or range only together with the subnet they are part of.
            let alone = given(&config.gateway).is_some() || given(&config.ip_range).is_some() || !auxiliary.is_empty();
            let text = "invalid network config:\ninvalid subnet : invalid CIDR block notation";
            return if alone { Err(EngineError::invalid(text)) } else { Ok(Self::default()) };
        };
        let mut faults = Vec::new();
        let subnet = match cidr(&subnet) {
            Ok((_, whole)) if whole.to_string() == subnet => whole,
            Ok((_, whole)) => {
                faults.push(format!("invalid subnet {subnet}: it should be {whole}"));
                whole
            }
            Err(reason) => return Err(faulty(&[format!("invalid subnet {subnet}: {reason}")])),
        };
        let range = given(&config.ip_range).and_then(|text| match range(&text, subnet) {
            Ok(range) => Some(range),
            Err(reason) => {
                faults.push(format!("invalid ip-range {text}: {reason}"));
                None
            }
        });
        let gateway = given(&config.gateway).and_then(|text| match address(&text, subnet) {
            Ok(address) => Some(address),
            Err(reason) => {
                faults.push(format!("invalid gateway {text}: {reason}"));
                None
            }
        });
        let mut reserved = BTreeMap::new();
        for (name, text) in auxiliary {
            match address(&text, subnet) {
                Ok(address) => drop(reserved.insert(name, address)),
                Err(reason) => faults.push(format!("invalid auxiliary address {name}: {reason}")),
            }
        }
        if faults.is_empty() {
            Ok(Self { subnet: Some(subnet), range, gateway, reserved })
        } else {
            Err(faulty(&faults))
        }
    }
}

fn faulty(faults: &[String]) -> EngineError {
    EngineError::invalid(format!("invalid network config:\n{}", faults.join("\n")))
}

fn cidr(text: &str) -> Result<(Ipv4Addr, Subnet), String> {
    let malformed = || "invalid CIDR block notation".to_owned();
    let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
    let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
    let subnet = prefix.parse().ok().and_then(|prefix| Subnet::around(address, prefix)).ok_or_else(malformed)?;
    Ok((address, subnet))
}

fn range(text: &str, subnet: Subnet) -> Result<Subnet, String> {
    let (address, range) = cidr(text)?;
    if range.prefix() < subnet.prefix() {
        return Err(format!("CIDR block is bigger than its parent subnet {subnet}"));
    }
    if range.base() != address {
        return Err(format!("it should be {range}"));
    }
    if !subnet.contains(range.base()) {
        return Err(format!("parent subnet {subnet} doesn't contain ip-range"));
    }
    Ok(range)
}

fn address(text: &str, subnet: Subnet) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| "invalid address".to_owned())?;
    if subnet.contains(address) {
        Ok(address)
    } else {
        Err(format!("parent subnet {subnet} doesn't contain this address"))
    }
}

fn sorted(map: Option<&std::collections::HashMap<String, String>>) -> BTreeMap<String, String> {
    map.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn facts(others: &[NetworkRecord]) -> Facts<'_> {
        Facts {
            id: ID,
            now: "2026-01-01T00:00:00Z",
            link_prefix: "by",
            host: &[],
            links: &[],
            others,
            home: Home::Docker,
        }
    }

    fn request(name: &str) -> docker::NetworkCreateRequest {
        docker::NetworkCreateRequest { name: name.to_owned(), ..Default::default() }
    }

    fn with_ipam(config: docker::IpamConfig) -> docker::NetworkCreateRequest {
        let ipam = docker::Ipam { config: Some(vec![config]), ..Default::default() };
        docker::NetworkCreateRequest { ipam: Some(ipam), ..request("net") }
    }

    fn ipam(subnet: &str, range: &str, gateway: &str) -> docker::NetworkCreateRequest {
        let given = |text: &str| Some(text.to_owned());
        with_ipam(docker::IpamConfig {
            subnet: given(subnet),
            ip_range: given(range),
            gateway: given(gateway),
            auxiliary_addresses: None,
        })
    }

    fn refusal(request: &docker::NetworkCreateRequest, others: &[NetworkRecord]) -> String {
        plan(request, facts(others)).unwrap_err().to_string()
    }

    #[test]
    fn a_plain_request_gets_a_free_subnet_and_a_link_of_ours() {
        let (net, warning) = plan(&request("net"), facts(&[])).unwrap();
        let pool = net.pool.clone().unwrap();
        assert_eq!((pool.subnet.to_string(), pool.gateway.to_string()), ("172.17.0.0/16".into(), "172.17.0.1".into()));
        assert_eq!(net.link.as_deref(), Some("byb01234567"));
        assert_eq!(warning, "");

        let (second, _) = plan(&request("second"), facts(&[net])).unwrap();
        assert_eq!(second.pool.unwrap().subnet.to_string(), "172.18.0.0/16");
    }

    #[test]
    fn addresses_may_be_given() {
        let (net, _) = plan(&ipam("10.9.0.0/16", "10.9.5.0/24", "10.9.0.254"), facts(&[])).unwrap();
        let pool = net.pool.unwrap();
        assert_eq!(pool.gateway, Ipv4Addr::new(10, 9, 0, 254));
        assert_eq!(pool.range, Some("10.9.5.0/24".parse().unwrap()));
        assert!(pool.chosen);
    }

    #[test]
    fn refusals_are_dockers_words() {
        let (net, _) = plan(&request("net"), facts(&[])).unwrap();
        let others = [net];
        assert_eq!(refusal(&request("net"), &others), "network with name net already exists");
        assert_eq!(refusal(&request("host"), &[]), "operation is not permitted on predefined host network ");
        assert_eq!(
            refusal(&ipam("172.17.8.0/24", "", ""), &[NetworkRecord { name: "x".into(), ..others[0].clone() }]),
            "invalid pool request: Pool overlaps with other one on this address space"
        );
        assert_eq!(
            refusal(&ipam("10.0.0.1/8", "11.0.0.0/16", "12.0.0.1"), &[]),
            "invalid network config:\n\
             invalid subnet 10.0.0.1/8: it should be 10.0.0.0/8\n\
             invalid ip-range 11.0.0.0/16: parent subnet 10.0.0.0/8 doesn't contain ip-range\n\
             invalid gateway 12.0.0.1: parent subnet 10.0.0.0/8 doesn't contain this address"
        );
        assert_eq!(
            refusal(&ipam("nonsense", "", ""), &[]),
            "invalid network config:\ninvalid subnet nonsense: invalid CIDR block notation"
        );
        let strange = docker::NetworkCreateRequest { driver: Some("strange".into()), ..request("net") };
        assert_eq!(refusal(&strange, &[]), "plugin \"strange\" not found");
    }

    #[test]
    fn the_default_bridge_has_its_own_link() {
        let bridge = predefined("bridge", facts(&[]), "boxyard0").unwrap();
        assert_eq!(bridge.link.as_deref(), Some("boxyard0"));
        assert_eq!(bridge.option(BRIDGE_NAME), Some("boxyard0"));
        assert!(predefined("none", facts(&[]), "boxyard0").unwrap().pool.is_none());
    }
}
