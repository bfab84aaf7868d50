//! Starting a container: mounts, network, files, plan, shim; then its attachments, then its program.
//!
//! Every step notes in [`Acquired`] what it took. A failure at any step gives all of it back, newest first, and says
//! which step it was and why.

use std::fs::{self, DirBuilder};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use bollard_stubs::models as docker;

use super::create::disk;
use super::exec::console_size;
use super::health;
use super::live::{Container, Intent};
use super::log_options::log_spec;
use super::record::{ContainerRecord, NetworkPlace};
use super::restart::policy_of;
use super::room::{Room, remove_folder};
use super::state::{Alive, Exit, StartFailure, State, not_running};
use super::validate;
use crate::engine::EngineError;
use crate::engine::error::ErrorKind;
use crate::engine::network::files::{
    DnsSettings, HostResolver, Hosts, ResolverKind, hostname, hosts, resolv_conf, upstreams,
};
use crate::engine::network::ports::requests;
use crate::engine::network::{Driver, Endpoint, EndpointRequest, NetworkMode};
use crate::engine::oci::{self, ExternalRuntime, MountPlan, NetNs, Peers, PlanInput, UserNs};
use crate::engine::shim::{Health, RestartSpec, Shim, ShimError, ShimSpec, StdinMode, VERSION, user_sandbox};
use crate::engine::store::remove_record;
use crate::engine::trace::Trace;
use crate::engine::volume::MountedPoint;

/// The files every container gets from us.
const NETWORK_FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// What a start has taken so far.
#[derive(Default)]
struct Acquired {
    volumes: bool,
    bundle: bool,
    endpoints: Vec<Endpoint>,
    shim: Option<Shim>,
    trace: Trace,
}

/// A failed start: what the client reads and the exit code it stands for.
struct Failure {
    error: EngineError,
    code: i64,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { error, code: 128 }
    }
}

impl From<ShimError> for Failure {
    fn from(error: ShimError) -> Self {
        let code = error.exit_code();
        Self { error: error.into(), code }
    }
}

/// The network of a container that is about to start.
struct Sandbox {
    plan: NetNs,
    netns: Option<OwnedFd>,
    places: Vec<(String, NetworkPlace)>,
    resolver: ResolverKind,
    has_dns: bool,
}

impl Room {
    /// Starts a container whose verb lock is held. `restart_count` is what its record will say.
    ///
    /// # Errors
    /// The state's refusal, or the step that failed; everything is undone then and the record tells why.
    pub async fn launch(self: &Arc<Self>, container: &Arc<Container>, restart_count: u32) -> Result<(), EngineError> {
        // An exit is not over before its clean-up is; a restarting container is between two runs already.
        if !matches!(container.record().state, State::Restarting { .. }) {
            container.record().state.may_start()?;
            container.settled().await;
        }
        container.record().state.may_start()?;
        let mut acquired = Acquired { trace: Trace::new("engine", self.traces_starts), ..Acquired::default() };
        acquired.trace.mark("start is asked for");
        let turn = self.turn().await;
        acquired.trace.mark("its turn has come");
        let launched = self.launch_steps(container, restart_count, &mut acquired).await;
        drop(turn);
        match launched {
            Ok(()) => {
                container.beat(|pulse| pulse.is_running = true);
                container.publish(&self.rooms.events, "start", []);
                self.monitor(container);
                if acquired.trace.is_on() {
                    tracing::info!("start of {}, stage by stage\n{}", container.record().name, acquired.trace);
                }
                Ok(())
            }
            Err(failure) => {
                self.undo(container, acquired).await;
                self.note_failure(container, &failure).await;
                Err(failure.error)
            }
        }
    }

    async fn launch_steps(
        self: &Arc<Self>,
        container: &Arc<Container>,
        restart_count: u32,
        acquired: &mut Acquired,
    ) -> Result<(), Failure> {
        let record = container.record();
        let stack = self.stack_of(container, &record)?;

        acquired.volumes = true;
        let mut mounts = self.rooms.volumes.mount(&record.id, &record.mounts).await?;

        acquired.trace.mark("layers, volumes");
        acquired.bundle = true;
        self.make_bundle(container).await?;
        acquired.trace.mark("run folder");
        // It comes while the network is made.
        let shim = Shim::summon(&self.rooms.binary, &container.folder.bundle)?;

        let sandbox = self.make_sandbox(&record, acquired).await?;
        acquired.trace.mark("network");
        mounts.extend(self.write_network_files(container, &record, &sandbox).await?);

        acquired.trace.mark("hosts, hostname, resolv.conf");
        let config = self.config_in_force(&record)?;
        let mut plan = oci::plan(&PlanInput {
            id: &record.id,
            config: &config,
            host_config: &record.host_config,
            root: stack,
            mounts,
            net: sandbox.plan,
            cgroup_parent: self.rooms.instance.cgroup_parent(),
            host: &self.rooms.host,
            peers: self.peers(&record)?,
            user: self.user_namespace(&record),
        })?;
        if let Some(size) = record.terminal {
            plan.process.console_size = Some(console_size(size));
        }
        let health = health::spec_of(&config, &record.host_config, &self.rooms.host)?;
        let restart = plan.stands_alone().then(|| RestartSpec {
            policy: policy_of(record.host_config.restart_policy.as_ref()),
            count: restart_count,
        });
        let spec = ShimSpec {
            version: VERSION,
            plan,
            log: log_spec(&container.folder.log(&record.id), &record),
            stdin: stdin_mode(&record),
            exit_path: container.folder.exit(),
            dns: sandbox.has_dns.then(|| {
                let servers = upstreams(ResolverKind::Embedded, &HostResolver::read(), dns_settings(&record));
                self.rooms.networks.dns_config(&record.id, servers)
            }),
            restart,
            trace: acquired.trace.is_on(),
            health,
            runtime: self.external_runtime(&record)?,
        };
        acquired.trace.mark("plan");
        let shim = shim.entrust(&spec, sandbox.netns).await?;
        acquired.shim = Some(shim.clone());
        acquired.trace.take_in(shim.hello().trace.iter().cloned());
        acquired.trace.mark("shim and container are set up");

        for waiting in container.open_to_attachers(shim.clone()) {
            let connection = shim.attach(waiting.attach).await?;
            // The one who waited may have gone; then the connection closes.
            let _ = waiting.connection.send(connection);
        }

        let mut intended = (*container.record()).clone();
        intended.networks = sandbox.places.into_iter().collect();
        intended.restart_count = restart_count;
        intended.is_stopped_by_person = false;
        intended.last_exit = record.state.exit().cloned();
        intended.health =
            spec.health.as_ref().map(|_| record.health.clone().map_or_else(Health::default, Health::anew));
        intended.state =
            State::Running(Alive { pid: shim.init_pid(), started_at: jiff::Timestamp::now(), oom_killed: false });
        // Written as running before it runs: killed in between, the next engine asks the shim and knows.
        container.intend(Intent::None);
        let trace = &mut acquired.trace;
        let started = async {
            trace.mark("record written");
            let started = shim.start().await?;
            trace.take_in(started.trace);
            trace.mark("it runs");
            Ok(State::Running(Alive { pid: started.pid, started_at: started.started_at, oom_killed: false }))
        };
        let result = container.change_around::<Failure>(intended, started).await;
        if result.is_err() {
            container.set_shim(None);
        }
        result
    }

    /// What carries the container out, where that is not our own runtime.
    fn external_runtime(&self, record: &ContainerRecord) -> Result<Option<ExternalRuntime>, EngineError> {
        let host_config = &record.host_config;
        let name = host_config.runtime.as_deref().unwrap_or_default();
        let Some(path) = self.rooms.runtimes.program(name)? else { return Ok(None) };
        if self.user_namespace(record) != UserNs::Host {
            validate::own_runtime(host_config)?; // the container may be older than the setting
        }
        Ok(Some(ExternalRuntime {
            name: name.to_owned(),
            path,
            annotations: host_config.annotations.clone().unwrap_or_default().into_iter().collect(),
            seccomp: oci::seccomp_for_others(host_config, &self.rooms.host)?,
            init: if host_config.init == Some(true) { Some(self.rooms.runtimes.init()?) } else { None },
        }))
    }

    /// The configuration to run with: one that shares another container's network has that one's name, too.
    fn config_in_force(&self, record: &ContainerRecord) -> Result<docker::ContainerConfig, EngineError> {
        let mut config = record.config.clone();
        if let NetworkMode::Container(name) = NetworkMode::parse(record.network_mode()) {
            let other = self.index.find(&name)?.record();
            config.hostname.clone_from(&other.config.hostname);
            config.domainname.clone_from(&other.config.domainname);
        }
        Ok(config)
    }

    async fn make_bundle(&self, container: &Container) -> Result<(), EngineError> {
        let (bundle, files) = (container.folder.bundle.clone(), container.folder.clone());
        Self::blocking(move || {
            remove_folder(&bundle).map_err(disk("clear the container's run folder"))?;
            for left in [files.exit(), files.restarts()] {
                remove_record(&left).map_err(|error| EngineError::system(error.to_string()))?;
            }
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&bundle)
                .map_err(disk("create the container's run folder"))
        })
        .await
    }

    /// The network namespace, with the container on all its networks.
    async fn make_sandbox(&self, record: &ContainerRecord, acquired: &mut Acquired) -> Result<Sandbox, EngineError> {
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
            acquired.endpoints.push(endpoint.clone());
            places.push((network.name, NetworkPlace { asked: place.asked.clone(), endpoint: Some(endpoint) }));
        }
        let (plan, netns) = if is_host { (NetNs::Host, None) } else { (NetNs::Inherited, Some(netns)) };
        Ok(Sandbox { plan, netns, places, resolver, has_dns })
    }

    async fn write_network_files(
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

    fn peers(&self, record: &ContainerRecord) -> Result<Peers, EngineError> {
        let of = |mode: &Option<String>, what| match mode.as_deref().and_then(|mode| mode.strip_prefix("container:")) {
            Some(name) => joinable_pid(&*self.index.find(name)?, what).map(Some),
            None => Ok(None),
        };
        Ok(Peers { pid: of(&record.host_config.pid_mode, "PID")?, ipc: of(&record.host_config.ipc_mode, "IPC")? })
    }

    /// Whose ids a container has.
    pub fn user_namespace(&self, record: &ContainerRecord) -> UserNs {
        let is_hosts = record.host_config.userns_mode.as_deref() == Some("host");
        match self.rooms.instance.remap().filter(|_| !is_hosts) {
            Some(shift) => UserNs::OfNetwork { uid: shift.uid.first, gid: shift.gid.first },
            None => UserNs::Host,
        }
    }

    /// A process whose user namespace this container must be in, since it shares a namespace that belongs to that one.
    fn shared_user_namespace(&self, record: &ContainerRecord) -> Result<Option<u32>, EngineError> {
        for (mode, what) in [(&record.host_config.pid_mode, "PID"), (&record.host_config.ipc_mode, "IPC")] {
            if let Some(name) = mode.as_deref().and_then(|mode| mode.strip_prefix("container:")) {
                let other = self.index.find(name)?;
                self.may_share_with(record, &other.record())?;
                return joinable_pid(&other, what).map(Some);
            }
        }
        Ok(None)
    }

    /// A container with a user namespace has no rights over the namespaces of one without.
    fn may_share_with(&self, record: &ContainerRecord, other: &ContainerRecord) -> Result<(), EngineError> {
        if self.user_namespace(record) != UserNs::Host && self.user_namespace(other) == UserNs::Host {
            return Err(EngineError::conflict(format!(
                "cannot share namespaces of container {}: it runs in the host's user namespace; add --userns=host",
                other.name
            )));
        }
        Ok(())
    }

    async fn undo(&self, container: &Arc<Container>, acquired: Acquired) {
        container.set_shim(None);
        drop(container.take_waiting());
        if let Some(shim) = acquired.shim
            && let Err(error) = shim.discard().await
        {
            tracing::debug!(container = container.id, %error, "the shim of a failed start was gone already");
        }
        let record = container.record();
        self.kill_leftovers(&record).await;
        for endpoint in acquired.endpoints.iter().rev() {
            if let Err(error) = self.rooms.networks.release(endpoint).await {
                tracing::warn!(container = container.id, %error, "a failed start left its network place");
            }
        }
        if acquired.bundle {
            let bundle = container.folder.bundle.clone();
            if let Err(error) =
                Self::blocking(move || remove_folder(&bundle).map_err(disk("remove the run folder"))).await
            {
                tracing::warn!(container = container.id, %error, "a failed start left its run folder");
            }
        }
        if acquired.volumes {
            self.rooms.volumes.unmount(&record.id, &record.mounts).await;
        }
    }

    /// Writes down why it did not start: shown by inspect, and the exit code that `docker run` ends with.
    async fn note_failure(&self, container: &Arc<Container>, failure: &Failure) {
        if failure.error.kind() == ErrorKind::NotModified {
            return;
        }
        let (code, message) = (failure.code, failure.error.message().to_owned());
        let noted = container
            .change(|record| {
                record.state = match &record.state {
                    State::Created { .. } => State::Created { failure: Some(StartFailure { code, message }) },
                    other => match other.exit() {
                        Some(exit) => State::Exited { exit: Exit { code, error: message, ..exit.clone() } },
                        None => other.clone(),
                    },
                };
                Ok(())
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(container = container.id, %error, "a failed start could not be noted");
        }
        container.beat(|pulse| pulse.is_running = false);
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

/// The process whose namespaces another container shares.
fn joinable_pid(other: &Container, what: &str) -> Result<u32, EngineError> {
    match &other.record().state {
        State::Running(alive) | State::Paused(alive) => Ok(alive.pid),
        State::Restarting { .. } => Err(EngineError::conflict(format!(
            "container {} is restarting, wait until the container is running",
            other.id
        ))),
        _ => Err(EngineError::conflict(format!(
            "cannot join {what} namespace of a non running container: {}",
            not_running(&other.id)
        ))),
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
fn links(record: &ContainerRecord) -> Vec<(String, String)> {
    record.host_config.links.iter().flatten().map(|link| split_link(link)).collect()
}

/// `web`, `web:alias`, `/web:/me/alias`.
fn split_link(link: &str) -> (String, String) {
    let last = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
    let (target, alias) = link.split_once(':').unwrap_or((link, link));
    (last(target), last(alias))
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

fn stdin_mode(record: &ContainerRecord) -> StdinMode {
    match (record.config.open_stdin == Some(true), record.config.stdin_once == Some(true)) {
        (false, _) => StdinMode::Closed,
        (true, false) => StdinMode::Open,
        (true, true) => StdinMode::Once,
    }
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
