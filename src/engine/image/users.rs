//! Who uses images and layers: the container and build rooms answer, this room asks before it removes.

use crate::engine::layer::ChainId;

use super::ImageId;

/// A container made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    /// The container's full ID.
    pub container_id: String,
    /// Whether it runs now (then even force does not remove the image).
    pub is_running: bool,
    /// The image as the container's creator wrote it (`busybox:latest`, or an ID).
    pub image: String,
}

/// A room whose objects need images or layers. Asked under no lock; must not block on I/O.
pub trait ImageUsers: Send + Sync {
    /// The containers made from `image`, running or not.
    fn users_of(&self, image: &ImageId) -> Vec<ImageUser>;

    /// Whether something other than an image (the build cache) needs this very layer.
    fn holds_layer(&self, layer: &ChainId) -> bool {
        let _ = layer;
        false
    }
}
