//! Where a path leads inside a container: every link followed, as the container's own processes would follow it.
//!
//! The kernel opens paths for us (openat2, RESOLVE_IN_ROOT); this tells the name of what it opens, which Docker's
//! answers and refusals are about. What is missing is kept as it was written, so a link that leads nowhere has a name.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;

/// How many links a path may lead through, as in Docker.
const MOST_LINKS: usize = 255;

/// The absolute path in `root` that `path` leads to.
///
/// # Errors
/// `LOOP` for links that lead in a circle; else the kernel's answer.
pub(super) fn resolve(root: &OwnedFd, path: &Path) -> Result<PathBuf, Errno> {
    let mut pending: VecDeque<OsString> = parts(path).collect();
    let mut done = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = pending.pop_front() {
        if part == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        let Some(target) = link_at(root, &next)? else {
            done = next;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        if target.is_absolute() {
            done = PathBuf::from("/");
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            pending.push_front(part);
        }
    }
    Ok(done)
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// What the link at `path` says; `None` where there is none.
fn link_at(root: &OwnedFd, path: &Path) -> Result<Option<PathBuf>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = match openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    match readlinkat(&place, "", Vec::new()) {
        Ok(target) => Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes())))),
        // not a link; or one of the kernel's that says nothing to whoever is not in the container
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_inside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let links = [("/a", "abs"), ("../../../a/b", "up"), ("abs/b", "chain"), ("/no/such", "broken"), ("l2", "l1")];
        for (target, name) in links.into_iter().chain([("l1", "l2"), ("/abs", "a/back")]) {
            symlink(target, folder.path().join(name)).unwrap();
        }
        let root: OwnedFd = std::fs::File::open(folder.path()).unwrap().into();
        let check = |path: &str, leads: &str| assert_eq!(resolve(&root, Path::new(path)), Ok(leads.into()), "{path}");
        check("", "/");
        check("abs", "/a");
        check("up", "/a/b");
        check("chain/../x", "/a/x");
        check("a/back/back/b", "/a/b");
        check("broken/y", "/no/such/y");
        check("../../a/.", "/a");
        assert_eq!(resolve(&root, Path::new("l1")), Err(Errno::LOOP));
    }
}
