//! COPY and ADD: from the cache, or by writing what their sources matched.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::place::Place;
use super::transfer::{find, write};
use super::{Done, Work, spawn};
use crate::dockerfile::ignore::IgnoreRules;
use crate::engine::EngineError;
use crate::engine::build::cache::Key;
use crate::engine::build::fetch;
use crate::engine::build::graph::stage_before;
use crate::engine::build::plan::CopyStep;
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::step::StepTeller;
use crate::engine::build::tree::{Owners, Tree};
use crate::engine::layer::{Digest, detached_root};

impl Work<'_> {
    pub(super) async fn copy(
        &self,
        step: &CopyStep,
        created_by: &str,
        teller: &mut StepTeller,
    ) -> Result<Done, BuildFailure> {
        let keyword = if step.is_add { "ADD" } else { "COPY" };
        let failed = |error: EngineError| BuildFailure {
            kind: error.kind(),
            message: format!("{keyword} failed: {}", error.message()),
            code: None,
        };
        let (tree, owners) = self.source(step).await?;
        let exclude =
            IgnoreRules::parse(&step.exclude.join("\n")).map_err(|error| EngineError::invalid(error.to_string()))?;
        let (urls, paths): (Vec<String>, Vec<String>) =
            step.sources.iter().cloned().partition(|source| step.is_add && fetch::is_url(source));
        let permit = self.build.permit().await?;
        let mut downloads = Vec::new();
        for url in &urls {
            downloads.push(
                fetch::fetch(&self.build.parts().root, url, step.checksum.as_deref(), &self.build.cancel)
                    .await
                    .map_err(&failed)?,
            );
        }
        let found = {
            let (tree, from) = (Arc::clone(&tree), step.from.clone());
            let job = move || find(&tree, &paths, &exclude, owners, from.is_some());
            spawn(job).await.map_err(&failed)?
        };
        if step.is_more_than_one(&found, &downloads) && !step.destination.ends_with('/') {
            return Err(EngineError::invalid(format!(
                "When using {keyword} with more than one source file, the destination must be a directory and end with a /"
            ))
            .into());
        }
        let mut facts = found.facts.clone();
        for download in &downloads {
            facts.insert(download.url.clone(), format!("file 600 - {}", download.digest.hex()));
        }
        for (name, text) in &step.inline {
            facts.insert(format!("<<{name}"), format!("file 644 - {}", Digest::of(text.as_bytes()).hex()));
        }
        let key = Key::new("copy", created_by, self.result.top())
            .with("owner", step.chown.as_deref().unwrap_or("-"))
            .with("mode", step.chmod.as_deref().unwrap_or("-"))
            .with("parents", step.keeps_parents.to_string())
            .with("unpack", format!("{:?}", step.unpack))
            .with("from", if step.from.is_some() { "elsewhere" } else { "context" })
            .with_files(&facts);
        if let Some(done) = self.cached(&key, teller) {
            return Ok(done);
        }
        let place = Place::new(self.build, &self.result.layers)?;
        let step = step.clone();
        let layer = self
            .blocking(move |build, below| {
                let root = detached_root(&place.stack)?;
                write(root.as_fd(), &step, &tree, owners, &found.matches, downloads)?;
                drop(root);
                place.commit(build, below)
            })
            .await
            .map_err(&failed)?;
        drop(permit);
        self.keep(key, layer)
    }

    /// Where a COPY's files come from, and whether they keep their owners.
    async fn source(&self, step: &CopyStep) -> Result<(Arc<Tree>, Owners), BuildFailure> {
        let Some(from) = &step.from else { return Ok((Arc::clone(&self.build.context), Owners::Ignored)) };
        let layers = match stage_before(&self.build.file, from, self.index) {
            Some(index) if self.build.has_stage(index) => self.build.result_of(index).await?.layers.clone(),
            _ => {
                let image =
                    self.build.bases.image(from, self.build.platform.as_deref(), &self.build.cancel, |_| {}).await?;
                image.layers.iter().for_each(|layer| self.build.hold(layer));
                image.layers
            }
        };
        let place = Place::new(self.build, &layers)?;
        let tree = spawn(move || {
            let root = detached_root(&place.stack)?;
            Ok(Tree::new(root, place))
        });
        Ok((Arc::new(tree.await?), Owners::Kept))
    }
}
