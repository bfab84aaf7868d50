//! The rooms a build needs, opened as the engine opens them but without its API, so that a test sees the messages
//! themselves: on an image made of this host's programs, RUN steps without a network.

#![allow(dead_code)] // each test file uses a part of it

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models as docker;
use boxyard::buildkit::Vertex;
use boxyard::engine::build::{
    Budget, BuildContext, BuildFailure, BuildMessage, BuildParts, BuildRequest, Builds, PruneRequest,
};
use boxyard::engine::events::Events;
use boxyard::engine::image::{HostImage, Images, ListImages, Reference, RemoveImage};
use boxyard::engine::instance::Instance;
use boxyard::engine::layer::Layers;
use boxyard::engine::network::Networks;
use boxyard::engine::runtime::{Cgroups, HostFacts};
use boxyard::engine::shim::ShimBinary;
use boxyard::engine::store::StateRoot;
use futures_util::{Stream, StreamExt};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The rooms a build needs, on a state root of their own, with an image `base`.
pub struct Yard {
    pub folder: TempDir,
    pub images: Images,
    pub builds: Builds,
    cgroup_parent: String,
}

/// What a build said.
#[derive(Default)]
pub struct Outcome {
    pub text: String,
    pub id: Option<String>,
    pub failure: Option<BuildFailure>,
    pub vertexes: BTreeMap<String, Vertex>,
    pub warnings: Vec<String>,
    pub log: String,
}

impl Outcome {
    pub fn succeeded(self) -> Self {
        assert_eq!(self.failure, None, "{}", self.text);
        self
    }

    pub fn failed(self) -> BuildFailure {
        self.failure.unwrap_or_else(|| panic!("it was to fail:\n{}", self.text))
    }

    /// The steps that were done, not taken from the cache, by their names.
    pub fn done(&self) -> Vec<&str> {
        let steps = self.vertexes.values().filter(|it| it.lines.is_some() && !it.cached && !it.name.contains("FROM"));
        let mut names: Vec<&str> = steps.map(|it| it.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if name.ends_with(".sh") { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

pub fn request(context: Vec<u8>) -> BuildRequest {
    let mut request = BuildRequest::new(BuildContext::Tar(Box::new(std::io::Cursor::new(context))));
    request.run = docker::HostConfig { network_mode: Some("none".to_owned()), ..docker::HostConfig::default() };
    request
}

/// A build under way; dropping it cancels it.
pub struct Build {
    pub messages: Pin<Box<dyn Stream<Item = BuildMessage> + Send>>,
    pub outcome: Outcome,
}

impl Build {
    /// Takes the next message in; `false` at the end.
    pub async fn step(&mut self) -> bool {
        let message = tokio::time::timeout(PATIENCE, self.messages.next()).await.expect("the build goes on");
        let Some(message) = message else { return false };
        let outcome = &mut self.outcome;
        match message {
            BuildMessage::Text(text) => outcome.text.push_str(&text),
            BuildMessage::Image(id) => outcome.id = Some(id),
            BuildMessage::Failed(failure) => outcome.failure = Some(failure),
            BuildMessage::Vertex(vertex) => drop(outcome.vertexes.insert(vertex.digest.clone(), vertex)),
            BuildMessage::Warning(warning) => outcome.warnings.push(warning.short),
            BuildMessage::Log(log) => outcome.log.push_str(&String::from_utf8_lossy(&log.msg)),
            BuildMessage::Status(_) | BuildMessage::Pull(_) | BuildMessage::Aux { .. } => {}
        }
        true
    }

    /// Takes messages in until `is_so` of what was said so far.
    pub async fn until(&mut self, is_so: impl Fn(&Outcome) -> bool) {
        while !is_so(&self.outcome) {
            assert!(self.step().await, "it ended too early: {}\n{:?}", self.outcome.text, self.outcome.failure);
        }
    }

    /// All that was said, once it has ended.
    pub async fn ended(mut self) -> Outcome {
        while self.step().await {}
        self.outcome
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        // Without an engine nobody else gives it back.
        Cgroups::detect(&HostFacts::read()).remove_if_empty(&self.cgroup_parent);
        // The images may be settling on the disk: a file made while its folder is emptied keeps that from going.
        let is_gone = |_| match std::fs::remove_dir_all(self.folder.path()) {
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            Ok(()) => true,
        };
        (0..20).any(is_gone);
    }
}

impl Yard {
    pub async fn new() -> Self {
        Self::within(tempfile::Builder::new().prefix("build-").tempdir_in("/tmp").unwrap()).await
    }

    /// A yard whose roots are in `folder`.
    pub async fn within(folder: TempDir) -> Self {
        let instance = Instance::new(&folder.path().join("root"), &folder.path().join("run"));
        std::fs::create_dir(instance.run()).unwrap();
        let cgroup_parent = instance.cgroup_parent();
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
            shim: ShimBinary::of_file(Path::new(env!("CARGO_BIN_EXE_boxyard"))).unwrap(),
            events,
            budget: Budget::default(),
        })
        .await
        .unwrap();
        let programs = ["sh", "cat", "ls", "stat", "sleep", "rm", "mkdir", "id", "env", "readlink"];
        let host = HostImage {
            reference: Some(Reference::parse("base").unwrap().or_latest()),
            programs: programs.map(str::to_owned).to_vec(),
            ..HostImage::default()
        };
        images.from_host(host).await.unwrap();
        Self { folder, images, builds, cgroup_parent }
    }

    pub async fn build(&self, files: &[(&str, &str)]) -> Outcome {
        self.build_with(files, |_| {}).await
    }

    pub async fn build_with(&self, files: &[(&str, &str)], change: impl FnOnce(&mut BuildRequest)) -> Outcome {
        let mut request = request(archive(files));
        change(&mut request);
        let outcome =
            Build { messages: Box::pin(self.builds.build(request)), outcome: Outcome::default() }.ended().await;
        self.leaves_nothing_half_made();
        outcome
    }

    /// Begins a build and does not wait for it.
    pub fn begin(&self, files: &[(&str, &str)], change: impl FnOnce(&mut BuildRequest)) -> Build {
        let mut request = request(archive(files));
        change(&mut request);
        Build { messages: Box::pin(self.builds.build(request)), outcome: Outcome::default() }
    }

    /// Waits until what a cancelled build had made is gone.
    pub async fn comes_to_rest(&self) {
        let gone = async {
            while self.count("run/builds") + self.count("root/tmp") > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("nothing is left");
        self.leaves_nothing_half_made();
    }

    /// Empties the cache, after which only the base's layer may be there: each other one had an owner that was asked.
    pub async fn has_no_stray_layers(&self) {
        for image in self.images.list(&ListImages { all: true, ..ListImages::default() }).unwrap() {
            if !image.repo_tags.iter().any(|tag| tag.starts_with("base")) {
                self.images.remove(&image.id, RemoveImage { force: true, ..RemoveImage::default() }).await.unwrap();
            }
        }
        self.builds.prune(PruneRequest { all: true, ..PruneRequest::default() }).await.unwrap();
        assert_eq!(self.count("root/layers"), 1, "only the base's layer stays");
    }

    pub fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.folder.path().join(folder)).map_or(0, Iterator::count)
    }

    pub fn leaves_nothing_half_made(&self) {
        assert_eq!(self.count("root/tmp"), 0, "temp folders");
        assert_eq!(self.count("run/builds"), 0, "bundles");
        let (here, root) = (self.folder.path().to_string_lossy(), self.folder.path().join("root"));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let is_left = |line: &&str| line.contains(&*here) && line.split(' ').nth(4).map(Path::new) != Some(&root);
        assert_eq!(mounts.lines().find(is_left), None, "a mount");
    }
}
