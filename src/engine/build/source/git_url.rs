//! Names of git repositories, as contexts and ADD take them: a URL with `#ref:folder` behind it, or with a query.

use crate::engine::build::plan::PlanError;

/// What names a git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) struct GitUrl {
    /// What git is given.
    pub remote: String,
    /// A branch, a tag or a commit; the repository's own choice where `None`.
    pub reference: Option<String>,
    /// Which folder of it is wanted.
    pub subfolder: Option<String>,
    /// The commit it must be, as its first digits.
    pub checksum: Option<String>,
    /// Whether `.git` stays; the asking side's rule where `None`.
    pub keeps_git_dir: Option<bool>,
    /// Whether submodules are fetched too.
    pub wants_submodules: bool,
}

impl GitUrl {
    /// Reads what can be nothing but a git repository; `None` where it is something else, like a path or a download.
    ///
    /// # Errors
    /// Where it is one, but its query makes no sense.
    pub(in crate::engine::build) fn parse(text: &str) -> Option<Result<Self, PlanError>> {
        if text.starts_with("./") || text.starts_with("../") {
            return None;
        }
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = before.split_once('?').unwrap_or((before, ""));
        let (scheme, rest) = remote.split_once("://").unwrap_or(("", remote));
        let is_git = match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => rest.trim_end_matches('/').ends_with(".git"),
            "git" | "ssh" => true,
            "" => is_scp_like(remote),
            _ => false,
        };
        is_git.then(|| Self::with(remote.to_owned(), query, fragment))
    }

    /// As [`GitUrl::parse`], and takes `github.com/user/repository` too, which for a context can't be a path.
    pub(in crate::engine::build) fn parse_context(text: &str) -> Option<Result<Self, PlanError>> {
        match text.strip_prefix("github.com/") {
            None => Self::parse(text),
            Some(_) => {
                let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
                let (remote, query) = before.split_once('?').unwrap_or((before, ""));
                Some(Self::with(format!("https://{remote}"), query, fragment))
            }
        }
    }

    fn with(remote: String, query: &str, fragment: &str) -> Result<Self, PlanError> {
        let (reference, subfolder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut url = Self {
            remote,
            reference: some(reference),
            subfolder: some(subfolder),
            checksum: None,
            keeps_git_dir: None,
            wants_submodules: true,
        };
        let mut kind_of_reference: Option<String> = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let given = |slot: &mut Option<String>, value: String| match slot {
                Some(known) if *known != value => {
                    Err(PlanError::new(format!("{name} conflicts: {known:?} vs {value:?}")))
                }
                _ => {
                    *slot = Some(value);
                    Ok(())
                }
            };
            let is_switch = matches!(&*name, "keep-git-dir" | "submodules");
            if value.is_empty() && !is_switch {
                return Err(PlanError::new(format!("query {name:?} has no value")));
            }
            match &*name {
                "ref" => given(&mut url.reference, value.into_owned())?,
                "tag" | "branch" => {
                    if kind_of_reference.replace(name.to_string()).is_some() {
                        return Err(PlanError::new("branch conflicts with tag"));
                    }
                    let prefix = if name == "tag" { "refs/tags/" } else { "refs/heads/" };
                    let full = if value.starts_with(prefix) { value.into_owned() } else { format!("{prefix}{value}") };
                    given(&mut url.reference, full)?;
                }
                "subdir" => given(&mut url.subfolder, value.into_owned())?,
                "checksum" | "commit" => given(&mut url.checksum, value.into_owned())?,
                "keep-git-dir" => url.keeps_git_dir = Some(switch(&name, &value)?),
                "submodules" => url.wants_submodules = switch(&name, &value)?,
                _ => return Err(PlanError::new(format!("unexpected query {name:?}"))),
            }
        }
        if url.reference.is_none() {
            url.reference.clone_from(&url.checksum);
        }
        Ok(url)
    }

    /// The remote without what must not be told: a password or token in it.
    pub(in crate::engine::build) fn shown(&self) -> String {
        without_password(&self.remote)
    }

    /// The reference, if it is a whole commit: nothing has to be asked then.
    pub(super) fn commit(&self) -> Option<&str> {
        self.reference.as_deref().filter(|text| is_commit(text))
    }
}

/// Whether this is a whole commit's name.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A URL as it may be told.
pub(in crate::engine::build) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    match host.rsplit_once('@') {
        // `ssh://git@host` names a user, which is no secret.
        Some((user, _)) if scheme == "ssh" && !user.contains(':') => url.to_owned(),
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
}

fn switch(name: &str, value: &str) -> Result<bool, PlanError> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(PlanError::new(format!("invalid {name} value: {other:?}"))),
    }
}

/// `user@host:path`.
fn is_scp_like(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, path)) = rest.split_once(':') else { return false };
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    is_name(user) && !user.starts_with('-') && is_name(host) && !host.starts_with('-') && !path.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> GitUrl {
        GitUrl::parse(text).expect("a git URL").expect("a good one")
    }

    #[test]
    fn repositories_are_told_from_paths_and_downloads() {
        for text in [
            "https://x.org/a.git",
            "http://x.org/a.git/",
            "git://x.org/a",
            "ssh://git@x.org:22/a",
            "git@x.org:a/b.git#main",
        ] {
            assert!(GitUrl::parse(text).is_some(), "{text}");
        }
        for text in ["https://x.org/a.tar.gz", "a.git", "./a.git", "github.com/a/b", "a@b", "-x@y:z", "C:/a"] {
            assert_eq!(GitUrl::parse(text), None, "{text}");
        }
        let github = GitUrl::parse_context("github.com/a/b#:sub").unwrap().unwrap();
        assert_eq!((github.remote.as_str(), github.subfolder.as_deref()), ("https://github.com/a/b", Some("sub")));
    }

    #[test]
    fn fragments_and_queries_say_the_same() {
        let fragment = parsed("https://x.org/a.git#refs/heads/v1:deep/sub");
        let query = parsed("https://x.org/a.git?branch=v1&subdir=deep/sub");
        assert_eq!(fragment, query);
        let all = parsed("https://x.org/a.git?tag=v1&commit=abcdef1&keep-git-dir=1&submodules=false");
        assert_eq!((all.reference.as_deref(), all.checksum.as_deref()), (Some("refs/tags/v1"), Some("abcdef1")));
        assert_eq!((all.keeps_git_dir, all.wants_submodules), (Some(true), false));
        assert_eq!(parsed("https://x.org/a.git?checksum=abcdef1").reference.as_deref(), Some("abcdef1"));
    }

    #[test]
    fn senseless_queries_are_told() {
        let refused = |text: &str| GitUrl::parse(text).unwrap().unwrap_err().message;
        assert_eq!(refused("https://x.org/a.git?x=y"), "unexpected query \"x\"");
        assert_eq!(refused("https://x.org/a.git?subdir="), "query \"subdir\" has no value");
        assert_eq!(refused("https://x.org/a.git?ref=a#b"), "ref conflicts: \"b\" vs \"a\"");
        assert_eq!(refused("https://x.org/a.git?tag=a&branch=b"), "branch conflicts with tag");
        assert_eq!(refused("https://x.org/a.git?submodules=maybe"), "invalid submodules value: \"maybe\"");
    }

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(parsed("https://me:token@x.org/a.git").shown(), "https://x.org/a.git");
        assert_eq!(parsed("ssh://git@x.org/a.git").shown(), "ssh://git@x.org/a.git");
        assert_eq!(parsed("git@x.org:a.git").shown(), "git@x.org:a.git");
    }
}
