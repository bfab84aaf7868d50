//! What the cache knows of a step, and what it is told.

use jiff::Timestamp;

use super::{Done, Work};
use crate::engine::EngineError;
use crate::engine::build::cache::{Key, Record};
use crate::engine::build::exchange::{Found, Wanted};
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::step::StepTeller;
use crate::engine::build::turns::Turn;
use crate::engine::layer::Layer;

/// What is to be done about a step.
pub(super) enum Claim {
    /// Nothing: it was done before, or by somebody else just now.
    Done(Done),
    /// The work, and nobody else does it meanwhile. To be held until [`Work::keep`] has returned.
    Mine(Option<Turn>),
}

impl Work<'_> {
    /// What the step of `key` did where that is known, told as a hit; else the turn to do it, told as a miss where one can
    /// be explained. Waits for whoever does the same step right now.
    pub(super) async fn claim(&self, key: &Key, teller: &mut StepTeller) -> Result<Claim, BuildFailure> {
        self.build.note_key(key.digest());
        if let Some(why) = self.cache_is_off() {
            teller.reason(why);
            return Ok(Claim::Mine(None));
        }
        if let Some(done) = self.own(key, teller) {
            return Ok(Claim::Done(done));
        }
        let (turns, cancel) = (self.build.turns(), &self.build.cancel);
        let turn = async {
            tokio::select! {
                turn = turns.take(key.digest()) => Ok(turn),
                () = cancel.cancelled() => Err(BuildFailure::cancelled()),
            }
        };
        let turn = teller.wait_for(turn).await?;
        // Whoever had the turn before has done it by now, unless it failed or was cancelled.
        if let Some(done) = self.known(key, teller).await {
            return Ok(Claim::Done(done));
        }
        if let Some(why) = self.why_missed(key) {
            teller.missed(&why);
        }
        Ok(Claim::Mine(Some(turn)))
    }

    /// As [`Work::claim`], without a turn or a word in the classic text about a miss: setting a variable costs nothing.
    pub(super) async fn cached_quietly(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        self.build.note_key(key.digest());
        if let Some(why) = self.cache_is_off() {
            teller.reason(why);
            return None;
        }
        let found = self.known(key, teller).await;
        if found.is_none()
            && let Some(why) = self.why_missed(key)
        {
            teller.reason(&why);
        }
        found
    }

    /// What the step of `key` did, if our own cache or one of those that were brought knows.
    async fn known(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        if let Some(done) = self.own(key, teller) {
            return Some(done);
        }
        let done = self.imported(key, teller).await?;
        done.layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
        teller.cached();
        Some(done)
    }

    /// What the step of `key` did, if our own cache knows.
    fn own(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        let layers = self.build.images().layers();
        let record = self.build.cache().find(key, |chain| layers.get(chain).is_some())?;
        let Record { layer, created, .. } = record;
        let layer = layer.and_then(|chain| layers.get(&chain));
        layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
        teller.cached();
        Some(Done { layer, created })
    }

    /// What a cache that was brought knows of the step; from then on our own knows it too.
    async fn imported(&self, key: &Key, teller: &mut StepTeller) -> Option<Done> {
        let imports = &self.build.imports;
        if imports.is_empty() {
            return None;
        }
        let wanted = self.wanted(key);
        let mut warnings = Vec::new();
        let found = imports.find(self.build.images(), &wanted, |warning| warnings.push(warning)).await;
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

    fn wanted(&self, key: &Key) -> Wanted<'_> {
        Wanted {
            key: key.digest(),
            position: &self.position,
            done: &self.result.config.history,
            layers: &self.result.layers,
            cancel: &self.build.cancel,
        }
    }

    /// The layer that a cache has for the COPY or WORKDIR of `key`, where that is the one just `made` but for its times: what stands on
    /// it there is then of use, too.
    pub(super) async fn as_elsewhere(&self, key: &Key, made: Option<Layer>) -> Option<Layer> {
        let made = made?;
        // Dates that were asked for are not to be given up.
        if self.build.imports.is_empty() || self.build.facts.epoch.is_some() || self.cache_is_off().is_some() {
            return Some(made);
        }
        let Some(layer) = self.build.imports.same(self.build.images(), &self.wanted(key), &made).await else {
            return Some(made);
        };
        self.build.hold(&layer.chain_id);
        if layer.chain_id != made.chain_id
            && let Err(error) = self.build.images().release_layer(made.chain_id)
        {
            tracing::warn!(%error, "a layer that nobody owns stays until the next start");
        }
        Some(layer)
    }

    /// Notes what the step of `key` did. A layer that can't be noted goes, as nobody would ever find it.
    pub(super) fn keep(&self, key: Key, layer: Option<Layer>) -> Result<Done, BuildFailure> {
        let created = Timestamp::now();
        let Some(layer) = layer else {
            let kept = self.build.cache().keep(key, self.about(), self.result.top(), None, created);
            kept.map_err(|error| EngineError::system(error.to_string()))?;
            return Ok(Done { layer: None, created });
        };
        let hold = self.build.images().layers().hold(&layer.chain_id);
        let made = Some((&layer.chain_id, layer.size));
        if let Err(error) = self.build.cache().keep(key, self.about(), self.result.top(), made, created) {
            drop(hold);
            if let Err(error) = self.build.images().release_layer(layer.chain_id) {
                tracing::warn!(%error, "a layer that nobody owns stays until the next start");
            }
            return Err(EngineError::system(error.to_string()).into());
        }
        self.build.hold(&layer.chain_id);
        Ok(Done { layer: Some(layer), created })
    }
}
