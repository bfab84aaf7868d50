//! Caches that travel between two engines, by a registry and by a client's folder.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::buildkit::session::{Answer, Ask, Channel, accept};
use crate::engine::build::{Budget, BuildContext, BuildMessage, BuildParts, BuildRequest, Builds, PruneRequest};
use crate::engine::events::Events;
use crate::engine::image::{Images, PushRequest, Reference};
use crate::engine::instance::Instance;
use crate::engine::layer::Layers;
use crate::engine::network::Networks;
use crate::engine::registry::fake::Fake;
use crate::engine::runtime::HostFacts;
use crate::engine::shim::ShimBinary;
use crate::engine::store::StateRoot;

/// Two stages, of which the second takes from the first. Nothing runs, so that no sandbox is needed.
const FILE: &str =
    "FROM scratch AS one\nCOPY a /one/\nFROM scratch\nCOPY --from=one /one /x/\nWORKDIR /w\nCOPY b /two/\n";
const STEPS: usize = 4;

/// An engine's builder.
struct Yard {
    _folder: TempDir,
    images: Images,
    builds: Builds,
}

struct Built {
    text: String,
    id: String,
}

impl Built {
    fn hits(&self) -> usize {
        self.text.matches(" ---> Using cache\n").count()
    }
}

impl Yard {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::new(&folder.path().join("root"), &folder.path().join("run"));
        std::fs::create_dir(instance.run()).unwrap();
        let root = Arc::new(StateRoot::open(instance.root()).unwrap());
        let events = Arc::new(Events::default());
        let layers = Arc::new(Layers::open(Arc::clone(&root)).unwrap());
        let images = Images::open(Arc::clone(&root), layers, Arc::clone(&events)).unwrap();
        let networks = Networks::open(Arc::clone(&root), instance.clone(), Arc::clone(&events)).await.unwrap();
        let builds = Builds::open(BuildParts {
            root,
            instance,
            images: images.clone(),
            networks: Arc::new(networks),
            host: Arc::new(HostFacts::read()),
            // Nothing is run.
            shim: ShimBinary::of_file(Path::new("/bin/true")).unwrap(),
            events,
            budget: Budget::default(),
        })
        .await
        .unwrap();
        Self { _folder: folder, images, builds }
    }

    async fn build(&self, change: impl FnOnce(&mut BuildRequest)) -> Built {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in [("Dockerfile", FILE), ("a", "A"), ("b", "B")] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let context = std::io::Cursor::new(tar.into_inner().unwrap());
        let mut request = BuildRequest::new(BuildContext::Tar(Box::new(context)));
        change(&mut request);
        let mut messages = Box::pin(self.builds.build(request));
        let (mut text, mut id) = (String::new(), None);
        while let Some(message) = messages.next().await {
            match message {
                BuildMessage::Text(part) => text.push_str(&part),
                BuildMessage::Image(image) => id = Some(image),
                BuildMessage::Failed(failure) => panic!("{}\n{text}", failure.message),
                _ => {}
            }
        }
        Built { text, id: id.unwrap() }
    }

    async fn layers(&self) -> usize {
        self.images.layers().all().len()
    }
}

fn list(text: String) -> Vec<String> {
    vec![text]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_carries_the_steps_of_all_stages_or_the_results_own() {
    let registry = Fake::start().await;
    let place = format!("{}/app", registry.address);
    let first = Yard::new().await;
    let made = first
        .build(|request| {
            request.cache_to =
                vec![format!("type=registry,ref={place}:max,mode=max"), format!("type=registry,ref={place}:min")];
        })
        .await;
    assert!(!made.text.contains("[Warning]"), "{}", made.text);

    let max = Yard::new().await;
    let taken = max.build(|request| request.cache_from = list(format!("type=registry,ref={place}:max"))).await;
    assert_eq!((taken.hits(), &taken.id), (STEPS, &made.id), "{}", taken.text);
    // From now on they are its own.
    assert_eq!(max.build(|_| {}).await.hits(), STEPS);

    let min = Yard::new().await;
    let taken = min.build(|request| request.cache_from = list(format!("{place}:min"))).await;
    assert_eq!((taken.hits(), &taken.id), (STEPS - 1, &made.id), "{}", taken.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_carries_its_own_cache() {
    let registry = Fake::start().await;
    let name = format!("{}/app:1", registry.address);
    let first = Yard::new().await;
    let made = first
        .build(|request| {
            request.tags = vec![name.clone()];
            request.cache_to = list("type=inline".to_owned());
        })
        .await;
    let again = first
        .build(|request| {
            request.build_args.insert("BUILDKIT_INLINE_CACHE".into(), Some("1".into()));
        })
        .await;
    assert_eq!(again.id, made.id, "an unchanged build gives the same image, its cache included");
    let reference = Reference::parse(&name).unwrap();
    let mut push = first.images.push(PushRequest { reference, auth: None, form: Default::default() });
    while let Some(progress) = push.next().await {
        assert_eq!(progress.error, None);
    }
    let second = Yard::new().await;
    let taken = second.build(|request| request.cache_from = list(name.clone())).await;
    assert_eq!(taken.hits(), STEPS - 1, "{}", taken.text);
    assert_ne!(taken.id, made.id, "this one carries no cache");

    // The image is here, its records are not any more.
    first.builds.prune(PruneRequest { all: true, ..PruneRequest::default() }).await.unwrap();
    assert_eq!(first.build(|request| request.cache_from = list(name.clone())).await.hits(), STEPS - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_reached_is_a_warning() {
    let registry = Fake::start().await;
    let yard = Yard::new().await;
    let name = format!("{}/nothing:here", registry.address);
    let built = yard
        .build(|request| {
            request.cache_from = vec![name.clone(), "type=local,src=/cache".to_owned()];
            request.cache_to = list("type=local,dest=/cache".to_owned());
        })
        .await;
    assert!(
        built.text.contains(&format!("[Warning] no cache from {name}: manifest for {name} not found")),
        "{}",
        built.text
    );
    let session = "a folder of the client's needs a build session, which `boxyard build` opens";
    assert!(built.text.contains(&format!("[Warning] no cache from /cache: {session}\n")), "{}", built.text);
    assert!(built.text.contains(&format!("[Warning] the cache did not go to /cache: {session}\n")), "{}", built.text);
}

/// A client that keeps one archive: what it was given last.
async fn answer(mut channel: Channel, kept: Arc<tokio::sync::Mutex<Vec<u8>>>) {
    let ask: Ask = channel.hear().await.unwrap();
    channel.say(&Answer::Ok).await.unwrap();
    let mut kept = kept.lock().await;
    match ask {
        Ask::Output { name } => {
            assert_eq!(name, "cache-to/0");
            kept.clear();
            channel.read_to_end(&mut kept).await.unwrap();
        }
        Ask::Context { name, .. } => {
            assert_eq!(name, "cache-from/0");
            channel.write_all(&kept).await.unwrap();
        }
        other => panic!("nobody wants {other:?}"),
    }
    channel.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_clients_carries_it_too() {
    let kept = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    let (first, second) = (Yard::new().await, Yard::new().await);
    for yard in [&first, &second] {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(yard.builds.sessions().serve("s", near).unwrap());
        let kept = Arc::clone(&kept);
        tokio::spawn(accept(far, move |channel| drop(tokio::spawn(answer(channel, Arc::clone(&kept))))));
    }
    let made = first
        .build(|request| {
            request.session = Some("s".to_owned());
            request.cache_to = list("type=local,dest=/anywhere,mode=max".to_owned());
        })
        .await;
    assert!(!made.text.contains("[Warning]"), "{}", made.text);
    let taken = second
        .build(|request| {
            request.session = Some("s".to_owned());
            request.cache_from = list("type=local,src=/anywhere".to_owned());
        })
        .await;
    assert_eq!((taken.hits(), &taken.id), (STEPS, &made.id), "{}", taken.text);
    assert_eq!(second.layers().await, first.layers().await);
}
