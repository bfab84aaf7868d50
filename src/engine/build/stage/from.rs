//! What a name stands for in FROM, `COPY --from` and `RUN --mount from=`: a named context, an earlier stage, an image.

use std::os::fd::AsFd;
use std::sync::Arc;

use jiff::Timestamp;

use super::cached::Claim;
use super::place::Place;
use super::{StageResult, Work, spawn};
use crate::dockerfile::ignore::IgnoreRules;
use crate::engine::EngineError;
use crate::engine::build::cache::Key;
use crate::engine::build::copy::Destination;
use crate::engine::build::graph::stage_before;
use crate::engine::build::meant;
use crate::engine::build::owner::Owner;
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::source::Files;
use crate::engine::build::step::StepTeller;
use crate::engine::build::tree::{Owners, Tree};
use crate::engine::build::under_way::Build;
use crate::engine::image::ImageConfig;
use crate::engine::layer::{ChainId, detached_root};

/// Where files are read from.
pub(in crate::engine::build) enum Origin {
    /// The layers of a stage or image, lowest first.
    Layers(Vec<ChainId>),
    /// A folder: a named context.
    Files(Arc<Files>),
}

impl Work<'_> {
    /// What `name` stands for in an instruction of this stage. A stage that a named context replaces is that context.
    pub(super) async fn from(&self, name: &str, teller: &mut StepTeller) -> Result<Origin, BuildFailure> {
        let build = self.build;
        let stage = stage_before(&build.file, name, self.index);
        let key = build.context_for(name, self.index);
        if let Some(key) = key {
            teller.works();
            return match build.named_files(&key).await? {
                Some(files) => Ok(Origin::Files(files)),
                None => self.layers_of_image(&build.named_image(&key).await?.unwrap_or(key)).await,
            };
        }
        match stage {
            Some(index) if build.has_stage(index) => {
                Ok(Origin::Layers(teller.wait_for(build.result_of(index)).await?.layers.clone()))
            }
            _ if name == "scratch" => Ok(Origin::Layers(Vec::new())),
            _ => {
                if let Some(refusal) = meant::misplaced_stage(&build.file, name, self.index) {
                    return Err(EngineError::invalid(refusal).into());
                }
                teller.works();
                let near = meant::near_stage(&build.file, name, self.index);
                self.layers_of_image(name).await.map_err(|failure| failure.followed_by(near))
            }
        }
    }

    async fn layers_of_image(&self, name: &str) -> Result<Origin, BuildFailure> {
        let build = self.build;
        let image = build.bases.image(name, build.wanted_platform(None).as_ref(), &build.cancel, |_| {}).await?;
        image.layers.iter().for_each(|layer| build.hold(layer));
        Ok(Origin::Layers(image.layers))
    }

    /// The tree of `name`, and whether copies keep its owners: those of an image mean something, those of a folder of the
    /// client do not.
    pub(super) async fn tree_of(
        &self,
        name: &str,
        teller: &mut StepTeller,
    ) -> Result<(Arc<Tree>, Owners), BuildFailure> {
        match self.from(name, teller).await? {
            Origin::Files(files) => {
                let told = |error: std::io::Error| EngineError::system(format!("open build context {name}: {error}"));
                Ok((Arc::new(files.tree().map_err(told)?.until(&self.build.cancel)), Owners::Ignored))
            }
            Origin::Layers(layers) => {
                let place = Place::new(self.build, &layers)?;
                let tree = spawn(move || {
                    let root = detached_root(&place.stack)?;
                    Ok(Tree::new(root, place))
                });
                Ok((Arc::new(tree.await?.until(&self.build.cancel)), Owners::Kept))
            }
        }
    }
}

impl Build {
    /// The named context that `name` means in the stage `before`: by that name, or because it replaces the stage that the
    /// name or number means.
    pub(in crate::engine::build) fn context_for(&self, name: &str, before: usize) -> Option<String> {
        if self.facts.contexts.get(name).is_some() {
            return Some(name.to_owned());
        }
        let stage = stage_before(&self.file, name, before).and_then(|index| self.file.stages.get(index))?;
        stage.name.clone().filter(|name| self.facts.contexts.get(name).is_some())
    }
}

/// A stage that begins with the files of a named context: they are its first layer.
pub(super) async fn begin_with_files(
    build: &Arc<Build>,
    index: usize,
    key: &str,
    files: &Arc<Files>,
    teller: &mut StepTeller,
) -> Result<StageResult, BuildFailure> {
    let config = ImageConfig { created: None, ..ImageConfig::for_host(Timestamp::UNIX_EPOCH) };
    let mut result = StageResult { config, ..StageResult::default() };
    let work = Work::new(build, index, result.clone());
    let told = |error: std::io::Error| EngineError::system(format!("open build context {key}: {error}"));
    let tree = Arc::new(files.tree().map_err(told)?.until(&build.cancel));
    let of_job = Arc::clone(&tree);
    let (found, facts) = spawn(move || {
        let told = |error: crate::engine::build::tree::TreeError| EngineError::system(error.to_string());
        let found = of_job.find("", &IgnoreRules::default()).map_err(told)?.unwrap_or_default();
        let mut facts = std::collections::BTreeMap::new();
        for matched in &found {
            of_job.facts(matched, Owners::Ignored, &mut facts).map_err(told)?;
        }
        Ok((found, facts))
    })
    .await?;
    let key = work.dated(Key::new("context", format!("FROM {key}"), None).with_files(&facts));
    teller.begin_part();
    let done = match work.claim(&key, teller).await? {
        Claim::Done(done) => done,
        Claim::Mine(_turn) => {
            let place = Place::new(build, &[])?;
            let layer = work
                .blocking(move |build, _| {
                    let root = detached_root(&place.stack)?;
                    let mut to = Destination::new(root.as_fd(), "/");
                    (to.owner, to.upper) = (Some(Owner::ROOT), Some(place.stack.upper.as_path()));
                    to.cancel = build.cancel.clone();
                    for matched in &found {
                        to.take(&tree, matched).map_err(|error| EngineError::invalid(error.to_string()))?;
                    }
                    drop(to);
                    drop(root);
                    place.commit(build, None)
                })
                .await?;
            work.keep(key, layer)?
        }
    };
    teller.end_part();
    result.layers.extend(done.layer.map(|layer| layer.chain_id));
    Ok(result)
}
