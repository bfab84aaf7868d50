//! Fetches git repositories with the `git` program.
//!
//! What a reference means now is asked first, so that a build whose repository did not change fetches nothing. The
//! files get the commit's time and plain permissions: the same commit always gives the same layer.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::git_url::{GitUrl, is_commit};
use crate::dockerfile::glob::clean;
use crate::engine::layer::go_on;
use crate::engine::store::StateRoot;
use crate::engine::{EngineError, ErrorKind};

/// Longer than any sane repository takes; git itself gives up a silent server much earlier.
const TIME_LIMIT: Duration = Duration::from_secs(60 * 60);
/// How much of git's words is told.
const MAX_WORDS: usize = 2000;

/// A checked out repository, which goes with this value.
pub(in crate::engine::build) struct Checkout {
    folder: TempDir,
    /// The wanted folder of it.
    pub files: PathBuf,
    /// Which commit it is.
    pub commit: String,
}

impl Checkout {
    /// The folder to keep for as long as `files` is used.
    pub(in crate::engine::build) fn into_folder(self) -> TempDir {
        self.folder
    }
}

/// Fetches repositories into the temp folder of a state root.
pub(in crate::engine::build) struct Git<'a> {
    pub root: &'a StateRoot,
    pub cancel: &'a CancellationToken,
}

impl Git<'_> {
    /// Which commit `url` means at this moment; `None` where the server can't say without fetching (a shortened commit).
    pub(in crate::engine::build) async fn resolve(&self, url: &GitUrl) -> Result<Option<String>, EngineError> {
        if let Some(commit) = url.commit() {
            return Ok(Some(commit.to_owned()));
        }
        let wanted = url.reference.as_deref().unwrap_or("HEAD");
        let peeled = format!("{wanted}^{{}}");
        let output = self.run(url, self.root.path(), &["ls-remote", "--", &url.remote, wanted, &peeled]).await?;
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(pick(&listed, wanted))
    }

    /// Fetches and checks out `url`.
    pub(in crate::engine::build) async fn checkout(
        &self,
        url: &GitUrl,
        keeps_git_dir: bool,
    ) -> Result<Checkout, EngineError> {
        let disk = |error: io::Error| EngineError::system(format!("fetch {}: {error}", url.shown()));
        let folder = self.root.temp_dir("git").map_err(disk)?;
        let at = folder.path().join("it");
        std::fs::create_dir(&at).map_err(disk)?;
        self.run(url, &at, &["init", "--quiet"]).await?;
        self.run(url, &at, &["remote", "add", "--", "origin", &url.remote]).await?;
        let commit = self.fetch(url, &at).await?;
        if let Some(checksum) = &url.checksum
            && !(commit.starts_with(checksum.as_str()) && checksum.len() >= 7)
        {
            return Err(EngineError::invalid(format!(
                "expected checksum to match {checksum}, got {commit} from {}",
                url.shown()
            )));
        }
        self.run(url, &at, &["checkout", "--quiet", "--force", "--detach", &commit]).await?;
        if url.wants_submodules && at.join(".gitmodules").exists() {
            self.run(url, &at, &["submodule", "--quiet", "update", "--init", "--recursive"]).await?;
        }
        let time = self.run(url, &at, &["log", "-1", "--format=%ct", &commit]).await?;
        let time: i64 = String::from_utf8_lossy(&time.stdout).trim().parse().unwrap_or(0);
        let subfolder = url.subfolder.clone();
        let shown = url.shown();
        let cancel = self.cancel.clone();
        let work = tokio::task::spawn_blocking(move || {
            let files = inside(&at, subfolder.as_deref(), &shown)?;
            let told = |error: io::Error| EngineError::system(format!("prepare {shown}: {error}"));
            if !keeps_git_dir {
                remove_git(&at).map_err(told)?;
            }
            settle(&files, time, true, &cancel).map_err(told)?;
            Ok(Checkout { folder, files, commit })
        });
        work.await.map_err(|error| EngineError::system(error.to_string()))?
    }

    /// Fetches the reference, alone where the server can give it so; answers its commit.
    async fn fetch(&self, url: &GitUrl, at: &Path) -> Result<String, EngineError> {
        let wanted = url.reference.as_deref().unwrap_or("HEAD");
        // After `--` nothing of the URL can be read as an option.
        let shallow = ["fetch", "--quiet", "--depth=1", "--no-tags", "--", "origin", wanted];
        let mut found = vec!["FETCH_HEAD^{commit}".to_owned()];
        if let Err(refusal) = self.run(url, at, &shallow).await {
            if self.cancel.is_cancelled() {
                return Err(refusal);
            }
            // A plain file server knows no shallow fetch, and others give no commit that is not a branch's.
            let all = "+refs/heads/*:refs/remotes/origin/*";
            if self.run(url, at, &["fetch", "--quiet", "--tags", "--", "origin", all]).await.is_err() {
                return Err(refusal);
            }
            let bare = wanted.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/");
            found = match wanted {
                "HEAD" => {
                    let _ = self.run(url, at, &["remote", "set-head", "origin", "--auto"]).await;
                    vec!["refs/remotes/origin/HEAD^{commit}".to_owned()]
                }
                _ => vec![format!("refs/remotes/origin/{bare}^{{commit}}"), format!("refs/tags/{bare}^{{commit}}")],
            };
            if wanted.len() >= 4 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                found.push(format!("{wanted}^{{commit}}"));
            }
        }
        for name in &found {
            let arguments = ["rev-parse", "--quiet", "--verify", "--end-of-options", name.as_str()];
            if let Ok(output) = self.run(url, at, &arguments).await {
                let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                if is_commit(&commit) {
                    return Ok(commit);
                }
            }
        }
        Err(EngineError::not_found(format!(
            "repository {} does not contain ref {wanted}: name a branch, a tag or a commit of it",
            url.shown()
        )))
    }

    async fn run(&self, url: &GitUrl, folder: &Path, arguments: &[&str]) -> Result<Output, EngineError> {
        let mut command = Command::new("git");
        command
            .current_dir(folder)
            .args(["-c", "protocol.file.allow=never", "-c", "protocol.ext.allow=never"])
            .args(["-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"])
            .args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"])
            .args(["-c", "init.defaultBranch=main", "-c", "core.autocrlf=false"])
            .args(arguments)
            // Nobody is there to answer a question.
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=60");
        }
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => EngineError::new(
                ErrorKind::System,
                format!("{} is a git repository, and the git program is missing here: install git", url.shown()),
            ),
            _ => EngineError::system(format!("run git: {error}")),
        })?;
        let mut group = Group(child.id());
        let output = tokio::select! {
            output = tokio::time::timeout(TIME_LIMIT, child.wait_with_output()) => output,
            () = self.cancel.cancelled() => {
                return Err(EngineError::new(ErrorKind::Unavailable, "the build was cancelled"));
            }
        };
        let output = output.inspect(|_| group.0 = None);
        let output = output
            .map_err(|_| EngineError::new(ErrorKind::Unavailable, format!("git takes too long for {}", url.shown())))?
            .map_err(|error| EngineError::system(format!("run git: {error}")))?;
        if output.status.success() {
            return Ok(output);
        }
        let words = String::from_utf8_lossy(&output.stderr).replace(&url.remote, &url.shown());
        let words: String = words.trim().chars().take(MAX_WORDS).collect();
        let verb = arguments.first().copied().unwrap_or_default();
        Err(EngineError::invalid(format!("failed to fetch {}: git {verb}: {words}", url.shown())))
    }
}

/// Ends git's own children (ssh, git-remote-https) with it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            // Gone already where git has ended by itself.
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// The commit that `git ls-remote`'s lines give for `wanted`: a branch before a tag, a tag's commit before the tag.
fn pick(listed: &str, wanted: &str) -> Option<String> {
    let known: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    let named = |name: &str| known.iter().find(|(_, known)| *known == name).map(|(commit, _)| (*commit).to_owned());
    let tag = format!("refs/tags/{wanted}");
    named(&format!("{wanted}^{{}}"))
        .or_else(|| named(wanted))
        .or_else(|| named(&format!("refs/heads/{wanted}")))
        .or_else(|| named(&format!("{tag}^{{}}")))
        .or_else(|| named(&tag))
        .filter(|commit| is_commit(commit))
}

/// The wanted folder of a checkout; a link in a repository may point anywhere, so only real folders of it will do.
fn inside(at: &Path, subfolder: Option<&str>, shown: &str) -> Result<PathBuf, EngineError> {
    let Some(subfolder) = subfolder else { return Ok(at.to_owned()) };
    let cleaned = clean(&format!("/{subfolder}"));
    let inner = at.join(cleaned.trim_start_matches('/'));
    let is_inside = inner.canonicalize().is_ok_and(|path| at.canonicalize().is_ok_and(|top| path.starts_with(top)));
    if !is_inside || !inner.is_dir() {
        return Err(EngineError::not_found(format!("{shown} has no folder {subfolder:?}")));
    }
    Ok(inner)
}

/// Removes git's own files, the submodules' too.
fn remove_git(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if entry.file_name() == ".git" {
            if kind.is_dir() { std::fs::remove_dir_all(entry.path())? } else { std::fs::remove_file(entry.path())? }
        } else if kind.is_dir() {
            remove_git(&entry.path())?;
        }
    }
    Ok(())
}

/// Gives everything the commit's time and the permissions git knows: 0644, or 0755.
fn settle(path: &Path, time: i64, is_top: bool, cancel: &CancellationToken) -> io::Result<()> {
    go_on(cancel)?;
    let stat = std::fs::symlink_metadata(path)?;
    if stat.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // What git keeps for itself stays as git made it.
            if !(is_top && entry.file_name() == ".git") {
                settle(&entry.path(), time, false, cancel)?;
            }
        }
    }
    if !stat.file_type().is_symlink() {
        let mode = if stat.is_dir() || stat.mode() & 0o100 != 0 { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    let time = rustix::fs::Timespec { tv_sec: time, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_mean_branches_before_tags_and_tags_their_commits() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let listed = format!("{a}\trefs/heads/v1\n{b}\trefs/tags/v1\n{c}\trefs/tags/v1^{{}}\n");
        assert_eq!(pick(&listed, "v1"), Some(a));
        assert_eq!(pick(&listed, "refs/tags/v1"), Some(c.clone()));
        let tag = format!("{b}\trefs/tags/v2\n{c}\trefs/tags/v2^{{}}\n");
        assert_eq!(pick(&tag, "v2"), Some(c));
        assert_eq!(pick(&format!("{b}\tHEAD\n"), "HEAD"), Some(b));
        assert_eq!(pick("", "abc123"), None);
    }

    #[test]
    fn folders_outside_of_a_checkout_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("out")).unwrap();
        let at = |sub: &str| inside(folder.path(), Some(sub), "it").map_err(|error| error.message().to_owned());
        assert_eq!(at("a/b").unwrap(), folder.path().join("a/b"));
        assert_eq!(at("../a").unwrap(), folder.path().join("a"));
        assert_eq!(at("out").unwrap_err(), "it has no folder \"out\"");
        assert_eq!(at("nothing").unwrap_err(), "it has no folder \"nothing\"");
    }
}
