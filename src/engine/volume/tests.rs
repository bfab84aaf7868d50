//! The volumes through their door.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use bollard_stubs::models as docker;

use super::mounting::is_mount_point;
use super::*;
use crate::engine::EngineError;
use crate::engine::events::Events;
use crate::engine::filters::Filters;
use crate::engine::store::StateRoot;

struct Used(Vec<&'static str>);

impl VolumeUsers for Used {
    fn users_of(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|used| **used == name).map(|_| "c1".to_owned()).collect()
    }
}

fn open(folder: &Path) -> Volumes {
    let root = Arc::new(StateRoot::open(folder).unwrap());
    Volumes::open(root, Arc::new(Events::default())).unwrap()
}

fn request(name: &str, options: &[(&str, &str)]) -> docker::VolumeCreateRequest {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    docker::VolumeCreateRequest { name: Some(name.to_owned()), driver_opts: Some(options), ..Default::default() }
}

fn mount_of(name: Option<&str>) -> MountRequest {
    let source = MountSource::Volume {
        name: name.map(str::to_owned),
        driver: String::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        copy: true,
        subpath: None,
    };
    MountRequest {
        target: "/data".to_owned(),
        source,
        read_only: false,
        mode: String::new(),
        origin: MountOrigin::Binds,
    }
}

fn words<T>(outcome: Result<T, EngineError>) -> String {
    outcome.err().map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn volumes_come_stay_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    let made = volumes.create(request("db", &[])).await.unwrap();
    fs::write(Path::new(&made.mountpoint).join("file"), "content").unwrap();
    drop(volumes);

    let volumes = open(folder.path());
    assert_eq!(volumes.inspect("db").unwrap().created_at, made.created_at);
    assert_eq!(volumes.create(request("db", &[])).await.unwrap().created_at, made.created_at);
    volumes.set_users(Arc::new(Used(vec!["db"])));
    assert_eq!(words(volumes.remove("db", true).await), "remove db: volume is in use - [c1]");
    assert_eq!(words(volumes.inspect("none")), "get none: no such volume");
    assert_eq!(words(volumes.remove("none", false).await), "get none: no such volume");
    volumes.remove("none", true).await.unwrap();

    volumes.create(request("idle", &[])).await.unwrap();
    volumes.remove("idle", false).await.unwrap();
    assert!(!folder.path().join("volumes/idle").exists());
}

#[tokio::test]
async fn prune_takes_the_unused_anonymous_ones() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    volumes.set_users(Arc::new(Used(vec!["used"])));
    for name in ["used", "idle"] {
        volumes.create(request(name, &[])).await.unwrap();
    }
    let anonymous = volumes.realise("c1", vec![mount_of(None)]).await.unwrap();
    assert!(anonymous[0].anonymous);
    let name = anonymous[0].volume.clone().unwrap();
    assert_eq!(name.len(), 64);

    let pruned = volumes.prune(&Filters::default()).await.unwrap();
    assert_eq!(pruned.volumes_deleted, Some(vec![name]));
    let pruned = volumes.prune(&Filters::default().with("all", "1")).await.unwrap();
    assert_eq!(pruned.volumes_deleted, Some(vec!["idle".to_owned()]));
}

#[tokio::test]
async fn a_memory_volume_lives_as_long_as_its_users() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
    volumes.create(request("fast", &options)).await.unwrap();
    let points = volumes.realise("c1", vec![mount_of(Some("fast"))]).await.unwrap();
    let data = volumes.data("fast");

    volumes.mount("one", &points).await.unwrap();
    volumes.mount("two", &points).await.unwrap();
    assert!(is_mount_point(&data));
    volumes.unmount("one", &points).await;
    assert!(is_mount_point(&data));
    volumes.unmount("two", &points).await;
    assert!(!is_mount_point(&data));
}

#[tokio::test]
async fn sources_of_binds_must_be_there_or_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder.path().join("root"));
    let missing = folder.path().join("missing").display().to_string();
    let bind = |create| MountRequest {
        source: MountSource::Bind {
            path: missing.clone(),
            create,
            recursive: true,
            propagation: String::new(),
            writable_below: false,
        },
        ..mount_of(None)
    };
    assert_eq!(
        words(volumes.realise("c1", vec![bind(false)]).await),
        format!("invalid mount config for type \"bind\": bind source path does not exist: {missing}")
    );
    let points = volumes.realise("c1", vec![bind(true)]).await.unwrap();
    volumes.mount("one", &points).await.unwrap();
    assert!(Path::new(&missing).is_dir());
}

#[tokio::test]
async fn a_new_volume_takes_the_images_content() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder.path().join("root"));
    let image = folder.path().join("image");
    fs::create_dir_all(image.join("data")).unwrap();
    fs::write(image.join("data/seed"), "x").unwrap();
    let points = volumes.realise("c1", vec![mount_of(Some("db"))]).await.unwrap();
    volumes.copy_up(&points, File::open(&image).unwrap().into()).await.unwrap();
    assert!(volumes.data("db").join("seed").exists());
}

#[tokio::test]
async fn refusals_are_dockers_words() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    let strange = docker::VolumeCreateRequest { driver: Some("x".to_owned()), ..request("db", &[]) };
    assert_eq!(
        words(volumes.create(strange).await),
        "create db: error looking up volume plugin x: plugin \"x\" not found"
    );
    assert_eq!(
        words(volumes.create(request("db", &[("type", "tmpfs")])).await),
        "create db: missing required option: \"device\""
    );
}

#[tokio::test]
async fn volumes_of_a_container_that_was_never_made_go_at_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(folder.path());
    let point = |answer: Result<Vec<MountedPoint>, EngineError>| answer.unwrap().remove(0);
    let kept = point(volumes.realise("alive", vec![mount_of(None)]).await);
    let orphan = point(volumes.realise("never-made", vec![mount_of(None)]).await);
    let freed = point(volumes.realise("removed", vec![mount_of(None)]).await);
    let named = point(volumes.realise("never-made", vec![mount_of(Some("db"))]).await);
    volumes.set_free(std::slice::from_ref(&freed)).await.unwrap();
    drop(volumes);

    let volumes = open(folder.path());
    volumes.remove_orphans(|id| id == "alive").await.unwrap();
    let is_there = |point: &MountedPoint| volumes.inspect(point.volume.as_deref().unwrap()).is_ok();
    assert_eq!([&kept, &orphan, &freed, &named].map(is_there), [true, false, true, true]);
}
