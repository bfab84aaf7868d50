//! Builds images from Dockerfiles: stage graph, plan, content-addressed cache, executor, progress.
//!
//! A build reads downwards: `solve` receives the context, parses, finds the stages that are needed and runs them side by
//! side; `stage` carries one out, instruction by instruction; `plan` decides what an instruction means, without doing
//! anything; `cache` knows whether that was done before; `copy` and `run` do it.

mod base;
mod cache;
mod changes;
mod context;
mod copy;
mod fetch;
mod graph;
mod owner;
mod plan;
mod ports;
mod progress;
mod remote;
mod request;
mod run;
mod solve;
mod stage;
mod step;
mod teller;
mod tree;

pub use changes::with_changes;
pub use progress::{BuildFailure, BuildMessage};
pub use request::{BuildContext, BuildRequest};

use std::collections::HashSet;
use std::sync::Arc;

use bollard_stubs::models as docker;
use futures_util::Stream;
use tokio_util::sync::CancellationToken;

use self::cache::Cache;
use self::run::Runner;
use crate::engine::EngineError;
use crate::engine::image::{ImageId, ImageUsers, Images, ListImages};
use crate::engine::instance::Instance;
use crate::engine::layer::ChainId;
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
pub struct Builds {
    room: Arc<Room>,
}

struct Room {
    parts: BuildParts,
    cache: Cache,
    runner: Runner,
}

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
        let failed = |error: std::io::Error| EngineError::system(format!("open the build cache: {error}"));
        run::end_orphans(&parts.instance, &parts.host).await.map_err(failed)?;
        let cache = Cache::open(&parts.root).map_err(failed)?;
        parts.images.add_users(Arc::new(cache.clone()));
        let runner = Runner {
            instance: parts.instance.clone(),
            networks: Arc::clone(&parts.networks),
            host: Arc::clone(&parts.host),
            shim: parts.shim.clone(),
        };
        Ok(Self { room: Arc::new(Room { parts, cache, runner }) })
    }

    /// Builds an image. The stream ends after [`BuildMessage::Image`] and its text, or after [`BuildMessage::Failed`];
    /// dropping it cancels the build, which then leaves nothing behind.
    pub fn build(&self, request: BuildRequest) -> impl Stream<Item = BuildMessage> + Send + 'static + use<> {
        let cancel = CancellationToken::new();
        let is_quiet = request.quiet;
        let (teller, messages) = teller::channel(cancel.clone().drop_guard(), is_quiet);
        tokio::spawn(solve::drive(Arc::clone(&self.room), request, teller, cancel));
        messages
    }

    /// Drops cache records and frees the layers that only they held.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn prune(&self, extent: PruneExtent) -> Result<docker::BuildPruneResponse, EngineError> {
        let room = Arc::clone(&self.room);
        let work = tokio::task::spawn_blocking(move || room.prune(extent));
        work.await.map_err(|error| EngineError::system(error.to_string()))?
    }

    /// The cache's records, for `docker system df`.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn disk_usage(&self) -> Result<Vec<docker::BuildCache>, EngineError> {
        let in_images = self.room.layers_of_images()?;
        let date = |time: jiff::Timestamp| time.to_string();
        let usage = self.room.cache.list().into_iter().map(|record| docker::BuildCache {
            id: Some(record.key.hex().chars().take(25).collect()),
            parents: None,
            typ: Some(docker::BuildCacheTypeEnum::REGULAR),
            description: Some(record.identity.clone()),
            in_use: Some(false),
            shared: Some(record.layer.is_some_and(|layer| in_images.contains(&layer))),
            size: i64::try_from(record.size).ok(),
            created_at: Some(date(record.created)),
            last_used_at: record.used.map(date),
            usage_count: Some(record.uses),
        });
        Ok(usage.collect())
    }
}

impl Room {
    fn layers_of_images(&self) -> Result<HashSet<ChainId>, EngineError> {
        let images = self.parts.images.list(&ListImages { all: true, ..ListImages::default() })?;
        let ids = images.iter().filter_map(|image| image.id.parse::<ImageId>().ok());
        Ok(ids.filter_map(|id| self.parts.images.get(&id)).flat_map(|image| image.layers).collect())
    }

    fn prune(&self, extent: PruneExtent) -> Result<docker::BuildPruneResponse, EngineError> {
        let in_images = self.layers_of_images()?;
        let mut answer = docker::BuildPruneResponse { caches_deleted: Some(Vec::new()), space_reclaimed: Some(0) };
        for record in self.cache.list() {
            let is_used = record.layer.or(record.below).is_some_and(|layer| in_images.contains(&layer));
            if extent == PruneExtent::Unused && is_used {
                continue;
            }
            self.cache.forget(&record.key).map_err(|error| EngineError::system(error.to_string()))?;
            answer.caches_deleted.get_or_insert_default().push(record.key.hex());
            let Some(layer) = record.layer else { continue };
            let is_wanted = |chain: &ChainId| in_images.contains(chain) || self.cache.holds_layer(chain);
            let freed = self.parts.images.layers().remove(&layer, &is_wanted)?;
            let bytes: u64 = freed.iter().map(|layer| layer.size).sum();
            *answer.space_reclaimed.get_or_insert_default() += i64::try_from(bytes).unwrap_or(0);
        }
        Ok(answer)
    }
}
