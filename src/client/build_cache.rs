//! Caches in folders of ours: sent to an engine that builds with `--cache-from type=local`, stored for `--cache-to`.

use std::io;
use std::path::{Path, PathBuf};

use tokio_util::io::SyncIoBridge;

use super::build_session::{Provide, Serving};
use crate::buildkit::session::{Ask, Channel};

/// Bytes on their way between the disk and the session.
const IN_FLIGHT: usize = 256 << 10;

/// A folder that holds a cache, as an OCI layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFolder(pub PathBuf);

impl Provide for CacheFolder {
    fn serve<'a>(&'a self, ask: &'a Ask, channel: &'a mut Channel) -> Serving<'a> {
        match ask {
            Ask::Output { .. } => Box::pin(store(&self.0, channel)),
            _ => Box::pin(send(&self.0, channel)),
        }
    }
}

fn about(folder: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
}

async fn send(folder: &Path, channel: &mut Channel) -> io::Result<()> {
    let (mut near, far) = tokio::io::duplex(IN_FLIGHT);
    let (path, mut far) = (folder.to_owned(), SyncIoBridge::new(far));
    let packing = tokio::task::spawn_blocking(move || {
        let mut tar = tar::Builder::new(&mut far);
        for name in ["blobs", "index.json", "oci-layout"] {
            let part = path.join(name);
            match part.is_dir() {
                true => tar.append_dir_all(name, part)?,
                false => tar.append_path_with_name(part, name)?,
            }
        }
        tar.finish()
    });
    tokio::io::copy(&mut near, channel).await?;
    packing.await.map_err(io::Error::other)?.map_err(|error| about(folder, &error))
}

async fn store(folder: &Path, channel: &mut Channel) -> io::Result<()> {
    let (mut near, far) = tokio::io::duplex(IN_FLIGHT);
    let (path, far) = (folder.to_owned(), SyncIoBridge::new(far));
    let unpacking = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&path)?;
        let mut far = far;
        let mut tar = tar::Archive::new(&mut far);
        tar.set_preserve_mtime(false);
        tar.unpack(&path)?;
        // What follows the archive's end has to be read, or its sender waits for ever.
        io::copy(&mut far, &mut io::sink()).map(drop)
    });
    // Where unpacking fails its end of the pipe goes, and copying with it: its own reason counts then.
    let copied = tokio::io::copy(channel, &mut near).await;
    drop(near);
    unpacking.await.map_err(io::Error::other)?.map_err(|error| about(folder, &error))?;
    copied.map(drop)
}
