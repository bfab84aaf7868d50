//! Cache mounts: folders below the state root that commands share from build to build.
//!
//! A cache is known by its id, by what it began with and by its owner. It may have several copies: a `private` user of a
//! busy cache gets another one, and so does a `shared` one while somebody has it alone. Who may use what is decided by
//! [`choose`]; a [`Lease`] keeps it so. On disk a copy is `build/mounts/<name>/` with its record and its `data/`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::dockerfile::mount::Sharing;
use crate::engine::EngineError;
use crate::engine::build::plan::FileOwner;
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::tree::Tree;
use crate::engine::layer::Digest;
use crate::engine::store::{self, StateRoot};
use crate::engine::volume::copy::copy_up;

/// The record's file in a copy's folder.
const RECORD: &str = "record.json";
/// The content's folder.
const DATA: &str = "data";

/// What is kept of a copy of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine::build) struct CacheRecord {
    /// The name of its folder.
    pub name: String,
    /// The id that Dockerfiles know it by.
    pub id: String,
    /// What tells it from others of that id: what it began with, its owner.
    pub variant: String,
    /// When it was made.
    pub created: Timestamp,
    /// When a command last ended that used it.
    pub used: Option<Timestamp>,
    /// How often it was used.
    pub uses: u64,
}

/// A cache that a command wants.
#[derive(Clone)]
pub(in crate::engine::build) struct Want {
    pub id: String,
    pub sharing: Sharing,
    /// Mode and owner of its folder.
    pub owner: Option<FileOwner>,
    /// What it begins with: the tree, a path in it, and what names the content.
    pub seed: Option<(Arc<Tree>, String)>,
}

impl Want {
    fn variant(&self) -> String {
        let owner = self.owner.map(|it| format!("mode={:o},uid={},gid={}", it.mode, it.uid, it.gid));
        let seed = self.seed.as_ref().map(|(_, name)| format!("from={name}"));
        owner.into_iter().chain(seed).collect::<Vec<_>>().join(",")
    }

    /// What names it among the caches.
    pub(in crate::engine::build) fn key(&self) -> CacheKey {
        CacheKey { id: self.id.clone(), variant: self.variant() }
    }
}

/// What names a cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine::build) struct CacheKey {
    id: String,
    variant: String,
}

/// One copy, and who uses it.
#[derive(Debug)]
struct Copy {
    record: CacheRecord,
    users: usize,
    /// Whether its user wants it alone.
    is_exclusive: bool,
    /// Whether it is being made or removed: nobody may have it then.
    is_closed: bool,
}

/// What becomes of somebody who wants a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// This copy is his.
    Copy(usize),
    /// He gets a new one.
    New,
    /// He has to wait.
    Wait,
}

/// Decides who gets which copy.
fn choose(copies: &[Copy], sharing: Sharing) -> Choice {
    let is_free = |copy: &Copy| copy.users == 0 && !copy.is_closed;
    let position = |is_his: &dyn Fn(&Copy) -> bool| copies.iter().position(is_his);
    let found = match sharing {
        Sharing::Shared => position(&|copy| !copy.is_exclusive && !copy.is_closed),
        Sharing::Private | Sharing::Locked => position(&is_free),
    };
    match (found, sharing) {
        (Some(at), _) => Choice::Copy(at),
        (None, Sharing::Private) => Choice::New,
        (None, Sharing::Locked) if copies.is_empty() => Choice::New,
        (None, Sharing::Locked) => Choice::Wait,
        // What is being made will be shared.
        (None, Sharing::Shared) if copies.iter().any(|copy| copy.is_closed && !copy.is_exclusive) => Choice::Wait,
        (None, Sharing::Shared) => Choice::New,
    }
}

/// All cache mounts. Clones are the same.
#[derive(Clone)]
pub(in crate::engine::build) struct CacheMounts {
    shared: Arc<Shared>,
}

struct Shared {
    root: Arc<StateRoot>,
    folder: PathBuf,
    copies: Mutex<HashMap<CacheKey, Vec<Copy>>>,
    freed: Notify,
}

/// What one cache mount takes, for the list of what the build cache holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) struct CacheUsage {
    pub record: CacheRecord,
    /// Bytes of its files.
    pub size: u64,
    /// Whether a command uses it now.
    pub in_use: bool,
}

impl CacheMounts {
    /// Reads the records; what is damaged is dropped, as it can only save time.
    pub(in crate::engine::build) fn open(root: &Arc<StateRoot>) -> io::Result<Self> {
        let folder = root.room("build")?.join("mounts");
        fs::create_dir_all(&folder)?;
        let mut copies: HashMap<CacheKey, Vec<Copy>> = HashMap::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match store::read_record::<CacheRecord>(&path.join(RECORD)) {
                Ok(Some(record)) if path.join(DATA).is_dir() => {
                    let key = CacheKey { id: record.id.clone(), variant: record.variant.clone() };
                    copies.entry(key).or_default().push(Copy::unused(record));
                }
                _ => {
                    tracing::warn!(path = %path.display(), "a damaged cache mount is dropped");
                    root.discard(&path)?.empty()?;
                }
            }
        }
        copies.values_mut().for_each(|copies| copies.sort_by_key(|copy| copy.record.created));
        let shared = Shared { root: Arc::clone(root), folder, copies: Mutex::new(copies), freed: Notify::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn copies(&self) -> MutexGuard<'_, HashMap<CacheKey, Vec<Copy>>> {
        self.shared.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets all that a command wants, each cache once however often it is mounted. They are taken in one order by
    /// everybody, so that no two commands wait for each other.
    pub(in crate::engine::build) async fn take_all(
        &self,
        wants: impl IntoIterator<Item = Want>,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<CacheKey, Lease>, BuildFailure> {
        let mut sorted: BTreeMap<CacheKey, Want> = BTreeMap::new();
        for want in wants {
            let known = sorted.entry(want.key()).or_insert_with(|| want.clone());
            known.sharing = stricter(known.sharing, want.sharing);
        }
        let mut leases = BTreeMap::new();
        for (key, want) in sorted {
            let lease = tokio::select! {
                lease = self.take(&key, &want) => lease?,
                () = cancel.cancelled() => return Err(BuildFailure::cancelled()),
            };
            leases.insert(key, lease);
        }
        Ok(leases)
    }

    async fn take(&self, key: &CacheKey, want: &Want) -> Result<Lease, EngineError> {
        loop {
            let freed = self.shared.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.try_take(key, want) {
                (Some(lease), false) => return Ok(lease),
                (Some(lease), true) => {
                    let want = want.clone();
                    let made = tokio::task::spawn_blocking(move || lease.make(&want));
                    return made.await.map_err(|error| EngineError::system(error.to_string()))?;
                }
                (None, _) => freed.await,
            }
        }
    }

    /// A lease, and whether its folder is still to be made.
    fn try_take(&self, key: &CacheKey, want: &Want) -> (Option<Lease>, bool) {
        let is_exclusive = want.sharing != Sharing::Shared;
        let mut all = self.copies();
        let copies = all.entry(key.clone()).or_default();
        let lease =
            |name: &str, is_made| Lease { mounts: self.clone(), key: key.clone(), name: name.to_owned(), is_made };
        match choose(copies, want.sharing) {
            Choice::Wait => (None, false),
            Choice::Copy(at) => {
                let Some(copy) = copies.get_mut(at) else { return (None, false) };
                copy.users += 1;
                copy.is_exclusive = is_exclusive;
                (Some(lease(&copy.record.name, true)), false)
            }
            Choice::New => {
                let is_taken = |name: &str| copies.iter().any(|copy| copy.record.name == name);
                let digest = Digest::of(format!("{}\n{}", key.id, key.variant).as_bytes()).hex();
                let digest = digest.get(..24).unwrap_or(&digest);
                let mut names = (0..).map(|number: u32| format!("{digest}-{number}"));
                let name = names.find(|name| !is_taken(name)).unwrap_or_default();
                let record = CacheRecord {
                    name: name.clone(),
                    id: key.id.clone(),
                    variant: key.variant.clone(),
                    created: Timestamp::now(),
                    used: None,
                    uses: 0,
                };
                copies.push(Copy { users: 1, is_exclusive, is_closed: true, ..Copy::unused(record) });
                (Some(lease(&name, false)), true)
            }
        }
    }

    /// Every copy with what it takes on disk, which is counted now.
    pub(in crate::engine::build) fn list(&self) -> Vec<CacheUsage> {
        let known: Vec<(CacheRecord, bool)> = {
            let all = self.copies();
            let copies = all.values().flatten().filter(|copy| !copy.is_closed);
            copies.map(|copy| (copy.record.clone(), copy.users > 0)).collect()
        };
        let usage = known.into_iter().map(|(record, in_use)| {
            let size = bytes_below(&self.shared.folder.join(&record.name).join(DATA));
            CacheUsage { record, size, in_use }
        });
        let mut usage: Vec<CacheUsage> = usage.collect();
        usage.sort_by_key(|one| std::cmp::Reverse(one.record.created));
        usage
    }

    /// Removes a copy that nobody uses; the bytes it freed, or `None` where it is in use or not there.
    pub(in crate::engine::build) fn remove(&self, name: &str) -> io::Result<Option<u64>> {
        let is_it = |copy: &&mut Copy| copy.record.name == name;
        let is_closed = {
            let mut all = self.copies();
            let found = all.values_mut().flatten().find(is_it).filter(|copy| copy.users == 0 && !copy.is_closed);
            found.map(|copy| copy.is_closed = true).is_some()
        };
        if !is_closed {
            return Ok(None);
        }
        let path = self.shared.folder.join(name);
        let size = bytes_below(&path.join(DATA));
        let gone = self.shared.root.discard(&path).and_then(store::Trash::empty);
        let mut all = self.copies();
        for copies in all.values_mut() {
            match gone {
                Ok(()) => copies.retain(|copy| copy.record.name != name),
                Err(_) => copies.iter_mut().filter(is_it).for_each(|copy| copy.is_closed = false),
            }
        }
        all.retain(|_, copies| !copies.is_empty());
        drop(all);
        self.shared.freed.notify_waiters();
        gone.map(|()| Some(size))
    }
}

impl Copy {
    fn unused(record: CacheRecord) -> Self {
        Self { record, users: 0, is_exclusive: false, is_closed: false }
    }
}

fn stricter(a: Sharing, b: Sharing) -> Sharing {
    match (a, b) {
        (Sharing::Locked, _) | (_, Sharing::Locked) => Sharing::Locked,
        (Sharing::Private, _) | (_, Sharing::Private) => Sharing::Private,
        _ => Sharing::Shared,
    }
}

/// Leave to use a copy of a cache; given back when it is dropped.
pub(in crate::engine::build) struct Lease {
    mounts: CacheMounts,
    key: CacheKey,
    name: String,
    is_made: bool,
}

impl Lease {
    /// The content's folder.
    pub(in crate::engine::build) fn data(&self) -> PathBuf {
        self.mounts.shared.folder.join(&self.name).join(DATA)
    }

    /// Makes the folder of a new copy; it is there whole or not at all.
    fn make(mut self, want: &Want) -> Result<Self, EngineError> {
        let failed = |error: io::Error| EngineError::system(format!("make the cache {:?}: {error}", self.key.id));
        let shared = &self.mounts.shared;
        let record = {
            let all = self.mounts.copies();
            let copies = all.get(&self.key).map(Vec::as_slice).unwrap_or_default();
            copies.iter().find(|copy| copy.record.name == self.name).map(|copy| copy.record.clone())
        };
        let Some(record) = record else { return Err(EngineError::system("a cache mount is gone")) };
        let made = (|| {
            let folder = shared.root.temp_dir("cache-mount")?;
            let data = folder.path().join(DATA);
            fs::create_dir(&data)?;
            fs::set_permissions(&data, fs::Permissions::from_mode(0o755))?;
            if let Some((tree, _)) = &want.seed {
                copy_up(tree.root(), "/", File::open(&data)?.as_fd())?;
            }
            if let Some(owner) = want.owner {
                chown(&data, Some(owner.uid), Some(owner.gid))?;
                fs::set_permissions(&data, fs::Permissions::from_mode(owner.mode))?;
            }
            store::write_record(&folder.path().join(RECORD), &record).map_err(io::Error::other)?;
            fs::rename(folder.path(), shared.folder.join(&self.name))
        })();
        made.map_err(failed)?;
        self.is_made = true;
        let mut all = self.mounts.copies();
        let copies = all.get_mut(&self.key).map(Vec::as_mut_slice).unwrap_or_default();
        copies.iter_mut().filter(|copy| copy.record.name == self.name).for_each(|copy| copy.is_closed = false);
        drop(all);
        self.mounts.shared.freed.notify_waiters();
        Ok(self)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut all = self.mounts.copies();
        if let Some(copies) = all.get_mut(&self.key) {
            if !self.is_made {
                copies.retain(|copy| copy.record.name != self.name);
            }
            for copy in copies.iter_mut().filter(|copy| copy.record.name == self.name) {
                copy.users = copy.users.saturating_sub(1);
                copy.is_exclusive &= copy.users > 0;
                copy.record.used = Some(Timestamp::now());
                copy.record.uses += 1;
                let path = self.mounts.shared.folder.join(&self.name).join(RECORD);
                // Only when it was used is lost where this fails.
                let _ = store::write_volatile_record(&path, &copy.record);
            }
        }
        drop(all);
        self.mounts.shared.freed.notify_waiters();
    }
}

/// The bytes of all files below a folder, as they lie on disk; what goes meanwhile is not counted.
fn bytes_below(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn want(id: &str, sharing: Sharing) -> Want {
        Want { id: id.to_owned(), sharing, owner: None, seed: None }
    }

    fn opened(folder: &Path) -> CacheMounts {
        CacheMounts::open(&Arc::new(StateRoot::open(folder).unwrap())).unwrap()
    }

    async fn take(mounts: &CacheMounts, wants: &[Want]) -> Vec<Lease> {
        let leases = mounts.take_all(wants.to_vec(), &CancellationToken::new()).await;
        leases.ok().unwrap().into_values().collect()
    }

    #[test]
    fn who_gets_which_copy() {
        let copy = |users, is_exclusive, is_closed| Copy {
            users,
            is_exclusive,
            is_closed,
            ..Copy::unused(CacheRecord {
                name: String::new(),
                id: String::new(),
                variant: String::new(),
                created: Timestamp::UNIX_EPOCH,
                used: None,
                uses: 0,
            })
        };
        let (free, shared, alone, making) =
            (|| copy(0, false, false), || copy(2, false, false), || copy(1, true, false), || copy(1, false, true));
        use Sharing::{Locked, Private, Shared};
        for (copies, sharing, expected) in [
            (vec![], Shared, Choice::New),
            (vec![], Locked, Choice::New),
            (vec![free()], Private, Choice::Copy(0)),
            (vec![shared()], Shared, Choice::Copy(0)),
            (vec![alone()], Shared, Choice::New),
            (vec![alone(), shared()], Shared, Choice::Copy(1)),
            (vec![shared()], Private, Choice::New),
            (vec![alone(), free()], Private, Choice::Copy(1)),
            (vec![alone()], Locked, Choice::Wait),
            (vec![shared()], Locked, Choice::Wait),
            (vec![making()], Shared, Choice::Wait),
            (vec![making()], Private, Choice::New),
        ] {
            assert_eq!(choose(&copies, sharing), expected, "{copies:?} {sharing:?}");
        }
    }

    #[tokio::test]
    async fn a_cache_outlives_its_users_and_the_engine() {
        let folder = tempfile::tempdir().unwrap();
        let mounts = opened(folder.path());
        let lease = take(&mounts, &[want("pip", Sharing::Shared)]).await.remove(0);
        fs::write(lease.data().join("wheel"), "w").unwrap();
        let path = lease.data();
        assert!(mounts.list()[0].in_use);
        assert_eq!(mounts.remove(&mounts.list()[0].record.name).unwrap(), None, "what is used stays");
        drop(lease);
        drop(mounts);
        let again = opened(folder.path());
        let record = again.list().remove(0);
        assert_eq!((record.record.id.as_str(), record.record.uses, record.in_use), ("pip", 1, false));
        assert!(record.record.used.is_some() && record.size > 0);
        assert_eq!(take(&again, &[want("pip", Sharing::Locked)]).await[0].data(), path);
        assert!(again.remove(&record.record.name).unwrap().is_some_and(|freed| freed == record.size));
        assert!(!path.exists() && again.list().is_empty());
    }

    #[tokio::test]
    async fn private_users_have_copies_and_locked_ones_wait() {
        let folder = tempfile::tempdir().unwrap();
        let mounts = opened(folder.path());
        let first = take(&mounts, &[want("a", Sharing::Private)]).await.remove(0);
        let second = take(&mounts, &[want("a", Sharing::Private)]).await.remove(0);
        assert_ne!(first.data(), second.data());
        let waiting = tokio::spawn({
            let mounts = mounts.clone();
            async move { take(&mounts, &[want("a", Sharing::Locked)]).await.remove(0) }
        });
        tokio::time::timeout(Duration::from_millis(20), async {
            while !waiting.is_finished() {
                tokio::task::yield_now().await
            }
        })
        .await
        .unwrap_err();
        let freed = second.data();
        drop(second);
        assert_eq!(waiting.await.unwrap().data(), freed);
        drop(first);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let mounts = opened(folder.path());
        let _held = take(&mounts, &[want("a", Sharing::Locked)]).await;
        let cancel = CancellationToken::new();
        let waiting = tokio::spawn({
            let (mounts, cancel) = (mounts.clone(), cancel.clone());
            async move { mounts.take_all([want("a", Sharing::Locked)], &cancel).await.is_err() }
        });
        tokio::task::yield_now().await;
        cancel.cancel();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_command_with_one_cache_twice_has_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let mounts = opened(folder.path());
        let leases = take(&mounts, &[want("a", Sharing::Locked), want("a", Sharing::Shared)]).await;
        assert_eq!(leases.len(), 1);
        let owned = Want { owner: Some(FileOwner { mode: 0o700, uid: 5, gid: 6 }), ..want("a", Sharing::Locked) };
        let other = take(&mounts, &[owned]).await.remove(0);
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(other.data()).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.uid(), metadata.gid()), (0o700, 5, 6));
    }
}
