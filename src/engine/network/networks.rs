//! The room's door: networks, and the containers on them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use bollard_stubs::models as docker;

use super::dns::DnsConfig;
use super::endpoint::{Endpoint, EndpointRequest};
use super::record::NetworkRecord;
use crate::engine::EngineError;
use crate::engine::events::Events;
use crate::engine::instance::Instance;
use crate::engine::store::StateRoot;

/// Docker's filters as they come: `{"name": ["a", "b"]}` in its list form.
pub type Filters = HashMap<String, Vec<String>>;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListNetworks {
    /// `driver`, `id`, `label`, `name`, `scope`, `type`, `dangling`.
    pub filters: Filters,
}

/// All networks of this engine.
#[derive(Debug)]
pub struct Networks {
    root: Arc<StateRoot>,
    instance: Instance,
    events: Arc<Events>,
}

impl Networks {
    /// Reads the networks, makes what is missing of bridge, host and none. Must be followed by one [`adopt`](Self::adopt)
    /// before anything else: until then the kernel's tables stay as the last engine left them.
    ///
    /// # Errors
    /// The state root or the kernel refuses.
    pub async fn open(root: Arc<StateRoot>, instance: Instance, events: Arc<Events>) -> Result<Self, EngineError> {
        Ok(Self { root, instance, events })
    }

    /// Takes the live containers' endpoints back after a start of the engine (an empty list where there are none):
    /// addresses, host ports and names are theirs again, the nft table is rebuilt in one batch, and links of ours that
    /// belong to nobody go.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn adopt(&self, endpoints: Vec<Endpoint>) -> Result<(), EngineError> {
        let _ = (&self.root, &self.instance, &self.events, endpoints);
        todo!()
    }

    /// Gives back what only an engine in use needs: where no container runs, bridges and the nft table go, so a stopped
    /// engine without containers leaves nothing on the host. They come back at the next start.
    pub async fn close(&self) {
        todo!()
    }

    /// `POST /networks/create`.
    ///
    /// # Errors
    /// Docker's: name in use (409), subnet overlaps (403), malformed settings (400).
    pub async fn create(
        &self,
        request: docker::NetworkCreateRequest,
    ) -> Result<docker::NetworkCreateResponse, EngineError> {
        let _ = request;
        todo!()
    }

    /// `GET /networks`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(&self, list: &ListNetworks) -> Result<Vec<docker::Network>, EngineError> {
        let _ = list;
        todo!()
    }

    /// `GET /networks/{id}`, with the connected containers.
    ///
    /// # Errors
    /// No such network.
    pub fn inspect(&self, name_or_id: &str) -> Result<docker::NetworkInspect, EngineError> {
        let _ = name_or_id;
        todo!()
    }

    /// The network of that name, ID or unambiguous ID prefix.
    ///
    /// # Errors
    /// `network x not found` (404), or several match (400).
    pub fn find(&self, name_or_id: &str) -> Result<NetworkRecord, EngineError> {
        let _ = name_or_id;
        todo!()
    }

    /// `DELETE /networks/{id}`.
    ///
    /// # Errors
    /// Predefined, or in use (403).
    pub async fn remove(&self, name_or_id: &str) -> Result<(), EngineError> {
        let _ = name_or_id;
        todo!()
    }

    /// `POST /networks/prune`: removes user networks without endpoints; `label`, `label!` and `until` filter.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<docker::NetworkPruneResponse, EngineError> {
        let _ = filters;
        todo!()
    }

    /// A fresh network namespace with `lo` up; it lives as long as the descriptor or a process in it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn new_sandbox(&self) -> Result<OwnedFd, EngineError> {
        todo!()
    }

    /// Puts a container on a network: link, address, default route (first network with a gateway wins), published ports,
    /// names. On host and none it only takes note. All of it, or nothing.
    ///
    /// # Errors
    /// Docker's words for a taken address (403), a taken port (500, with the holder's name), an unknown network (404).
    pub async fn connect(&self, netns: BorrowedFd<'_>, request: EndpointRequest) -> Result<Endpoint, EngineError> {
        let _ = (netns, request);
        todo!()
    }

    /// Takes a container off a network. What is gone already is success.
    ///
    /// # Errors
    /// The kernel refuses; the rest is undone all the same.
    pub async fn disconnect(&self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let _ = endpoint;
        todo!()
    }

    /// Makes a running container's new name resolvable in place of the old one, and returns its endpoints as they are now.
    ///
    /// # Errors
    /// A name table could not be written.
    pub async fn rename(&self, container_id: &str, name: &str) -> Result<Vec<Endpoint>, EngineError> {
        let _ = (container_id, name);
        todo!()
    }

    /// The settings of a container's resolver, for its shim; `upstreams` come from [`super::files::upstreams`].
    pub fn dns_config(&self, container_id: &str, upstreams: Vec<IpAddr>) -> DnsConfig {
        DnsConfig {
            names_path: self.instance.run().join("containers").join(container_id).join("names.json"),
            upstreams,
        }
    }

    /// What `host-gateway` stands for: the default bridge's address.
    pub fn host_gateway(&self) -> Option<IpAddr> {
        None
    }
}
