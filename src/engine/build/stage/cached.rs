//! What the cache knows of a step, and what it is told.

use jiff::Timestamp;

use super::{Done, Work};
use crate::engine::EngineError;
use crate::engine::build::cache::{Key, Record};
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::step::StepTeller;
use crate::engine::layer::Layer;

impl Work<'_> {
    /// The record of `key`, told as a hit; or why there is none, told as a miss.
    pub(super) fn cached(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        if let Some(why) = self.cache_is_off() {
            teller.reason(why);
            return None;
        }
        let layers = self.build.images().layers();
        if let Some(Record { layer, created, .. }) = self.build.cache().find(key, |chain| layers.get(chain).is_some()) {
            let layer = layer.and_then(|chain| layers.get(&chain));
            layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
            teller.cached();
            return Some(Done { layer, created });
        }
        if let Some(why) = self.why_missed(key) {
            teller.missed(&why);
        }
        None
    }

    pub(super) fn keep(&self, key: Key, layer: Option<Layer>) -> Result<Done, BuildFailure> {
        let created = Timestamp::now();
        layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
        let made = layer.as_ref().map(|layer| (&layer.chain_id, layer.size));
        let kept = self.build.cache().keep(key, self.about(), self.result.top(), made, created);
        kept.map_err(|error| EngineError::system(error.to_string()))?;
        Ok(Done { layer, created })
    }

    /// As [`Work::cached`], without a word in the classic text about a miss: setting a variable costs nothing.
    pub(super) fn cached_quietly(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        if let Some(why) = self.cache_is_off() {
            teller.reason(why);
            return None;
        }
        if let Some(record) = self.build.cache().find(key, |_| true) {
            teller.cached();
            return Some(Done { layer: None, created: record.created });
        }
        if let Some(why) = self.why_missed(key) {
            teller.reason(&why);
        }
        None
    }
}
