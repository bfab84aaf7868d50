//! Carries out a RUN: a shim with an overlay root whose upper directory becomes the layer.
//!
//! A sandbox is a small container without a record: a bundle in `<run>/builds/<id>/`, a network endpoint, a cgroup. Its
//! owner ends all three whatever happens; what an engine that was killed left running is ended by [`end_orphans`] at the
//! next start.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models as docker;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::plan::{RunNetwork, RunStep, SCRIPTS};
use crate::engine::EngineError;
use crate::engine::instance::Instance;
use crate::engine::layer::OverlayStack;
use crate::engine::network::files::{self, DnsSettings, HostResolver, Hosts, ResolverKind};
use crate::engine::network::{Endpoint, EndpointRequest, NetworkMode, Networks};
use crate::engine::oci::{EnvFrom, MountPlan, NetNs, Peers, PlanInput, UserNs, plan};
use crate::engine::remap::Shift;
use crate::engine::runtime::{Cgroups, HostFacts};
use crate::engine::shim::{
    Attach, Bundle, LogSpec, Shim, ShimBinary, ShimSpec, StdinMode, Target, VERSION, user_sandbox,
};
use crate::engine::store;

/// The name that RUN steps see as their host's: always the same, so that it can't make a difference.
const HOSTNAME: &str = "buildkitsandbox";
/// The kernel's number for SIGKILL.
const SIGKILL: i32 = 9;
/// How long a killed step may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(20);
/// How much output is told at once.
const CHUNK: usize = 16 << 10;

/// What RUN steps need of the other rooms.
#[derive(Clone)]
pub(super) struct Runner {
    pub instance: Instance,
    pub networks: Arc<Networks>,
    pub host: Arc<HostFacts>,
    pub shim: ShimBinary,
}

/// One RUN to carry out.
pub(super) struct Job<'a> {
    /// The command and what it sees.
    pub step: &'a RunStep,
    /// Variables that are no part of the step, and give way to its own: proxies, an agent's socket.
    pub env: BTreeMap<String, String>,
    /// Variables whose values are secret.
    pub secret_env: Vec<EnvFrom>,
    /// What is mounted beside a container's usual.
    pub mounts: Vec<MountPlan>,
    /// Limits, network and hosts of the build.
    pub limits: &'a docker::HostConfig,
    /// The stage's layers (top first), and where changes go.
    pub root: OverlayStack,
    /// Ends it.
    pub cancel: &'a CancellationToken,
}

/// What becomes of a step's output.
pub(super) trait Output: Send {
    /// It runs in the sandbox called `id`.
    fn running_in(&mut self, id: &str);
    /// The sandbox is gone.
    fn removed(&mut self, id: &str);
    /// It wrote `bytes` to `stream` (1 or 2). May wait while nobody can take more.
    fn wrote(&mut self, stream: u8, bytes: &[u8]) -> impl Future<Output = ()> + Send;
}

/// How a RUN ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this exit code.
    Exited { code: i64, oom_killed: bool },
    /// The build was cancelled.
    Cancelled,
}

impl Runner {
    /// Where the bundles of RUN steps are.
    fn bundles(instance: &Instance) -> PathBuf {
        instance.run().join("builds")
    }

    /// Runs the command to its end. Whatever happens, nothing is left but what it wrote into the root's upper directory.
    pub(super) async fn run(&self, job: Job<'_>, output: &mut impl Output) -> Result<Ended, EngineError> {
        let mut sandbox = Sandbox::new(self)?;
        output.running_in(sandbox.short_id());
        let outcome = sandbox.carry_out(&job, output).await;
        let id = sandbox.short_id().to_owned();
        let ended = sandbox.end().await;
        let outcome = outcome?;
        if matches!(outcome, Ended::Exited { code: 0, .. }) {
            output.removed(&id);
        }
        ended?;
        Ok(outcome)
    }
}

/// A RUN's container, which has no record: this is its owner.
struct Sandbox<'a> {
    runner: &'a Runner,
    id: String,
    bundle: PathBuf,
    endpoint: Option<Endpoint>,
    cgroup: Option<String>,
    shim: Option<Shim>,
}

impl<'a> Sandbox<'a> {
    fn new(runner: &'a Runner) -> Result<Self, EngineError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| EngineError::system(format!("read random bytes: {error}")))?;
        let id = hex::encode(random);
        let bundle = Runner::bundles(&runner.instance).join(&id);
        std::fs::create_dir_all(&bundle).map_err(|error| refused("create", &bundle, &error))?;
        Ok(Self { runner, id, bundle, endpoint: None, cgroup: None, shim: None })
    }

    fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    async fn carry_out(&mut self, job: &Job<'_>, output: &mut impl Output) -> Result<Ended, EngineError> {
        let mode = match job.step.network {
            RunNetwork::None => NetworkMode::None,
            RunNetwork::Host => NetworkMode::Host,
            RunNetwork::Default => NetworkMode::parse(job.limits.network_mode.as_deref().unwrap_or_default()),
        };
        let remap = self.runner.instance.remap();
        // It comes while the network is made.
        let summoned = Shim::summon(&self.runner.shim, &self.bundle)?;
        let (net, netns) = self.join_network(&mode, remap).await?;
        let mut mounts = self.files(&mode, job.limits)?;
        if let Some((name, text)) = &job.step.script {
            mounts.push(self.script(name, text)?);
        }
        let config = container_config(job.step, &job.env);
        let privileged = Some(job.step.is_insecure);
        let limits = docker::HostConfig { network_mode: None, privileged, ..job.limits.clone() };
        let mut plan = plan(&PlanInput {
            id: &self.id,
            config: &config,
            host_config: &limits,
            root: job.root.clone(),
            mounts,
            net,
            cgroup_parent: self.runner.instance.cgroup_parent(),
            host: &self.runner.host,
            peers: Peers::default(),
            user: remap.map_or(UserNs::Host, |shift| UserNs::OfNetwork { uid: shift.uid.first, gid: shift.gid.first }),
        })?;
        // In their own order: a cache may lie in a bind that lies in a cache.
        plan.mounts.extend(job.mounts.iter().cloned());
        plan.process.env_from = job.secret_env.clone();
        self.cgroup = Some(plan.cgroup.path.clone());
        let spec = ShimSpec {
            version: VERSION,
            plan,
            log: LogSpec::none(),
            stdin: StdinMode::Closed,
            exit_path: self.bundle.join("exit.json"),
            dns: None,
            restart: None,
            trace: false,
            health: None,
            runtime: None,
        };
        let shim = summoned.entrust(&spec, netns).await?;
        self.shim = Some(shim.clone());
        let io = shim.attach(Attach { stdout: true, stderr: true, ..Attach::default() }).await?;
        shim.start().await?;
        let pumped = async {
            pump(io, output).await?;
            shim.wait().await.map_err(EngineError::from)
        };
        tokio::select! {
            record = pumped => {
                let record = record?;
                self.shim = None;
                Ok(Ended::Exited { code: record.code, oom_killed: record.oom_killed })
            }
            () = job.cancel.cancelled() => Ok(Ended::Cancelled),
        }
    }

    async fn join_network(
        &mut self,
        mode: &NetworkMode,
        remap: Option<Shift>,
    ) -> Result<(NetNs, Option<OwnedFd>), EngineError> {
        let network = match mode {
            NetworkMode::Host if remap.is_some() => {
                return Err(EngineError::invalid(
                    "cannot share the host's network namespace when user namespaces are enabled",
                ));
            }
            NetworkMode::Host => return Ok((NetNs::Host, None)),
            NetworkMode::None => {
                return match remap {
                    Some(shift) => Ok((NetNs::Inherited, Some(user_sandbox(&self.runner.shim, shift, None).await?))),
                    None => Ok((NetNs::Fresh, None)),
                };
            }
            NetworkMode::Container(id) => {
                return Err(EngineError::invalid(format!("a build can't use the network of container {id}")));
            }
            NetworkMode::Bridge => "bridge",
            NetworkMode::Network(name) => name.as_str(),
        };
        let netns = match remap {
            Some(shift) => user_sandbox(&self.runner.shim, shift, None).await?,
            None => self.runner.networks.new_sandbox().await?,
        };
        let request = EndpointRequest {
            network: network.to_owned(),
            container_id: self.id.clone(),
            container_name: format!("build-{}", self.short_id()),
            ..EndpointRequest::default()
        };
        self.endpoint = Some(self.runner.networks.connect(netns.as_fd(), request).await?);
        Ok((NetNs::Inherited, Some(netns)))
    }

    /// /etc/hosts, hostname and resolv.conf, as a container would have them.
    fn files(&self, mode: &NetworkMode, limits: &docker::HostConfig) -> Result<Vec<MountPlan>, EngineError> {
        let kind = if *mode == NetworkMode::Host { ResolverKind::Host } else { ResolverKind::Reachable };
        let own = self.endpoint.as_ref().and_then(|endpoint| endpoint.address.as_ref());
        let addresses: Vec<IpAddr> = own.map(|address| address.ip.into()).into_iter().collect();
        let hosts = files::hosts(&Hosts {
            hostname: HOSTNAME,
            addresses: &addresses,
            extra_hosts: limits.extra_hosts.as_deref().unwrap_or_default(),
            host_gateway: self.runner.networks.host_gateway(),
            ..Hosts::default()
        })?;
        let settings = DnsSettings {
            servers: limits.dns.as_deref().unwrap_or_default(),
            search: limits.dns_search.as_deref().unwrap_or_default(),
            options: limits.dns_options.as_deref().unwrap_or_default(),
        };
        let resolver = files::resolv_conf(kind, &HostResolver::read(), settings);
        let texts = [("hosts", hosts), ("hostname", files::hostname(HOSTNAME)), ("resolv.conf", resolver)];
        let mounts = texts.into_iter().map(|(name, text)| {
            let path = self.bundle.join(name);
            std::fs::write(&path, text).map_err(|error| refused("write", &path, &error))?;
            Ok(MountPlan::bind(path, Path::new("/etc").join(name)).shifted())
        });
        mounts.collect()
    }

    fn script(&self, name: &str, text: &str) -> Result<MountPlan, EngineError> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.bundle.join("script");
        let written = std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)));
        written.map_err(|error| refused("write", &path, &error))?;
        // The name is the heredoc's, so it may hold anything; only its last part can name a file here.
        let name = Path::new(name).file_name().unwrap_or_default();
        Ok(MountPlan::bind(path, Path::new(SCRIPTS).join(name)).read_only().shifted())
    }

    /// Ends what still runs and takes everything away; goes on where a part fails, and tells the first failure.
    async fn end(mut self) -> Result<(), EngineError> {
        let mut failure = None;
        if let Some(shim) = self.shim.take() {
            kill(&shim).await;
        }
        if let Some(endpoint) = self.endpoint.take()
            && let Err(error) = self.runner.networks.release(&endpoint).await
        {
            failure.get_or_insert(error);
        }
        if let Some(cgroup) = self.cgroup.take() {
            remove_cgroup(&self.runner.host, &cgroup);
        }
        if let Err(error) = std::fs::remove_dir_all(&self.bundle)
            && error.kind() != io::ErrorKind::NotFound
        {
            failure.get_or_insert_with(|| refused("remove", &self.bundle, &error));
        }
        failure.map_or(Ok(()), Err)
    }
}

async fn kill(shim: &Shim) {
    // It may never have been started, or have ended by itself meanwhile; either is as good.
    if shim.signal(Target::Init, SIGKILL).await.is_err() {
        let _ = shim.discard().await;
    }
    if tokio::time::timeout(KILL_LIMIT, shim.wait()).await.is_err() {
        tracing::warn!(pid = shim.pid(), "a build step does not end");
    }
}

fn remove_cgroup(host: &HostFacts, path: &str) {
    if let Err(error) = Cgroups::detect(host).remove(path) {
        tracing::warn!(%error, path, "the cgroup of a build step stays");
    }
}

fn refused(action: &str, path: &Path, error: &io::Error) -> EngineError {
    EngineError::system(format!("{action} {}: {error}", path.display()))
}

fn container_config(step: &RunStep, env: &BTreeMap<String, String>) -> docker::ContainerConfig {
    let mut env = env.clone();
    env.extend(step.env.clone());
    docker::ContainerConfig {
        hostname: Some(HOSTNAME.to_owned()),
        user: Some(step.user.clone()),
        env: Some(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        cmd: Some(step.args.clone()),
        working_dir: Some(step.workdir.clone()),
        ..docker::ContainerConfig::default()
    }
}

/// Reads Docker's frames (stream, three zeros, length, bytes) to their end.
async fn pump(mut io: tokio::net::UnixStream, output: &mut impl Output) -> Result<(), EngineError> {
    let broken = |error: io::Error| EngineError::system(format!("read the step's output: {error}"));
    let mut chunk = vec![0; CHUNK];
    loop {
        let mut header = [0; 8];
        match io.read_exact(&mut header).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(broken(error)),
        }
        let [stream, _, _, _, length @ ..] = header;
        let mut left = u32::from_be_bytes(length) as usize;
        while left > 0 {
            let part = chunk.get_mut(..left.min(CHUNK)).unwrap_or_default();
            let count = io.read(part).await.map_err(broken)?;
            if count == 0 {
                return Ok(());
            }
            output.wrote(stream, part.get(..count).unwrap_or_default()).await;
            left -= count;
        }
    }
}

/// Ends the RUN steps that a killed engine left running. Their network links are nobody's then, and go when the network
/// room adopts.
pub(super) async fn end_orphans(instance: &Instance, host: &HostFacts) -> io::Result<()> {
    let bundles = match std::fs::read_dir(Runner::bundles(instance)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for bundle in bundles {
        let bundle = bundle?.path();
        match Shim::connect(&bundle).await {
            Ok(Some(shim)) => kill(&shim).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a build step of an earlier engine can't be reached"),
        }
        if let Ok(Some(spec)) = store::read_record::<ShimSpec>(&Bundle::new(&bundle).spec()) {
            remove_cgroup(host, &spec.plan.cgroup.path);
        }
        std::fs::remove_dir_all(&bundle)?;
    }
    Ok(())
}
