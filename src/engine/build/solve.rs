//! Drives one build from its context to its image: stages side by side, each waiting for those it needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Room;
use super::announce::{Internal, announce, size};
use super::base::Bases;
use super::context::Context;
use super::decide::Decided;
use super::exchange::{Specs, Told, bring};
use super::export::{self, Built, Wants};
use super::graph::Graph;
use super::history::Recorder;
use super::numbering::Numbering;
use super::output::Output;
use super::progress::{BuildFailure, BuildMessage};
use super::remote;
use super::request::{BuildContext, BuildRequest};
use super::source::{Brought, client_folder};
use super::stage::{StageResult, build_stage};
use super::teller::Teller;
use super::under_way::{Build, Outcomes};
use crate::engine::EngineError;
use crate::engine::image::Reference;

/// Who tells what has become of each stage.
type Senders = HashMap<usize, watch::Sender<Option<Arc<StageResult>>>>;

/// Carries out `request`, telling all of it.
pub(super) async fn drive(
    room: Arc<Room>,
    request: BuildRequest,
    teller: Teller,
    recorder: Recorder,
    cancel: CancellationToken,
) {
    let is_quiet = request.quiet;
    let told = Told { teller: &teller, id: recorder.id() };
    let outcome = solve(Arc::clone(&room), request, &told, cancel).await;
    teller.flush();
    recorder.end(outcome.as_ref().err());
    match outcome {
        Ok(built) => export::tell(&teller, built, is_quiet),
        Err(failure) => teller.fail(failure),
    }
    room.settle(recorder);
}

async fn solve(
    room: Arc<Room>,
    mut request: BuildRequest,
    told: &Told<'_>,
    cancel: CancellationToken,
) -> Result<Built, BuildFailure> {
    let tags = request.tags.iter().map(|tag| Reference::parse(tag).map(Reference::or_latest));
    let tags = tags.collect::<Result<Vec<_>, _>>().map_err(EngineError::from)?;
    let outputs = request.outputs.iter().map(Output::parse).collect::<Result<Vec<_>, _>>()?;
    if tags.is_empty() && outputs.iter().any(Output::pushes_without_name) {
        return Err(EngineError::invalid("tag is needed when pushing to registry").into());
    }
    let caches = Specs::read(&request)?;
    let context = received(&room, &mut request, told, &cancel).await?;
    let Decided { file, platforms, facts, graph, unused } =
        Decided::read(&context, &request, &room.parts.images, told)?;
    let context =
        context.into_tree().map_err(|error| EngineError::system(format!("open the build context: {error}")))?;

    let bases = Bases::new(room.parts.images.clone(), request.pull, request.auth.clone());
    let imports = bring(&room, &bases, &caches.from, request.session.as_deref(), told, &cancel).await;
    let (senders, outcomes) = outcomes(&graph);
    let build = Arc::new(Build {
        bases,
        room,
        numbering: Numbering::new(&file, &graph),
        file,
        facts,
        context: Arc::new(context.until(&cancel)),
        cancel,
        project: tags.first().map_or_else(|| request.dockerfile_name(), Reference::familiar_name),
        no_cache: request.no_cache,
        no_cache_filter: request.no_cache_filter,
        imports,
        caches,
        keys: Mutex::default(),
        platform: request.platform.filter(|it| !it.is_empty()),
        platforms,
        run: request.run,
        allow: request.allow,
        session_id: request.session,
        brought: Brought::default(),
        teller: told.teller.clone(),
        id: told.id.to_owned(),
        outcomes,
        holds: Mutex::default(),
    });
    announce(&build, &graph);

    let result = stages(&build, &graph, senders).await?;
    if !unused.is_empty() {
        let unused = unused.join(" ");
        let text = format!("[Warning] One or more build-args [{unused}] were not consumed\n");
        build.teller.tell(BuildMessage::Text(text));
    }
    let session = if outputs.is_empty() { None } else { build.session().await? };
    let (labels, annotations, auth) = (request.labels, request.annotations, request.auth);
    export::export(&build, &result, Wants { labels, tags, outputs, annotations, auth, session }).await
}

/// Where it will be told what has become of each stage.
fn outcomes(graph: &Graph) -> (Senders, Outcomes) {
    let channels = graph.nodes.iter().map(|node| {
        let (sender, receiver) = watch::channel(None);
        ((node.index, sender), (node.index, receiver))
    });
    channels.unzip()
}

/// Builds all stages side by side, and gives the last one's result. The first failure ends the others.
async fn stages(build: &Arc<Build>, graph: &Graph, mut senders: Senders) -> Result<Arc<StageResult>, BuildFailure> {
    let mut tasks = JoinSet::new();
    for node in graph.nodes.clone() {
        let (build, sender) = (Arc::clone(build), senders.remove(&node.index));
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
            // What the others say of their end is no news.
            failure.get_or_insert(error);
            build.cancel.cancel();
        }
    }
    if let Some(failure) = failure {
        let build = Arc::clone(build);
        let _ = tokio::task::spawn_blocking(move || build.let_go()).await;
        return Err(failure);
    }
    let goal = graph.nodes.last().map(|node| node.index).unwrap_or_default();
    build.result_of(goal).await
}

/// The context's files, told as a step.
async fn received(
    room: &Arc<Room>,
    request: &mut BuildRequest,
    told: &Told<'_>,
    cancel: &CancellationToken,
) -> Result<Context, BuildFailure> {
    let receiving = Internal::begin(told.teller, told.id, "context", "[internal] load build context");
    let context = receive(room, request, cancel).await;
    let context = context.map_err(|failure| if cancel.is_cancelled() { BuildFailure::cancelled() } else { failure });
    if let Ok(context) = &context {
        receiving.part(format!("transferring context: {}", size(context.bytes)), receiving.started());
    }
    receiving.end(context)
}

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
            remote::context(&room.downloads, &url, &request.dockerfile, keeps_git_dir, cancel).await
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
