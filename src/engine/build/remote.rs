//! Contexts that are fetched: the URL of a Dockerfile, of an archive, or of a git repository.

use std::io::{Read, Seek};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::context::{Context, unpack};
use super::copy::is_archive;
use super::fetch;
use super::progress::BuildFailure;
use crate::dockerfile::glob::clean;
use crate::engine::EngineError;
use crate::engine::store::StateRoot;

/// Fetches the context that `url` names; `dockerfile` is what a single Dockerfile is stored as.
pub(super) async fn context(
    root: &Arc<StateRoot>,
    url: &str,
    dockerfile: &str,
    cancel: &CancellationToken,
) -> Result<Context, BuildFailure> {
    if let Some(source) = GitSource::parse(url) {
        return clone(root, &source, cancel).await;
    }
    if !fetch::is_url(url) {
        return Err(EngineError::invalid(format!("unable to prepare context: {url:?} is no URL")).into());
    }
    let download = fetch::fetch(root, url, None, cancel).await?;
    let disk = |error: std::io::Error| EngineError::system(format!("store {url}: {error}"));
    let mut file = download.file.reopen().map_err(disk)?;
    let is_archive = is_archive(&mut file).map_err(disk)?;
    file.rewind().map_err(disk)?;
    if !is_archive {
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(disk)?;
        let name = Path::new(dockerfile).file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Context::with_dockerfile(root, &name, &text).map_err(disk)?);
    }
    let folder = root.temp_dir("context").map_err(disk)?;
    let work = tokio::task::spawn_blocking(move || {
        let target = std::fs::File::open(folder.path()).map_err(|error| EngineError::system(error.to_string()))?;
        unpack(&target, file)?;
        Ok::<_, EngineError>(Context::of_folder(folder))
    });
    Ok(work.await.map_err(|error| EngineError::system(error.to_string()))??)
}

/// A repository, what of it, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GitSource {
    repository: String,
    reference: Option<String>,
    subfolder: Option<String>,
}

impl GitSource {
    /// Reads `repository[#reference[:subfolder]]`; `None` where it is no git URL.
    fn parse(url: &str) -> Option<Self> {
        let (repository, fragment) =
            url.split_once('#').map_or((url, ""), |(repository, fragment)| (repository, fragment));
        let is_git = repository.starts_with("git://")
            || repository.starts_with("git@")
            || repository.starts_with("ssh://")
            || repository.starts_with("github.com/")
            || (fetch::is_url(repository) && repository.ends_with(".git"));
        if !is_git {
            return None;
        }
        let (reference, subfolder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let repository = match repository.strip_prefix("github.com/") {
            Some(path) => format!("https://github.com/{path}"),
            None => repository.to_owned(),
        };
        Some(Self { repository, reference: some(reference), subfolder: some(subfolder) })
    }
}

async fn clone(root: &StateRoot, source: &GitSource, cancel: &CancellationToken) -> Result<Context, BuildFailure> {
    let disk = |error: std::io::Error| EngineError::system(format!("clone {}: {error}", source.repository));
    let folder = root.temp_dir("git").map_err(disk)?;
    let at = folder.path().to_owned();
    git(&at, &["init", "--quiet"], cancel).await?;
    let reference = source.reference.as_deref().unwrap_or("HEAD");
    // After `--` nothing of the URL can be read as an option.
    git(&at, &["fetch", "--quiet", "--depth=1", "--", &source.repository, reference], cancel).await?;
    git(&at, &["checkout", "--quiet", "FETCH_HEAD"], cancel).await?;
    std::fs::remove_dir_all(at.join(".git")).map_err(disk)?;
    let Some(subfolder) = &source.subfolder else { return Ok(Context::of_folder(folder)) };
    let inside = clean(&format!("/{subfolder}"));
    let inner = at.join(inside.trim_start_matches('/'));
    // A link in a repository may point anywhere; only real folders of it will do.
    let is_inside = inner.canonicalize().is_ok_and(|path| at.canonicalize().is_ok_and(|top| path.starts_with(top)));
    if !is_inside || !inner.is_dir() {
        return Err(EngineError::not_found(format!("{subfolder}: no such folder in {}", source.repository)).into());
    }
    let part = root.temp_dir("context").map_err(disk)?;
    let target = part.path().join("it");
    std::fs::rename(&inner, &target).map_err(disk)?;
    Ok(Context::of_part(part, target))
}

async fn git(folder: &Path, arguments: &[&str], cancel: &CancellationToken) -> Result<(), BuildFailure> {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(["-c", "protocol.file.allow=never", "-c", "protocol.ext.allow=never"])
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::select! {
        output = command.output() => output,
        () = cancel.cancelled() => return Err(BuildFailure::cancelled()),
    };
    let output = output.map_err(|error| EngineError::system(format!("run git: {error}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(EngineError::invalid(format!("unable to prepare context: git: {}", words.trim())).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_urls_and_their_fragments() {
        let parse = |url: &str| GitSource::parse(url).map(|it| (it.repository, it.reference, it.subfolder));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parse("https://x.org/a.git"), Some(("https://x.org/a.git".into(), None, None)));
        assert_eq!(parse("https://x.org/a.git#v1:sub"), Some(("https://x.org/a.git".into(), some("v1"), some("sub"))));
        assert_eq!(parse("github.com/a/b#:sub"), Some(("https://github.com/a/b".into(), None, some("sub"))));
        assert_eq!(parse("https://x.org/a.tar.gz"), None);
    }
}
