//! The room's door: networks, and the containers on them.
//!
//! Bridges, rules and the nft table come when the first container of a network starts, and stay until the network is
//! removed or [`Networks::close`] finds nobody using them; so an engine that only ever built images, or one that was
//! stopped with no container running, leaves nothing on the host.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models as docker;
use sha2::{Digest, Sha256};

use super::claims::listen;
use super::create::{self, Facts};
use super::dns::DnsConfig;
use super::endpoint::{Endpoint, EndpointRequest};
use super::error::NetworkError;
use super::files::HostResolver;
use super::ipam::{Home, Subnet};
use super::kernel::{BridgePlan, FORWARD_DROP, Host, Kernel, LinkPlan, free_interface};
use super::netlink::BridgePort;
use super::ports::Protocol;
use super::record::NetworkRecord;
use super::rules;
use super::sandbox;
use super::show;
use super::state::{State, publications};
use crate::engine::events::Events;
use crate::engine::filters::Filters;
use crate::engine::instance::{DEFAULT_ROOT, Instance};
use crate::engine::store::{StateRoot, read_record, remove_record, write_record};
use crate::engine::{EngineError, ErrorKind};

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListNetworks {
    /// `dangling`, `driver`, `id`, `label`, `name`, `scope`, `type`.
    pub filters: Filters,
}

/// All networks of this engine.
#[derive(Debug)]
pub struct Networks {
    folder: PathBuf,
    link_prefix: String,
    instance: Instance,
    events: Arc<Events>,
    state: Mutex<State>,
    kernel: Kernel,
    // Removes the links of containers that have ended: each takes the kernel some 15 ms, and nobody waits for it.
    sweeper: Kernel,
    // Held while a network is made, so that two that are made at once don't choose the same subnet or name.
    creation: tokio::sync::Mutex<()>,
    _root: Arc<StateRoot>,
}

impl Networks {
    /// Reads the networks, makes what is missing of bridge, host and none. Must be followed by one [`adopt`](Self::adopt)
    /// before anything else: until then the kernel's tables stay as the last engine left them.
    ///
    /// # Errors
    /// The state root or the kernel refuses.
    pub async fn open(root: Arc<StateRoot>, instance: Instance, events: Arc<Events>) -> Result<Self, EngineError> {
        let folder = root.room("networks").map_err(|source| NetworkError::File {
            action: "create",
            path: root.path().join("networks"),
            source,
        })?;
        let mut state = State::default();
        for record in read_all(&folder)? {
            state.networks.insert(record.id.clone(), record);
        }
        let networks = Self {
            folder,
            link_prefix: instance.link_prefix(),
            instance,
            events,
            state: Mutex::new(state),
            kernel: Kernel::start()?,
            sweeper: Kernel::start()?,
            creation: tokio::sync::Mutex::default(),
            _root: root,
        };
        for name in ["bridge", "host", "none"] {
            if networks.state().find(name).is_err() {
                networks.make_predefined(name).await?;
            }
        }
        Ok(networks)
    }

    /// Takes the live containers' endpoints back after a start of the engine (an empty list where there are none):
    /// addresses, host ports and names are theirs again, the nft table is rebuilt in one batch, and links of ours that
    /// belong to nobody go.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn adopt(&self, endpoints: Vec<Endpoint>) -> Result<(), EngineError> {
        let work = {
            let mut state = self.state();
            for endpoint in endpoints {
                if !state.networks.contains_key(&endpoint.network_id) {
                    tracing::warn!(network = endpoint.network_name, "an endpoint's network is gone");
                    continue;
                }
                state.claims.adopt(&endpoint.id, &endpoint.container_name, &endpoint.ports, &listen);
                if endpoint.address.is_some() {
                    state.up.insert(endpoint.network_id.clone());
                }
                state.endpoints.insert(endpoint.id.clone(), endpoint);
            }
            let bridges: Vec<BridgePlan> =
                state.up.iter().filter_map(|id| state.networks.get(id)).filter_map(bridge_plan).collect();
            let table = state.table(&self.instance.nft_table());
            let kept: BTreeSet<String> = bridges
                .iter()
                .map(|bridge| bridge.link.clone())
                .chain(state.endpoints.values().map(|endpoint| endpoint.host_link.clone()))
                .collect();
            let ours = self.link_pattern();
            self.kernel.submit("reconcile", move |host| {
                for bridge in &bridges {
                    host.bring_up(bridge)?;
                }
                host.commit(&table)?;
                host.remove_links(|name| ours.matches(name) && !kept.contains(name))
            })
        };
        work.await?;
        self.write_names(None).await
    }

    /// Gives back what only an engine in use needs: bridges nobody is on go, and with the last of them the nft table.
    /// They come back when a container needs them.
    pub async fn close(&self) {
        let work = {
            let mut state = self.state();
            let idle: Vec<String> = state.up.iter().filter(|id| state.members(id).next().is_none()).cloned().collect();
            let records = idle.iter().filter_map(|id| state.networks.get(id));
            let links: Vec<String> = records.filter_map(|it| it.own_link()).map(str::to_owned).collect();
            state.up.retain(|id| !idle.contains(id));
            let table = state.table(&self.instance.nft_table());
            self.kernel.submit("close", move |host| {
                host.commit(&table)?;
                host.remove_links(|name| links.iter().any(|link| link == name))
            })
        };
        let swept = self.sweeper.submit("close", |_| Ok(()));
        if let Err(error) = work.await.and(swept.await) {
            tracing::warn!(%error, "the networks were not all taken down");
        }
    }

    /// `POST /networks/create`.
    ///
    /// # Errors
    /// Docker's: name in use (409), subnet overlaps (403), malformed settings (400).
    pub async fn create(
        &self,
        request: docker::NetworkCreateRequest,
    ) -> Result<docker::NetworkCreateResponse, EngineError> {
        let _one_at_a_time = self.creation.lock().await;
        let host = self.host_subnets().await?;
        let links = self.kernel.submit("list links", |host| {
            host.links().link_names().map_err(NetworkError::kernel("list links of", "the host"))
        });
        let links = links.await?;
        let id = new_id();
        let others = self.records();
        let now = jiff::Timestamp::now().to_string();
        let facts = Facts { links: &links, ..self.facts(&id, &now, &host, &others) };
        let (record, warning) = create::plan(&request, facts)?;
        self.keep(record.clone())?;
        self.publish("create", &record, None);
        Ok(docker::NetworkCreateResponse { id, warning })
    }

    /// `GET /networks`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(&self, list: &ListNetworks) -> Result<Vec<docker::Network>, EngineError> {
        show::check_filters(&list.filters)?;
        let state = self.state();
        let mut networks = Vec::new();
        for record in state.networks.values() {
            if show::is_listed(record, state.members(&record.id).next().is_some(), &list.filters)? {
                networks.push(show::network(record));
            }
        }
        Ok(networks)
    }

    /// `GET /networks/{id}`, with the connected containers.
    ///
    /// # Errors
    /// No such network.
    pub fn inspect(&self, name_or_id: &str) -> Result<docker::NetworkInspect, EngineError> {
        let state = self.state();
        let record = state.find(name_or_id)?;
        Ok(show::inspect(record, state.members(&record.id)))
    }

    /// The network of that name, ID or unambiguous ID prefix.
    ///
    /// # Errors
    /// `network x not found` (404), or several match (400).
    pub fn find(&self, name_or_id: &str) -> Result<NetworkRecord, EngineError> {
        self.state().find(name_or_id).cloned()
    }

    /// The live endpoints of a container.
    pub fn endpoints_of(&self, container_id: &str) -> Vec<Endpoint> {
        self.state().of_container(container_id).cloned().collect()
    }

    /// All live endpoints.
    pub fn all_endpoints(&self) -> Vec<Endpoint> {
        self.state().endpoints.values().cloned().collect()
    }

    /// `DELETE /networks/{id}`.
    ///
    /// # Errors
    /// Predefined, or in use (403).
    pub async fn remove(&self, name_or_id: &str) -> Result<(), EngineError> {
        let (record, work) = {
            let mut state = self.state();
            let record = state.find(name_or_id)?.clone();
            if record.is_predefined() {
                let text = format!("{} is a pre-defined network and cannot be removed", record.name);
                return Err(EngineError::new(ErrorKind::Forbidden, text));
            }
            if state.members(&record.id).next().is_some() {
                let text = format!(
                    "error while removing network: network {} id {} has active endpoints",
                    record.name, record.id
                );
                return Err(EngineError::new(ErrorKind::Forbidden, text));
            }
            remove_record(&self.record_path(&record.id)).map_err(NetworkError::from)?;
            state.networks.remove(&record.id);
            let was_up = state.up.remove(&record.id);
            let work = was_up.then(|| {
                let table = state.table(&self.instance.nft_table());
                let link = record.own_link().map(str::to_owned);
                self.kernel.submit("remove network", move |host| {
                    host.commit(&table)?;
                    host.remove_links(|name| Some(name) == link.as_deref())
                })
            });
            (record, work)
        };
        if let Some(work) = work {
            work.await?;
        }
        self.publish("destroy", &record, None);
        Ok(())
    }

    /// `POST /networks/prune`: removes user networks without endpoints; `label`, `label!` and `until` filter.
    ///
    /// # Errors
    /// An unknown filter.
    pub async fn prune(&self, filters: &Filters) -> Result<docker::NetworkPruneResponse, EngineError> {
        filters.accept(&["label", "label!", "until"])?;
        let until = filters.instant("until", jiff::Timestamp::now())?;
        let names: Vec<String> = {
            let state = self.state();
            let is_idle = |record: &&NetworkRecord| {
                !record.is_predefined()
                    && state.members(&record.id).next().is_none()
                    && filters.labels(&show::unsorted(&record.labels))
                    && until.is_none_or(|until| record.created.parse().is_ok_and(|made: jiff::Timestamp| made < until))
            };
            state.networks.values().filter(is_idle).map(|record| record.name.clone()).collect()
        };
        let mut removed = Vec::new();
        for name in names {
            // One that a container joined meanwhile stays, and that is no failure.
            if self.remove(&name).await.is_ok() {
                removed.push(name);
            }
        }
        Ok(docker::NetworkPruneResponse { networks_deleted: Some(removed) })
    }

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

    /// The settings of a container's resolver, for its shim; `upstreams` come from [`super::files::upstreams`].
    pub fn dns_config(&self, container_id: &str, upstreams: Vec<IpAddr>) -> DnsConfig {
        DnsConfig { names_path: self.names_path(container_id), upstreams }
    }

    /// What keeps networks from working on this host, for `GET /info`: other tables' chains that drop what is forwarded.
    pub async fn warnings(&self) -> Vec<String> {
        let chains = self.kernel.submit("read the host's chains", |host| Ok(host.forward_drops())).await;
        let chains = chains.unwrap_or_default();
        chains.into_iter().map(|chain| format!("WARNING: {FORWARD_DROP} (nft chain {chain})")).collect()
    }

    /// What `host-gateway` stands for: the default bridge's address.
    pub fn host_gateway(&self) -> Option<IpAddr> {
        let state = self.state();
        let bridge = state.find("bridge").ok()?;
        bridge.pool.as_ref().map(|pool| pool.gateway.into())
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

    /// Gives a network that is not up and whose subnet was chosen by us another one, where the host has come to use it
    /// since (another engine's bridge, a VPN).
    async fn choose_again_if_taken(&self, network: &str) -> Result<(), EngineError> {
        let is_settled = |state: &State| -> Result<bool, EngineError> {
            let record = state.find(network)?;
            Ok(state.up.contains(&record.id) || record.pool.as_ref().is_none_or(|pool| pool.chosen))
        };
        if is_settled(&self.state())? {
            return Ok(());
        }
        let _one_at_a_time = self.creation.lock().await;
        let host = self.host_subnets().await?;
        let mut record = self.find(network)?;
        let Some(pool) = &mut record.pool else { return Ok(()) };
        if is_settled(&self.state())? || !host.iter().any(|taken| taken.overlaps(&pool.subnet)) {
            return Ok(());
        }
        let others: Vec<NetworkRecord> = self.records().into_iter().filter(|other| other.id != record.id).collect();
        let fresh = create::predefined("bridge", self.facts("", "", &host, &others), "")?;
        if let Some(fresh) = fresh.pool {
            tracing::info!(network = record.name, old = %pool.subnet, new = %fresh.subnet, "the host uses this subnet now");
            *pool = fresh;
        }
        self.keep(record)
    }

    async fn make_predefined(&self, name: &str) -> Result<(), EngineError> {
        let host = self.host_subnets().await?;
        let id = new_id();
        let now = jiff::Timestamp::now().to_string();
        let others = self.records();
        let facts = self.facts(&id, &now, &host, &others);
        self.keep(create::predefined(name, facts, &self.instance.default_bridge())?)
    }

    fn facts<'a>(&'a self, id: &'a str, now: &'a str, host: &'a [Subnet], others: &'a [NetworkRecord]) -> Facts<'a> {
        Facts { id, now, link_prefix: &self.link_prefix, host, links: &[], others, home: self.home() }
    }

    /// Where this engine's automatic subnets come from.
    fn home(&self) -> Home {
        if self.instance.root() == std::path::Path::new(DEFAULT_ROOT) {
            return Home::Docker;
        }
        let hash = Sha256::digest(self.instance.root().as_os_str().as_encoded_bytes());
        Home::From(u16::from_be_bytes([hash[3], hash[4]]))
    }

    /// What the host uses: destinations of its live routes, and its name servers.
    async fn host_subnets(&self) -> Result<Vec<Subnet>, NetworkError> {
        let links = self.kernel.submit("read routes", |host| {
            host.links().destinations().map_err(NetworkError::kernel("read", "the host's routes"))
        });
        let mut subnets = links.await?;
        let servers = HostResolver::read().nameservers.into_iter().filter_map(|server| match server {
            IpAddr::V4(server) => Subnet::around(server, 32),
            IpAddr::V6(_) => None,
        });
        subnets.extend(servers);
        Ok(subnets)
    }

    fn keep(&self, record: NetworkRecord) -> Result<(), EngineError> {
        write_record(&self.record_path(&record.id), &record).map_err(NetworkError::from)?;
        self.state().networks.insert(record.id.clone(), record);
        Ok(())
    }

    fn records(&self) -> Vec<NetworkRecord> {
        self.state().networks.values().cloned().collect()
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn names_path(&self, container_id: &str) -> PathBuf {
        self.instance.run().join("containers").join(container_id).join("names.json")
    }

    /// Rewrites the name tables of everybody whom `changed` concerns: its own container and the other members of its
    /// network; with `None`, of all. A container that has no folder any more has no use for one.
    async fn write_names(&self, changed: Option<&Endpoint>) -> Result<(), EngineError> {
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
    fn drop_lone_names(&self, container_id: &str) {
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
    async fn make_names(&self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let path = self.names_path(&endpoint.container_id);
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder).map_err(|source| NetworkError::File {
            action: "create",
            path: folder.to_owned(),
            source,
        })?;
        self.write_names(Some(endpoint)).await
    }

    fn publish(&self, action: &str, record: &NetworkRecord, container: Option<&str>) {
        let mut attributes = vec![("name", record.name.clone()), ("type", record.driver.to_string())];
        attributes.extend(container.map(|id| ("container", id.to_owned())));
        self.events.publish(docker::EventMessageTypeEnum::NETWORK, action, record.id.clone(), attributes);
    }

    fn link_pattern(&self) -> LinkPattern {
        LinkPattern { prefix: self.link_prefix.clone(), default_bridge: self.instance.default_bridge() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of the host's links are this engine's: those whose names it gives.
#[derive(Debug)]
struct LinkPattern {
    prefix: String,
    default_bridge: String,
}

impl LinkPattern {
    fn matches(&self, name: &str) -> bool {
        let is_made = |rest: &str| {
            rest.len() == 9 && rest.starts_with(['b', 'v']) && rest.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit())
        };
        name == self.default_bridge || name.strip_prefix(&self.prefix).is_some_and(is_made)
    }
}

/// The host's UDP ports that an endpoint publishes.
fn datagram_ports(endpoint: &Endpoint) -> BTreeSet<u16> {
    let udp = endpoint.ports.iter().filter(|port| port.container.protocol == Protocol::Udp);
    udp.map(|port| port.host_port).collect()
}

fn bridge_plan(record: &NetworkRecord) -> Option<BridgePlan> {
    let pool = record.pool.as_ref()?;
    Some(BridgePlan {
        link: record.link.clone()?,
        gateway: pool.gateway,
        prefix: pool.subnet.prefix(),
        mtu: record.mtu(),
        routed: !record.internal,
    })
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

fn read_all(folder: &std::path::Path) -> Result<Vec<NetworkRecord>, NetworkError> {
    let io_error = |source| NetworkError::File { action: "read", path: folder.to_owned(), source };
    let mut records = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            records.extend(read_record(&path)?);
        }
    }
    Ok(records)
}

/// 64 random hex digits.
fn new_id() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    hex::encode(bytes)
}
