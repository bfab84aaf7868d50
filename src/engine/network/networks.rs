//! The room's door: the networks. Containers join and leave in `connecting`.
//!
//! Bridges, rules and the nft table come when the first container of a network starts, and stay until the network is
//! removed or [`Networks::close`] finds nobody using them; so an engine that only ever built images, or one that was
//! stopped with no container running, leaves nothing on the host.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models as docker;
use sha2::{Digest, Sha256};

use super::claims::listen;
use super::create::{self, Facts};
use super::endpoint::Endpoint;
use super::error::NetworkError;
use super::files::HostResolver;
use super::ipam::{Home, Subnet};
use super::kernel::{BridgePlan, FORWARD_DROP, Kernel};
use super::record::NetworkRecord;
use super::show;
use super::state::State;
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
    pub(super) link_prefix: String,
    pub(super) instance: Instance,
    events: Arc<Events>,
    state: Mutex<State>,
    pub(super) kernel: Kernel,
    // Removes the links of containers that have ended: each takes the kernel some 15 ms, and nobody waits for it.
    pub(super) sweeper: Kernel,
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

    /// Gives a network that is not up and whose subnet was chosen by us another one, where the host has come to use it
    /// since (another engine's bridge, a VPN).
    pub(super) async fn choose_again_if_taken(&self, network: &str) -> Result<(), EngineError> {
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

    pub(super) fn publish(&self, action: &str, record: &NetworkRecord, container: Option<&str>) {
        let mut attributes = vec![("name", record.name.clone()), ("type", record.driver.to_string())];
        attributes.extend(container.map(|id| ("container", id.to_owned())));
        self.events.publish(docker::EventMessageTypeEnum::NETWORK, action, record.id.clone(), attributes);
    }

    fn link_pattern(&self) -> LinkPattern {
        LinkPattern { prefix: self.link_prefix.clone(), default_bridge: self.instance.default_bridge() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

pub(super) fn bridge_plan(record: &NetworkRecord) -> Option<BridgePlan> {
    let pool = record.pool.as_ref()?;
    Some(BridgePlan {
        link: record.link.clone()?,
        gateway: pool.gateway,
        prefix: pool.subnet.prefix(),
        mtu: record.mtu(),
        routed: !record.internal,
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
pub(super) fn new_id() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    hex::encode(bytes)
}
