//! The images of one state root and their names.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bollard_stubs::models::EventMessageTypeEnum;
use serde::{Deserialize, Serialize};

use crate::engine::error::EngineError;
use crate::engine::events::Events;
use crate::engine::layer::{ChainId, Durability, LayerError, Layers};
use crate::engine::store::{RecordError, StateRoot, read_record, remove_record, write_record, write_volatile_record};

use super::record::{ImageRecord, chain_of};
use super::reference::is_hex_id;
use super::{Image, ImageId, ImageUser, ImageUsers, NewImage, Reference};

/// All kept images. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub root: Arc<StateRoot>,
    folder: PathBuf,
    pub layers: Arc<Layers>,
    events: Arc<Events>,
    users: RwLock<Vec<Arc<dyn ImageUsers>>>,
    index: Mutex<Index>,
    /// Held while `references.json` is replaced, so that two changes can't overtake each other on their way to disk.
    names_on_disk: Mutex<()>,
    is_settling: AtomicBool,
}

#[derive(Default)]
pub(super) struct Index {
    pub images: HashMap<ImageId, Arc<Image>>,
    pub names: BTreeMap<Reference, ImageId>,
}

/// The record of all names.
const NAMES: &str = "references.json";
/// That record as the disk last had it for sure: a link made by [`Images::settle`].
const SETTLED_NAMES: &str = "references.settled";
/// How long after a build the disk is waited for: long enough for several builds to share a wait.
const SETTLE_DELAY: Duration = Duration::from_millis(200);

#[derive(Default, Serialize, Deserialize)]
struct NamesRecord {
    references: BTreeMap<Reference, ImageId>,
}

impl Images {
    /// Reads which images the state root holds.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn open(root: Arc<StateRoot>, layers: Arc<Layers>, events: Arc<Events>) -> Result<Self, EngineError> {
        let folder = root.room("images").map_err(|source| LayerError::io("create", "images", source))?;
        let mut index = Index::default();
        let mut unnamed = Vec::new();
        let told = |source| LayerError::io("read", &folder, source);
        for entry in fs::read_dir(&folder).map_err(told)? {
            let path = entry.map_err(told)?.path();
            let is_image = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_hex_id);
            if !is_image {
                continue;
            }
            let read = read_record::<ImageRecord>(&path);
            let Some(record) = read.inspect_err(|error| tracing::error!(%error, "an image is lost")).ok().flatten()
            else {
                continue;
            };
            match Image::read(record.config.into_bytes()) {
                Ok(image) if image.layers.iter().any(|chain| layers.was_lost(chain)) => {
                    tracing::warn!(image = %image.id, "a power loss cut this image off");
                    remove_record(&path).map_err(record_error)?;
                }
                Ok(image) => {
                    let image = Image {
                        size: size_of(&layers, &image.layers),
                        parent: record.parent,
                        tagged_at: record.tagged_at,
                        ..image
                    };
                    if !record.awaited_names.is_empty() {
                        unnamed.push((image.id, record.awaited_names));
                    }
                    index.images.insert(image.id, Arc::new(image));
                }
                Err(error) => tracing::error!(path = %path.display(), %error, "an image is lost"),
            }
        }
        let names: NamesRecord = read_record(&folder.join(NAMES))
            .or_else(|error| {
                tracing::warn!(%error, "the names of images are those that the disk last had");
                read_record(&folder.join(SETTLED_NAMES)).and_then(|names| names.ok_or(error).map(Some))
            })
            .map_err(record_error)?
            .unwrap_or_default();
        index.names = names.references.into_iter().filter(|(_, id)| index.images.contains_key(id)).collect();
        let shared = Shared {
            root,
            folder,
            layers,
            events,
            users: RwLock::default(),
            index: Mutex::new(index),
            names_on_disk: Mutex::new(()),
            is_settling: AtomicBool::new(false),
        };
        // A killed engine kept these and did not come to name them: whoever asked for a name gets it or no image.
        for (id, names) in unnamed {
            if let Err(error) = shared.give_awaited(&names, &id) {
                tracing::error!(image = %id, %error, "an image did not get its names");
            }
        }
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Adds a room to ask before anything is removed. Called once a room, at start.
    pub fn add_users(&self, users: Arc<dyn ImageUsers>) {
        self.shared.users.write().unwrap_or_else(PoisonError::into_inner).push(users);
    }

    /// The layers that images are made of.
    pub fn layers(&self) -> &Arc<Layers> {
        &self.shared.layers
    }

    /// The image that a person means by `name`: a reference, an ID, or the beginning of an ID.
    ///
    /// # Errors
    /// `NotFound`: `No such image: x`.
    pub fn find(&self, name: &str) -> Result<Image, EngineError> {
        self.shared.find(name).map(|image| Image::clone(&image))
    }

    /// The image with this ID.
    pub fn get(&self, id: &ImageId) -> Option<Image> {
        self.shared.index().images.get(id).map(|image| Image::clone(image))
    }

    /// The names of an image, tags only, as people write them.
    pub fn tags_of(&self, id: &ImageId) -> Vec<String> {
        let names = self.shared.names_of(id);
        names.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect()
    }

    /// Gives the image `source` another name.
    ///
    /// # Errors
    /// `NotFound`; `InvalidParameter` for a bad name.
    pub async fn tag(&self, source: &str, repo: &str, tag: Option<&str>) -> Result<(), EngineError> {
        let image = self.shared.find(source)?;
        let repository = Reference::parse(repo)?;
        if repository.digest().is_some() {
            return Err(EngineError::invalid("refusing to create a tag with a digest reference"));
        }
        let reference = match tag.filter(|tag| !tag.is_empty()) {
            Some(tag) => repository.with_tag(tag)?,
            None => repository.or_latest(),
        };
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.add_names(&[reference], &image.id)).await
    }

    /// Makes an image of existing layers.
    ///
    /// # Errors
    /// `NotFound` for a missing layer; `System` where the disk refuses.
    pub async fn create(&self, new: NewImage) -> Result<Image, EngineError> {
        self.create_by(new, Durability::Now).await
    }

    /// The same; with [`Durability::Later`] somebody has to call [`Images::settle_soon`].
    ///
    /// # Errors
    /// As [`Images::create`].
    pub async fn create_by(&self, new: NewImage, durability: Durability) -> Result<Image, EngineError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let mut config = new.config;
            config.rootfs.kind = "layers".to_owned();
            config.rootfs.diff_ids = new
                .layers
                .iter()
                .map(|chain| {
                    shared.layers.get(chain).map(|layer| layer.diff_id).ok_or(LayerError::Missing { chain: *chain })
                })
                .collect::<Result<_, _>>()?;
            if chain_of(&config) != new.layers {
                return Err(EngineError::system("the layers of a new image do not stand on each other"));
            }
            let raw =
                config.to_bytes().map_err(|error| EngineError::system("write image configuration").because(error))?;
            let names: Vec<Reference> = new.tags.into_iter().map(Reference::or_latest).collect();
            let image = shared.keep_by(raw, new.parent, &names, durability)?;
            shared.add_names_by(&names, &image.id, durability)?;
            Ok(Image::clone(&image))
        })
        .await
    }

    /// Waits until the disk has every image and layer, those of [`Durability::Later`] included. Blocking.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn settle(&self) -> Result<(), EngineError> {
        let shared = &self.shared;
        let (names, settled) = (shared.folder.join(NAMES), shared.folder.join(SETTLED_NAMES));
        let settling = settled.with_extension("settling");
        let told = |path: &Path, error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(EngineError::from(LayerError::io("link", path, error))),
        };
        {
            // Only what was written before the wait is on the disk after it.
            let _turn = shared.names_on_disk.lock().unwrap_or_else(PoisonError::into_inner);
            fs::remove_file(&settling).or_else(|error| told(&settling, error))?;
            fs::hard_link(&names, &settling).or_else(|error| told(&names, error))?;
        }
        shared.layers.settle()?;
        fs::rename(&settling, &settled).or_else(|error| told(&settled, error))
    }

    /// [`Images::settle`] a moment later, behind whoever asks; once for all who ask meanwhile.
    pub fn settle_soon(&self) {
        if self.shared.is_settling.swap(true, Ordering::AcqRel) {
            return;
        }
        let images = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SETTLE_DELAY).await;
            images.shared.is_settling.store(false, Ordering::Release);
            let work = tokio::task::spawn_blocking(move || images.settle());
            if let Ok(Err(error)) = work.await {
                tracing::warn!(%error, "the disk may lack the newest images");
            }
        });
    }

    /// Removes a layer and what is below it, as far as nothing needs it; answers the freed layers. Blocking.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn release_layer(&self, top: ChainId) -> Result<Vec<crate::engine::layer::Layer>, EngineError> {
        self.shared.release_layers(Some(top))
    }

    /// Removes layers that no image, container or build needs: what a killed pull or build left. To be called once all
    /// rooms are open and have been added as users.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub async fn drop_unused_layers(&self) -> Result<(), EngineError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let chains: Vec<ChainId> = shared.layers.all().iter().map(|layer| layer.chain_id).collect();
            for chain in chains {
                shared.release_layers(Some(chain))?;
            }
            Ok(())
        })
        .await
    }
}

impl Shared {
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Images::find`], without a copy.
    pub fn find(&self, name: &str) -> Result<Arc<Image>, EngineError> {
        let index = self.index();
        if let Ok(id) = name.parse::<ImageId>() {
            return index.images.get(&id).cloned().ok_or_else(|| no_such_image(name));
        }
        if let Ok(reference) = Reference::parse(name)
            && let Some(id) = named(&index.names, &reference.or_latest())
        {
            return index.images.get(&id).cloned().ok_or_else(|| no_such_image(name));
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        if prefix.is_empty() || !prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(no_such_image(name));
        }
        let mut found = index.images.values().filter(|image| image.id.hex().starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(image), None) => Ok(Arc::clone(image)),
            (Some(_), Some(_)) => {
                Err(EngineError::invalid(format!("multiple IDs found with provided prefix: {prefix}")))
            }
            _ => Err(no_such_image(name)),
        }
    }

    /// All names of an image, tags and digests.
    pub fn names_of(&self, id: &ImageId) -> Vec<Reference> {
        self.index().names.iter().filter(|(_, named)| *named == id).map(|(name, _)| name.clone()).collect()
    }

    /// Keeps the image whose configuration is `raw`; all its layers must be there. The caller gives it `names` next; an
    /// engine that is killed in between does so when it opens again. Blocking.
    pub fn keep(&self, raw: Vec<u8>, parent: Option<ImageId>, names: &[Reference]) -> Result<Arc<Image>, EngineError> {
        self.keep_by(raw, parent, names, Durability::Now)
    }

    fn keep_by(
        &self,
        raw: Vec<u8>,
        parent: Option<ImageId>,
        names: &[Reference],
        durability: Durability,
    ) -> Result<Arc<Image>, EngineError> {
        let malformed = |error: serde_json::Error| {
            EngineError::invalid(format!("image configuration is not valid: {error}")).because(error)
        };
        let text = String::from_utf8(raw.clone()).map_err(|error| {
            EngineError::invalid("image configuration is not valid: it is not UTF-8").because(error)
        })?;
        let image = Image::read(raw).map_err(malformed)?;
        if let Some(known) = self.index().images.get(&image.id) {
            return Ok(Arc::clone(known));
        }
        if let Some(top) = &image.top {
            self.layers.lowers(top)?;
        }
        let tagged_at = None;
        let image = Image { size: size_of(&self.layers, &image.layers), parent, ..image };
        let record = ImageRecord { config: text, parent, tagged_at, awaited_names: names.to_vec() };
        write(&self.path_of(&image.id), &record, durability)?;
        let image = Arc::new(image);
        self.index().images.insert(image.id, Arc::clone(&image));
        Ok(image)
    }

    /// Gives an image names, all or none, taking them from whichever image has them. Blocking.
    pub fn add_names(&self, names: &[Reference], id: &ImageId) -> Result<(), EngineError> {
        self.add_names_by(names, id, Durability::Now)
    }

    fn add_names_by(&self, names: &[Reference], id: &ImageId, durability: Durability) -> Result<(), EngineError> {
        let new = self.note_names(names, id);
        if new.is_empty() {
            return Ok(());
        }
        self.write_names(durability)?;
        for name in new.iter().filter(|name| name.digest().is_none()) {
            self.publish("tag", &id.to_string(), &name.familiar(), Some(id));
        }
        self.mark_named(id, Some(jiff::Timestamp::now().to_string()), durability)
    }

    /// The same for names that a registry gave: no `tag` event. Blocking.
    pub fn add_pulled_names(&self, names: &[Reference], id: &ImageId) -> Result<(), EngineError> {
        if self.note_names(names, id).is_empty() { Ok(()) } else { self.write_names(Durability::Now) }
    }

    fn give_awaited(&self, names: &[Reference], id: &ImageId) -> Result<(), EngineError> {
        self.add_pulled_names(names, id)?;
        self.mark_named(id, None, Durability::Now)
    }

    /// Puts names into the index; answers those that are news.
    fn note_names(&self, names: &[Reference], id: &ImageId) -> Vec<Reference> {
        let mut index = self.index();
        names.iter().filter(|name| index.names.insert((*name).clone(), *id) != Some(*id)).cloned().collect()
    }

    /// Takes a name away; `false` if there is no such name. Blocking.
    pub fn drop_name(&self, name: &Reference) -> Result<bool, EngineError> {
        if self.index().names.remove(name).is_none() {
            return Ok(false);
        }
        self.write_names(Durability::Now).map(|()| true)
    }

    /// Forgets an image, its record first; its layers are the caller's next concern. Blocking.
    pub fn forget(&self, id: &ImageId) -> Result<(), EngineError> {
        remove_record(&self.path_of(id)).map_err(record_error)?;
        self.index().images.remove(id);
        Ok(())
    }

    /// Removes `top` and what is below it as far as nothing needs it; answers the freed layers. Blocking.
    pub fn release_layers(&self, top: Option<ChainId>) -> Result<Vec<crate::engine::layer::Layer>, EngineError> {
        let Some(top) = top else { return Ok(Vec::new()) };
        let users = self.users();
        let is_wanted = |chain: &ChainId| {
            self.index().images.values().any(|image| image.top.as_ref() == Some(chain))
                || users.iter().any(|room| room.holds_layer(chain))
        };
        Ok(self.layers.remove(&top, &is_wanted)?)
    }

    /// The containers made from an image.
    pub fn users_of(&self, id: &ImageId) -> Vec<ImageUser> {
        self.users().iter().flat_map(|room| room.users_of(id)).collect()
    }

    /// Images built or committed on this one.
    pub fn has_children(&self, id: &ImageId) -> bool {
        self.index().images.values().any(|image| image.parent.as_ref() == Some(id))
    }

    /// Publishes that `action` happened to an image, with its labels.
    pub fn publish(&self, action: &str, actor: &str, name: &str, image: Option<&ImageId>) {
        let image = image.and_then(|id| self.index().images.get(id).cloned());
        let labels = image.iter().flat_map(|image| image.config.config.labels.iter().flatten());
        let attributes = labels.map(|(key, value)| (key.as_str(), value.clone())).chain([("name", name.to_owned())]);
        self.events.publish(EventMessageTypeEnum::IMAGE, action, actor, attributes);
    }

    /// Publishes how much a prune freed.
    pub fn publish_prune(&self, reclaimed: u64) {
        self.events.publish(EventMessageTypeEnum::IMAGE, "prune", "", [("reclaimed", reclaimed.to_string())]);
    }

    fn users(&self) -> Vec<Arc<dyn ImageUsers>> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes down that an image has its names, and since when where that is news. Blocking.
    pub fn settle(&self, id: &ImageId, tagged_at: Option<String>) -> Result<(), EngineError> {
        self.mark_named(id, tagged_at, Durability::Now)
    }

    fn mark_named(&self, id: &ImageId, tagged_at: Option<String>, durability: Durability) -> Result<(), EngineError> {
        let Some(image) = self.index().images.get(id).cloned() else { return Ok(()) };
        let config = String::from_utf8_lossy(&image.raw_config).into_owned();
        let tagged_at = tagged_at.or_else(|| image.tagged_at.clone());
        let record =
            ImageRecord { config, parent: image.parent, tagged_at: tagged_at.clone(), awaited_names: Vec::new() };
        write(&self.path_of(id), &record, durability)?;
        if let Some(image) = self.index().images.get_mut(id) {
            *image = Arc::new(Image { tagged_at, ..Image::clone(image) });
        }
        Ok(())
    }

    fn write_names(&self, durability: Durability) -> Result<(), EngineError> {
        let _turn = self.names_on_disk.lock().unwrap_or_else(PoisonError::into_inner);
        let record = NamesRecord { references: self.index().names.clone() };
        write(&self.folder.join(NAMES), &record, durability)
    }

    fn path_of(&self, id: &ImageId) -> PathBuf {
        self.folder.join(format!("{}.json", id.hex()))
    }
}

fn write<T: Serialize>(path: &Path, record: &T, durability: Durability) -> Result<(), EngineError> {
    let written = match durability {
        Durability::Now => write_record(path, record),
        Durability::Later => write_volatile_record(path, record),
    };
    written.map_err(record_error)
}

/// Looks a name up; with tag and digest the digest decides.
fn named(names: &BTreeMap<Reference, ImageId>, reference: &Reference) -> Option<ImageId> {
    let wanted = match reference.digest() {
        Some(digest) => reference.with_digest(*digest),
        None => reference.clone(),
    };
    names.get(&wanted).copied()
}

fn size_of(layers: &Layers, chain: &[ChainId]) -> u64 {
    chain.iter().filter_map(|chain| layers.get(chain)).map(|layer| layer.size).sum()
}

/// Docker's words for a missing image; names get the tag that was looked for.
pub(super) fn no_such_image(name: &str) -> EngineError {
    let shown = match Reference::parse(name) {
        Ok(reference) => reference.or_latest().familiar(),
        Err(_) => name.to_owned(),
    };
    EngineError::not_found(format!("No such image: {shown}"))
}

pub(super) fn record_error(error: RecordError) -> EngineError {
    LayerError::Record(error).into()
}

/// Runs blocking work off the async threads.
pub(super) async fn blocking<V: Send + 'static>(
    work: impl FnOnce() -> Result<V, EngineError> + Send + 'static,
) -> Result<V, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(EngineError::system("image work was cut off").because(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::image::RemoveImage;

    #[tokio::test]
    async fn an_image_kept_by_a_killed_engine_gets_its_names_from_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let root = Arc::new(StateRoot::open(folder.path()).unwrap());
            let layers = Arc::new(Layers::open(Arc::clone(&root)).unwrap());
            Images::open(root, layers, Arc::new(Events::default())).unwrap()
        };
        let names = ["made", "made:1"].map(|name| Reference::parse(name).unwrap().or_latest());
        let raw = crate::engine::image::ImageConfig::default().to_bytes().unwrap();
        let id = open().shared.keep(raw, None, &names).unwrap().id;

        let images = open();
        assert_eq!(images.tags_of(&id), ["made:1", "made:latest"]);

        images.remove("made:1", RemoveImage::default()).await.unwrap();
        drop(images);
        assert_eq!(open().tags_of(&id), ["made:latest"], "a name that was taken away does not come back");
    }
}
