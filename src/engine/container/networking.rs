//! Joining and leaving networks, also while a container runs.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};

use bollard_stubs::models as docker;

use super::create::disk;
use super::live::Container;
use super::record::{ContainerRecord, NetworkPlace};
use super::room::Room;
use super::sandbox::endpoint_request;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::error::ErrorKind;
use crate::engine::network::Endpoint;
use crate::engine::network::files::ResolverKind;

impl Room {
    /// `POST /networks/{id}/connect`.
    pub async fn connect_network(
        &self,
        network: &str,
        request: docker::NetworkConnectRequest,
    ) -> Result<(), EngineError> {
        let container = self.index.find(&request.container)?;
        let network = self.rooms.networks.find(network)?;
        let _verb = container.verb.lock().await;
        let record = container.record();
        if matches!(record.state, State::Removing { .. } | State::Dead { .. }) {
            return Err(EngineError::conflict(format!("container {} is marked for removal", container.id)));
        }
        refuse_mixed_modes(&record, &network.name)?;
        if record.networks.contains_key(&network.name) {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                format!("endpoint with name {} already exists in network {}", record.name, network.name),
            ));
        }
        let asked = request.endpoint_config.unwrap_or_default();
        let endpoint = match record.state.alive() {
            Some(alive) => {
                let netns = network_namespace(alive.pid)?;
                let wanted = endpoint_request(&record, &network.name, &asked)?;
                Some(self.rooms.networks.connect(netns.as_fd(), wanted).await?)
            }
            None => None,
        };
        let place = NetworkPlace { asked, endpoint: endpoint.clone() };
        let noted = container.change(|record| {
            record.networks.insert(network.name.clone(), place);
            Ok(())
        });
        if let Err(error) = noted.await {
            if let Some(endpoint) = &endpoint {
                self.rooms.networks.disconnect(endpoint).await?;
            }
            return Err(error);
        }
        self.refresh_network_files(&container).await
    }

    /// `POST /networks/{id}/disconnect`.
    pub async fn disconnect_network(
        &self,
        network: &str,
        request: docker::NetworkDisconnectRequest,
    ) -> Result<(), EngineError> {
        let found = self.rooms.networks.find(network);
        let container = match (self.index.find(&request.container), request.force) {
            (Ok(container), _) => container,
            (Err(_), Some(true)) => return Ok(()),
            (Err(error), _) => return Err(error),
        };
        let name = found.map(|network| network.name).or_else(|error| {
            // One whose network is gone can still be taken off it by the name it knows.
            if request.force == Some(true) { Ok(network.to_owned()) } else { Err(error) }
        })?;
        let _verb = container.verb.lock().await;
        let record = container.record();
        let Some(place) = record.networks.get(&name) else {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                format!("container {} is not connected to network {name}", container.id),
            ));
        };
        if name == "host" && record.state.is_running() {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                "container cannot be disconnected from host network or connected to host network",
            ));
        }
        if let Some(endpoint) = &place.endpoint {
            self.rooms.networks.disconnect(endpoint).await?;
        }
        container
            .change(|record| {
                record.networks.remove(&name);
                Ok(())
            })
            .await?;
        self.refresh_network_files(&container).await
    }

    /// Rewrites a running container's hosts and resolv.conf in place: they are bound into it, so a rename would not be
    /// seen there.
    async fn refresh_network_files(&self, container: &Container) -> Result<(), EngineError> {
        let record = container.record();
        if record.state.alive().is_none() {
            return Ok(());
        }
        let endpoints: Vec<&Endpoint> = record.endpoints().collect();
        let has_names = record
            .networks
            .keys()
            .any(|name| self.rooms.networks.find(name).is_ok_and(|network| network.resolves_names()));
        let resolver = match record.network_mode() {
            "host" => ResolverKind::Host,
            _ if has_names => ResolverKind::Embedded,
            _ => ResolverKind::Reachable,
        };
        let [hosts, _, resolv_conf] = self.network_texts(&record, &endpoints, resolver)?;
        let (hosts_path, resolv_path) =
            (container.folder.network_file("hosts"), container.folder.network_file("resolv.conf"));
        Self::blocking(move || {
            fs::write(hosts_path, hosts).map_err(disk("write the container's hosts file"))?;
            fs::write(resolv_path, resolv_conf).map_err(disk("write the container's resolv.conf"))
        })
        .await
    }
}

fn refuse_mixed_modes(record: &ContainerRecord, network: &str) -> Result<(), EngineError> {
    let refuse = |words: &str| Err(EngineError::invalid(words));
    match (record.network_mode(), network) {
        (mode, _) if mode.starts_with("container:") => refuse(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ),
        ("host", _) | (_, "host") => {
            refuse("container cannot be disconnected from host network or connected to host network")
        }
        ("none", other) if other != "none" && record.networks.contains_key("none") => {
            refuse("container cannot be connected to multiple networks with one of the networks in private (none) mode")
        }
        (_, "none") if !record.networks.is_empty() => {
            refuse("container cannot be connected to multiple networks with one of the networks in private (none) mode")
        }
        _ => Ok(()),
    }
}

fn network_namespace(pid: u32) -> Result<OwnedFd, EngineError> {
    File::open(format!("/proc/{pid}/ns/net")).map(OwnedFd::from).map_err(disk("open the container's network namespace"))
}
