//! Removing containers, one or all that are stopped.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models as docker;
use jiff::Timestamp;

use super::create::disk;
use super::live::{Container, Intent};
use super::options::{RemoveContainer, StopOptions, StopTimeout};
use super::room::Room;
use super::state::State;
use crate::engine::EngineError;
use crate::engine::filters::Filters;

impl Room {
    /// `DELETE /containers/{id}`.
    pub async fn remove(self: &Arc<Self>, id: &str, options: RemoveContainer) -> Result<(), EngineError> {
        let container = self.index.find(id)?;
        if options.link {
            return Err(EngineError::invalid(format!("cannot remove link {id}: links of containers go with them")));
        }
        if matches!(container.record().state, State::Removing { .. }) {
            return Err(super::state::removing(&container.id));
        }
        let _verb = container.verb.lock().await;
        self.remove_locked(&container, options).await
    }

    /// Removes a container whose verb lock is held.
    pub async fn remove_locked(
        self: &Arc<Self>,
        container: &Arc<Container>,
        options: RemoveContainer,
    ) -> Result<(), EngineError> {
        if container.pulse().borrow().is_removed {
            return Ok(());
        }
        let record = container.record();
        if record.state.is_running() {
            if !options.force {
                return record.state.may_remove(&record.id, &record.name);
            }
            self.kill_for_removal(container).await?;
        }
        let record = container.record();
        record.state.may_remove(&record.id, &record.name)?;
        // It has ended, but its clean-up may still be under way.
        container.settled().await;
        let record = container.record();
        record.state.may_remove(&record.id, &record.name)?;
        if !options.volumes {
            self.rooms.volumes.set_free(&record.mounts).await?;
        }
        // Only shown, not written: killed now, the container is still there whole; once its folder is renamed away it is
        // gone whole.
        let before = record.state.clone();
        container
            .change_unwritten(|record| record.state = State::Removing { exit: record.state.exit().cloned() })
            .await;
        drop(container.take_waiting());

        let (root, folder) = (Arc::clone(&self.rooms.root), container.folder.clone());
        let turn = self.folders.acquire().await; // nobody closes it
        let discarded =
            Self::blocking(move || root.discard(&folder.state).map_err(disk("remove the container's folder")));
        let discarded = discarded.await;
        drop(turn);
        let trash = match discarded {
            Ok(trash) => trash,
            Err(error) => {
                let why = error.message().to_owned();
                let exit = before.exit().cloned();
                container.change_unwritten(|record| record.state = State::Dead { why, exit }).await;
                return Err(EngineError::system(format!("unable to remove filesystem for {}: {error}", container.id)));
            }
        };
        self.index.remove(&container.id);
        self.execs.forget(&container.id);
        if options.volumes {
            self.rooms.volumes.release(&record.mounts).await;
        }
        container.publish(&self.rooms.events, "destroy", []);
        container.beat(|pulse| {
            pulse.is_removed = true;
            pulse.is_running = false;
        });
        self.quiet.disturb(&self.closing);
        let room = Arc::clone(self);
        self.tasks.spawn(async move {
            let _turn = room.folders.acquire().await;
            let emptied = tokio::task::spawn_blocking(move || trash.empty());
            if let Ok(Err(error)) = emptied.await {
                tracing::warn!(%error, "the trash is left for the next start");
            }
        });
        Ok(())
    }

    async fn kill_for_removal(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), EngineError> {
        if matches!(container.record().state, State::Restarting { .. }) {
            let options = StopOptions { timeout: Some(StopTimeout::After(Duration::ZERO)), ..StopOptions::default() };
            return self.stop_locked(container, &options, Intent::Stop).await;
        }
        self.end_for_good(container, Intent::Stop).await;
        self.kill_and_wait(container).await.map_err(|error| {
            EngineError::conflict(format!(
                "cannot remove container \"/{}\": could not kill container: {error}",
                container.record().name
            ))
        })
    }

    /// `POST /containers/prune`.
    pub async fn prune(self: &Arc<Self>, filters: &Filters) -> Result<docker::ContainerPruneResponse, EngineError> {
        filters.accept(&["label", "label!", "until"])?;
        let until = filters.instant("until", Timestamp::now())?;
        let mut deleted = Vec::new();
        let mut freed = 0_i64;
        for container in self.index.all() {
            let record = container.record();
            let is_old = until.is_none_or(|until| record.created < until);
            if record.state.is_running() || !is_old || !filters.labels(&record.labels()) {
                continue;
            }
            let upper = container.folder.upper();
            let size = Self::blocking(move || Ok(written_bytes(&upper))).await?;
            let _verb = container.verb.lock().await;
            match self.remove_locked(&container, RemoveContainer { volumes: true, ..RemoveContainer::default() }).await
            {
                Ok(()) => {
                    deleted.push(container.id.clone());
                    freed = freed.saturating_add(size);
                }
                // It was started meanwhile.
                Err(error) => tracing::debug!(container = container.id, %error, "not pruned"),
            }
        }
        Ok(docker::ContainerPruneResponse { containers_deleted: Some(deleted), space_reclaimed: Some(freed) })
    }
}

/// The bytes of all files below `folder`; what can't be read counts nothing. Walks the disk.
pub fn written_bytes(folder: &Path) -> i64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(
            |(path, metadata)| {
                if metadata.is_dir() { written_bytes(&path) } else { i64::try_from(metadata.size()).unwrap_or(0) }
            },
        )
        .sum()
}
