//! An engine that opens takes over what the last one left: live shims, exits that happened meanwhile, half-done work.
//!
//! The disk says what was intended, the shims say what is. Where they disagree the shims are right: a container on
//! record as created whose shim runs it was started by an engine that was killed before it could tell.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::archive::mark_name;
use super::create::disk;
use super::exec_table::ExecTable;
use super::health::note_rest;
use super::index::Index;
use super::lifecycle::go_on;
use super::live::Container;
use super::monitor::exit_of;
use super::record::ContainerRecord;
use super::restart::{policy_of, starts_with_engine};
use super::room::{Room, Rooms, at_once, remove_folder};
use super::state::{Alive, State};
use super::syncs::Syncs;
use crate::engine::EngineError;
use crate::engine::runtime::Cgroups;
use crate::engine::shim::{ExitRecord, Shim};
use crate::engine::store::read_record;
use crate::engine::trace;

/// A container whose last run this engine did not see the end of.
struct Lost {
    container: Arc<Container>,
    exit: Option<ExitRecord>,
}

impl Room {
    /// Reads all records. Nothing is touched yet but folders without a record, which a killed `create` left.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn open(rooms: Rooms) -> Result<Arc<Self>, EngineError> {
        let folder = rooms.root.room("containers").map_err(disk("open the containers' folder"))?;
        let runs = rooms.instance.run().join("containers");
        fs::create_dir_all(&runs).map_err(disk("create the run folder"))?;
        let cgroups = Cgroups::detect(&rooms.host);
        let cpus = rooms.host.cpus;
        let turns = Semaphore::new(at_once(cpus));
        let room = Arc::new(Self {
            rooms,
            cgroups,
            index: Arc::new(Index::default()),
            execs: ExecTable::default(),
            folder,
            turns,
            endings: Semaphore::new(at_once(cpus)),
            folders: Semaphore::new(at_once(cpus)),
            syncs: Syncs::new(),
            quiet: Arc::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            traces_starts: std::env::var(trace::VARIABLE).is_ok_and(|value| trace::wants_starts(&value)),
        });
        let reader = Arc::clone(&room);
        Self::blocking(move || reader.read_records()).await?;
        Ok(room)
    }

    fn read_records(&self) -> Result<(), EngineError> {
        for entry in fs::read_dir(&self.folder).map_err(disk("read the containers' folder"))?.flatten() {
            let Some(id) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let files = self.folder_of(&id);
            match read_record::<ContainerRecord>(&files.record()) {
                Ok(Some(mut record)) => {
                    record.health = read_record(&files.health()).ok().flatten();
                    if record.state.alive().is_none() || matches!(record.state, State::Paused(_)) {
                        note_rest(&mut record);
                    }
                    if let Err(error) = self.index.reserve(&record.name, &record.id) {
                        tracing::error!(container = id, %error, "two records have one name; this one is reachable by ID");
                    }
                    self.index.add(Container::new(record, files, &self.syncs));
                }
                Ok(None) => {
                    if let Err(error) = self.rooms.root.discard(&files.state) {
                        tracing::warn!(container = id, %error, "a folder without a container is left");
                    }
                }
                // A power loss shortly after its creation: it never ran, and nobody was promised anything it holds.
                Err(_) if is_empty_file(&files.record()) && is_unused(&files.upper()) => {
                    if let Err(error) = self.rooms.root.discard(&files.state) {
                        tracing::warn!(container = id, %error, "a half-made container is left");
                    }
                }
                Err(error) => tracing::error!(container = id, %error, "this container can't be read and is left alone"),
            }
        }
        Ok(())
    }

    /// Takes live containers over, puts on record what ended meanwhile, and starts what is to start with the engine.
    ///
    /// # Errors
    /// The kernel refuses the networks.
    pub async fn adopt(self: &Arc<Self>) -> Result<(), EngineError> {
        let mut endpoints = Vec::new();
        let mut lost = Vec::new();
        let mut live = Vec::new();
        for container in self.index.all() {
            match self.meet(&container).await {
                Met::Alive => {
                    self.rooms.volumes.adopt(&container.id, &container.record().mounts);
                    endpoints.extend(container.record().endpoints().cloned());
                    live.push(container);
                }
                Met::Ended(exit) => lost.push(Lost { container, exit }),
                Met::AtRest => {}
            }
        }
        self.rooms.networks.adopt(endpoints).await?;
        for container in &live {
            self.monitor(container);
        }
        for Lost { container, exit } in lost {
            self.ended(&container, exit).await;
        }
        self.sweep_run_folder().await;
        for container in self.index.all() {
            self.start_with_engine(&container);
        }
        Ok(())
    }

    /// Asks a container's shim, if it has one, how things stand.
    async fn meet(&self, container: &Arc<Container>) -> Met {
        let record = container.record();
        let shim = match Shim::connect(&container.folder.bundle).await {
            Ok(shim) => shim,
            Err(error) => {
                tracing::warn!(container = container.id, %error, "its shim does not answer");
                None
            }
        };
        let Some(shim) = shim else {
            // One that waits for a restart by its engine has no shim and is at rest.
            if !record.state.is_running() || (is_between_runs(&record) && !container.folder.bundle.exists()) {
                return Met::AtRest;
            }
            let left = read_record::<ExitRecord>(&container.folder.exit()).ok().flatten();
            return Met::Ended(left);
        };
        let hello = shim.hello().clone();
        let Some(started_at) = hello.started_at else {
            // It waits for a start that will never come; the start that made it was never answered.
            if let Err(error) = shim.discard().await {
                tracing::warn!(container = container.id, %error, "a half-made container could not be thrown away");
            }
            self.take_back(container, &record).await;
            return Met::AtRest;
        };
        let is_on_record = hello.between_runs.is_none()
            && record.restart_count == hello.restarts
            && record.state.alive().is_some_and(|known| known.pid == hello.init_pid);
        if !is_on_record {
            let alive = Alive { pid: hello.init_pid, started_at, oom_killed: hello.oom_killed };
            let state = match hello.between_runs.clone() {
                Some(left) => State::Restarting { exit: exit_of(left, started_at) },
                None => State::Running(alive),
            };
            let noted = container.change(|record| {
                record.state = state;
                record.restart_count = record.restart_count.max(hello.restarts);
                Ok(())
            });
            if let Err(error) = noted.await {
                tracing::error!(container = container.id, %error, "its state could not be written");
            }
        }
        container.change_unwritten(|record| record.health.clone_from(&hello.health)).await;
        container.beat(|pulse| pulse.is_running = true);
        if let Some(exit) = hello.exit {
            return Met::Ended(Some(exit));
        }
        container.set_shim(Some(shim));
        self.see_to_pause(container).await;
        Met::Alive
    }

    /// Lets a container go on that a killed engine froze for a moment, or was about to let go on. It stays paused where
    /// both the record and the kernel say so.
    async fn see_to_pause(&self, container: &Arc<Container>) {
        let record = container.record();
        let is_paused = matches!(record.state, State::Paused(_));
        let (cgroups, path) = (self.cgroups.clone(), self.cgroup_of(&record));
        let thawed = Self::blocking(move || {
            if is_paused && cgroups.is_frozen(&path) {
                return Ok(false);
            }
            cgroups.thaw(&path).map_err(|error| EngineError::system(error.to_string()).because(error))?;
            Ok(true)
        });
        let told = match thawed.await {
            Ok(true) if is_paused => container.change(go_on).await,
            Ok(_) => Ok(()),
            // Without a freezer nothing was ever frozen.
            Err(error) if is_paused => Err(error),
            Err(_) => Ok(()),
        };
        if let Err(error) = told {
            tracing::warn!(container = container.id, %error, "it may stand still");
        }
    }

    /// Undoes a start that a killed engine did not finish.
    async fn take_back(&self, container: &Arc<Container>, record: &ContainerRecord) {
        self.kill_leftovers(record).await;
        let undone = container.change(|record| {
            for place in record.networks.values_mut() {
                place.endpoint = None;
            }
            if record.state.alive().is_some() {
                record.state = match record.last_exit.take() {
                    Some(exit) => State::Exited { exit },
                    None => State::Created { failure: None },
                };
            }
            Ok(())
        });
        if let Err(error) = undone.await {
            tracing::error!(container = container.id, %error, "its state could not be written");
        }
        container.beat(|pulse| pulse.is_running = false);
    }

    /// Removes bundles that belong to nobody alive.
    async fn sweep_run_folder(&self) {
        let live: HashSet<String> = self
            .index
            .all()
            .into_iter()
            .filter(|container| container.shim().is_some())
            .map(|container| container.id.clone())
            .collect();
        let runs = self.rooms.instance.run().join("containers");
        let swept = Self::blocking(move || {
            for entry in fs::read_dir(&runs).map_err(disk("read the run folder"))?.flatten() {
                if !live.contains(entry.file_name().to_string_lossy().as_ref()) {
                    remove_folder(&entry.path()).map_err(disk("sweep the run folder"))?;
                }
            }
            Ok(())
        });
        if let Err(error) = swept.await {
            tracing::warn!(%error, "old run folders are left");
        }
    }

    fn start_with_engine(self: &Arc<Self>, container: &Arc<Container>) {
        let record = container.record();
        match &record.state {
            // With a shim, or since a moment ago, somebody sees to it.
            State::Restarting { .. } if container.shim().is_none() && container.last_pause().is_zero() => {
                self.restart_later(container, Duration::from_millis(100));
            }
            State::Exited { exit }
                if !record.is_auto_removed()
                    && starts_with_engine(
                        policy_of(record.host_config.restart_policy.as_ref()),
                        exit.code,
                        record.restart_count,
                        record.is_stopped_by_person,
                    ) =>
            {
                let (room, container) = (Arc::clone(self), Arc::clone(container));
                self.tasks.spawn(async move {
                    let _verb = container.verb.lock().await;
                    if container.record().state.is_running() {
                        return;
                    }
                    if let Err(error) = room.launch(&container, record.restart_count).await {
                        tracing::warn!(container = container.id, %error, "it was to start with the engine and did not");
                    }
                });
            }
            State::Exited { .. } if record.is_auto_removed() => self.remove_later(container),
            _ => {}
        }
    }
}

fn is_between_runs(record: &ContainerRecord) -> bool {
    matches!(record.state, State::Restarting { .. })
}

/// How a container was found.
enum Met {
    /// Its shim runs it.
    Alive,
    /// It ran when the last engine saw it, and ended since; `None` where nobody knows how.
    Ended(Option<ExitRecord>),
    /// It does not run, as the record says.
    AtRest,
}

fn is_empty_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() == 0)
}

/// Whether a container's upper directory holds what its creation put there, or less.
fn is_unused(upper: &Path) -> bool {
    let is_mark = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| *entry.file_name() == *mark_name());
    fs::read_dir(upper).is_ok_and(|mut entries| entries.all(is_mark))
}
