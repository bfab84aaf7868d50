//! The execs this engine knows: what was asked, and how far each one is. They do not outlive the engine's memory, as
//! in Docker; the processes do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_stubs::models as docker;

use crate::engine::EngineError;

/// How many ended execs are remembered; older ones are forgotten, as dockerd forgets them after minutes.
const REMEMBERED: usize = 1024;

/// One exec.
#[derive(Debug)]
pub struct Exec {
    /// 64 hex digits.
    pub id: String,
    /// The container it runs in.
    pub container_id: String,
    /// What was asked.
    pub config: docker::ExecConfig,
    /// Whether it is a probe of the health check: nobody asks for it by ID once it has ended.
    pub is_probe: bool,
    state: Mutex<ExecState>,
}

/// How far an exec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecState {
    /// Not started.
    Created,
    /// Being started.
    Starting,
    /// It runs.
    Running {
        /// As the host numbers it.
        pid: u32,
    },
    /// It ended, or never could run.
    Ended {
        /// As the host numbered it; 0 where it never ran.
        pid: u32,
        /// Its exit code.
        code: i64,
    },
}

impl Exec {
    /// How far it is.
    pub fn state(&self) -> ExecState {
        *self.lock()
    }

    /// Notes its end. Whether this is news.
    pub fn end(&self, code: i64) -> bool {
        let mut state = self.lock();
        let pid = match *state {
            ExecState::Ended { .. } => return false,
            ExecState::Running { pid } => pid,
            ExecState::Created | ExecState::Starting => 0,
        };
        *state = ExecState::Ended { pid, code };
        true
    }

    /// Notes that it runs, unless its end came first.
    pub fn runs(&self, pid: u32) {
        let mut state = self.lock();
        if *state == ExecState::Starting {
            *state = ExecState::Running { pid };
        }
    }

    /// Takes it for starting.
    ///
    /// # Errors
    /// Docker's 409 where that happened before.
    pub fn begin(&self) -> Result<(), EngineError> {
        let mut state = self.lock();
        match *state {
            ExecState::Created => {
                *state = ExecState::Starting;
                Ok(())
            }
            ExecState::Ended { .. } => Err(EngineError::conflict(format!("exec command {} has already run", self.id))),
            _ => Err(EngineError::conflict(format!("exec command {} is already running", self.id))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ExecState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All execs by ID.
#[derive(Debug, Default)]
pub struct ExecTable(Mutex<HashMap<String, Arc<Exec>>>);

impl ExecTable {
    /// Adds one; forgets ended ones where they are many.
    pub fn add(&self, id: String, container_id: String, config: docker::ExecConfig) -> Arc<Exec> {
        let state = Mutex::new(ExecState::Created);
        let exec = Arc::new(Exec { id: id.clone(), container_id, config, is_probe: false, state });
        let mut table = self.lock();
        if table.len() >= REMEMBERED {
            table.retain(|_, exec| !matches!(exec.state(), ExecState::Ended { .. }));
        }
        table.insert(id, Arc::clone(&exec));
        exec
    }

    /// Adds a probe of the container's health check, which runs already.
    pub fn add_probe(&self, id: String, container_id: String, config: docker::ExecConfig, pid: u32) -> Arc<Exec> {
        let state = Mutex::new(ExecState::Running { pid });
        let exec = Arc::new(Exec { id: id.clone(), container_id, config, is_probe: true, state });
        self.lock().insert(id, Arc::clone(&exec));
        exec
    }

    /// Forgets one.
    pub fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Finds one.
    ///
    /// # Errors
    /// Docker's 404.
    pub fn find(&self, id: &str) -> Result<Arc<Exec>, EngineError> {
        let table = self.lock();
        if let Some(exec) = table.get(id) {
            return Ok(Arc::clone(exec));
        }
        let mut beginnings = table.iter().filter(|(known, _)| !id.is_empty() && known.starts_with(id));
        match (beginnings.next(), beginnings.next()) {
            (Some((_, exec)), None) => Ok(Arc::clone(exec)),
            _ => Err(EngineError::not_found(format!("No such exec instance: {id}"))),
        }
    }

    /// The IDs of a container's execs that have not ended.
    pub fn live_of(&self, container_id: &str) -> Vec<String> {
        let table = self.lock();
        let lives = |exec: &&Arc<Exec>| matches!(exec.state(), ExecState::Starting | ExecState::Running { .. });
        let mut ids: Vec<String> = table
            .values()
            .filter(|exec| exec.container_id == container_id)
            .filter(lives)
            .map(|exec| exec.id.clone())
            .collect();
        ids.sort();
        ids
    }

    /// A container ended: so did its execs.
    pub fn container_ended(&self, container_id: &str, code: i64) {
        for exec in self.lock().values().filter(|exec| exec.container_id == container_id) {
            if exec.state() != ExecState::Created {
                exec.end(code);
            }
        }
    }

    /// A container is gone: so are its execs.
    pub fn forget(&self, container_id: &str) {
        self.lock().retain(|_, exec| exec.container_id != container_id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Exec>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
