//! The resolver each container on a user network has at 127.0.0.11.
//!
//! It runs in the container's shim, so names resolve while no engine runs. [`Server`] does no waiting of its own: the
//! shim's event loop asks for [`Server::poll_fds`] and [`Server::next_timeout`] and calls [`Server::ready`].

mod answer;
mod config;
mod inside;
mod message;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use config::write_table;
pub use config::{DnsConfig, NameTable};
pub use server::{Interest, Server};
