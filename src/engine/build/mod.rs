//! Builds images from Dockerfiles: stage graph, plan, content-addressed cache, executor, progress.

mod progress;
mod protobuf;
mod request;

pub use progress::{BuildFailure, BuildMessage, Vertex, VertexLog, VertexStatus, VertexWarning};
pub use request::{BuildContext, BuildRequest};

use std::sync::Arc;

use bollard_stubs::models as docker;
use futures_util::Stream;

use crate::engine::EngineError;
use crate::engine::image::Images;
use crate::engine::instance::Instance;
use crate::engine::network::Networks;
use crate::engine::runtime::HostFacts;
use crate::engine::shim::ShimBinary;
use crate::engine::store::StateRoot;

/// What the builder needs of the other rooms.
pub struct BuildParts {
    /// The state root.
    pub root: Arc<StateRoot>,
    /// Which engine this is.
    pub instance: Instance,
    /// Base images come from here, results go there.
    pub images: Images,
    /// RUN steps get their network here.
    pub networks: Arc<Networks>,
    /// What this host is and has.
    pub host: Arc<HostFacts>,
    /// What RUN steps run under.
    pub shim: ShimBinary,
}

/// The builder and its cache. Cheap to clone.
#[derive(Clone)]
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
    /// Reads the cache, ends RUN steps that a killed engine left running, and registers with `images` so that cached
    /// layers are kept.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn open(parts: BuildParts) -> Result<Self, EngineError> {
        let _ = parts;
        Ok(Self {})
    }

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
