//! What happens when a container ends, whoever ended it: one task per live container waits for its shim's word.
//!
//! The order is the order clients rely on: the record says how it ended, `die` is told, its network places and mounts
//! are given back, and only then do waits return; a restart or a removal of its own follows.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::create::disk;
use super::health::note_rest;
use super::live::{Container, Intent};
use super::options::RemoveContainer;
use super::record::ContainerRecord;
use super::restart::policy_of;
use super::room::{Room, remove_folder};
use super::state::{Alive, Exit, State};
use crate::engine::network::Endpoint;
use crate::engine::shim::{Decided, ExitRecord, RestartNote, ShimEvent, pause_after};
use crate::engine::store::read_record;

/// The exit code of a container whose shim died without leaving one.
const UNKNOWN_EXIT: i64 = 255;

impl Room {
    /// Waits for the end of a container that runs, in a task of its own.
    pub fn monitor(self: &Arc<Self>, container: &Arc<Container>) {
        let Some(shim) = container.shim() else { return };
        let (room, container) = (Arc::clone(self), Arc::clone(container));
        let mut news = shim.subscribe();
        self.tasks.spawn(async move {
            loop {
                let event = tokio::select! {
                    () = room.closing.cancelled() => return,
                    event = news.next() => event,
                };
                match event {
                    Some(ShimEvent::Oom) => {
                        container.change_unwritten(note_oom).await;
                        container.publish(&room.rooms.events, "oom", []);
                    }
                    Some(ShimEvent::ExecExited { exec_id, code }) => room.exec_ended(&container, &exec_id, code),
                    Some(ShimEvent::Probing { exec_id, pid }) => room.note_probe(&container, exec_id, pid),
                    Some(ShimEvent::Health(health)) => room.note_health(&container, health).await,
                    Some(ShimEvent::Restarting(exit)) => room.between_runs(&container, exit).await,
                    Some(ShimEvent::Restarted { pid, started_at, restarts }) => {
                        room.runs_again(&container, Alive { pid, started_at, oom_killed: false }, restarts).await;
                    }
                    Some(ShimEvent::Exited(exit)) => return room.ended(&container, Some(exit)).await,
                    Some(ShimEvent::Gone) | None => {
                        let left = read_record::<ExitRecord>(&container.folder.exit()).ok().flatten();
                        return room.ended(&container, left).await;
                    }
                }
            }
        });
    }

    /// A run ended and the shim will start the next one: places on networks, mounts and bundle stay.
    async fn between_runs(self: &Arc<Self>, container: &Arc<Container>, left: ExitRecord) {
        let Some(started_at) = container.record().state.alive().map(|alive| alive.started_at) else { return };
        let (restarts, exit) = (left.restarts, exit_of(left, started_at));
        let shown = exit.clone();
        // Not written: the shim knows it, and it changes with every restart.
        container
            .change_unwritten(|record| {
                record.restart_count = restarts;
                record.state = State::Restarting { exit: shown };
                note_rest(record);
            })
            .await;
        self.tell_end(container, &exit);
        container.beat(|pulse| {
            pulse.exits += 1;
            pulse.exit = Some(exit);
        });
    }

    /// The shim has started the container again.
    async fn runs_again(&self, container: &Arc<Container>, alive: Alive, restarts: u32) {
        container
            .change_unwritten(|record| {
                record.restart_count = restarts;
                record.last_exit = record.state.exit().cloned();
                record.state = State::Running(alive);
            })
            .await;
        container.publish(&self.rooms.events, "start", []);
    }

    /// `die`, and the end of the execs.
    fn tell_end(&self, container: &Arc<Container>, exit: &Exit) {
        let ran = duration_of(exit);
        let attributes = [("exitCode", exit.code.to_string()), ("execDuration", ran.as_secs().to_string())];
        container.publish(&self.rooms.events, "die", attributes);
        self.execs.container_ended(&container.id, exit.code);
    }

    /// Puts on record that a container ended for good, and cleans up after it. Where its shim did not apply the restart
    /// policy, this does.
    pub async fn ended(self: &Arc<Self>, container: &Arc<Container>, left: Option<ExitRecord>) {
        let intent = container.take_intent();
        let before = container.record();
        let decided = left.as_ref().map_or(Decided::NotHere, |left| left.decided);
        let is_stopped_by_person =
            intent == Intent::Stop || (intent == Intent::None && decided == Decided::StoppedByPerson);
        let restarts = self.restarts_of(container, &before, left.as_ref());
        let Some(End { exit, is_news }) = end_of(&before.state, left) else { return };
        let is_undecided = decided == Decided::NotHere && intent == Intent::None;
        let policy = policy_of(before.host_config.restart_policy.as_ref());
        let pause = (is_undecided && !before.is_stopped_by_person && policy.wants_again(exit.code, restarts))
            .then(|| pause_after(container.last_pause(), duration_of(&exit)));
        container.set_last_pause(pause.unwrap_or_default());
        let edit = |record: &mut ContainerRecord| {
            let exit = exit.clone();
            record.state = if pause.is_some() { State::Restarting { exit } } else { State::Exited { exit } };
            record.restart_count = restarts;
            note_rest(record);
            record.is_stopped_by_person |= is_stopped_by_person;
            for place in record.networks.values_mut() {
                place.endpoint = None;
            }
        };
        let written = container.change(|record| {
            edit(record);
            Ok(())
        });
        if let Err(error) = written.await {
            tracing::error!(container = container.id, %error, "its end could not be written down; the shim's record stands");
            container.change_unwritten(edit).await;
        }
        container.set_shim(None);
        if is_news {
            let was_told = before.state.alive().is_some_and(|alive| alive.oom_killed);
            if exit.oom_killed && !was_told {
                container.publish(&self.rooms.events, "oom", []);
            }
            self.tell_end(container, &exit);
        }
        self.clean_up(container, &before).await;
        self.quiet.disturb(&self.closing);
        container.beat(|pulse| {
            pulse.is_running = pause.is_some();
            pulse.exits += u64::from(is_news);
            pulse.exit = Some(exit);
        });
        if let Some(pause) = pause {
            self.restart_later(container, pause);
        } else if before.is_auto_removed() && intent != Intent::Restart {
            self.remove_later(container);
        }
    }

    /// How often it was restarted; the shim's note says it where the shim can't any more.
    fn restarts_of(&self, container: &Container, record: &ContainerRecord, left: Option<&ExitRecord>) -> u32 {
        let told = match left {
            Some(left) => left.restarts,
            None => {
                let note = read_record::<RestartNote>(&container.folder.restarts()).ok().flatten();
                note.map_or(0, |note| note.count)
            }
        };
        told.max(record.restart_count)
    }

    /// Gives back what a run took: processes, cgroup, network places, mounts, bundle. What is gone already is success;
    /// what can't be given back is logged and the rest goes on.
    pub async fn clean_up(&self, container: &Arc<Container>, record: &ContainerRecord) {
        let _turn = self.turn().await;
        self.kill_leftovers(record).await;
        let endpoints: Vec<&Endpoint> = record.endpoints().collect();
        for endpoint in endpoints {
            if let Err(error) = self.rooms.networks.release(endpoint).await {
                tracing::warn!(container = container.id, network = endpoint.network_name, %error, "not taken off its network");
            }
        }
        self.rooms.volumes.unmount(&record.id, &record.mounts).await;
        let bundle = container.folder.bundle.clone();
        if let Err(error) = Self::blocking(move || remove_folder(&bundle).map_err(disk("remove the run folder"))).await
        {
            tracing::warn!(container = container.id, %error, "its run folder is left");
        }
    }

    /// Kills what is left in a container's cgroup and removes that.
    pub async fn kill_leftovers(&self, record: &ContainerRecord) {
        let (cgroups, path) = (self.cgroups.clone(), self.cgroup_of(record));
        let id = record.id.clone();
        let done = tokio::task::spawn_blocking(move || {
            // The kill may find no cgroup; what matters is whether it can be removed.
            let _ = cgroups.kill_all(&path);
            cgroups.remove(&path)
        });
        if let Ok(Err(error)) = done.await {
            tracing::warn!(container = id, %error, "its cgroup is left");
        }
    }

    /// Starts it again after a pause, unless somebody stops, starts or removes it before.
    pub fn restart_later(self: &Arc<Self>, container: &Arc<Container>, pause: Duration) {
        let (room, container) = (Arc::clone(self), Arc::clone(container));
        self.tasks.spawn(async move {
            tokio::select! {
                () = room.closing.cancelled() => return,
                () = container.restart_cancelled.notified() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let _verb = container.verb.lock().await;
            let record = container.record();
            if !matches!(record.state, State::Restarting { .. }) {
                return;
            }
            if let Err(error) = room.launch(&container, record.restart_count.saturating_add(1)).await {
                tracing::warn!(container = container.id, %error, "its restart failed");
                container.publish(&room.rooms.events, "die", [("exitCode", "128".to_owned())]);
            }
        });
    }

    /// Removes it as soon as no verb is at work on it: it was created to remove itself.
    pub fn remove_later(self: &Arc<Self>, container: &Arc<Container>) {
        let (room, container) = (Arc::clone(self), Arc::clone(container));
        self.tasks.spawn(async move {
            let _verb = container.verb.lock().await;
            if container.record().state.is_running() {
                return;
            }
            let options = RemoveContainer { volumes: true, ..RemoveContainer::default() };
            if let Err(error) = room.remove_locked(&container, options).await {
                tracing::warn!(container = container.id, %error, "it was to remove itself and is still here");
            }
        });
    }
}

/// An end as the engine keeps it.
struct End {
    exit: Exit,
    /// Whether nobody was told yet: the end of a run is, before its restart.
    is_news: bool,
}

/// How a container ended that is in `state` as far as anybody knew; `None` where it did not run.
fn end_of(state: &State, left: Option<ExitRecord>) -> Option<End> {
    let exit = match (state, left) {
        (State::Running(alive) | State::Paused(alive), Some(left)) => exit_of(left, alive.started_at),
        (State::Running(alive) | State::Paused(alive), None) => Exit {
            code: UNKNOWN_EXIT,
            signal: None,
            oom_killed: alive.oom_killed,
            started_at: alive.started_at,
            finished_at: Timestamp::now(),
            error: "the container's shim ended without a word; how the container ended is not known".to_owned(),
        },
        (State::Restarting { exit }, Some(left)) => exit_of(left, exit.started_at),
        (State::Restarting { exit }, None) => exit.clone(),
        _ => return None,
    };
    Some(End { exit, is_news: state.alive().is_some() })
}

/// A shim's record of an end, of a run that began at `started_at` unless it says better.
pub fn exit_of(left: ExitRecord, started_at: Timestamp) -> Exit {
    Exit {
        code: left.code,
        signal: left.signal,
        oom_killed: left.oom_killed,
        started_at: left.started_at.unwrap_or(started_at),
        finished_at: left.finished_at,
        error: left.error.unwrap_or_default(),
    }
}

fn duration_of(exit: &Exit) -> Duration {
    Duration::try_from(exit.finished_at.duration_since(exit.started_at)).unwrap_or_default()
}

fn note_oom(record: &mut ContainerRecord) {
    if let State::Running(alive) | State::Paused(alive) = &mut record.state {
        alive.oom_killed = true;
    }
}
