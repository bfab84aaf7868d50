//! One build under way: what its stages share, from its arguments to the layers it holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_stubs::models as docker;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::announce::digest_in;
use super::base::Bases;
use super::cache::Cache;
use super::downloads::Downloads;
use super::exchange::{Imports, Specs};
use super::graph::{is_replaced, replaced};
use super::kept::KeptContexts;
use super::mounts::CacheMounts;
use super::numbering::Numbering;
use super::plan::BuildFacts;
use super::platform::Platforms;
use super::progress::BuildFailure;
use super::run::Runner;
use super::session::Session;
use super::source::Brought;
use super::stage::StageResult;
use super::step::StepTeller;
use super::teller::Teller;
use super::tree::Tree;
use super::turns::Turns;
use super::{BuildParts, Room};
use crate::buildkit::Vertex;
use crate::dockerfile::{Dockerfile, Instruction};
use crate::engine::image::Images;
use crate::engine::layer::{ChainId, Digest, LayerHold};
use crate::engine::registry::Platform;

/// What becomes of each stage that is built, by its number; nothing as long as it is under way.
pub(super) type Outcomes = HashMap<usize, watch::Receiver<Option<Arc<StageResult>>>>;

/// One build under way.
pub(super) struct Build {
    /// The builder.
    pub room: Arc<Room>,
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
    /// The keys of its steps so far.
    pub keys: Mutex<Vec<Digest>>,
    /// The platform asked for.
    pub platform: Option<String>,
    /// What that comes to.
    pub platforms: Platforms,
    /// What RUN steps get.
    pub run: docker::HostConfig,
    /// What RUN may ask for beyond a sandbox.
    pub allow: Vec<String>,
    /// The client's session, by its name.
    pub session_id: Option<String>,
    /// What has been brought here of the named contexts.
    pub brought: Brought,
    /// Where messages go.
    pub teller: Teller,
    /// Its ID, as the history has it.
    pub id: String,
    /// What has become of the stages.
    pub outcomes: Outcomes,
    /// The steps in the order of the classic text.
    pub numbering: Numbering,
    /// What keeps its layers from being removed.
    pub holds: Mutex<Vec<(ChainId, LayerHold)>>,
}

impl Build {
    /// What the builder needs of the other rooms.
    pub(super) fn parts(&self) -> &BuildParts {
        &self.room.parts
    }

    /// Contexts of clients, for their next build.
    pub(super) fn downloads(&self) -> &Arc<Downloads> {
        &self.room.downloads
    }

    pub(super) fn kept(&self) -> &Arc<KeptContexts> {
        &self.room.kept
    }

    /// The images.
    pub(super) fn images(&self) -> &Images {
        &self.room.parts.images
    }

    /// The cache.
    pub(super) fn cache(&self) -> &Cache {
        &self.room.cache
    }

    /// What RUN steps keep for the next ones.
    pub(super) fn cache_mounts(&self) -> &CacheMounts {
        &self.room.cache_mounts
    }

    /// Equal steps that are being done.
    pub(super) fn turns(&self) -> &Turns {
        &self.room.turns
    }

    /// Who carries out RUN steps.
    pub(super) fn runner(&self) -> &Runner {
        &self.room.runner
    }

    /// The client's session; `None` where it has none.
    pub(super) async fn session(&self) -> Result<Option<Session>, BuildFailure> {
        let Some(id) = &self.session_id else { return Ok(None) };
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
    pub(super) fn let_go(&self) {
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
        let number = self.numbering.of(stage, index);
        StepTeller::new(self.teller.clone(), self.vertex(stage, index), number, self.numbering.total)
    }

    /// An instruction of a stage, as a step that has not begun.
    pub(super) fn vertex(&self, stage: usize, index: usize) -> Vertex {
        let Some(it) = self.file.stages.get(stage) else { return Vertex::default() };
        let instructions = self.file.stage_instructions(it);
        let instruction = instructions.get(index);
        let label = match (&it.name, self.file.stages.len()) {
            (Some(name), _) => format!("{name} "),
            (None, 1) => String::new(),
            (None, _) => format!("stage-{stage} "),
        };
        let (text, count) = match is_replaced(it, &self.facts) {
            true => (replaced(it), 1),
            false => (instruction.map(one_line).unwrap_or_default(), instructions.len()),
        };
        Vertex {
            digest: self.digest(&format!("{stage}.{index}")),
            inputs: index.checked_sub(1).map(|before| self.digest(&format!("{stage}.{before}"))).into_iter().collect(),
            name: format!("[{label}{}/{count}] {text}", index + 1),
            lines: instruction.map(|instruction| instruction.lines),
            ..Vertex::default()
        }
    }

    /// The digest of something in this build.
    pub(super) fn digest(&self, what: &str) -> String {
        digest_in(&self.id, what)
    }
}

/// An instruction as it fits on a line.
pub(super) fn one_line(instruction: &Instruction) -> String {
    instruction.text.split_whitespace().collect::<Vec<_>>().join(" ")
}
