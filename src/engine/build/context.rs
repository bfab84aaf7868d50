//! Receives a build's files: a tar stream into a temp folder that goes with the build.

use std::any::Any;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::kept::{Digests, Held};
use super::progress::BuildFailure;
use super::tree::Tree;
use crate::dockerfile::glob::clean;
use crate::dockerfile::ignore::{self, IgnoreRules};
use crate::engine::EngineError;
use crate::engine::layer::{Applied, ApplyOptions, LayerError, Watched, apply_tar_digesting, inflater};
use crate::engine::store::StateRoot;

/// A Dockerfile larger than this is none.
pub(super) const MAX_DOCKERFILE: u64 = 16 << 20;

/// A received context.
pub(super) struct Context {
    /// Where the files are.
    files: PathBuf,
    /// What came along though the client's ignore rules leave it out; they are carried out already then.
    aside: Option<PathBuf>,
    /// The digests of its files, where they are known.
    digests: Option<Arc<Digests>>,
    /// What keeps the files.
    keeps: Box<dyn Any + Send + Sync>,
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
        let reader = Cancelling::new(reader, cancel);
        let bridge = SyncIoBridge::new(reader);
        let cancel = cancel.clone();
        let work = tokio::task::spawn_blocking(move || {
            let target = File::open(folder.path()).map_err(|source| LayerError::Source { source })?;
            let (applied, digests) = unpack(&target, bridge, &cancel)?;
            let mut context = Self::of_folder(folder);
            (context.bytes, context.digests) = (applied.bytes, Some(Arc::new(digests)));
            Ok::<_, LayerError>(context)
        });
        let received = work.await.map_err(|error| BuildFailure::from(EngineError::system(error.to_string())))?;
        received.map_err(|error| EngineError::from(error).into())
    }

    /// A context that holds nothing but a Dockerfile.
    pub(super) fn with_dockerfile(root: &StateRoot, name: &str, text: &[u8]) -> io::Result<Self> {
        let folder = root.temp_dir("context")?;
        std::fs::write(folder.path().join(name), text)?;
        let mut context = Self::of_folder(folder);
        context.bytes = text.len() as u64;
        Ok(context)
    }

    /// A context made of a folder that is there already, which goes with the build.
    pub(super) fn of_folder(folder: TempDir) -> Self {
        let files = folder.path().to_owned();
        Self::of_part(folder, files)
    }

    /// As [`Context::of_folder`], with the files in a folder of it.
    pub(super) fn of_part(folder: TempDir, files: PathBuf) -> Self {
        Self { files, aside: None, digests: None, keeps: Box::new(folder), bytes: 0 }
    }

    /// A context that is kept between builds.
    pub(super) fn held(held: Held) -> Self {
        Self {
            files: held.files.clone(),
            aside: Some(held.aside.clone()),
            digests: Some(Arc::clone(&held.digests)),
            bytes: held.bytes,
            keeps: Box::new(held),
        }
    }

    /// The folder it lies in.
    pub(super) fn path(&self) -> &Path {
        &self.files
    }

    /// The text of the Dockerfile at `path`, which people call `called`.
    pub(super) fn dockerfile(&self, path: &str, called: &str) -> Result<String, BuildFailure> {
        let missing = || EngineError::invalid(format!("Cannot locate specified Dockerfile: {called}"));
        let inside = clean(&format!("/{path}"));
        let file = self.find(&[inside.trim_start_matches('/')])?.ok_or_else(missing)?;
        if !file.metadata().is_ok_and(|it| it.is_file()) {
            return Err(missing().into());
        }
        let mut text = Vec::new();
        file.take(MAX_DOCKERFILE).read_to_end(&mut text).map_err(|error| disk("read the Dockerfile", &error))?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(EngineError::invalid(format!("the Dockerfile ({called}) cannot be empty")).into());
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Removes what the ignore file leaves out: the Dockerfile's own (`NAME.dockerignore`) or the context's.
    pub(super) fn apply_ignore_rules(&self, dockerfile: &str) -> Result<IgnoreRules, BuildFailure> {
        let own = format!("{}{}", clean(&format!("/{dockerfile}")).trim_start_matches('/'), ignore::FILE_NAME);
        let Some(mut file) = self.find(&[own.as_str(), ignore::FILE_NAME])? else {
            return Ok(IgnoreRules::default());
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| disk("read .dockerignore", &error))?;
        let rules = IgnoreRules::parse(&text).map_err(|error| EngineError::invalid(error.to_string()))?;
        if !rules.is_empty() && self.aside.is_none() {
            remove_ignored(self.path(), Path::new(""), &rules).map_err(|error| disk("apply .dockerignore", &error))?;
        }
        Ok(rules)
    }

    /// Opens the first file of these that is there.
    fn find(&self, paths: &[&str]) -> Result<Option<File>, BuildFailure> {
        let mut trees = Vec::new();
        for folder in self.aside.iter().chain([&self.files]) {
            let root = File::open(folder).map_err(|error| disk("open the build context", &error))?;
            trees.push(Tree::new(root.into(), ()));
        }
        Ok(paths.iter().find_map(|path| trees.iter().find_map(|tree| tree.open(Path::new(path)).ok())))
    }

    /// The files, to copy from; the folder lives as long as the tree.
    pub(super) fn into_tree(self) -> io::Result<Tree> {
        let tree = Tree::new(File::open(self.path())?.into(), self.keeps);
        Ok(match self.digests {
            Some(digests) => tree.knowing(digests),
            None => tree,
        })
    }
}

/// Unpacks a tar stream into a folder, and digests the files on the way. Everything belongs to root: who packed it means
/// nothing here.
pub(super) fn unpack(
    target: &File,
    reader: impl Read + Send,
    cancel: &CancellationToken,
) -> Result<(Applied, Digests), LayerError> {
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let options = ApplyOptions { owner: Some((0, 0)), ..ApplyOptions::default() };
    let applied = {
        let inflated = inflater(&mut reader).map_err(|source| LayerError::Source { source })?;
        apply_tar_digesting(target.as_fd(), Watched::new(inflated, cancel), &options)?
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

/// A stream that ends with an error when the build is cancelled, so that no thread waits for a client that is gone.
pub(super) struct Cancelling<S> {
    stream: S,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Cancelling<S> {
    pub(super) fn new(stream: S, cancel: &CancellationToken) -> Self {
        Self { stream, cancelled: Box::pin(cancel.clone().cancelled_owned()) }
    }

    fn check(&mut self, context: &mut TaskContext<'_>) -> io::Result<()> {
        match self.cancelled.as_mut().poll(context).is_ready() {
            // Not `Interrupted`, which readers try again.
            true => Err(io::Error::other("the build was cancelled")),
            false => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cancelling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cancelling<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
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
        let missing = context.dockerfile("other/Dockerfile", "other/Dockerfile").unwrap_err().message;
        assert_eq!(missing, "Cannot locate specified Dockerfile: other/Dockerfile");
    }
}
