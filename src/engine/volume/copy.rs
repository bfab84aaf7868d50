//! Copying an image's content into an empty volume, by directory descriptors: owner, mode, times, extended attributes,
//! hard links, links and device nodes as they are. Nothing is followed out of either tree.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat, mknodat, openat, openat2,
    readlinkat, statat, symlinkat, utimensat,
};

/// Copies what is at `path` in the tree `root` into the folder `volume`, where that is empty. Nothing at `path`: nothing
/// to copy.
///
/// # Errors
/// The disk refuses; or `path` is a file, which no volume can be.
pub fn copy_up(root: BorrowedFd<'_>, path: &str, volume: BorrowedFd<'_>) -> io::Result<()> {
    if !is_empty(volume)? {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let source = match openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(source) => source,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let stat = fstat(&source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        let text = format!("cannot mount volume over existing file, file exists {path}");
        return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
    }
    let volume = openat(volume, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut copied = HashMap::new();
    copy_folder(&source, &volume, "", volume.as_fd(), &mut copied)?;
    keep_metadata(&source, &volume, &stat)
}

/// Files with several names that have been copied: inode to the path of the copy, from the volume's root.
type Copied = HashMap<(u64, u64), String>;

fn is_empty(folder: BorrowedFd<'_>) -> io::Result<bool> {
    let folder = openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        if !is_dots(entry.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy_folder(from: &OwnedFd, to: &OwnedFd, path: &str, top: BorrowedFd<'_>, copied: &mut Copied) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        let path = format!("{path}{}", name.to_string_lossy());
        copy_entry(from, to, name, &path, top, copied)
            .map_err(|error| io::Error::new(error.kind(), format!("copy {path}: {error}")))?;
    }
    Ok(())
}

fn copy_entry(
    from: &OwnedFd,
    to: &OwnedFd,
    name: &CStr,
    path: &str,
    top: BorrowedFd<'_>,
    copied: &mut Copied,
) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Directory && stat.st_nlink > 1 {
        match copied.get(&(stat.st_dev, stat.st_ino)) {
            Some(first) => return Ok(linkat(top, first.as_str(), to, name, AtFlags::empty())?),
            None => drop(copied.insert((stat.st_dev, stat.st_ino), path.to_owned())),
        }
    }
    match kind {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU)?;
            let (source, target) = (open_folder(from, name)?, open_folder(to, name)?);
            copy_folder(&source, &target, &format!("{path}/"), top, copied)?;
            keep_metadata(&source, &target, &stat)
        }
        FileType::RegularFile => {
            let source = openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
            let (mut source, mut target) = (File::from(source), File::from(target));
            io::copy(&mut source, &mut target)?;
            keep_metadata(&source, &target, &stat)
        }
        FileType::Symlink => {
            let link: CString = readlinkat(from, name, Vec::new())?;
            symlinkat(link.as_c_str(), to, name)?;
            keep_owner_and_times(to, name, &stat)
        }
        _ => {
            mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev)?;
            rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
            keep_owner_and_times(to, name, &stat)
        }
    }
}

fn open_folder(parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Owner first, since a change of owner clears set-user-id bits and capabilities.
fn keep_metadata(from: impl AsFd, to: impl AsFd, stat: &Stat) -> io::Result<()> {
    fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(&to, Mode::from_raw_mode(stat.st_mode))?;
    copy_attributes(from, &to)?;
    Ok(futimens(&to, &times(stat))?)
}

fn keep_owner_and_times(folder: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(utimensat(folder, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(stat: &Stat) -> Timestamps {
    let at = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    Timestamps {
        last_access: at(stat.st_atime, stat.st_atime_nsec),
        last_modification: at(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn copy_attributes(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    const LONGEST: usize = 64 * 1024;
    let mut names = vec![0; LONGEST];
    let length = match flistxattr(&from, names.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut value = vec![0; LONGEST];
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // The overlay's own marks say nothing outside of it.
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let length = fgetxattr(&from, name, value.as_mut_slice())?;
        match fsetxattr(&to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn content_comes_over_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (root, volume) = (folder.path().join("root"), folder.path().join("volume"));
        fs::create_dir_all(root.join("data/sub")).unwrap();
        fs::create_dir(&volume).unwrap();
        fs::write(root.join("data/sub/file"), "hello").unwrap();
        fs::set_permissions(root.join("data/sub/file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::hard_link(root.join("data/sub/file"), root.join("data/twin")).unwrap();
        symlink("/etc/passwd", root.join("data/link")).unwrap();
        chown(root.join("data"), Some(999), Some(998)).unwrap();
        fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o700)).unwrap();
        // The image reaches it by a link, which must not lead out of the image.
        symlink("/data", root.join("srv")).unwrap();

        copy_up(open(&root).as_fd(), "/srv", open(&volume).as_fd()).unwrap();

        let top = fs::metadata(&volume).unwrap();
        assert_eq!((top.uid(), top.gid(), top.mode() & 0o7777), (999, 998, 0o700));
        let file = fs::metadata(volume.join("sub/file")).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o4750);
        assert_eq!(file.ino(), fs::metadata(volume.join("twin")).unwrap().ino());
        assert_eq!(fs::read_link(volume.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::read_to_string(volume.join("twin")).unwrap(), "hello");
    }

    #[test]
    fn a_volume_with_content_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (root, volume) = (folder.path().join("root"), folder.path().join("volume"));
        fs::create_dir_all(root.join("data")).unwrap();
        fs::write(root.join("data/new"), "").unwrap();
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("old"), "").unwrap();
        copy_up(open(&root).as_fd(), "/data", open(&volume).as_fd()).unwrap();
        assert!(!volume.join("new").exists());
        fs::remove_file(volume.join("old")).unwrap();
        copy_up(open(&root).as_fd(), "/nowhere", open(&volume).as_fd()).unwrap();
        assert!(!volume.join("new").exists());
        let refusal = copy_up(open(&root).as_fd(), "/data/new", open(&volume).as_fd()).unwrap_err();
        assert_eq!(refusal.to_string(), "cannot mount volume over existing file, file exists /data/new");
    }
}
