//! RUN: from the cache, or in a sandbox whose changes become the layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cached::Claim;
use super::place::Place;
use super::{Done, Work, spawn};
use crate::engine::build::cache::Key;
use crate::engine::build::meant;
use crate::engine::build::mounts::{Mounts, Origin, Source, Sources, Targets, Workshop};
use crate::engine::build::plan::{Mounted, RunMount, RunNetwork, RunStep};
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::run::{Ended, Job};
use crate::engine::build::step::StepTeller;
use crate::engine::build::tree::Tree;
use crate::engine::layer::{Layer, detached_root};
use crate::engine::{EngineError, ErrorKind};

/// What has to be allowed for the host's network.
const HOST_NETWORK: &str = "network.host";
/// What has to be allowed for all rights.
const INSECURE: &str = "security.insecure";

impl Work<'_> {
    pub(super) async fn run(&self, step: &RunStep, teller: &mut StepTeller) -> Result<Done, BuildFailure> {
        self.refuse_what_is_not_allowed(step)?;
        let sources = self.mount_sources(step, teller).await?;
        teller.works();
        let key = self.dated(self.run_key(step, &sources));
        let _turn = match self.claim(&key, teller).await? {
            Claim::Done(done) => return Ok(done),
            Claim::Mine(turn) => turn,
        };
        let layer = self.carry_out(step, &sources, teller).await?;
        self.keep(key, layer)
    }

    /// Without the arguments' values, which are inputs of their own: else a new value would look like a new command. What
    /// secrets, agents and caches hold is no input.
    fn run_key(&self, step: &RunStep, sources: &Sources) -> Key {
        let mut key = Key::new("run", format!("RUN {}", step.args.join(" ")), self.result.top())
            .with("user", &step.user)
            .with("working directory", &step.workdir)
            .with("network", self.network(step));
        for (name, value) in &step.env {
            let is_argument = step.build_args.iter().any(|(arg, _)| arg == name) && !self.state.has_env(name);
            let kind = if is_argument { "ARG" } else { "ENV" };
            key = key.with(format!("{kind} {name}"), value);
        }
        if let Some((_, script)) = &step.script {
            key = key.with("script", script);
        }
        if step.is_insecure {
            key = key.with("security", "insecure");
        }
        for (at, mount) in step.mounts.iter().enumerate() {
            let is_again = step.mounts.iter().take(at).any(|earlier| earlier.name() == mount.name());
            let name = if is_again { format!("{} ({at})", mount.name()) } else { mount.name() };
            key = key.with(name, mount.options());
        }
        let facts = sources.facts();
        if facts.is_empty() { key } else { key.with_files(&facts) }
    }

    /// The network's kind: a network of ours by another name makes no difference to what comes out.
    fn network(&self, step: &RunStep) -> &'static str {
        match (step.network, self.build.run.network_mode.as_deref()) {
            (RunNetwork::None, _) | (RunNetwork::Default, Some("none")) => "none",
            (RunNetwork::Host, _) | (RunNetwork::Default, Some("host")) => "host",
            (RunNetwork::Default, _) => "default",
        }
    }

    fn refuse_what_is_not_allowed(&self, step: &RunStep) -> Result<(), BuildFailure> {
        let is_allowed = |what: &str| self.build.allow.iter().any(|allowed| allowed == what);
        let refuse = |flag: &str, what: &str| {
            let words = format!("RUN {flag} is not allowed: grant it with `boxyard build --allow {what}`");
            Err(EngineError::new(ErrorKind::Forbidden, words).into())
        };
        let is_on_host = self.build.run.network_mode.as_deref() == Some("host");
        if step.network == RunNetwork::Host && !is_on_host && !is_allowed(HOST_NETWORK) {
            return refuse("--network=host", HOST_NETWORK);
        }
        if step.is_insecure && !is_allowed(INSECURE) {
            return refuse("--security=insecure", INSECURE);
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        step: &RunStep,
        sources: &Sources,
        teller: &mut StepTeller,
    ) -> Result<Option<Layer>, BuildFailure> {
        // Caches before the permit: who waits for a cache must not keep others from working, least of all its user.
        let leases = self.build.cache_mounts().take_all(sources.wants(&step.mounts), &self.build.cancel);
        let leases = teller.wait_for(leases).await?;
        let _permit = teller.wait_for(self.build.permit()).await?;
        let mut place = Place::new(self.build, &self.result.layers)?;
        let asks = |mount: &RunMount| matches!(mount.what, Mounted::Secret { .. } | Mounted::Ssh(_));
        let session = if step.mounts.iter().any(asks) { self.build.session().await? } else { None };
        let workshop = Workshop { mounts: &step.mounts, sources, leases, session, folder: place.folder() };
        let mounts = tokio::select! {
            mounts = Mounts::prepare(workshop) => mounts?,
            () = self.build.cancel.cancelled() => return Err(BuildFailure::cancelled()),
        };
        let targets = self.targets(&place, &mounts).await?;
        place.add_mount_points(&targets)?;
        let mut env = self.proxies();
        env.extend(mounts.env.clone());
        let job = Job {
            step,
            env,
            secret_env: mounts.secret_env.clone(),
            mounts: mounts.plans.clone(),
            limits: &self.build.run,
            root: place.stack.clone(),
            cancel: &self.build.cancel,
        };
        let ended = self.build.runner().run(job, teller).await;
        let ended = ended.map_err(|error| {
            let words = meant::of_program(error.message());
            BuildFailure::from(error).followed_by(words)
        })?;
        drop(mounts);
        match ended {
            Ended::Cancelled => return Err(BuildFailure::cancelled()),
            Ended::Exited { code: 0, .. } => {}
            Ended::Exited { code, oom_killed } => {
                return Err(BuildFailure::of_command(step.args.join(" "), code, oom_killed));
            }
        }
        let commit = move |build: &_, below: Option<&_>| {
            targets.clear(&place.stack.upper);
            place.commit(build, below)
        };
        self.blocking(commit).await.map_err(BuildFailure::from)
    }

    /// The places of mounts that the stage's file system lacks.
    async fn targets(&self, place: &Place, mounts: &Mounts) -> Result<Targets, EngineError> {
        if mounts.places.is_empty() {
            return Ok(Targets::default());
        }
        let (mut stack, places) = (place.stack.clone(), mounts.places.clone());
        if !stack.lowers.is_empty() {
            // To look is enough: its changes are still to come.
            (stack.upper, stack.work) = Default::default();
        }
        spawn(move || Ok(Targets::find(&detached_root(&stack)?, &places))).await
    }

    /// The proxies that RUN gets unasked, by both spellings of their names.
    fn proxies(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, value) in self.build.facts.proxies() {
            all.entry(name.to_uppercase()).or_insert_with(|| value.clone());
            all.entry(name.to_lowercase()).or_insert_with(|| value.clone());
        }
        all.extend(self.build.facts.proxies().map(|(name, value)| (name.clone(), value.clone())));
        all
    }

    /// Finds the files that mounts show, and looks at them.
    async fn mount_sources(&self, step: &RunStep, teller: &mut StepTeller) -> Result<Sources, BuildFailure> {
        let mut sources = Sources::default();
        for (at, mount) in step.mounts.iter().enumerate() {
            let source = match &mount.what {
                Mounted::Bind { from, .. } => self.mount_source(from.as_deref(), teller).await?,
                Mounted::Cache { cache, .. } if cache.from.is_some() => {
                    self.mount_source(cache.from.as_deref(), teller).await?
                }
                _ => continue,
            };
            let mount = mount.clone();
            sources = spawn(move || {
                sources.add(at, &mount, source)?;
                Ok(sources)
            })
            .await?;
        }
        Ok(sources)
    }

    async fn mount_source(&self, from: Option<&str>, teller: &mut StepTeller) -> Result<Source, BuildFailure> {
        let Some(from) = from else {
            return Ok(Source { tree: Arc::clone(&self.build.context), origin: Origin::Folder });
        };
        let layers = match self.from(from, teller).await? {
            super::from::Origin::Layers(layers) => layers,
            super::from::Origin::Files(files) => {
                let told = |error: std::io::Error| EngineError::system(format!("open build context {from}: {error}"));
                let tree = files.tree().map_err(told)?.until(&self.build.cancel);
                return Ok(Source { tree: Arc::new(tree), origin: Origin::Folder });
            }
        };
        let place = Place::new(self.build, &layers)?;
        let origin = Origin::Layers { lowers: place.stack.lowers.clone(), top: layers.last().copied() };
        let tree = spawn(move || Ok(Tree::new(detached_root(&place.stack)?, place))).await?;
        Ok(Source { tree: Arc::new(tree.until(&self.build.cancel)), origin })
    }
}
