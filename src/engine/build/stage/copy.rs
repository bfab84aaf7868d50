//! COPY and ADD: from the cache, or by writing what their sources matched.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::cached::Claim;
use super::place::Place;
use super::transfer::{Bundle, Item, Orders, find, write};
use super::{Done, Work, spawn};
use crate::dockerfile::chmod::ModeChange;
use crate::dockerfile::ignore::IgnoreRules;
use crate::engine::EngineError;
use crate::engine::build::cache::Key;
use crate::engine::build::owner::{Owner, numeric, owner};
use crate::engine::build::plan::{CopyStep, Source};
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::source::Git;
use crate::engine::build::step::StepTeller;
use crate::engine::build::tree::Owners;
use crate::engine::layer::{Digest, detached_root};

impl Work<'_> {
    pub(super) async fn copy(
        &self,
        step: &CopyStep,
        created_by: &str,
        teller: &mut StepTeller,
    ) -> Result<Done, BuildFailure> {
        let failed = |error: EngineError| {
            let message = format!("{} failed: {}", step.keyword(), error.message());
            BuildFailure::from(EngineError::new(error.kind(), message))
        };
        let (tree, owners) = match &step.from {
            None => (Arc::clone(&self.build.context), Owners::Ignored),
            Some(from) => self.tree_of(from, teller).await?,
        };
        teller.works();
        let items = self.look(step).await.map_err(&failed)?;
        let permit = teller.wait_for(self.build.permit()).await?;
        let bundle = {
            let exclude = excluded(&step.exclude).map_err(&failed)?;
            let (tree, step) = (Arc::clone(&tree), step.clone());
            spawn(move || find(&tree, &step, items, &exclude, owners)).await.map_err(&failed)?
        };
        let link_owner = self.owner_of_link(step).await.map_err(&failed)?;
        let key = self.copy_key(step, created_by, &bundle, link_owner);
        let key = self.dated(key);
        let _turn = match self.claim(&key, teller).await? {
            Claim::Mine(turn) => turn,
            Claim::Done(done) => {
                drop(permit);
                return if step.is_link { self.stacked(done).await } else { Ok(done) };
            }
        };
        let bundle = self.bring(step, bundle).await.map_err(&failed)?;
        let place = Place::new(self.build, if step.is_link { &[] } else { &self.result.layers })?;
        let mode = step.chmod.as_deref().map(ModeChange::parse).transpose();
        let mode = mode.map_err(|error| failed(EngineError::invalid(error.to_string())))?;
        let step_of_work = step.clone();
        let layer = self
            .blocking(move |build, below| {
                let root = detached_root(&place.stack)?;
                let step = &step_of_work;
                let owner = match (&step.chown, owners) {
                    (Some(_), _) if step.is_link => link_owner,
                    (Some(spec), _) => {
                        let found = owner(spec, root.as_fd());
                        Some(found.map_err(|error| EngineError::invalid(error.message))?)
                    }
                    (None, Owners::Ignored) => Some(Owner { uid: 0, gid: 0 }),
                    (None, Owners::Kept) => None,
                };
                let upper = Some(place.stack.upper.as_path());
                let cancel = &build.cancel;
                let made =
                    write(&Orders { root: root.as_fd(), upper, step, owner, mode, tree: &tree, cancel }, bundle)?;
                drop(root);
                if step.is_link { place.commit_alone(build, made) } else { place.commit(build, below) }
            })
            .await
            .map_err(&failed)?;
        let layer = if step.is_link { layer } else { self.as_elsewhere(&key, layer).await };
        drop(permit);
        let done = self.keep(key, layer)?;
        if step.is_link { self.stacked(done).await } else { Ok(done) }
    }

    fn copy_key(&self, step: &CopyStep, created_by: &str, bundle: &Bundle, link_owner: Option<Owner>) -> Key {
        let mut facts = bundle.facts.clone();
        for (name, text) in &step.inline {
            facts.insert(format!("<<{name}"), format!("file 644 - {}", Digest::of(text.as_bytes()).hex()));
        }
        let below = if step.is_link { None } else { self.result.top() };
        let mut key = Key::new("copy", created_by, below)
            .with("destination", &step.destination)
            .with("owner", step.chown.as_deref().unwrap_or("-"))
            .with("mode", step.chmod.as_deref().unwrap_or("-"))
            .with("parents", step.keeps_parents.to_string())
            .with("unpack", format!("{:?}", step.unpack))
            .with("from", if step.from.is_some() { "elsewhere" } else { "context" });
        if step.is_link {
            key = key.with("link", "true");
            if let Some(Owner { uid, gid }) = link_owner {
                key = key.with("owner's number", format!("{uid}:{gid}"));
            }
        }
        key.with_files(&facts)
    }

    /// What there is to be known of the sources elsewhere before the cache is asked: a download's bytes, unless a checksum
    /// says what they are; a repository's commit, unless only fetching it can tell.
    async fn look(&self, step: &CopyStep) -> Result<Vec<Item>, EngineError> {
        let (root, cancel) = (&self.build.parts().root, &self.build.cancel);
        let mut items = Vec::new();
        for source in &step.sources {
            items.push(match (source, &step.checksum) {
                (Source::Path(path), _) => Item::Path(path.clone()),
                (Source::Url(url), Some(digest)) => Item::Known { url: url.clone(), digest: *digest },
                (Source::Url(url), None) => Item::Download(self.build.downloads().fetch(url, None, cancel).await?),
                (Source::Git { url, keeps_git_dir }, _) => {
                    let git = Git { root, cancel };
                    match git.resolve(url).await? {
                        Some(commit) => Item::Repository { url: url.clone(), keeps_git_dir: *keeps_git_dir, commit },
                        None => Item::Checkout {
                            url: url.clone(),
                            keeps_git_dir: *keeps_git_dir,
                            checkout: git.checkout(url, *keeps_git_dir).await?,
                        },
                    }
                }
            });
        }
        Ok(items)
    }

    /// Fetches what the cache did not make needless.
    async fn bring(&self, step: &CopyStep, mut bundle: Bundle) -> Result<Bundle, EngineError> {
        let (root, cancel) = (&self.build.parts().root, &self.build.cancel);
        for item in &mut bundle.items {
            let brought = match item {
                Item::Known { url, .. } => {
                    Item::Download(self.build.downloads().fetch(url, step.checksum.as_ref(), cancel).await?)
                }
                Item::Repository { url, keeps_git_dir, commit } => {
                    let checkout = Git { root, cancel }.checkout(url, *keeps_git_dir).await?;
                    if checkout.commit != *commit {
                        return Err(EngineError::system(format!(
                            "{} moved from {commit} to {} while it was fetched; build again",
                            url.shown(),
                            checkout.commit
                        )));
                    }
                    Item::Checkout { url: url.clone(), keeps_git_dir: *keeps_git_dir, checkout }
                }
                _ => continue,
            };
            *item = brought;
        }
        Ok(bundle)
    }

    /// Whom the files of `--link` belong to, by number: the key must not depend on the layers that have the names.
    async fn owner_of_link(&self, step: &CopyStep) -> Result<Option<Owner>, EngineError> {
        let Some(spec) = step.chown.clone().filter(|_| step.is_link) else { return Ok(None) };
        let told = |error: crate::engine::build::plan::PlanError| EngineError::invalid(error.message);
        if let Some(owner) = numeric(&spec).map_err(told)? {
            return Ok(Some(owner));
        }
        let place = Place::new(self.build, &self.result.layers)?;
        spawn(move || {
            let root = detached_root(&place.stack)?;
            owner(&spec, root.as_fd()).map(Some).map_err(told)
        })
        .await
    }

    /// Puts the layer of a `--link`, which stands alone, above this stage's layers.
    async fn stacked(&self, done: Done) -> Result<Done, BuildFailure> {
        let Done { layer: Some(layer), created } = done else { return Ok(done) };
        let layer = self
            .blocking(move |build, below| {
                Ok(Some(build.images().layers().stack(below, &layer.chain_id, build.commit())?))
            })
            .await?;
        layer.iter().for_each(|layer| self.build.hold(&layer.chain_id));
        Ok(Done { layer, created })
    }
}

impl CopyStep {
    pub(super) fn keyword(&self) -> &'static str {
        if self.is_add { "ADD" } else { "COPY" }
    }
}

/// `--exclude`, where `#` begins no comment.
pub(super) fn excluded(patterns: &[String]) -> Result<IgnoreRules, EngineError> {
    let line = |pattern: &String| match pattern.starts_with('#') {
        true => format!("\\{pattern}"),
        false => pattern.clone(),
    };
    let text = patterns.iter().map(line).collect::<Vec<_>>().join("\n");
    IgnoreRules::parse(&text)
        .map_err(|error| EngineError::invalid(format!("invalid exclude pattern {:?}: {}", error.pattern, error.source)))
}
