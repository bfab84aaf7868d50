//! How much room a folder takes.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

/// The bytes that removing `folder` would free: blocks of all files, each file once. Files that go meanwhile don't count.
pub fn disk_usage(folder: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let mut pending = vec![folder.to_owned()];
    let Ok(device) = fs::symlink_metadata(folder).map(|metadata| metadata.dev()) else { return 0 };
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(io::Result::ok) {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.dev() != device || (metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert(metadata.ino()))
            {
                continue;
            }
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_count_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), vec![1; 100_000]).unwrap();
        let one = disk_usage(folder.path());
        fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert!(one >= 100_000);
        assert_eq!(disk_usage(folder.path()), one);
    }
}
