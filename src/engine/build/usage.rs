//! What the build cache occupies, and how it is kept within bounds: usage by record, prune, and the budget.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bollard_stubs::models as docker;
use jiff::Timestamp;

use super::Room;
use super::cache::{Disk, Entry, EntryKind, Record, Rule, Shelf, select, short_id};
use crate::engine::EngineError;
use crate::engine::filters::Filters;
use crate::engine::image::{ImageId, ListImages};
use crate::engine::layer::{ChainId, Digest};

/// Filters of `builder prune`, as in BuildKit.
const FILTERS: [&str; 10] =
    ["until", "unused-for", "id", "parents", "type", "description", "inuse", "shared", "private", "parent"];

/// What of the cache is to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Also what images share their layers with.
    pub all: bool,
    /// `until`/`unused-for`, `id`, `parents`, `type`, `description`, `inuse`, `shared`, `private`.
    pub filters: Filters,
    /// Keep so many bytes (`reserved-space`, `keep-storage` before API 1.48).
    pub reserved: u64,
    /// Keep no more than so many bytes (`max-used-space`).
    pub max_used: Option<u64>,
    /// Have so many bytes of the disk free (`min-free-space`).
    pub min_free: Option<u64>,
}

/// An entry and how to be rid of it.
struct Item {
    entry: Entry,
    keeper: Keeper,
}

enum Keeper {
    Record { key: Digest, layer: Option<ChainId> },
    Shelf(Arc<dyn Shelf>),
}

/// What a removal came to.
#[derive(Debug, Default)]
struct Freed {
    ids: Vec<String>,
    bytes: u64,
}

impl Room {
    /// The cache's entries, for `docker system df`. Blocking.
    pub(super) fn disk_usage(&self) -> Result<Vec<docker::BuildCache>, EngineError> {
        Ok(self.items()?.into_iter().map(|item| row(item.entry)).collect())
    }

    /// Removes what `request` names and nothing uses. Blocking.
    pub(super) fn prune(&self, request: &PruneRequest) -> Result<docker::BuildPruneResponse, EngineError> {
        request.filters.accept(&FILTERS)?;
        let now = Timestamp::now();
        let cutoff = request.filters.instant("unused-for", now)?.or(request.filters.instant("until", now)?);
        let flags = ["inuse", "shared", "private"].map(|name| request.filters.flag(name));
        let [in_use, shared, private] = flags;
        let (in_use, shared, private) = (in_use?, shared?, private?);
        let rule = Rule {
            unused_since: cutoff,
            reserved: request.reserved,
            max_used: request.max_used,
            min_free: request.min_free,
        };
        let fits = |entry: &Entry| {
            let filters = &request.filters;
            let is_parent = |name: &str| !filters.has(name) || entry.parents.iter().any(|id| filters.prefix(name, id));
            (request.all || !entry.shared)
                && filters.prefix("id", &entry.id)
                && is_parent("parent")
                && is_parent("parents")
                && filters.exact("type", entry.kind.wire().as_ref())
                && filters.pattern("description", &entry.description)
                && in_use.is_none_or(|wanted| wanted == entry.in_use)
                && shared.is_none_or(|wanted| wanted == entry.shared)
                && private.is_none_or(|wanted| wanted != entry.shared)
        };
        let freed = self.remove_by(&rule, fits)?;
        Ok(docker::BuildPruneResponse {
            caches_deleted: Some(freed.ids),
            space_reclaimed: Some(i64::try_from(freed.bytes).unwrap_or(i64::MAX)),
        })
    }

    /// Brings the cache back into its budget, and writes down what was of use. Blocking.
    pub(super) fn collect(&self) -> Result<(), EngineError> {
        self.cache.save_uses().map_err(|error| EngineError::system(error.to_string()))?;
        let disk = self.disk()?;
        for rule in self.parts.budget.rules(&disk, Timestamp::now()) {
            let freed = self.remove_by(&rule, |_| true)?;
            if !freed.ids.is_empty() {
                tracing::info!(records = freed.ids.len(), bytes = freed.bytes, "the build cache was over its budget");
            }
        }
        Ok(())
    }

    fn remove_by(&self, rule: &Rule, fits: impl Fn(&Entry) -> bool) -> Result<Freed, EngineError> {
        let items = self.items()?;
        let entries: Vec<Entry> = items.iter().map(|item| item.entry.clone()).collect();
        let chosen = select(&entries, rule, &self.disk()?, fits);
        let mut freed = Freed::default();
        for item in chosen.into_iter().filter_map(|at| items.get(at)) {
            freed.bytes += self.remove(item)?;
            freed.ids.push(item.entry.id.clone());
        }
        Ok(freed)
    }

    fn remove(&self, item: &Item) -> Result<u64, EngineError> {
        match &item.keeper {
            Keeper::Shelf(shelf) => shelf.discard(&item.entry.id).map_err(EngineError::system),
            Keeper::Record { key, layer } => {
                self.cache.forget(key).map_err(|error| EngineError::system(error.to_string()))?;
                let Some(layer) = layer else { return Ok(0) };
                let gone = self.parts.images.release_layer(*layer)?;
                Ok(gone.iter().map(|layer| layer.size).sum())
            }
        }
    }

    fn items(&self) -> Result<Vec<Item>, EngineError> {
        let in_images = self.layers_of_images()?;
        let records = self.cache.list();
        let makers: HashMap<ChainId, String> =
            records.iter().filter_map(|record| Some((record.layer?, short_id(&record.key.hex())))).collect();
        let mut items: Vec<Item> = records.iter().map(|record| self.item(record, &in_images, &makers)).collect();
        for shelf in &self.shelves {
            items.extend(
                shelf.entries().into_iter().map(|entry| Item { entry, keeper: Keeper::Shelf(Arc::clone(shelf)) }),
            );
        }
        Ok(items)
    }

    fn item(&self, record: &Record, in_images: &HashSet<ChainId>, makers: &HashMap<ChainId, String>) -> Item {
        let layers = self.parts.images.layers();
        let entry = Entry {
            id: short_id(&record.key.hex()),
            kind: EntryKind::Regular,
            description: match record.about.text.is_empty() {
                true => record.identity.clone(),
                false => record.about.text.clone(),
            },
            parents: record.below.and_then(|below| makers.get(&below).cloned()).into_iter().collect(),
            size: record.size,
            created: record.created,
            used: record.used,
            uses: record.uses,
            in_use: record.layer.is_some_and(|layer| layers.is_held(&layer)),
            shared: record.layer.or(record.below).is_some_and(|layer| in_images.contains(&layer)),
            storage: record.layer.map(|layer| layer.hex()).unwrap_or_default(),
        };
        Item { entry, keeper: Keeper::Record { key: record.key, layer: record.layer } }
    }

    fn layers_of_images(&self) -> Result<HashSet<ChainId>, EngineError> {
        let images = self.parts.images.list(&ListImages { all: true, ..ListImages::default() })?;
        let ids = images.iter().filter_map(|image| image.id.parse::<ImageId>().ok());
        Ok(ids.filter_map(|id| self.parts.images.get(&id)).flat_map(|image| image.layers).collect())
    }

    fn disk(&self) -> Result<Disk, EngineError> {
        let path = self.parts.root.path();
        let found = rustix::fs::statvfs(path)
            .map_err(|errno| EngineError::system(format!("ask for the free space of {}: {errno}", path.display())))?;
        Ok(Disk { total: found.f_blocks * found.f_frsize, free: found.f_bavail * found.f_frsize })
    }
}

fn row(entry: Entry) -> docker::BuildCache {
    let date = |time: Timestamp| time.to_string();
    docker::BuildCache {
        id: Some(entry.id),
        parents: Some(entry.parents).filter(|parents| !parents.is_empty()),
        typ: Some(entry.kind.wire()),
        description: Some(entry.description),
        in_use: Some(entry.in_use),
        shared: Some(entry.shared),
        size: i64::try_from(entry.size).ok(),
        created_at: Some(date(entry.created)),
        last_used_at: entry.used.map(date),
        usage_count: i64::try_from(entry.uses).ok(),
    }
}
