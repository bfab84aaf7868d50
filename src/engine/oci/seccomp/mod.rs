//! Seccomp: from a profile (which system calls, under which conditions) to the program the kernel loads.
//!
//! When a filter is loaded, the kernel runs it once for every system call number to learn which ones are always
//! allowed. A list of comparisons therefore costs a millisecond at each start of a container; a balanced tree of number
//! ranges, as [`compile`](tree::compile) makes, costs a twentieth of that.

mod docker;
mod profile;
mod rules;
mod tree;

use serde::{Deserialize, Serialize};

use super::CapSet;
use profile::{Circumstances, Profile};

/// The system calls of a container unless told otherwise.
const DEFAULT_RULES: &str = include_str!("../../../../assets/seccomp.rules");

/// A compiled filter: instructions as the kernel's `sock_filter` packs them (code, jt, jf, k), eight bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filter {
    instructions: Vec<u64>,
}

impl Filter {
    /// The default profile, for a process with these capabilities on a kernel of this version.
    pub fn default_for(capabilities: CapSet, kernel: (u32, u32)) -> Self {
        let profile = rules::parse(DEFAULT_RULES).expect("the built-in profile parses, which a test proves");
        Self::compile(&profile, capabilities, kernel)
    }

    /// A profile in Docker's JSON form.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_docker_json(json: &str, capabilities: CapSet, kernel: (u32, u32)) -> Result<Self, String> {
        Ok(Self::compile(&docker::parse(json)?, capabilities, kernel))
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
