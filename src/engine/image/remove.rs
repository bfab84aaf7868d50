//! Removing images: Docker's rules of what may go, what only loses a name, and what it says when something is in the way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bollard_stubs::models as docker;
use docker::ImageDeleteResponseItem as Item;
use jiff::Timestamp;

use crate::engine::error::EngineError;
use crate::engine::filters::Filters;

use super::list::{created, signed};
use super::store::{Shared, blocking};
use super::{Image, ImageId, Images, Reference, RemoveImage};

const PRUNE_FILTERS: &[&str] = &["dangling", "label", "label!", "until"];

/// Why an image can't be deleted.
#[derive(Debug, PartialEq, Eq)]
struct InTheWay {
    /// Whether force would not help either.
    is_hard: bool,
    /// Whether a container uses it.
    is_used: bool,
    reason: String,
}

/// Which obstacles to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// All but names in several repositories (the caller takes the names away).
    PastNames,
    /// All.
    Everywhere,
    /// Only what force can't overcome.
    HardOnly,
}

impl Images {
    /// Takes a name from an image, and with the last one the image itself, as Docker does.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while a container uses it or names are in the way.
    pub async fn remove(&self, name: &str, remove: RemoveImage) -> Result<Vec<Item>, EngineError> {
        let shared = Arc::clone(&self.shared);
        let name = name.to_owned();
        blocking(move || shared.remove(&name, remove).map(|removed| removed.items)).await
    }

    /// Removes images nobody uses: those without a name, or with filter `dangling=false` all.
    ///
    /// # Errors
    /// `InvalidParameter` for a filter that does not exist.
    pub async fn prune(
        &self,
        filters: &HashMap<String, Vec<String>>,
    ) -> Result<docker::ImagePruneResponse, EngineError> {
        let filters = Filters::from(filters.clone());
        filters.accept(PRUNE_FILTERS)?;
        let dangling_only = filters.flag("dangling")?.unwrap_or(true);
        let until = filters.instant("until", Timestamp::now())?;
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.prune(&filters, dangling_only, until)).await
    }
}

/// What went.
#[derive(Default)]
struct Removed {
    items: Vec<Item>,
    bytes: u64,
}

impl Removed {
    fn untagged(&mut self, name: String) {
        self.items.push(Item { untagged: Some(name), deleted: None });
    }

    fn deleted(&mut self, id: String) {
        self.items.push(Item { untagged: None, deleted: Some(id) });
    }
}

impl Shared {
    fn remove(&self, name: &str, remove: RemoveImage) -> Result<Removed, EngineError> {
        let image = self.find(name)?;
        let id = image.id;
        let mut names = self.names_of(&id);
        let mut removed = Removed::default();
        let mut is_quiet = false;
        if is_id_prefix(&id, name) {
            if is_single(&names) {
                let look = if remove.force { Look::HardOnly } else { Look::PastNames };
                self.refuse_if_in_the_way(&id, look)?;
                for name in names {
                    self.untag(&name, &id, &mut removed)?;
                }
            }
        } else {
            let wanted = Reference::parse(name)?.or_latest();
            let wanted = wanted.digest().map(|digest| wanted.with_digest(*digest)).unwrap_or(wanted);
            if !remove.force
                && is_single(&names)
                && let Some(user) = self.users_of(&id).first()
            {
                return Err(EngineError::conflict(format!(
                    "conflict: unable to remove repository reference \"{name}\" (must force) - container {} is using its referenced image {}",
                    short(&user.container_id),
                    id.short()
                )));
            }
            self.untag(&wanted, &id, &mut removed)?;
            names = self.names_of(&id);
            let has_tag_there = names.iter().any(|name| name.digest().is_none() && name.name() == wanted.name());
            if wanted.digest().is_none() && !has_tag_there {
                // Digests of a repository mean nothing without a tag of it.
                for name in names.iter().filter(|name| name.name() == wanted.name()) {
                    self.untag(name, &id, &mut removed)?;
                }
                names = self.names_of(&id);
            }
            if !names.is_empty() {
                return Ok(removed);
            }
            is_quiet = true;
        }
        self.delete(&id, remove.force, !remove.noprune, is_quiet, &mut removed)?;
        Ok(removed)
    }

    /// Deletes the image itself, then its parents as far as nothing else needs them.
    fn delete(
        &self,
        id: &ImageId,
        force: bool,
        prune: bool,
        is_quiet: bool,
        removed: &mut Removed,
    ) -> Result<(), EngineError> {
        let look = if force { Look::HardOnly } else { Look::Everywhere };
        if let Some(obstacle) = self.obstacle(id, look) {
            let is_dangling = self.names_of(id).is_empty() && !self.has_children(id);
            return if is_quiet && (!is_dangling || obstacle.is_used) { Ok(()) } else { Err(conflict(id, &obstacle)) };
        }
        let Some(image) = self.index().images.get(id).cloned() else { return Ok(()) };
        for name in self.names_of(id) {
            self.untag(&name, id, removed)?;
        }
        self.publish("delete", &id.to_string(), &id.to_string(), Some(id));
        self.forget(id)?;
        removed.deleted(id.to_string());
        for layer in self.release_layers(image.top)? {
            removed.deleted(layer.chain_id.to_string());
            removed.bytes += layer.size;
        }
        match image.parent {
            Some(parent) if prune => self.delete(&parent, false, true, true, removed),
            _ => Ok(()),
        }
    }

    fn untag(&self, name: &Reference, id: &ImageId, removed: &mut Removed) -> Result<(), EngineError> {
        if self.drop_name(name)? {
            removed.untagged(name.familiar());
            self.publish("untag", &id.to_string(), &id.to_string(), Some(id));
        }
        Ok(())
    }

    fn refuse_if_in_the_way(&self, id: &ImageId, look: Look) -> Result<(), EngineError> {
        self.obstacle(id, look).map_or(Ok(()), |obstacle| Err(conflict(id, &obstacle)))
    }

    fn obstacle(&self, id: &ImageId, look: Look) -> Option<InTheWay> {
        let obstacle = |is_hard, is_used, reason: String| Some(InTheWay { is_hard, is_used, reason });
        if self.has_children(id) {
            return obstacle(true, false, "image has dependent child images".to_owned());
        }
        let users = self.users_of(id);
        if let Some(user) = users.iter().find(|user| user.is_running) {
            return obstacle(
                true,
                true,
                format!("image is being used by running container {}", short(&user.container_id)),
            );
        }
        if look == Look::HardOnly {
            return None;
        }
        if look == Look::Everywhere && !self.names_of(id).is_empty() {
            return obstacle(false, false, "image is referenced in multiple repositories".to_owned());
        }
        users.first().and_then(|user| {
            obstacle(false, true, format!("image is being used by stopped container {}", short(&user.container_id)))
        })
    }

    fn prune(
        &self,
        filters: &Filters,
        dangling_only: bool,
        until: Option<Timestamp>,
    ) -> Result<docker::ImagePruneResponse, EngineError> {
        let no_labels = HashMap::new();
        let (images, names) = self.snapshot();
        let parents: HashSet<ImageId> = images.iter().filter_map(|image| image.parent).collect();
        let mut removed = Removed::default();
        let mut candidates: Vec<Arc<Image>> = images
            .into_iter()
            .filter(|image| {
                let is_dangling = !names.contains_key(&image.id);
                (is_dangling && !parents.contains(&image.id) || !dangling_only && !is_dangling)
                    && until.is_none_or(|until| created(image) < until)
                    && filters.labels(image.config.config.labels.as_ref().unwrap_or(&no_labels))
                    && self.users_of(&image.id).is_empty()
            })
            .collect();
        candidates.sort_by_key(|image| std::cmp::Reverse(created(image)));
        for image in candidates {
            if self.has_children(&image.id) {
                continue;
            }
            for name in names.get(&image.id).into_iter().flatten() {
                self.untag(name, &image.id, &mut removed)?;
            }
            // What came into use meanwhile stays; that is no failure of the prune.
            self.delete(&image.id, false, true, true, &mut removed)?;
        }
        self.publish_prune(removed.bytes);
        Ok(docker::ImagePruneResponse {
            images_deleted: Some(removed.items),
            space_reclaimed: Some(signed(removed.bytes)),
        })
    }
}

fn conflict(id: &ImageId, obstacle: &InTheWay) -> EngineError {
    let force = if obstacle.is_hard { "cannot be forced" } else { "must be forced" };
    EngineError::conflict(format!("conflict: unable to delete {} ({force}) - {}", id.short(), obstacle.reason))
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn is_id_prefix(id: &ImageId, text: &str) -> bool {
    id.hex().starts_with(text) || id.to_string().starts_with(text)
}

/// Whether the names are at most one tag, and digests of that same repository.
fn is_single(names: &[Reference]) -> bool {
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    let repositories: HashSet<String> = names.iter().map(Reference::name).collect();
    names.len() <= 1 || (tags <= 1 && repositories.len() == 1)
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
