//! A container's /etc/hosts, /etc/hostname and /etc/resolv.conf.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use super::create::disk;
use super::live::Container;
use super::record::ContainerRecord;
use super::room::Room;
use super::sandbox::{Sandbox, links};
use crate::engine::EngineError;
use crate::engine::network::files::{DnsSettings, HostResolver, Hosts, ResolverKind, hostname, hosts, resolv_conf};
use crate::engine::network::{Endpoint, NetworkMode};
use crate::engine::oci::{MountPlan, NetNs};
use crate::engine::volume::MountedPoint;

/// The files every container gets from us.
const NETWORK_FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

impl Room {
    /// Writes them, and says how they are mounted.
    pub(super) async fn write_network_files(
        &self,
        container: &Container,
        record: &ContainerRecord,
        sandbox: &Sandbox,
    ) -> Result<Vec<MountPlan>, EngineError> {
        let files = match NetworkMode::parse(record.network_mode()) {
            NetworkMode::Container(name) => {
                let other = self.index.find(&name)?;
                NETWORK_FILES.map(|file| (file, other.folder.network_file(file)))
            }
            _ => NETWORK_FILES.map(|file| (file, container.folder.network_file(file))),
        };
        if !matches!(sandbox.plan, NetNs::JoinPid(_)) {
            let endpoints: Vec<&Endpoint> =
                sandbox.places.iter().filter_map(|(_, place)| place.endpoint.as_ref()).collect();
            let texts = self.network_texts(record, &endpoints, sandbox.resolver)?;
            let targets: Vec<PathBuf> = files.iter().map(|(_, path)| path.clone()).collect();
            Self::blocking(move || {
                for (path, text) in targets.iter().zip(texts) {
                    fs::write(path, text).map_err(disk("write the container's network files"))?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(network_file_plans(&files, &record.mounts))
    }

    /// The texts of hosts, hostname and resolv.conf.
    pub fn network_texts(
        &self,
        record: &ContainerRecord,
        endpoints: &[&Endpoint],
        resolver: ResolverKind,
    ) -> Result<[String; 3], EngineError> {
        let name = record.config.hostname.clone().unwrap_or_default();
        let domain = record.config.domainname.clone().unwrap_or_default();
        let addresses: Vec<IpAddr> = endpoints
            .iter()
            .filter_map(|endpoint| endpoint.address.as_ref())
            .map(|address| address.ip.into())
            .collect();
        let extra = record.host_config.extra_hosts.clone().unwrap_or_default();
        let links = self.default_bridge_links(record);
        let text = hosts(&Hosts {
            hostname: &name,
            domainname: &domain,
            addresses: &addresses,
            extra_hosts: &extra,
            host_gateway: self.rooms.networks.host_gateway(),
            links: &links,
        })?;
        let text = if resolver == ResolverKind::Host { host_hosts(&extra, &text) } else { text };
        Ok([text, hostname(&name), resolv_conf(resolver, &HostResolver::read(), dns_settings(record))])
    }

    /// `--link` on the default bridge: other containers' addresses by alias, name and host name.
    fn default_bridge_links(&self, record: &ContainerRecord) -> Vec<(IpAddr, Vec<String>)> {
        if record.network_mode() != "bridge" {
            return Vec::new();
        }
        let entry = |(target, alias): (String, String)| {
            let other = self.index.find(&target).ok()?.record();
            let address = other.endpoints().find(|endpoint| endpoint.network_name == "bridge")?.address.as_ref()?.ip;
            let mut names = vec![alias, other.short_id().to_owned(), other.name.clone()];
            names.dedup();
            Some((address.into(), names))
        };
        links(record).into_iter().filter_map(entry).collect()
    }
}

/// The binds of the files that Docker gives every container, where the person mounts nothing in their place.
fn network_file_plans(files: &[(&str, PathBuf)], points: &[MountedPoint]) -> Vec<MountPlan> {
    let is_taken = |target: &str| points.iter().any(|point| point.request.target == target);
    files
        .iter()
        .map(|(name, path)| (format!("/etc/{name}"), path))
        .filter(|(target, _)| !is_taken(target))
        .map(|(target, path)| MountPlan::bind(path.clone(), target).shifted())
        .collect()
}

/// On the host's network: the host's own file, and the extra hosts.
fn host_hosts(extra: &[String], generated: &str) -> String {
    let Ok(mut own) = fs::read_to_string("/etc/hosts") else { return generated.to_owned() };
    if !own.ends_with('\n') {
        own.push('\n');
    }
    for entry in extra {
        if let Some((name, address)) = entry.split_once(['=', ':']) {
            own.push_str(&format!("{address}\t{name}\n"));
        }
    }
    own
}

/// `--dns` and its companions.
pub fn dns_settings(record: &ContainerRecord) -> DnsSettings<'_> {
    DnsSettings {
        servers: record.host_config.dns.as_deref().unwrap_or_default(),
        search: record.host_config.dns_search.as_deref().unwrap_or_default(),
        options: record.host_config.dns_options.as_deref().unwrap_or_default(),
    }
}
