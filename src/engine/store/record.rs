//! A JSON document on disk that is always whole: the old one or the new one, never half of either.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How the name of a record begins that is being written.
pub(super) const HALF_WRITTEN: &str = ".record-";

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The disk refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was attempted: `read`, `write` or `remove`.
        action: &'static str,
        /// The record's path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The file is no document of this type.
    #[error("read {}: not a valid record: {source}", path.display())]
    Malformed {
        /// The record's path.
        path: PathBuf,
        /// Where and why the document ends being valid.
        source: serde_json::Error,
    },
}

/// Replaces the record at `path` by `value`: temp file beside it, fsync, rename, fsync of the folder (rename(2)).
///
/// # Errors
/// [`RecordError::Io`]; the old record then still stands whole.
pub fn write_record<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    replace(path, value, |temp| temp.sync_data())?;
    sync_folder(path).map_err(|source| RecordError::Io { action: "write", path: path.to_owned(), source })
}

/// As [`write_record`], but only the page cache has it when this returns: whole after a crash of ours, but after a power
/// loss the old one, the new one or an empty file. For what a reboot ends anyway, and for who calls [`sync_record`] later.
///
/// # Errors
/// [`RecordError::Io`]; the old record then still stands whole.
pub fn write_volatile_record<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    replace(path, value, |_| Ok(()))
}

/// Makes what [`write_volatile_record`] wrote last through a power loss.
///
/// # Errors
/// [`RecordError::Io`].
pub fn sync_record(path: &Path) -> Result<(), RecordError> {
    let synced = File::open(path).and_then(|file| file.sync_data()).and_then(|()| sync_folder(path));
    synced.map_err(|source| RecordError::Io { action: "write", path: path.to_owned(), source })
}

fn replace<T: Serialize>(
    path: &Path,
    value: &T,
    settle: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), RecordError> {
    let io_error = |source| RecordError::Io { action: "write", path: path.to_owned(), source };
    let text = serde_json::to_vec(value).map_err(|source| RecordError::Malformed { path: path.to_owned(), source })?;
    let mut temp = tempfile::Builder::new().prefix(HALF_WRITTEN).tempfile_in(folder_of(path)).map_err(io_error)?;
    temp.write_all(&text).map_err(io_error)?;
    settle(temp.as_file()).map_err(io_error)?;
    temp.persist(path).map_err(|error| io_error(error.error))?;
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Reads the record at `path`; `None` where there is none.
///
/// # Errors
/// [`RecordError`] where the file is there but can't be read as a `T`.
pub fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    // All at once: the parser is slow on anything that it has to take byte by byte.
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecordError::Io { action: "read", path: path.to_owned(), source }),
    };
    serde_json::from_slice(&text).map(Some).map_err(|source| RecordError::Malformed { path: path.to_owned(), source })
}

/// Removes the record at `path`; that there is none is success.
///
/// # Errors
/// [`RecordError::Io`] where the disk refuses.
pub fn remove_record(path: &Path) -> Result<(), RecordError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RecordError::Io { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_replaced_whole_and_leaves_no_temp_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.json");
        assert_eq!(read_record::<Vec<u8>>(&path).unwrap(), None);

        write_record(&path, &vec![1, 2, 3]).unwrap();
        write_record(&path, &vec![4]).unwrap();

        assert_eq!(read_record::<Vec<u8>>(&path).unwrap(), Some(vec![4]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_record_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.json");
        fs::write(&path, "[1, 2").unwrap();
        let error = read_record::<Vec<u8>>(&path).unwrap_err().to_string();
        assert!(error.contains("it.json: not a valid record"), "{error}");
    }
}
