//! Removing: names, images in use, layers that nobody needs any more.

use std::sync::Mutex;

use crate::engine::events::Events;
use crate::engine::image::{ImageUser, ImageUsers, ListImages, NewImage};
use crate::engine::layer::{ChainId, Durability, Layers};
use crate::engine::store::StateRoot;

use super::*;

/// Containers as this room sees them.
#[derive(Default)]
struct Users(Mutex<Vec<(ImageId, ImageUser, Option<ChainId>)>>);

impl ImageUsers for Users {
    fn users_of(&self, image: &ImageId) -> Vec<ImageUser> {
        self.0.lock().unwrap().iter().filter(|(id, _, _)| id == image).map(|(_, user, _)| user.clone()).collect()
    }

    fn holds_layer(&self, layer: &ChainId) -> bool {
        self.0.lock().unwrap().iter().any(|(_, _, top)| top.as_ref() == Some(layer))
    }
}

struct Yard {
    folder: tempfile::TempDir,
    images: Images,
    users: Arc<Users>,
}

fn yard() -> Yard {
    let folder = tempfile::tempdir().unwrap();
    let root = Arc::new(StateRoot::open(folder.path()).unwrap());
    let layers = Arc::new(Layers::open(Arc::clone(&root)).unwrap());
    let images = Images::open(root, layers, Arc::new(Events::default())).unwrap();
    let users = Arc::new(Users::default());
    images.add_users(Arc::clone(&users) as Arc<dyn ImageUsers>);
    Yard { folder, images, users }
}

impl Yard {
    /// An image with one layer of its own, whose only file is named after `names`.
    async fn image(&self, names: &[&str], labels: &[(&str, &str)]) -> Image {
        let tree = self.folder.path().join("tmp/tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("file"), format!("{names:?}{labels:?}")).unwrap();
        let layer = self.images.layers().commit_tree(None, tree, Durability::Now).unwrap();
        let mut config = crate::engine::image::ImageConfig::default();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        config.config.labels = Some(labels.collect());
        let tags = names.iter().map(|name| Reference::parse(name).unwrap()).collect();
        self.images.create(NewImage { config, layers: vec![layer.chain_id], tags, parent: None }).await.unwrap()
    }

    fn container(&self, image: &Image, is_running: bool) {
        let user = ImageUser { container_id: "c0ffee".repeat(10), is_running, image: "x".to_owned() };
        self.users.0.lock().unwrap().push((image.id, user, image.top));
    }

    async fn remove(&self, name: &str, force: bool) -> Result<Vec<String>, String> {
        let removed = self.images.remove(name, RemoveImage { force, noprune: false }).await;
        removed
            .map_err(|error| error.to_string())
            .map(|items| items.into_iter().map(|item| item.untagged.or(item.deleted).unwrap_or_default()).collect())
    }
}

#[tokio::test]
async fn a_name_goes_first_and_the_image_with_the_last_one() {
    let yard = yard();
    // No hexadecimal digits: those would be the beginning of an ID.
    let image = yard.image(&["one", "two:1"], &[]).await;
    assert_eq!(yard.remove("one", false).await.unwrap(), ["one:latest"]);
    let words = yard.remove("one", false).await.unwrap_err();
    assert_eq!(words, "No such image: one:latest");
    assert_eq!(
        yard.remove("two:1", false).await.unwrap(),
        ["two:1".to_owned(), image.id.to_string(), image.top.unwrap().to_string()]
    );
    assert!(yard.images.layers().all().is_empty());
}

#[tokio::test]
async fn an_id_with_names_in_two_repositories_must_be_forced() {
    let yard = yard();
    let image = yard.image(&["a", "b"], &[]).await;
    let words = yard.remove(&image.id.to_string(), false).await.unwrap_err();
    assert_eq!(
        words,
        format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            image.id.short()
        )
    );
    assert_eq!(yard.remove(&image.id.short(), true).await.unwrap().len(), 4);
}

#[tokio::test]
async fn containers_are_in_the_way() {
    let yard = yard();
    let stopped = yard.image(&["stopped"], &[]).await;
    let running = yard.image(&["running"], &[]).await;
    yard.container(&stopped, false);
    yard.container(&running, true);
    assert_eq!(
        yard.remove("stopped", false).await.unwrap_err(),
        format!(
            "conflict: unable to remove repository reference \"stopped\" (must force) - container c0ffeec0ffee is using its referenced image {}",
            stopped.id.short()
        )
    );
    assert_eq!(
        yard.remove(&running.id.short(), true).await.unwrap_err(),
        format!(
            "conflict: unable to delete {} (cannot be forced) - image is being used by running container c0ffeec0ffee",
            running.id.short()
        )
    );
    assert_eq!(
        yard.remove(&stopped.id.short(), false).await.unwrap_err(),
        format!(
            "conflict: unable to delete {} (must be forced) - image is being used by stopped container c0ffeec0ffee",
            stopped.id.short()
        )
    );
    // The container's files stay though its image goes.
    assert_eq!(yard.remove("stopped", true).await.unwrap(), ["stopped:latest".to_owned(), stopped.id.to_string()]);
    assert!(yard.images.layers().get(&stopped.top.unwrap()).is_some());
}

#[tokio::test]
async fn prune_takes_what_nobody_uses() {
    let yard = yard();
    let dangling = yard.image(&[], &[("keep", "no")]).await;
    let kept = yard.image(&[], &[("keep", "yes")]).await;
    yard.image(&["named"], &[]).await;
    let used = yard.image(&["used"], &[]).await;
    yard.container(&used, false);

    let filters = |pairs: &[(&str, &str)]| -> HashMap<String, Vec<String>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect()
    };
    let pruned = yard.images.prune(&filters(&[("label!", "keep=yes")])).await.unwrap();
    assert_eq!(pruned.images_deleted.unwrap()[0].deleted, Some(dangling.id.to_string()));
    assert_eq!(pruned.space_reclaimed, Some(i64::try_from(dangling.size).unwrap()));
    assert!(yard.images.get(&kept.id).is_some());
    yard.images.prune(&filters(&[("dangling", "false")])).await.unwrap();
    let left = yard.images.list(&ListImages { all: true, ..Default::default() }).unwrap();
    assert_eq!(left.iter().map(|image| image.id.clone()).collect::<Vec<_>>(), [used.id.to_string()]);
    assert_eq!(yard.images.prune(&filters(&[("bogus", "1")])).await.unwrap_err().to_string(), "invalid filter 'bogus'");
}
