//! Layers as they stand in an archive: the very tar that the diff ID names, or compressed.
//!
//! What a layer's compressed bytes digest to has to be known before the manifest, and their size before they stand in a tar. So
//! they are compressed into files without names first, which go with the archive.

use std::fs::File;
use std::io::{self, Seek, Write};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::store::Shared;
use crate::engine::error::EngineError;
use crate::engine::layer::{Digest, Hashing, Layer, LayerError};

/// How the layers of an archive are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// Not at all.
    #[default]
    Plain,
    /// By gzip, at a level from 0 to 9.
    Gzip(u32),
    /// By zstd.
    Zstd,
}

/// Go's default, and so BuildKit's.
pub const GZIP_LEVEL: u32 = 6;

/// Bytes that become one frame of zstd: a stream is any number of them.
const FRAME: usize = 4 << 20;

/// A layer in an archive.
pub(super) struct Packed {
    pub digest: Digest,
    pub size: u64,
    media_type: &'static str,
    /// Its bytes, where they are not the layer's own tar.
    pub file: Option<File>,
}

impl Packed {
    /// The layer's own tar.
    pub(super) fn plain(layer: &Layer) -> Self {
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        Self { digest: layer.diff_id.0, size: layer.tar_size, media_type, file: None }
    }

    pub(super) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size })
    }
}

impl Shared {
    /// Packs a layer; ends with an error when `cancel` says so. Blocking.
    pub(super) fn packed(
        &self,
        layer: &Layer,
        packing: Packing,
        cancel: &CancellationToken,
    ) -> Result<Packed, EngineError> {
        let failed = |source| EngineError::from(LayerError::Io { action: "compress", subject: "layer".into(), source });
        let out = || -> io::Result<_> {
            let file = tempfile::tempfile_in(self.root.path().join("tmp"))?;
            Ok(Hashing::new(Cancelled { file: io::BufWriter::new(file), cancel }))
        };
        let (mut hashing, media_type) = match packing {
            Packing::Plain => return Ok(Packed::plain(layer)),
            Packing::Gzip(level) => {
                let mut gzip = flate2::write::GzEncoder::new(out().map_err(failed)?, flate2::Compression::new(level));
                self.layers.write_layer(&layer.chain_id, &mut gzip)?;
                (gzip.finish().map_err(failed)?, "application/vnd.oci.image.layer.v1.tar+gzip")
            }
            Packing::Zstd => {
                let mut zstd = Zstd { out: out().map_err(failed)?, pending: Vec::with_capacity(FRAME) };
                self.layers.write_layer(&layer.chain_id, &mut zstd)?;
                (zstd.finish().map_err(failed)?, "application/vnd.oci.image.layer.v1.tar+zstd")
            }
        };
        hashing.flush().map_err(failed)?;
        let (digest, size, Cancelled { file, .. }) = hashing.finish();
        let mut file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        Ok(Packed { digest, size, media_type, file: Some(file) })
    }
}

/// Compresses what is written, frame by frame.
struct Zstd<W> {
    out: W,
    pending: Vec<u8>,
}

impl<W: Write> Zstd<W> {
    fn frame(&mut self) -> io::Result<()> {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let frame = ruzstd::encoding::compress_to_vec(self.pending.as_slice(), level);
        self.pending.clear();
        self.out.write_all(&frame)
    }

    fn finish(mut self) -> io::Result<W> {
        self.frame()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for Zstd<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(FRAME - self.pending.len());
        self.pending.extend_from_slice(bytes.get(..count).unwrap_or(bytes));
        if self.pending.len() == FRAME {
            self.frame()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is not written any further once nobody wants it.
struct Cancelled<'a> {
    file: io::BufWriter<File>,
    cancel: &'a CancellationToken,
}

impl Write for Cancelled<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("the build was cancelled"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn zstd_is_written_in_frames_that_are_read_as_one() {
        let bytes: Vec<u8> = (0..FRAME + 1000).map(|at| (at / 7) as u8).collect();
        let mut zstd = Zstd { out: Vec::new(), pending: Vec::new() };
        zstd.write_all(&bytes).unwrap();
        let packed = zstd.finish().unwrap();
        assert!(packed.len() < bytes.len() / 2);
        let mut inflated = Vec::new();
        crate::engine::layer::inflater(packed.as_slice()).unwrap().read_to_end(&mut inflated).unwrap();
        assert!(inflated == bytes);
    }
}
