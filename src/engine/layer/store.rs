//! The layers of one state root: `<root>/layers/<chain hex>/{diff/, layer.json, tape, replaced/}`.
//!
//! A layer appears by one rename, after everything in it has reached the disk, and disappears by one rename into the
//! trash. Who needs a layer is never counted on disk: images say so when asked, and running work holds what it uses.
//!
//! A build does not wait for the disk at every step: its layers appear with a file `unsynced` in them that holds the
//! boot's ID, and [`Layers::settle`] takes it away once the disk has them. One that is found after another boot was cut
//! off by a power loss, and goes.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::engine::store::{StateRoot, Trash, read_record, write_record, write_volatile_record};

use super::apply::{ApplyOptions, Limits, Whiteouts, apply_archive};
use super::archive::Archive;
use super::digest::Hashing;
use super::record::{Blob, LayerRecord, TarSource};
use super::tape::{TapeWriter, replay};
use super::write::{FORMAT, WriteOptions, pack};
use super::{ChainId, DiffId, Digest, Layer, LayerError, Watched, inherit, share};

/// All kept layers.
pub struct Layers {
    root: Arc<StateRoot>,
    folder: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared(Mutex<Index>);

#[derive(Default)]
struct Index {
    layers: HashMap<ChainId, LayerRecord>,
    holds: HashMap<ChainId, usize>,
    /// Those that the disk may not have yet.
    unsynced: HashSet<ChainId>,
    /// Those that a power loss cut off before the disk had them.
    lost: HashSet<ChainId>,
}

/// When the disk has to have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Before the answer.
    #[default]
    Now,
    /// With the next [`Layers::settle`]: whole for whoever follows a killed engine, gone after a power loss.
    Later,
}

/// How a directory is made a layer.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// When the disk has to have it.
    pub durability: Durability,
    /// Ends the work, which then leaves nothing.
    pub cancel: CancellationToken,
}

impl From<Durability> for Commit {
    fn from(durability: Durability) -> Self {
        Self { durability, ..Self::default() }
    }
}

/// The file in a layer's folder that says that the disk may not have it.
const UNSYNCED: &str = "unsynced";

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a layer from being removed for as long as it lives, though no image has it (a build's or pull's work).
pub struct LayerHold {
    chain: ChainId,
    shared: Arc<Shared>,
}

impl Drop for LayerHold {
    fn drop(&mut self) {
        let mut index = self.shared.index();
        if let Some(count) = index.holds.get_mut(&self.chain) {
            *count -= 1;
            if *count == 0 {
                index.holds.remove(&self.chain);
            }
        }
    }
}

/// A layer unpacked into a temp directory of its own, which goes with it unless it is committed.
pub struct Unpacked {
    /// The digest of the tar it came from.
    pub diff_id: DiffId,
    blob: Option<Blob>,
    temp: TempDir,
    size: u64,
    tar_size: u64,
    tar: TarSource,
    implied: Vec<PathBuf>,
    unnamed: Vec<PathBuf>,
}

impl Unpacked {
    /// Notes the blob it came in.
    #[must_use]
    pub fn from_blob(mut self, blob: Blob) -> Self {
        self.blob = Some(blob);
        self
    }
}

impl Layers {
    /// Reads which layers the state root holds.
    ///
    /// # Errors
    /// [`LayerError`] where the disk refuses.
    pub fn open(root: Arc<StateRoot>) -> Result<Self, LayerError> {
        let folder = root.room("layers").map_err(|source| LayerError::io("create", "layers", source))?;
        let told = |source| LayerError::io("read", &folder, source);
        let mut index = Index::default();
        let boot = boot_id();
        for entry in fs::read_dir(&folder).map_err(told)? {
            let path = entry.map_err(told)?.path();
            let is_unsynced = match fs::read_to_string(path.join(UNSYNCED)) {
                Ok(written_in) if written_in == boot => true,
                Ok(_) => {
                    tracing::warn!(path = %path.display(), "a power loss cut this layer off");
                    index.lost.extend(chain_of_folder(&path));
                    root.discard(&path).and_then(Trash::empty).map_err(told)?;
                    continue;
                }
                Err(_) => false,
            };
            match read_record::<LayerRecord>(&path.join("layer.json")) {
                Ok(Some(record)) => {
                    if is_unsynced {
                        index.unsynced.insert(record.chain_id);
                    }
                    index.layers.insert(record.chain_id, record);
                }
                Ok(None) => tracing::warn!(path = %path.display(), "a folder among the layers has no record"),
                // One damaged record must not keep the engine from starting; its images will say what they miss.
                Err(error) => tracing::error!(%error, "a layer is lost"),
            }
        }
        Ok(Self { root, folder, shared: Arc::new(Shared(Mutex::new(index))) })
    }

    /// Unpacks the (inflated) tar that `reader` gives, into a place where nobody sees it yet. Blocking.
    ///
    /// # Errors
    /// [`LayerError::Entry`] names an entry that may not be unpacked; [`LayerError::Source`] passes on what the reader
    /// says.
    pub fn unpack(&self, reader: impl BufRead, limits: Limits) -> Result<Unpacked, LayerError> {
        let temp = self.temp_dir()?;
        let diff = temp.path().join("diff");
        make_dir(&diff)?;
        let dir = File::open(&diff).map_err(|source| LayerError::io("open", &diff, source))?;
        let tape_path = temp.path().join("tape");
        let told = |source| LayerError::io("write", &tape_path, source);
        let archive = Archive::new(Hashing::new(reader), TapeWriter::create(&tape_path).map_err(told)?);
        let options = ApplyOptions { whiteouts: Whiteouts::ToOverlay, limits, ..ApplyOptions::default() };
        let outcome = apply_archive(dir.as_fd(), archive, &options, Some(&temp.path().join("replaced")))?;
        outcome.tape.finish().map_err(told)?;
        let (digest, tar_size, _) = outcome.reader.finish();
        Ok(Unpacked {
            diff_id: DiffId(digest),
            tar_size,
            blob: None,
            temp,
            size: outcome.applied.bytes,
            tar: TarSource::Tape,
            implied: outcome.implied,
            unnamed: Vec::new(),
        })
    }

    /// Makes unpacked layers, lowest first, the layers above `parent`. Those that exist already are answered as they
    /// are. Blocking: waits for the disk once.
    ///
    /// # Errors
    /// [`LayerError::Io`] where the disk refuses; layers below the failed one are then kept.
    pub fn commit(&self, parent: Option<&ChainId>, layers: Vec<Unpacked>) -> Result<Vec<Layer>, LayerError> {
        self.commit_by(parent, layers, Durability::Now)
    }

    fn commit_by(
        &self,
        parent: Option<&ChainId>,
        layers: Vec<Unpacked>,
        durability: Durability,
    ) -> Result<Vec<Layer>, LayerError> {
        let mut parent = parent.copied();
        let mut committed = Vec::with_capacity(layers.len());
        let mut chains = Vec::new();
        for unpacked in &layers {
            let chain = ChainId::above(parent.as_ref(), &unpacked.diff_id);
            chains.push((parent, chain));
            parent = Some(chain);
        }
        // Below each other's implied directories: a layer still in its temp folder can be the one to look into.
        let mut below: Vec<PathBuf> = match chains.first().and_then(|(parent, _)| *parent) {
            Some(parent) => self.lowers(&parent)?,
            None => Vec::new(),
        };
        for unpacked in &layers {
            inherit::directories(&unpacked.temp.path().join("diff"), &unpacked.implied, &below)?;
            below.insert(0, unpacked.temp.path().join("diff"));
        }
        for (unpacked, (parent, chain_id)) in layers.iter().zip(&chains) {
            let record = LayerRecord {
                chain_id: *chain_id,
                diff_id: unpacked.diff_id,
                parent: *parent,
                size: unpacked.size,
                tar_size: unpacked.tar_size,
                tar: unpacked.tar,
                blobs: unpacked.blob.clone().into_iter().collect(),
                unnamed: unpacked.unnamed.clone(),
            };
            let path = unpacked.temp.path();
            match durability {
                Durability::Now => write_record(&path.join("layer.json"), &record)?,
                Durability::Later => {
                    let mark = path.join(UNSYNCED);
                    fs::write(&mark, boot_id()).map_err(|source| LayerError::io("write", &mark, source))?;
                    write_volatile_record(&path.join("layer.json"), &record)?;
                }
            }
        }
        if durability == Durability::Now {
            self.sync()?;
        }
        for (unpacked, (_, chain)) in layers.into_iter().zip(chains) {
            committed.push(self.appear(unpacked, &chain, durability)?);
        }
        Ok(committed)
    }

    /// Makes the directory `tree`, an overlay's upper directory, the layer above `parent`: by rename, without a copy.
    /// Where that very layer exists already, it is answered and the tree goes. Blocking.
    ///
    /// # Errors
    /// [`LayerError`]; the tree is then still where it was, or gone with its temp folder.
    pub fn commit_tree(
        &self,
        parent: Option<&ChainId>,
        tree: PathBuf,
        how: impl Into<Commit>,
    ) -> Result<Layer, LayerError> {
        self.commit_packed(parent, tree, Vec::new(), &how.into())
    }

    /// Makes the directory `tree` a layer on nothing, to be put above others by [`Layers::stack`]. The directories
    /// `unnamed` (relative) are only there to hold something: its tar leaves them out, and above other layers they are
    /// what those have there. Blocking.
    ///
    /// # Errors
    /// As [`Layers::commit_tree`].
    pub fn commit_alone(
        &self,
        tree: PathBuf,
        mut unnamed: Vec<PathBuf>,
        how: impl Into<Commit>,
    ) -> Result<Layer, LayerError> {
        // The root itself is the one below, too.
        unnamed.push(PathBuf::new());
        self.commit_packed(None, tree, unnamed, &how.into())
    }

    fn commit_packed(
        &self,
        parent: Option<&ChainId>,
        tree: PathBuf,
        unnamed: Vec<PathBuf>,
        how: &Commit,
    ) -> Result<Layer, LayerError> {
        let dir = File::open(&tree).map_err(|source| LayerError::io("open", &tree, source))?;
        let options = WriteOptions { whiteouts: Whiteouts::ToOverlay, unnamed, ..WriteOptions::default() };
        let mut hashing = Hashing::new(io::sink());
        let watched = Watched::new(&mut hashing, &how.cancel);
        let size = pack(dir.as_fd(), Path::new(""), &options, watched)?;
        let (digest, tar_size, _) = hashing.finish();
        let temp = self.temp_dir()?;
        fs::rename(&tree, temp.path().join("diff")).map_err(|source| LayerError::io("move", &tree, source))?;
        let unpacked = Unpacked {
            diff_id: DiffId(digest),
            tar_size,
            blob: None,
            temp,
            size,
            tar: TarSource::Packed(FORMAT),
            implied: Vec::new(),
            unnamed: options.unnamed,
        };
        let mut layers = self.commit_by(parent, vec![unpacked], how.durability)?;
        layers.pop().ok_or(LayerError::Missing { chain: ChainId(digest) })
    }

    /// The layer `chain`, which stands on nothing, above `parent`: its files are shared, not copied. Blocking.
    ///
    /// # Errors
    /// [`LayerError::Missing`]; [`LayerError::Io`] where the disk refuses.
    pub fn stack(
        &self,
        parent: Option<&ChainId>,
        chain: &ChainId,
        how: impl Into<Commit>,
    ) -> Result<Layer, LayerError> {
        let how = how.into();
        let record = self.shared.index().layers.get(chain).cloned().ok_or(LayerError::Missing { chain: *chain })?;
        let Some(parent) = parent else { return Ok(self.shown(&record)) };
        if let Some(there) = self.get(&ChainId::above(Some(parent), &record.diff_id)) {
            return Ok(there);
        }
        let temp = self.temp_dir()?;
        share::tree(&self.place_of(chain), temp.path(), &["layer.json", UNSYNCED], &how.cancel)?;
        let unpacked = Unpacked {
            diff_id: record.diff_id,
            tar_size: record.tar_size,
            blob: None,
            temp,
            size: record.size,
            tar: record.tar,
            implied: record.unnamed.clone(),
            unnamed: record.unnamed,
        };
        let mut layers = self.commit_by(Some(parent), vec![unpacked], how.durability)?;
        layers.pop().ok_or(LayerError::Missing { chain: *chain })
    }

    /// Whether two layers differ in nothing but times. Blocking: reads both.
    ///
    /// # Errors
    /// [`LayerError::Missing`]; [`LayerError::Io`], also once `cancel` is called.
    pub fn are_alike(&self, one: &ChainId, other: &ChainId, cancel: &CancellationToken) -> Result<bool, LayerError> {
        Ok(one == other || self.timeless(one, cancel)? == self.timeless(other, cancel)?)
    }

    fn timeless(&self, chain: &ChainId, cancel: &CancellationToken) -> Result<Digest, LayerError> {
        let record = self.shared.index().layers.get(chain).cloned().ok_or(LayerError::Missing { chain: *chain })?;
        let diff = self.diff_of(chain);
        let dir = File::open(&diff).map_err(|source| LayerError::io("open", &diff, source))?;
        let (whiteouts, unnamed) = (Whiteouts::ToOverlay, record.unnamed);
        let options = WriteOptions { whiteouts, unnamed, is_timeless: true, ..WriteOptions::default() };
        let mut hashing = Hashing::new(io::sink());
        pack(dir.as_fd(), Path::new(""), &options, Watched::new(&mut hashing, cancel))?;
        Ok(hashing.finish().0)
    }

    /// Whether the disk may lack a layer ([`Durability::Later`]).
    pub fn is_unsettled(&self) -> bool {
        !self.shared.index().unsynced.is_empty()
    }

    /// Whether a power loss took this layer before the disk had it.
    pub fn was_lost(&self, chain: &ChainId) -> bool {
        self.shared.index().lost.contains(chain)
    }

    /// Waits until the disk has everything written so far, layers of [`Durability::Later`] included. Blocking.
    ///
    /// # Errors
    /// [`LayerError::Io`] where the disk refuses; those layers then still count as not written.
    pub fn settle(&self) -> Result<(), LayerError> {
        let chains: Vec<ChainId> = self.shared.index().unsynced.iter().copied().collect();
        self.sync()?;
        if chains.is_empty() {
            return Ok(());
        }
        for chain in &chains {
            let mark = self.place_of(chain).join(UNSYNCED);
            match fs::remove_file(&mark) {
                // The layer itself may have been removed meanwhile.
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LayerError::io("remove", &mark, source));
                }
                _ => self.shared.index().unsynced.remove(chain),
            };
        }
        // Else a power loss could bring the marks back, and take layers that images have come to rely on.
        self.sync()
    }

    /// The layer called `chain`.
    pub fn get(&self, chain: &ChainId) -> Option<Layer> {
        self.shared.index().layers.get(chain).map(|record| self.shown(record))
    }

    /// All layers, in no order.
    pub fn all(&self) -> Vec<Layer> {
        self.shared.index().layers.values().map(|record| self.shown(record)).collect()
    }

    /// The directories of `top` and all layers below it, top first, as overlayfs wants them.
    ///
    /// # Errors
    /// [`LayerError::Missing`].
    pub fn lowers(&self, top: &ChainId) -> Result<Vec<PathBuf>, LayerError> {
        let index = self.shared.index();
        let mut lowers = Vec::new();
        let mut next = Some(*top);
        while let Some(chain) = next {
            let record = index.layers.get(&chain).ok_or(LayerError::Missing { chain })?;
            lowers.push(self.diff_of(&chain));
            next = record.parent;
        }
        Ok(lowers)
    }

    /// Keeps `chain` (and so all below it) from being removed while the answer lives.
    pub fn hold(&self, chain: &ChainId) -> LayerHold {
        *self.shared.index().holds.entry(*chain).or_default() += 1;
        LayerHold { chain: *chain, shared: Arc::clone(&self.shared) }
    }

    /// Whether somebody holds `chain` itself.
    pub fn is_held(&self, chain: &ChainId) -> bool {
        self.shared.index().holds.contains_key(chain)
    }

    /// Writes the layer's tar: the very bytes its diff ID is the digest of. Blocking.
    ///
    /// # Errors
    /// [`LayerError::Missing`]; [`LayerError::Damaged`] where its directory was changed.
    pub fn write_layer(&self, chain: &ChainId, writer: impl Write) -> Result<(), LayerError> {
        let record = self.shared.index().layers.get(chain).cloned().ok_or(LayerError::Missing { chain: *chain })?;
        let place = self.place_of(chain);
        let diff = place.join("diff");
        let mut hashing = Hashing::new(writer);
        match record.tar {
            TarSource::Tape => replay(&place.join("tape"), &diff, &place.join("replaced"), &mut hashing)?,
            TarSource::Packed(_) => {
                let dir = File::open(&diff).map_err(|source| LayerError::io("open", &diff, source))?;
                let unnamed = record.unnamed.clone();
                let options = WriteOptions { whiteouts: Whiteouts::ToOverlay, unnamed, ..WriteOptions::default() };
                pack(dir.as_fd(), Path::new(""), &options, &mut hashing)?;
            }
        }
        let (digest, _, _) = hashing.finish();
        if digest != record.diff_id.0 {
            let (expected, found) = (record.diff_id.to_string(), digest.to_string());
            return Err(LayerError::Damaged { chain: *chain, expected, found });
        }
        Ok(())
    }

    /// Remembers that the layer is at a registry as `blob`.
    ///
    /// # Errors
    /// [`LayerError::Missing`]; [`LayerError::Record`].
    pub fn add_blob(&self, chain: &ChainId, blob: Blob) -> Result<(), LayerError> {
        let record = {
            let mut index = self.shared.index();
            let record = index.layers.get_mut(chain).ok_or(LayerError::Missing { chain: *chain })?;
            if record.blobs.contains(&blob) {
                return Ok(());
            }
            record.blobs.push(blob);
            record.clone()
        };
        Ok(write_record(&self.place_of(chain).join("layer.json"), &record)?)
    }

    /// Removes `chain`, and then every layer below it that nothing else stands on, unless held or `wanted`. Answers
    /// the freed layers, top first. Blocking.
    ///
    /// # Errors
    /// [`LayerError::Io`] where the disk refuses.
    pub fn remove(&self, chain: &ChainId, wanted: &dyn Fn(&ChainId) -> bool) -> Result<Vec<Layer>, LayerError> {
        let mut freed = Vec::new();
        let mut trash = Vec::new();
        let mut next = Some(*chain);
        while let Some(chain) = next {
            if wanted(&chain) {
                break;
            }
            let layer = {
                let mut index = self.shared.index();
                let is_needed = index.holds.contains_key(&chain)
                    || index.layers.values().any(|record| record.parent == Some(chain));
                if is_needed {
                    break;
                }
                let Some(record) = index.layers.remove(&chain) else { break };
                index.unsynced.remove(&chain);
                // Under the lock: a commit of the same layer must find either the old one whole or none.
                match self.root.discard(&self.place_of(&chain)) {
                    Ok(bin) => trash.push(bin),
                    Err(source) => {
                        index.layers.insert(chain, record);
                        return Err(LayerError::io("remove", self.place_of(&chain), source));
                    }
                }
                self.shown(&record)
            };
            next = layer.parent;
            freed.push(layer);
        }
        for bin in trash {
            bin.empty().map_err(|source| LayerError::io("remove", &self.folder, source))?;
        }
        Ok(freed)
    }

    /// Waits until everything written so far is on the disk.
    ///
    /// # Errors
    /// [`LayerError::Io`] where the disk refuses; also for bytes it took before.
    pub fn sync(&self) -> Result<(), LayerError> {
        let folder = File::open(&self.folder).map_err(|source| LayerError::io("open", &self.folder, source))?;
        rustix::fs::syncfs(&folder).map_err(|errno| LayerError::io("sync", &self.folder, errno))
    }

    fn appear(&self, unpacked: Unpacked, chain: &ChainId, durability: Durability) -> Result<Layer, LayerError> {
        let record: LayerRecord = read_record(&unpacked.temp.path().join("layer.json"))?
            .ok_or_else(|| LayerError::io("read", unpacked.temp.path(), io::ErrorKind::NotFound))?;
        let place = self.place_of(chain);
        let mut index = self.shared.index();
        if let Some(known) = index.layers.get(chain) {
            let known = self.shown(known);
            drop(index);
            let blob = record.blobs.into_iter().next();
            return blob.map_or(Ok(()), |blob| self.add_blob(chain, blob)).map(|()| known);
        }
        // Nothing known stands there, so it can only be what a lost record left.
        let stale = self.root.discard(&place).map_err(|source| LayerError::io("replace", &place, source))?;
        fs::rename(unpacked.temp.path(), &place).map_err(|source| LayerError::io("create", &place, source))?;
        let _ = unpacked.temp.keep();
        let layer = self.shown(&record);
        index.layers.insert(*chain, record);
        if durability == Durability::Later {
            index.unsynced.insert(*chain);
            return Ok(layer);
        }
        drop(index);
        drop(stale);
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(|source| LayerError::io("sync", &self.folder, source))?;
        Ok(layer)
    }

    fn temp_dir(&self) -> Result<TempDir, LayerError> {
        self.root.temp_dir("layer").map_err(|source| LayerError::io("create", self.root.path().join("tmp"), source))
    }

    fn shown(&self, record: &LayerRecord) -> Layer {
        Layer {
            chain_id: record.chain_id,
            diff_id: record.diff_id,
            parent: record.parent,
            size: record.size,
            tar_size: record.tar_size,
            diff: self.diff_of(&record.chain_id),
            blobs: record.blobs.clone(),
        }
    }

    fn place_of(&self, chain: &ChainId) -> PathBuf {
        self.folder.join(chain.hex())
    }

    fn diff_of(&self, chain: &ChainId) -> PathBuf {
        self.place_of(chain).join("diff")
    }
}

/// Which boot this is: a new ID each time the kernel starts.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn chain_of_folder(path: &Path) -> Option<ChainId> {
    format!("sha256:{}", path.file_name()?.to_str()?).parse().ok()
}

fn make_dir(path: &Path) -> Result<(), LayerError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let told = |source| LayerError::io("create", path, source);
    fs::DirBuilder::new().mode(0o755).create(path).map_err(told)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(told)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
