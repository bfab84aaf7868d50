//! Finding and making places inside a directory tree that can't be trusted.
//!
//! All paths are resolved by the kernel with `openat2(RESOLVE_IN_ROOT)` from the root's descriptor: symlinks on the way
//! stay inside, even while someone else changes the tree. The last component is never followed; it is always acted on
//! by name within its parent's descriptor.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, mkdirat, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use super::LayerError;
use super::archive::entry_error;

/// Longest path the kernel takes (`PATH_MAX`, with its NUL).
const PATH_MAX: usize = 4096;

/// An archive entry's name, checked: relative, no `.` or `..`, no empty component. Empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Checks a name from an archive.
    pub fn parse(name: &[u8]) -> Result<Self, LayerError> {
        if name.starts_with(b"/") && name.iter().any(|byte| !matches!(byte, b'/' | b'.')) {
            return Err(entry_error(name, "its name is an absolute path"));
        }
        Self::parse_named(name, name)
    }

    /// Checks the target of the hardlink entry `name`.
    pub fn parse_target(name: &[u8], target: &[u8]) -> Result<Self, LayerError> {
        if target.starts_with(b"/") {
            return Err(entry_error(name, "it is a hardlink to an absolute path"));
        }
        Self::parse_named(name, target)
    }

    fn parse_named(name: &[u8], text: &[u8]) -> Result<Self, LayerError> {
        let mut path = Vec::with_capacity(text.len());
        for component in text.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(entry_error(name, "its path climbs with ..")),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        if path.len() >= PATH_MAX {
            return Err(entry_error(name, "its path is longer than 4095 bytes"));
        }
        Ok(Self(path))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// For error texts.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parent's path and the last component.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (self.0.get(..at).unwrap_or_default(), self.0.get(at + 1..).unwrap_or_default()),
            None => (&[], &self.0),
        }
    }
}

/// A directory tree being written to.
pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// The parent opened last: archives name siblings one after another.
    last: Option<(Vec<u8>, Arc<OwnedFd>)>,
    /// Directories that no entry named, made because something is in them.
    pub implied: BTreeSet<Vec<u8>>,
}

impl<'a> Tree<'a> {
    pub fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, last: None, implied: BTreeSet::new() }
    }

    /// The directory `path`, opened only as a place (`O_PATH`), made with its parents where missing.
    pub fn directory(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, LayerError> {
        if let Some((known, fd)) = &self.last
            && known == path
        {
            return Ok(Arc::clone(fd));
        }
        let fd = match open_inside(self.root, path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => self.make(path)?,
            Err(Errno::NOTDIR) => return Err(entry_error(path, "something in its path is not a directory")),
            Err(Errno::LOOP) => return Err(entry_error(path, "symlinks in its path go round in a circle")),
            Err(errno) => return Err(failed("open", path, errno)),
        };
        let fd = Arc::new(fd);
        self.last = Some((path.to_owned(), Arc::clone(&fd)));
        Ok(fd)
    }

    /// Forgets the parent opened last; to be called when a directory or symlink went or came.
    pub fn forget(&mut self) {
        self.last = None;
    }

    fn make(&mut self, path: &[u8]) -> Result<OwnedFd, LayerError> {
        let mut current = open_inside(self.root, b"", OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|errno| failed("open", b"/", errno))?;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let prefix = path.get(..end).unwrap_or_default();
            current = match open_inside(self.root, prefix, OFlags::PATH | OFlags::DIRECTORY) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    let name = prefix.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                    match mkdirat(&current, name, Mode::from_raw_mode(0o755)) {
                        Ok(()) => self.implied.insert(prefix.to_owned()),
                        Err(Errno::EXIST) => {
                            return Err(entry_error(
                                path,
                                "a symlink in its path leads to nothing inside the archive's root",
                            ));
                        }
                        Err(errno) => return Err(failed("create", prefix, errno)),
                    };
                    open_inside(self.root, prefix, OFlags::PATH | OFlags::DIRECTORY)
                        .map_err(|errno| failed("open", prefix, errno))?
                }
                Err(Errno::NOTDIR) => return Err(entry_error(path, "something in its path is not a directory")),
                Err(errno) => return Err(failed("open", prefix, errno)),
            };
        }
        Ok(current)
    }
}

/// An I/O error about the entry `path`.
pub(super) fn failed(action: &'static str, path: &[u8], errno: Errno) -> LayerError {
    use std::os::unix::ffi::OsStrExt;
    LayerError::io(action, std::path::Path::new(std::ffi::OsStr::from_bytes(path)), io::Error::from(errno))
}

/// Opens `path` (relative) inside `root`; symlinks on the way stay inside.
pub(super) fn open_inside(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // The kernel answers EAGAIN when the tree was renamed under it while it looked for `..`.
    for _ in 0..16 {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the regular file `path` inside `root` for reading; symlinks on the way and at its end stay inside.
///
/// # Errors
/// The kernel's answer; `InvalidInput` for what is no regular file.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &std::path::Path) -> io::Result<std::fs::File> {
    let path = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let file = std::fs::File::from(open_inside(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// What stands at `name`, itself, not what it points to.
pub(super) fn look(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The file type of a stat.
pub(super) fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is overlayfs's whiteout.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    type_of(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Removes `name` and everything in it. `keep` may take a file away before it is unlinked; it says whether it did.
pub(super) fn remove(
    parent: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    keep: &mut dyn FnMut(BorrowedFd<'_>, &CStr, &Stat) -> Result<bool, Errno>,
) -> Result<(), Errno> {
    if type_of(stat) != FileType::Directory {
        return if keep(parent, name, stat)? { Ok(()) } else { unlinkat(parent, name, AtFlags::empty()) };
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        if let Some(stat) = look(dir.as_fd(), entry.file_name().to_bytes())? {
            remove(dir.as_fd(), entry.file_name(), &stat, keep)?;
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// A path that names `name` inside `parent` for calls that take no descriptor; the last component must not be followed.
pub(super) fn proc_path(parent: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = proc_fd(parent);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// A path that names what the descriptor has open.
pub(super) fn proc_fd(fd: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_or_refused() {
        let parse = |name: &str| EntryPath::parse(name.as_bytes()).map(|path| String::from_utf8(path.0).unwrap());
        for (name, clean) in [("./a//b/", "a/b"), ("./", ""), (".", ""), ("/", ""), ("a/./b", "a/b"), ("...", "...")] {
            assert_eq!(parse(name).unwrap(), clean, "{name}");
        }
        for name in ["..", "a/../b", "../a", "/etc/passwd", "a/.."] {
            let error = parse(name).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }
}
