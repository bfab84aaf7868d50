//! A root file system's tar becomes an image of one layer.

use std::io::BufReader;
use std::sync::Arc;

use tokio::io::AsyncRead;

use crate::engine::error::EngineError;
use crate::engine::layer::{LayerError, Limits, inflater};

use super::store::blocking;
use super::stream::readable;
use super::{HistoryEntry, ImageConfig, ImageId, ImageImport, Images, NewImage};

impl Images {
    /// Makes an image of a root file system's tar (plain or gzip, xz, bzip2, zstd).
    ///
    /// # Errors
    /// `InvalidParameter` for a bad archive.
    pub async fn import(
        &self,
        import: ImageImport,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<ImageId, EngineError> {
        let shared = Arc::clone(&self.shared);
        let archive = readable(archive);
        let (layer, hold) = blocking(move || {
            let inflated = inflater(archive).map_err(|source| LayerError::Source { source })?;
            let unpacked = shared.layers.unpack(BufReader::with_capacity(256 << 10, inflated), Limits::default())?;
            let hold = shared.layers.hold(&crate::engine::layer::ChainId::above(None, &unpacked.diff_id));
            let layers = shared.layers.commit(None, vec![unpacked])?;
            let layer = layers.into_iter().next().ok_or_else(|| EngineError::system("import made no layer"))?;
            Ok((layer, hold))
        })
        .await?;

        let now = jiff::Timestamp::now();
        let comment = import.message.unwrap_or_else(|| "Imported from -".to_owned());
        let mut config = ImageConfig::for_host(now);
        config.set_platform(import.platform.as_deref())?;
        config.config = import.config;
        config.history =
            vec![HistoryEntry { created: Some(now.to_string()), comment: Some(comment), ..HistoryEntry::default() }];
        let tags = import.reference.into_iter().collect();
        let image = self.create(NewImage { config, layers: vec![layer.chain_id], tags, parent: None }).await?;
        drop(hold);
        self.shared.publish("import", &image.id.to_string(), &image.id.to_string(), Some(&image.id));
        Ok(image.id)
    }
}
