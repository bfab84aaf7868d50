//! Builds images from Dockerfiles: stage graph, plan, content-addressed cache, executor, progress.
//!
//! A build reads downwards: `solve` receives the context and runs the stages side by side that `decide` found to be needed;
//! `stage` carries one out, instruction by instruction; `plan` decides what an instruction means, without doing anything;
//! `cache` knows whether that was done before; `copy` and `run` do it; `export` makes of the result what was asked for.

mod announce;
mod args;
mod base;
mod cache;
mod changes;
mod contents;
mod context;
mod copy;
mod decide;
mod downloads;
mod excerpt;
mod exchange;
mod export;
mod fetch;
mod graph;
mod history;
mod kept;
mod meant;
mod mounts;
mod numbering;
mod output;
mod owner;
mod plan;
mod platform;
mod ports;
mod progress;
mod remote;
mod request;
mod run;
mod session;
mod solve;
mod source;
mod stage;
mod step;
mod teller;
mod tree;
mod turns;
mod under_way;
mod usage;

pub use cache::{Amount, Budget, BudgetError};
pub use changes::with_changes;
pub use output::OutputRequest;
pub use progress::{BuildFailure, BuildMessage};
pub use request::{BuildContext, BuildRequest};
pub use session::{Session, Sessions};
pub use usage::PruneRequest;

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models as docker;
use futures_util::Stream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cache::{Cache, Shelf};
use self::downloads::Downloads;
use self::history::{History, Recorder};
use self::kept::KeptContexts;
use self::mounts::CacheMounts;
use self::run::Runner;
use self::turns::Turns;
use crate::buildkit::BuildEntry;
use crate::engine::EngineError;
use crate::engine::events::Events;
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
    /// What happens is told here.
    pub events: Arc<Events>,
    /// What the cache may keep.
    pub budget: Budget,
}

/// The builder and its cache. Cheap to clone.
#[derive(Clone)]
pub struct Builds {
    room: Arc<Room>,
}

struct Room {
    parts: BuildParts,
    cache: Cache,
    cache_mounts: CacheMounts,
    sessions: Sessions,
    /// Contexts of clients, for their next build.
    kept: Arc<KeptContexts>,
    /// What came from URLs, for later builds.
    downloads: Arc<Downloads>,
    runner: Runner,
    history: History,
    /// Who keeps other things for later builds' sake.
    shelves: Vec<Arc<dyn Shelf>>,
    /// Held while the cache is brought into its budget.
    collecting: tokio::sync::Mutex<()>,
    /// Equal steps that are being done.
    turns: Turns,
    /// How many steps of all builds do something heavy at once.
    permits: Arc<Semaphore>,
    /// Ends all builds.
    stop: CancellationToken,
    /// The builds that have not ended.
    under_way: TaskTracker,
}

/// How long an engine that ends waits for its cancelled builds.
const GOODBYE: Duration = Duration::from_secs(15);

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
        let cache_mounts = CacheMounts::open(&parts.root).map_err(failed)?;
        let runner = Runner {
            instance: parts.instance.clone(),
            networks: Arc::clone(&parts.networks),
            host: Arc::clone(&parts.host),
            shim: parts.shim.clone(),
        };
        let history = History::open(&parts.root, Arc::clone(&parts.events)).map_err(failed)?;
        let collecting = tokio::sync::Mutex::default();
        let (sessions, stop, under_way) = (Sessions::default(), CancellationToken::new(), TaskTracker::new());
        let kept = Arc::new(KeptContexts::open(&parts.root).map_err(failed)?);
        let downloads = Arc::new(Downloads::open(&parts.root).map_err(failed)?);
        let shelves: Vec<Arc<dyn Shelf>> = vec![
            Arc::new(cache_mounts.clone()),
            Arc::clone(&kept) as Arc<dyn Shelf>,
            Arc::clone(&downloads) as Arc<dyn Shelf>,
        ];
        let permits = Arc::new(Semaphore::new(permits(std::thread::available_parallelism().map_or(1, NonZero::get))));
        if parts.images.layers().is_unsettled() {
            parts.images.settle_soon();
        }
        let turns = Turns::default();
        let room = Room {
            parts,
            cache,
            cache_mounts,
            sessions,
            kept,
            downloads,
            runner,
            history,
            shelves,
            collecting,
            turns,
            permits,
            stop,
            under_way,
        };
        Ok(Self { room: Arc::new(room) })
    }

    /// Builds an image. The stream ends after [`BuildMessage::Image`] and its text, or after [`BuildMessage::Failed`];
    /// dropping it cancels the build, which then leaves nothing behind.
    pub fn build(&self, request: BuildRequest) -> impl Stream<Item = BuildMessage> + Send + 'static + use<> {
        let cancel = self.room.stop.child_token();
        let is_quiet = request.quiet;
        let recorder = self.room.history.begin(history::new_id(), &request, jiff::Timestamp::now());
        let (teller, messages) = teller::channel(cancel.clone().drop_guard(), is_quiet, recorder.clone());
        self.room.under_way.spawn(solve::drive(Arc::clone(&self.room), request, teller, recorder, cancel));
        messages
    }

    /// The builds that run and the last that ran, newest first.
    pub fn history(&self) -> Vec<BuildEntry> {
        self.room.history.list()
    }

    /// One of them, by its ID or the beginning of it.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn past(&self, id: &str) -> Result<BuildEntry, EngineError> {
        self.room.history.get(id)
    }

    /// What a build said: the end of it, where that is much.
    ///
    /// # Errors
    /// `NotFound`; the disk's refusal.
    pub async fn log(&self, id: &str) -> Result<Vec<u8>, EngineError> {
        let (room, id) = (Arc::clone(&self.room), id.to_owned());
        blocking(move || room.history.log(&id)).await
    }

    /// Forgets a build that has ended; its image stays.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while it runs.
    pub async fn forget(&self, id: &str) -> Result<(), EngineError> {
        let (room, id) = (Arc::clone(&self.room), id.to_owned());
        blocking(move || room.history.forget(&id)).await
    }

    /// Cancels the builds under way and waits until nothing of them is left, but not for ever.
    pub async fn close(&self) {
        self.room.stop.cancel();
        self.room.under_way.close();
        if tokio::time::timeout(GOODBYE, self.room.under_way.wait()).await.is_err() {
            tracing::warn!("builds did not end in time; the next engine ends their steps");
        }
    }

    /// The clients' sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.room.sessions
    }

    /// Drops cache records and frees the layers that only they held.
    ///
    /// # Errors
    /// `InvalidParameter` for a filter that is none; the disk's refusal.
    pub async fn prune(&self, request: PruneRequest) -> Result<docker::BuildPruneResponse, EngineError> {
        let room = Arc::clone(&self.room);
        let answer = blocking(move || room.prune(&request)).await?;
        let reclaimed = answer.space_reclaimed.unwrap_or_default().to_string();
        self.room.parts.events.publish(docker::EventMessageTypeEnum::BUILDER, "prune", "", [("reclaimed", reclaimed)]);
        Ok(answer)
    }

    /// The cache's records, for `docker system df`.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn disk_usage(&self) -> Result<Vec<docker::BuildCache>, EngineError> {
        let room = Arc::clone(&self.room);
        blocking(move || room.disk_usage()).await
    }
}

/// How many steps run side by side on so many processors: more than there are processors, as steps wait for the network
/// and the disk, too.
fn permits(processors: usize) -> usize {
    (2 * processors).clamp(4, 32)
}

impl Room {
    /// After a build: it is written down, and the cache goes back into its budget, without anyone waiting for it.
    fn settle(self: Arc<Self>, recorder: Recorder) {
        tokio::spawn(async move {
            let saved = tokio::task::spawn_blocking(move || recorder.save()).await;
            if let Err(error) = saved {
                tracing::warn!(%error, "a build is not remembered");
            }
            // One at a time; who comes meanwhile is seen to by the next.
            let Ok(_turn) = self.collecting.try_lock() else { return };
            let room = Arc::clone(&self);
            if let Err(error) = blocking(move || room.collect()).await {
                tracing::warn!(error = error.message(), "the build cache's budget can't be kept");
            }
        });
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::system(error.to_string()))?
}
