//! The files a COPY or ADD takes: found by name or wildcard, listed, and digested for the cache's key.
//!
//! A source tree is a directory descriptor: the context, a stage's layers or an image's. Every path is resolved inside
//! of it (`RESOLVE_IN_ROOT`), so a link in the context that points to `/etc/shadow` finds the context's own, or nothing.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::kept::Digests;
use super::plan::PlanError;
use crate::dockerfile::glob::{Pattern, clean, has_wildcards};
use crate::dockerfile::ignore::IgnoreRules;
use crate::engine::layer::{Hashing, Watched, go_on};

/// How much of a file is read at once.
const READ: usize = 256 << 10;

/// A tree to copy from.
pub(super) struct Tree {
    root: OwnedFd,
    /// What is known of its files' contents.
    digests: Option<Arc<Digests>>,
    /// Ends whoever lists or reads it.
    cancel: CancellationToken,
    /// What has to live as long as the descriptor is used.
    _keeps: Box<dyn Any + Send + Sync>,
}

/// Something to copy.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its path below the matched top; empty for the top itself.
    pub below: PathBuf,
    /// What it is, who owns it, when it changed.
    pub stat: Stat,
    /// Where a symlink points.
    pub link: Option<PathBuf>,
}

impl Entry {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }
}

/// One source's match.
#[derive(Debug, Clone)]
pub(super) struct Match {
    /// Its path in the tree, without a leading slash; empty for the root.
    pub path: PathBuf,
    /// It and all that is in it, sorted by path.
    pub entries: Vec<Entry>,
}

impl Match {
    /// Where in the tree one of its entries is.
    pub(super) fn path_of(&self, entry: &Entry) -> PathBuf {
        // Joining an empty path would end in a slash, and so ask for a folder.
        if entry.below.as_os_str().is_empty() { self.path.clone() } else { self.path.join(&entry.below) }
    }

    pub(super) fn is_folder(&self) -> bool {
        self.entries.first().is_some_and(|top| top.kind() == FileType::Directory)
    }

    pub(super) fn is_file(&self) -> bool {
        self.entries.first().is_some_and(|top| top.kind() == FileType::RegularFile)
    }
}

/// Whose owners count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// Nobody's: what is copied belongs to root.
    Ignored,
    /// The source's: copies keep them.
    Kept,
}

impl Tree {
    /// The tree below `root`; `keeps` lives as long.
    pub(super) fn new(root: OwnedFd, keeps: impl Any + Send + Sync) -> Self {
        Self { root, digests: None, cancel: CancellationToken::new(), _keeps: Box::new(keeps) }
    }

    /// The same tree, of which the contents of these files are known.
    pub(super) fn knowing(self, digests: Arc<Digests>) -> Self {
        Self { digests: Some(digests), ..self }
    }

    /// The same tree, listed and read only until `cancel` is called.
    pub(super) fn until(self, cancel: &CancellationToken) -> Self {
        Self { cancel: cancel.clone(), ..self }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a regular file inside of the tree.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        open_inside(self.root(), path, OFlags::RDONLY | OFlags::NONBLOCK).map(File::from).map_err(io::Error::from)
    }

    /// Opens a folder of the tree.
    pub(super) fn open_folder(&self, path: &Path) -> io::Result<File> {
        open_inside(self.root(), path, OFlags::RDONLY | OFlags::DIRECTORY).map(File::from).map_err(io::Error::from)
    }

    /// The names in a folder of the tree; empty where there is none.
    pub(super) fn names_in(&self, folder: &str) -> Vec<String> {
        let opened = open_inside(self.root(), Path::new(folder), OFlags::RDONLY | OFlags::DIRECTORY);
        let names = opened.and_then(|folder| names_of(&folder)).unwrap_or_default();
        names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// What `source` (a path or pattern of COPY) matches, without what `exclude` leaves out.
    ///
    /// `None`: nothing is there by that name. A pattern that matches nothing gives an empty list.
    pub(super) fn find(&self, source: &str, exclude: &IgnoreRules) -> Result<Option<Vec<Match>>, TreeError> {
        let path = inside(source);
        let path = path.trim_start_matches('/');
        let is_pattern = has_wildcards(path);
        let paths = if is_pattern { self.expand(path)? } else { vec![PathBuf::from(path)] };
        let mut matches = Vec::new();
        for path in paths {
            match self.list(&path, exclude) {
                Ok(entries) if entries.is_empty() => {}
                Ok(entries) => matches.push(Match { path, entries }),
                Err(TreeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => match is_pattern {
                    // A link that leads nowhere, found by a wildcard, goes along as it is.
                    true => matches.push(Match { entries: vec![self.link(&path)?], path }),
                    false => return Ok(None),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(Some(matches))
    }

    fn link(&self, path: &Path) -> Result<Entry, TreeError> {
        let link = open_inside(self.root(), path, OFlags::PATH | OFlags::NOFOLLOW).map_err(failed("stat", path))?;
        let stat = rustix::fs::fstat(&link).map_err(failed("stat", path))?;
        let target = target_of(&link, Path::new("")).map_err(failed("read", path))?;
        Ok(Entry { below: PathBuf::new(), stat, link: Some(target) })
    }

    /// As [`Tree::find`] for `--parents`: each match is a folder (the tree's root, or what stands before `/./`) with those
    /// of its entries that the rest of the path or pattern names, and the folders they lie in.
    pub(super) fn find_with_parents(
        &self,
        source: &str,
        exclude: &IgnoreRules,
    ) -> Result<Option<Vec<Match>>, TreeError> {
        let (pivot, rest) = source.split_once("/./").unwrap_or(("", source));
        let (pivot, rest) = (inside(pivot), inside(rest));
        let (pivot, rest) = (pivot.trim_start_matches('/'), rest.trim_start_matches('/'));
        let is_pattern = has_wildcards(rest);
        if rest.is_empty() {
            return self.find(pivot, exclude);
        }
        let bad = |source| TreeError::Pattern { pattern: rest.to_owned(), source };
        let include = Pattern::ignore(rest).map_err(bad)?;
        let tops = if has_wildcards(pivot) { self.expand(pivot)? } else { vec![PathBuf::from(pivot)] };
        let mut matches = Vec::new();
        for path in tops {
            let top = match open_inside(self.root(), &path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR) if !has_wildcards(pivot) => return Ok(None),
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                other => other.map_err(failed("read", &path))?,
            };
            let stat = rustix::fs::fstat(&top).map_err(failed("stat", &path))?;
            let mut entries = vec![Entry { below: PathBuf::new(), stat, link: None }];
            if is_pattern {
                self.walk(&top, Path::new(""), exclude, Some(&include), &mut entries)?;
            } else if !self.line(&path, rest, exclude, &mut entries)? {
                return Ok(None);
            }
            if entries.len() > 1 {
                matches.push(Match { path, entries });
            }
        }
        Ok(Some(matches))
    }

    /// Adds `rest` below the folder `top`, the folders on the way to it, and all that is in it; whether it is there.
    fn line(&self, top: &Path, rest: &str, exclude: &IgnoreRules, into: &mut Vec<Entry>) -> Result<bool, TreeError> {
        let mut below = PathBuf::new();
        let parts: Vec<&str> = rest.split('/').collect();
        for (index, part) in parts.iter().enumerate() {
            below.push(part);
            let path = top.join(&below);
            let is_last = index + 1 == parts.len();
            // A link on the way is gone through; the last one is itself what is copied.
            let flags = if is_last { OFlags::PATH | OFlags::NOFOLLOW } else { OFlags::PATH | OFlags::DIRECTORY };
            let opened = match open_inside(self.root(), &path, flags) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
                other => other.map_err(failed("stat", &path))?,
            };
            let stat = rustix::fs::fstat(&opened).map_err(failed("stat", &path))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if !exclude.ignores(&below.to_string_lossy()) {
                let link = match kind {
                    FileType::Symlink => Some(target_of(&opened, Path::new("")).map_err(failed("read", &path))?),
                    _ => None,
                };
                into.push(Entry { below: below.clone(), stat, link });
            }
            if is_last && kind == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let folder = open_inside(self.root(), &path, flags).map_err(failed("read", &path))?;
                self.walk(&folder, &below, exclude, None, into)?;
            }
        }
        Ok(true)
    }

    fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, TreeError> {
        let mut found = vec![PathBuf::new()];
        let mut is_matched = false;
        for part in pattern.split('/') {
            // What a wildcard matched is looked into only where it is a folder itself, not a link to one.
            if is_matched {
                found.retain(|path| {
                    open_inside(self.root(), path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW).is_ok()
                });
            }
            is_matched = is_matched || has_wildcards(part);
            if !has_wildcards(part) {
                found.iter_mut().for_each(|path| path.push(part.replace('\\', "")));
                continue;
            }
            let matcher =
                Pattern::file(part).map_err(|source| TreeError::Pattern { pattern: pattern.to_owned(), source })?;
            let mut next = Vec::new();
            for path in &found {
                let Ok(names) = self.names(path) else { continue };
                next.extend(
                    names
                        .into_iter()
                        .filter(|name| matcher.matches(&name.to_string_lossy()))
                        .map(|name| path.join(name)),
                );
            }
            found = next;
        }
        found.retain(|path| open_inside(self.root(), path, OFlags::PATH | OFlags::NOFOLLOW).is_ok());
        Ok(found)
    }

    fn names(&self, path: &Path) -> Result<Vec<PathBuf>, TreeError> {
        let folder =
            open_inside(self.root(), path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed("read", path))?;
        names_of(&folder).map_err(failed("read", path))
    }

    /// A path (a link at its end is followed, as COPY does) and all that is in it.
    fn list(&self, path: &Path, exclude: &IgnoreRules) -> Result<Vec<Entry>, TreeError> {
        let top = open_inside(self.root(), path, OFlags::PATH).map_err(failed("stat", path))?;
        let stat = rustix::fs::fstat(&top).map_err(failed("stat", path))?;
        let shown = path.to_string_lossy();
        let mut entries = Vec::new();
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // A file that is named, or found by a wildcard, is left out by its path or by its name.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_folder || !(exclude.ignores(&shown) || exclude.ignores(&name)) {
            entries.push(Entry { below: PathBuf::new(), stat, link: None });
        }
        if is_folder {
            let folder =
                open_inside(self.root(), path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed("read", path))?;
            self.walk(&folder, Path::new(""), exclude, None, &mut entries)?;
        }
        Ok(entries)
    }

    /// What counts about each file of `found` for the cache: kind, mode, owner and content, not its times. A further name of
    /// a file that was met before tells that one, too, since copies are linked as their sources are.
    pub(super) fn facts(
        &self,
        found: &Match,
        owners: Owners,
        into: &mut BTreeMap<String, String>,
    ) -> Result<(), TreeError> {
        let mut linked: HashMap<(u64, u64), &Path> = HashMap::new();
        for entry in &found.entries {
            go_on(&self.cancel).map_err(|source| TreeError::Io {
                action: "read",
                path: found.path_of(entry),
                source,
            })?;
            let path = found.path_of(entry);
            let owner = match owners {
                Owners::Ignored => "-".to_owned(),
                Owners::Kept => format!("{}:{}", entry.stat.st_uid, entry.stat.st_gid),
            };
            let (kind, content) = match entry.kind() {
                FileType::RegularFile => {
                    let digest = self.digest(&path)?;
                    let identity = (entry.stat.st_dev, entry.stat.st_ino);
                    match linked.get(&identity) {
                        Some(first) => ("file", format!("{digest}={}", certain(first))),
                        None => {
                            if entry.stat.st_nlink > 1 {
                                linked.insert(identity, &entry.below);
                            }
                            ("file", digest)
                        }
                    }
                }
                FileType::Directory => ("directory", "-".to_owned()),
                FileType::Symlink => ("link", entry.link.as_ref().map_or_else(String::new, |to| certain(to))),
                _ => ("special", entry.stat.st_rdev.to_string()),
            };
            let mode = if kind == "link" { 0o777 } else { entry.mode() };
            let shown = if path.as_os_str().is_empty() { ".".to_owned() } else { certain(&path) };
            // What the top is called does not matter where only its content is copied, but telling it does no harm.
            into.insert(shown, format!("{kind} {mode:o} {owner} {content}"));
        }
        Ok(())
    }

    /// Adds what is in `folder`, except for what `exclude` leaves out; with `include` only what it matches, and the folders
    /// that lie in.
    fn walk(
        &self,
        folder: &OwnedFd,
        below: &Path,
        exclude: &IgnoreRules,
        include: Option<&Pattern>,
        into: &mut Vec<Entry>,
    ) -> Result<(), TreeError> {
        for name in names_of(folder).map_err(failed("read", below))? {
            let path = below.join(&name);
            go_on(&self.cancel).map_err(|source| TreeError::Io { action: "read", path: path.clone(), source })?;
            let stat = rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat", &path))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let ignored = !exclude.is_empty() && exclude.ignores(&path.to_string_lossy());
            if ignored && !(kind == FileType::Directory && exclude.has_exceptions()) {
                continue;
            }
            // Below what is wanted, everything is.
            let include = include.filter(|pattern| !pattern.matches(&path.to_string_lossy()));
            let link = match kind {
                FileType::Symlink => Some(target_of(folder, &name).map_err(failed("read", &path))?),
                // Sockets are nothing without their process.
                FileType::Socket => continue,
                _ => None,
            };
            let at = into.len();
            if kind == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = rustix::fs::openat(folder, &name, flags, Mode::empty()).map_err(failed("read", &path))?;
                self.walk(&inner, &path, exclude, include, into)?;
            }
            let is_wanted = !ignored && include.is_none();
            if is_wanted || into.len() > at {
                into.insert(at, Entry { below: path, stat, link });
            }
        }
        Ok(())
    }

    fn digest(&self, path: &Path) -> Result<String, TreeError> {
        if let Some(known) = self.digests.as_ref().and_then(|digests| digests.get(path)) {
            return Ok(known.hex());
        }
        let attempt = || {
            let mut content = Hashing::new(io::sink());
            let file = Watched::new(self.open(path)?, &self.cancel);
            io::copy(&mut io::BufReader::with_capacity(READ, file), &mut content)?;
            Ok(content.finish().0.hex())
        };
        attempt().map_err(|source| TreeError::Io { action: "read", path: path.to_owned(), source })
    }
}

fn target_of(folder: &OwnedFd, name: &Path) -> Result<PathBuf, Errno> {
    let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
}

/// A path as text that no other path has: one that is no text has its bytes escaped, and a slash at its end as no other.
fn certain(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.to_owned(),
        None => format!("{}/", path.as_os_str().as_bytes().escape_ascii()),
    }
}

/// A source as a path inside of its tree: `..` leads no further up than its root.
fn inside(source: &str) -> String {
    clean(&format!("/{source}"))
}

fn names_of(folder: &OwnedFd) -> Result<Vec<PathBuf>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(PathBuf::from(OsStr::from_bytes(name)));
        }
    }
    names.sort();
    Ok(names)
}

/// Opens `path` as if `root` were `/`.
pub(super) fn open_inside(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        let opened = rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT);
        // The kernel answers so when something is renamed meanwhile; nothing can be wrong with trying again.
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            return opened;
        }
    }
}

/// Why files could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    /// The kernel or the disk refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which path of the tree.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A wildcard that is none.
    #[error("{pattern}: {source}")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong.
        source: crate::dockerfile::glob::BadPattern,
    },
}

impl From<TreeError> for PlanError {
    fn from(error: TreeError) -> Self {
        PlanError::new(error.to_string())
    }
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> TreeError {
    let path = path.to_owned();
    move |errno| TreeError::Io { action, path, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree with some files; the folder goes with it.
    fn tree() -> Tree {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::create_dir_all(at.join("src/deep")).unwrap();
        for name in ["a.txt", "b.txt", "c.md", "src/main.rs", "src/deep/lib.rs"] {
            fs::write(at.join(name), name).unwrap();
        }
        symlink("/a.txt", at.join("inside")).unwrap();
        symlink("../../../../etc/passwd", at.join("outside")).unwrap();
        let root = File::open(at).unwrap().into();
        Tree::new(root, folder)
    }

    fn paths(tree: &Tree, source: &str) -> Option<Vec<String>> {
        let found = tree.find(source, &IgnoreRules::default()).unwrap()?;
        let all = found.iter().flat_map(|it| it.entries.iter().map(|entry| it.path.join(&entry.below)));
        Some(all.map(|path| path.display().to_string().trim_end_matches('/').to_owned()).collect())
    }

    #[test]
    fn names_that_are_no_text_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        for name in [&b"x\xff"[..], b"x\xfe", b"x\\xff"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink(OsStr::from_bytes(b"x\xff"), at(b"l")).unwrap();
        let facts = || {
            let tree = Tree::new(File::open(folder.path()).unwrap().into(), ());
            let mut facts = BTreeMap::new();
            for found in tree.find("", &IgnoreRules::default()).unwrap().unwrap() {
                tree.facts(&found, Owners::Ignored, &mut facts).unwrap();
            }
            facts
        };
        let before = facts();
        let names: Vec<&str> = before.keys().map(String::as_str).collect();
        assert_eq!(names, [".", "l", "x\\xfe/", "x\\xff", "x\\xff/"]);
        std::fs::remove_file(at(b"l")).unwrap();
        std::os::unix::fs::symlink(OsStr::from_bytes(b"x\xfe"), at(b"l")).unwrap();
        assert_ne!(facts()["l"], before["l"]);
    }

    #[test]
    fn sources_are_found_by_name_and_wildcard() {
        let tree = tree();
        assert_eq!(paths(&tree, "a.txt").unwrap(), ["a.txt"]);
        assert_eq!(paths(&tree, "/./src/../a.txt").unwrap(), ["a.txt"]);
        assert_eq!(paths(&tree, "*.txt").unwrap(), ["a.txt", "b.txt"]);
        assert_eq!(paths(&tree, "s*/main.r?").unwrap(), ["src/main.rs"]);
        assert_eq!(paths(&tree, "src").unwrap(), ["src", "src/deep", "src/deep/lib.rs", "src/main.rs"]);
        assert_eq!(paths(&tree, "../../a.txt").unwrap(), ["a.txt"]);
        assert_eq!(paths(&tree, "nothing"), None);
        assert_eq!(paths(&tree, "*.nothing").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn links_never_lead_out() {
        let tree = tree();
        assert_eq!(paths(&tree, "outside"), None);
        let found = tree.find("inside", &IgnoreRules::default()).unwrap().unwrap();
        assert_eq!(found[0].entries[0].kind(), FileType::RegularFile);
    }

    #[test]
    fn facts_change_with_content_and_mode_not_with_time() {
        let tree = tree();
        let facts = |source: &str| {
            let mut into = BTreeMap::new();
            for found in tree.find(source, &IgnoreRules::default()).unwrap().unwrap() {
                tree.facts(&found, Owners::Ignored, &mut into).unwrap();
            }
            into
        };
        let before = facts("src");
        let file = tree.open(Path::new("src/main.rs")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(facts("src"), before);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o755)).unwrap();
        assert_ne!(facts("src"), before);
        assert!(facts("src")["src/main.rs"].starts_with("file 755 - "));
    }

    #[test]
    fn excluded_files_are_left_out() {
        let tree = tree();
        let rules = IgnoreRules::parse("**/*.rs\n!deep/lib.rs").unwrap();
        let found = tree.find("src", &rules).unwrap().unwrap();
        let below: Vec<_> = found[0].entries.iter().map(|entry| entry.below.display().to_string()).collect();
        assert_eq!(below, ["", "deep", "deep/lib.rs"]);
        let rules = IgnoreRules::parse("*.txt").unwrap();
        let found = tree.find("*", &rules).unwrap().unwrap();
        assert!(!found.iter().any(|it| it.path.ends_with("a.txt")));
        assert!(found.iter().any(|it| it.path.ends_with("c.md")));
    }

    #[test]
    fn parents_are_kept_from_the_pivot_on() {
        let tree = tree();
        let below = |source: &str| {
            let found = tree.find_with_parents(source, &IgnoreRules::default()).unwrap()?;
            let all = found.iter().flat_map(|it| it.entries.iter().map(|entry| (it.path.clone(), entry.below.clone())));
            Some(all.map(|(top, path)| format!("{}|{}", top.display(), path.display())).collect::<Vec<_>>())
        };
        assert_eq!(below("src/deep/lib.rs").unwrap(), ["|", "|src", "|src/deep", "|src/deep/lib.rs"]);
        assert_eq!(below("./src/./deep").unwrap(), ["src|", "src|deep", "src|deep/lib.rs"]);
        assert_eq!(below("**/*.rs").unwrap(), ["|", "|src", "|src/deep", "|src/deep/lib.rs", "|src/main.rs"]);
        assert_eq!(below("s*/./*.rs").unwrap(), ["src|", "src|main.rs"]);
        assert_eq!(below("inside").unwrap(), ["|", "|inside"]);
        assert_eq!(below("src/nothing"), None);
        assert_eq!(below("*/nothing").unwrap(), Vec::<String>::new());
    }
}
