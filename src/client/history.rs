//! Builds as Boxyard's engine remembers them; other hosts answer 404.

use super::docker::{Call, Docker, in_path};
use super::errors::Error;
use crate::buildkit::BuildEntry;

impl Docker {
    /// The builds that run and the last that ran, newest first, whoever asked for them.
    pub async fn builds(&self) -> Result<Vec<BuildEntry>, Error> {
        self.json(Call::get("/boxyard/builds").unversioned()).await
    }

    /// One of them, by its ID or the beginning of it.
    pub async fn inspect_build(&self, id: &str) -> Result<BuildEntry, Error> {
        self.json(Call::get(format!("/boxyard/builds/{}", in_path(id))).unversioned()).await
    }

    /// What it said.
    pub async fn build_log(&self, id: &str) -> Result<Vec<u8>, Error> {
        Ok(self.whole(Call::get(format!("/boxyard/builds/{}/logs", in_path(id))).unversioned()).await?.to_vec())
    }

    /// Forgets one that has ended; its image stays.
    pub async fn forget_build(&self, id: &str) -> Result<(), Error> {
        self.unit(Call::delete(format!("/boxyard/builds/{}", in_path(id))).unversioned()).await
    }
}
