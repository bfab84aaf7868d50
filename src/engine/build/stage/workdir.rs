//! WORKDIR: the directory is made where the stage lacks it.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::OFlags;

use super::cached::Claim;
use super::place::Place;
use super::{Done, Work};
use crate::engine::EngineError;
use crate::engine::build::cache::Key;
use crate::engine::build::copy::Destination;
use crate::engine::build::owner::{Owner, owner};
use crate::engine::build::progress::BuildFailure;
use crate::engine::build::step::StepTeller;
use crate::engine::build::tree::open_inside;
use crate::engine::layer::detached_root;

impl Work<'_> {
    pub(super) async fn make_workdir(
        &self,
        path: String,
        created_by: &str,
        teller: &mut StepTeller,
    ) -> Result<Done, BuildFailure> {
        // As BuildKit: who is USER can write there.
        let user = self.state.config.user.clone().unwrap_or_default();
        let key = Key::new("workdir", created_by, self.result.top()).with("user", &user);
        let key = self.dated(key);
        let _turn = match self.claim(&key, teller).await? {
            Claim::Done(done) => return Ok(done),
            Claim::Mine(turn) => turn,
        };
        let place = Place::new(self.build, &self.result.layers)?;
        let layer = self
            .blocking(move |build, below| {
                let root = detached_root(&place.stack)?;
                let inside = Path::new(path.trim_start_matches('/'));
                if open_inside(root.as_fd(), inside, OFlags::PATH | OFlags::DIRECTORY).is_err() {
                    let mut to = Destination::new(root.as_fd(), "/");
                    to.owner = Some(match user.as_str() {
                        "" => Owner::ROOT,
                        user => owner(user, root.as_fd()).map_err(|error| EngineError::invalid(error.message))?,
                    });
                    to.folder(Path::new(&path)).map_err(|error| EngineError::invalid(error.to_string()))?;
                }
                drop(root);
                place.commit(build, below)
            })
            .await?;
        let layer = self.as_elsewhere(&key, layer).await;
        self.keep(key, layer)
    }
}
