//! Where a build's output goes on this machine: a file, a folder or standard output.
//!
//! What the engine sends is whole before anything of it can be seen: a file is renamed into its place, a folder is filled
//! beside its place and then moved in, entry by entry where there is one already.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::bail;
use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::buildkit::session::{Ask, Channel};
use crate::client::build_session::{Provide, Serving};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Chunks that may wait for the disk.
const AHEAD: usize = 16;

/// Where something goes on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A tar, as it comes, into a file.
    File(PathBuf),
    /// A tar's entries into a folder.
    Folder(PathBuf),
    /// A tar to standard output.
    Standard,
}

impl Sink {
    /// What can be known before anything is built.
    pub fn refuse_early(&self) -> anyhow::Result<()> {
        match self {
            Sink::File(path) if path.is_dir() => {
                bail!("output {}: a folder, and a file is to be written", path.display())
            }
            Sink::File(path) if !parent(path).is_dir() => {
                bail!("output {}: there is no such folder", parent(path).display())
            }
            Sink::Folder(path) if path.exists() && !path.is_dir() => {
                bail!("output {}: no folder, and files are to be written into it", path.display())
            }
            _ => Ok(()),
        }
    }

    /// Takes a tar and puts it in its place.
    fn take(&self, mut tar: impl Read) -> io::Result<()> {
        match self {
            Sink::Standard => {
                let mut out = io::stdout().lock();
                io::copy(&mut tar, &mut out)?;
                out.flush()
            }
            Sink::File(path) => put(path, |file| io::copy(&mut tar, file).map(drop)),
            Sink::Folder(path) => {
                fs::create_dir_all(parent(path)).map_err(|error| naming(parent(path), &error))?;
                let filled = folder_beside(path)?;
                let mut archive = tar::Archive::new(&mut tar);
                archive.set_preserve_permissions(true);
                archive.set_preserve_mtime(true);
                archive.set_overwrite(true);
                archive.unpack(filled.path())?;
                // What follows the archive's end is read too, so that a failure told there is not missed.
                io::copy(&mut tar, &mut io::sink())?;
                if fs::symlink_metadata(path).is_err() {
                    let filled = filled.keep();
                    return fs::rename(&filled, path).map_err(|error| naming(path, &error));
                }
                refuse_conflicts(filled.path(), path)?;
                merge(filled.path(), path)
            }
        }
    }
}

/// Writes a file and puts it in its place once it is whole. Links are followed, and what is no file, like `/dev/null` or a
/// pipe, is written to; so is `/dev/stdout`, whatever stands behind it.
fn put(path: &Path, write: impl FnOnce(&mut fs::File) -> io::Result<()>) -> io::Result<()> {
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_ours = ["/dev/", "/proc/"].iter().all(|folder| !path.starts_with(folder));
    if !is_ours || fs::metadata(&place).is_ok_and(|there| !there.is_file()) {
        let mut file = fs::OpenOptions::new().append(true).open(path).map_err(|error| naming(path, &error))?;
        return write(&mut file);
    }
    let file = beside().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(parent(&place));
    let mut file = file.map_err(|error| naming(parent(&place), &error))?;
    write(file.as_file_mut())?;
    file.persist(&place).map(drop).map_err(|error| naming(path, &error.error))
}

/// Removes what an earlier build left at `path`, where that is a file.
pub fn clear(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|there| there.is_file()) {
        // What can't be removed can't be written either, and that is told then.
        let _ = fs::remove_file(path);
    }
}

/// How what is being made is called, in the folder where it belongs.
fn beside() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".boxyard-output-");
    builder
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("/"))
}

/// A folder to fill, from where its entries can be renamed into `path`: beside it, or in it where that is another file
/// system or may not be written to.
fn folder_beside(path: &Path) -> io::Result<tempfile::TempDir> {
    let new = |folder: &Path| {
        let made = beside().permissions(fs::Permissions::from_mode(0o755)).tempdir_in(folder);
        made.map_err(|error| naming(folder, &error))
    };
    let (Ok(there), around) = (fs::metadata(path), fs::metadata(parent(path))?) else { return new(parent(path)) };
    if there.dev() != around.dev() {
        return new(path);
    }
    new(parent(path)).or_else(|_| new(path))
}

/// Refuses what can't become one, before anything is moved.
fn refuse_conflicts(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        let Ok(there) = fs::symlink_metadata(&place) else { continue };
        match (entry.file_type()?.is_dir(), there.is_dir()) {
            (true, true) => refuse_conflicts(&entry.path(), &place)?,
            (false, false) => {}
            (is_folder, _) => {
                let (new, old) = if is_folder { ("a folder", "none") } else { ("no folder", "one") };
                let words = format!("{}: the result has {new} there, the destination has {old}", place.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, words));
            }
        }
    }
    Ok(())
}

/// Moves all that is in `from` to `to`; folders become one, anything else is replaced.
fn merge(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        let is_folder = entry.file_type()?.is_dir();
        match fs::symlink_metadata(&place) {
            Ok(there) if is_folder && there.is_dir() => {
                merge(&entry.path(), &place)?;
                fs::set_permissions(&place, entry.metadata()?.permissions()).map_err(|error| naming(&place, &error))?;
            }
            _ => fs::rename(entry.path(), &place).map_err(|error| naming(&place, &error))?,
        }
    }
    Ok(())
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Provide for Sink {
    fn serve<'a>(&'a self, _: &'a Ask, channel: &'a mut Channel) -> Serving<'a> {
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(AHEAD);
            let sink = self.clone();
            let taking = tokio::task::spawn_blocking(move || {
                sink.take(Arriving { receiver, chunk: Bytes::new(), has_ended: false })
            });
            let mut buffer = vec![0; CHUNK];
            loop {
                let read = channel.read(&mut buffer).await;
                let is_end = matches!(read, Ok(0));
                let failed = read.is_err();
                let chunk = read.map(|count| Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default()));
                // Whoever takes it may have given up; why, is its own answer.
                if sender.send(chunk).await.is_err() || is_end || failed {
                    break;
                }
            }
            drop(sender);
            taking.await.map_err(io::Error::other)?
        })
    }
}

/// What arrives, read by a thread. Only an empty chunk is the end: without one the connection broke.
struct Arriving {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
    has_ended: bool,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !self.has_ended {
            let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the build ended before its output did");
            self.chunk = self.receiver.blocking_recv().ok_or_else(broken)??;
            self.has_ended = self.chunk.is_empty();
        }
        let count = self.chunk.len().min(buffer.len());
        let taken = self.chunk.split_to(count);
        buffer.get_mut(..count).unwrap_or_default().copy_from_slice(&taken);
        Ok(count)
    }
}

/// Writes a small file whole.
///
/// # Errors
/// The disk's refusal, naming the file.
pub fn write_whole(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = |file: &mut fs::File| file.write_all(content).map_err(|error| naming(path, &error));
    put(&std::path::absolute(path)?, write).map_err(|error| anyhow::anyhow!("write {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o640);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_folder_is_made_or_merged_into() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("deep/out");
        let sink = Sink::Folder(out.clone());
        sink.take(&tar_of(&[("a/one", "1"), ("b", "2")])[..]).unwrap();
        fs::write(out.join("a/mine"), "kept").unwrap();
        sink.take(&tar_of(&[("a/one", "changed"), ("a/two", "2")])[..]).unwrap();
        let read = |path: &str| fs::read_to_string(out.join(path)).unwrap();
        assert_eq!([read("a/one"), read("a/two"), read("a/mine"), read("b")], ["changed", "2", "kept", "2"]);
        let error = sink.take(&tar_of(&[("a", "no folder")])[..]).unwrap_err().to_string();
        assert!(error.ends_with("deep/out/a: the result has no folder there, the destination has one"), "{error}");
        assert_eq!(fs::read_dir(home.path().join("deep")).unwrap().count(), 1, "nothing half-made stays");
        assert!(sink.take(&tar_of(&[("0", "first"), ("b", "b"), ("a", "no folder"), ("z", "last")])[..]).is_err());
        assert_eq!(read("b"), "2");
        assert!(!out.join("0").exists() && !out.join("z").exists(), "nothing is moved where all can't be");
    }

    #[test]
    fn devices_and_links_stay_what_they_are() {
        let home = tempfile::tempdir().unwrap();
        let (null, file, link) = (home.path().join("null"), home.path().join("file"), home.path().join("link"));
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        fs::write(&file, "old").unwrap();
        for path in [&null, &link] {
            clear(path);
            Sink::File(path.clone()).take(&b"new"[..]).unwrap();
            write_whole(path, b"newer").unwrap();
            assert!(fs::symlink_metadata(path).unwrap().is_symlink());
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "newer");
        let open = fs::OpenOptions::new().append(true).open(&file).unwrap();
        let as_descriptor = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        write_whole(Path::new(&as_descriptor), b", and more").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "newer, and more");
        clear(&file);
        assert!(!file.exists() && !fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn what_breaks_off_leaves_nothing() {
        struct Breaking(usize);
        impl Read for Breaking {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 2 { Err(io::Error::other("the engine is gone")) } else { Ok(buffer.len().min(100)) }
            }
        }
        let home = tempfile::tempdir().unwrap();
        for sink in [Sink::File(home.path().join("x.tar")), Sink::Folder(home.path().join("x"))] {
            assert!(sink.take(Breaking(0)).is_err());
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "{sink:?}");
        }
        let file = home.path().join("x.tar");
        fs::write(&file, "old").unwrap();
        Sink::File(file.clone()).take(&b"new"[..]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }
}
