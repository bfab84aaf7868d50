//! Pulling from a registry in the same process that cuts, lies, stalls and asks for tokens.

use std::io::Write;

use futures_util::StreamExt;

use crate::engine::events::Events;
use crate::engine::image::{ListImages, ManifestForm, PushRequest, RegistryAuth};
use crate::engine::layer::{Digest, Layers};
use crate::engine::registry::fake::Fake;
use crate::engine::registry::media;
use crate::engine::store::StateRoot;

use super::*;

struct Yard {
    folder: tempfile::TempDir,
    images: Images,
}

fn yard() -> Yard {
    let folder = tempfile::tempdir().unwrap();
    let root = Arc::new(StateRoot::open(folder.path()).unwrap());
    let layers = Arc::new(Layers::open(Arc::clone(&root)).unwrap());
    let images = Images::open(root, layers, Arc::new(Events::default())).unwrap();
    Yard { folder, images }
}

impl Yard {
    async fn pull(&self, name: &str) -> Vec<Progress> {
        self.pull_as(name, None).await
    }

    async fn pull_as(&self, name: &str, auth: Option<RegistryAuth>) -> Vec<Progress> {
        let reference = Reference::parse(name).unwrap();
        self.images.pull(PullRequest { reference, platform: None, auth }).collect().await
    }

    fn is_empty(&self) -> bool {
        let count = |name: &str| std::fs::read_dir(self.folder.path().join(name)).unwrap().count();
        self.images.list(&ListImages { all: true, ..Default::default() }).unwrap().is_empty()
            && count("layers") + count("tmp") == 0
    }
}

fn failure(told: &[Progress]) -> &str {
    told.last().and_then(|message| message.error.as_deref()).unwrap_or("no failure")
}

fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Text that does not compress away.
fn noise(length: usize) -> String {
    let mut state = 7u32;
    let letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + (state >> 24) as u8 % 90)
    };
    std::iter::repeat_with(letter).take(length).collect()
}

/// An image of three layers (gzip, zstd, plain) behind an index, under the tag `latest`.
fn serve(fake: &Fake) -> Digest {
    let tars =
        [layer(&[("etc/a", &noise(50_000)), ("gone", "x")]), layer(&[("etc/b", "b")]), layer(&[(".wh.gone", "")])];
    let blobs = [
        gzip(&tars[0]),
        ruzstd::encoding::compress_to_vec(&tars[1][..], ruzstd::encoding::CompressionLevel::Fastest),
        tars[2].clone(),
    ];
    let diff_ids: Vec<String> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
    let config = serde_json::json!({
        "architecture": host_architecture(), "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "size": bytes.len(), "digest": fake.blob(bytes).to_string()});
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": blobs.iter().map(|blob| descriptor("application/vnd.oci.image.layer.v1.tar", blob)).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = fake.manifest("amd64", media::OCI_MANIFEST, &manifest);
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [
            {"mediaType": media::OCI_MANIFEST, "size": 1, "digest": Digest::of(b"other").to_string(), "platform": {"os": "windows", "architecture": "amd64"}},
            {"mediaType": media::OCI_MANIFEST, "size": manifest.len(), "digest": digest.to_string(), "platform": {"os": "linux", "architecture": host_architecture()}},
        ],
    });
    fake.manifest("latest", media::OCI_INDEX, index.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_says_what_docker_says_and_keeps_the_image() {
    let (fake, yard) = (Fake::start().await, yard());
    let digest = serve(&fake);
    let name = fake.name("some/thing");
    let told = yard.pull(&name).await;
    let lines: Vec<&str> = told.iter().filter_map(|message| message.status.as_deref()).collect();
    assert_eq!(
        lines[..4],
        ["Pulling from some/thing", "Pulling fs layer", "Pulling fs layer", "Pulling fs layer"],
        "{told:?}"
    );
    let last = [format!("Digest: {digest}"), format!("Status: Downloaded newer image for {name}:latest")];
    assert_eq!(lines[lines.len() - 5..], ["Pull complete", "Pull complete", "Pull complete", &last[0], &last[1]]);
    assert_eq!(told[0].id.as_deref(), Some("latest"));

    let image = yard.images.find(&name).unwrap();
    let inspect = yard.images.inspect(&name).unwrap();
    assert_eq!(inspect.repo_digests.unwrap(), [format!("{name}@{digest}")]);
    let lowers = yard.images.layers().lowers(&image.top.unwrap()).unwrap();
    assert_eq!(std::fs::read_to_string(lowers[1].join("etc/b")).unwrap(), "b");
    for chain in &image.layers {
        yard.images.layers().write_layer(chain, std::io::sink()).unwrap();
    }

    let again = yard.pull(&format!("{name}@{digest}")).await;
    assert_eq!(
        again.last().unwrap().status.as_deref(),
        Some(format!("Status: Image is up to date for {name}@{digest}").as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_goes_on_where_it_stopped() {
    let (fake, yard) = (Fake::start().await, yard());
    serve(&fake);
    fake.state().cut = Some((3000, 4));
    fake.state().busy = 2;
    let name = fake.name("x");
    let told = yard.pull(&name).await;
    assert_eq!(failure(&told), "no failure");
    assert!(yard.images.find(&name).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_registry_is_caught_and_leaves_nothing() {
    let fake = Fake::start().await;
    serve(&fake);
    let blobs: Vec<String> = fake.state().blobs.keys().cloned().collect();
    for blob in blobs {
        let right = fake.state().blobs[&blob].clone();
        let mut wrong = right.clone();
        let at = wrong.len() / 2;
        wrong[at] ^= 1;
        fake.state().blobs.insert(blob.clone(), wrong);
        let yard = yard();
        let told = yard.pull(&fake.name("x")).await;
        assert!(failure(&told).contains(&format!("verification failed for digest {blob}")), "{}", failure(&told));
        assert!(yard.is_empty());

        fake.state().blobs.insert(blob.clone(), [right.clone(), right.clone()].concat());
        let told = yard.pull(&fake.name("x")).await;
        assert!(
            failure(&told).contains("larger than") || failure(&told).contains("verification failed"),
            "{}",
            failure(&told)
        );
        assert!(yard.is_empty());
        fake.state().blobs.insert(blob, right);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_with_the_users_credentials() {
    let (fake, yard) = (Fake::start().await, yard());
    serve(&fake);
    fake.state().secret = Some(("anna".to_owned(), "secret".to_owned()));
    let name = fake.name("x");
    let refused = yard.pull(&name).await;
    assert!(
        failure(&refused).contains("unauthorized") && failure(&refused).contains("docker login"),
        "{}",
        failure(&refused)
    );
    assert_eq!(refused.last().unwrap().kind, Some(ErrorKind::Unauthorized));

    let auth = RegistryAuth { username: "anna".to_owned(), password: "secret".to_owned(), ..Default::default() };
    let told = yard.pull_as(&name, Some(auth)).await;
    assert_eq!(failure(&told), "no failure");
    let tokens = fake.state().seen.iter().filter(|request| request.ends_with("/token")).count();
    assert_eq!(tokens, 2, "the token was not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_what_and_what_next() {
    let (fake, yard) = (Fake::start().await, yard());
    let name = fake.name("missing:tag");
    let told = yard.pull(&name).await;
    assert!(
        failure(&told).starts_with(&format!("manifest for {name} not found: manifest unknown: manifest unknown")),
        "{}",
        failure(&told)
    );
    assert_eq!(told.last().unwrap().kind, Some(ErrorKind::NotFound));
    assert_eq!(told.len(), 1, "something came before the failure: {told:?}");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let told = yard.pull(&format!("{address}/x")).await;
    assert_eq!(
        failure(&told),
        format!(
            "Get \"http://{address}/v2/x/manifests/latest\": dial tcp {address}: connect: connection refused; is a registry running there?"
        )
    );

    let told = yard.pull("registry.invalid/x").await;
    assert!(failure(&told).contains("lookup registry.invalid: no such host"), "{}", failure(&told));
    assert!(yard.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_pull_stops_and_leaves_nothing() {
    let (fake, yard) = (Fake::start().await, yard());
    serve(&fake);
    let big: String = noise(4 << 20);
    let tar = layer(&[("big", &big)]);
    let blob = fake.blob(&gzip(&tar));
    let config = serde_json::json!({"architecture": host_architecture(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar).to_string()]}});
    let config = fake.blob(config.to_string().as_bytes());
    let size = |digest: &Digest| fake.state().blobs[&digest.to_string()].len();
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media::DOCKER_MANIFEST,
        "config": {"digest": config.to_string(), "size": size(&config)}, "layers": [{"digest": blob.to_string(), "size": size(&blob)}]});
    fake.manifest("big", media::DOCKER_MANIFEST, manifest.to_string().as_bytes());

    let reference = Reference::parse(&fake.name("x:big")).unwrap();
    let mut stream = yard.images.pull(PullRequest { reference, platform: None, auth: None });
    while let Some(message) = stream.next().await {
        if message.status.as_deref() == Some("Pulling fs layer") {
            break;
        }
    }
    drop(stream);
    // The stages end one after another once their input has gone.
    let tmp = yard.folder.path().join("tmp");
    for _ in 0..500 {
        if std::fs::read_dir(&tmp).unwrap().count() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(yard.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_pulls_back_the_same() {
    let (fake, one, two) = (Fake::start().await, yard(), yard());
    serve(&fake);
    let name = fake.name("x");
    one.pull(&name).await;
    one.images.tag(&name, &fake.name("copy"), Some("v2")).await.unwrap();
    let reference = Reference::parse(&fake.name("copy:v2")).unwrap();
    let told: Vec<Progress> = one
        .images
        .push(PushRequest { reference: reference.clone(), auth: None, form: Default::default() })
        .collect()
        .await;
    assert_eq!(failure(&told), "no failure", "{told:?}");
    let last = told.iter().rev().find_map(|message| message.status.clone()).unwrap();
    assert!(last.starts_with("v2: digest: sha256:"), "{last}");

    two.pull(&reference.familiar()).await;
    assert_eq!(two.images.find(&reference.familiar()).unwrap().id, one.images.find(&name).unwrap().id);

    let again: Vec<Progress> =
        one.images.push(PushRequest { reference, auth: None, form: Default::default() }).collect().await;
    let skipped = again.iter().filter(|message| message.status.as_deref() == Some("Layer already exists")).count();
    assert_eq!(skipped, 3, "{again:?}");

    one.images.tag(&name, &fake.name("noted"), Some("v3")).await.unwrap();
    let form = ManifestForm { annotations: [("a".to_owned(), "b".to_owned())].into(), ..ManifestForm::default() };
    let noted = PushRequest { reference: Reference::parse(&fake.name("noted:v3")).unwrap(), auth: None, form };
    let told: Vec<Progress> = one.images.push(noted).collect().await;
    assert_eq!(failure(&told), "no failure", "{told:?}");
    let (kind, text) = fake.state().manifests.get("v3").cloned().unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((kind.as_str(), &manifest["annotations"]["a"]), (media::OCI_MANIFEST, &"b".into()));
    let types = [&manifest["mediaType"], &manifest["config"]["mediaType"], &manifest["layers"][0]["mediaType"]];
    assert_eq!(
        types,
        [media::OCI_MANIFEST, media::OCI_CONFIG, media::OCI_LAYER],
        "Docker's manifest has no annotations"
    );
    two.pull(&fake.name("noted:v3")).await;
    assert_eq!(two.images.find(&fake.name("noted:v3")).unwrap().id, one.images.find(&name).unwrap().id);

    let missing =
        PushRequest { reference: Reference::parse("nothing/here").unwrap(), auth: None, form: Default::default() };
    let told: Vec<Progress> = one.images.push(missing).collect().await;
    assert_eq!(failure(&told), "An image does not exist locally with the tag: nothing/here");
}
