//! What is known of a kept context, and its file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{Digests, FILES};
use crate::buildkit::listing::Listed;
use crate::engine::layer::Digest;

/// Changes with the file's format.
const MAGIC: &[u8; 16] = b"boxyard-context1";

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// What the client said of it.
    pub listed: Listed,
    /// The digest of a file.
    pub digest: Option<Digest>,
    /// How long the file was that came.
    pub bytes: u64,
}

/// All entries, by where they are kept.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub entries: HashMap<PathBuf, Entry>,
}

impl Record {
    /// Reads the file; `None` where there is none, or none to be believed.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut reader = BufReader::with_capacity(256 << 10, file);
        let mut magic = [0; MAGIC.len()];
        reader.read_exact(&mut magic)?;
        let mut boot = [0; 32];
        reader.read_exact(&mut boot)?;
        if magic != *MAGIC || boot != this_boot() {
            return Ok(None);
        }
        let mut count = [0; 4];
        reader.read_exact(&mut count)?;
        let mut entries = HashMap::new();
        for _ in 0..u32::from_le_bytes(count) {
            let listed = Listed::read(&mut reader)?;
            let mut bytes = [0; 8];
            reader.read_exact(&mut bytes)?;
            let mut has_digest = [0];
            reader.read_exact(&mut has_digest)?;
            let mut digest = [0; 32];
            if has_digest == [1] {
                reader.read_exact(&mut digest)?;
            }
            let digest = (has_digest == [1]).then(|| Digest::from_bytes(digest));
            let entry = Entry { listed, digest, bytes: u64::from_le_bytes(bytes) };
            entries.insert(super::place(&entry.listed), entry);
        }
        Ok(Some(Self { entries }))
    }

    /// Writes the file beside its place, and puts it there.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("new");
        let mut writer = BufWriter::with_capacity(256 << 10, fs::File::create(&beside)?);
        writer.write_all(MAGIC)?;
        writer.write_all(&this_boot())?;
        let count = u32::try_from(self.entries.len()).map_err(io::Error::other)?;
        writer.write_all(&count.to_le_bytes())?;
        for entry in self.entries.values() {
            entry.listed.write(&mut writer)?;
            writer.write_all(&entry.bytes.to_le_bytes())?;
            match entry.digest {
                Some(digest) => {
                    writer.write_all(&[1])?;
                    writer.write_all(digest.as_bytes())?;
                }
                None => writer.write_all(&[0])?,
            }
        }
        writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(beside, path)
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.bytes).sum()
    }

    /// The digests of the files that steps see.
    pub(super) fn digests(&self) -> Digests {
        let files = self.entries.iter().filter_map(|(path, entry)| {
            let inside = path.strip_prefix(FILES).ok()?;
            Some((inside.to_owned(), entry.digest?))
        });
        files.collect()
    }
}

/// Names the time since the machine started: what was written before it may have been lost.
fn this_boot() -> [u8; 32] {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    *Digest::of(&id).as_bytes()
}

/// Bytes as a name of the system.
pub(super) fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}
