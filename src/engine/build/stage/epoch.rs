//! SOURCE_DATE_EPOCH in layers: nothing in them is younger, as with BuildKit's `rewrite-timestamp`.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tokio_util::sync::CancellationToken;

use crate::engine::layer::go_on;

/// Sets the time of everything in `folder`, itself included, that is younger than `latest` to that; fails between two files
/// once `cancel` is called.
pub(super) fn clamp(folder: &Path, latest: Timestamp, cancel: &CancellationToken) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        go_on(cancel)?;
        match entry.file_type()?.is_dir() {
            true => clamp(&entry.path(), latest, cancel)?,
            false => clamp_one(&entry.path(), latest)?,
        }
    }
    clamp_one(folder, latest)
}

fn clamp_one(path: &Path, latest: Timestamp) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    if (found.mtime(), found.mtime_nsec()) <= (latest.as_second(), i64::from(latest.subsec_nanosecond())) {
        return Ok(());
    }
    let time = Timespec { tv_sec: latest.as_second(), tv_nsec: i64::from(latest.subsec_nanosecond()) };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn only_what_is_younger_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("inner")).unwrap();
        for (name, second) in [("old", 50), ("inner/young", 500)] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            File::create(at(name)).unwrap().set_modified(time).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        clamp(folder.path(), Timestamp::from_second(100).unwrap(), &CancellationToken::new()).unwrap();
        let mtime = |name: &str| std::fs::symlink_metadata(at(name)).unwrap().mtime();
        assert_eq!(
            [mtime("old"), mtime("inner/young"), mtime("inner"), mtime("link"), mtime("")],
            [50, 100, 100, 100, 100]
        );
    }
}
