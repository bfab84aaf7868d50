//! Packs a directory into a tar archive, the same bytes for the same tree every time.

//!
//! Entries come sorted by name, times in whole seconds, and a file with several names is written at its first one; so a
//! layer that was never a tar (a build's) has one digest for good. [`FORMAT`] counts the changes to this promise.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Dir, FileType, Mode, OFlags, Stat, fgetxattr, fstat, lgetxattr, llistxattr, major, minor, openat, readlinkat,
};
use rustix::io::Errno;

use super::apply::{OPAQUE, OVERLAY_OPAQUE, WHITEOUT};
use super::header::{BLOCK, NewHeader, Records, kind, padding};
use super::place::{failed, is_whiteout, look, open_inside, proc_path, type_of};
use super::tape::{CopyError, copy};
use super::{LayerError, Whiteouts};
use crate::engine::remap::Shift;

/// Changes whenever the same tree would give other bytes than before.
pub(super) const FORMAT: u32 = 1;
/// The longest extended attribute the kernel allows (`XATTR_SIZE_MAX`) and the longest list of names.
const XATTR_MAX: usize = 64 << 10;

/// How [`write_tar`] names and reads things.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// What the top of the tree is called in the archive; empty: the entries stand at the archive's root; `/`: they
    /// are absolute.
    pub name: PathBuf,
    /// `ToOverlay`: overlayfs's whiteouts are written as `.wh.` entries (a layer). `AsIs`: the tree is an ordinary one.
    pub whiteouts: Whiteouts,
    /// The tree is seen from outside of a user namespace; the archive gets the ids it has inside.
    pub shift: Option<Shift>,
    /// Directories, as the archive names them, that are written without what is in them.
    pub hollow: Vec<PathBuf>,
    /// Directories, as the archive would name them, that get no entry of their own.
    pub unnamed: Vec<PathBuf>,
    /// All times are written as 0, so that what differs in nothing else is the same.
    pub is_timeless: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            name: PathBuf::new(),
            whiteouts: Whiteouts::AsIs,
            shift: None,
            hollow: Vec::new(),
            unnamed: Vec::new(),
            is_timeless: false,
        }
    }
}

/// Writes `sub` (a file or a whole directory, relative to `dir`, resolved inside it; the last component is not
/// followed) as a tar archive.
///
/// # Errors
/// [`LayerError::Io`] with the path, where the disk refuses.
pub fn write_tar(
    dir: BorrowedFd<'_>,
    sub: &Path,
    options: &WriteOptions,
    writer: impl Write,
) -> Result<(), LayerError> {
    pack(dir, sub, options, writer).map(|_| ())
}

/// As [`write_tar`]; answers how many bytes of file content were written.
pub(super) fn pack(
    dir: BorrowedFd<'_>,
    sub: &Path,
    options: &WriteOptions,
    writer: impl Write,
) -> Result<u64, LayerError> {
    let sub = sub.as_os_str().as_bytes();
    let sub = sub.strip_prefix(b"/").unwrap_or(sub);
    let name = options.name.as_os_str().as_bytes();
    let name = name.strip_prefix(b"/").filter(|rest| !rest.is_empty()).unwrap_or(name);
    let mut packer = Packer {
        writer,
        whiteouts: options.whiteouts,
        shift: options.shift,
        hollow: &options.hollow,
        unnamed: &options.unnamed,
        is_timeless: options.is_timeless,
        links: HashMap::new(),
        bytes: 0,
    };
    let place = open_inside(dir, sub, OFlags::PATH | OFlags::NOFOLLOW).map_err(|errno| failed("open", sub, errno))?;
    let stat = fstat(&place).map_err(|errno| failed("look at", sub, errno))?;
    if type_of(&stat) == FileType::Directory {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let top = open_inside(dir, sub, flags).map_err(|errno| failed("open", sub, errno))?;
        packer.top(&top, name, &stat)?;
    } else {
        let (parent, last) = match sub.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (sub.get(..at).unwrap_or_default(), sub.get(at + 1..).unwrap_or_default()),
            None => (&[][..], sub),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = open_inside(dir, parent, flags).map_err(|errno| failed("open", sub, errno))?;
        packer.entry(parent.as_fd(), last, if name.is_empty() { last } else { name }, &stat)?;
    }
    packer.put(&[0; 2 * BLOCK])?;
    packer.writer.flush().map_err(|source| LayerError::io("write", "archive", source))?;
    Ok(packer.bytes)
}

struct Packer<'a, W> {
    writer: W,
    whiteouts: Whiteouts,
    shift: Option<Shift>,
    hollow: &'a [PathBuf],
    unnamed: &'a [PathBuf],
    is_timeless: bool,
    /// Files with several names, by device and inode: the name they were written under.
    links: HashMap<(u64, u64), Vec<u8>>,
    bytes: u64,
}

impl<W: Write> Packer<'_, W> {
    fn top(&mut self, top: &OwnedFd, name: &[u8], stat: &Stat) -> Result<(), LayerError> {
        // A layer's root is only worth an entry where it differs from what unpacking makes anyway.
        let is_plain = stat.st_mode & 0o7777 == 0o755 && stat.st_uid == 0 && stat.st_gid == 0;
        let is_plain = is_plain || self.is_unnamed(name);
        if !name.is_empty() {
            self.directory_entry(top.as_fd(), b".", name, stat)?;
        } else if !is_plain {
            self.directory_entry(top.as_fd(), b".", b".", stat)?;
        }
        if self.is_hollow(name) {
            return Ok(());
        }
        let prefix = if name.is_empty() { Vec::new() } else { as_folder(name) };
        self.children(top, &prefix)
    }

    fn is_hollow(&self, path: &[u8]) -> bool {
        self.hollow.iter().any(|hollow| hollow.as_os_str().as_bytes() == path)
    }

    fn is_unnamed(&self, path: &[u8]) -> bool {
        self.unnamed.iter().any(|unnamed| unnamed.as_os_str().as_bytes() == path)
    }

    fn children(&mut self, dir: &OwnedFd, prefix: &[u8]) -> Result<(), LayerError> {
        let told = |errno| failed("read", prefix, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(dir).map_err(told)? {
            let entry = entry.map_err(told)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_bytes().to_vec());
            }
        }
        names.sort_unstable();
        if self.whiteouts == Whiteouts::ToOverlay && is_opaque(dir) {
            self.marker(&[prefix, OPAQUE].concat())?;
        }
        for name in names {
            let path = [prefix, &name].concat();
            // It may go between listing and looking, in a running container.
            if let Some(stat) = look(dir.as_fd(), &name).map_err(|errno| failed("look at", &path, errno))? {
                self.entry(dir.as_fd(), &name, &path, &stat)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8], stat: &Stat) -> Result<(), LayerError> {
        let told = |action| move |errno| failed(action, path, errno);
        if self.whiteouts == Whiteouts::ToOverlay && is_whiteout(stat) {
            let at = path.len() - name.len();
            return self.marker(&[path.get(..at).unwrap_or_default(), WHITEOUT, name].concat());
        }
        let file_type = type_of(stat);
        if file_type == FileType::Directory {
            if !self.is_unnamed(path) {
                self.directory_entry(parent, name, path, stat)?;
            }
            if self.is_hollow(path) {
                return Ok(());
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = openat(parent, name, flags, Mode::empty()).map_err(told("open"))?;
            return self.children(&dir, &[path, b"/"].concat());
        }
        let mut header = self.header_of(stat, path);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let link = first.clone();
                (header.kind, header.link) = (kind::HARDLINK, &link);
                let blocks = header.blocks();
                return self.put(&blocks);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        header.pax = xattrs(&proc_path(parent, name)).map_err(told("read extended attributes of"))?;
        let target;
        match file_type {
            FileType::RegularFile => return self.file(parent, name, header, stat),
            FileType::Symlink => {
                target = readlinkat(parent, name, Vec::new()).map_err(told("read"))?;
                (header.kind, header.link) = (kind::SYMLINK, target.to_bytes());
                header.mode = 0o777;
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                header.kind = if file_type == FileType::CharacterDevice { kind::CHAR } else { kind::BLOCK };
                header.device = (major(stat.st_rdev), minor(stat.st_rdev));
            }
            FileType::Fifo => header.kind = kind::FIFO,
            // A socket means nothing without the process that listens on it.
            _ => return Ok(()),
        }
        let blocks = header.blocks();
        self.put(&blocks)
    }

    fn directory_entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> Result<(), LayerError> {
        let path = as_folder(path);
        let mut header = self.header_of(stat, &path);
        header.kind = kind::DIRECTORY;
        header.pax =
            xattrs(&proc_path(parent, name)).map_err(|errno| failed("read extended attributes of", &path, errno))?;
        let blocks = header.blocks();
        self.put(&blocks)
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        mut header: NewHeader<'_>,
        stat: &Stat,
    ) -> Result<(), LayerError> {
        let path = header.name;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::empty()).map_err(|errno| failed("open", path, errno))?;
        let now = fstat(&file).map_err(|errno| failed("look at", path, errno))?;
        if (now.st_ino, now.st_dev) != (stat.st_ino, stat.st_dev) {
            return Err(failed("read", path, Errno::STALE));
        }
        let size = u64::try_from(now.st_size).unwrap_or(0);
        (header.kind, header.size) = (kind::REGULAR, size);
        let blocks = header.blocks();
        self.put(&blocks)?;
        let mut file = File::from(file);
        match copy(&mut file, size, &mut self.writer) {
            Ok(()) => {}
            Err(CopyError::Read(source)) => {
                return Err(LayerError::io("read", Path::new(std::ffi::OsStr::from_bytes(path)), source));
            }
            Err(CopyError::Write(source)) => return Err(LayerError::io("write", "archive", source)),
        }
        self.bytes += size;
        let zeros = [0; BLOCK];
        self.put(zeros.get(..padding(size)).unwrap_or_default())
    }

    /// An empty file that is an instruction to whoever unpacks the layer.
    fn marker(&mut self, path: &[u8]) -> Result<(), LayerError> {
        let header = NewHeader { kind: kind::REGULAR, name: path, mode: 0o644, ..NewHeader::default() };
        let blocks = header.blocks();
        self.put(&blocks)
    }

    fn header_of<'a>(&self, stat: &Stat, path: &'a [u8]) -> NewHeader<'a> {
        let mut header = header_of(stat, path);
        if self.is_timeless {
            header.mtime = 0;
        }
        match self.shift {
            Some(shift) => NewHeader { uid: shift.uid.inside(header.uid), gid: shift.gid.inside(header.gid), ..header },
            None => header,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.writer.write_all(bytes).map_err(|source| LayerError::io("write", "archive", source))
    }
}

/// With a slash at its end.
fn as_folder(path: &[u8]) -> Vec<u8> {
    if path.ends_with(b"/") { path.to_vec() } else { [path, b"/"].concat() }
}

fn header_of<'a>(stat: &Stat, path: &'a [u8]) -> NewHeader<'a> {
    NewHeader {
        name: path,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        ..NewHeader::default()
    }
}

pub(super) fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0; 4];
    fgetxattr(dir, OVERLAY_OPAQUE, &mut value[..]).is_ok_and(|length| value.get(..length) == Some(b"y"))
}

/// The extended attributes worth keeping, as PAX records: file capabilities and what users set.
fn xattrs(place: &[u8]) -> Result<Records, Errno> {
    let mut names = Vec::with_capacity(512);
    match llistxattr(place, rustix::buffer::spare_capacity(&mut names)) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            names.reserve(XATTR_MAX);
            llistxattr(place, rustix::buffer::spare_capacity(&mut names))?;
        }
        other => {
            other?;
        }
    }
    let mut records = Vec::new();
    for name in names.split(|byte| *byte == 0) {
        let is_kept = name == b"security.capability" || name.starts_with(b"user.");
        if !is_kept || name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = Vec::with_capacity(XATTR_MAX);
        match lgetxattr(place, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => records.push(([b"SCHILY.xattr.", name].concat(), value)),
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(records)
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
