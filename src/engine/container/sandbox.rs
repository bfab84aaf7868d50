//! The network of a container that is about to start: a namespace of its own, another container's or the host's.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use bollard_stubs::models as docker;

use super::create::disk;
use super::record::{ContainerRecord, NetworkPlace};
use super::room::Room;
use super::sharing::joinable_pid;
use crate::engine::EngineError;
use crate::engine::network::files::ResolverKind;
use crate::engine::network::ports::requests;
use crate::engine::network::{Driver, Endpoint, EndpointRequest, NetworkMode};
use crate::engine::oci::{NetNs, UserNs};
use crate::engine::shim::user_sandbox;

/// The network of a container that is about to start.
pub(super) struct Sandbox {
    /// What the runtime is told.
    pub plan: NetNs,
    /// The namespace, where it is the container's own.
    pub netns: Option<OwnedFd>,
    /// The container's places on its networks, the first one first.
    pub places: Vec<(String, NetworkPlace)>,
    /// Who answers its names.
    pub resolver: ResolverKind,
    /// Whether it is on a network with names.
    pub has_dns: bool,
}

impl Room {
    /// The network namespace, with the container on all its networks. What it has joined is in `joined`, after a failure, too.
    pub(super) async fn make_sandbox(
        &self,
        record: &ContainerRecord,
        joined: &mut Vec<Endpoint>,
    ) -> Result<Sandbox, EngineError> {
        let is_remapped = self.user_namespace(record) != UserNs::Host;
        let bare = |plan, resolver| Sandbox { plan, netns: None, places: Vec::new(), resolver, has_dns: false };
        let mode = NetworkMode::parse(record.network_mode());
        if record.config.network_disabled == Some(true) && !is_remapped {
            return Ok(bare(NetNs::Fresh, ResolverKind::Reachable));
        }
        if let NetworkMode::Container(name) = &mode {
            let other = self.index.find(name)?;
            let pid = joinable_pid(&other, "network")?;
            self.may_share_with(record, &other.record())?;
            return Ok(bare(NetNs::JoinPid(pid), ResolverKind::Reachable));
        }
        let is_host = mode == NetworkMode::Host;
        let netns = if is_host {
            fs::File::open("/proc/self/ns/net").map(OwnedFd::from).map_err(disk("open the host's network namespace"))?
        } else if let (Some(shift), true) = (self.rooms.instance.remap(), is_remapped) {
            user_sandbox(&self.rooms.binary, shift, self.shared_user_namespace(record)?).await?
        } else {
            self.rooms.networks.new_sandbox().await?
        };
        if record.config.network_disabled == Some(true) {
            return Ok(Sandbox { netns: Some(netns), ..bare(NetNs::Inherited, ResolverKind::Reachable) });
        }
        let mut resolver = if is_host { ResolverKind::Host } else { ResolverKind::Reachable };
        let mut ports = requests(
            &record.exposed_ports(),
            record.host_config.port_bindings.as_ref().unwrap_or(&std::collections::HashMap::new()),
            record.host_config.publish_all_ports == Some(true),
        )?;
        let mut places = Vec::new();
        let mut has_dns = false;
        let mut links = 0_u32;
        for (name, place) in primary_first(record) {
            let network = self.rooms.networks.find(name)?;
            if network.resolves_names() {
                resolver = ResolverKind::Embedded;
            }
            has_dns |= network.driver == Driver::Bridge;
            let takes_ports = network.driver == Driver::Bridge && !network.internal;
            let request = EndpointRequest {
                ports: if takes_ports { std::mem::take(&mut ports) } else { Vec::new() },
                ..endpoint_request(record, &network.name, &place.asked)?
            };
            let request = if is_host {
                request
            } else {
                // Nobody but us has put links into a namespace that is this new, so there is nothing to look up in it.
                EndpointRequest { interface: format!("eth{links}"), ..request }
            };
            links += u32::from(network.driver == Driver::Bridge);
            let endpoint = self.rooms.networks.connect(netns.as_fd(), request).await?;
            joined.push(endpoint.clone());
            places.push((network.name, NetworkPlace { asked: place.asked.clone(), endpoint: Some(endpoint) }));
        }
        let (plan, netns) = if is_host { (NetNs::Host, None) } else { (NetNs::Inherited, Some(netns)) };
        Ok(Sandbox { plan, netns, places, resolver, has_dns })
    }
}

/// The network of the mode comes first, so that it is `eth0`; then the others by name.
fn primary_first(record: &ContainerRecord) -> Vec<(&String, &NetworkPlace)> {
    let mode = record.network_mode();
    let mut places: Vec<_> = record.networks.iter().collect();
    places.sort_by_key(|(name, _)| (name.as_str() != mode, name.as_str()));
    places
}

/// What a container asks of one of its networks, without the ports.
///
/// # Errors
/// A malformed address, in Docker's words.
pub fn endpoint_request(
    record: &ContainerRecord,
    network: &str,
    asked: &docker::EndpointSettings,
) -> Result<EndpointRequest, EngineError> {
    let wanted = asked.ipam_config.as_ref().and_then(|config| config.ipv4_address.as_deref());
    let ip = wanted
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|_| EngineError::invalid(format!("invalid IPv4 address: {text}"))))
        .transpose()?;
    let mac = asked
        .mac_address
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(EngineError::invalid))
        .transpose()?;
    let hostname = record.config.hostname.clone().filter(|name| !name.is_empty() && name != record.short_id());
    let mut all_links = asked.links.iter().flatten().map(|link| split_link(link)).collect::<Vec<_>>();
    if record.network_mode() == network {
        all_links.extend(links(record));
    }
    Ok(EndpointRequest {
        network: network.to_owned(),
        container_id: record.id.clone(),
        container_name: record.name.clone(),
        hostname,
        interface: String::new(),
        aliases: asked.aliases.clone().unwrap_or_default(),
        links: all_links.into_iter().map(|(target, alias)| (alias, target)).collect(),
        ip,
        mac,
        ports: Vec::new(),
    })
}

/// `--link` as pairs of other container and alias.
pub(super) fn links(record: &ContainerRecord) -> Vec<(String, String)> {
    record.host_config.links.iter().flatten().map(|link| split_link(link)).collect()
}

/// `web`, `web:alias`, `/web:/me/alias`.
fn split_link(link: &str) -> (String, String) {
    let last = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
    let (target, alias) = link.split_once(':').unwrap_or((link, link));
    (last(target), last(alias))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_all_their_forms() {
        let pair = |target: &str, alias: &str| (target.to_owned(), alias.to_owned());
        assert_eq!(split_link("web"), pair("web", "web"));
        assert_eq!(split_link("web:w"), pair("web", "w"));
        assert_eq!(split_link("/web:/me/w"), pair("web", "w"));
    }
}
