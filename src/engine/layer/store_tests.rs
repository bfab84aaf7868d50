//! The layer store: commits, chains, holds and what a killed engine leaves.

use std::os::unix::fs::MetadataExt;

use super::super::{OverlayStack, detached_root};
use super::*;

fn yard() -> (tempfile::TempDir, Arc<StateRoot>, Layers) {
    let folder = tempfile::tempdir().unwrap();
    let root = Arc::new(StateRoot::open(folder.path()).unwrap());
    let layers = Layers::open(Arc::clone(&root)).unwrap();
    (folder, root, layers)
}

/// A tar made by someone else's code, with entries (name, content); a name ending in `/` is a directory.
fn foreign_tar(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if name.ends_with('/') { 0o750 } else { 0o644 });
        header.set_entry_type(if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_uid(3);
        header.set_gid(4);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn rebuilt(layers: &Layers, chain: &ChainId) -> Vec<u8> {
    let mut tar = Vec::new();
    layers.write_layer(chain, &mut tar).unwrap();
    tar
}

#[test]
fn a_foreign_tar_is_rebuilt_byte_by_byte() {
    let (_folder, _root, layers) = yard();
    let long = "d/".to_owned() + &"l".repeat(150);
    let mut tar = foreign_tar(&[
        ("d/", ""),
        ("d/a", "first"),
        (&long, "long"),
        ("d/empty", ""),
        ("d/a", "second, longer"),
        (".wh.x", ""),
    ]);
    tar.extend_from_slice(&[0; 9000]);
    let unpacked = layers.unpack(tar.as_slice(), Limits::default()).unwrap();
    assert_eq!(unpacked.diff_id.0, super::super::Digest::of(&tar));
    let layer = layers.commit(None, vec![unpacked]).unwrap().remove(0);

    assert_eq!(fs::read_to_string(layer.diff.join("d/a")).unwrap(), "second, longer");
    assert!(rebuilt(&layers, &layer.chain_id) == tar);
    assert_eq!(layer.tar_size, tar.len() as u64);

    fs::write(layer.diff.join("d/a"), "damaged, longer").unwrap();
    let error = layers.write_layer(&layer.chain_id, io::sink()).unwrap_err().to_string();
    assert!(error.contains("damaged") || error.contains("read"), "{error}");
}

#[test]
fn an_upper_directory_becomes_a_layer_by_rename() {
    let (_folder, root, layers) = yard();
    let base = layers
        .unpack(foreign_tar(&[("etc/", ""), ("etc/a", "a"), ("etc/b", "b")]).as_slice(), Limits::default())
        .unwrap();
    let base = layers.commit(None, vec![base]).unwrap().remove(0);

    let work = root.temp_dir("test").unwrap();
    let dir = |name: &str| {
        let path = work.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let stack = OverlayStack {
        lowers: layers.lowers(&base.chain_id).unwrap(),
        upper: dir("upper"),
        work: dir("work"),
        is_volatile: false,
    };
    let mounted = detached_root(&stack).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&mounted)));
    fs::remove_file(path.join("etc/a")).unwrap();
    fs::write(path.join("etc/c"), "c").unwrap();
    drop(mounted);
    let inode = fs::metadata(stack.upper.join("etc/c")).unwrap().ino();

    let layer = layers.commit_tree(Some(&base.chain_id), stack.upper.clone(), Durability::Now).unwrap();
    assert_eq!(fs::metadata(layer.diff.join("etc/c")).unwrap().ino(), inode);
    assert_eq!(layers.lowers(&layer.chain_id).unwrap(), [layer.diff.clone(), base.diff.clone()]);
    let tar = rebuilt(&layers, &layer.chain_id);
    assert_eq!(super::super::Digest::of(&tar), layer.diff_id.0);

    // The same tar elsewhere is the same layer.
    let (_other_folder, _other_root, other) = yard();
    let again = other.unpack(tar.as_slice(), Limits::default()).unwrap();
    assert_eq!(again.diff_id, layer.diff_id);
}

#[test]
fn implied_directories_look_as_in_the_layers_below() {
    let (_folder, _root, layers) = yard();
    let low = layers.unpack(foreign_tar(&[("a/", ""), ("a/b/", "")]).as_slice(), Limits::default()).unwrap();
    let high = layers.unpack(foreign_tar(&[("a/b/c", "x")]).as_slice(), Limits::default()).unwrap();
    let committed = layers.commit(None, vec![low, high]).unwrap();
    let facts = fs::metadata(committed[1].diff.join("a/b")).unwrap();
    assert_eq!((facts.mode() & 0o777, facts.uid(), facts.gid()), (0o750, 3, 4));
}

#[test]
fn layers_survive_a_restart_and_go_when_nothing_needs_them() {
    let (folder, root, layers) = yard();
    let unpack = |name: &str| layers.unpack(foreign_tar(&[(name, "x")]).as_slice(), Limits::default()).unwrap();
    let chain: Vec<ChainId> = layers
        .commit(None, vec![unpack("a"), unpack("b"), unpack("c")])
        .unwrap()
        .iter()
        .map(|layer| layer.chain_id)
        .collect();
    drop(layers);
    drop(root);
    let root = Arc::new(StateRoot::open(folder.path()).unwrap());
    let layers = Layers::open(root).unwrap();
    assert_eq!(layers.lowers(&chain[2]).unwrap().len(), 3);

    assert!(layers.remove(&chain[1], &|_| false).unwrap().is_empty(), "a layer others stand on was removed");
    let hold = layers.hold(&chain[2]);
    assert!(layers.remove(&chain[2], &|_| false).unwrap().is_empty(), "a held layer was removed");
    drop(hold);
    let first = chain[0];
    let freed = layers.remove(&chain[2], &|chain| *chain == first).unwrap();
    assert_eq!(freed.iter().map(|layer| layer.chain_id).collect::<Vec<_>>(), [chain[2], chain[1]]);
    assert_eq!(fs::read_dir(folder.path().join("layers")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(folder.path().join("trash")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_refused_layer_leaves_nothing() {
    let (folder, _root, layers) = yard();
    let tar = foreign_tar(&[("a", "x")]);
    let cut = layers.unpack(&tar[..512], Limits::default()).err().unwrap().to_string();
    assert!(cut.contains("ends in the middle"), "{cut}");
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn a_layer_that_stands_alone_goes_above_others_and_hides_none_of_their_folders() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, root, layers) = yard();
    let base = layers.unpack(foreign_tar(&[("tmp/", ""), ("tmp/old", "old")]).as_slice(), Limits::default()).unwrap();
    let base = layers.commit(None, vec![base]).unwrap().remove(0);
    let work = root.temp_dir("test").unwrap();
    let tree = work.path().join("tree");
    fs::create_dir_all(tree.join("tmp/new")).unwrap();
    fs::write(tree.join("tmp/new/f"), "f").unwrap();
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o755)).unwrap();
    let alone = layers.commit_alone(tree, vec!["tmp".into()], Durability::Now).unwrap();
    let above = layers.stack(Some(&base.chain_id), &alone.chain_id, Durability::Now).unwrap();

    assert_eq!((above.diff_id, above.parent), (alone.diff_id, Some(base.chain_id)));
    assert_eq!(layers.stack(Some(&base.chain_id), &alone.chain_id, Durability::Now).unwrap(), above);
    assert_eq!(layers.stack(None, &alone.chain_id, Durability::Now).unwrap(), alone);
    let stat = |path: PathBuf| fs::metadata(path).unwrap();
    // The folder below is as the base has it, and the tar, which does not name it, is the same above any base.
    assert_eq!((stat(above.diff.join("tmp")).mode() & 0o7777, stat(above.diff.join("tmp")).uid()), (0o750, 3));
    assert_eq!(stat(alone.diff.join("tmp")).mode() & 0o7777, 0o755);
    assert_eq!(stat(above.diff.join("tmp/new/f")).ino(), stat(alone.diff.join("tmp/new/f")).ino());
    let tar = rebuilt(&layers, &above.chain_id);
    assert!(tar == rebuilt(&layers, &alone.chain_id));
    let mut archive = tar::Archive::new(tar.as_slice());
    let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["tmp/new/", "tmp/new/f"]);

    layers.remove(&alone.chain_id, &|_| false).unwrap();
    assert_eq!(fs::read_to_string(above.diff.join("tmp/new/f")).unwrap(), "f");
}
