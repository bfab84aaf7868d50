//! How many containers there are, and the room's end.

use std::time::Duration;

use super::room::Room;
use super::state::State;

/// How long verbs under way may take when the engine closes.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);

/// How many containers are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// With processes that run.
    pub running: usize,
    /// With processes that stand still.
    pub paused: usize,
    /// Without processes.
    pub stopped: usize,
}

impl Room {
    /// How many there are in which state.
    pub fn counts(&self) -> Counts {
        self.index.all().iter().fold(Counts::default(), |mut counts, container| {
            match &container.record().state {
                State::Running(_) | State::Restarting { .. } => counts.running += 1,
                State::Paused(_) => counts.paused += 1,
                _ => counts.stopped += 1,
            }
            counts
        })
    }

    /// Stops watching and waits for verbs under way; what takes longer is finished by the next engine.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(CLOSE_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!(count = self.tasks.len(), "verbs are still under way; the next engine finishes them");
        }
        self.give_back_cgroup().await;
    }

    /// Removes the cgroup that all containers live under, where none does: a closed engine leaves nothing on the host.
    async fn give_back_cgroup(&self) {
        if self.index.all().iter().any(|container| container.shim().is_some()) {
            return;
        }
        let (cgroups, parent) = (self.cgroups.clone(), self.rooms.instance.cgroup_parent());
        let removed = tokio::task::spawn_blocking(move || cgroups.remove(&parent)).await;
        if let Ok(Err(error)) = removed {
            tracing::debug!(%error, "something else is still in the engine's cgroup");
        }
    }
}
