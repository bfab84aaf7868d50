//! Writing layers as archives: the same bytes each time, whiteouts and all kinds of entries.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::super::{ApplyOptions, apply_tar};
use super::*;

fn packed(root: &Path, sub: &str, options: &WriteOptions) -> Vec<u8> {
    let dir = File::open(root).unwrap();
    let mut tar = Vec::new();
    write_tar(dir.as_fd(), Path::new(sub), options, &mut tar).unwrap();
    tar
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries.map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned()).collect()
}

#[test]
fn a_tree_packs_and_unpacks_to_the_same_tar() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::write(root.join("dir/b"), "b").unwrap();
    fs::hard_link(root.join("dir/b"), root.join("dir/a")).unwrap();
    symlink("/abs/target", root.join("link")).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"raw\xff")), vec![7; 1000]).unwrap();
    fs::write(root.join("x".repeat(180)), "long").unwrap();
    fs::set_permissions(root.join("dir/b"), fs::Permissions::from_mode(0o4711)).unwrap();
    xattr::set(root.join("dir/sub"), OVERLAY_OPAQUE, b"y").unwrap();
    xattr::set(
        root.join("dir/a"),
        "security.capability",
        &[0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )
    .unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();

    let options = WriteOptions { whiteouts: Whiteouts::ToOverlay, ..Default::default() };
    let first = packed(&root, "", &options);
    let again = folder.path().join("again");
    fs::create_dir(&again).unwrap();
    let dir = File::open(&again).unwrap();
    apply_tar(dir.as_fd(), first.as_slice(), &ApplyOptions { whiteouts: Whiteouts::ToOverlay, ..Default::default() })
        .unwrap();

    assert_eq!(
        names(&first),
        [
            "dir/",
            "dir/a",
            "dir/b",
            "dir/sub/",
            "dir/sub/.wh..wh..opq",
            ".wh.gone",
            "link",
            "raw\u{fffd}",
            &"x".repeat(180)
        ]
    );
    assert_eq!(fs::metadata(again.join("dir/b")).unwrap().mode() & 0o7777, 0o4711);
    assert!(xattr::get(again.join("dir/b"), "security.capability").unwrap().is_some());
    assert!(packed(&again, "", &options) == first, "packing what was unpacked gives another tar");
}

#[test]
fn copies_are_named_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("etc/conf")).unwrap();
    fs::write(root.join("etc/conf/a"), "a").unwrap();
    symlink("/etc", root.join("way")).unwrap();

    let named = |name: &str| WriteOptions { name: name.into(), ..Default::default() };
    assert_eq!(names(&packed(root, "etc/conf", &named("copy"))), ["copy/", "copy/a"]);
    assert_eq!(names(&packed(root, "/way/conf/a", &named(""))), ["a"]);
    assert_eq!(names(&packed(root, "way", &named("link"))), ["link"]);
    let dir = File::open(root).unwrap();
    assert!(write_tar(dir.as_fd(), Path::new("missing"), &named(""), Vec::new()).is_err());
}
