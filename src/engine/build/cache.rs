//! The build cache: what a step did, by everything that could have changed it.
//!
//! A key is the digest of named inputs: the layer below, the command, each variable, each file. The names stay in the
//! record, so a miss can say which input differs from the last time instead of leaving a person to guess. Records are
//! `<root>/build/cache/<key>.json`; the layers they point to are kept from removal for as long as the record stands.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::image::{ImageId, ImageUser, ImageUsers};
use crate::engine::layer::{ChainId, Digest};
use crate::engine::store::{self, RecordError, StateRoot};

/// More files than this are kept as one digest: the explanation of a miss is not worth megabytes.
const MAX_FILES: usize = 5000;
/// How many differences a person is told.
const MAX_TOLD: usize = 3;

/// The name of the input that is the layer below.
const BELOW: &str = "below";
/// What the names of file inputs begin with.
const FILE: &str = "file ";

/// Everything that can change what a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    kind: &'static str,
    identity: String,
    inputs: BTreeMap<String, String>,
}

impl Key {
    /// The key of a step of some kind. `identity` is what makes a person call it the same step: its text.
    pub(super) fn new(kind: &'static str, identity: impl Into<String>, below: Option<&ChainId>) -> Self {
        let below = below.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        Self { kind, identity: identity.into(), inputs: BTreeMap::from([(BELOW.to_owned(), below)]) }
    }

    /// Adds an input, called as a person would call it: `user`, `ENV PATH`, `ARG VERSION`.
    #[must_use]
    pub(super) fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.inputs.insert(name.into(), value.into());
        self
    }

    /// Adds the files that are copied: path to what counts about it.
    #[must_use]
    pub(super) fn with_files(mut self, files: &BTreeMap<String, String>) -> Self {
        if files.len() > MAX_FILES {
            let text: String = files.iter().map(|(path, facts)| format!("{path}\0{facts}\0")).collect();
            return self.with("files", Digest::of(text.as_bytes()).to_string());
        }
        self.inputs.extend(files.iter().map(|(path, facts)| (format!("{FILE}{path}"), facts.clone())));
        self
    }

    /// What the record is found by.
    pub(super) fn digest(&self) -> Digest {
        let mut text = format!("{}\0{}\0", self.kind, self.identity);
        for (name, value) in &self.inputs {
            // Lengths keep two inputs from being read as one.
            text.push_str(&format!("{}\0{name}\0{}\0{value}\0", name.len(), value.len()));
        }
        Digest::of(text.as_bytes())
    }
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The key's digest.
    pub key: Digest,
    /// `run`, `copy`, `workdir` or `config`.
    pub kind: String,
    /// The step's text.
    pub identity: String,
    /// What it depended on.
    pub inputs: BTreeMap<String, String>,
    /// The layer below.
    pub below: Option<ChainId>,
    /// The layer it made; `None` if it changed no file.
    pub layer: Option<ChainId>,
    /// Bytes of that layer's content.
    pub size: u64,
    /// When.
    pub created: Timestamp,
    /// When it was last of use; not kept across starts.
    #[serde(default)]
    pub used: Option<Timestamp>,
    /// How often it was of use since the start.
    #[serde(skip)]
    pub uses: i64,
}

/// All records. Clones are the same cache.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    folder: PathBuf,
    records: Arc<Mutex<HashMap<Digest, Record>>>,
}

impl Cache {
    /// Reads the records; damaged ones are dropped, as they can only save time.
    pub(super) fn open(root: &StateRoot) -> std::io::Result<Self> {
        let folder = root.room("build")?.join("cache");
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
        Ok(Self { folder, records: Arc::new(Mutex::new(records)) })
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Digest, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of `key`, if `is_there` finds its layer still.
    pub(super) fn find(&self, key: &Key, is_there: impl Fn(&ChainId) -> bool) -> Option<Record> {
        let mut records = self.records();
        let record = records.get_mut(&key.digest())?;
        if record.layer.as_ref().is_some_and(|layer| !is_there(layer)) {
            return None;
        }
        record.used = Some(Timestamp::now());
        record.uses += 1;
        Some(record.clone())
    }

    /// Remembers what the step of `key` did.
    pub(super) fn keep(
        &self,
        key: Key,
        below: Option<&ChainId>,
        layer: Option<(&ChainId, u64)>,
        created: Timestamp,
    ) -> Result<(), RecordError> {
        let digest = key.digest();
        let record = Record {
            key: digest,
            kind: key.kind.to_owned(),
            identity: key.identity,
            inputs: key.inputs,
            below: below.copied(),
            layer: layer.map(|(chain, _)| *chain),
            size: layer.map_or(0, |(_, size)| size),
            created,
            used: Some(created),
            uses: 0,
        };
        store::write_record(&self.path(&digest), &record)?;
        self.records().insert(digest, record);
        Ok(())
    }

    /// Why there is no record of `key`: how it differs from the nearest one of the same step. `None` where this step was
    /// never done: that an instruction was written anew needs no explanation.
    pub(super) fn explain(&self, key: &Key) -> Option<String> {
        let records = self.records();
        let same = records.values().filter(|record| record.kind == key.kind && record.identity == key.identity);
        let nearest = same.max_by_key(|record| {
            let equal = record.inputs.iter().filter(|(name, value)| key.inputs.get(*name) == Some(*value)).count();
            (equal, record.used)
        })?;
        if nearest.key == key.digest() {
            return Some("its layer is gone".to_owned());
        }
        Some(difference(&nearest.inputs, &key.inputs))
    }

    /// All records, newest first.
    pub(super) fn list(&self) -> Vec<Record> {
        let mut all: Vec<Record> = self.records().values().cloned().collect();
        all.sort_by_key(|record| std::cmp::Reverse(record.created));
        all
    }

    /// Forgets a record; its layer may then go.
    pub(super) fn forget(&self, key: &Digest) -> Result<(), RecordError> {
        store::remove_record(&self.path(key))?;
        self.records().remove(key);
        Ok(())
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
        self.records().values().any(|record| record.layer.as_ref() == Some(layer))
    }
}

/// The first few differences in words; what lies below is told only where nothing else differs.
fn difference(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let mut told = Vec::new();
    let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names.into_iter().filter(|name| name.as_str() != BELOW) {
        match (before.get(name), now.get(name)) {
            (Some(before), Some(now)) if before == now => {}
            (before, now) => told.push(one_difference(name, before, now)),
        }
    }
    if told.is_empty() {
        return "a step before it changed".to_owned();
    }
    let more = told.len().saturating_sub(MAX_TOLD);
    told.truncate(MAX_TOLD);
    let mut text = told.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn one_difference(name: &str, before: Option<&String>, now: Option<&String>) -> String {
    if let Some(path) = name.strip_prefix(FILE) {
        return match (before, now) {
            (None, _) => format!("{path} is new"),
            (_, None) => format!("{path} is gone"),
            (Some(before), Some(now)) => format!("{path} changed ({})", file_difference(before, now)),
        };
    }
    match (before, now) {
        (None, Some(now)) => format!("{name} is new ({})", shortened(now)),
        (Some(_), None) | (None, None) => format!("{name} is gone"),
        (Some(_), Some(_)) if name == "files" => "files changed".to_owned(),
        (Some(before), Some(now)) => format!("{name}: {} -> {}", shortened(before), shortened(now)),
    }
}

/// File facts are words separated by blanks: kind, mode, owner, content.
fn file_difference(before: &str, now: &str) -> String {
    let (before, now): (Vec<&str>, Vec<&str>) = (before.split(' ').collect(), now.split(' ').collect());
    let names = ["kind", "mode", "owner", "content"];
    let differing = names.iter().enumerate().filter(|(at, _)| before.get(*at) != now.get(*at));
    let words = differing.map(|(at, name)| match (*name, before.get(at), now.get(at)) {
        ("mode" | "owner", Some(before), Some(now)) => format!("{name} {before} -> {now}"),
        _ => (*name).to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 60 && line.len() == text.len() {
        return line.to_owned();
    }
    format!("{}…", line.chars().take(59).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(text: &str) -> ChainId {
        ChainId(Digest::of(text.as_bytes()))
    }

    fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(path, facts)| ((*path).to_owned(), (*facts).to_owned())).collect()
    }

    fn copy(below: &str, pairs: &[(&str, &str)]) -> Key {
        Key::new("copy", "COPY . /app/", Some(&chain(below))).with_files(&files(pairs))
    }

    struct Yard {
        _folder: tempfile::TempDir,
        root: StateRoot,
        cache: Cache,
    }

    fn yard() -> Yard {
        let folder = tempfile::tempdir().unwrap();
        let root = StateRoot::open(folder.path()).unwrap();
        let cache = Cache::open(&root).unwrap();
        Yard { _folder: folder, root, cache }
    }

    #[test]
    fn a_step_is_found_again_after_a_restart() {
        let yard = yard();
        let key = copy("a", &[("x", "file 644 0:0 aa")]);
        yard.cache.keep(key.clone(), Some(&chain("a")), Some((&chain("b"), 7)), Timestamp::UNIX_EPOCH).unwrap();
        let cache = Cache::open(&yard.root).unwrap();
        assert_eq!(cache.find(&key, |_| true).unwrap().layer, Some(chain("b")));
        assert!(cache.holds_layer(&chain("b")) && !cache.holds_layer(&chain("a")));
        assert_eq!(cache.find(&key, |_| false), None);
        cache.forget(&key.digest()).unwrap();
        assert!(Cache::open(&yard.root).unwrap().list().is_empty());
    }

    #[test]
    fn a_miss_says_what_differs() {
        let yard = yard();
        let cache = &yard.cache;
        let before = copy("a", &[("src/a.rs", "file 644 0:0 aa"), ("b", "file 644 0:0 bb"), ("c", "file 644 0:0 cc")]);
        cache.keep(before, None, None, Timestamp::UNIX_EPOCH).unwrap();
        let explain = |key: &Key| cache.explain(key);
        let changed = copy("a", &[("src/a.rs", "file 644 0:0 xx"), ("b", "file 755 0:0 bb"), ("d", "file 644 0:0 dd")]);
        assert_eq!(explain(&changed).unwrap(), "b changed (mode 644 -> 755), c is gone, d is new and 1 more");
        let below = copy("z", &[("src/a.rs", "file 644 0:0 aa"), ("b", "file 644 0:0 bb"), ("c", "file 644 0:0 cc")]);
        assert_eq!(explain(&below).unwrap(), "a step before it changed");
        assert_eq!(explain(&Key::new("run", "RUN x", None)), None);
    }

    #[test]
    fn variables_and_commands_are_told_by_name() {
        let yard = yard();
        let cache = &yard.cache;
        let run = |text: &str, version: &str| Key::new("run", text, Some(&chain("a"))).with("ARG VERSION", version);
        cache.keep(run("RUN make", "1"), None, None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(cache.explain(&run("RUN make", "2")).unwrap(), "ARG VERSION: 1 -> 2");
        assert_eq!(cache.explain(&run("RUN test", "1")), None);
    }

    #[test]
    fn no_two_different_inputs_have_one_key() {
        let base = || Key::new("run", "RUN x", None);
        assert_ne!(base().with("a", "b\0c").digest(), base().with("a", "b").with("c", "").digest());
        assert_ne!(base().with("ENV A", "1").digest(), base().with("ENV A", "2").digest());
    }
}
