//! Loading and saving: archives of both kinds, round trips, a full disk.

use futures_util::StreamExt;

use crate::engine::events::Events;
use crate::engine::image::{HostImage, ListImages, NewImage, RemoveImage};
use crate::engine::layer::{ChainId, Durability, Layers};
use crate::engine::store::StateRoot;

use super::*;

struct Yard {
    folder: tempfile::TempDir,
    events: Arc<Events>,
    images: Images,
}

fn yard() -> Yard {
    let folder = tempfile::tempdir().unwrap();
    let (events, images) = open(folder.path());
    Yard { folder, events, images }
}

fn open(path: &std::path::Path) -> (Arc<Events>, Images) {
    let root = Arc::new(StateRoot::open(path).unwrap());
    let layers = Arc::new(Layers::open(Arc::clone(&root)).unwrap());
    let events = Arc::new(Events::default());
    (Arc::clone(&events), Images::open(root, layers, events).unwrap())
}

async fn host_image(yard: &Yard, name: &str) -> ImageId {
    let reference = Some(Reference::parse(name).unwrap().or_latest());
    let programs = vec!["sh".to_owned(), "true".to_owned()];
    yard.images.from_host(HostImage { reference, programs, ..HostImage::default() }).await.unwrap()
}

async fn saved(yard: &Yard, names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut stream = yard.images.save(&names).unwrap();
    let mut archive = Vec::new();
    while let Some(chunk) = stream.next().await {
        archive.extend_from_slice(&chunk.unwrap());
    }
    archive
}

async fn load(yard: &Yard, archive: Vec<u8>) -> Vec<Progress> {
    yard.images.load(std::io::Cursor::new(archive), true).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_image_runs_its_shell_and_survives_save_and_load() {
    let one = yard();
    let id = host_image(&one, "host").await;
    one.images.tag("host", "other/name", Some("v1")).await.unwrap();
    let image = one.images.find("host").unwrap();
    let root = one.images.layers().get(&image.top.unwrap()).unwrap().diff;
    let ran =
        std::process::Command::new("chroot").arg(&root).args(["/bin/sh", "-c", "true && echo ran"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "ran\n", "{ran:?}");

    let archive = saved(&one, &["host", "other/name:v1"]).await;
    let two = yard();
    let told = load(&two, archive.clone()).await;
    let streams: Vec<&str> = told.iter().filter_map(|message| message.stream.as_deref()).collect();
    assert_eq!(streams, ["Loaded image: host:latest\n", "Loaded image: other/name:v1\n"], "{told:?}");
    assert_eq!(two.images.find("other/name:v1").unwrap().id, id);
    assert_eq!(saved(&two, &["host", "other/name:v1"]).await, archive, "save after load gives another archive");

    // The archive is an OCI layout as well: without manifest.json it loads all the same.
    let three = yard();
    let temp = tempfile::tempdir().unwrap();
    let dir = File::open(temp.path()).unwrap();
    apply_tar(dir.as_fd(), archive.as_slice(), &ApplyOptions::default()).unwrap();
    std::fs::remove_file(temp.path().join("manifest.json")).unwrap();
    let mut layout = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    crate::engine::layer::write_tar(dir.as_fd(), std::path::Path::new(""), &Default::default(), &mut layout).unwrap();
    load(&three, layout.finish().unwrap()).await;
    assert_eq!(three.images.find("host:latest").unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_names_survive_a_restart() {
    let yard = yard();
    let id = host_image(&yard, "host").await;
    yard.images.tag("host", "localhost:5000/x", None).await.unwrap();
    let Yard { folder, images, events } = yard;
    drop((images, events));
    let (_, images) = open(folder.path());
    assert_eq!(images.find("localhost:5000/x").unwrap().id, id);
    assert_eq!(images.find(&id.short()).unwrap().id, id);
    let summary = images.list(&ListImages::default()).unwrap().remove(0);
    assert_eq!(summary.repo_tags, ["host:latest", "localhost:5000/x:latest"]);
    assert!(summary.size > 100_000);
    assert_eq!(images.find("nope").unwrap_err().to_string(), "No such image: nope:latest");
    images.drop_unused_layers().await.unwrap();
    assert_eq!(images.layers().all().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_archives_are_refused_and_leave_nothing() {
    let one = yard();
    host_image(&one, "host").await;
    let mut archive = saved(&one, &["host"]).await;
    let at = archive.windows(8).position(|bytes| bytes == b"root:x:0").unwrap();
    archive[at] = b'R';
    for (bytes, words) in [
        (archive, "wrong diff id calculated on extraction"),
        (vec![0; 1024], "neither manifest.json nor index.json"),
        (b"this is no archive at all".to_vec(), "invalid tar archive"),
    ] {
        let two = yard();
        let told = load(&two, bytes).await;
        let error = told.last().and_then(|message| message.error.clone()).unwrap();
        assert!(error.contains(words), "{error}");
        assert!(two.images.list(&ListImages::default()).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(two.folder.path().join("layers")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(two.folder.path().join("tmp")).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let one = yard();
    host_image(&one, "host").await;
    let archive = saved(&one, &["host"]).await;

    let folder = tempfile::tempdir().unwrap();
    let small = Mounted::tmpfs(folder.path(), archive.len() as u64 / 2);
    let (_events, images) = open(folder.path());
    let told: Vec<Progress> = images.load(std::io::Cursor::new(archive), true).collect().await;
    let error = told.last().and_then(|message| message.error.clone()).unwrap();
    assert!(error.contains("no space left on device") && error.contains("prune"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(folder.path().join("layers")).unwrap().count(), 0);
    drop(images);
    drop(small);
}

/// A small file system, gone with the test.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(path: &std::path::Path, bytes: u64) -> Self {
        let data = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, Some(data.as_c_str())).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn created_images_have_history_and_inspect() {
    let yard = yard();
    let base = host_image(&yard, "host").await;
    let base = yard.images.get(&base).unwrap();
    let tree = yard.folder.path().join("tmp/tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("new"), "12345").unwrap();
    let layer = yard.images.layers().commit_tree(base.top.as_ref(), tree, Durability::Now).unwrap();
    let mut config = base.config.clone();
    config
        .history
        .push(crate::engine::image::HistoryEntry { created_by: Some("RUN x".to_owned()), ..Default::default() });
    let layers: Vec<ChainId> = base.layers.iter().copied().chain([layer.chain_id]).collect();
    let tags = vec![Reference::parse("built").unwrap()];
    let new = NewImage { config, layers, tags, parent: Some(base.id) };
    let image = yard.images.create(new.clone()).await.unwrap();
    assert_eq!(yard.images.create(new).await.unwrap().id, image.id);

    let history = yard.images.history("built").unwrap();
    assert_eq!(
        (history[0].id.clone(), history[0].size, history[0].created_by.as_str()),
        (image.id.to_string(), 5, "RUN x")
    );
    assert_eq!(history[1].id, base.id.to_string());
    let inspect = yard.images.inspect("built").unwrap();
    assert_eq!(inspect.root_fs.unwrap().layers.unwrap().len(), 2);
    assert_eq!(inspect.repo_tags.unwrap(), ["built:latest"]);
    let actions: Vec<String> = yard.events.subscribe().0.into_iter().filter_map(|event| event.action).collect();
    assert_eq!(actions, ["tag", "tag"]);

    let words = yard.images.remove("host", RemoveImage::default()).await.unwrap();
    assert_eq!(words.len(), 1, "an image others stand on was deleted: {words:?}");
    let removed = yard.images.remove("built", RemoveImage::default()).await.unwrap();
    assert_eq!(removed.iter().filter(|item| item.deleted.is_some()).count(), 4, "{removed:?}");
    assert!(yard.images.layers().all().is_empty());
}
