//! Images: a configuration, a list of layers, and the names people give to them.
//!
//! An image's ID is the digest of its configuration, as classic Docker has it. `<root>/images/<hex>.json` keeps one
//! image; `<root>/images/references.json` keeps all tags and digests. Nothing is visible before it is whole: layers are
//! committed first, then the image's record, then its names.

mod archive;
mod config;
mod elf;
mod far;
mod host;
mod import;
mod list;
mod load;
mod message;
mod packing;
mod pattern;
mod pull;
mod push;
mod record;
mod reference;
mod remove;
mod request;
mod save;
mod store;
mod stream;
mod users;

pub use crate::engine::registry::Access as RegistryAuth;
pub use archive::{ArchiveForm, ImageArchive};
pub use config::{HistoryEntry, ImageConfig, RootFs, host_architecture};
pub use far::{FarDocument, FarLayers};
pub use message::Progress;
pub use packing::{GZIP_LEVEL, Packing};
pub use record::{Image, ImageId};
pub use reference::{Reference, ReferenceError};
pub use request::{HostImage, ImageImport, ListImages, ManifestForm, NewImage, PullRequest, PushRequest, RemoveImage};
pub use store::Images;
pub use users::{ImageUser, ImageUsers};
