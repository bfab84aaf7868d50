//! The build cache: what a step did, by everything that could have changed it.
//!
//! A key is the digest of named inputs: the layer below, the command, each variable, each file. The names stay in the
//! record, so a miss can say which input differs from the last time instead of leaving a person to guess. Records are
//! `<root>/build/cache/<key>.json`; the layers they point to are kept from removal for as long as the record stands. When
//! each was last of use is `<root>/build/uses.json`, written after each build.

mod budget;
mod explain;
mod key;
mod record;
mod shelf;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::budget::{Amount, Budget, BudgetError};
pub(super) use self::budget::{Disk, Rule, select};
pub(super) use self::explain::Missed;
pub(super) use self::key::Key;
pub(super) use self::record::{About, BaseImage, Record};
pub(super) use self::shelf::{Entry, EntryKind, Shelf, folder_of, short_id};
use crate::engine::image::{ImageId, ImageUser, ImageUsers};
use crate::engine::layer::{ChainId, Digest};
use crate::engine::store::{self, RecordError, StateRoot};

/// All records. Clones are the same cache.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    folder: PathBuf,
    uses: PathBuf,
    index: Arc<Mutex<Index>>,
}

#[derive(Debug, Default)]
struct Index {
    records: HashMap<Digest, Record>,
    /// Whether uses are not on disk yet.
    is_dirty: bool,
}

/// When a record was last of use, and how often, as `uses.json` keeps it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Uses {
    last: Timestamp,
    count: u64,
}

impl Cache {
    /// Reads the records; damaged ones are dropped, as they can only save time.
    pub(super) fn open(root: &StateRoot) -> std::io::Result<Self> {
        let room = root.room("build")?;
        let (folder, uses) = (room.join("cache"), room.join("uses.json"));
        std::fs::create_dir_all(&folder)?;
        let mut records = HashMap::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            match store::read_record::<Record>(&path) {
                Ok(Some(record)) => drop(records.insert(record.key, record)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a build cache record is dropped");
                    let _ = std::fs::remove_file(&path);
                }
            }
        }
        // Without it the records only look older than they are.
        let known: BTreeMap<Digest, Uses> = store::read_record(&uses).ok().flatten().unwrap_or_default();
        for (key, Uses { last, count }) in known {
            if let Some(record) = records.get_mut(&key) {
                (record.used, record.uses) = (Some(last), count);
            }
        }
        Ok(Self { folder, uses, index: Arc::new(Mutex::new(Index { records, is_dirty: false })) })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of `key`, if `is_there` finds its layer still.
    pub(super) fn find(&self, key: &Key, is_there: impl Fn(&ChainId) -> bool) -> Option<Record> {
        let mut index = self.index();
        let record = index.records.get_mut(&key.digest())?;
        if record.layer.as_ref().is_some_and(|layer| !is_there(layer)) {
            return None;
        }
        record.used = Some(Timestamp::now());
        record.uses += 1;
        let record = record.clone();
        index.is_dirty = true;
        Some(record)
    }

    /// Remembers what the step of `key` did.
    pub(super) fn keep(
        &self,
        key: Key,
        about: About,
        below: Option<&ChainId>,
        layer: Option<(&ChainId, u64)>,
        created: Timestamp,
    ) -> Result<(), RecordError> {
        let digest = key.digest();
        self.put(Record {
            key: digest,
            kind: key.kind.to_owned(),
            identity: key.identity,
            inputs: key.inputs,
            below: below.copied(),
            layer: layer.map(|(chain, _)| *chain),
            size: layer.map_or(0, |(_, size)| size),
            created,
            used: Some(Timestamp::now()),
            uses: 0,
            about,
        })
    }

    /// Takes a record in. A power loss may cost it; it can only save time.
    pub(super) fn put(&self, record: Record) -> Result<(), RecordError> {
        store::write_volatile_record(&self.path(&record.key), &record)?;
        self.index().records.insert(record.key, record);
        Ok(())
    }

    /// Why there is no record of a step: how it differs from the nearest earlier one. `None` where nothing like it was
    /// ever done.
    pub(super) fn explain(&self, missed: Missed<'_>) -> Option<String> {
        explain::why(self.index().records.values(), missed)
    }

    /// The records of some keys, as far as there are any.
    pub(super) fn some(&self, keys: &[Digest]) -> Vec<Record> {
        let index = self.index();
        keys.iter().filter_map(|key| index.records.get(key).cloned()).collect()
    }

    /// All records, newest first.
    pub(super) fn list(&self) -> Vec<Record> {
        let mut all: Vec<Record> = self.index().records.values().cloned().collect();
        all.sort_by_key(|record| std::cmp::Reverse(record.created));
        all
    }

    /// Forgets a record; its layer may then go.
    pub(super) fn forget(&self, key: &Digest) -> Result<(), RecordError> {
        store::remove_record(&self.path(key))?;
        let mut index = self.index();
        index.records.remove(key);
        index.is_dirty = true;
        Ok(())
    }

    /// Writes down when records were last of use, if that changed. Blocking.
    pub(super) fn save_uses(&self) -> Result<(), RecordError> {
        let uses: BTreeMap<Digest, Uses> = {
            let mut index = self.index();
            if !std::mem::take(&mut index.is_dirty) {
                return Ok(());
            }
            let uses = index.records.values().map(|it| (it.key, Uses { last: it.last_used(), count: it.uses }));
            uses.collect()
        };
        store::write_volatile_record(&self.uses, &uses)
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", key.hex()))
    }
}

impl ImageUsers for Cache {
    fn users_of(&self, _: &ImageId) -> Vec<ImageUser> {
        Vec::new()
    }

    fn holds_layer(&self, layer: &ChainId) -> bool {
        self.index().records.values().any(|record| record.layer.as_ref() == Some(layer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(text: &str) -> ChainId {
        ChainId(Digest::of(text.as_bytes()))
    }

    #[test]
    fn a_step_is_found_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let root = StateRoot::open(folder.path()).unwrap();
        let cache = Cache::open(&root).unwrap();
        let key = Key::new("run", "RUN a", Some(&chain("a")));
        let keep = |cache: &Cache| {
            let made = (&chain("b"), 7);
            cache.keep(key.clone(), About::default(), Some(&chain("a")), Some(made), Timestamp::UNIX_EPOCH)
        };
        keep(&cache).unwrap();
        assert_eq!(cache.find(&key, |_| true).unwrap().uses, 1);
        cache.save_uses().unwrap();
        drop(cache);

        let cache = Cache::open(&root).unwrap();
        let found = cache.find(&key, |_| true).unwrap();
        assert_eq!((found.layer, found.uses), (Some(chain("b")), 2), "uses are kept too");
        assert!(cache.holds_layer(&chain("b")) && !cache.holds_layer(&chain("a")));
        assert_eq!(cache.find(&key, |_| false), None);
        cache.forget(&key.digest()).unwrap();
        cache.save_uses().unwrap();
        assert!(Cache::open(&root).unwrap().list().is_empty());
    }
}
