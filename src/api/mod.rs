//! The Docker Engine API server: any Docker client can drive the engine through it.
//!
//! [`table::ENDPOINTS`] is the whole surface: the router and the compatibility page read it. [`server`] turns a
//! connection into calls, [`endpoint`] finds a call's row, [`handlers`] answer per resource, [`reply`] knows the shapes
//! of answers and [`problem`] the statuses of refusals. No handler knows HTTP, and nothing here decides about containers:
//! that is the engine's.

pub mod call;
pub mod compatibility;
pub mod endpoint;
pub mod frames;
mod handlers;
mod hijack;
mod presence;
pub mod problem;
pub mod query;
pub mod reply;
pub mod server;
pub mod table;
pub mod version;
mod websocket;

pub use server::{Listener, listen, serve_connection};
