//! What COPY and ADD bring: files with several names, archives and their owners, and files so large that a person may change
//! her mind in the middle.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod build_yard;

use std::path::PathBuf;

use build_yard::{Build, Outcome, PATIENCE, Yard, request};
use tar::{Builder, EntryType, Header};

/// More than any machine reads while a test waits.
const ENDLESS: u64 = 1 << 40;

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_size(size);
    header
}

fn with_file(tar: &mut Builder<Vec<u8>>, name: &str, content: &[u8]) {
    tar.append_data(&mut header(EntryType::Regular, content.len() as u64), name, content).unwrap();
}

/// Adds a file of [`ENDLESS`] bytes that is one byte and a hole.
fn with_endless_file(tar: &mut Builder<Vec<u8>>, name: &str) {
    let size = ENDLESS.to_string();
    let records = [
        ("GNU.sparse.major", &b"0"[..]),
        ("GNU.sparse.minor", b"1"),
        ("GNU.sparse.name", name.as_bytes()),
        ("GNU.sparse.size", size.as_bytes()),
        ("GNU.sparse.map", b"0,1"),
    ];
    tar.append_pax_extensions(records).unwrap();
    with_file(tar, name, b"x");
}

fn begin(yard: &Yard, context: Vec<u8>) -> Build {
    Build { messages: Box::pin(yard.builds.build(request(context))), outcome: Outcome::default() }
}

/// Lets the build go on until a file of [`ENDLESS`] bytes stands in a step's folder.
async fn until_it_is_written(yard: &Yard, build: &mut Build) {
    let steps = yard.folder.path().join("root/tmp");
    let is_there = || {
        let places = std::fs::read_dir(&steps).unwrap().flatten().map(|entry| entry.path().join("upper/big"));
        places.filter_map(|path: PathBuf| path.metadata().ok()).any(|it| it.len() == ENDLESS)
    };
    let wait = async {
        while !is_there() {
            tokio::select! {
                goes_on = build.step() => assert!(goes_on, "it ended too early: {}", build.outcome.text),
                () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_large_file_ends_when_the_build_is_cancelled() {
    let yard = Yard::new().await;
    let mut tar = Builder::new(Vec::new());
    with_file(&mut tar, "Dockerfile", b"FROM base\nCOPY big /\n");
    with_endless_file(&mut tar, "big");
    let mut build = begin(&yard, tar.into_inner().unwrap());
    // The file is read for the cache's key.
    build.until(|outcome| outcome.text.contains("Step 2/2 : COPY")).await;
    drop(build);
    yard.comes_to_rest().await;
    yard.has_no_stray_layers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layer_is_given_up_when_the_build_is_cancelled() {
    let yard = Yard::new().await;
    let mut archive = Builder::new(Vec::new());
    with_endless_file(&mut archive, "big");
    let mut tar = Builder::new(Vec::new());
    with_file(&mut tar, "Dockerfile", b"FROM base\nADD archive /\n");
    with_file(&mut tar, "archive", &archive.into_inner().unwrap());
    let mut build = begin(&yard, tar.into_inner().unwrap());
    // Unpacking leaves a hole; the layer's digest is over all of it.
    until_it_is_written(&yard, &mut build).await;
    drop(build);
    yard.comes_to_rest().await;
    yard.has_no_stray_layers().await;
}

/// What dockerd's BuildKit says of the same: names of one file stay so where a folder is copied, and are files of their own
/// where they are named one by one.
#[tokio::test(flavor = "multi_thread")]
async fn hard_links_within_a_folder_stay_hard_links() {
    let yard = Yard::new().await;
    let dockerfile = "FROM base AS one\nCOPY . /x/\nCOPY d/a d/b /y/\nCOPY d /z/\n\
        FROM base\nCOPY --from=one /x /x\nCOPY --from=one /x/d/a /x/d/b /w/\nCOPY --from=one /y /y\nCOPY --from=one /z /z\n\
        RUN cd / && stat -c '%n %h' x/top x/d/a x/d/b x/d/e/c y/a y/b z/a z/b z/e/c w/a w/b\n";
    let context = |c_is_linked: bool| {
        let mut tar = Builder::new(Vec::new());
        with_file(&mut tar, "Dockerfile", dockerfile.as_bytes());
        for folder in ["d", "d/e"] {
            tar.append_data(&mut header(EntryType::Directory, 0), folder, &[][..]).unwrap();
        }
        with_file(&mut tar, "d/a", b"same");
        for name in ["d/b", "top"] {
            tar.append_link(&mut header(EntryType::Link, 0), name, "d/a").unwrap();
        }
        match c_is_linked {
            true => tar.append_link(&mut header(EntryType::Link, 0), "d/e/c", "d/a").unwrap(),
            false => with_file(&mut tar, "d/e/c", b"same"),
        }
        tar.into_inner().unwrap()
    };
    let linked = begin(&yard, context(true)).ended().await.succeeded();
    let expected = "x/top 4\nx/d/a 4\nx/d/b 4\nx/d/e/c 4\ny/a 1\ny/b 1\nz/a 3\nz/b 3\nz/e/c 3\nw/a 1\nw/b 1\n";
    assert!(linked.log.contains(expected), "{}", linked.log);
    // The same bytes, but a file of its own: that is another context.
    let apart = begin(&yard, context(false)).ended().await.succeeded();
    let expected = "x/top 3\nx/d/a 3\nx/d/b 3\nx/d/e/c 1\ny/a 1\ny/b 1\nz/a 2\nz/b 2\nz/e/c 1\nw/a 1\nw/b 1\n";
    assert!(apart.log.contains(expected), "{}\n{}", apart.text, apart.log);
    yard.leaves_nothing_half_made();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archives_owners_stay_unless_others_are_asked_for() {
    let yard = Yard::new().await;
    let mut archive = Builder::new(Vec::new());
    for (kind, name) in [(EntryType::Regular, "f"), (EntryType::Directory, "d"), (EntryType::Symlink, "l")] {
        let mut header = header(kind, 0);
        header.set_uid(7);
        header.set_gid(8);
        match kind {
            EntryType::Symlink => tar::Builder::append_link(&mut archive, &mut header, name, "f").unwrap(),
            _ => archive.append_data(&mut header, name, &[][..]).unwrap(),
        }
    }
    let mut tar = Builder::new(Vec::new());
    let dockerfile = "FROM base\nADD a.tar /own/\nADD --chown=0:0 a.tar /root/\nADD --chown=5 a.tar /five/\n\
        RUN cd / && stat -c '%n %u:%g' own/f own/d own/l root/f root/d root/l five/f five/d five/l\n";
    with_file(&mut tar, "Dockerfile", dockerfile.as_bytes());
    with_file(&mut tar, "a.tar", &archive.into_inner().unwrap());
    let built = begin(&yard, tar.into_inner().unwrap()).ended().await.succeeded();
    let expected =
        "own/f 7:8\nown/d 7:8\nown/l 7:8\nroot/f 0:0\nroot/d 0:0\nroot/l 0:0\nfive/f 5:5\nfive/d 5:5\nfive/l 5:5\n";
    assert!(built.log.contains(expected), "{}", built.log);
}
