//! Carries out a launch plan: namespaces, mounts, cgroups, seccomp, capabilities, terminal.
//!
//! [`create`], [`Created::start`] and [`exec`] are for the shim: they clone the calling process, which must have one
//! thread only. [`cgroup`] and [`HostFacts`] are for the engine as well.

mod at_rest;
pub mod cgroup;
mod devices;
mod enter;
pub mod external;
mod ground;
mod hide;
mod hooks;
mod host;
mod init;
mod launch;
mod mapping;
mod mounts;
mod network;
mod path;
mod process;
mod reaper;
mod remap;
mod root;
mod start;
mod step;
mod talk;
mod terminal;
mod user;

pub use at_rest::{AtRest, AtRestError, at_rest};
pub use cgroup::{CgroupStats, Cgroups, OomSource};
pub use hooks::run_hook;
pub use host::HostFacts;
pub use launch::{Created, ExecTarget, Outside, Running, Stdio, create, create_traced, create_with, exec};
pub use network::raise_loopback;
pub use remap::own_new_files_as;
pub use start::start_later;
pub use step::{Step, StepError};
