//! Another OCI runtime that carries a container's plan out instead of ours (`--runtime runc`), and what it has to be
//! told besides the plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A runtime of others, for one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExternalRuntime {
    /// What it is called here: `runc`.
    pub name: String,
    /// Its program.
    pub path: PathBuf,
    /// The container's annotations, which some runtimes are steered by.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The system call filter as `linux.seccomp`; such a runtime compiles it itself. `None` is unconfined.
    #[serde(default)]
    pub seccomp: Option<serde_json::Value>,
    /// The host's program that becomes the first process, before the plan's (`--init`).
    #[serde(default)]
    pub init: Option<PathBuf>,
}
