//! A second directory tree with the files of a first: folders are made anew, everything else is one more name of the same.
//!
//! Layers are never written to, so the trees may share their files for as long as either lives.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tokio_util::sync::CancellationToken;
use xattr::FileExt;

use super::{LayerError, go_on};

/// Fills the folder `to` with what is in `from`, except for the names `without` at its top; fails between two files once
/// `cancel` is called.
pub(crate) fn tree(from: &Path, to: &Path, without: &[&str], cancel: &CancellationToken) -> Result<(), LayerError> {
    let told = |path: &Path| {
        let path = path.to_owned();
        move |source| LayerError::io("share", path, source)
    };
    for entry in fs::read_dir(from).map_err(told(from))? {
        let entry = entry.map_err(told(from))?;
        go_on(cancel).map_err(told(from))?;
        let (name, path) = (entry.file_name(), entry.path());
        if without.iter().any(|left| name == *left) {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().map_err(told(&path))?.is_dir() {
            fs::create_dir(&target).map_err(told(&path))?;
            tree(&path, &target, &[], cancel)?;
            like(&path, &target).map_err(told(&path))?;
        } else {
            fs::hard_link(&path, &target).map_err(told(&path))?;
        }
    }
    Ok(())
}

/// Gives a folder the owner, mode, attributes and times of another.
fn like(from: &Path, to: &Path) -> std::io::Result<()> {
    let stat = fs::symlink_metadata(from)?;
    let (source, target) = (fs::File::open(from)?, fs::File::open(to)?);
    std::os::unix::fs::fchown(&target, Some(stat.uid()), Some(stat.gid()))?;
    target.set_permissions(fs::Permissions::from_mode(stat.mode() & 0o7777))?;
    for name in source.list_xattr()? {
        if let Some(value) = source.get_xattr(&name)? {
            target.set_xattr(&name, &value)?;
        }
    }
    let time = Timespec { tv_sec: stat.mtime(), tv_nsec: stat.mtime_nsec() };
    utimensat(CWD, to, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_shared_and_folders_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("diff/a")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("diff/a/f"), "x").unwrap();
        fs::write(from.join("layer.json"), "").unwrap();
        std::os::unix::fs::symlink("f", from.join("diff/a/l")).unwrap();
        fs::set_permissions(from.join("diff/a"), fs::Permissions::from_mode(0o1750)).unwrap();
        tree(&from, &to, &["layer.json"], &CancellationToken::new()).unwrap();
        assert!(!to.join("layer.json").exists());
        let inode = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
        assert_eq!(inode(&from.join("diff/a/f")), inode(&to.join("diff/a/f")));
        assert_eq!(fs::read_link(to.join("diff/a/l")).unwrap(), Path::new("f"));
        let (old, new) = (from.join("diff/a").metadata().unwrap(), to.join("diff/a").metadata().unwrap());
        assert_eq!((old.mode(), old.mtime()), (new.mode(), new.mtime()));
        assert_ne!(old.ino(), new.ino());

        let cancel = CancellationToken::new();
        cancel.cancel();
        let refused = tree(&from, &folder.path().join("other"), &[], &cancel).unwrap_err().to_string();
        assert!(refused.ends_with("it was cancelled"), "{refused}");
    }
}
