//! Receives a build's files: a tar stream into a temp folder that goes with the build.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use tempfile::TempDir;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::progress::BuildFailure;
use super::tree::Tree;
use crate::dockerfile::glob::clean;
use crate::dockerfile::ignore::{self, IgnoreRules};
use crate::engine::EngineError;
use crate::engine::layer::{Applied, ApplyOptions, LayerError, apply_tar, inflater};
use crate::engine::store::StateRoot;

/// A Dockerfile larger than this is none.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// A received context.
pub(super) struct Context {
    folder: TempDir,
    /// Where in the folder the files are.
    files: PathBuf,
    /// Bytes of its files, before the ignore rules.
    pub bytes: u64,
}

impl Context {
    /// Unpacks the tar stream `reader` (plain, or compressed by gzip, bzip2, xz or zstd).
    pub(super) async fn receive(
        root: &StateRoot,
        reader: Box<dyn AsyncRead + Send + Unpin>,
        cancel: &CancellationToken,
    ) -> Result<Self, BuildFailure> {
        let folder = root.temp_dir("context").map_err(|error| disk("create a folder for the build context", &error))?;
        let reader = Cancelling { reader, cancelled: Box::pin(cancel.clone().cancelled_owned()) };
        let bridge = SyncIoBridge::new(reader);
        let work = tokio::task::spawn_blocking(move || {
            let target = File::open(folder.path()).map_err(|source| LayerError::Source { source })?;
            let applied = unpack(&target, bridge)?;
            Ok::<_, LayerError>(Self { bytes: applied.bytes, ..Self::of_folder(folder) })
        });
        let received = work.await.map_err(|error| BuildFailure::from(EngineError::system(error.to_string())))?;
        received.map_err(|error| EngineError::from(error).into())
    }

    /// A context that holds nothing but a Dockerfile.
    pub(super) fn with_dockerfile(root: &StateRoot, name: &str, text: &[u8]) -> io::Result<Self> {
        let folder = root.temp_dir("context")?;
        std::fs::write(folder.path().join(name), text)?;
        Ok(Self { bytes: text.len() as u64, ..Self::of_folder(folder) })
    }

    /// A context made of a folder that is there already, which goes with the build.
    pub(super) fn of_folder(folder: TempDir) -> Self {
        let files = folder.path().to_owned();
        Self { folder, files, bytes: 0 }
    }

    /// As [`Context::of_folder`], with the files in a folder of it.
    pub(super) fn of_part(folder: TempDir, files: PathBuf) -> Self {
        Self { folder, files, bytes: 0 }
    }

    /// The folder it lies in.
    pub(super) fn path(&self) -> &Path {
        &self.files
    }

    /// The text of the Dockerfile at `path`.
    pub(super) fn dockerfile(&self, path: &str) -> Result<String, BuildFailure> {
        let missing = || EngineError::invalid(format!("Cannot locate specified Dockerfile: {path}"));
        let tree = self.open().map_err(|error| disk("open the build context", &error))?;
        let inside = clean(&format!("/{path}"));
        let file = tree.open(Path::new(inside.trim_start_matches('/'))).map_err(|_| missing())?;
        if !file.metadata().is_ok_and(|it| it.is_file()) {
            return Err(missing().into());
        }
        let mut text = Vec::new();
        file.take(MAX_DOCKERFILE).read_to_end(&mut text).map_err(|error| disk("read the Dockerfile", &error))?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(EngineError::invalid(format!("the Dockerfile ({path}) cannot be empty")).into());
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Removes what the ignore file leaves out: the Dockerfile's own (`NAME.dockerignore`) or the context's.
    pub(super) fn apply_ignore_rules(&self, dockerfile: &str) -> Result<IgnoreRules, BuildFailure> {
        let own = format!("{}{}", clean(&format!("/{dockerfile}")).trim_start_matches('/'), ignore::FILE_NAME);
        let tree = self.open().map_err(|error| disk("open the build context", &error))?;
        let Some(mut file) = [own.as_str(), ignore::FILE_NAME].iter().find_map(|name| tree.open(Path::new(name)).ok())
        else {
            return Ok(IgnoreRules::default());
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| disk("read .dockerignore", &error))?;
        let rules = IgnoreRules::parse(&text).map_err(|error| EngineError::invalid(error.to_string()))?;
        if !rules.is_empty() {
            remove_ignored(self.path(), Path::new(""), &rules).map_err(|error| disk("apply .dockerignore", &error))?;
        }
        Ok(rules)
    }

    fn open(&self) -> io::Result<Tree> {
        Ok(Tree::new(File::open(self.path())?.into(), ()))
    }

    /// The files, to copy from; the folder lives as long as the tree.
    pub(super) fn into_tree(self) -> io::Result<Tree> {
        Ok(Tree::new(File::open(self.path())?.into(), self.folder))
    }
}

/// Unpacks a tar stream into a folder. Everything belongs to root: who packed it means nothing here.
pub(super) fn unpack(target: &File, reader: impl Read + Send) -> Result<Applied, LayerError> {
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let options = ApplyOptions { owner: Some((0, 0)), ..ApplyOptions::default() };
    let applied = {
        let mut inflated = inflater(&mut reader).map_err(|source| LayerError::Source { source })?;
        apply_tar(target.as_fd(), &mut inflated, &options)?
    };
    // What is behind the archive's end has to be read too, or the client is told that the connection broke.
    io::copy(&mut reader, &mut io::sink()).map_err(|source| LayerError::Source { source })?;
    Ok(applied)
}

/// The folder is ours alone, so plain paths are safe; links are never followed.
fn remove_ignored(top: &Path, below: &Path, rules: &IgnoreRules) -> io::Result<()> {
    for entry in std::fs::read_dir(top.join(below))? {
        let entry = entry?;
        let path: PathBuf = below.join(entry.file_name());
        let is_folder = entry.file_type()?.is_dir();
        let ignored = rules.ignores(&path.to_string_lossy());
        match (ignored, is_folder) {
            (true, false) => std::fs::remove_file(entry.path())?,
            (true, true) if !rules.has_exceptions() => std::fs::remove_dir_all(entry.path())?,
            (true, true) => {
                remove_ignored(top, &path, rules)?;
                // Stays where an exception kept something in it.
                let _ = std::fs::remove_dir(entry.path());
            }
            (false, true) => remove_ignored(top, &path, rules)?,
            (false, false) => {}
        }
    }
    Ok(())
}

fn disk(attempt: &str, error: &io::Error) -> BuildFailure {
    EngineError::system(format!("{attempt}: {error}")).into()
}

/// A reader that ends with an error when the build is cancelled, so that no thread waits for a client that is gone.
struct Cancelling {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for Cancelling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cancelled.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::Interrupted, "the build was cancelled")
                .kind()
                .into()));
        }
        Pin::new(&mut self.reader).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_files_go_and_exceptions_stay() {
        let folder = tempfile::tempdir().unwrap();
        let root = StateRoot::open(folder.path()).unwrap();
        let context = Context::with_dockerfile(&root, "Dockerfile", b"FROM x").unwrap();
        let at = context.path().to_owned();
        for path in ["a.log", "src/main.rs", "target/x/y", "target/keep/z", "b.txt"] {
            std::fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
            std::fs::write(at.join(path), path).unwrap();
        }
        std::fs::write(at.join(".dockerignore"), "*.log\ntarget\n!target/keep\n.dockerignore\n").unwrap();
        context.apply_ignore_rules("Dockerfile").unwrap();
        let there = |path: &str| at.join(path).exists();
        assert!(!there("a.log") && !there("target/x") && !there(".dockerignore"));
        assert!(there("target/keep/z") && there("src/main.rs") && there("b.txt"));
    }

    #[test]
    fn a_dockerfiles_own_ignore_file_wins() {
        let folder = tempfile::tempdir().unwrap();
        let root = StateRoot::open(folder.path()).unwrap();
        let context = Context::with_dockerfile(&root, "Dockerfile", b"FROM x").unwrap();
        for (name, text) in [(".dockerignore", "a"), ("Dockerfile.dockerignore", "b"), ("a", ""), ("b", "")] {
            std::fs::write(context.path().join(name), text).unwrap();
        }
        context.apply_ignore_rules("./Dockerfile").unwrap();
        assert!(context.path().join("a").exists() && !context.path().join("b").exists());
        let missing = context.dockerfile("other/Dockerfile").unwrap_err().message;
        assert_eq!(missing, "Cannot locate specified Dockerfile: other/Dockerfile");
    }
}
