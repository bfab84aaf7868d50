//! What callers ask of the image room.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bollard_stubs::models as docker;

use crate::engine::layer::ChainId;

use super::{ImageConfig, ImageId, Reference, RegistryAuth};

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
    /// What its manifest is.
    pub form: ManifestForm,
}

/// What an image's manifest in a registry is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManifestForm {
    /// Whether it is OCI's instead of Docker's.
    pub is_oci: bool,
    /// Its annotations, which only OCI's has.
    pub annotations: BTreeMap<String, String>,
}

impl ManifestForm {
    /// Whether it has to be OCI's.
    pub(super) fn wants_oci(&self) -> bool {
        self.is_oci || !self.annotations.is_empty()
    }
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
