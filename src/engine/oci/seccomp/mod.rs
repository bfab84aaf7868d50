//! Seccomp: from a profile (which system calls, under which conditions) to the BPF program the kernel loads.

use serde::{Deserialize, Serialize};

/// A compiled filter: instructions as the kernel's `sock_filter` packs them (code, jt, jf, k), eight bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter {
    instructions: Vec<u64>,
}
