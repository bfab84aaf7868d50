//! Namespaces that a container shares with others, and who may share whose.

use super::live::Container;
use super::record::ContainerRecord;
use super::room::Room;
use super::state::{State, not_running};
use crate::engine::EngineError;
use crate::engine::oci::{Peers, UserNs};

impl Room {
    /// The processes whose PID and IPC namespaces a container joins.
    pub(super) fn peers(&self, record: &ContainerRecord) -> Result<Peers, EngineError> {
        let of = |mode: &Option<String>, what| match mode.as_deref().and_then(|mode| mode.strip_prefix("container:")) {
            Some(name) => joinable_pid(&*self.index.find(name)?, what).map(Some),
            None => Ok(None),
        };
        Ok(Peers { pid: of(&record.host_config.pid_mode, "PID")?, ipc: of(&record.host_config.ipc_mode, "IPC")? })
    }

    /// Whose ids a container has.
    pub fn user_namespace(&self, record: &ContainerRecord) -> UserNs {
        let is_hosts = record.host_config.userns_mode.as_deref() == Some("host");
        match self.rooms.instance.remap().filter(|_| !is_hosts) {
            Some(shift) => UserNs::OfNetwork { uid: shift.uid.first, gid: shift.gid.first },
            None => UserNs::Host,
        }
    }

    /// A process whose user namespace this container must be in, since it shares a namespace that belongs to that one.
    pub(super) fn shared_user_namespace(&self, record: &ContainerRecord) -> Result<Option<u32>, EngineError> {
        for (mode, what) in [(&record.host_config.pid_mode, "PID"), (&record.host_config.ipc_mode, "IPC")] {
            if let Some(name) = mode.as_deref().and_then(|mode| mode.strip_prefix("container:")) {
                let other = self.index.find(name)?;
                self.may_share_with(record, &other.record())?;
                return joinable_pid(&other, what).map(Some);
            }
        }
        Ok(None)
    }

    /// A container with a user namespace has no rights over the namespaces of one without.
    pub(super) fn may_share_with(&self, record: &ContainerRecord, other: &ContainerRecord) -> Result<(), EngineError> {
        if self.user_namespace(record) != UserNs::Host && self.user_namespace(other) == UserNs::Host {
            return Err(EngineError::conflict(format!(
                "cannot share namespaces of container {}: it runs in the host's user namespace; add --userns=host",
                other.name
            )));
        }
        Ok(())
    }
}

/// The process whose namespaces another container shares.
pub(super) fn joinable_pid(other: &Container, what: &str) -> Result<u32, EngineError> {
    match &other.record().state {
        State::Running(alive) | State::Paused(alive) => Ok(alive.pid),
        State::Restarting { .. } => Err(EngineError::conflict(format!(
            "container {} is restarting, wait until the container is running",
            other.id
        ))),
        _ => Err(EngineError::conflict(format!(
            "cannot join {what} namespace of a non running container: {}",
            not_running(&other.id)
        ))),
    }
}
