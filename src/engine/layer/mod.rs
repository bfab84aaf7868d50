//! Layers: a tar becomes a directory, a directory becomes a tar, and directories are stacked into a root.
//!
//! Every layer is one directory in overlayfs's own form (a whiteout is a char device 0:0, an opaque directory carries
//! `trusted.overlay.opaque`), unpacked without looking at its parents, so layers unpack in parallel and a `RUN` step's
//! upper directory becomes a layer by a rename. Nothing here trusts an archive: all paths are resolved by directory
//! descriptor inside the layer's own root, and a refusal names the entry.

mod apply;
mod archive;
mod changes;
mod compression;
mod digest;
mod error;
mod header;
mod inherit;
mod overlay;
mod pipe;
mod place;
mod record;
mod share;
mod store;
mod tape;
mod watched;
mod write;

pub(crate) use apply::apply_tar_digesting;
pub use apply::{Applied, ApplyOptions, Limits, Whiteouts, apply_tar};
pub use changes::changes;
pub(crate) use compression::inflater;
pub(crate) use digest::digest_newtype;
pub use digest::{ChainId, DiffId, Digest, DigestError, Hasher, Hashing};
pub use error::LayerError;
pub(crate) use header::{file_header, padding};
pub use overlay::{OverlayStack, VOLATILE, detached_root};
pub(crate) use pipe::{ChunkReader, ChunkSender, chunks, inflate};
pub(crate) use place::open_in_root;
pub use record::{Blob, Layer};
pub(crate) use share::tree as share_tree;
pub use store::{Commit, Durability, LayerHold, Layers, Unpacked};
pub(crate) use watched::{Watched, go_on};
pub use write::{WriteOptions, write_tar};
