//! The embedded container engine; `Engine` (in `door`) is its only door.

pub mod build;
pub mod bundle;
pub mod container;
pub mod door;
pub mod error;
pub mod events;
pub mod filters;
pub mod image;
pub mod instance;
pub mod layer;
pub mod network;
pub mod oci;
pub mod registry;
pub mod remap;
pub mod runtime;
pub mod runtimes;
pub mod shim;
pub mod store;
pub mod system;
pub mod trace;
pub mod volume;

pub use door::{Engine, EngineOptions};
pub use error::{EngineError, ErrorKind};
