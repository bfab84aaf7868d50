//! The images of one state root and their names.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bollard_stubs::models as docker;
use bytes::Bytes;
use futures_util::Stream;
use tokio::io::AsyncRead;

use crate::engine::error::EngineError;
use crate::engine::events::Events;
use crate::engine::layer::{ChainId, Layers, digest_newtype};
use crate::engine::store::StateRoot;

use super::{ImageConfig, ImageUsers, Progress, Reference};

digest_newtype! {
    /// An image's ID: the digest of its configuration.
    ImageId
}

/// One kept image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its ID.
    pub id: ImageId,
    /// Its configuration.
    pub config: ImageConfig,
    /// The bytes `id` is the digest of.
    pub raw_config: Vec<u8>,
    /// Its highest layer; `None` for an image without layers.
    pub top: Option<ChainId>,
    /// Its layers, lowest first.
    pub layers: Vec<ChainId>,
    /// The image it was built or committed on, if that is known.
    pub parent: Option<ImageId>,
    /// Bytes of its files' content.
    pub size: u64,
}

/// Which images to list.
#[derive(Debug, Clone, Default)]
pub struct ListImages {
    /// Also images without a name that others stand on.
    pub all: bool,
    /// Docker's filters (`dangling`, `label`, `reference`, `before`, `since`, `until`).
    pub filters: HashMap<String, Vec<String>>,
    /// Count how many bytes are shared with other images.
    pub shared_size: bool,
}

/// How to remove an image.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveImage {
    /// Also if it has several names or stopped containers.
    pub force: bool,
    /// Keep untagged parents.
    pub noprune: bool,
}

/// Who asks a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// User name; empty for nobody.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// An OAuth2 refresh token, instead of a password.
    pub identity_token: Option<String>,
    /// A token for the registry itself, sent as it is.
    pub registry_token: Option<String>,
}

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Which image; `latest` if neither tag nor digest is named.
    pub reference: Reference,
    /// `os[/arch[/variant]]`; this host's if `None`.
    pub platform: Option<String>,
    /// Who asks.
    pub auth: Option<RegistryAuth>,
}

/// What to push.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// Which repository; all its local tags if none is named.
    pub reference: Reference,
    /// Who asks.
    pub auth: Option<RegistryAuth>,
}

/// What to make an image of from this host's own files.
#[derive(Debug, Clone, Default)]
pub struct HostImage {
    /// Its name.
    pub reference: Option<Reference>,
    /// Programs, by name (searched in `PATH`'s usual folders) or absolute path.
    pub programs: Vec<String>,
    /// Other files or folders of the host, copied to the same place.
    pub extra_files: Vec<PathBuf>,
    /// What a container runs by default.
    pub cmd: Vec<String>,
}

/// A root file system's tar that becomes an image.
#[derive(Debug, Clone, Default)]
pub struct ImageImport {
    /// Its name.
    pub reference: Option<Reference>,
    /// What to say about it.
    pub message: Option<String>,
    /// Dockerfile instructions (`CMD ["sh"]`) for its configuration, already applied.
    pub config: docker::ImageConfig,
    /// `os[/arch[/variant]]`; this host's if `None`.
    pub platform: Option<String>,
}

/// An image whose layers exist already; where build and commit end.
#[derive(Debug, Clone, Default)]
pub struct NewImage {
    /// Its configuration; `rootfs` is filled in from `layers`.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<ChainId>,
    /// Its names.
    pub tags: Vec<Reference>,
    /// The image it stands on.
    pub parent: Option<ImageId>,
}

/// All kept images. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    layers: Arc<Layers>,
}

impl Images {
    /// Reads which images the state root holds.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn open(root: Arc<StateRoot>, layers: Arc<Layers>, events: Arc<Events>) -> Result<Self, EngineError> {
        let _ = (root, events);
        Ok(Self { layers })
    }

    /// Adds a room to ask before anything is removed. Called once a room, at start.
    pub fn add_users(&self, users: Arc<dyn ImageUsers>) {
        let _ = users;
    }

    /// The layers that images are made of.
    pub fn layers(&self) -> &Arc<Layers> {
        &self.layers
    }

    /// The image that a person means by `name`: a reference, an ID, or the beginning of an ID.
    ///
    /// # Errors
    /// `NotFound`: `No such image: x`.
    pub fn find(&self, name: &str) -> Result<Image, EngineError> {
        let _ = name;
        todo!("land signatures first")
    }

    /// The image with this ID.
    pub fn get(&self, id: &ImageId) -> Option<Image> {
        let _ = id;
        todo!("land signatures first")
    }

    /// The names of an image, tags only, as people write them.
    pub fn tags_of(&self, id: &ImageId) -> Vec<String> {
        let _ = id;
        todo!("land signatures first")
    }

    /// Lists images, newest first.
    ///
    /// # Errors
    /// `InvalidParameter` for a filter that does not exist.
    pub fn list(&self, list: &ListImages) -> Result<Vec<docker::ImageSummary>, EngineError> {
        let _ = list;
        todo!("land signatures first")
    }

    /// Everything known of one image.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn inspect(&self, name: &str) -> Result<docker::ImageInspect, EngineError> {
        let _ = name;
        todo!("land signatures first")
    }

    /// How an image came to be, newest step first.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn history(&self, name: &str) -> Result<Vec<docker::ImageHistoryResponseItem>, EngineError> {
        let _ = name;
        todo!("land signatures first")
    }

    /// Gives the image `source` another name.
    ///
    /// # Errors
    /// `NotFound`; `InvalidParameter` for a bad name.
    pub async fn tag(&self, source: &str, repo: &str, tag: Option<&str>) -> Result<(), EngineError> {
        let _ = (source, repo, tag);
        todo!("land signatures first")
    }

    /// Takes a name from an image, and with the last one the image itself, as Docker does.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while a container uses it or names are in the way.
    pub async fn remove(
        &self,
        name: &str,
        remove: RemoveImage,
    ) -> Result<Vec<docker::ImageDeleteResponseItem>, EngineError> {
        let _ = (name, remove);
        todo!("land signatures first")
    }

    /// Removes images nobody uses: those without a name, or with filter `dangling=false` all.
    ///
    /// # Errors
    /// `InvalidParameter` for a filter that does not exist.
    pub async fn prune(
        &self,
        filters: &HashMap<String, Vec<String>>,
    ) -> Result<docker::ImagePruneResponse, EngineError> {
        let _ = filters;
        todo!("land signatures first")
    }

    /// Pulls an image; a failure is the last message. Dropping the stream cancels.
    pub fn pull(&self, request: PullRequest) -> impl Stream<Item = Progress> + Send + Unpin + 'static {
        let _ = request;
        futures_util::stream::empty()
    }

    /// Pushes an image; a failure is the last message. Dropping the stream cancels.
    pub fn push(&self, request: PushRequest) -> impl Stream<Item = Progress> + Send + Unpin + 'static {
        let _ = request;
        futures_util::stream::empty()
    }

    /// Loads images from an archive made by `save` (Docker's or OCI's form, plain or gzip); a failure is the last
    /// message.
    pub fn load(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        quiet: bool,
    ) -> impl Stream<Item = Progress> + Send + Unpin + 'static {
        let _ = (archive, quiet);
        futures_util::stream::empty()
    }

    /// Saves images into one archive that is Docker's and OCI's form at once.
    ///
    /// # Errors
    /// `NotFound`; what goes wrong later ends the stream with an error.
    pub fn save(
        &self,
        names: &[String],
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin + 'static, EngineError> {
        let _ = names;
        Ok(futures_util::stream::empty())
    }

    /// Makes an image of a root file system's tar (plain or gzip, xz, bzip2, zstd).
    ///
    /// # Errors
    /// `InvalidParameter` for a bad archive.
    pub async fn import(
        &self,
        import: ImageImport,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<ImageId, EngineError> {
        let _ = (import, archive);
        todo!("land signatures first")
    }

    /// Makes an image of this host's own programs and what they need to run.
    ///
    /// # Errors
    /// `NotFound` for a program the host does not have.
    pub async fn from_host(&self, host: HostImage) -> Result<ImageId, EngineError> {
        let _ = host;
        todo!("land signatures first")
    }

    /// Makes an image of existing layers.
    ///
    /// # Errors
    /// `NotFound` for a missing layer; `System` where the disk refuses.
    pub async fn create(&self, new: NewImage) -> Result<Image, EngineError> {
        let _ = new;
        todo!("land signatures first")
    }
}
