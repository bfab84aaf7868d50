//! Containers on networks: joined, renamed, taken off again.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::claims::listen;
use super::endpoint::{Endpoint, EndpointRequest};
use super::error::NetworkError;
use super::kernel::{Host, LinkPlan, free_interface};
use super::netlink::BridgePort;
use super::networks::{Networks, bridge_plan, new_id};
use super::ports::Protocol;
use super::record::NetworkRecord;
use super::rules;
use super::sandbox;
use super::state::{State, publications};
use crate::engine::EngineError;

impl Networks {
    /// A fresh network namespace with `lo` up; it lives as long as the descriptor or a process in it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn new_sandbox(&self) -> Result<OwnedFd, EngineError> {
        let made = tokio::task::spawn_blocking(sandbox::create).await;
        let made = made.map_err(|_| NetworkError::Worker { step: "create network namespace" })?;
        Ok(made.map_err(NetworkError::kernel("create", "network namespace"))?)
    }

    /// Puts a container on a network: link, address, default route (first network with a gateway wins), published ports,
    /// names. On host and none it only takes note. All of it, or nothing.
    ///
    /// # Errors
    /// Docker's words for a taken address (403), a taken port (500, with the holder's name), an unknown network (404).
    pub async fn connect(&self, netns: BorrowedFd<'_>, mut request: EndpointRequest) -> Result<Endpoint, EngineError> {
        let netns =
            netns.try_clone_to_owned().map_err(NetworkError::kernel("keep", "the container's network namespace"))?;
        let netns = Arc::new(netns);
        if request.interface.is_empty() {
            let inside = Arc::clone(&netns);
            let found = tokio::task::spawn_blocking(move || free_interface(inside.as_fd())).await;
            request.interface = found.unwrap_or(Err(NetworkError::Worker { step: "look into the container" }))?;
        }
        self.connect_as(netns, request).await
    }

    /// Takes a running container off a network; its link is gone afterwards. What is gone already is success.
    ///
    /// # Errors
    /// The kernel refuses; the rest is undone all the same.
    pub async fn disconnect(&self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let link = endpoint.host_link.clone();
        let undone = self.withdraw(endpoint).await;
        let removed = self.sweeper.submit("disconnect", move |host| host.delete_link(&link)).await;
        undone?;
        Ok(removed?)
    }

    /// Takes a container that has ended off a network: the same as [`disconnect`](Self::disconnect), without waiting for
    /// its link to go.
    ///
    /// # Errors
    /// The kernel refuses; the rest is undone all the same.
    pub async fn release(&self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let link = endpoint.host_link.clone();
        // It is on its way; one that could not be removed is swept at the next start.
        drop(self.sweeper.submit("release", move |host| host.delete_link(&link)));
        self.withdraw(endpoint).await
    }

    /// Takes back an endpoint's address, ports and names, everything but its link.
    async fn withdraw(&self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let work = {
            let mut state = self.state();
            if !state.dismiss(&endpoint.id) {
                return Ok(());
            }
            let table = self.instance.nft_table();
            let fewer = rules::unpublish(&table, &publications(endpoint));
            let whole = state.table(&table);
            let datagram_ports = datagram_ports(endpoint);
            self.kernel.submit("disconnect", move |host| {
                // Where somebody else changed our table, taking the elements out one by one fails: then it is made anew.
                let unpublished = host.commit(&fewer).or_else(|_| host.commit(&whole));
                host.forget_flows(&datagram_ports);
                unpublished
            })
        };
        let undone = work.await;
        let named = self.write_names(Some(endpoint)).await;
        self.drop_lone_names(&endpoint.container_id);
        if let Ok(record) = self.find(&endpoint.network_id) {
            self.publish("disconnect", &record, Some(&endpoint.container_id));
        }
        undone?;
        named
    }

    /// Makes a running container's new name resolvable in place of the old one, and returns its endpoints as they are now.
    ///
    /// # Errors
    /// A name table could not be written.
    pub async fn rename(&self, container_id: &str, name: &str) -> Result<Vec<Endpoint>, EngineError> {
        let endpoints: Vec<Endpoint> = {
            let mut state = self.state();
            let own = state.endpoints.values_mut().filter(|endpoint| endpoint.container_id == container_id);
            own.map(|endpoint| {
                name.clone_into(&mut endpoint.container_name);
                endpoint.clone()
            })
            .collect()
        };
        for endpoint in &endpoints {
            self.write_names(Some(endpoint)).await?;
        }
        Ok(endpoints)
    }

    async fn connect_as(&self, netns: Arc<OwnedFd>, request: EndpointRequest) -> Result<Endpoint, EngineError> {
        self.choose_again_if_taken(&request.network).await?;
        let (endpoint, record, work) = {
            let mut state = self.state();
            let id = new_id();
            let host_link = format!("{}v{}", self.link_prefix, id.get(..8).unwrap_or(&id));
            let endpoint = state.admit(id, host_link, &request, &listen)?;
            let record = state.find(&endpoint.network_id)?.clone();
            let work = link_plan(&endpoint, &record, netns)
                .map(|plan| self.submit_attach(&mut state, &endpoint, &record, plan));
            (endpoint, record, work)
        };
        if let Some(work) = work
            && let Err(error) = work.await
        {
            self.forget(&endpoint);
            return Err(error.into());
        }
        if let Err(error) = self.make_names(&endpoint).await {
            // The first error is the one to tell; the link goes with the attempt.
            let _ = self.disconnect(&endpoint).await;
            return Err(error);
        }
        self.publish("connect", &record, Some(&endpoint.container_id));
        Ok(endpoint)
    }

    /// Queues the kernel's part of a connection: the bridge and table where they are missing, the link, the ports.
    fn submit_attach(
        &self,
        state: &mut State,
        endpoint: &Endpoint,
        record: &NetworkRecord,
        plan: LinkPlan,
    ) -> impl Future<Output = Result<(), NetworkError>> + Send + use<> {
        let table = self.instance.nft_table();
        let bridge = if state.up.insert(record.id.clone()) { bridge_plan(record) } else { None };
        // The whole table holds this endpoint's ports already.
        let batch = match &bridge {
            Some(_) => state.table(&table),
            None => rules::publish(&table, &publications(endpoint)),
        };
        let whole = state.table(&table);
        let datagram_ports = datagram_ports(endpoint);
        self.kernel.submit("connect", move |host: &mut Host| {
            if let Some(bridge) = &bridge {
                host.bring_up(bridge)?;
            }
            host.attach(&plan)?;
            host.commit(&batch).or_else(|_| host.commit(&whole)).inspect_err(|_| {
                // The refusal is what the caller reads; a link that stays is swept at the next start.
                let _ = host.delete_link(&plan.host_link);
            })?;
            host.forget_flows(&datagram_ports);
            Ok(())
        })
    }

    /// Undoes what [`State::admit`] noted for an endpoint the kernel refused. Its network is brought up anew next time.
    fn forget(&self, endpoint: &Endpoint) {
        let mut state = self.state();
        state.dismiss(&endpoint.id);
        if state.members(&endpoint.network_id).next().is_none() {
            state.up.remove(&endpoint.network_id);
        }
    }
}

/// The host's UDP ports that an endpoint publishes.
fn datagram_ports(endpoint: &Endpoint) -> BTreeSet<u16> {
    let udp = endpoint.ports.iter().filter(|port| port.container.protocol == Protocol::Udp);
    udp.map(|port| port.host_port).collect()
}

/// The link an endpoint needs; `None` on host and none.
fn link_plan(endpoint: &Endpoint, record: &NetworkRecord, netns: Arc<OwnedFd>) -> Option<LinkPlan> {
    let address = endpoint.address.as_ref()?;
    Some(LinkPlan {
        bridge: record.link.clone()?,
        host_link: endpoint.host_link.clone(),
        interface: endpoint.interface.clone(),
        netns,
        mac: address.mac,
        ip: address.ip,
        prefix: address.prefix,
        gateway: address.gateway,
        mtu: record.mtu(),
        port: BridgePort { hairpin: !endpoint.ports.is_empty(), isolated: !record.lets_members_talk() },
    })
}
