//! What happens when a container ends, whoever ended it: one task per live container waits for its shim's word.
//!
//! The order is the order clients rely on: the record says how it ended, `die` is told, its network places and mounts
//! are given back, and only then do waits return; a restart or a removal of its own follows.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::create::disk;
use super::live::{Container, Intent};
use super::options::RemoveContainer;
use super::record::ContainerRecord;
use super::restart::{Ended, restart_after};
use super::room::{Room, remove_folder};
use super::state::{Exit, State};
use crate::engine::network::Endpoint;
use crate::engine::shim::{ExitRecord, ShimEvent};
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
                    Some(ShimEvent::Exited(exit)) => return room.ended(&container, Some(exit)).await,
                    Some(ShimEvent::Gone) | None => {
                        let left = read_record::<ExitRecord>(&container.folder.exit()).ok().flatten();
                        return room.ended(&container, left).await;
                    }
                }
            }
        });
    }

    /// Puts on record that a container ended, and cleans up after it.
    pub async fn ended(self: &Arc<Self>, container: &Arc<Container>, left: Option<ExitRecord>) {
        let intent = container.take_intent();
        let before = container.record();
        let Some(alive) = before.state.alive().cloned() else { return };
        let exit = match left {
            Some(left) => Exit {
                code: left.code,
                signal: left.signal,
                oom_killed: left.oom_killed || alive.oom_killed,
                started_at: alive.started_at,
                finished_at: left.finished_at,
                error: left.error.unwrap_or_default(),
            },
            None => Exit {
                code: UNKNOWN_EXIT,
                signal: None,
                oom_killed: alive.oom_killed,
                started_at: alive.started_at,
                finished_at: Timestamp::now(),
                error: "the container's shim ended without a word; how the container ended is not known".to_owned(),
            },
        };
        let ran = Duration::try_from(exit.finished_at.duration_since(exit.started_at)).unwrap_or_default();
        let pause = if intent == Intent::Restart {
            None
        } else {
            restart_after(
                before.host_config.restart_policy.as_ref(),
                Ended {
                    code: exit.code,
                    ran,
                    restarts: before.restart_count,
                    last_pause: container.last_pause(),
                    is_stopped_by_person: intent == Intent::Stop || before.is_stopped_by_person,
                },
            )
        };
        container.set_last_pause(pause.unwrap_or_default());
        let edit = |record: &mut ContainerRecord| {
            let exit = exit.clone();
            record.state = if pause.is_some() { State::Restarting { exit } } else { State::Exited { exit } };
            record.is_stopped_by_person |= intent == Intent::Stop;
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
        if exit.oom_killed && !alive.oom_killed {
            container.publish(&self.rooms.events, "oom", []);
        }
        let attributes = [("exitCode", exit.code.to_string()), ("execDuration", ran.as_secs().to_string())];
        container.publish(&self.rooms.events, "die", attributes);
        self.execs.container_ended(&container.id, exit.code);
        self.clean_up(container, &before).await;
        container.beat(|pulse| {
            pulse.is_running = pause.is_some();
            pulse.exits += 1;
            pulse.exit = Some(exit);
        });
        if let Some(pause) = pause {
            self.restart_later(container, pause);
        } else if before.is_auto_removed() && intent != Intent::Restart {
            self.remove_later(container);
        }
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

fn note_oom(record: &mut ContainerRecord) {
    if let State::Running(alive) | State::Paused(alive) = &mut record.state {
        alive.oom_killed = true;
    }
}
