//! What the cache knows of a step, and what it is told.

use jiff::Timestamp;

use super::{Done, Work};
use crate::engine::EngineError;
use crate::engine::build::cache::{Key, Record};
use crate::engine::build::exchange::{Found, Wanted};
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::step::StepTeller;
use crate::engine::layer::Layer;

impl Work<'_> {
    /// The record of `key`, told as a hit; or why there is none, told as a miss.
    pub(super) async fn cached(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        let found = self.known(key, teller).await;
        if found.is_none()
            && self.cache_is_off().is_none()
            && let Some(why) = self.why_missed(key)
        {
            teller.missed(&why);
        }
        found
    }

    /// As [`Work::cached`], without a word in the classic text about a miss: setting a variable costs nothing.
    pub(super) async fn cached_quietly(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        let found = self.known(key, teller).await;
        if found.is_none()
            && self.cache_is_off().is_none()
            && let Some(why) = self.why_missed(key)
        {
            teller.reason(&why);
        }
        found
    }

    /// What the step of `key` did, if our own cache or one of those that were brought knows.
    async fn known(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        self.build.note_key(key.digest());
        if let Some(why) = self.cache_is_off() {
            teller.reason(why);
            return None;
        }
        let layers = self.build.images().layers();
        let done = match self.build.cache().find(key, |chain| layers.get(chain).is_some()) {
            Some(Record { layer, created, .. }) => Done { layer: layer.and_then(|chain| layers.get(&chain)), created },
            None => self.imported(key, teller).await?,
        };
        done.layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
        teller.cached();
        Some(done)
    }

    /// What a cache that was brought knows of the step; from then on our own knows it too.
    async fn imported(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        let imports = &self.build.imports;
        if imports.is_empty() {
            return None;
        }
        let wanted = Wanted {
            key: key.digest(),
            position: &self.position,
            done: &self.result.config.history,
            layers: &self.result.layers,
        };
        let mut warnings = Vec::new();
        let found = tokio::select! {
            found = imports.find(self.build.images(), &wanted, |warning| warnings.push(warning)) => found,
            () = self.build.cancel.cancelled() => None,
        };
        for warning in warnings {
            teller.text(format!("[Warning] {warning}\n"));
        }
        let Found { layer, created, record, name } = found?;
        tracing::debug!(cache = name, "a step comes from elsewhere");
        let kept = match record {
            Some(record) => {
                let (about, used) = (self.about(), Some(Timestamp::now()));
                self.build.cache().put(Record { about, used, uses: 1, ..record })
            }
            None => {
                let made = layer.as_ref().map(|layer| (&layer.chain_id, layer.size));
                self.build.cache().keep(key.clone(), self.about(), self.result.top(), made, created)
            }
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "a step from elsewhere is not kept");
        }
        Some(Done { layer, created })
    }

    pub(super) fn keep(&self, key: Key, layer: Option<Layer>) -> Result<Done, BuildFailure> {
        let created = Timestamp::now();
        layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
        let made = layer.as_ref().map(|layer| (&layer.chain_id, layer.size));
        let kept = self.build.cache().keep(key, self.about(), self.result.top(), made, created);
        kept.map_err(|error| EngineError::system(error.to_string()))?;
        Ok(Done { layer, created })
    }
}
