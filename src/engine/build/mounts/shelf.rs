//! Cache mounts among all that lies on disk for later builds' sake: listed, counted and pruned like the rest.

use super::cache_mounts::{CacheMounts, CacheUsage};
use crate::engine::build::cache::{Entry, EntryKind, Shelf};

impl Shelf for CacheMounts {
    fn entries(&self) -> Vec<Entry> {
        self.list().into_iter().map(entry).collect()
    }

    fn discard(&self, id: &str) -> Result<u64, String> {
        let freed = self.remove(id).map_err(|error| format!("remove the cache mount {id}: {error}"))?;
        Ok(freed.unwrap_or(0))
    }
}

fn entry(usage: CacheUsage) -> Entry {
    let CacheUsage { record, size, in_use } = usage;
    let variant = if record.variant.is_empty() { String::new() } else { format!(" ({})", record.variant) };
    Entry {
        description: format!("cached mount with id {:?}{variant}", record.id),
        id: record.name,
        kind: EntryKind::CacheMount,
        parents: Vec::new(),
        size,
        created: record.created,
        used: record.used,
        uses: record.uses,
        in_use,
        shared: false,
        storage: String::new(),
    }
}
