//! Unpacks a tar archive into a directory, trusting nothing in it.
//!
//! Every entry is made by name inside its parent's descriptor: files with `O_EXCL`, metadata through descriptors, owner
//! before mode (a chown clears set-user-ID), mode before extended attributes (a chown clears capabilities), directories'
//! times last. What stands in the way is removed first, as Docker does; directories are merged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat, fchmod, fchown,
    fsetxattr, ftruncate, futimens, linkat, lsetxattr, makedev, mkdirat, mknodat, openat, renameat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::archive::{Archive, Content, Entry, EntryKind, entry_error};
use super::place::{EntryPath, Tree, failed, is_whiteout, look, open_inside, proc_fd, proc_path, remove, type_of};
use super::tape::{NoTape, Tape};
use super::{Digest, Hasher, LayerError};
use crate::engine::remap::Shift;

/// Marks a file that deletes its namesake in the layers below (image-spec, `layer.md`).
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// Marks a directory whose content in the layers below is deleted.
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS's own metadata; never part of a layer.
const AUFS_METADATA: &[u8] = b".wh..wh.";
/// How overlayfs marks an opaque directory.
pub(super) const OVERLAY_OPAQUE: &str = "trusted.overlay.opaque";

/// What `.wh.` entries of an archive mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// They delete things of the layers below: they become what overlayfs understands. For image layers.
    ToOverlay,
    /// They are ordinary files. For `docker cp` and build contexts.
    AsIs,
}

/// How much an archive may hold before it is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of any kind.
    pub entries: u64,
    /// Bytes of file content, unpacked.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: u64::MAX }
    }
}

/// How [`apply_tar`] treats an archive.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// What `.wh.` entries mean.
    pub whiteouts: Whiteouts,
    /// How much may come.
    pub limits: Limits,
    /// Everything belongs to this user and group, whatever the archive says.
    pub owner: Option<(u32, u32)>,
    /// The archive's ids are those of a user namespace, and the directory is seen from outside of it.
    pub shift: Option<Shift>,
    /// Refuses to replace a directory by something else and the reverse (`docker cp`'s `noOverwriteDirNonDir`).
    pub keep_kinds: bool,
    /// Notes the digest of each file's content as it is written.
    pub digests: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            whiteouts: Whiteouts::AsIs,
            limits: Limits::default(),
            owner: None,
            shift: None,
            keep_kinds: false,
            digests: false,
        }
    }
}

/// What an archive held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries unpacked, whiteouts included.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Unpacks the (uncompressed) tar that `reader` gives into the directory `dir`. Paths never leave `dir`: symlinks on
/// the way resolve inside it. Existing files are replaced, existing directories kept.
///
/// # Errors
/// [`LayerError::Entry`] names a hostile or impossible entry; what was unpacked before it stays.
pub fn apply_tar(dir: BorrowedFd<'_>, reader: impl Read, options: &ApplyOptions) -> Result<Applied, LayerError> {
    let reader = BufReader::with_capacity(256 << 10, reader);
    let outcome = apply_archive(dir, Archive::new(reader, NoTape), options, None)?;
    Ok(outcome.applied)
}

/// As [`apply_tar`]; answers also the digests of the files' contents, as far as they are certain, by their paths.
///
/// # Errors
/// As there.
pub(crate) fn apply_tar_digesting(
    dir: BorrowedFd<'_>,
    reader: impl Read,
    options: &ApplyOptions,
) -> Result<(Applied, HashMap<PathBuf, Digest>), LayerError> {
    let reader = BufReader::with_capacity(256 << 10, reader);
    let options = ApplyOptions { digests: true, ..*options };
    let outcome = apply_archive(dir, Archive::new(reader, NoTape), &options, None)?;
    Ok((outcome.applied, outcome.digests))
}

/// What unpacking a layer came to.
pub(super) struct Outcome<R, T> {
    pub applied: Applied,
    /// Directories that no entry named; their metadata is to come from the layers below.
    pub implied: Vec<PathBuf>,
    /// What [`ApplyOptions::digests`] asked for.
    pub digests: HashMap<PathBuf, Digest>,
    pub reader: R,
    pub tape: T,
}

/// The digests of an archive's files.
#[derive(Default)]
struct Digests {
    files: HashMap<Vec<u8>, Digest>,
    /// Links: what is written below one of them is some other file than its path says.
    links: HashSet<Vec<u8>>,
    /// Such a thing was written, so no digest is certain.
    are_lost: bool,
}

impl Digests {
    fn note(&mut self, path: &[u8], digest: Option<Digest>) {
        if !self.links.is_empty() {
            let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            self.are_lost |= ends.into_iter().any(|end| path.get(..end).is_some_and(|part| self.links.contains(part)));
        }
        match digest {
            Some(digest) => drop(self.files.insert(path.to_owned(), digest)),
            None => drop(self.files.remove(path)),
        }
    }
}

/// Unpacks `archive` to its end. Replaced files that the tape needs are moved to the folder `aside`.
pub(super) fn apply_archive<R: BufRead, T: Tape>(
    dir: BorrowedFd<'_>,
    mut archive: Archive<R, T>,
    options: &ApplyOptions,
    aside: Option<&Path>,
) -> Result<Outcome<R, T>, LayerError> {
    let mut applier = Applier {
        tree: Tree::new(dir),
        dir,
        options,
        aside,
        kept: HashMap::new(),
        directory_times: BTreeMap::new(),
        digests: options.digests.then(Digests::default),
        applied: Applied::default(),
    };
    while let Some(entry) = archive.next()? {
        applier.entry(&mut archive, &entry)?;
    }
    archive.drain()?;
    applier.set_directory_times()?;
    let (applied, implied) = (applier.applied, std::mem::take(&mut applier.tree.implied));
    let (reader, tape) = archive.into_parts();
    let to_path =
        |bytes: Vec<u8>| PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes));
    let digests = applier.digests.take().filter(|digests| !digests.are_lost).map(|digests| digests.files);
    let digests = digests.into_iter().flatten().map(|(path, digest)| (to_path(path), digest)).collect();
    Ok(Outcome { applied, implied: implied.into_iter().map(to_path).collect(), digests, reader, tape })
}

struct Applier<'a> {
    tree: Tree<'a>,
    dir: BorrowedFd<'a>,
    options: &'a ApplyOptions,
    aside: Option<&'a Path>,
    /// Which file (by inode) holds which content of the tape.
    kept: HashMap<u64, u64>,
    directory_times: BTreeMap<Vec<u8>, (i64, u32)>,
    digests: Option<Digests>,
    applied: Applied,
}

impl Applier<'_> {
    fn entry<R: BufRead, T: Tape>(&mut self, archive: &mut Archive<R, T>, entry: &Entry) -> Result<(), LayerError> {
        let Limits { entries, bytes } = self.options.limits;
        self.applied.entries += 1;
        if self.applied.entries > entries {
            return Err(LayerError::Limit { limit: entries, unit: "entries" });
        }
        self.applied.bytes = self.applied.bytes.saturating_add(entry.stored);
        if self.applied.bytes > bytes {
            return Err(LayerError::Limit { limit: bytes, unit: "bytes" });
        }

        let path = EntryPath::parse(&entry.name)?;
        if path.is_root() {
            return self.root(entry);
        }
        let (parent_path, name) = path.split();
        if self.options.whiteouts == Whiteouts::ToOverlay && name.starts_with(WHITEOUT) {
            return self.whiteout(entry, parent_path, name);
        }
        let parent = self.tree.directory(parent_path).map_err(|error| renamed(error, &entry.name))?;
        let parent = parent.as_fd();
        match &entry.kind {
            EntryKind::Directory => self.directory(parent, &path, entry),
            EntryKind::Regular { sparse } => self.file(archive, parent, &path, entry, sparse.as_deref()),
            EntryKind::Symlink => {
                self.fresh(parent, name, entry, |name| symlinkat(entry.link.as_slice(), parent, name))?;
                self.tree.forget();
                if let Some(digests) = &mut self.digests {
                    digests.note(path.bytes(), None);
                    digests.links.insert(path.bytes().to_owned());
                }
                self.special_metadata(parent, name, entry)
            }
            EntryKind::Hardlink => {
                self.hardlink(parent, name, entry)?;
                if let Some(digests) = &mut self.digests {
                    let target = EntryPath::parse_target(&entry.name, &entry.link)?;
                    let digest = digests.files.get(target.bytes()).copied();
                    digests.note(target.bytes(), digest);
                    digests.note(path.bytes(), digest);
                }
                Ok(())
            }
            EntryKind::Fifo => self.node(parent, name, entry, FileType::Fifo, 0),
            EntryKind::Char(major, minor) => {
                self.node(parent, name, entry, FileType::CharacterDevice, makedev(*major, *minor))
            }
            EntryKind::Block(major, minor) => {
                self.node(parent, name, entry, FileType::BlockDevice, makedev(*major, *minor))
            }
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != EntryKind::Directory {
            return Err(entry_error(&entry.name, "it would replace the root directory"));
        }
        // what an archive of files says of its own top, it says of where it was packed: as Docker has it
        if self.options.whiteouts == Whiteouts::AsIs {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = open_inside(self.dir, b"", flags).map_err(|errno| failed("open", &entry.name, errno))?;
        self.metadata(&root, entry)?;
        self.directory_times.insert(Vec::new(), entry.mtime);
        Ok(())
    }

    fn directory(&mut self, parent: BorrowedFd<'_>, path: &EntryPath, entry: &Entry) -> Result<(), LayerError> {
        let (_, name) = path.split();
        let told = |action| move |errno| failed(action, &entry.name, errno);
        let mode = Mode::from_raw_mode(0o700);
        match mkdirat(parent, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = look(parent, name).map_err(told("look at"))?;
                if stat.is_none_or(|stat| type_of(&stat) != FileType::Directory) {
                    if self.options.keep_kinds && stat.is_some() {
                        return Err(entry_error(&entry.name, "cannot overwrite non-directory with directory"));
                    }
                    let hides = stat.is_some_and(|stat| is_whiteout(&stat));
                    self.clear(parent, name, stat, entry)?;
                    mkdirat(parent, name, mode).map_err(told("create"))?;
                    // A whiteout of the same name came before: the lower directory must stay hidden.
                    if hides && self.options.whiteouts == Whiteouts::ToOverlay {
                        make_opaque(parent, name).map_err(told("set opaque"))?;
                    }
                }
            }
            Err(errno) => return Err(failed("create", &entry.name, errno)),
        }
        self.tree.implied.remove(path.bytes());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(parent, name, flags, Mode::empty()).map_err(told("open"))?;
        self.metadata(&fd, entry)?;
        self.directory_times.insert(path.bytes().to_owned(), entry.mtime);
        Ok(())
    }

    fn file<R: BufRead, T: Tape>(
        &mut self,
        archive: &mut Archive<R, T>,
        parent: BorrowedFd<'_>,
        path: &EntryPath,
        entry: &Entry,
        sparse: Option<&[(u64, u64)]>,
    ) -> Result<(), LayerError> {
        let (_, name) = path.split();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.fresh(parent, name, entry, |name| openat(parent, name, flags, Mode::from_raw_mode(0o600)))?;
        let file = std::fs::File::from(fd);
        let told = |source: io::Error| LayerError::io("write", lossy(&entry.name), source);
        match sparse {
            None if entry.stored > 0 => {
                let kept = archive.tape().content(path.bytes(), entry.stored).map_err(told)?;
                if let Some(ordinal) = kept {
                    let stat = rustix::fs::fstat(&file).map_err(|errno| failed("look at", &entry.name, errno))?;
                    self.kept.insert(stat.st_ino, ordinal);
                }
                let mut sink = &file;
                let mut hasher = self.digests.is_some().then(Hasher::default);
                while archive.content(Content::Kept, |chunk| {
                    hasher.iter_mut().for_each(|hasher| hasher.update(chunk));
                    io::Write::write_all(&mut sink, chunk).map_err(told)
                })? {}
                if let Some(digests) = &mut self.digests {
                    digests.note(path.bytes(), hasher.map(Hasher::finish));
                }
            }
            None => {
                if let Some(digests) = &mut self.digests {
                    digests.note(path.bytes(), Some(Digest::of(b"")));
                }
            }
            Some(segments) => {
                if let Some(digests) = &mut self.digests {
                    digests.note(path.bytes(), None);
                }
                for (offset, length) in segments {
                    sparse_segment(archive, &file, *offset, *length, told)?;
                }
                ftruncate(&file, entry.size).map_err(|errno| told(errno.into()))?;
            }
        }
        let fd = OwnedFd::from(file);
        self.metadata(&fd, entry)?;
        let times = timestamps(entry.mtime);
        futimens(&fd, &times).map_err(|errno| failed("set times of", &entry.name, errno))
    }

    fn hardlink(&mut self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), LayerError> {
        let target = EntryPath::parse_target(&entry.name, &entry.link)?;
        let (target_parent, target_name) = target.split();
        let target_fd = open_inside(self.dir, target_parent, OFlags::PATH | OFlags::DIRECTORY);
        let missing =
            || entry_error(&entry.name, format!("it is a hardlink to {}, which is not in the archive", target.shown()));
        let target_fd = target_fd.map_err(|_| missing())?;
        let stat = look(target_fd.as_fd(), target_name).map_err(|errno| failed("look at", &entry.name, errno))?;
        let stat = stat.ok_or_else(missing)?;
        if type_of(&stat) == FileType::Directory {
            return Err(entry_error(&entry.name, "it is a hardlink to a directory"));
        }
        if let Some(own) = look(parent, name).map_err(|errno| failed("look at", &entry.name, errno))?
            && (own.st_ino, own.st_dev) == (stat.st_ino, stat.st_dev)
        {
            return Ok(());
        }
        self.fresh(parent, name, entry, |name| linkat(&target_fd, target_name, parent, name, AtFlags::empty()))
    }

    fn node(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        file_type: FileType,
        device: u64,
    ) -> Result<(), LayerError> {
        let mode = Mode::from_raw_mode(0o600);
        self.fresh(parent, name, entry, |name| mknodat(parent, name, file_type, mode, device))?;
        self.special_metadata(parent, name, entry)
    }

    fn whiteout(&mut self, entry: &Entry, parent_path: &[u8], name: &[u8]) -> Result<(), LayerError> {
        let told = |errno| failed("set whiteout", &entry.name, errno);
        if name.starts_with(AUFS_METADATA) && name != OPAQUE {
            return Ok(());
        }
        let parent = self.tree.directory(parent_path).map_err(|error| renamed(error, &entry.name))?;
        if name == OPAQUE {
            return make_opaque(parent.as_fd(), b".").map_err(told);
        }
        let target = name.get(WHITEOUT.len()..).unwrap_or_default();
        if matches!(target, b"" | b"." | b"..") {
            return Err(entry_error(&entry.name, "it is a whiteout of nothing that may be deleted"));
        }
        match look(parent.as_fd(), target).map_err(told)? {
            None => mknodat(&parent, target, FileType::CharacterDevice, Mode::empty(), 0).map_err(told),
            // The layer itself has something there: it stays and hides what is below by itself.
            Some(stat) if type_of(&stat) == FileType::Directory => make_opaque(parent.as_fd(), target).map_err(told),
            Some(_) => Ok(()),
        }
    }

    /// Makes something that must not exist yet; what stands in the way is removed first.
    fn fresh<V>(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        make: impl Fn(&[u8]) -> Result<V, Errno>,
    ) -> Result<V, LayerError> {
        for _ in 0..2 {
            match make(name) {
                Err(Errno::EXIST) => {
                    let stat = look(parent, name).map_err(|errno| failed("look at", &entry.name, errno))?;
                    let is_directory = stat.is_some_and(|stat| type_of(&stat) == FileType::Directory);
                    if self.options.keep_kinds && is_directory {
                        return Err(entry_error(&entry.name, "cannot overwrite directory with non-directory"));
                    }
                    self.clear(parent, name, stat, entry)?;
                }
                other => return other.map_err(|errno| failed("create", &entry.name, errno)),
            }
        }
        make(name).map_err(|errno| failed("create", &entry.name, errno))
    }

    fn clear(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        stat: Option<Stat>,
        entry: &Entry,
    ) -> Result<(), LayerError> {
        let Some(stat) = stat else { return Ok(()) };
        self.tree.forget();
        let name = CString::new(name).map_err(|_| entry_error(&entry.name, "its name holds a NUL byte"))?;
        let (aside, kept) = (self.aside, &self.kept);
        let mut keep = |dir: BorrowedFd<'_>, name: &std::ffi::CStr, stat: &Stat| -> Result<bool, Errno> {
            let (Some(aside), Some(ordinal)) = (aside, kept.get(&stat.st_ino)) else { return Ok(false) };
            match rustix::fs::mkdir(aside, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            renameat(dir, name, rustix::fs::CWD, aside.join(ordinal.to_string()))?;
            Ok(true)
        };
        remove(parent, &name, &stat, &mut keep).map_err(|errno| failed("replace", &entry.name, errno))
    }

    /// Owner, mode and extended attributes of what `fd` has open; in this order.
    fn metadata(&self, fd: &OwnedFd, entry: &Entry) -> Result<(), LayerError> {
        let told = |action| move |errno| failed(action, &entry.name, errno);
        let (uid, gid) = self.owner(entry);
        fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(told("set owner of"))?;
        fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(told("set mode of"))?;
        self.xattrs(entry, |name, value| fsetxattr(fd, name, value, XattrFlags::empty()))
    }

    /// The same for what can't be opened: symlinks, devices, fifos; and their time.
    fn special_metadata(&self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), LayerError> {
        let told = |action| move |errno| failed(action, &entry.name, errno);
        let (uid, gid) = self.owner(entry);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        chownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), nofollow)
            .map_err(told("set owner of"))?;
        if entry.kind != EntryKind::Symlink {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = openat(parent, name, flags, Mode::empty()).map_err(told("open"))?;
            let stat = rustix::fs::fstat(&place).map_err(told("look at"))?;
            if type_of(&stat) == FileType::Symlink {
                return Err(entry_error(&entry.name, "it was replaced while it was unpacked"));
            }
            chmod(proc_fd(place.as_fd()).as_slice(), Mode::from_raw_mode(entry.mode)).map_err(told("set mode of"))?;
        }
        let place = proc_path(parent, name);
        self.xattrs(entry, |name, value| lsetxattr(place.as_slice(), name, value, XattrFlags::empty()))?;
        utimensat(parent, name, &timestamps(entry.mtime), nofollow).map_err(told("set times of"))
    }

    fn xattrs(&self, entry: &Entry, set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>) -> Result<(), LayerError> {
        for (name, value) in &entry.xattrs {
            // Overlayfs's own marks would redirect lookups; an archive has no business setting them.
            if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
                continue;
            }
            match set(name, value) {
                // The file system or the kind of file can't hold it; Docker goes on too.
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(Errno::PERM) if name.starts_with(b"user.") => {}
                Err(errno) => return Err(failed("set extended attributes of", &entry.name, errno)),
            }
        }
        Ok(())
    }

    fn owner(&self, entry: &Entry) -> (u32, u32) {
        let (uid, gid) = self.options.owner.unwrap_or((entry.uid, entry.gid));
        self.options.shift.map_or((uid, gid), |shift| (shift.uid.outside(uid), shift.gid.outside(gid)))
    }

    fn set_directory_times(&self) -> Result<(), LayerError> {
        for (path, mtime) in &self.directory_times {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            match open_inside(self.dir, path, flags) {
                Ok(fd) => futimens(&fd, &timestamps(*mtime)).map_err(|errno| failed("set times of", path, errno))?,
                // A later entry replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(failed("open", path, errno)),
            }
        }
        Ok(())
    }
}

fn sparse_segment<R: BufRead, T: Tape>(
    archive: &mut Archive<R, T>,
    file: &std::fs::File,
    offset: u64,
    length: u64,
    told: impl Fn(io::Error) -> LayerError + Copy,
) -> Result<(), LayerError> {
    let end = offset + length;
    let mut at = offset;
    while at < end {
        let more = archive.content_up_to(end - at, Content::Taped, |chunk| {
            file.write_all_at(chunk, at).map_err(told)?;
            at += chunk.len() as u64;
            Ok(())
        })?;
        if !more {
            break;
        }
    }
    Ok(())
}

fn make_opaque(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let place = if name == b"." { proc_fd(parent) } else { proc_path(parent, name) };
    // A descriptor's magic link is followed; a name inside it was just seen to be a directory.
    rustix::fs::setxattr(place.as_slice(), OVERLAY_OPAQUE, b"y", XattrFlags::empty())
}

fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn lossy(name: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(name).into_owned())
}

/// Errors about a parent name the entry that needs it.
fn renamed(error: LayerError, name: &[u8]) -> LayerError {
    match error {
        LayerError::Entry { reason, .. } => entry_error(name, reason),
        other => other,
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
