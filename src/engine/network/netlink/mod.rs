//! Netlink, as far as this room needs it: synchronous sockets, messages built in place, answers read in order.
//!
//! The kernel carries out a netlink request before `send` returns, so nothing is gained by waiting asynchronously; and a
//! socket stays in the network namespace it was opened in, so one can be handed to any thread. That makes the few requests
//! here simpler and faster by hand than through the general crates (whose route types alone take 15 s to compile).

mod conntrack;
mod message;
mod route;
mod socket;

pub(super) use conntrack::forget_udp_flows;
pub(super) use message::{Message, attributes};
pub(super) use route::{BridgePort, LinkPeer, RouteSocket, VethPair};
pub(super) use socket::Socket;
