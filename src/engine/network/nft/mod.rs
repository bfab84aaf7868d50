//! nf_tables: our own table, described as data, shown as nft text, sent by netlink as one transaction.
//!
//! [`Batch`] is what is to change; its `Display` is what one would type into `nft -f`, which is how tests and logs read it.
//! Only commands, sets and statements that [`rules`](super::rules) and the resolver use exist here.

mod encode;
mod table;

pub(super) use encode::NftSocket;
pub(super) use table::{Batch, Chain, Command, Element, Field, Hook, Key, Set, Statement, Verdict};
