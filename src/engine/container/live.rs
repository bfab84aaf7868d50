//! One container in memory: its record as last written, its locks, and what is only true while this engine lives.
//!
//! Three locks, always taken in this order: `verb` (async; one verb at a time, held for as long as the verb takes),
//! `writer` (async; held while one change goes to disk and, at a start, until the shim has answered), and the snapshot's
//! (held for a pointer's copy). Readers (`list`, `inspect`, `logs`, `stats`) only take the last one, so they never wait
//! for a verb.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bollard_stubs::models::EventMessageTypeEnum;
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot, watch};

use super::record::{ContainerRecord, Folder};
use super::state::{Exit, State};
use super::syncs::Syncs;
use crate::engine::EngineError;
use crate::engine::events::Events;
use crate::engine::shim::{Attach, Shim};
use crate::engine::store::write_volatile_record;

/// A container this engine knows.
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    /// Its files.
    pub folder: Folder,
    /// Held by the verb that is at work on it.
    pub verb: tokio::sync::Mutex<()>,
    writer: tokio::sync::Mutex<()>,
    snapshot: RwLock<Arc<ContainerRecord>>,
    pulse: watch::Sender<Pulse>,
    live: Mutex<Live>,
    syncs: Arc<Syncs>,
    is_sync_due: Arc<AtomicBool>,
    /// Told when a pending restart is no longer wanted.
    pub restart_cancelled: Notify,
}

/// What waits and followers watch.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    /// Whether it runs, up to the end of the clean-up after its exit.
    pub is_running: bool,
    /// How often it exited since this engine opened.
    pub exits: u64,
    /// The last exit.
    pub exit: Option<Exit>,
    /// It is gone.
    pub is_removed: bool,
}

/// What is only true while this engine lives.
#[derive(Default)]
struct Live {
    shim: Option<Shim>,
    waiting: Vec<WaitingAttach>,
    intent: Intent,
    last_pause: Duration,
}

/// Why the next exit will happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Intent {
    /// Nobody asked for it.
    #[default]
    None,
    /// A person stops it.
    Stop,
    /// A person restarts it: neither auto-remove nor restart policy apply.
    Restart,
}

/// An attachment that waits for its container's start.
pub struct WaitingAttach {
    /// Which streams it wants.
    pub attach: Attach,
    /// Gets the connection.
    pub connection: oneshot::Sender<UnixStream>,
}

impl Container {
    /// The container of a record that is on disk already.
    pub fn new(record: ContainerRecord, folder: Folder, syncs: &Arc<Syncs>) -> Arc<Self> {
        let pulse =
            Pulse { is_running: record.state.is_running(), exit: record.state.exit().cloned(), ..Pulse::default() };
        Arc::new(Self {
            id: record.id.clone(),
            folder,
            verb: tokio::sync::Mutex::new(()),
            writer: tokio::sync::Mutex::new(()),
            snapshot: RwLock::new(Arc::new(record)),
            pulse: watch::Sender::new(pulse),
            live: Mutex::new(Live::default()),
            syncs: Arc::clone(syncs),
            is_sync_due: Arc::default(),
            restart_cancelled: Notify::new(),
        })
    }

    /// The record as last written.
    pub fn record(&self) -> Arc<ContainerRecord> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the record: on disk first, then for everybody to see.
    ///
    /// # Errors
    /// `edit`'s refusal, that the container is gone, or the disk's; the record is then as before.
    pub async fn change<T>(
        &self,
        edit: impl FnOnce(&mut ContainerRecord) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let _writer = self.writer.lock().await;
        let mut record = (*self.record()).clone();
        let answer = edit(&mut record)?;
        self.write(&record).await?;
        self.show(record);
        Ok(answer)
    }

    /// Changes what everybody sees without writing it: for states that need not outlive this engine.
    pub async fn change_unwritten(&self, edit: impl FnOnce(&mut ContainerRecord)) {
        let _writer = self.writer.lock().await;
        let mut record = (*self.record()).clone();
        edit(&mut record);
        self.show(record);
    }

    /// Writes `intended`, then does `act`; what that answers is shown, or where it fails the old record is written back.
    ///
    /// # Errors
    /// The disk's refusal or `act`'s.
    pub async fn change_around<E: From<EngineError>>(
        &self,
        intended: ContainerRecord,
        act: impl Future<Output = Result<State, E>>,
    ) -> Result<(), E> {
        let _writer = self.writer.lock().await;
        let before = self.record();
        self.write(&intended).await.map_err(E::from)?;
        match act.await {
            Ok(state) => {
                self.show(ContainerRecord { state, ..intended });
                Ok(())
            }
            Err(error) => {
                if let Err(unwritten) = self.write(&before).await {
                    tracing::error!(container = self.id, %unwritten, "the record could not be written back");
                }
                Err(error)
            }
        }
    }

    async fn write(&self, record: &ContainerRecord) -> Result<(), EngineError> {
        if self.pulse.borrow().is_removed {
            return Err(no_such_container(&self.id));
        }
        let (path, record) = (self.folder.record(), record.clone());
        tokio::task::spawn_blocking(move || write_volatile_record(&path, &record))
            .await
            .map_err(|error| EngineError::system(format!("write the container's record: {error}")))?
            .map_err(|error| EngineError::system(error.to_string()).because(error))?;
        self.sync_soon();
        Ok(())
    }

    /// Has the disk keep the record, in a moment: see [`Syncs`].
    pub fn sync_soon(&self) {
        self.syncs.soon(&self.is_sync_due, self.folder.record());
    }

    fn show(&self, record: ContainerRecord) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(record);
    }

    /// What waits watch.
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.subscribe()
    }

    /// Tells those who wait.
    pub fn beat(&self, edit: impl FnOnce(&mut Pulse)) {
        self.pulse.send_modify(edit);
    }

    /// Waits until it does not run and its clean-up is done.
    pub async fn settled(&self) {
        let mut pulse = self.pulse();
        // The sender lives as long as `self`.
        let _ = pulse.wait_for(|pulse| !pulse.is_running || pulse.is_removed).await;
    }

    /// The live shim; `None` where it does not run.
    pub fn shim(&self) -> Option<Shim> {
        self.live().shim.clone()
    }

    /// Notes the live shim, or that there is none any more.
    pub fn set_shim(&self, shim: Option<Shim>) {
        self.live().shim = shim;
    }

    /// Queues an attachment for the start; or, where there is a shim already, gives that.
    pub fn shim_or_await_start(&self, waiting: WaitingAttach) -> Option<Shim> {
        let mut live = self.live();
        if live.shim.is_some() {
            return live.shim.clone();
        }
        live.waiting.retain(|other| !other.connection.is_closed());
        live.waiting.push(waiting);
        None
    }

    /// Notes the shim of a start. Whoever attaches from now on asks it; those who waited so far are returned.
    pub fn open_to_attachers(&self, shim: Shim) -> Vec<WaitingAttach> {
        let mut live = self.live();
        live.shim = Some(shim);
        std::mem::take(&mut live.waiting)
    }

    /// The attachments that wait for the start. Dropping them ends them.
    pub fn take_waiting(&self) -> Vec<WaitingAttach> {
        std::mem::take(&mut self.live().waiting)
    }

    /// Says why the next exit will happen.
    pub fn intend(&self, intent: Intent) {
        self.live().intent = intent;
    }

    /// Why this exit happened; the next one has no reason yet.
    pub fn take_intent(&self) -> Intent {
        std::mem::take(&mut self.live().intent)
    }

    /// The pause before its last restart; zero before the first.
    pub fn last_pause(&self) -> Duration {
        self.live().last_pause
    }

    /// Notes the pause before its next restart.
    pub fn set_last_pause(&self, pause: Duration) {
        self.live().last_pause = pause;
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes an event of this container.
    pub fn publish<'a>(
        &self,
        events: &Events,
        action: impl Into<String>,
        more: impl IntoIterator<Item = (&'a str, String)>,
    ) {
        let mut attributes = self.record().event_attributes();
        attributes.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
        let all: Vec<(&str, String)> = attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        events.publish(EventMessageTypeEnum::CONTAINER, action, self.id.clone(), all);
    }
}

/// Docker's 404.
pub fn no_such_container(name: &str) -> EngineError {
    EngineError::not_found(format!("No such container: {name}"))
}
