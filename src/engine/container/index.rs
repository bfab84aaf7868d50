//! All containers by ID and by name. The lock is held for look-ups only, never across I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::live::{Container, no_such_container};
use super::names::name_in_use;
use crate::engine::EngineError;
use crate::engine::image::{ImageId, ImageUser, ImageUsers};
use crate::engine::volume::VolumeUsers;

/// The containers this engine knows.
#[derive(Default)]
pub struct Index(RwLock<Entries>);

#[derive(Default)]
struct Entries {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Name (without slash) to ID; holds names of containers being made, too.
    names: HashMap<String, String>,
}

impl Index {
    /// Finds a container by ID, name (with or without slash) or unique beginning of an ID, in that order.
    ///
    /// # Errors
    /// Docker's `No such container: x` (404), or that several IDs begin so (400).
    pub fn find(&self, name: &str) -> Result<Arc<Container>, EngineError> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(container) = entries.by_id.get(name) {
            return Ok(Arc::clone(container));
        }
        let bare = name.strip_prefix('/').unwrap_or(name);
        if let Some(container) = entries.names.get(bare).and_then(|id| entries.by_id.get(id)) {
            return Ok(Arc::clone(container));
        }
        if name.is_empty() {
            return Err(no_such_container(name));
        }
        let mut beginnings = entries.by_id.range(name.to_owned()..).take_while(|(id, _)| id.starts_with(name));
        match (beginnings.next(), beginnings.next()) {
            (Some((_, container)), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => Err(EngineError::invalid(format!("multiple IDs found with provided prefix: {name}"))),
            (None, _) => Err(no_such_container(name)),
        }
    }

    /// All containers, newest first.
    pub fn all(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = {
            let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
            entries.by_id.values().cloned().collect()
        };
        all.sort_by_cached_key(|container| std::cmp::Reverse(container.record().created));
        all
    }

    /// Takes `name` for the container `id`.
    ///
    /// # Errors
    /// Docker's conflict where another container has it.
    pub fn reserve(&self, name: &str, id: &str) -> Result<(), EngineError> {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match entries.names.get(name) {
            Some(holder) if holder != id => Err(name_in_use(name, holder)),
            _ => {
                entries.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    /// Gives `name` back, if it is `id`'s.
    pub fn release(&self, name: &str, id: &str) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if entries.names.get(name).is_some_and(|holder| holder == id) {
            entries.names.remove(name);
        }
    }

    /// Adds a container whose name is reserved.
    pub fn add(&self, container: Arc<Container>) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.by_id.insert(container.id.clone(), container);
    }

    /// Takes a container and its names out.
    pub fn remove(&self, id: &str) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.by_id.remove(id);
        entries.names.retain(|_, holder| holder != id);
    }
}

impl ImageUsers for Index {
    fn users_of(&self, image: &ImageId) -> Vec<ImageUser> {
        let records = self.all().into_iter().map(|container| container.record());
        records
            .filter(|record| record.image.as_ref() == Some(image))
            .map(|record| ImageUser {
                container_id: record.id.clone(),
                is_running: record.state.is_running(),
                image: record.config.image.clone().unwrap_or_default(),
            })
            .collect()
    }

    fn holds_layer(&self, layer: &crate::engine::layer::ChainId) -> bool {
        self.all().iter().any(|container| container.record().top.as_ref() == Some(layer))
    }
}

impl VolumeUsers for Index {
    fn users_of(&self, name: &str) -> Vec<String> {
        let mounts = |container: &Arc<Container>| {
            container.record().mounts.iter().any(|point| point.volume.as_deref() == Some(name))
        };
        self.all().iter().filter(|container| mounts(container)).map(|container| container.id.clone()).collect()
    }
}
