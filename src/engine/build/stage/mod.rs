//! Carries out one stage: its instructions in turn, each from the cache or by doing it.
//!
//! This is the walk; `cached` asks and feeds the cache, `place` is where a step writes and how that becomes a layer, and each
//! kind of step has a file of its own.

mod cached;
mod config;
mod copy;
mod epoch;
mod from;
mod lineage;
mod place;
mod run;
mod transfer;
mod workdir;

pub(super) use place::read_root;

use std::sync::Arc;

use jiff::Timestamp;

use self::lineage::Lineage;
pub(super) use self::lineage::Position;
use super::cache::BaseImage;
use super::graph::{Base, Node, replaced, trigger};
use super::meant;
use super::plan::{Argument, DEFAULT_PATH, Planned, StageState, Step};
use super::progress::BuildFailure;
use super::step::StepTeller;
use super::under_way::Build;
use crate::dockerfile::expand::expand;
use crate::dockerfile::{Body, Instruction, LineRange};
use crate::engine::EngineError;
use crate::engine::image::{HistoryEntry, ImageConfig, Reference};
use crate::engine::layer::{ChainId, Digest, Layer};

/// What the history says made each step, so that tools which know BuildKit's images know ours.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// What a stage has come to.
#[derive(Debug, Clone, Default)]
pub(super) struct StageResult {
    /// The image it would be.
    pub config: ImageConfig,
    /// The ARGs it declared: a stage that is FROM this one has them, too.
    pub args: Vec<Argument>,
    /// Its layers, lowest first.
    pub layers: Vec<ChainId>,
    /// Where it comes from.
    pub lineage: Lineage,
}

impl StageResult {
    fn top(&self) -> Option<&ChainId> {
        self.layers.last()
    }

    /// A short name for the classic text: what the state's digest begins with.
    fn short_id(&self, state: &StageState) -> String {
        let text = format!("{:?}{}", self.layers, serde_json::to_string(&state.config).unwrap_or_default());
        Digest::of(text.as_bytes()).hex().chars().take(12).collect()
    }
}

/// Builds the stage of `node`.
pub(super) async fn build_stage(build: &Arc<Build>, node: &Node) -> Result<StageResult, BuildFailure> {
    let Some(stage) = build.file.stages.get(node.index) else { return Err(BuildFailure::cancelled()) };
    let instructions = build.file.stage_instructions(stage);
    let Some((from, rest)) = instructions.split_first() else { return Err(BuildFailure::cancelled()) };
    let rest = if node.is_replaced { &[] } else { rest };
    let mut teller = build.teller_of(node.index, 0);
    match node.is_replaced {
        true => teller.begin(&replaced(stage)),
        false => teller.begin(&from.text),
    }
    let begun = begin(build, node, &mut teller).await;
    let result = teller.settle_failure(begun)?;

    let mut work = Work::new(build, node.index, result);
    // What stands in for a stage is what comes of it, and no base.
    let triggers = if node.is_replaced { Vec::new() } else { teller.settle_failure(work.take_triggers())? };
    if !triggers.is_empty() {
        let plural = if triggers.len() == 1 { "" } else { "s" };
        teller.text(format!("# Executing {} build trigger{plural}\n", triggers.len()));
    }
    for trigger in &triggers {
        work.position.go_to(0, trigger);
        let outcome = work.instruction(trigger, from.lines, &mut teller).await;
        teller.settle_failure(outcome)?;
    }
    teller.settle(Ok(()))?;
    teller.end();
    for (index, instruction) in rest.iter().enumerate() {
        work.position.go_to(index + 1, instruction);
        let mut teller = build.teller_of(node.index, index + 1);
        teller.begin(&instruction.text);
        let outcome = work.instruction(instruction, instruction.lines, &mut teller).await;
        teller.settle(outcome)?;
        teller.end();
    }
    Ok(work.finish())
}

/// FROM.
async fn begin(build: &Arc<Build>, node: &Node, teller: &mut StepTeller) -> Result<StageResult, BuildFailure> {
    if !matches!(node.base, Base::Stage(_)) {
        teller.works();
    }
    match &node.base {
        Base::Scratch => {
            teller.text(" ---> \n");
            // No time until a step gives it one, so that an unchanged build gives the same image again.
            let platform = build.platforms.target.clone();
            let mut config = ImageConfig {
                architecture: platform.architecture,
                os: platform.os,
                variant: platform.variant,
                ..ImageConfig::default()
            };
            config.config.env = Some(vec![format!("PATH={DEFAULT_PATH}")]);
            config.config.working_dir = Some("/".to_owned());
            Ok(StageResult { config, ..StageResult::default() })
        }
        Base::Stage(index) => {
            let below = teller.wait_for(build.result_of(*index)).await?;
            let state = StageState::on(below.config.config.clone(), None);
            if !has_triggers(&below.config) {
                teller.text(format!(" ---> {}\n", below.short_id(&state)));
            }
            Ok((*below).clone())
        }
        Base::Image(name) => begin_with_image(build, node, name, teller).await,
        Base::Context(key) => match build.named_files(key).await? {
            Some(files) => from::begin_with_files(build, node.index, key, &files, teller).await,
            None => {
                let name = build.named_image(key).await?.unwrap_or_else(|| key.clone());
                begin_with_image(build, node, &name, teller).await
            }
        },
    }
}

async fn begin_with_image(
    build: &Arc<Build>,
    node: &Node,
    name: &str,
    teller: &mut StepTeller,
) -> Result<StageResult, BuildFailure> {
    let wanted = build.wanted_platform(node.platform.as_deref());
    let image = build.bases.image(name, wanted.as_ref(), &build.cancel, |progress| teller.pull(progress)).await;
    let image = image.map_err(|failure| match Reference::parse(name) {
        Ok(_) => failure.followed_by(meant::near_stage(&build.file, name, node.index)),
        Err(error) => EngineError::invalid(no_name(build, node, name, &error)).into(),
    })?;
    if !has_triggers(&image.config) {
        teller.text(format!(" ---> {}\n", image.id.hex().get(..12).unwrap_or_default()));
    }
    image.layers.iter().for_each(|layer| build.hold(layer));
    let base = Some(BaseImage { name: name.to_owned(), id: image.id });
    let lineage = Lineage { base, ..Lineage::default() };
    // The base's own cache is not this image's.
    let config = ImageConfig { build_cache: None, ..image.config };
    Ok(StageResult { config, layers: image.layers, lineage, ..StageResult::default() })
}

/// Why `name`, which FROM comes to, names no image.
fn no_name(build: &Build, node: &Node, name: &str, error: &dyn std::error::Error) -> String {
    let stage = build.file.stages.get(node.index);
    let from = stage.and_then(|stage| build.file.stage_instructions(stage).first()).map(|from| &from.body);
    let written = if let Some(Body::From(from)) = from { from.image.as_str() } else { name };
    let unset = expand(written, &build.facts.global_args, build.facts.escape).map(|it| it.unset).unwrap_or_default();
    format!("failed to parse stage name {name:?}: {error}{}", meant::of_image(name, written, &unset))
}

/// Whether a base brings ONBUILD instructions: the classic text then has no ID before they are carried out.
fn has_triggers(config: &ImageConfig) -> bool {
    config.config.on_build.as_ref().is_some_and(|triggers| !triggers.is_empty())
}

/// A stage at work.
struct Work<'a> {
    build: &'a Arc<Build>,
    index: usize,
    result: StageResult,
    state: StageState,
    position: Position,
}

/// What a step has done.
struct Done {
    layer: Option<Layer>,
    created: Timestamp,
}

impl<'a> Work<'a> {
    fn new(build: &'a Arc<Build>, index: usize, result: StageResult) -> Self {
        let mut state = StageState::on(result.config.config.clone(), result.config.author.clone());
        state.args.clone_from(&result.args);
        let position = Position::at_start(build, index);
        Self { build, index, result, state, position }
    }

    /// The base image's ONBUILD instructions, which are then no longer part of it.
    fn take_triggers(&mut self) -> Result<Vec<Instruction>, BuildFailure> {
        let texts = self.state.config.on_build.take().unwrap_or_default();
        let triggers = texts.iter().map(|text| trigger(text)).collect::<Result<Vec<_>, _>>();
        triggers.map_err(|error| EngineError::invalid(error.message).into())
    }

    fn finish(mut self) -> StageResult {
        self.result.config.config = self.state.config;
        self.result.config.author = self.state.author;
        self.result.args = self.state.args;
        self.result
    }

    async fn instruction(
        &mut self,
        instruction: &Instruction,
        lines: LineRange,
        teller: &mut StepTeller,
    ) -> Result<(), BuildFailure> {
        if self.build.cancel.is_cancelled() {
            return Err(BuildFailure::cancelled());
        }
        let outcome = self.carry_out_one(instruction, lines, teller).await;
        // What work says that was broken off is no news.
        outcome.map_err(|failure| if self.build.cancel.is_cancelled() { BuildFailure::cancelled() } else { failure })
    }

    async fn carry_out_one(
        &mut self,
        instruction: &Instruction,
        lines: LineRange,
        teller: &mut StepTeller,
    ) -> Result<(), BuildFailure> {
        let Planned { step, after, created_by } = self.state.plan(instruction, &self.build.facts).map_err(|error| {
            EngineError::invalid(format!("dockerfile parse error on line {}: {error}", lines.first))
        })?;
        self.position.created_by = created_by.clone();
        teller.begin_part();
        let done = match step {
            Step::Configure => {
                teller.works();
                self.configure(&after, &created_by, teller).await?
            }
            Step::MakeWorkdir(path) => {
                teller.works();
                self.make_workdir(path, &created_by, teller).await?
            }
            Step::Run(run) => self.run(&run, teller).await?,
            Step::Copy(copy) => self.copy(&copy, &created_by, teller).await?,
        };
        if !teller.end_part() {
            self.result.lineage.changed.get_or_insert_with(|| self.position.text.clone());
        }
        self.state = after;
        let created = self.build.facts.epoch.unwrap_or(done.created).to_string();
        // As in BuildKit: what waits for another build has done nothing yet.
        if !matches!(instruction.body, Body::OnBuild(_)) {
            self.result.config.history.push(HistoryEntry {
                created: Some(created.clone()),
                created_by: Some(created_by),
                comment: Some(HISTORY_COMMENT.to_owned()),
                empty_layer: done.layer.is_none(),
                ..HistoryEntry::default()
            });
        }
        self.result.config.created = Some(created);
        if let Some(layer) = done.layer {
            self.result.layers.push(layer.chain_id);
        }
        teller.text(format!(" ---> {}\n", self.result.short_id(&self.state)));
        Ok(())
    }

    /// Runs blocking work that ends in a layer above this stage's top.
    async fn blocking(
        &self,
        work: impl FnOnce(&Build, Option<&ChainId>) -> Result<Option<Layer>, EngineError> + Send + 'static,
    ) -> Result<Option<Layer>, EngineError> {
        let (build, below) = (Arc::clone(self.build), self.result.top().copied());
        spawn(move || work(&build, below.as_ref())).await
    }
}

async fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))?
}
