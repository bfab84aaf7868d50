//! Writes the files of a COPY or ADD into a stage's root.
//!
//! The root is an overlay mounted nowhere but on a descriptor: the kernel resolves what is already there (links, folders of
//! lower layers) and everything written lands in the upper directory that becomes the layer. Every path is resolved
//! inside of the root.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::contents::{WORTH_ASKING, copy_attributes, pour};
use super::owner::Owner;
use super::tree::{Entry, Match, Tree, TreeError, failed, open_inside};
use crate::dockerfile::chmod::ModeChange;
use crate::engine::layer::go_on;

/// Where and as whose.
pub(super) struct Destination<'a> {
    /// The stage's root.
    pub root: BorrowedFd<'a>,
    /// Absolute; ends in a slash where it names a folder.
    pub path: &'a str,
    /// Whom everything shall belong to; the source's owners are kept where `None`.
    pub owner: Option<Owner>,
    /// What shall become of the permissions.
    pub mode: Option<ModeChange>,
    /// The folder that keeps what is written to the root, where it is known: contents can be shared with it.
    pub upper: Option<&'a Path>,
    /// The folders that were made only because something goes into them.
    pub made: RefCell<Vec<PathBuf>>,
    /// Whether more than one file goes there, so that it has to be a folder.
    pub is_for_several: bool,
    /// Ends it between two files, and in the middle of a large one.
    pub cancel: CancellationToken,
}

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// A file would have to be a folder.
    #[error("cannot copy to non-directory: {}", path.display())]
    NotFolder {
        /// Which.
        path: PathBuf,
    },
    /// A folder would have to be a file.
    #[error("cannot overwrite directory {} with a file", path.display())]
    IsFolder {
        /// Which.
        path: PathBuf,
    },
    /// Several files would have the same name.
    #[error("{} is no directory, and several files go there", path.display())]
    Several {
        /// Which.
        path: PathBuf,
    },
    /// The kernel or the disk refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl CopyError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        io_failed(action, path, source).into()
    }
}

impl<'a> Destination<'a> {
    /// `path` below `root`, for files that keep their owners and permissions.
    pub(super) fn new(root: BorrowedFd<'a>, path: &'a str) -> Self {
        let cancel = CancellationToken::new();
        Self {
            root,
            path,
            owner: None,
            mode: None,
            upper: None,
            made: RefCell::default(),
            is_for_several: false,
            cancel,
        }
    }
}

impl Destination<'_> {
    /// Copies one match: a folder's content into the folder, a file to the path or into the folder.
    pub(super) fn take(&self, tree: &Tree, found: &Match) -> Result<(), CopyError> {
        let Some(top) = found.entries.first() else { return Ok(()) };
        if found.is_folder() {
            let target = &self.resolved()?;
            let folder = self.folder(target)?;
            self.content(tree, found, target)?;
            // The folder itself stays as it is, but for its time; a context's root has none worth keeping.
            if !found.path.as_os_str().is_empty() {
                rustix::fs::utimensat(&folder, ".", &times(&top.stat), AtFlags::empty())
                    .map_err(failed("set the times of", target))?;
            }
            return Ok(());
        }
        let target = self.file_path(found.path.file_name().unwrap_or(OsStr::new("file")))?;
        if !found.is_file() {
            return self.special(&target, top);
        }
        let source = tree.open(&found.path).map_err(|source| TreeError::Io {
            action: "read",
            path: found.path.clone(),
            source,
        })?;
        self.write(&target, top, source)
    }

    /// Writes a file whose content is at hand, like a heredoc's.
    pub(super) fn write_inline(&self, name: &str, content: &[u8], mode: u32) -> Result<(), CopyError> {
        let target = self.file_path(OsStr::new(name))?;
        let mut file = self.create(&target)?;
        let mode = self.mode.as_ref().map_or(mode, |change| change.apply(mode, false));
        let mut attempt = || {
            file.write_all(content)?;
            self.own(file.as_fd(), None)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
            io::Result::Ok(())
        };
        attempt().map_err(|source| io_failed("write", &target, source).into())
    }

    /// Where a single file goes: to the path itself, or into it where it is a folder or written as one.
    pub(super) fn file_path(&self, name: &OsStr) -> Result<PathBuf, CopyError> {
        let path = self.resolved()?;
        let is_folder = self.path.ends_with('/') || self.stat(&path)?.is_some_and(|stat| is_folder(&stat));
        match is_folder {
            true => Ok(path.join(name)),
            // One would overwrite the other.
            false if self.is_for_several => Err(CopyError::Several { path }),
            false => Ok(path),
        }
    }

    /// The destination with the links of its path followed, inside of the root; those that lead nowhere, too: what they
    /// point to is made, as Docker does.
    pub(super) fn resolved(&self) -> Result<PathBuf, CopyError> {
        const MAX_LINKS: usize = 40;
        let mut pending: Vec<OsString> = parts(Path::new(self.path));
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = pending.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            let path = done.join(&part);
            match self.look(&path)?.filter(is_link) {
                None => done = path,
                Some(_) if links == MAX_LINKS => return Err(failed("open", &path)(Errno::LOOP).into()),
                Some(_) => {
                    links += 1;
                    let parent = open_inside(self.root, &done, OFlags::PATH | OFlags::DIRECTORY);
                    let target = parent
                        .and_then(|parent| rustix::fs::readlinkat(&parent, part.as_os_str(), Vec::new()))
                        .map_err(failed("read", &path))?;
                    let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    pending.extend(parts(&target));
                }
            }
        }
        Ok(done)
    }

    /// Opens a folder of the root, making what is missing of it.
    pub(super) fn folder(&self, path: &Path) -> Result<OwnedFd, CopyError> {
        let mut here =
            open_inside(self.root, Path::new(""), OFlags::PATH | OFlags::DIRECTORY).map_err(failed("open", path))?;
        let mut done = PathBuf::new();
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            done.push(name);
            // From the root each time, so that links on the way may point anywhere inside of it.
            let open = || open_inside(self.root, &done, OFlags::PATH | OFlags::DIRECTORY);
            here = match open() {
                Ok(next) => next,
                Err(Errno::NOTDIR) => return Err(CopyError::NotFolder { path: Path::new("/").join(&done) }),
                Err(Errno::NOENT) => {
                    // As in BuildKit, `--chmod` is for the folders on the way, too.
                    let mode = self.mode.as_ref().map_or(0o755, |change| change.apply(0o755, true));
                    rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o755)).map_err(failed("create", &done))?;
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let made = rustix::fs::openat(&here, name, flags, Mode::empty()).map_err(failed("open", &done))?;
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode)).map_err(failed("create", &done))?;
                    self.made.borrow_mut().push(done.clone());
                    self.own(made.as_fd(), None).map_err(|source| io_failed("chown", &done, source))?;
                    open().map_err(failed("open", &done))?
                }
                Err(errno) => return Err(failed("open", &done)(errno).into()),
            };
        }
        Ok(here)
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, CopyError> {
        match open_inside(self.root, path, OFlags::PATH) {
            Ok(opened) => Ok(Some(rustix::fs::fstat(&opened).map_err(failed("stat", path))?)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR) => Err(CopyError::NotFolder { path: path.to_owned() }),
            Err(errno) => Err(failed("stat", path)(errno).into()),
        }
    }

    fn content(&self, tree: &Tree, found: &Match, target: &Path) -> Result<(), CopyError> {
        let mut linked: HashMap<(u64, u64), PathBuf> = HashMap::new();
        let mut folders: Vec<(PathBuf, &Entry)> = Vec::new();
        for entry in found.entries.iter().filter(|entry| !entry.below.as_os_str().is_empty()) {
            let to = target.join(&entry.below);
            go_on(&self.cancel).map_err(|source| io_failed("copy", &to, source))?;
            match entry.kind() {
                FileType::Directory => {
                    match self.look(&to)? {
                        Some(stat) if !is_folder(&stat) && !is_link(&stat) => {
                            return Err(CopyError::NotFolder { path: to });
                        }
                        _ => {}
                    }
                    self.folder(&to)?;
                    // It is copied, not made for what is in it.
                    let made = self.made.borrow_mut().pop_if(|made| Path::new("/").join(&*made) == to);
                    drop(made);
                    folders.push((to, entry));
                }
                FileType::RegularFile => {
                    let identity = (entry.stat.st_dev, entry.stat.st_ino);
                    if entry.stat.st_nlink > 1 {
                        if let Some(first) = linked.get(&identity) {
                            self.link(first, &to)?;
                            continue;
                        }
                        linked.insert(identity, to.clone());
                    }
                    let from = found.path_of(entry);
                    let source =
                        tree.open(&from).map_err(|source| TreeError::Io { action: "read", path: from, source })?;
                    self.write(&to, entry, source)?;
                }
                _ => self.special(&to, entry)?,
            }
        }
        // Last, since writing into a folder changes its times.
        for (path, entry) in folders.into_iter().rev() {
            let folder =
                open_inside(self.root, &path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed("open", &path))?;
            let attempt = || {
                let source = tree.open_folder(&found.path_of(entry))?;
                copy_attributes(&source, &File::from(folder.try_clone()?))?;
                self.finish(&folder, entry)
            };
            attempt().map_err(|source| io_failed("write", &path, source))?;
        }
        Ok(())
    }

    /// What stands at `path`, a link at its end not followed.
    fn look(&self, path: &Path) -> Result<Option<Stat>, CopyError> {
        match open_inside(self.root, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(opened) => Ok(Some(rustix::fs::fstat(&opened).map_err(failed("stat", path))?)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed("stat", path)(errno).into()),
        }
    }

    /// The folder that `path` lies in, and its name there, with whatever stood by that name out of the way.
    fn cleared<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), CopyError> {
        let parent = self.folder(path.parent().unwrap_or(Path::new("/")))?;
        let Some(name) = path.file_name() else { return Err(CopyError::IsFolder { path: path.to_owned() }) };
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((parent, name)),
            Err(Errno::ISDIR) => Err(CopyError::IsFolder { path: path.to_owned() }),
            Err(errno) => Err(failed("replace", path)(errno).into()),
        }
    }

    pub(super) fn create(&self, path: &Path) -> Result<File, CopyError> {
        let (parent, name) = self.cleared(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600)).map_err(failed("create", path))?;
        Ok(File::from(file))
    }

    fn write(&self, path: &Path, entry: &Entry, source: File) -> Result<(), CopyError> {
        let file = self.create(path)?;
        let attempt = || {
            self.fill(&file, &source, &entry.stat)?;
            copy_attributes(&source, &file)?;
            self.finish(&file, entry)
        };
        attempt().map_err(|source| io_failed("write", path, source).into())
    }

    /// Gives the new, empty `file` the content of `source`, by the cheapest way there is: shared (`FICLONE`), copied inside
    /// the kernel, copied through memory.
    pub(super) fn fill(&self, file: &File, source: &File, stat: &Stat) -> io::Result<()> {
        let below = if stat.st_size >= WORTH_ASKING as i64 { self.below(file, stat.st_dev)? } else { None };
        match &below {
            Some(below) if rustix::fs::ioctl_ficlone(below, source).is_ok() => Ok(()),
            Some(below) => pour(source, below, stat, &self.cancel),
            None => pour(source, file, stat, &self.cancel),
        }
    }

    /// The new file itself, in the upper directory, where that is on the device of what it is filled from: overlayfs takes
    /// no such wish from a file that is not its own.
    fn below(&self, file: &File, device: u64) -> io::Result<Option<File>> {
        let Some(upper) = self.upper else { return Ok(None) };
        let place = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let upper = File::open(upper)?;
        if upper.metadata()?.dev() != device {
            return Ok(None);
        }
        let Ok(inside) = place.strip_prefix("/") else { return Ok(None) };
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(rustix::fs::openat2(&upper, inside, flags, Mode::empty(), resolve).map(File::from).ok())
    }

    fn link(&self, first: &Path, path: &Path) -> Result<(), CopyError> {
        let (parent, name) = self.cleared(path)?;
        let folder = self.folder(first.parent().unwrap_or(Path::new("/")))?;
        let first_name = first.file_name().unwrap_or_default();
        rustix::fs::linkat(&folder, first_name, &parent, name, AtFlags::empty()).map_err(failed("link", path))?;
        Ok(())
    }

    fn special(&self, path: &Path, entry: &Entry) -> Result<(), CopyError> {
        let (parent, name) = self.cleared(path)?;
        match (entry.kind(), &entry.link) {
            (FileType::Symlink, Some(target)) => {
                rustix::fs::symlinkat(target, &parent, name).map_err(failed("create", path))?;
            }
            (kind, _) => {
                let mode = Mode::from_raw_mode(self.mode_of(entry));
                rustix::fs::mknodat(&parent, name, kind, mode, entry.stat.st_rdev).map_err(failed("create", path))?;
            }
        }
        let Owner { uid, gid } = self.owner.unwrap_or(Owner { uid: entry.stat.st_uid, gid: entry.stat.st_gid });
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("chown", path))?;
        rustix::fs::utimensat(&parent, name, &times(&entry.stat), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("set the times of", path))?;
        Ok(())
    }

    fn mode_of(&self, entry: &Entry) -> u32 {
        let is_folder = entry.kind() == FileType::Directory;
        self.mode.as_ref().map_or(entry.mode(), |change| change.apply(entry.mode(), is_folder))
    }

    /// Owner, then mode (a change of owner takes setuid away), then times.
    fn finish(&self, file: impl AsFd, entry: &Entry) -> io::Result<()> {
        self.own(file.as_fd(), Some(&entry.stat))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode_of(entry)))?;
        rustix::fs::futimens(&file, &times(&entry.stat))?;
        Ok(())
    }

    /// Gives a file that has no owner of its own the one that was asked for.
    pub(super) fn own_file(&self, file: &File) -> io::Result<()> {
        self.own(file.as_fd(), None)
    }

    fn own(&self, file: BorrowedFd<'_>, source: Option<&Stat>) -> io::Result<()> {
        let kept = source.map(|stat| Owner { uid: stat.st_uid, gid: stat.st_gid });
        if let Some(Owner { uid, gid }) = self.owner.or(kept) {
            rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        Ok(())
    }
}

/// The names of a path and its `..`, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(part).collect()
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

fn io_failed(action: &'static str, path: &Path, source: io::Error) -> TreeError {
    TreeError::Io { action, path: path.to_owned(), source }
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::dockerfile::ignore::IgnoreRules;

    struct Place {
        source: tempfile::TempDir,
        target: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let place = Self { source: tempfile::tempdir().unwrap(), target: tempfile::tempdir().unwrap() };
            fs::create_dir_all(place.source.path().join("dir/sub")).unwrap();
            fs::write(place.source.path().join("a"), "A").unwrap();
            fs::write(place.source.path().join("dir/b"), "B").unwrap();
            fs::set_permissions(place.source.path().join("dir/b"), fs::Permissions::from_mode(0o4750)).unwrap();
            fs::hard_link(place.source.path().join("dir/b"), place.source.path().join("dir/sub/c")).unwrap();
            symlink("b", place.source.path().join("dir/l")).unwrap();
            place
        }

        fn at(&self, path: &str) -> PathBuf {
            self.target.path().join(path)
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.at(path)).unwrap()
        }

        fn copy(&self, source: &str, path: &str) -> Result<(), CopyError> {
            self.copy_as(source, path, Some(Owner { uid: 0, gid: 0 }), None)
        }

        fn copy_as(
            &self,
            source: &str,
            path: &str,
            owner: Option<Owner>,
            mode: Option<ModeChange>,
        ) -> Result<(), CopyError> {
            let tree = Tree::new(File::open(self.source.path()).unwrap().into(), ());
            let root = File::open(self.target.path()).unwrap();
            let mut to = Destination::new(root.as_fd(), path);
            (to.owner, to.mode, to.upper) = (owner, mode, Some(self.target.path()));
            for found in tree.find(source, &IgnoreRules::default()).unwrap().unwrap() {
                to.take(&tree, &found)?;
            }
            Ok(())
        }
    }

    #[test]
    fn files_go_to_the_path_or_into_the_folder() {
        let place = Place::new();
        place.copy("a", "/x").unwrap();
        place.copy("a", "/d/e/").unwrap();
        fs::create_dir(place.at("f")).unwrap();
        place.copy("a", "/f").unwrap();
        assert_eq!((place.read("x"), place.read("d/e/a"), place.read("f/a")), ("A".into(), "A".into(), "A".into()));
    }

    #[test]
    fn a_folders_content_is_merged_into_the_folder() {
        let place = Place::new();
        fs::create_dir_all(place.at("t/sub")).unwrap();
        fs::write(place.at("t/sub/old"), "old").unwrap();
        place.copy("dir", "/t").unwrap();
        assert_eq!(
            (place.read("t/b"), place.read("t/sub/c"), place.read("t/sub/old")),
            ("B".into(), "B".into(), "old".into())
        );
        assert_eq!(fs::read_link(place.at("t/l")).unwrap(), Path::new("b"));
        let file = fs::metadata(place.at("t/b")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.nlink()), (0o4750, 2));
    }

    #[test]
    fn links_in_the_root_resolve_inside_of_it() {
        let place = Place::new();
        fs::create_dir_all(place.at("real")).unwrap();
        symlink("/real", place.at("absolute")).unwrap();
        symlink("../../../../tmp/boxyard-escape", place.at("up")).unwrap();
        place.copy("a", "/absolute/").unwrap();
        assert_eq!(place.read("real/a"), "A");
        place.copy("a", "/up/x").unwrap();
        assert_eq!(place.read("tmp/boxyard-escape/x"), "A");
        assert!(!Path::new("/tmp/boxyard-escape").exists());
    }

    #[test]
    fn a_destination_that_is_a_link_is_followed_and_one_inside_of_it_replaced() {
        let place = Place::new();
        fs::create_dir(place.at("d")).unwrap();
        for (name, target) in [("d/a", "../kept"), ("x", "kept"), ("gone", "/not/there"), ("up", "d/../../..")] {
            symlink(target, place.at(name)).unwrap();
        }
        fs::write(place.at("kept"), "kept").unwrap();
        place.copy("a", "/d/").unwrap();
        assert_eq!((place.read("kept"), place.read("d/a")), ("kept".into(), "A".into()));
        place.copy("a", "/x").unwrap();
        assert_eq!(place.read("kept"), "A");
        assert_eq!(fs::read_link(place.at("x")).unwrap(), Path::new("kept"));
        place.copy("a", "/gone/deep").unwrap();
        assert_eq!(place.read("not/there/deep"), "A");
        place.copy("dir", "/up").unwrap();
        assert_eq!(place.read("b"), "B");
        symlink("loop", place.at("loop")).unwrap();
        assert!(place.copy("a", "/loop").is_err());
    }

    #[test]
    fn owner_and_mode_can_be_set() {
        let place = Place::new();
        let mode = Some(ModeChange::parse("go-rwx").unwrap());
        place.copy_as("dir", "/t/", Some(Owner { uid: 7, gid: 8 }), mode).unwrap();
        let file = fs::metadata(place.at("t/b")).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (7, 8, 0o4700));
        assert_eq!(fs::symlink_metadata(place.at("t/l")).unwrap().uid(), 7);
        assert_eq!(fs::metadata(place.at("t")).unwrap().uid(), 7);
    }

    #[test]
    fn holes_pipes_and_attributes_arrive() {
        let place = Place::new();
        let from = place.source.path().join("dir");
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.set_len(8 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 4 << 20).unwrap();
        fs::write(from.join("large"), vec![7; 200 << 10]).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, from.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        let kept = xattr::set(from.join("b"), "user.note", b"x").is_ok();
        place.copy("dir", "/t/").unwrap();
        let copied = fs::metadata(place.at("t/sparse")).unwrap();
        assert_eq!(copied.len(), 8 << 20);
        assert!(copied.blocks() * 512 < 1 << 20, "{} blocks", copied.blocks());
        assert_eq!(fs::read(place.at("t/sparse")).unwrap(), fs::read(from.join("sparse")).unwrap());
        assert_eq!(fs::read(place.at("t/large")).unwrap(), vec![7; 200 << 10]);
        assert_eq!(FileType::from_raw_mode(fs::metadata(place.at("t/pipe")).unwrap().mode()), FileType::Fifo);
        assert_eq!(xattr::get(place.at("t/b"), "user.note").unwrap().is_some(), kept);
        place.copy("dir/pipe", "/p").unwrap();
        assert_eq!(FileType::from_raw_mode(fs::metadata(place.at("p")).unwrap().mode()), FileType::Fifo);
    }

    #[test]
    fn kinds_that_do_not_fit_are_told() {
        let place = Place::new();
        fs::write(place.at("file"), "").unwrap();
        fs::create_dir_all(place.at("t/b")).unwrap();
        assert_eq!(place.copy("a", "/file/").unwrap_err().to_string(), "cannot copy to non-directory: /file");
        assert_eq!(place.copy("dir", "/t").unwrap_err().to_string(), "cannot overwrite directory /t/b with a file");
    }
}
