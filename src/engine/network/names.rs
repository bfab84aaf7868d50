//! Who is called what, as seen by one container. Pure.

use super::dns::NameTable;
use super::endpoint::Endpoint;
use super::record::NetworkRecord;

/// What `container` can resolve: all members of its networks that resolve names, by every name they have, plus
/// `name.network`, plus its own links' aliases.
pub fn table<'a>(
    container: &str,
    endpoints: &[&Endpoint],
    network: impl Fn(&str) -> Option<&'a NetworkRecord>,
) -> NameTable {
    let mut table = NameTable::default();
    for own in endpoints.iter().filter(|endpoint| endpoint.container_id == container) {
        let Some(record) = network(&own.network_id) else { continue };
        table.forwards |= !record.internal && own.address.is_some();
        if !record.resolves_names() {
            continue;
        }
        for member in endpoints.iter().filter(|endpoint| endpoint.network_id == own.network_id) {
            add_member(&mut table, member, record);
            for (alias, target) in &own.links {
                if is_called(member, target)
                    && let Some(address) = &member.address
                {
                    add(&mut table, alias, address.ip);
                }
            }
        }
    }
    table
}

fn add_member(table: &mut NameTable, member: &Endpoint, network: &NetworkRecord) {
    let Some(address) = &member.address else { return };
    for name in member.dns_names() {
        add(table, &name, address.ip);
        add(table, &format!("{name}.{}", network.name), address.ip);
    }
    table.addresses.insert(address.ip, format!("{}.{}", member.container_name, network.name));
}

fn add(table: &mut NameTable, name: &str, ip: std::net::Ipv4Addr) {
    let addresses = table.names.entry(name.to_ascii_lowercase()).or_default();
    if !addresses.contains(&ip) {
        addresses.push(ip);
    }
}

fn is_called(member: &Endpoint, name: &str) -> bool {
    member.container_name == name || (name.len() >= 12 && member.container_id.starts_with(name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::engine::network::endpoint::{EndpointAddress, MacAddr};
    use crate::engine::network::record::Driver;

    fn network(name: &str, internal: bool) -> NetworkRecord {
        NetworkRecord {
            id: name.to_owned(),
            name: name.to_owned(),
            driver: Driver::Bridge,
            created: String::new(),
            internal,
            attachable: false,
            ipv6: false,
            pool: None,
            link: None,
            borrows_link: false,
            options: BTreeMap::new(),
            ipam_options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    fn endpoint(network: &str, container: &str, last: u8) -> Endpoint {
        let ip = Ipv4Addr::new(10, 0, 0, last);
        Endpoint {
            id: String::new(),
            network_id: network.to_owned(),
            network_name: network.to_owned(),
            container_id: format!("{container:0<64}"),
            container_name: container.to_owned(),
            hostname: None,
            interface: "eth0".to_owned(),
            host_link: String::new(),
            address: Some(EndpointAddress { ip, prefix: 24, gateway: None, mac: MacAddr::for_ip(ip) }),
            aliases: Vec::new(),
            links: Vec::new(),
            ports: Vec::new(),
        }
    }

    fn seen_by(container: &str, endpoints: &[Endpoint], internal: bool) -> NameTable {
        let networks = [network("shop", internal), network("other", false), network("bridge", false)];
        let all: Vec<&Endpoint> = endpoints.iter().collect();
        table(&format!("{container:0<64}"), &all, |id| networks.iter().find(|network| network.id == id))
    }

    #[test]
    fn members_of_the_same_network_are_known_by_all_their_names() {
        let mut db = endpoint("shop", "db", 3);
        db.aliases = vec!["Store".to_owned()];
        let endpoints = [endpoint("shop", "web", 2), db, endpoint("other", "far", 4)];
        let seen = seen_by("web", &endpoints, false);
        let names: Vec<&str> = seen.names.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "db",
                "db.shop",
                "db0000000000",
                "db0000000000.shop",
                "store",
                "store.shop",
                "web",
                "web.shop",
                "web000000000",
                "web000000000.shop"
            ]
        );
        assert_eq!(seen.addresses[&Ipv4Addr::new(10, 0, 0, 3)], "db.shop");
        assert!(seen.forwards);
    }

    #[test]
    fn one_alias_may_be_many_containers() {
        let mut one = endpoint("shop", "one", 2);
        let mut two = endpoint("shop", "two", 3);
        one.aliases = vec!["app".to_owned()];
        two.aliases = vec!["app".to_owned()];
        assert_eq!(seen_by("one", &[one, two], false).names["app"].len(), 2);
    }

    #[test]
    fn links_are_seen_by_their_owner_only() {
        let mut web = endpoint("shop", "web", 2);
        web.links = vec![("database".to_owned(), "db".to_owned())];
        let endpoints = [web, endpoint("shop", "db", 3)];
        assert_eq!(seen_by("web", &endpoints, false).names["database"], [Ipv4Addr::new(10, 0, 0, 3)]);
        assert!(!seen_by("db", &endpoints, false).names.contains_key("database"));
    }

    #[test]
    fn the_default_bridge_has_no_names_and_internal_networks_do_not_forward() {
        assert_eq!(seen_by("web", &[endpoint("bridge", "web", 2)], false).names.len(), 0);
        assert!(!seen_by("web", &[endpoint("shop", "web", 2)], true).forwards);
    }
}
