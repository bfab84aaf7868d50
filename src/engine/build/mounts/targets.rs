//! Where mounts go: a place that the image lacks is made for the time of the command, and is no change of the step's.
//!
//! What is missing stands in a layer at the very bottom (the stage's own hide it where they have it). Where that is not
//! seen, because a layer above has removed a folder on the way, the runtime makes the place in the upper directory;
//! [`Targets::clear`] takes what was left empty out again.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2, statat, unlinkat};
use rustix::io::Errno;

use crate::engine::build::tree::open_inside;

/// The places of a command's mounts that the image lacks.
#[derive(Debug, Default)]
pub(in crate::engine::build) struct Targets {
    missing: Vec<Missing>,
}

/// A place that is missing.
#[derive(Debug, PartialEq, Eq)]
struct Missing {
    /// Its path without links, relative to the root.
    path: PathBuf,
    /// How many of its last parts are missing.
    parts: usize,
    is_folder: bool,
}

impl Targets {
    /// Looks for `places` (absolute paths, and whether each is a folder) in the stage's file system.
    pub(in crate::engine::build) fn find(root: &OwnedFd, places: &[(String, bool)]) -> Self {
        let missing = places.iter().filter_map(|(path, is_folder)| missing(root, Path::new(path), *is_folder));
        Self { missing: missing.collect() }
    }

    /// Makes them below `bottom`.
    pub(in crate::engine::build) fn make(&self, bottom: &Path) -> io::Result<()> {
        for missing in &self.missing {
            let path = bottom.join(&missing.path);
            if missing.is_folder {
                fs::create_dir_all(&path)?;
            } else {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                // Where a folder is wanted there too, the later mount decides.
                match fs::File::create_new(&path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Takes out of `upper` what is there of them and empty. The command may have put links in the way: none is followed.
    pub(in crate::engine::build) fn clear(&self, upper: &Path) {
        let Ok(upper) = fs::File::open(upper) else { return };
        for missing in self.missing.iter().rev() {
            let mut path = missing.path.as_path();
            for _ in 0..missing.parts {
                if !remove_empty(upper.as_fd(), path) {
                    break;
                }
                path = path.parent().unwrap_or(Path::new(""));
            }
        }
    }
}

/// Whether nothing is left there.
fn remove_empty(top: BorrowedFd<'_>, path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let no_links = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let parent = match openat2(top, parent, flags, Mode::empty(), no_links) {
        Ok(parent) => parent,
        Err(errno) => return errno == Errno::NOENT,
    };
    let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(errno) => return errno == Errno::NOENT,
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => unlinkat(&parent, name, AtFlags::REMOVEDIR).is_ok(),
        FileType::RegularFile if stat.st_size == 0 => unlinkat(&parent, name, AtFlags::empty()).is_ok(),
        _ => false,
    }
}

/// What of `path` is missing; `None` where it is there.
fn missing(root: &OwnedFd, path: &Path, is_folder: bool) -> Option<Missing> {
    let parts: Vec<_> = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    for there in (0..=parts.len()).rev() {
        let (known, rest) = parts.split_at_checked(there)?;
        let known: PathBuf = known.iter().collect();
        let Ok(found) = open_inside(root.as_fd(), &known, OFlags::PATH) else { continue };
        if rest.is_empty() {
            return None;
        }
        // The kernel's name for it has no links; of a mount that is nowhere, it begins at the mount's own root.
        let real = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
        let top = fs::read_link(format!("/proc/self/fd/{}", root.as_raw_fd())).ok()?;
        let real = real.strip_prefix(&top).unwrap_or(&real);
        let real: PathBuf = real.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        return Some(Missing { path: real.join(rest.iter().collect::<PathBuf>()), parts: rest.len(), is_folder });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_below_and_taken_out_above() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["image/run", "image/var", "bottom", "upper"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        std::os::unix::fs::symlink("/run", at("image/var/run")).unwrap();
        let root: OwnedFd = fs::File::open(at("image")).unwrap().into();
        let places = [("/run", true), ("/var/run/secrets/a", false), ("/root/.cache/pip", true), ("/run/b", false)];
        let targets = Targets::find(&root, &places.map(|(path, is_folder)| (path.to_owned(), is_folder)));
        let paths: Vec<&Path> = targets.missing.iter().map(|missing| missing.path.as_path()).collect();
        assert_eq!(paths, [Path::new("run/secrets/a"), Path::new("root/.cache/pip"), Path::new("run/b")]);

        targets.make(&at("bottom")).unwrap();
        assert!(at("bottom/run/secrets/a").is_file() && at("bottom/root/.cache/pip").is_dir());

        targets.make(&at("upper")).unwrap();
        fs::write(at("upper/root/.cache/kept"), "x").unwrap();
        targets.clear(&at("upper"));
        assert!(!at("upper/run/secrets").exists() && !at("upper/run").join("b").exists());
        assert!(at("upper/root/.cache/kept").exists() && !at("upper/root/.cache/pip").exists());
    }

    #[test]
    fn a_link_of_the_commands_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["image", "upper", "host/b/c"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        let root: OwnedFd = fs::File::open(at("image")).unwrap().into();
        let targets = Targets::find(&root, &[("/a/b/c".to_owned(), true)]);
        // While its mount stood there, the command moved /a away and put a link in its place.
        std::os::unix::fs::symlink(at("host"), at("upper/a")).unwrap();
        targets.clear(&at("upper"));
        assert!(at("host/b/c").exists() && at("upper/a").is_symlink());
    }
}
