//! A folder on its way to a builder: packed as a tar while it is sent.
//!
//! Nothing is held in memory but the file being read; when the host stops reading, packing stops.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::connection::RequestBody;

/// Bytes gathered before they are handed on: one file read or many headers.
const CHUNK: usize = 128 * 1024;
/// Chunks that may wait for the host.
const CHUNKS_AHEAD: usize = 8;

/// What of a folder is sent.
pub trait ContextFilter: Send + 'static {
    /// Whether `path` (relative to the folder) stays behind.
    fn excludes(&self, path: &Path) -> bool;
    /// Whether everything below the excluded folder `path` stays behind too, so that it need not be walked.
    fn excludes_all_below(&self, path: &Path) -> bool;
    /// Whether `path` is sent although the ignore rules leave it out, so that the builder alone sees it.
    fn is_aside(&self, _path: &Path) -> bool {
        false
    }
}

/// Sends everything.
#[derive(Debug, Clone, Copy)]
pub struct WholeFolder;

impl ContextFilter for WholeFolder {
    fn excludes(&self, _: &Path) -> bool {
        false
    }

    fn excludes_all_below(&self, _: &Path) -> bool {
        false
    }
}

/// The folder as the body of a build request. Trouble with a file (named in the error) breaks the request off.
pub fn folder_body(folder: &Path, filter: impl ContextFilter) -> RequestBody {
    folder_body_with(folder, filter, Vec::new())
}

/// The same, with files that are not in the folder: paths and contents.
pub fn folder_body_with(folder: &Path, filter: impl ContextFilter, extra: Vec<(PathBuf, Vec<u8>)>) -> RequestBody {
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(CHUNKS_AHEAD);
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut tar = tar::Builder::new(ChunkWriter { sender: sender.clone(), chunk: Vec::with_capacity(CHUNK) });
        tar.follow_symlinks(false);
        let packed = pack(&mut tar, &folder, &filter).and_then(|()| append_extra(&mut tar, &extra));
        let packed = packed.and_then(|()| tar.into_inner()).and_then(|mut w| w.flush());
        if let Err(error) = packed {
            let _ = sender.blocking_send(Err(error));
        }
    });
    let chunks = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    StreamBody::new(futures_util::StreamExt::map(chunks, |chunk| chunk.map(Frame::data))).boxed()
}

fn pack(tar: &mut tar::Builder<ChunkWriter>, folder: &Path, filter: &impl ContextFilter) -> io::Result<()> {
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let mut names = fs::read_dir(folder.join(&relative))
            .and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
            })
            .map_err(|error| naming(&folder.join(&relative), &error))?;
        // The same folder gives the same tar.
        names.sort();
        for name in names {
            let path = relative.join(name);
            let metadata =
                fs::symlink_metadata(folder.join(&path)).map_err(|error| naming(&folder.join(&path), &error))?;
            let is_excluded = filter.excludes(&path);
            if !is_excluded {
                append(tar, folder, &path, &metadata).map_err(|error| naming(&folder.join(&path), &error))?;
            }
            if metadata.is_dir() && !(is_excluded && filter.excludes_all_below(&path)) {
                pending.push(path);
            }
        }
    }
    Ok(())
}

fn append_extra(tar: &mut tar::Builder<ChunkWriter>, extra: &[(PathBuf, Vec<u8>)]) -> io::Result<()> {
    for (path, content) in extra {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_slice())?;
    }
    Ok(())
}

fn append(tar: &mut tar::Builder<ChunkWriter>, folder: &Path, path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    // As docker sends them: who owns the files here is nobody's business there.
    header.set_uid(0);
    header.set_gid(0);
    let kind = metadata.file_type();
    if kind.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        tar.append_data(&mut header, path, io::empty())
    } else if kind.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, path, fs::read_link(folder.join(path))?)
    } else if kind.is_file() {
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(metadata.len());
        let file = File::open(folder.join(path))?;
        // A file that grows while it is read must not spoil the archive.
        tar.append_data(&mut header, path, io::Read::take(file, metadata.len()))
    } else {
        // Sockets, pipes and devices have no place in a context; docker leaves them out too.
        Ok(())
    }
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("read build context: {}: {error}", path.display()))
}

/// Hands on what is written in chunks; fails once nobody reads any more.
struct ChunkWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Without(&'static str);

    impl ContextFilter for Without {
        fn excludes(&self, path: &Path) -> bool {
            path.starts_with(self.0)
        }

        fn excludes_all_below(&self, _: &Path) -> bool {
            true
        }
    }

    async fn names_and_contents(body: RequestBody) -> Vec<(String, String)> {
        let bytes = body.collect().await.unwrap().to_bytes();
        let mut tar = tar::Archive::new(&bytes[..]);
        let read = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            io::Read::read_to_string(&mut entry, &mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        let mut read: Vec<_> = read.collect();
        read.sort();
        read
    }

    #[tokio::test]
    async fn a_folder_is_packed_without_what_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("src/deep")).unwrap();
        fs::create_dir_all(folder.path().join("target")).unwrap();
        fs::write(folder.path().join("target/big"), "no").unwrap();
        fs::write(folder.path().join("src/deep/a.rs"), "fn").unwrap();
        std::os::unix::fs::symlink("src", folder.path().join("link")).unwrap();

        let packed = names_and_contents(folder_body(folder.path(), Without("target"))).await;
        let expected = [("link", ""), ("src", ""), ("src/deep", ""), ("src/deep/a.rs", "fn")];
        assert_eq!(packed, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[tokio::test]
    async fn a_missing_folder_breaks_off_and_is_named() {
        let error = folder_body(Path::new("/nowhere/at/all"), WholeFolder).collect().await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
