//! Seccomp: from a profile (which system calls, under which conditions) to the program the kernel loads.
//!
//! When a filter is loaded, the kernel runs it once for every system call number to learn which ones are always
//! allowed. A list of comparisons therefore costs a millisecond at each start of a container; a balanced tree of number
//! ranges, as [`compile`](tree::compile) makes, costs a twentieth of that.

mod docker;
mod profile;
mod resolved;
mod rules;
mod tree;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::CapSet;
use profile::{Circumstances, Profile};

/// The system calls of a container unless told otherwise.
const DEFAULT_RULES: &str = include_str!("../../../../assets/seccomp.rules");

/// `BPF_MAXINSNS` (include/uapi/linux/bpf_common.h).
const MOST_INSTRUCTIONS: usize = 4096;

/// A compiled filter: instructions as the kernel's `sock_filter` packs them (code, jt, jf, k), eight bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter {
    instructions: Vec<u64>,
}

fn default_profile() -> Profile {
    rules::parse(DEFAULT_RULES).expect("the built-in profile parses, which a test proves")
}

/// The default profile as `linux.seccomp`, for runtimes that compile it themselves.
pub fn default_for_others(capabilities: CapSet, kernel: (u32, u32)) -> serde_json::Value {
    resolved::resolved(&default_profile(), &Circumstances { capabilities, kernel })
}

/// A profile in Docker's JSON form as `linux.seccomp`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn docker_json_for_others(
    json: &str,
    capabilities: CapSet,
    kernel: (u32, u32),
) -> Result<serde_json::Value, String> {
    Ok(resolved::resolved(&docker::parse(json)?, &Circumstances { capabilities, kernel }))
}

/// Default filters compiled so far, by capabilities: containers with the same ones share a filter, and compiling it
/// takes longer than loading it. Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub struct FilterCache(Arc<Mutex<HashMap<CapSet, Filter>>>);

impl FilterCache {
    /// The default profile's filter for these capabilities. One cache serves one kernel.
    pub fn default_for(&self, capabilities: CapSet, kernel: (u32, u32)) -> Filter {
        let Ok(mut filters) = self.0.lock() else { return Filter::default_for(capabilities, kernel) };
        filters.entry(capabilities).or_insert_with(|| Filter::default_for(capabilities, kernel)).clone()
    }
}

impl Filter {
    /// The default profile, for a process with these capabilities on a kernel of this version.
    pub fn default_for(capabilities: CapSet, kernel: (u32, u32)) -> Self {
        Self::compile(&default_profile(), capabilities, kernel)
    }

    /// A profile in Docker's JSON form.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_docker_json(json: &str, capabilities: CapSet, kernel: (u32, u32)) -> Result<Self, String> {
        let filter = Self::compile(&docker::parse(json)?, capabilities, kernel);
        match filter.instructions.len() {
            ..=MOST_INSTRUCTIONS => Ok(filter),
            count => Err(format!("it compiles to {count} instructions, and the kernel takes {MOST_INSTRUCTIONS}")),
        }
    }

    fn compile(profile: &Profile, capabilities: CapSet, kernel: (u32, u32)) -> Self {
        Self { instructions: tree::compile(profile, &Circumstances { capabilities, kernel }) }
    }

    /// The instructions, as the kernel reads them.
    pub fn instructions(&self) -> &[u64] {
        &self.instructions
    }
}

#[cfg(test)]
mod tests;
