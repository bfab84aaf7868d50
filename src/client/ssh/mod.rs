//! Private ssh keys in files, and an agent that signs with them.

mod agent;
mod key;
mod wire;

pub(super) use agent::converse;
pub use key::{Key, KeyError};
