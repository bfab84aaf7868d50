//! A kept context, synced over a socket pair by a client that says what a test wants.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use super::*;

impl Talk for UnixStream {
    fn end(&mut self) -> io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

/// A client's folder: path to content (`/` at its end: a folder; `->`: a link; `=`: a further name of a file), and how often
/// each has changed.
#[derive(Clone, Default)]
struct Folder(BTreeMap<String, (String, i64)>);

impl Folder {
    fn with(mut self, path: &str, content: &str) -> Self {
        let version = self.0.get(path).map_or(1, |(_, version)| version + 1);
        self.0.insert(path.to_owned(), (content.to_owned(), version));
        self
    }

    fn without(mut self, path: &str) -> Self {
        self.0.remove(path);
        self
    }

    fn listed(&self) -> Vec<Listed> {
        let entry = |(path, (content, version)): (&String, &(String, i64))| {
            let (kind, target) = match (content.strip_prefix("->"), content.strip_prefix('=')) {
                (Some(target), _) => (Kind::Link, target),
                (_, Some(target)) => (Kind::HardLink, target),
                _ if path.ends_with('/') => (Kind::Folder, ""),
                _ => (Kind::File, ""),
            };
            Listed {
                kind,
                is_aside: path == "Dockerfile",
                is_fresh: false,
                mode: if kind == Kind::Folder { 0o755 } else { 0o640 },
                size: content.len() as u64,
                modified: (*version, 5),
                changed: (*version, 6),
                inode: 7,
                path: path.trim_end_matches('/').into(),
                target: target.into(),
            }
        };
        self.0.iter().map(entry).collect()
    }
}

struct Yard {
    _folder: TempDir,
    root: Arc<StateRoot>,
    kept: Arc<KeptContexts>,
}

impl Yard {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(StateRoot::open(folder.path()).unwrap());
        let kept = Arc::new(KeptContexts::open(&root).unwrap());
        Self { _folder: folder, root, kept }
    }

    /// Syncs the folder; the context, and the paths of the files that were asked for.
    async fn sync(&self, folder: &Folder) -> (Held, Vec<String>) {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let listed = folder.listed();
        let head = Head { origin: "here:/x".to_owned(), count: listed.len() as u32 };
        let contents: Vec<(String, String)> =
            folder.0.iter().map(|(path, (content, _))| (path.clone(), content.clone())).collect();
        let client = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            listed.iter().for_each(|it| it.write(&mut bytes).unwrap());
            far.write_all(&bytes).unwrap();
            let mut wants = Vec::new();
            far.read_to_end(&mut wants).unwrap();
            let mut asked = Vec::new();
            for number in Wants::from_bytes(&wants).unwrap().0 {
                let (path, content) = &contents[number as usize];
                far.write_all(&(content.len() as u64).to_le_bytes()).unwrap();
                far.write_all(content.as_bytes()).unwrap();
                asked.push(path.clone());
            }
            asked
        });
        let kept = Arc::clone(&self.kept);
        let held = tokio::task::spawn_blocking(move || kept.sync(&head, &mut near, &CancellationToken::new()))
            .await
            .unwrap()
            .unwrap();
        (held, client.join().unwrap())
    }
}

fn first() -> Folder {
    Folder::default()
        .with("Dockerfile", "FROM x")
        .with("a", "one")
        .with("d/", "")
        .with("d/b", "two")
        .with("l", "->a")
        .with("implied/deep/f", "three")
}

fn files(held: &Held) -> Vec<String> {
    let mut all = Vec::new();
    let mut pending = vec![held.files.clone()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                pending.push(path.clone());
            }
            all.push(path.strip_prefix(&held.files).unwrap().display().to_string());
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn only_what_changed_is_asked_for() {
    let yard = Yard::new();
    let (held, asked) = yard.sync(&first()).await;
    assert_eq!(asked, ["Dockerfile", "a", "d/b", "implied/deep/f"]);
    assert_eq!(files(&held), ["a", "d", "d/b", "implied", "implied/deep", "implied/deep/f", "l"]);
    assert_eq!(fs::read_to_string(held.aside.join("Dockerfile")).unwrap(), "FROM x");
    assert_eq!(held.digests[Path::new("a")], Digest::of(b"one"));
    assert!(!held.digests.contains_key(Path::new("Dockerfile")));
    let stat = fs::metadata(held.files.join("a")).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec(), stat.mode() & 0o777, held.sent), (1, 5, 0o640, 17));
    drop(held);

    let (held, asked) = yard.sync(&first()).await;
    assert_eq!((asked, held.sent, held.bytes), (Vec::<String>::new(), 0, 17));
    drop(held);

    let changed = first().with("a", "ONE").without("implied/deep/f").without("d/b").with("l", "->d").with("d/n", "new");
    let (held, asked) = yard.sync(&changed).await;
    assert_eq!(asked, ["a", "d/n"]);
    assert_eq!(files(&held), ["a", "d", "d/n", "l"]);
    assert_eq!(fs::read_to_string(held.files.join("a")).unwrap(), "ONE");
    assert_eq!(fs::read_link(held.files.join("l")).unwrap(), Path::new("d"));
}

#[tokio::test]
async fn kinds_may_change_into_each_other() {
    let yard = Yard::new();
    drop(yard.sync(&first()).await);
    let changed = first().without("a").with("a/", "").with("a/in", "x").without("d/").without("d/b").with("d", "file");
    let changed = changed.without("implied/deep/f").with("implied", "->d");
    let (held, _) = yard.sync(&changed).await;
    assert_eq!(files(&held), ["a", "a/in", "d", "implied", "l"]);
    drop(held);
    let (held, _) = yard.sync(&first()).await;
    assert_eq!(files(&held), ["a", "d", "d/b", "implied", "implied/deep", "implied/deep/f", "l"]);
}

#[tokio::test]
async fn further_names_of_a_file_stay_such() {
    let yard = Yard::new();
    let linked = first().with("d/again", "=a").with("z", "=a");
    let one_file = |held: &Held| {
        let number = |name: &str| fs::metadata(held.files.join(name)).unwrap().ino();
        [number("d/again"), number("z")] == [number("a"); 2]
    };
    let (held, asked) = yard.sync(&linked).await;
    assert_eq!(asked, ["Dockerfile", "a", "d/b", "implied/deep/f"]);
    assert!(one_file(&held));
    assert_eq!((held.digests[Path::new("z")], held.bytes), (Digest::of(b"one"), 17));
    // A build that reads it meanwhile keeps it; the other's copy is linked just so.
    let changed = linked.clone().with("a", "ONE").with("d/again", "=a").with("z", "=a");
    let (copy, asked) = yard.sync(&changed).await;
    assert_eq!(asked, ["a"]);
    assert!(one_file(&held) && one_file(&copy));
    assert_eq!(fs::read_to_string(copy.files.join("z")).unwrap(), "ONE");
    assert_eq!(fs::read_to_string(held.files.join("z")).unwrap(), "one");
    drop((held, copy));
    assert_eq!(yard.sync(&linked).await.1, Vec::<String>::new());

    // The first of them goes: the next is a file of its own then.
    let (held, asked) = yard.sync(&linked.without("a").with("d/again", "one").with("z", "=d/again")).await;
    assert_eq!(asked, ["d/again"]);
    assert_eq!(held.digests[Path::new("z")], Digest::of(b"one"));
    assert!(!held.files.join("a").exists() && held.files.join("z").exists());
}

#[tokio::test]
async fn zeros_become_holes() {
    let yard = Yard::new();
    let content = format!("{}{}{}", "x".repeat(100_000), "\0".repeat(1 << 20), "end");
    let (held, _) = yard.sync(&first().with("disk", &content)).await;
    let stat = fs::metadata(held.files.join("disk")).unwrap();
    assert_eq!((stat.len(), held.digests[Path::new("disk")]), (content.len() as u64, Digest::of(content.as_bytes())));
    assert!(stat.blocks() * 512 < 1 << 19, "{} blocks", stat.blocks());
    assert!(fs::read(held.files.join("disk")).unwrap() == content.as_bytes());
}

#[tokio::test]
async fn a_listing_that_leads_elsewhere_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    let link = format!("->{}", outside.path().display());
    for listed in [
        first().with("x", &link).with("x/f", "written"),
        first().with("x", &link).with("y", "=x/secret"),
        first().with("y", "=l"),
        first().with("y", "=d"),
        first().with("A", "=a"),
    ] {
        let yard = Yard::new();
        let (mut near, far) = UnixStream::pair().unwrap();
        let head = Head { origin: "here:/x".to_owned(), count: listed.listed().len() as u32 };
        let mut bytes = Vec::new();
        listed.listed().iter().for_each(|it| it.write(&mut bytes).unwrap());
        (&far).write_all(&bytes).unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        let kept = Arc::clone(&yard.kept);
        let work = move || kept.sync(&head, &mut near, &CancellationToken::new()).map(drop);
        let refused = tokio::task::spawn_blocking(work).await.unwrap().unwrap_err();
        assert!(refused.to_string().starts_with("the listing has files/"), "{refused}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_build_keeps_what_it_reads() {
    let yard = Yard::new();
    let (old, _) = yard.sync(&first()).await;
    let (new, asked) = yard.sync(&first().with("a", "ONE")).await;
    assert_eq!(asked, ["a"]);
    let read = |held: &Held| fs::read_to_string(held.files.join("a")).unwrap();
    assert_eq!((read(&old), read(&new)), ("one".to_owned(), "ONE".to_owned()));
    assert_eq!(new.digests[Path::new("a")], Digest::of(b"ONE"));
    assert_eq!(new.digests[Path::new("d/b")], Digest::of(b"two"));
    drop((old, new));
    // The copy was that build's own.
    assert_eq!(yard.sync(&first()).await.1, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_kept_outlives_the_engine_but_not_a_broken_change() {
    let yard = Yard::new();
    drop(yard.sync(&first()).await);
    let again = Yard { kept: Arc::new(KeptContexts::open(&yard.root).unwrap()), ..yard };
    assert_eq!(again.sync(&first()).await.1, Vec::<String>::new());

    let (mut near, far) = UnixStream::pair().unwrap();
    let changed = first().with("a", "ONE").with("c", "more");
    let listed = changed.listed();
    let mut bytes = Vec::new();
    listed.iter().for_each(|it| it.write(&mut bytes).unwrap());
    (&far).write_all(&bytes).unwrap();
    far.shutdown(std::net::Shutdown::Write).unwrap();
    let head = Head { origin: "here:/x".to_owned(), count: listed.len() as u32 };
    let kept = Arc::clone(&again.kept);
    let broken = tokio::task::spawn_blocking(move || kept.sync(&head, &mut near, &CancellationToken::new()).map(drop))
        .await
        .unwrap();
    assert!(broken.is_err());
    assert_eq!(again.sync(&first()).await.1.len(), 4);
}

#[tokio::test]
async fn kept_contexts_can_be_listed_and_dropped() {
    let yard = Yard::new();
    let (held, _) = yard.sync(&first()).await;
    let listed = yard.kept.list();
    let [(name, 17, _)] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(yard.kept.discard(name).unwrap(), 0, "a build has it");
    drop(held);
    let rows = yard.kept.entries();
    assert_eq!((rows.len(), rows[0].id.as_str(), rows[0].size), (1, &name[..25], 17));
    assert_eq!(Shelf::discard(&*yard.kept, &name[..4]), Ok(0), "that may be anybody's");
    assert_eq!(Shelf::discard(&*yard.kept, &rows[0].id), Ok(17));
    assert!(yard.kept.list().is_empty());
    assert_eq!(yard.sync(&first()).await.1.len(), 4);
}
