//! Drives one build from its context to its image: stages side by side, each waiting for those it needs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bollard_stubs::models as docker;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::announce::{Internal, announce, digest_in, size};
use super::args;
use super::base::{self, Bases};
use super::cache::Cache;
use super::context::Context;
use super::excerpt::Source;
use super::exchange::{Imports, Specs, Told, bring};
use super::export::{self, Built, Wants};
use super::graph::Graph;
use super::history::Recorder;
use super::kept::KeptContexts;
use super::mounts::CacheMounts;
use super::output::Output;
use super::plan::{BuildFacts, PlanError, expanded};
use super::platform::{Emulators, Platforms};
use super::progress::{BuildFailure, BuildMessage};
use super::remote;
use super::request::{BuildContext, BuildRequest};
use super::run::Runner;
use super::session::Session;
use super::source::{Brought, ContextSpecs, client_folder};
use super::stage::{StageResult, build_stage};
use super::step::StepTeller;
use super::teller::Teller;
use super::tree::Tree;
use super::turns::Turns;
use super::{BuildParts, Room};
use crate::buildkit::Vertex;
use crate::dockerfile::ignore::IgnoreRules;
use crate::dockerfile::{Dockerfile, Instruction, Parsed, Surroundings, parse};
use crate::engine::EngineError;
use crate::engine::image::{Images, Reference};
use crate::engine::layer::{ChainId, Digest, LayerHold};
use crate::engine::registry::Platform;

type Outcome = watch::Receiver<Option<Arc<StageResult>>>;

/// One build under way.
pub(super) struct Build {
    room: Arc<Room>,
    /// The parsed Dockerfile.
    pub file: Dockerfile,
    /// Arguments and the escape character.
    pub facts: BuildFacts,
    /// The context's files.
    pub context: Arc<Tree>,
    /// Finds base images.
    pub bases: Bases,
    /// Ends everything.
    pub cancel: CancellationToken,
    /// Which builds are runs of the same thing.
    pub project: String,
    /// Whether the cache is not to be asked.
    pub no_cache: bool,
    /// In which stages it is not.
    pub no_cache_filter: Vec<String>,
    /// Other caches that are asked too.
    pub imports: Imports,
    /// Where caches come from and go.
    pub caches: Specs,
    keys: Mutex<Vec<Digest>>,
    /// The platform asked for.
    pub platform: Option<String>,
    /// What that comes to.
    pub platforms: Platforms,
    /// What RUN steps get.
    pub run: docker::HostConfig,
    /// What RUN may ask for beyond a sandbox.
    pub allow: Vec<String>,
    session: Option<String>,
    /// What has been brought here of the named contexts.
    pub brought: Brought,
    /// Where messages go.
    pub teller: Teller,
    /// Its random name.
    pub id: String,
    outcomes: HashMap<usize, Outcome>,
    /// The classic number of each stage's FROM, from 0.
    first_steps: BTreeMap<usize, usize>,
    /// How many steps the classic numbering has.
    pub total: usize,
    holds: Mutex<Vec<(ChainId, LayerHold)>>,
}

impl Build {
    pub(super) fn parts(&self) -> &BuildParts {
        &self.room.parts
    }

    pub(super) fn kept(&self) -> &Arc<KeptContexts> {
        &self.room.kept
    }

    pub(super) fn images(&self) -> &Images {
        &self.room.parts.images
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.room.cache
    }

    pub(super) fn cache_mounts(&self) -> &CacheMounts {
        &self.room.cache_mounts
    }

    pub(super) fn turns(&self) -> &Turns {
        &self.room.turns
    }

    pub(super) fn runner(&self) -> &Runner {
        &self.room.runner
    }

    /// The client's session; `None` where it has none.
    pub(super) async fn session(&self) -> Result<Option<Session>, BuildFailure> {
        let Some(id) = &self.session else { return Ok(None) };
        tokio::select! {
            session = self.room.sessions.session(id) => Ok(Some(session?)),
            () = self.cancel.cancelled() => Err(BuildFailure::cancelled()),
        }
    }

    /// Whether the stage is one that this build makes.
    pub(super) fn has_stage(&self, index: usize) -> bool {
        self.outcomes.contains_key(&index)
    }

    /// Waits for a stage that another one needs.
    pub(super) async fn result_of(&self, index: usize) -> Result<Arc<StageResult>, BuildFailure> {
        let mut outcome = self.outcomes.get(&index).cloned().ok_or_else(BuildFailure::cancelled)?;
        tokio::select! {
            result = outcome.wait_for(Option::is_some) => {
                result.ok().and_then(|result| result.clone()).ok_or_else(BuildFailure::cancelled)
            }
            () = self.cancel.cancelled() => Err(BuildFailure::cancelled()),
        }
    }

    /// Leave to do something heavy; not kept while waiting for another stage.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, BuildFailure> {
        tokio::select! {
            permit = Arc::clone(&self.room.permits).acquire_owned() => permit.map_err(|_| BuildFailure::cancelled()),
            () = self.cancel.cancelled() => Err(BuildFailure::cancelled()),
        }
    }

    /// Notes that a step has this key.
    pub(super) fn note_key(&self, key: Digest) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }

    /// The keys of the steps so far.
    pub(super) fn keys(&self) -> Vec<Digest> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The platform that a base image has to have; `None` where nobody asked for one, and the image that is here will do.
    pub(super) fn wanted_platform(&self, of_stage: Option<&str>) -> Option<Platform> {
        match of_stage {
            Some(text) => Platform::parse(&text.to_lowercase(), &self.platforms.host),
            None => self.platform.as_ref().map(|_| self.platforms.target.clone()),
        }
    }

    /// Keeps a layer from being removed until the build has ended.
    pub(super) fn hold(&self, layer: &ChainId) {
        let hold = self.images().layers().hold(layer);
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).push((*layer, hold));
    }

    /// Lets all layers go, at the end of a build that failed: what neither the cache nor an image has is removed. Blocking.
    fn let_go(&self) {
        let holds = std::mem::take(&mut *self.holds.lock().unwrap_or_else(PoisonError::into_inner));
        let chains: Vec<ChainId> = holds.iter().map(|(chain, _)| *chain).collect();
        drop(holds);
        for chain in chains {
            if let Err(error) = self.images().release_layer(chain) {
                tracing::warn!(%error, "a layer that nobody owns stays until the next start");
            }
        }
    }

    /// Who tells of the instruction `index` of a stage.
    pub(super) fn teller_of(&self, stage: usize, index: usize) -> StepTeller {
        let number = self.first_steps.get(&stage).copied().unwrap_or(0) + index;
        StepTeller::new(self.teller.clone(), self.vertex(stage, index), number, self.total)
    }

    pub(super) fn vertex(&self, stage: usize, index: usize) -> Vertex {
        let Some(it) = self.file.stages.get(stage) else { return Vertex::default() };
        let instructions = self.file.stage_instructions(it);
        let instruction = instructions.get(index);
        let label = match (&it.name, self.file.stages.len()) {
            (Some(name), _) => format!("{name} "),
            (None, 1) => String::new(),
            (None, _) => format!("stage-{stage} "),
        };
        let text = instruction.map(one_line).unwrap_or_default();
        Vertex {
            digest: self.digest(&format!("{stage}.{index}")),
            inputs: index.checked_sub(1).map(|before| self.digest(&format!("{stage}.{before}"))).into_iter().collect(),
            name: format!("[{label}{}/{}] {text}", index + 1, instructions.len()),
            lines: instruction.map(|instruction| instruction.lines),
            ..Vertex::default()
        }
    }

    pub(super) fn digest(&self, what: &str) -> String {
        digest_in(&self.id, what)
    }
}

/// An instruction as it fits on a line.
pub(super) fn one_line(instruction: &Instruction) -> String {
    instruction.text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Carries out `request`, telling all of it.
pub(super) async fn drive(
    room: Arc<Room>,
    request: BuildRequest,
    teller: Teller,
    recorder: Recorder,
    cancel: CancellationToken,
) {
    let is_quiet = request.quiet;
    let outcome = solve(Arc::clone(&room), request, &teller, cancel).await;
    teller.flush();
    recorder.end(outcome.as_ref().err());
    match outcome {
        Ok(built) => export::tell(&teller, built, is_quiet),
        Err(failure) => teller.fail(failure),
    }
    room.settle(recorder);
}

/// Reads the Dockerfile and what is to be ignored.
fn definition(
    context: &Context,
    dockerfile: &str,
    teller: &Teller,
    reading: &Internal,
) -> Result<(String, Parsed, IgnoreRules), BuildFailure> {
    let text = context.dockerfile(dockerfile)?;
    reading.part(format!("transferring dockerfile: {}", size(text.len() as u64)), reading.started());
    teller.read(Source { file: dockerfile.to_owned(), text: text.clone() });
    let parsed = parse(&text);
    if let Some(error) = parsed.first_error() {
        let failure = BuildFailure::from(EngineError::invalid(error.parse_error()));
        teller.blame(Some(error.lines), &failure);
        return Err(failure);
    }
    let ignore = context.apply_ignore_rules(dockerfile)?;
    Ok((text, parsed, ignore))
}

/// The context's files.
async fn receive(
    room: &Arc<Room>,
    request: &mut BuildRequest,
    cancel: &CancellationToken,
) -> Result<Context, BuildFailure> {
    let root = &room.parts.root;
    match std::mem::replace(&mut request.context, BuildContext::Client(String::new())) {
        BuildContext::Tar(reader) => Context::receive(root, reader, cancel).await,
        BuildContext::Remote(url) => {
            let argument = request.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR").and_then(Option::as_deref);
            let keeps_git_dir = argument.is_some_and(|value| matches!(value, "1" | "true"));
            remote::context(root, &url, &request.dockerfile, keeps_git_dir, cancel).await
        }
        BuildContext::Client(name) => {
            let id = request.session.as_deref().unwrap_or_default();
            let session = tokio::select! {
                session = room.sessions.session(id) => session?,
                () = cancel.cancelled() => return Err(BuildFailure::cancelled()),
            };
            client_folder(&session, &room.kept, &name, cancel).await.map(Context::held)
        }
    }
}

async fn solve(
    room: Arc<Room>,
    mut request: BuildRequest,
    teller: &Teller,
    cancel: CancellationToken,
) -> Result<Built, BuildFailure> {
    let tags = request
        .tags
        .iter()
        .map(|tag| Reference::parse(tag).map(Reference::or_latest))
        .collect::<Result<Vec<_>, _>>()
        .map_err(EngineError::from)?;
    let caches = Specs::read(&request)?;
    let outputs = request.outputs.iter().map(Output::parse).collect::<Result<Vec<_>, _>>()?;
    let id = random_id()?;
    let receiving = Internal::begin(teller, &id, "context", "[internal] load build context");
    let context = receive(&room, &mut request, &cancel).await;
    if let Ok(context) = &context {
        receiving.part(format!("transferring context: {}", size(context.bytes)), receiving.started());
    }
    let context = receiving.end(context)?;
    let name = format!("[internal] load build definition from {}", request.dockerfile);
    let reading = Internal::begin(teller, &id, "definition", name);
    let asked = Asked {
        platform: request.platform.as_deref(),
        target: request.target.as_deref(),
        args: &request.build_args,
        contexts: &request.contexts,
    };
    let read = definition(&context, &request.dockerfile, teller, &reading);
    let decided = read.and_then(|(text, mut parsed, ignore)| {
        let decided = decide(&mut parsed, &text, &ignore, &asked, &room.parts.images);
        reading.warnings(&parsed);
        if let (Err(failure), Some(_)) = (&decided, parsed.lint_violation()) {
            teller.blame(parsed.warnings().next().map(|found| found.lines), failure);
        }
        decided.map(|decided| (parsed, decided))
    });
    let (parsed, Decided { platforms, facts, graph }) = reading.end(decided)?;
    let context =
        context.into_tree().map_err(|error| EngineError::system(format!("open the build context: {error}")))?;

    let (senders, outcomes): (HashMap<_, _>, HashMap<_, _>) = graph
        .nodes
        .iter()
        .map(|node| {
            let (sender, receiver) = watch::channel(None);
            ((node.index, sender), (node.index, receiver))
        })
        .unzip();
    let preamble = parsed.file.preamble().len();
    let mut total = preamble;
    let mut first_steps = BTreeMap::new();
    for node in &graph.nodes {
        first_steps.insert(node.index, total);
        total += parsed.file.stages.get(node.index).map_or(0, |stage| stage.instructions.len());
    }
    let unused = args::unused(&parsed, &request.build_args);
    let bases = Bases::new(room.parts.images.clone(), request.pull, request.auth.clone());
    let told = Told { teller, id: &id };
    let imports = bring(&room, &bases, &caches.from, request.session.as_deref(), &told).await;
    let build = Arc::new(Build {
        bases,
        room,
        file: parsed.file.clone(),
        facts,
        context: Arc::new(context),
        cancel: cancel.clone(),
        project: tags.first().map_or_else(|| request.dockerfile.clone(), Reference::familiar_name),
        no_cache: request.no_cache,
        no_cache_filter: request.no_cache_filter,
        imports,
        caches,
        keys: Mutex::default(),
        platform: request.platform.filter(|it| !it.is_empty()),
        platforms,
        run: request.run,
        allow: request.allow,
        session: request.session,
        brought: Brought::default(),
        teller: teller.clone(),
        id,
        outcomes,
        first_steps,
        total,
        holds: Mutex::default(),
    });
    announce(&build, &graph);

    let mut tasks = JoinSet::new();
    let mut senders = senders;
    for node in graph.nodes.clone() {
        let (build, sender) = (Arc::clone(&build), senders.remove(&node.index));
        tasks.spawn(async move {
            let result = build_stage(&build, &node).await?;
            if let Some(sender) = sender {
                // Nobody waits for the last stage but the build itself.
                sender.send_replace(Some(Arc::new(result)));
            }
            Ok::<_, BuildFailure>(())
        });
    }
    let mut failure: Option<BuildFailure> = None;
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.unwrap_or_else(|error| Err(EngineError::system(format!("build a stage: {error}")).into()));
        if let Err(error) = ended {
            // The others are ended by the first failure; what they say then is no news.
            failure.get_or_insert(error);
            cancel.cancel();
        }
    }
    if let Some(failure) = failure {
        let build = Arc::clone(&build);
        let _ = tokio::task::spawn_blocking(move || build.let_go()).await;
        return Err(failure);
    }
    let goal = graph.nodes.last().map(|node| node.index).unwrap_or_default();
    let result = build.result_of(goal).await?;
    if !unused.is_empty() {
        teller.tell(BuildMessage::Text(format!(
            "[Warning] One or more build-args [{}] were not consumed\n",
            unused.join(" ")
        )));
    }
    let session = if outputs.is_empty() { None } else { build.session().await? };
    let (labels, annotations, auth) = (request.labels, request.annotations, request.auth);
    export::export(&build, &result, Wants { labels, tags, outputs, annotations, auth, session }).await
}

/// What of a request decides what is built.
struct Asked<'a> {
    platform: Option<&'a str>,
    target: Option<&'a str>,
    args: &'a BTreeMap<String, Option<String>>,
    contexts: &'a BTreeMap<String, String>,
}

/// What is built, before anything is done.
struct Decided {
    platforms: Platforms,
    facts: BuildFacts,
    graph: Graph,
}

/// Finds out what is to be built, and refuses what can't be or what the Dockerfile's own checks forbid.
fn decide(
    parsed: &mut Parsed,
    text: &str,
    ignore: &IgnoreRules,
    asked: &Asked<'_>,
    images: &Images,
) -> Result<Decided, BuildFailure> {
    let emulators = Emulators::read();
    let platforms = Platforms::of(asked.platform.filter(|it| !it.is_empty()), &emulators)?;
    let mut facts = args::facts(parsed, asked.args, asked.target, &platforms).map_err(invalid)?;
    facts.contexts = ContextSpecs::parse(asked.contexts).map_err(invalid)?;
    let local = |name: &str| images.find(&expanded(name, &facts.global_args, facts.escape).ok()?).ok();
    let platform_of = |name: &str| local(name).map(|image| base::platform_of(&image.config).to_string());
    let target = platforms.target.to_string();
    let platform_of = Some((target.as_str(), &platform_of as &dyn Fn(&str) -> Option<String>));
    parsed.look_around(text, &Surroundings { ignore: Some(ignore), platforms: platform_of });
    if let Some(violation) = parsed.lint_violation() {
        return Err(EngineError::invalid(violation).into());
    }
    let triggers = |name: &str| local(name).and_then(|image| image.config.config.on_build).unwrap_or_default();
    let graph = Graph::of(&parsed.file, asked.target, &facts, &triggers).map_err(invalid)?;
    for platform in graph.nodes.iter().filter_map(|node| node.platform.as_deref()) {
        platforms.of_stage(platform, &emulators)?;
    }
    Ok(Decided { platforms, facts, graph })
}

fn invalid(error: PlanError) -> BuildFailure {
    EngineError::invalid(error.message).into()
}

fn random_id() -> Result<String, BuildFailure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| EngineError::system(format!("read random bytes: {error}")))?;
    Ok(hex::encode(random))
}
