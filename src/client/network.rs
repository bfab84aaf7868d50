//! Calls on networks.

use super::docker::{Call, Docker, in_path};
use super::errors::Error;
use super::models::{
    NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse, NetworkDisconnectRequest, NetworkInspect,
    NetworkPruneResponse, NetworkSummary,
};
use super::query_parameters::{InspectNetworkOptions, ListNetworksOptions, PruneNetworksOptions};

impl Docker {
    /// The networks.
    pub async fn list_networks(&self, options: Option<ListNetworksOptions>) -> Result<Vec<NetworkSummary>, Error> {
        self.json(Call::get("/networks").query(options)?).await
    }

    /// Makes one.
    pub async fn create_network(&self, config: NetworkCreateRequest) -> Result<NetworkCreateResponse, Error> {
        self.json(Call::post("/networks/create").body(&config)?).await
    }

    /// Everything about it, with the containers on it.
    pub async fn inspect_network(
        &self,
        name: &str,
        options: Option<InspectNetworkOptions>,
    ) -> Result<NetworkInspect, Error> {
        self.json(Call::get(format!("/networks/{}", in_path(name))).query(options)?).await
    }

    /// Removes it.
    pub async fn remove_network(&self, name: &str) -> Result<(), Error> {
        self.unit(Call::delete(format!("/networks/{}", in_path(name)))).await
    }

    /// Puts a container on it.
    pub async fn connect_network(&self, name: &str, config: NetworkConnectRequest) -> Result<(), Error> {
        self.unit(Call::post(format!("/networks/{}/connect", in_path(name))).body(&config)?).await
    }

    /// Takes a container off it.
    pub async fn disconnect_network(&self, name: &str, config: NetworkDisconnectRequest) -> Result<(), Error> {
        self.unit(Call::post(format!("/networks/{}/disconnect", in_path(name))).body(&config)?).await
    }

    /// Removes those that no container uses.
    pub async fn prune_networks(&self, options: Option<PruneNetworksOptions>) -> Result<NetworkPruneResponse, Error> {
        self.json(Call::post("/networks/prune").query(options)?).await
    }
}
