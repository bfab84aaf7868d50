//! Starting a container: mounts, network, files, plan, shim; then its attachments, then its program.
//!
//! Every step notes in [`Acquired`] what it took. A failure at any step gives all of it back, newest first, and says
//! which step it was and why.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use bollard_stubs::models as docker;

use super::create::disk;
use super::exec::console_size;
use super::health;
use super::live::{Container, Intent};
use super::log_options::log_spec;
use super::network_files::dns_settings;
use super::record::ContainerRecord;
use super::restart::policy_of;
use super::room::{Room, remove_folder};
use super::state::{Alive, Exit, StartFailure, State};
use super::validate;
use crate::engine::EngineError;
use crate::engine::error::ErrorKind;
use crate::engine::network::files::{HostResolver, ResolverKind, upstreams};
use crate::engine::network::{Endpoint, NetworkMode};
use crate::engine::oci::{self, ExternalRuntime, PlanInput, UserNs};
use crate::engine::shim::{Health, RestartSpec, Shim, ShimError, ShimSpec, StdinMode, VERSION};
use crate::engine::store::remove_record;
use crate::engine::trace::Trace;

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

        let sandbox = self.make_sandbox(&record, &mut acquired.endpoints).await?;
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

fn stdin_mode(record: &ContainerRecord) -> StdinMode {
    match (record.config.open_stdin == Some(true), record.config.stdin_once == Some(true)) {
        (false, _) => StdinMode::Closed,
        (true, false) => StdinMode::Open,
        (true, true) => StdinMode::Once,
    }
}
