//! Docker Engine API client in bollard's shapes.
//!
//! [`Docker`] is a cheap handle; clone it freely. Every call is one method with bollard's name, options from
//! [`query_parameters`], bodies and answers from [`models`]. What is unlike bollard: any [`Transport`] plugs in (our own
//! engine in the same process is one), idle connections are kept and used again, and build records keep whatever `aux`
//! they carry.
//!
//! | to | call |
//! | --- | --- |
//! | reach a host | [`Docker::connect_with_defaults`], [`Docker::connect_with_host`], [`Docker::connect_with_transport`] |
//! | watch | [`Docker::events`], [`Docker::stats`], [`Docker::logs`] |
//! | work on containers | [`Docker::create_container`], [`Docker::start_container`], [`Docker::attach_container`] |
//! | work in them | [`Docker::create_exec`], [`Docker::start_exec`] |
//! | get and make images | [`Docker::create_image`], [`Docker::build`], [`Docker::build_image`], [`Docker::image_from_host`] |
//! | give a build what only we have | [`Docker::build_session`] |
//!
//! A call that may be repeated without harm (GET, HEAD) is sent again once when the connection breaks under it; any other
//! only when nothing of it was sent.

mod build;
pub mod build_cache;
pub mod build_context;
pub mod build_session;
mod connection;
mod container;
mod context;
pub mod context_sync;
mod docker;
mod errors;
mod exec;
mod history;
mod image;
mod network;
mod output;
pub mod ssh;
mod streams;
mod system;
#[cfg(test)]
mod tests;
mod transport;
mod volume;
mod yard;

pub use bollard_stubs::{models, query_parameters};
pub use build::BuildCall;
pub use connection::RequestBody;
pub use container::{AttachContainerResults, PathStat};
pub use context::{ContextError, HostChoice};
pub use docker::{ClientVersion, Docker};
pub use errors::Error;
pub use exec::{CreateExecOptions, CreateExecResults, StartExecOptions, StartExecResults};
pub use image::{BuildRecord, BuildSource, DockerCredentials};
pub use output::LogOutput;
pub use transport::{Connecting, Io, TcpTransport, Transport, UnixTransport};
pub use yard::{HostImageRequest, YardInfo};
