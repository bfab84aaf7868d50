//! The distribution client: resolve, authenticate, pull, push.
//!
//! Speaks the OCI distribution protocol to any registry: plain HTTP to loopback addresses, TLS with the host's roots to
//! all others. It keeps no state between operations and knows nothing of layers or images; bytes go to whoever asks.

mod backoff;
mod blob;
mod challenge;
mod client;
mod endpoint;
mod error;
mod manifest;
mod tls;
mod upload;

pub use client::{Access, Registry};
pub use error::RegistryError;
pub use manifest::{Descriptor, Manifest, Platform, Resolved, media};
pub use upload::Upload;

#[cfg(test)]
pub(crate) mod fake;
