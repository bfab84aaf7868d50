//! Networks: which container reaches whom, under which address, name and host port.
//!
//! [`Networks`] is the room's door. It keeps the networks' records, hands out addresses ([`ipam`]), makes links and network
//! namespaces by netlink, and keeps one nft table of our own with masquerading, isolation and published ports. Everything
//! that decides is pure (`ipam`, [`ports`], `rules`, [`files`], `create`); what acts is thin. Nothing here starts a
//! process, and no foreign table, link or route is ever touched.
//!
//! Containers keep their links, rules and names while no engine runs: the kernel holds the first two, and names are
//! answered by each container's shim ([`dns`]) from a file that this room rewrites whenever a member comes or goes.

mod claims;
mod connecting;
mod create;
pub mod dns;
pub mod endpoint;
pub mod error;
pub mod files;
pub mod ipam;
mod kernel;
mod listener;
mod name_files;
mod names;
mod netlink;
mod networks;
mod nft;
pub mod ports;
pub mod record;
mod rules;
mod sandbox;
mod show;
mod state;
#[cfg(test)]
mod tests;

pub use endpoint::{Endpoint, EndpointRequest, MacAddr};
pub use error::NetworkError;
pub use networks::{ListNetworks, Networks};
pub use ports::{PortRequest, Protocol, PublishedPort};
pub use record::{Driver, NetworkMode, NetworkRecord};
