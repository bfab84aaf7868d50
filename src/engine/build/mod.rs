//! Builds images from Dockerfiles: stage graph, plan, content-addressed cache, executor, progress.

mod progress;
mod request;

pub use progress::{BuildFailure, BuildMessage, Vertex, VertexLog, VertexStatus, VertexWarning};
pub use request::{BuildContext, BuildRequest};

use bollard_stubs::models as docker;
use futures_util::Stream;

use crate::engine::EngineError;

/// The builder and its cache.
#[derive(Debug, Clone)]
pub struct Builds {}

/// How much of the cache to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PruneExtent {
    /// Records that no image shares its layers with.
    #[default]
    Unused,
    /// Every record.
    All,
}

impl Builds {
    /// Builds an image. The stream ends after [`BuildMessage::Image`] or [`BuildMessage::Failed`]; dropping it cancels
    /// the build, which then leaves nothing behind.
    pub fn build(&self, request: BuildRequest) -> impl Stream<Item = BuildMessage> + Send + 'static + use<> {
        let _ = (self, request);
        futures_util::stream::once(async { todo!("the build") })
    }

    /// Drops cache records and frees the layers that only they held.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn prune(&self, extent: PruneExtent) -> Result<docker::BuildPruneResponse, EngineError> {
        let _ = extent;
        todo!("the prune")
    }

    /// The cache's records, for `docker system df`.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn disk_usage(&self) -> Result<Vec<docker::BuildCache>, EngineError> {
        todo!("the usage")
    }
}
