//! What a container has changed against its image (`docker diff`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use bollard_stubs::models as docker;
use docker::{ChangeType, FilesystemChange};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::LayerError;
use super::place::{is_whiteout, look, type_of};
use super::write::is_opaque;

const MODIFIED: ChangeType = ChangeType::_0;
const ADDED: ChangeType = ChangeType::_1;
const DELETED: ChangeType = ChangeType::_2;

/// The changes that `upper` makes to `lowers` (top first), sorted by path.
///
/// # Errors
/// [`LayerError::Io`] where a directory can't be read.
pub fn changes(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<FilesystemChange>, LayerError> {
    let open = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).map_err(|errno| LayerError::io("open", path, errno))
    };
    let lowers: Vec<OwnedFd> = lowers.iter().map(|lower| open(lower)).collect::<Result<_, _>>()?;
    let mut found = Vec::new();
    walk(&open(upper)?, &lowers, "", &mut found).map_err(|errno| LayerError::io("read", upper, errno))?;
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// What the layers below hold under one name.
enum Below {
    Nothing,
    File,
    /// The directories that merge there, top first.
    Directories(Vec<OwnedFd>),
}

fn walk(upper: &OwnedFd, lowers: &[OwnedFd], path: &str, found: &mut Vec<FilesystemChange>) -> Result<(), Errno> {
    let record = |found: &mut Vec<FilesystemChange>, path, kind| found.push(FilesystemChange { path, kind });
    let mut below = Vec::new();
    for name in names(upper)? {
        let Some(stat) = look(upper.as_fd(), &name)? else { continue };
        let child = format!("{path}/{}", String::from_utf8_lossy(&name));
        let under = find(lowers, &name)?;
        let exists = !matches!(under, Below::Nothing);
        if is_whiteout(&stat) {
            if exists {
                record(found, child, DELETED);
            }
            continue;
        }
        let is_directory = type_of(&stat) == FileType::Directory;
        let lowers = if let Below::Directories(lowers) = under { lowers } else { Vec::new() };
        // A directory whose time alone is new is changed by what is in it, or not at all.
        let is_same = match lowers.first() {
            Some(lower) if is_directory => {
                let lower = fstat(lower)?;
                (lower.st_mode, lower.st_uid, lower.st_gid) == (stat.st_mode, stat.st_uid, stat.st_gid)
            }
            _ => false,
        };
        if !is_same {
            record(found, child.clone(), if exists { MODIFIED } else { ADDED });
        }
        if is_directory {
            below.push((name, child, lowers, is_same));
        }
    }
    for (name, child, lowers, is_same) in below {
        let dir = open_child(upper.as_fd(), &name)?;
        let before = found.len();
        if is_opaque(&dir) {
            for gone in merged_names(&lowers)? {
                if look(dir.as_fd(), &gone)?.is_none() {
                    let path = format!("{child}/{}", String::from_utf8_lossy(&gone));
                    found.push(FilesystemChange { path, kind: DELETED });
                }
            }
        }
        walk(&dir, &lowers, &child, found)?;
        if is_same && found.len() > before {
            record(found, child, MODIFIED);
        }
    }
    Ok(())
}

/// Looks `name` up in the merged `lowers`, as overlayfs does: a whiteout or a file ends the search.
fn find(lowers: &[OwnedFd], name: &[u8]) -> Result<Below, Errno> {
    let mut directories = Vec::new();
    for lower in lowers {
        let Some(stat) = look(lower.as_fd(), name)? else { continue };
        if is_whiteout(&stat) {
            break;
        }
        if type_of(&stat) != FileType::Directory {
            return Ok(if directories.is_empty() { Below::File } else { Below::Directories(directories) });
        }
        let dir = open_child(lower.as_fd(), name)?;
        let is_last = is_opaque(&dir);
        directories.push(dir);
        if is_last {
            break;
        }
    }
    Ok(if directories.is_empty() { Below::Nothing } else { Below::Directories(directories) })
}

fn merged_names(lowers: &[OwnedFd]) -> Result<Vec<Vec<u8>>, Errno> {
    let mut all = Vec::new();
    for lower in lowers {
        all.extend(names(lower)?);
    }
    all.sort_unstable();
    all.dedup();
    let mut present = Vec::new();
    for name in all {
        if !matches!(find(lowers, &name)?, Below::Nothing) {
            present.push(name);
        }
    }
    Ok(present)
}

fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn open_child(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd;

    use super::super::{OverlayStack, detached_root};
    use super::*;

    #[test]
    fn additions_changes_and_deletions_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let dir = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let stack = OverlayStack {
            lowers: vec![dir("high"), dir("low")],
            upper: dir("upper"),
            work: dir("work"),
            is_volatile: false,
        };
        for (at, path) in [(1, "etc"), (1, "old"), (0, "etc"), (1, "same")] {
            fs::create_dir(stack.lowers[at].join(path)).unwrap();
        }
        for (at, path) in [(1, "etc/a"), (0, "etc/b"), (1, "old/x"), (1, "gone")] {
            fs::write(stack.lowers[at].join(path), "x").unwrap();
        }

        let root = detached_root(&stack).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
        fs::write(path.join("etc/a"), "changed").unwrap();
        fs::write(path.join("etc/new"), "new").unwrap();
        fs::remove_file(path.join("gone")).unwrap();
        fs::remove_dir_all(path.join("old")).unwrap();
        fs::create_dir(path.join("old")).unwrap();
        fs::write(path.join("old/y"), "y").unwrap();
        fs::remove_dir_all(path.join("same")).unwrap();
        fs::create_dir(path.join("same")).unwrap();
        drop(root);

        let found = changes(&stack.upper, &stack.lowers).unwrap();
        let shown: Vec<String> = found.iter().map(|change| format!("{} {}", change.kind as u8, change.path)).collect();
        assert_eq!(shown, ["0 /etc", "0 /etc/a", "1 /etc/new", "2 /gone", "0 /old", "2 /old/x", "1 /old/y"]);
    }
}
