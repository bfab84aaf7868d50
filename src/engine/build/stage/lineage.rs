//! Where a stage comes from and how far it is, as far as explaining a cache miss needs that.

use jiff::Timestamp;

use super::Work;
use crate::dockerfile::Instruction;
use crate::engine::build::cache::Key;
use crate::engine::build::cache::{About, BaseImage, Missed};
use crate::engine::build::plan::EPOCH;
use crate::engine::build::under_way::{Build, one_line};

/// What stages on a stage inherit of it.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::build) struct Lineage {
    /// The image at the bottom.
    pub base: Option<BaseImage>,
    /// The first step that was done anew.
    pub changed: Option<String>,
}

/// The step at hand.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::build) struct Position {
    /// Its number in the stage; FROM and its triggers are 0.
    pub index: usize,
    /// The instruction on one line.
    pub text: String,
    /// All instructions of the stage, each on one line.
    pub texts: Vec<String>,
    /// When the stage began.
    pub since: Timestamp,
    /// What the image's history will say of it.
    pub created_by: String,
}

impl Position {
    /// Before the first step of a stage.
    pub fn at_start(build: &Build, stage: usize) -> Self {
        let stage = build.file.stages.get(stage);
        let instructions = stage.map(|stage| build.file.stage_instructions(stage)).unwrap_or_default();
        Self { texts: instructions.iter().map(one_line).collect(), since: Timestamp::now(), ..Self::default() }
    }

    /// Goes on to a step.
    pub fn go_to(&mut self, index: usize, instruction: &Instruction) {
        (self.index, self.text) = (index, one_line(instruction));
    }
}

impl Work<'_> {
    /// Where the step at hand stands.
    pub(super) fn about(&self) -> About {
        About {
            project: self.build.project.clone(),
            stage: self.stage_name(),
            index: self.position.index,
            text: self.position.text.clone(),
            base: self.result.lineage.base.clone(),
        }
    }

    /// With what the outcome of every step that makes a layer depends on.
    pub(super) fn dated(&self, key: Key) -> Key {
        match self.build.facts.epoch {
            Some(epoch) => key.with(EPOCH, epoch.as_second().to_string()),
            None => key,
        }
    }

    /// Why the cache has nothing for the step of `key`.
    pub(super) fn why_missed(&self, key: &Key) -> Option<String> {
        let (about, texts) = (self.about(), &self.position.texts);
        let changed = self.result.lineage.changed.as_deref();
        self.build.cache().explain(Missed { key, about: &about, texts, changed, since: self.position.since })
    }

    /// Why the cache is not asked in this stage, where it is not.
    pub(super) fn cache_is_off(&self) -> Option<&'static str> {
        if self.build.no_cache {
            return Some("--no-cache");
        }
        let is_this = |name: &String| *name == self.index.to_string() || name.eq_ignore_ascii_case(&self.stage_name());
        self.build.no_cache_filter.iter().any(is_this).then_some("--no-cache-filter")
    }

    fn stage_name(&self) -> String {
        let name = self.build.file.stages.get(self.index).and_then(|stage| stage.name.clone());
        name.unwrap_or_else(|| self.index.to_string())
    }
}
