//! Images: a configuration, a list of layers, and the names people give to them.
//!
//! An image's ID is the digest of its configuration, as classic Docker has it. `<root>/images/<hex>.json` keeps one
//! image; `<root>/images/references.json` keeps all tags and digests. Nothing is visible before it is whole: layers are
//! committed first, then the image's record, then its names.

mod config;
mod message;
mod reference;
mod store;
mod users;

pub use config::{HistoryEntry, ImageConfig, RootFs};
pub use message::Progress;
pub use reference::{Reference, ReferenceError};
pub use store::{
    HostImage, Image, ImageId, ImageImport, Images, ListImages, NewImage, PullRequest, PushRequest, RegistryAuth,
    RemoveImage,
};
pub use users::{ImageUser, ImageUsers};
