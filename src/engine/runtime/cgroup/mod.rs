//! Cgroups: where the hierarchies are, a container's place in them, its limits and what it uses.
//!
//! Version 1, version 2 and mixtures: which controller is where is found out for each one. On a mixed host the
//! version 2 tree is used as well, since it kills and counts a whole group at once.

mod layout;
mod stats;

pub use layout::{CgroupLayout, CgroupMode, Controller, Hierarchy};
pub use stats::{BlkioEntry, BlkioStats, CgroupStats, CpuStats, MemoryStats, PidsStats};

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::HostFacts;
use crate::engine::oci::Limits;

/// A cgroup that could not be made, limited, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("{attempted} {}: {source}", path.display())]
pub struct CgroupError {
    /// What was attempted.
    pub attempted: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

/// This host's cgroup hierarchies. Paths in its methods are relative to each hierarchy's mount.
#[derive(Debug, Clone)]
pub struct Cgroups {
    layout: CgroupLayout,
}

#[allow(unused_variables)]
impl Cgroups {
    /// The hierarchies of a host whose facts were read.
    pub fn detect(host: &HostFacts) -> Self {
        Self::new(host.cgroups.clone())
    }

    /// The hierarchies at `layout`.
    pub fn new(layout: CgroupLayout) -> Self {
        Self { layout }
    }

    /// Makes `path` in every hierarchy, with its missing parents, and applies `limits`.
    pub fn create(&self, path: &str, limits: &Limits) -> Result<(), CgroupError> {
        todo!()
    }

    /// Changes limits of a cgroup in use.
    pub fn update(&self, path: &str, limits: &Limits) -> Result<(), CgroupError> {
        todo!()
    }

    /// The version 2 directory, for `CLONE_INTO_CGROUP`; `None` where there is no version 2 tree.
    pub fn unified_dir(&self, path: &str) -> Result<Option<OwnedFd>, CgroupError> {
        todo!()
    }

    /// Moves a process into `path` in every hierarchy.
    pub fn attach(&self, path: &str, pid: u32) -> Result<(), CgroupError> {
        todo!()
    }

    /// Stops every process in it; returns when they stand still.
    pub fn freeze(&self, path: &str) -> Result<(), CgroupError> {
        todo!()
    }

    /// Lets them go on.
    pub fn thaw(&self, path: &str) -> Result<(), CgroupError> {
        todo!()
    }

    /// Kills every process in it, frozen ones too.
    pub fn kill_all(&self, path: &str) -> Result<(), CgroupError> {
        todo!()
    }

    /// The processes in it and below it, as this process's namespace counts.
    pub fn pids(&self, path: &str) -> Result<Vec<u32>, CgroupError> {
        todo!()
    }

    /// What it uses now.
    pub fn stats(&self, path: &str) -> Result<CgroupStats, CgroupError> {
        todo!()
    }

    /// How many of its processes the OOM killer took.
    pub fn oom_kills(&self, path: &str) -> Result<u64, CgroupError> {
        todo!()
    }

    /// Removes it from every hierarchy, with what is below; waits a while for processes that are ending. Success if
    /// it was not there.
    pub fn remove(&self, path: &str) -> Result<(), CgroupError> {
        todo!()
    }
}
