//! Applying archives: everything a layer may hold, and hostile ones that must be refused.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::super::header::{NewHeader, kind};
use super::*;

/// An entry of an archive to be applied: header and content.
fn entry(header: NewHeader<'_>, content: &[u8]) -> Vec<u8> {
    let mut bytes = NewHeader { size: content.len() as u64, ..header }.blocks();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(
        NewHeader { kind: kind::REGULAR, name: name.as_bytes(), mode: 0o644, ..Default::default() },
        content.as_bytes(),
    )
}

fn dir(name: &str) -> Vec<u8> {
    entry(NewHeader { kind: kind::DIRECTORY, name: name.as_bytes(), mode: 0o755, mtime: 5, ..Default::default() }, b"")
}

fn link(kind: u8, name: &str, target: &str) -> Vec<u8> {
    let header = NewHeader { kind, name: name.as_bytes(), link: target.as_bytes(), mode: 0o777, ..Default::default() };
    entry(header, b"")
}

fn apply(root: &Path, entries: &[Vec<u8>], whiteouts: Whiteouts) -> Result<Applied, LayerError> {
    let archive = [entries.concat(), vec![0; 1024]].concat();
    let dir = fs::File::open(root).unwrap();
    apply_tar(dir.as_fd(), archive.as_slice(), &ApplyOptions { whiteouts, ..Default::default() })
}

/// A folder with a root to unpack into, and a file beside it that must never change.
struct Yard(tempfile::TempDir);

impl Yard {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "secret").unwrap();
        Self(folder)
    }

    fn root(&self) -> std::path::PathBuf {
        self.0.path().join("root")
    }

    fn outside_is_untouched(&self) {
        assert_eq!(fs::read_to_string(self.0.path().join("outside/secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(self.0.path().join("outside")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(self.0.path()).unwrap().count(), 2);
    }
}

#[test]
fn an_archives_own_top_is_a_layers_business_alone() {
    use std::os::unix::fs::PermissionsExt;
    let top = NewHeader { kind: kind::DIRECTORY, name: b"./", mode: 0o700, ..Default::default() };
    let top = entry(top, b"");
    for (whiteouts, expected) in [(Whiteouts::AsIs, 0o755), (Whiteouts::ToOverlay, 0o700)] {
        let yard = Yard::new();
        fs::set_permissions(yard.root(), fs::Permissions::from_mode(0o755)).unwrap();
        apply(&yard.root(), std::slice::from_ref(&top), whiteouts).unwrap();
        assert_eq!(fs::metadata(yard.root()).unwrap().permissions().mode() & 0o7777, expected, "{whiteouts:?}");
    }
}

#[test]
fn hostile_archives_are_refused_with_the_entry_named() {
    let table: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("../outside/new", vec![file("../outside/new", "x")]),
        ("a/../../outside/new", vec![dir("a"), file("a/../../outside/new", "x")]),
        ("/etc/passwd", vec![file("/etc/passwd", "x")]),
        ("up/new", vec![link(kind::SYMLINK, "up", "../outside"), file("up/new", "x")]),
        ("abs/new", vec![link(kind::SYMLINK, "abs", "/nowhere"), file("abs/new", "x")]),
        ("loop/x", vec![link(kind::SYMLINK, "loop", "loop"), file("loop/x", "x")]),
        ("hard", vec![link(kind::HARDLINK, "hard", "../outside/secret")]),
        ("hard2", vec![link(kind::SYMLINK, "up", "../outside"), link(kind::HARDLINK, "hard2", "up/secret")]),
        ("hard3", vec![link(kind::HARDLINK, "hard3", "/etc/passwd")]),
        ("hard4", vec![dir("d"), link(kind::HARDLINK, "hard4", "d")]),
        ("file/below", vec![file("file", "x"), file("file/below", "x")]),
        (".wh.", vec![file(".wh.", "")]),
        (".wh...", vec![file(".wh...", "")]),
        ("a/.wh..", vec![file("a/.wh..", "")]),
        ("../.wh.outside", vec![file("../.wh.outside", "")]),
        ("./", vec![file(".", "not a directory")]),
        ("what", vec![link(b'Z', "what", "")]),
    ];
    for (name, entries) in table {
        let yard = Yard::new();
        let error = apply(&yard.root(), &entries, Whiteouts::ToOverlay).expect_err(name).to_string();
        assert!(error.starts_with("archive entry ") && error.contains(name.trim_end_matches('/')), "{name}: {error}");
        yard.outside_is_untouched();
    }
}

#[test]
fn symlinks_to_absolute_paths_stay_inside() {
    let yard = Yard::new();
    let outside = yard.0.path().join("outside");
    let inside = yard.root().join(outside.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    apply(
        &yard.root(),
        &[link(kind::SYMLINK, "l", outside.to_str().unwrap()), file("l/new", "x")],
        Whiteouts::ToOverlay,
    )
    .unwrap();
    assert_eq!(fs::read_to_string(inside.join("new")).unwrap(), "x");
    yard.outside_is_untouched();
}

#[test]
fn all_kinds_are_made_with_their_metadata() {
    let yard = Yard::new();
    let root = yard.root();
    let capability = [0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let long = format!("deep/{}", "n".repeat(200));
    let entries = [
        entry(NewHeader { kind: kind::DIRECTORY, name: b"deep/", mode: 0o1755, mtime: 77, ..Default::default() }, b""),
        entry(
            NewHeader {
                kind: kind::REGULAR,
                name: b"suid",
                mode: 0o4755,
                uid: 1000,
                gid: 1001,
                mtime: 9,
                ..Default::default()
            },
            b"x",
        ),
        entry(
            NewHeader {
                kind: kind::REGULAR,
                name: b"capable",
                mode: 0o755,
                uid: 5,
                pax: vec![(b"SCHILY.xattr.security.capability".to_vec(), capability.to_vec())],
                ..Default::default()
            },
            b"x",
        ),
        entry(NewHeader { kind: kind::CHAR, name: b"null", mode: 0o666, device: (1, 3), ..Default::default() }, b""),
        entry(NewHeader { kind: kind::FIFO, name: b"fifo", mode: 0o640, ..Default::default() }, b""),
        file(&long, "long"),
        file("deep/a", "first"),
        link(kind::HARDLINK, "deep/b", "./deep/a"),
        link(kind::SYMLINK, "deep/c", "a"),
        entry(NewHeader { kind: kind::REGULAR, name: b"raw\xff", mode: 0o600, ..Default::default() }, b"raw"),
        file("implied/by/this", "x"),
    ];
    let applied = apply(&root, &entries, Whiteouts::ToOverlay).unwrap();
    assert_eq!(applied.entries, 11);

    let facts = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!((facts("deep").mode() & 0o7777, facts("deep").mtime()), (0o1755, 77));
    let suid = facts("suid");
    assert_eq!((suid.mode() & 0o7777, suid.uid(), suid.gid(), suid.mtime()), (0o4755, 1000, 1001, 9));
    assert_eq!(xattr::get(root.join("capable"), "security.capability").unwrap().unwrap(), capability);
    assert!(facts("null").file_type().is_char_device());
    assert_eq!((facts("null").rdev(), facts("null").mode() & 0o777), (rustix::fs::makedev(1, 3), 0o666));
    assert!(facts("fifo").file_type().is_fifo());
    assert_eq!(fs::read_to_string(root.join(&long)).unwrap(), "long");
    assert_eq!(facts("deep/a").ino(), facts("deep/b").ino());
    assert_eq!(fs::read_link(root.join("deep/c")).unwrap(), Path::new("a"));
    let raw = std::ffi::OsStr::from_bytes(b"raw\xff");
    assert_eq!(fs::read(root.join(raw)).unwrap(), b"raw");
    assert_eq!(facts("implied/by").mode() & 0o777, 0o755);
}

use std::os::unix::ffi::OsStrExt;

#[test]
fn whiteouts_become_overlayfs_own() {
    let yard = Yard::new();
    let root = yard.root();
    let entries = [
        dir("etc"),
        file("etc/.wh.gone", ""),
        dir("full"),
        file("full/.wh..wh..opq", ""),
        file(".wh.replaced", ""),
        dir("replaced"),
        file(".wh..wh.plnk", ""),
        file("both", "new"),
        file(".wh.both", ""),
    ];
    apply(&root, &entries, Whiteouts::ToOverlay).unwrap();
    let gone = fs::symlink_metadata(root.join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(xattr::get(root.join("full"), OVERLAY_OPAQUE).unwrap().unwrap(), b"y");
    assert_eq!(xattr::get(root.join("replaced"), OVERLAY_OPAQUE).unwrap().unwrap(), b"y");
    assert_eq!(fs::read_to_string(root.join("both")).unwrap(), "new");
    assert!(!root.join(".wh..wh.plnk").exists());
    assert_eq!(fs::metadata(root.join("etc")).unwrap().mtime(), 5);

    let other = Yard::new();
    apply(&other.root(), &[file(".wh.plain", "kept")], Whiteouts::AsIs).unwrap();
    assert_eq!(fs::read_to_string(other.root().join(".wh.plain")).unwrap(), "kept");
}

#[test]
fn later_entries_replace_earlier_ones() {
    let yard = Yard::new();
    let root = yard.root();
    let entries = [
        file("x", "file"),
        dir("x"),
        file("x/in", "1"),
        link(kind::SYMLINK, "x", "elsewhere"),
        file("x", "last"),
        dir("merged"),
        file("merged/a", "a"),
        dir("merged"),
    ];
    apply(&root, &entries, Whiteouts::ToOverlay).unwrap();
    assert_eq!(fs::read_to_string(root.join("x")).unwrap(), "last");
    assert_eq!(fs::read_to_string(root.join("merged/a")).unwrap(), "a");
}

#[test]
fn copies_into_containers_keep_kinds_and_take_an_owner() {
    let yard = Yard::new();
    fs::create_dir(yard.root().join("d")).unwrap();
    let dir = fs::File::open(yard.root()).unwrap();
    let options = ApplyOptions { owner: Some((12, 34)), keep_kinds: true, ..Default::default() };
    let archive = [file("f", "x"), vec![0; 1024]].concat();
    apply_tar(dir.as_fd(), archive.as_slice(), &options).unwrap();
    let facts = fs::metadata(yard.root().join("f")).unwrap();
    assert_eq!((facts.uid(), facts.gid()), (12, 34));
    let archive = [file("d", "x"), vec![0; 1024]].concat();
    let error = apply_tar(dir.as_fd(), archive.as_slice(), &options).unwrap_err().to_string();
    assert!(error.contains("cannot overwrite directory with non-directory"), "{error}");
}

#[test]
fn limits_stop_bombs() {
    let yard = Yard::new();
    let dir = fs::File::open(yard.root()).unwrap();
    let archive = [file("a", "12345"), file("b", "12345"), vec![0; 1024]].concat();
    for (limits, words) in [
        (Limits { bytes: 9, ..Default::default() }, "more than 9 bytes"),
        (Limits { entries: 1, ..Default::default() }, "more than 1 entries"),
    ] {
        let options = ApplyOptions { limits, ..Default::default() };
        let error = apply_tar(dir.as_fd(), archive.as_slice(), &options).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn cut_or_damaged_archives_are_told() {
    let yard = Yard::new();
    let whole = file("a", "12345");
    let mut damaged = whole.clone();
    damaged[0] = b'b';
    for (bytes, words) in
        [(&whole[..514], "ends in the middle"), (&whole[..100], "ends in the middle"), (&damaged[..], "checksum")]
    {
        let dir = fs::File::open(yard.root()).unwrap();
        let error = apply_tar(dir.as_fd(), bytes, &ApplyOptions::default()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn contents_are_digested_as_they_are_written() {
    let digests = |archive: Vec<u8>| {
        let yard = Yard::new();
        let dir = fs::File::open(yard.root()).unwrap();
        let archive = [archive, vec![0; 1024]].concat();
        super::apply_tar_digesting(dir.as_fd(), archive.as_slice(), &ApplyOptions::default()).unwrap().1
    };
    let plain = [file("a", "old"), file("a", "12345"), file("e", ""), link(kind::HARDLINK, "h", "a")].concat();
    let found = digests([plain.clone(), link(kind::SYMLINK, "l", "a")].concat());
    let expected = [("a", "12345"), ("e", ""), ("h", "12345")];
    let expected: std::collections::HashMap<std::path::PathBuf, Digest> =
        expected.iter().map(|(path, text)| ((*path).into(), Digest::of(text.as_bytes()))).collect();
    assert_eq!(found, expected);
    // What is written through a link is some other file: then nothing is certain.
    let through = [plain, link(kind::SYMLINK, "l", "."), file("l/a", "other")].concat();
    assert!(digests(through).is_empty());
}

#[test]
fn an_archive_may_end_right_behind_its_last_content() {
    for end in [517, 600] {
        let yard = Yard::new();
        let dir = fs::File::open(yard.root()).unwrap();
        let applied = apply_tar(dir.as_fd(), &file("a", "12345")[..end], &ApplyOptions::default()).unwrap();
        assert_eq!((applied.entries, applied.bytes), (1, 5));
    }
}

/// The smuggling archive of GHSA-3cv2-h65g-fgmm: a PAX size that differs from the header's must decide.
#[test]
fn a_pax_size_decides_where_the_next_header_is() {
    let yard = Yard::new();
    let mut smuggled = file("hidden", "");
    smuggled.resize(1024, b'x');
    let header = NewHeader {
        kind: kind::REGULAR,
        name: b"outer",
        mode: 0o644,
        pax: vec![(b"size".to_vec(), smuggled.len().to_string().into_bytes())],
        ..Default::default()
    };
    let archive = [header.blocks(), smuggled, file("after", "x"), vec![0; 1024]].concat();
    let dir = fs::File::open(yard.root()).unwrap();
    apply_tar(dir.as_fd(), archive.as_slice(), &ApplyOptions::default()).unwrap();
    assert!(!yard.root().join("hidden").exists());
    assert_eq!(fs::metadata(yard.root().join("outer")).unwrap().len(), 1024);
    assert!(yard.root().join("after").exists());
}

#[test]
fn sparse_files_keep_their_holes() {
    let yard = Yard::new();
    let map = b"2\n0\n3\n1048576\n2\n";
    let mut content = map.to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"abcde");
    let header = NewHeader {
        kind: kind::REGULAR,
        name: b"GNUSparseFile.0/big",
        mode: 0o644,
        pax: [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "big"),
            ("GNU.sparse.realsize", "2097152"),
        ]
        .map(|(key, value)| (key.into(), value.into()))
        .to_vec(),
        ..Default::default()
    };
    apply(&yard.root(), &[entry(header, &content), file("after", "x")], Whiteouts::AsIs).unwrap();
    let big = fs::read(yard.root().join("big")).unwrap();
    assert_eq!((big.len(), &big[..3], &big[1_048_576..1_048_578]), (2_097_152, &b"abc"[..], &b"de"[..]));
    let facts = fs::metadata(yard.root().join("big")).unwrap();
    assert!(facts.blocks() * 512 < 1 << 20, "the hole takes space");
    assert_eq!(facts.permissions().mode() & 0o777, 0o644);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_applied_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2048)) {
        let yard = Yard::new();
        let dir = fs::File::open(yard.root()).unwrap();
        let _ = apply_tar(dir.as_fd(), bytes.as_slice(), &ApplyOptions::default());
        yard.outside_is_untouched();
    }

    #[test]
    fn a_changed_byte_never_leads_outside(at in 0usize..1536, byte in proptest::prelude::any::<u8>()) {
        let yard = Yard::new();
        let mut bytes = [link(kind::SYMLINK, "l", "../outside"), file("l/x", "y"), vec![0; 1024]].concat();
        bytes[at % 1536] = byte;
        let dir = fs::File::open(yard.root()).unwrap();
        let _ = apply_tar(dir.as_fd(), bytes.as_slice(), &ApplyOptions { whiteouts: Whiteouts::ToOverlay, ..Default::default() });
        yard.outside_is_untouched();
    }
}
