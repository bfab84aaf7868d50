//! Base images: found here, or pulled with progress.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_stubs::models as docker;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::platform::is_same;
use super::progress::BuildFailure;
use crate::engine::image::{Image, ImageConfig, Images, Progress, PullRequest, Reference, RegistryAuth};
use crate::engine::registry::Platform;
use crate::engine::{EngineError, ErrorKind};

/// Finds base images for one build.
pub(super) struct Bases {
    images: Images,
    /// Whether to ask the registry even where the image is present.
    always_pull: bool,
    auth: HashMap<String, docker::AuthConfig>,
    /// Two stages on one image pull it once. What is in the cell was pulled by this build.
    pulls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<bool>>>>,
}

impl Bases {
    pub(super) fn new(images: Images, always_pull: bool, auth: HashMap<String, docker::AuthConfig>) -> Self {
        Self { images, always_pull, auth, pulls: Mutex::default() }
    }

    /// The image that `name` means, pulled where it is missing or not of the platform that is `wanted`; `progress` is told
    /// of the pull.
    pub(super) async fn image(
        &self,
        name: &str,
        wanted: Option<&Platform>,
        cancel: &CancellationToken,
        mut progress: impl FnMut(Progress),
    ) -> Result<Image, BuildFailure> {
        let cell = {
            let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(pulls.entry(name.to_owned()).or_default())
        };
        let mut was_pulled = cell.lock().await;
        if !self.always_pull || *was_pulled {
            match self.images.find(name) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // Of several images whose IDs begin so none is meant: the name is one for a registry.
                Err(error) if error.kind() == ErrorKind::InvalidParameter => {}
                found => {
                    let image = found?;
                    if wanted.is_none_or(|wanted| is_same(wanted, &platform_of(&image.config))) {
                        return Ok(image);
                    }
                }
            }
        }
        let reference = Reference::parse(name).map_err(EngineError::from)?.or_latest();
        let auth = self.auth_for(&reference);
        let request = PullRequest { reference, platform: wanted.map(ToString::to_string), auth };
        let mut pull = self.images.pull(request);
        loop {
            let message = tokio::select! {
                message = pull.next() => message,
                () = cancel.cancelled() => return Err(BuildFailure::cancelled()),
            };
            match message {
                None => break,
                Some(Progress { error: Some(message), kind, .. }) => {
                    return Err(EngineError::new(kind.unwrap_or(ErrorKind::System), message).into());
                }
                Some(message) => progress(message),
            }
        }
        *was_pulled = true;
        Ok(self.images.find(name)?)
    }

    /// The credentials for a reference's registry.
    pub(super) fn auth_for(&self, reference: &Reference) -> Option<RegistryAuth> {
        access(&self.auth, reference)
    }
}

/// The platform of an image.
pub(super) fn platform_of(config: &ImageConfig) -> Platform {
    Platform { architecture: config.architecture.clone(), os: config.os.clone(), variant: config.variant.clone() }
}

/// The credentials for a reference's registry; Docker's own goes by several names.
pub(super) fn access(auth: &HashMap<String, docker::AuthConfig>, reference: &Reference) -> Option<RegistryAuth> {
    let domain = reference.domain();
    let hub = ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];
    let config = match auth.get(domain) {
        Some(config) => Some(config),
        None if domain == "docker.io" => hub.iter().find_map(|name| auth.get(*name)),
        None => auth.iter().find_map(|(server, config)| (host_of(server) == domain).then_some(config)),
    }?;
    Some(RegistryAuth {
        username: config.username.clone().unwrap_or_default(),
        password: config.password.clone().unwrap_or_default(),
        identity_token: None,
        registry_token: None,
    })
}

/// The host of a server's address: `https://registry.example:5000/v2/` names `registry.example:5000`.
fn host_of(server: &str) -> &str {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    bare.split('/').next().unwrap_or(bare)
}
