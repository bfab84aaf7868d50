//! Named contexts (`--build-context NAME=WHAT`): what FROM, COPY and RUN mounts read by a name of the caller's choice, before
//! any stage or image of that name.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::GitUrl;
use crate::engine::build::fetch::is_url;
use crate::engine::build::kept::{Digests, Held};
use crate::engine::build::plan::PlanError;
use crate::engine::build::tree::Tree;
use crate::engine::image::Reference;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine::build) enum Spec {
    /// An image.
    Image(String),
    /// An image in an OCI layout of the client.
    Layout {
        /// What the client's session calls the folder.
        folder: String,
        /// Which image of it: a tag, or a digest.
        image: Option<String>,
    },
    /// A git repository.
    Git(GitUrl),
    /// A file or an archive to download.
    Url(String),
    /// A folder of the client, by the name its session knows.
    Client(String),
}

impl Spec {
    fn parse(name: &str, value: &str) -> Result<Self, PlanError> {
        let invalid = || PlanError::new(format!("invalid context specifier {value} for {name}"));
        if let Some(url) = GitUrl::parse_context(value) {
            return url.map(Spec::Git);
        }
        if is_url(value) {
            return Ok(Spec::Url(value.to_owned()));
        }
        let (kind, rest) = value.split_once(':').ok_or_else(invalid)?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        if rest.is_empty() {
            return Err(invalid());
        }
        match kind {
            "docker-image" => Ok(Spec::Image(rest.to_owned())),
            "local" => Ok(Spec::Client(rest.to_owned())),
            "oci-layout" => {
                let (folder, image) = match rest.split_once('@') {
                    Some((folder, digest)) => (folder, Some(digest)),
                    None => rest.rsplit_once(':').map_or((rest, None), |(folder, tag)| (folder, Some(tag))),
                };
                Ok(Spec::Layout { folder: folder.to_owned(), image: image.map(str::to_owned) })
            }
            other => Err(PlanError::new(format!(
                "unsupported context source {other} for {name}: a folder, docker-image://, oci-layout://, a git repository or a URL is wanted"
            ))),
        }
    }
}

/// Files at hand, kept for as long as this lives.
pub(in crate::engine::build) struct Files {
    /// Where they are.
    pub path: PathBuf,
    digests: Option<Arc<Digests>>,
    _keeps: Box<dyn Any + Send + Sync>,
}

impl Files {
    /// The files in `path`, which `keeps` keeps.
    pub(in crate::engine::build) fn new(path: PathBuf, keeps: impl Any + Send + Sync) -> Self {
        Self { path, digests: None, _keeps: Box::new(keeps) }
    }

    /// A context that is kept between builds.
    pub(in crate::engine::build) fn held(held: Held) -> Self {
        Self { path: held.files.clone(), digests: Some(Arc::clone(&held.digests)), _keeps: Box::new(held) }
    }

    /// To copy from.
    pub(in crate::engine::build) fn tree(self: &Arc<Self>) -> io::Result<Tree> {
        let tree = Tree::new(File::open(&self.path)?.into(), Arc::clone(self));
        Ok(match &self.digests {
            Some(digests) => tree.knowing(Arc::clone(digests)),
            None => tree,
        })
    }
}

/// A thing that is brought here once, however many steps read it.
type Once<T> = Mutex<HashMap<String, Arc<OnceCell<T>>>>;

/// What the named contexts of a build stand for.
#[derive(Debug, Clone, Default)]
pub(in crate::engine::build) struct ContextSpecs(BTreeMap<String, Spec>);

impl ContextSpecs {
    /// Reads names and what they stand for.
    ///
    /// # Errors
    /// Where one of them stands for nothing that is known.
    pub(in crate::engine::build) fn parse(given: &BTreeMap<String, String>) -> Result<Self, PlanError> {
        let specs = given.iter().map(|(name, value)| Ok((canonical(name), Spec::parse(name, value)?)));
        Ok(Self(specs.collect::<Result<_, PlanError>>()?))
    }

    /// What `name`, of a stage or an image, stands for.
    pub(in crate::engine::build) fn get(&self, name: &str) -> Option<&Spec> {
        if self.0.is_empty() { None } else { self.0.get(&canonical(name)) }
    }
}

/// What has been brought here of the named contexts of a build.
#[derive(Default)]
pub(in crate::engine::build) struct Brought {
    files: Once<Arc<Files>>,
    images: Once<String>,
}

impl Brought {
    /// Where the files of `key` are put once they are here.
    pub(in crate::engine::build) fn files(&self, key: &str) -> Arc<OnceCell<Arc<Files>>> {
        cell(&self.files, key)
    }

    /// Where the ID of the image of `key` is put once it is here.
    pub(in crate::engine::build) fn image(&self, key: &str) -> Arc<OnceCell<String>> {
        cell(&self.images, key)
    }
}

fn cell<T>(cells: &Once<T>, key: &str) -> Arc<OnceCell<T>> {
    let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(cells.entry(canonical(key)).or_default())
}

/// One spelling for all that mean the same: `alpine`, `alpine:latest`, `docker.io/library/alpine`; stages have no case.
fn canonical(name: &str) -> String {
    match Reference::parse(name) {
        Ok(reference) => {
            let familiar = reference.familiar();
            familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned()
        }
        Err(_) => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(pairs: &[(&str, &str)]) -> Result<ContextSpecs, String> {
        let given = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ContextSpecs::parse(&given).map_err(|error| error.message)
    }

    #[test]
    fn names_are_found_in_any_spelling() {
        let contexts = named(&[("alpine:latest", "docker-image://debian:12"), ("Src", "local:src")]).unwrap();
        let debian = Spec::Image("debian:12".into());
        for name in ["alpine", "docker.io/library/alpine", "library/alpine:latest"] {
            assert_eq!(contexts.get(name), Some(&debian), "{name}");
        }
        assert_eq!(contexts.get("src"), Some(&Spec::Client("src".into())));
        assert_eq!(contexts.get("SRC"), Some(&Spec::Client("src".into())));
        assert_eq!(contexts.get("alpine:3"), None);
    }

    #[test]
    fn every_kind_is_known_by_its_look() {
        let spec = |value: &str| named(&[("x", value)]).map(|it| it.get("x").cloned().unwrap());
        assert_eq!(spec("https://h/x.tar.gz").unwrap(), Spec::Url("https://h/x.tar.gz".into()));
        assert!(matches!(spec("https://h/x.git#main").unwrap(), Spec::Git(_)));
        assert!(matches!(spec("git@h:x").unwrap(), Spec::Git(_)));
        let layout =
            |folder: &str, image: Option<&str>| Spec::Layout { folder: folder.into(), image: image.map(str::to_owned) };
        assert_eq!(spec("oci-layout://x").unwrap(), layout("x", None));
        assert_eq!(spec("oci-layout://x:v1").unwrap(), layout("x", Some("v1")));
        assert_eq!(spec("oci-layout://x@sha256:ab").unwrap(), layout("x", Some("sha256:ab")));
        assert_eq!(spec("nonsense").unwrap_err(), "invalid context specifier nonsense for x");
        assert!(spec("ftp://x").unwrap_err().starts_with("unsupported context source ftp for x"));
    }
}
