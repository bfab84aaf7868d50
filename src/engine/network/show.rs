//! Networks as the Engine API shows them. Pure.

use std::collections::{BTreeMap, HashMap};

use bollard_stubs::models as docker;

use super::endpoint::Endpoint;
use super::record::NetworkRecord;
use crate::engine::EngineError;
use crate::engine::filters::Filters;

/// One entry of `GET /networks`.
pub fn network(record: &NetworkRecord) -> docker::Network {
    docker::Network {
        name: Some(record.name.clone()),
        id: Some(record.id.clone()),
        created: Some(record.created.clone()),
        scope: Some("local".to_owned()),
        driver: Some(record.driver.to_string()),
        enable_ipv4: Some(true),
        enable_ipv6: Some(record.ipv6),
        ipam: Some(ipam(record)),
        internal: Some(record.internal),
        attachable: Some(record.attachable),
        ingress: Some(false),
        config_from: Some(docker::ConfigReference { network: Some(String::new()) }),
        config_only: Some(false),
        options: Some(unsorted(&record.options)),
        labels: Some(unsorted(&record.labels)),
        peers: None,
    }
}

/// `GET /networks/{id}`.
pub fn inspect<'a>(record: &NetworkRecord, members: impl Iterator<Item = &'a Endpoint>) -> docker::NetworkInspect {
    let containers = members.map(|member| (member.container_id.clone(), resource(member))).collect();
    let network = network(record);
    docker::NetworkInspect {
        name: network.name,
        id: network.id,
        created: network.created,
        scope: network.scope,
        driver: network.driver,
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: network.ipam,
        internal: network.internal,
        attachable: network.attachable,
        ingress: network.ingress,
        config_from: network.config_from,
        config_only: network.config_only,
        options: network.options,
        labels: network.labels,
        peers: network.peers,
        containers: Some(containers),
        services: None,
        status: None,
    }
}

/// Refuses filters that networks don't have.
///
/// # Errors
/// Docker's `invalid filter 'x'`.
pub fn check_filters(filters: &Filters) -> Result<(), EngineError> {
    filters.accept(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    match filters.get("type").iter().find(|kind| !matches!(kind.as_str(), "custom" | "builtin")) {
        Some(kind) => Err(EngineError::invalid(format!("invalid filter: 'type'='{kind}'"))),
        None => filters.flag("dangling").map(drop),
    }
}

/// Whether `filters` let the network through; `is_used`: somebody is on it.
///
/// # Errors
/// A malformed `dangling`.
pub fn is_listed(record: &NetworkRecord, is_used: bool, filters: &Filters) -> Result<bool, EngineError> {
    let kind = if record.is_predefined() { "builtin" } else { "custom" };
    let dangling = filters.flag("dangling")?;
    Ok(filters.exact("driver", &record.driver.to_string())
        && filters.exact("scope", "local")
        && filters.exact("type", kind)
        && filters.prefix("id", &record.id)
        && filters.pattern("name", &record.name)
        && filters.labels(&unsorted(&record.labels))
        && dangling.is_none_or(|wanted| wanted == (!is_used && !record.is_predefined())))
}

/// A map as the models want it.
pub fn unsorted(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn ipam(record: &NetworkRecord) -> docker::Ipam {
    let config = record.pool.iter().map(|pool| docker::IpamConfig {
        subnet: Some(pool.subnet.to_string()),
        ip_range: pool.range.map(|range| range.to_string()),
        gateway: Some(pool.gateway.to_string()),
        auxiliary_addresses: (!pool.reserved.is_empty())
            .then(|| pool.reserved.iter().map(|(name, ip)| (name.clone(), ip.to_string())).collect()),
    });
    docker::Ipam {
        driver: Some("default".to_owned()),
        config: Some(config.collect()),
        options: (!record.ipam_options.is_empty()).then(|| unsorted(&record.ipam_options)),
    }
}

fn resource(member: &Endpoint) -> docker::EndpointResource {
    let address = member.address.as_ref();
    docker::EndpointResource {
        name: Some(member.container_name.clone()),
        endpoint_id: Some(member.id.clone()),
        mac_address: Some(address.map(|address| address.mac.to_string()).unwrap_or_default()),
        ipv4_address: Some(address.map(|address| format!("{}/{}", address.ip, address.prefix)).unwrap_or_default()),
        ipv6_address: Some(String::new()),
    }
}
