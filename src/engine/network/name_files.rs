//! The name tables on disk, one beside each container's socket: its shim answers names out of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use super::dns::DnsConfig;
use super::endpoint::Endpoint;
use super::error::NetworkError;
use super::networks::Networks;
use super::record::NetworkRecord;
use crate::engine::EngineError;

impl Networks {
    /// The settings of a container's resolver, for its shim; `upstreams` come from [`super::files::upstreams`].
    pub fn dns_config(&self, container_id: &str, upstreams: Vec<IpAddr>) -> DnsConfig {
        DnsConfig { names_path: self.names_path(container_id), upstreams }
    }

    fn names_path(&self, container_id: &str) -> PathBuf {
        self.instance.run().join("containers").join(container_id).join("names.json")
    }

    /// Rewrites the name tables of everybody whom `changed` concerns: its own container and the other members of its
    /// network; with `None`, of all. A container that has no folder any more has no use for one.
    pub(super) async fn write_names(&self, changed: Option<&Endpoint>) -> Result<(), EngineError> {
        let files: Vec<_> = {
            let state = self.state();
            let mut containers: BTreeSet<&str> = match changed {
                Some(changed) => {
                    let resolves = state.networks.get(&changed.network_id).is_some_and(NetworkRecord::resolves_names);
                    let members = state.members(&changed.network_id).filter(|_| resolves);
                    members.map(|member| member.container_id.as_str()).collect()
                }
                None => state.endpoints.values().map(|endpoint| endpoint.container_id.as_str()).collect(),
            };
            containers.extend(changed.map(|changed| changed.container_id.as_str()));
            let all: Vec<&Endpoint> = state.endpoints.values().collect();
            containers
                .into_iter()
                .map(|id| (self.names_path(id), super::names::table(id, &all, |id| state.networks.get(id))))
                .collect()
        };
        let write = move || files.iter().try_for_each(|(path, table)| super::dns::write_table(path, table));
        let written = tokio::task::spawn_blocking(write).await;
        Ok(written.unwrap_or(Err(NetworkError::Worker { step: "write names" }))?)
    }

    /// Removes a name table's folder where nothing else is in it: a build step's, whose bundle is elsewhere. A container's
    /// own folder holds more and goes with the container.
    pub(super) fn drop_lone_names(&self, container_id: &str) {
        let table = self.names_path(container_id);
        let folder = table.parent().unwrap_or(&table);
        let is_lone = std::fs::read_dir(folder)
            .is_ok_and(|entries| entries.map_while(Result::ok).all(|entry| entry.path() == table));
        if is_lone {
            // That it is gone already, or was filled this moment, is as good.
            let _ = std::fs::remove_file(&table);
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// Makes the folder for a container's name table, where it is missing, and writes everybody's.
    pub(super) async fn make_names(&self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let path = self.names_path(&endpoint.container_id);
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder).map_err(|source| NetworkError::File {
            action: "create",
            path: folder.to_owned(),
            source,
        })?;
        self.write_names(Some(endpoint)).await
    }
}
