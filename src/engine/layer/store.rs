//! The layers of one state root: `<root>/layers/<chain hex>/{diff/, layer.json, headers}`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::store::StateRoot;

use super::{ChainId, Layer, LayerError};

/// All kept layers.
pub struct Layers {
    _root: Arc<StateRoot>,
}

/// Keeps a layer from being removed for as long as it lives, though no image has it (a build's or pull's work).
#[derive(Debug)]
pub struct LayerHold {}

/// A layer being unpacked into its own temp directory.
pub struct Unpack {}

impl Layers {
    /// Reads which layers the state root holds.
    ///
    /// # Errors
    /// [`LayerError`] where the disk refuses.
    pub fn open(root: Arc<StateRoot>) -> Result<Self, LayerError> {
        Ok(Self { _root: root })
    }

    /// Makes the directory `tree`, an overlay's upper directory, the layer above `parent`: by rename, without a copy.
    /// Where that very layer exists already, it is answered and the tree goes. Blocking.
    ///
    /// # Errors
    /// [`LayerError`]; the tree is then still where it was, or gone with its temp folder.
    pub fn commit_tree(&self, parent: Option<&ChainId>, tree: PathBuf) -> Result<Layer, LayerError> {
        let _ = (parent, tree);
        todo!("land signatures first")
    }

    /// The layer called `chain`.
    pub fn get(&self, chain: &ChainId) -> Option<Layer> {
        let _ = chain;
        todo!("land signatures first")
    }

    /// The directories of `top` and all layers below it, top first, as overlayfs wants them.
    ///
    /// # Errors
    /// [`LayerError::Missing`].
    pub fn lowers(&self, top: &ChainId) -> Result<Vec<PathBuf>, LayerError> {
        let _ = top;
        todo!("land signatures first")
    }

    /// Keeps `chain` (and so all below it) from being removed while the answer lives.
    pub fn hold(&self, chain: &ChainId) -> LayerHold {
        let _ = chain;
        LayerHold {}
    }

    /// Removes `chain`, and then every layer below it that nothing else stands on, unless held or `wanted`. Answers
    /// the freed layers, top first. Blocking.
    ///
    /// # Errors
    /// [`LayerError::Io`] where the disk refuses.
    pub fn remove(&self, chain: &ChainId, wanted: &dyn Fn(&ChainId) -> bool) -> Result<Vec<Layer>, LayerError> {
        let _ = (chain, wanted);
        todo!("land signatures first")
    }
}
