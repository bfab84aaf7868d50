//! What the room knows at any moment: networks, endpoints, claimed ports. Decisions only; the kernel hears of them later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use super::claims::{Claims, Listen};
use super::endpoint::{Endpoint, EndpointAddress, EndpointRequest, MacAddr};
use super::ipam::free_address;
use super::record::{Driver, NetworkRecord, Pool};
use super::rules::{self, Bridge, Publication};
use crate::engine::network::nft::Batch;
use crate::engine::{EngineError, ErrorKind};

/// The room's memory.
#[derive(Debug, Default)]
pub struct State {
    /// All networks, by ID.
    pub networks: BTreeMap<String, NetworkRecord>,
    /// All live endpoints, by ID.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// The networks whose bridge and rules are in the kernel.
    pub up: BTreeSet<String>,
    /// The host's ports.
    pub claims: Claims,
    /// The address last handed out, by network.
    last: HashMap<String, Ipv4Addr>,
}

impl State {
    /// The network of that name, ID or unambiguous ID prefix, in this order.
    ///
    /// # Errors
    /// None (404), or several (400).
    pub fn find(&self, name_or_id: &str) -> Result<&NetworkRecord, EngineError> {
        let exact = self.networks.get(name_or_id).or_else(|| self.networks.values().find(|it| it.name == name_or_id));
        if let Some(network) = exact {
            return Ok(network);
        }
        let mut close = self.networks.values().filter(|it| !name_or_id.is_empty() && it.id.starts_with(name_or_id));
        match (close.next(), close.count()) {
            (Some(network), 0) => Ok(network),
            (Some(_), more) => Err(EngineError::invalid(format!(
                "network {name_or_id} is ambiguous ({} matches found based on ID prefix)",
                more + 1
            ))),
            (None, _) => Err(EngineError::not_found(format!("network {name_or_id} not found"))),
        }
    }

    /// The endpoints on a network.
    pub fn members<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.values().filter(move |endpoint| endpoint.network_id == network)
    }

    /// A container's endpoints.
    pub fn of_container<'a>(&'a self, container: &'a str) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.values().filter(move |endpoint| endpoint.container_id == container)
    }

    /// Decides on an endpoint and takes note of it: address and ports are its own from now on.
    ///
    /// # Errors
    /// Docker's words for a taken or unfitting address, a taken port.
    pub fn admit(
        &mut self,
        id: String,
        host_link: String,
        request: &EndpointRequest,
        listen: Listen<'_>,
    ) -> Result<Endpoint, EngineError> {
        let network = self.find(&request.network)?.clone();
        if self.members(&network.id).any(|member| member.container_id == request.container_id) {
            let text =
                format!("endpoint with name {} already exists in network {}", request.container_name, network.name);
            return Err(EngineError::new(ErrorKind::Forbidden, text));
        }
        let address = match &network.pool {
            Some(pool) => Some(self.address(&network, pool, request)?),
            None => None,
        };
        // An internal network is reached from nowhere, so nothing is published there (as in Docker).
        let wanted = if network.internal || address.is_none() { &[][..] } else { &request.ports };
        let ports = self.claims.claim(&id, &request.container_name, wanted, listen)?;
        if let Some(address) = &address {
            self.last.insert(network.id.clone(), address.ip);
        }
        let endpoint = Endpoint {
            id: id.clone(),
            network_id: network.id,
            network_name: network.name,
            container_id: request.container_id.clone(),
            container_name: request.container_name.clone(),
            hostname: request.hostname.clone(),
            interface: if address.is_some() { request.interface.clone() } else { String::new() },
            host_link: if address.is_some() { host_link } else { String::new() },
            address,
            aliases: request.aliases.clone(),
            links: request.links.clone(),
            ports,
        };
        self.endpoints.insert(id, endpoint.clone());
        Ok(endpoint)
    }

    /// Forgets an endpoint; its address and ports are free. Whether there was one.
    pub fn dismiss(&mut self, id: &str) -> bool {
        self.claims.release(id);
        self.endpoints.remove(id).is_some()
    }

    fn address(
        &self,
        network: &NetworkRecord,
        pool: &Pool,
        request: &EndpointRequest,
    ) -> Result<EndpointAddress, EngineError> {
        let taken: BTreeSet<Ipv4Addr> = self
            .members(&network.id)
            .filter_map(|member| member.address.as_ref())
            .map(|address| address.ip)
            .chain(pool.reserved.values().copied())
            .chain([pool.gateway])
            .collect();
        let ip = match request.ip {
            Some(ip) => wanted_address(network, pool, ip, &taken)?,
            None => {
                let within = pool.range.unwrap_or(pool.subnet);
                let after = self.last.get(&network.id).copied();
                free_address(pool.subnet, within, after, |ip| taken.contains(&ip)).ok_or_else(|| {
                    let text = format!("no available IPv4 addresses on this network's address pools: {}", network.name);
                    EngineError::new(ErrorKind::System, text)
                })?
            }
        };
        Ok(EndpointAddress {
            ip,
            prefix: pool.subnet.prefix(),
            gateway: (!network.internal).then_some(pool.gateway),
            mac: request.mac.unwrap_or_else(|| MacAddr::for_ip(ip)),
        })
    }

    /// The bridges that are in the kernel, as the nft table sees them.
    fn bridges(&self) -> Vec<Bridge> {
        self.networks
            .values()
            .filter(|network| network.driver == Driver::Bridge && self.up.contains(&network.id))
            .filter_map(|network| {
                Some(Bridge {
                    link: network.link.clone()?,
                    subnet: network.pool.as_ref()?.subnet,
                    internal: network.internal,
                    masquerades: network.masquerades(),
                })
            })
            .collect()
    }

    /// The batch that makes the kernel's table say what this state says; without any bridge the table goes.
    pub fn table(&self, name: &str) -> Batch {
        let bridges = self.bridges();
        if bridges.is_empty() {
            return rules::remove(name);
        }
        let published: Vec<Publication> = self.endpoints.values().flat_map(publications).collect();
        rules::replace(name, &bridges, &published)
    }
}

/// An endpoint's published ports as the nft table sees them.
pub fn publications(endpoint: &Endpoint) -> Vec<Publication> {
    let Some(address) = &endpoint.address else { return Vec::new() };
    endpoint.ports.iter().filter_map(|port| Publication::new(port, address.ip)).collect()
}

fn wanted_address(
    network: &NetworkRecord,
    pool: &Pool,
    ip: Ipv4Addr,
    taken: &BTreeSet<Ipv4Addr>,
) -> Result<Ipv4Addr, EngineError> {
    if network.is_predefined() {
        return Err(EngineError::invalid("user specified IP address is supported on user defined networks only"));
    }
    if !pool.chosen {
        return Err(EngineError::invalid(format!(
            "invalid config for network {}: invalid endpoint settings:\nuser specified IP address is supported only \
             when connecting to networks with user configured subnets",
            network.name
        )));
    }
    if !pool.subnet.has_host(ip) {
        return Err(EngineError::invalid(format!(
            "invalid config for network {}: invalid endpoint settings:\nno configured subnet contains IP address {ip}",
            network.name
        )));
    }
    if taken.contains(&ip) {
        return Err(EngineError::new(ErrorKind::Forbidden, "Address already in use"));
    }
    Ok(ip)
}

#[cfg(test)]
mod tests {
    use super::super::create::{self, Facts};
    use super::super::ipam::Home;
    use super::*;
    use bollard_stubs::models as docker;

    fn state(subnet: Option<&str>) -> State {
        let config = docker::IpamConfig { subnet: subnet.map(str::to_owned), ..Default::default() };
        let request = docker::NetworkCreateRequest {
            name: "shop".to_owned(),
            ipam: subnet.map(|_| docker::Ipam { config: Some(vec![config]), ..Default::default() }),
            ..Default::default()
        };
        let id = "ab".repeat(32);
        let facts =
            Facts { id: &id, now: "", link_prefix: "by", host: &[], links: &[], others: &[], home: Home::Docker };
        let (network, _) = create::plan(&request, facts).unwrap();
        let mut state = State::default();
        state.networks.insert(network.id.clone(), network);
        state
    }

    fn admit(state: &mut State, container: &str, ip: Option<&str>) -> Result<String, String> {
        let request = EndpointRequest {
            network: "shop".to_owned(),
            container_id: container.to_owned(),
            container_name: container.to_owned(),
            ip: ip.map(|ip| ip.parse().unwrap()),
            ..Default::default()
        };
        state
            .admit(container.to_owned(), String::new(), &request, &|_, _, port| Ok((port, None)))
            .map(|endpoint| endpoint.address.unwrap().ip.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn networks_are_found_by_name_id_and_prefix() {
        let state = state(None);
        let id = "ab".repeat(32);
        for name in ["shop", &id, "abab"] {
            assert_eq!(state.find(name).unwrap().name, "shop");
        }
        assert_eq!(state.find("x").unwrap_err().to_string(), "network x not found");
    }

    #[test]
    fn addresses_are_handed_out_and_given_back() {
        let mut state = state(Some("10.1.0.0/29"));
        assert_eq!(admit(&mut state, "a", None), Ok("10.1.0.2".to_owned()));
        assert_eq!(admit(&mut state, "b", Some("10.1.0.5")), Ok("10.1.0.5".to_owned()));
        assert_eq!(admit(&mut state, "c", None), Ok("10.1.0.6".to_owned()));
        assert_eq!(admit(&mut state, "d", None), Ok("10.1.0.3".to_owned()));
        assert_eq!(admit(&mut state, "e", Some("10.1.0.5")), Err("Address already in use".to_owned()));
        assert_eq!(admit(&mut state, "e", None), Ok("10.1.0.4".to_owned()));
        assert!(admit(&mut state, "f", None).unwrap_err().starts_with("no available IPv4 addresses"));
        assert_eq!(admit(&mut state, "a", None), Err("endpoint with name a already exists in network shop".to_owned()));
        state.dismiss("a");
        assert_eq!(admit(&mut state, "f", None), Ok("10.1.0.2".to_owned()));
    }

    #[test]
    fn an_address_can_be_asked_for_only_where_the_subnet_was_given() {
        let refusal = admit(&mut state(None), "a", Some("172.17.0.9")).unwrap_err();
        assert!(refusal.ends_with("only when connecting to networks with user configured subnets"), "{refusal}");
        let refusal = admit(&mut state(Some("10.1.0.0/29")), "a", Some("10.2.0.1")).unwrap_err();
        assert!(refusal.ends_with("no configured subnet contains IP address 10.2.0.1"), "{refusal}");
    }
}
