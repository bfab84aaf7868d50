//! Contexts that are kept between builds: a folder of the client, whose files are asked for again only where they changed.
//!
//! `<root>/build/contexts/<origin>/{list, files/, aside/}`: what the client's ignore rules leave in, what goes along beside
//! them (the Dockerfile), and what the client said of every file, with its digest. An unchanged folder so costs its
//! listing, and COPY needs to read none of it for the cache's key.
//!
//! A build holds the context it reads. A change that comes meanwhile is made to a copy, whose files are the same ones under
//! second names; so files are never written to, only replaced. While the files change, `list` is gone: what a killed engine
//! leaves is not believed, nor is what an earlier boot left, since it was never waited for until it is on the disk.

mod changes;
mod record;

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio_util::sync::CancellationToken;

use self::changes::{Changes, changes, check, place};
use self::record::{Entry, Record};
use super::cache::{Entry as ShelfEntry, EntryKind, Shelf, folder_of, short_id};
use crate::buildkit::listing::{Head, Kind, Listed, Wants, read_all};
use crate::engine::layer::{Digest, Hasher, go_on, share_tree};
use crate::engine::store::StateRoot;

/// So many contexts are kept; the one not used for longest goes first.
const MAX_CONTEXTS: usize = 16;
/// So many bytes of files are kept altogether.
const MAX_BYTES: u64 = 16 << 30;
/// The record of a context.
const LIST: &str = "list";
/// What the ignore rules leave in.
const FILES: &str = "files";
/// What goes along beside them.
const ASIDE: &str = "aside";

/// The digests of a context's files by their paths in it.
pub(super) type Digests = HashMap<PathBuf, Digest>;

/// A conversation with the client.
pub(super) trait Talk: Read + Write {
    /// Says that nothing more comes from this side.
    fn end(&mut self) -> io::Result<()>;
}

/// All kept contexts of a state root.
pub(super) struct KeptContexts {
    root: Arc<StateRoot>,
    folder: PathBuf,
    known: Mutex<HashMap<String, Arc<RwLock<Record>>>>,
}

/// A context as a build uses it: it does not change while this lives.
pub(super) struct Held {
    /// Its files.
    pub files: PathBuf,
    /// What goes along beside them.
    pub aside: PathBuf,
    /// What is known of their contents.
    pub digests: Arc<Digests>,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes that had to be sent.
    pub sent: u64,
    _keeps: Keeps,
}

/// What a build's context lives by.
enum Keeps {
    Shared { _guard: OwnedRwLockReadGuard<Record> },
    Own { _folder: TempDir },
}

impl KeptContexts {
    pub(super) fn open(root: &Arc<StateRoot>) -> io::Result<Self> {
        let folder = root.room("build")?.join("contexts");
        fs::create_dir_all(&folder)?;
        Ok(Self { root: Arc::clone(root), folder, known: Mutex::default() })
    }

    /// Takes over what the client has, asking for what changed; given up between two files once `cancel` is called. Blocking;
    /// to be called within a runtime.
    pub(super) fn sync(&self, head: &Head, talk: &mut impl Talk, cancel: &CancellationToken) -> io::Result<Held> {
        let listed = read_all(&mut BufReader::with_capacity(256 << 10, &mut *talk), head.count)?;
        let name = Digest::of(head.origin.as_bytes()).hex();
        let at = self.folder.join(&name);
        let known = self.known(&name, &at);
        // Without a change nothing has to be waited for but a change under way.
        let guard = Handle::current().block_on(Arc::clone(&known).read_owned());
        let plan = changes(&guard.entries, &listed);
        if plan.is_empty() {
            talk.write_all(&[])?;
            talk.end()?;
            drain(talk)?;
            touch(&at.join(LIST));
            return Ok(held(&at, guard, 0));
        }
        drop(guard);
        check(&listed)?;
        match Arc::clone(&known).try_write_owned() {
            Ok(mut record) => {
                let plan = changes(&record.entries, &listed);
                let outcome = self.change(&at, &mut record, &plan, listed, talk, cancel);
                if outcome.is_err() {
                    // Half of it is done, so all of it is worth nothing.
                    *record = Record::default();
                    self.root.discard(&at)?.empty()?;
                }
                let sent = outcome?;
                let held = held(&at, record.downgrade(), sent);
                self.tidy(&name);
                Ok(held)
            }
            // Another build reads it; what it reads must not change under it.
            Err(_) => {
                let guard = Handle::current().block_on(known.read_owned());
                let plan = changes(&guard.entries, &listed);
                let folder = self.root.temp_dir("context")?;
                let mut record = Record { entries: guard.entries.clone() };
                for part in [FILES, ASIDE] {
                    fs::create_dir(folder.path().join(part))?;
                    if at.join(part).exists() {
                        let (from, to) = (at.join(part), folder.path().join(part));
                        share_tree(&from, &to, &[], cancel).map_err(io::Error::other)?;
                    }
                }
                drop(guard);
                let sent = apply(folder.path(), &mut record, &plan, listed, talk, cancel)?;
                let (files, aside) = (folder.path().join(FILES), folder.path().join(ASIDE));
                let (digests, bytes) = (Arc::new(record.digests()), record.bytes());
                Ok(Held { files, aside, digests, bytes, sent, _keeps: Keeps::Own { _folder: folder } })
            }
        }
    }

    fn known(&self, name: &str, at: &Path) -> Arc<RwLock<Record>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let load = || {
            let record = Record::load(&at.join(LIST)).unwrap_or_else(|error| {
                tracing::warn!(%error, "a kept context is fetched anew");
                None
            });
            Arc::new(RwLock::new(record.unwrap_or_default()))
        };
        Arc::clone(known.entry(name.to_owned()).or_insert_with(load))
    }

    fn change(
        &self,
        at: &Path,
        record: &mut Record,
        plan: &Changes,
        listed: Vec<Listed>,
        talk: &mut impl Talk,
        cancel: &CancellationToken,
    ) -> io::Result<u64> {
        if record.entries.is_empty() {
            // Files of which nothing is known are not to be built upon.
            self.root.discard(at)?.empty()?;
        }
        for part in [FILES, ASIDE] {
            fs::create_dir_all(at.join(part))?;
        }
        remove(&at.join(LIST))?;
        let sent = apply(at, record, plan, listed, talk, cancel)?;
        record.store(&at.join(LIST))?;
        Ok(sent)
    }

    /// Every kept context: its name, bytes, and when it was last of use.
    pub(super) fn list(&self) -> Vec<(String, u64, SystemTime)> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let one = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            let list = entry.path().join(LIST);
            let used = fs::metadata(&list).and_then(|it| it.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
            let bytes = match known.as_ref().and_then(|record| record.try_read().ok().map(|record| record.bytes())) {
                Some(bytes) => bytes,
                None => Record::load(&list).ok().flatten().map_or(0, |record| record.bytes()),
            };
            Some((name, bytes, used))
        };
        names.filter_map(one).collect()
    }

    /// Drops a kept context, unless a build has it; answers the bytes it had.
    pub(super) fn discard(&self, name: &str) -> io::Result<u64> {
        // Only names that are of ours: a digest's digits.
        if Digest::from_hex(name).is_err() {
            return Ok(0);
        }
        let at = self.folder.join(name);
        let record = self.known(name, &at);
        let Ok(mut record) = record.try_write() else { return Ok(0) };
        let bytes = record.bytes();
        *record = Record::default();
        self.root.discard(&at)?.empty()?;
        Ok(bytes)
    }

    /// Drops what is beyond the limits, but for `just_used`.
    fn tidy(&self, just_used: &str) {
        let mut all = self.list();
        all.sort_by_key(|(_, _, used)| std::cmp::Reverse(*used));
        let mut bytes = 0;
        for (index, (name, size, _)) in all.iter().enumerate() {
            bytes += size;
            let is_beyond = index >= MAX_CONTEXTS || bytes > MAX_BYTES;
            if is_beyond
                && name != just_used
                && let Err(error) = self.discard(name)
            {
                tracing::warn!(%error, name, "a kept context can't be dropped");
            }
        }
    }
}

impl Shelf for KeptContexts {
    fn entries(&self) -> Vec<ShelfEntry> {
        let one = |(name, size, used): (String, u64, SystemTime)| {
            let used = Timestamp::try_from(used).unwrap_or(Timestamp::UNIX_EPOCH);
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
            ShelfEntry {
                description: "local source for context".to_owned(),
                kind: EntryKind::Context,
                parents: Vec::new(),
                size,
                created: used,
                used: Some(used),
                uses: 1,
                in_use: known.is_some_and(|record| record.try_write().is_err()),
                shared: false,
                storage: String::new(),
                id: short_id(&name),
            }
        };
        self.list().into_iter().map(one).collect()
    }

    fn discard(&self, id: &str) -> Result<u64, String> {
        let Some(name) = folder_of(&self.folder, id) else { return Ok(0) };
        KeptContexts::discard(self, &name).map_err(|error| error.to_string())
    }
}

fn held(at: &Path, guard: OwnedRwLockReadGuard<Record>, sent: u64) -> Held {
    let (digests, bytes) = (Arc::new(guard.digests()), guard.bytes());
    let (files, aside) = (at.join(FILES), at.join(ASIDE));
    Held { files, aside, digests, bytes, sent, _keeps: Keeps::Shared { _guard: guard } }
}

/// Makes the folder `at`, which `record` describes, what `listed` describes; answers how many bytes were sent.
fn apply(
    at: &Path,
    record: &mut Record,
    plan: &Changes,
    listed: Vec<Listed>,
    talk: &mut impl Talk,
    cancel: &CancellationToken,
) -> io::Result<u64> {
    talk.write_all(&Wants(plan.wants.clone()).to_bytes())?;
    talk.end()?;
    for path in &plan.gone {
        go_on(cancel)?;
        remove_any(&at.join(path))?;
        forget_empty_parents(at, path, &plan.stay);
        record.entries.remove(path);
    }
    for number in &plan.made {
        go_on(cancel)?;
        let Some(entry) = listed.get(*number as usize) else { continue };
        make(at, entry).map_err(|error| named(entry, error))?;
    }
    let mut reader = BufReader::with_capacity(256 << 10, talk);
    let mut digests = HashMap::new();
    let mut sent = 0;
    for number in &plan.wants {
        let Some(entry) = listed.get(*number as usize) else { continue };
        go_on(cancel)?;
        let (digest, bytes) = receive(at, entry, &mut reader).map_err(|error| named(entry, error))?;
        digests.insert(*number, (digest, bytes));
        sent += bytes;
    }
    drain(&mut reader)?;
    // Only now is there what they are further names of.
    for number in &plan.made {
        let Some(entry) = listed.get(*number as usize).filter(|entry| entry.kind == Kind::HardLink) else { continue };
        let target = at.join(place(entry));
        let first = at.join(FILES).join(record::os(&entry.target));
        remove_any(&target).and_then(|()| fs::hard_link(first, &target)).map_err(|error| named(entry, error))?;
    }
    // Last, since what is made in a folder changes its time.
    for entry in listed.iter().rev().filter(|entry| entry.kind == Kind::Folder) {
        set_time(&at.join(place(entry)), entry.modified)?;
    }
    for (number, entry) in (0_u32..).zip(listed) {
        let path = place(&entry);
        if entry.kind == Kind::HardLink {
            // Its content counts once, where it is first.
            let first = record.entries.get(&Path::new(FILES).join(record::os(&entry.target)));
            let digest = first.and_then(|first| first.digest);
            record.entries.insert(path, Entry { listed: entry, digest, bytes: 0 });
            continue;
        }
        match digests.get(&number) {
            Some((digest, bytes)) => {
                record.entries.insert(path, Entry { listed: entry, digest: Some(*digest), bytes: *bytes });
            }
            None => {
                let known = record.entries.get(&path).filter(|_| entry.kind == Kind::File);
                let (digest, bytes) = known.map_or((None, 0), |known| (known.digest, known.bytes));
                record.entries.insert(path, Entry { listed: entry, digest, bytes });
            }
        }
    }
    Ok(sent)
}

/// Makes a folder or a link.
fn make(at: &Path, entry: &Listed) -> io::Result<()> {
    let target = at.join(place(entry));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match entry.kind {
        Kind::Folder => {
            if !fs::symlink_metadata(&target).is_ok_and(|it| it.is_dir()) {
                remove_any(&target)?;
                fs::create_dir(&target)?;
            }
            fs::set_permissions(&target, fs::Permissions::from_mode(entry.mode))
        }
        Kind::Link => {
            remove_any(&target)?;
            symlink(std::ffi::OsStr::new(&record::os(&entry.target)), &target)?;
            set_time(&target, entry.modified)
        }
        Kind::File | Kind::HardLink => Ok(()),
    }
}

/// What the kernel says of a file, with its name; what the client or the connection says has one, or needs none.
fn named(entry: &Listed, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => io::Error::new(error.kind(), format!("{}: {error}", String::from_utf8_lossy(&entry.path))),
        None => error,
    }
}

/// Receives a file beside its place and puts it there.
fn receive(at: &Path, entry: &Listed, reader: &mut impl Read) -> io::Result<(Digest, u64)> {
    let mut length = [0; 8];
    reader.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let target = at.join(place(entry));
    let parent = target.parent().unwrap_or(at);
    fs::create_dir_all(parent)?;
    if fs::symlink_metadata(&target).is_ok_and(|it| it.is_dir()) {
        fs::remove_dir_all(&target)?;
    }
    let incoming = at.join("incoming");
    remove(&incoming)?;
    let file = fs::File::create_new(&incoming)?;
    let digest = store(reader, length, &file)?;
    file.set_permissions(fs::Permissions::from_mode(entry.mode))?;
    set_time(&incoming, entry.modified)?;
    fs::rename(&incoming, &target)?;
    Ok((digest, length))
}

/// Writes the next `length` bytes into an empty file; where they are nothing but zeros, a hole will do.
fn store(reader: &mut impl Read, length: u64, file: &fs::File) -> io::Result<Digest> {
    const PIECE: usize = 64 << 10;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(PIECE).min(PIECE)];
    let mut at = 0;
    while at < length {
        let room = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        let piece = buffer.get_mut(..room).unwrap_or_default();
        reader.read_exact(piece).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "the client broke off in the middle of a file")
            }
            _ => error,
        })?;
        hasher.update(piece);
        if piece.len() < PIECE || piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, at)?;
        }
        at += piece.len() as u64;
    }
    file.set_len(length)?;
    Ok(hasher.finish())
}

/// Reads to the client's end: its failure, if it has one, comes there.
fn drain(reader: &mut impl Read) -> io::Result<()> {
    match io::copy(reader, &mut io::sink())? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the client sent more than it was asked for")),
    }
}

fn set_time(path: &Path, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.min(999_999_999).into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Notes that a context was of use.
fn touch(list: &Path) {
    // It only decides who is dropped first.
    let _ = fs::File::open(list).and_then(|file| file.set_modified(SystemTime::now()));
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn remove_any(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(error),
        Ok(stat) if stat.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

/// Removes the folders above `path` that are empty now and that nobody listed: they came with what was in them.
fn forget_empty_parents(at: &Path, path: &Path, stay: &std::collections::HashSet<PathBuf>) {
    let mut parent = path.parent();
    while let Some(folder) = parent.filter(|folder| folder.components().count() > 1 && !stay.contains(*folder)) {
        if fs::remove_dir(at.join(folder)).is_err() {
            return;
        }
        parent = folder.parent();
    }
}

#[cfg(test)]
mod tests;
