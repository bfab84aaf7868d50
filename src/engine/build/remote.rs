//! Contexts that are fetched: the URL of a Dockerfile, of an archive, or of a git repository.

use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::contents::is_archive;
use super::context::{Context, MAX_DOCKERFILE, unpack};
use super::downloads::Downloads;
use super::fetch;
use super::progress::BuildFailure;
use super::source::{Git, GitUrl};
use crate::engine::EngineError;

/// Fetches the context that `url` names; `dockerfile` is what a single Dockerfile is stored as. `.git` is left out unless
/// `keeps_git_dir`, or the URL itself, asks for it.
pub(super) async fn context(
    downloads: &Arc<Downloads>,
    url: &str,
    dockerfile: &str,
    keeps_git_dir: bool,
    cancel: &CancellationToken,
) -> Result<Context, BuildFailure> {
    let root = &downloads.root;
    if let Some(parsed) = GitUrl::parse_context(url) {
        let source = parsed.map_err(|error| EngineError::invalid(format!("unable to prepare context: {error}")))?;
        let keeps_git_dir = keeps_git_dir || source.keeps_git_dir == Some(true);
        let checkout = Git { root, cancel }.checkout(&source, keeps_git_dir).await.map_err(unprepared)?;
        let files = checkout.files.clone();
        return Ok(Context::of_part(checkout.into_folder(), files));
    }
    if !fetch::is_url(url) {
        return Err(EngineError::invalid(format!("unable to prepare context: {url:?} is no URL")).into());
    }
    let download = downloads.fetch(url, None, cancel).await.map_err(unprepared)?;
    let disk = |error: std::io::Error| EngineError::system(format!("store {url}: {error}"));
    let mut file = download.reopen().map_err(disk)?;
    let is_archive = is_archive(&mut file).map_err(disk)?;
    file.rewind().map_err(disk)?;
    if !is_archive {
        let mut text = Vec::new();
        file.take(MAX_DOCKERFILE).read_to_end(&mut text).map_err(disk)?;
        let name = Path::new(dockerfile).file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Context::with_dockerfile(root, &name, &text).map_err(disk)?);
    }
    let folder = root.temp_dir("context").map_err(disk)?;
    let cancel = cancel.clone();
    let work = tokio::task::spawn_blocking(move || {
        let target = std::fs::File::open(folder.path()).map_err(|error| EngineError::system(error.to_string()))?;
        unpack(&target, file, &cancel)?;
        Ok::<_, EngineError>(Context::of_folder(folder))
    });
    Ok(work.await.map_err(|error| EngineError::system(error.to_string()))??)
}

fn unprepared(error: EngineError) -> EngineError {
    EngineError::new(error.kind(), format!("unable to prepare context: {}", error.message()))
}
