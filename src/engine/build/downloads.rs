//! Downloads that are kept for later builds, with what their servers called them: asked for again, they are sent again only
//! where they changed.
//!
//! `<root>/build/downloads/<digest of the URL>/{record.json, body}`. Only what has an `ETag`, or a `Last-Modified` that was
//! old enough to mean something, is kept; so is nothing that its server wants stored nowhere. Who reads a body has it open,
//! so it may go or be replaced at any time. The record's URL is without its password.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::cache::{Entry, EntryKind, Shelf, folder_of, short_id};
use crate::engine::layer::Digest;
use crate::engine::store::{StateRoot, read_record, write_record, write_volatile_record};

const RECORD: &str = "record.json";
const BODY: &str = "body";

/// All kept downloads of a state root.
pub(super) struct Downloads {
    pub(super) root: Arc<StateRoot>,
    folder: PathBuf,
}

/// What is known of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// From where, for people.
    pub url: String,
    /// The server's name for this content.
    #[serde(default)]
    pub etag: Option<String>,
    /// When the server says it changed, in its own words.
    #[serde(default)]
    pub last_modified: Option<String>,
    /// The content's digest.
    pub digest: Digest,
    /// How long it is.
    pub bytes: u64,
    /// What the server calls the file.
    #[serde(default)]
    pub offered_name: Option<String>,
    /// When it came.
    pub created: Timestamp,
    /// When it was last of use, and how often.
    pub used: Timestamp,
    #[serde(default)]
    pub uses: u64,
}

/// One, with its content.
pub(super) struct Kept {
    pub record: Record,
    pub body: File,
}

impl Downloads {
    pub(super) fn open(root: &Arc<StateRoot>) -> io::Result<Self> {
        let folder = root.room("build")?.join("downloads");
        fs::create_dir_all(&folder)?;
        Ok(Self { root: Arc::clone(root), folder })
    }

    fn place(&self, url: &str) -> PathBuf {
        self.folder.join(Digest::of(url.as_bytes()).hex())
    }

    /// What came from `url` before; `None` where nothing did, or nothing that can still be relied on. Blocking.
    pub(super) fn find(&self, url: &str) -> Option<Kept> {
        let place = self.place(url);
        let record: Record = read_record(&place.join(RECORD)).ok()??;
        let body = File::open(place.join(BODY)).ok()?;
        let is_whole = body.metadata().is_ok_and(|it| it.len() == record.bytes);
        is_whole.then_some(Kept { record, body })
    }

    /// Notes that what came from `url` was of use. Blocking.
    pub(super) fn touch(&self, url: &str, record: &Record) {
        let place = self.place(url).join(RECORD);
        // It only decides what goes first; and what was replaced or dropped meanwhile has no use for it.
        if read_record::<Record>(&place).is_ok_and(|now| now.is_some_and(|now| now.digest == record.digest)) {
            let record = Record { used: Timestamp::now(), uses: record.uses + 1, ..record.clone() };
            let _ = write_volatile_record(&place, &record);
        }
    }

    /// Keeps what just came from `url`, in place of what came before. Blocking: waits until the disk has it.
    pub(super) fn keep(&self, url: &str, record: &Record, body: NamedTempFile) -> io::Result<()> {
        let beside = self.root.temp_dir("download")?;
        body.as_file().sync_data()?;
        body.persist(beside.path().join(BODY))?;
        write_record(&beside.path().join(RECORD), record).map_err(io::Error::other)?;
        let place = self.place(url);
        self.root.discard(&place)?.empty()?;
        fs::rename(beside.path(), &place)?;
        // Nothing is left by that name.
        let _ = beside.keep();
        Ok(())
    }
}

impl Shelf for Downloads {
    fn entries(&self) -> Vec<Entry> {
        let folders = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let one = |folder: fs::DirEntry| {
            let record: Record = read_record(&folder.path().join(RECORD)).ok()??;
            Some(Entry {
                id: short_id(&folder.file_name().into_string().ok()?),
                kind: EntryKind::Download,
                description: format!("http url {}", record.url),
                parents: Vec::new(),
                size: record.bytes,
                created: record.created,
                used: Some(record.used),
                uses: record.uses,
                in_use: false,
                shared: false,
                storage: String::new(),
            })
        };
        folders.filter_map(one).collect()
    }

    fn discard(&self, id: &str) -> Result<u64, String> {
        let Some(name) = folder_of(&self.folder, id) else { return Ok(0) };
        let place = self.folder.join(name);
        let bytes = fs::metadata(place.join(BODY)).map_or(0, |it| it.len());
        let discarded = self.root.discard(&place).and_then(|trash| trash.empty());
        discarded.map(|()| bytes).map_err(|error| format!("remove a kept download: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn record(content: &[u8]) -> Record {
        Record {
            url: "https://host/x".to_owned(),
            etag: Some("\"1\"".to_owned()),
            last_modified: None,
            digest: Digest::of(content),
            bytes: content.len() as u64,
            offered_name: None,
            created: Timestamp::UNIX_EPOCH,
            used: Timestamp::UNIX_EPOCH,
            uses: 0,
        }
    }

    #[test]
    fn what_came_last_is_found_until_it_is_dropped_or_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(StateRoot::open(folder.path()).unwrap());
        let downloads = Downloads::open(&root).unwrap();
        let keep = |content: &[u8]| {
            let mut body = NamedTempFile::new_in(root.path().join("tmp")).unwrap();
            body.write_all(content).unwrap();
            downloads.keep("https://me:secret@host/x", &record(content), body).unwrap();
        };
        let read = || {
            let mut text = String::new();
            downloads.find("https://me:secret@host/x")?.body.read_to_string(&mut text).unwrap();
            Some(text)
        };
        keep(b"first");
        let old = downloads.find("https://me:secret@host/x").unwrap();
        keep(b"second");
        assert_eq!(read().as_deref(), Some("second"));
        // Of a record that stands no longer nothing is noted.
        downloads.touch("https://me:secret@host/x", &old.record);
        assert_eq!(downloads.entries()[0].uses, 0);
        downloads.touch("https://me:secret@host/x", &record(b"second"));
        let entries = downloads.entries();
        assert_eq!((entries.len(), entries[0].size, entries[0].uses), (1, 6, 1));
        assert_eq!(entries[0].description, "http url https://host/x");
        assert!(downloads.find("https://host/x").is_none(), "other rights, another thing");

        fs::write(downloads.place("https://me:secret@host/x").join(BODY), "cut").unwrap();
        assert_eq!(read(), None);
        assert_eq!(Shelf::discard(&downloads, &entries[0].id), Ok(3));
        assert_eq!(Shelf::discard(&downloads, "../layers"), Ok(0));
        assert!(downloads.entries().is_empty());
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    }
}
