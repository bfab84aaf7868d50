//! Builds from Dockerfiles, carried out for real: on an image made of this host's programs, RUN steps without a network.
//!
//! The rooms are opened as the engine opens them, but without its API, so that a test sees the messages themselves.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models as docker;
use boxyard::buildkit::Vertex;
use boxyard::engine::ErrorKind;
use boxyard::engine::build::{
    Budget, BuildContext, BuildFailure, BuildMessage, BuildParts, BuildRequest, Builds, PruneRequest,
};
use boxyard::engine::events::Events;
use boxyard::engine::image::{HostImage, Images, Reference};
use boxyard::engine::instance::Instance;
use boxyard::engine::layer::Layers;
use boxyard::engine::network::Networks;
use boxyard::engine::runtime::{Cgroups, HostFacts};
use boxyard::engine::shim::ShimBinary;
use boxyard::engine::store::StateRoot;
use futures_util::StreamExt;
use tempfile::TempDir;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The rooms a build needs, on a state root of their own, with an image `base`.
struct Yard {
    folder: TempDir,
    images: Images,
    builds: Builds,
    cgroup_parent: String,
}

/// What a build said.
#[derive(Default)]
struct Outcome {
    text: String,
    id: Option<String>,
    failure: Option<BuildFailure>,
    vertexes: BTreeMap<String, Vertex>,
    warnings: Vec<String>,
    log: String,
}

impl Outcome {
    fn succeeded(self) -> Self {
        assert_eq!(self.failure, None, "{}", self.text);
        self
    }

    fn failed(self) -> BuildFailure {
        self.failure.unwrap_or_else(|| panic!("it was to fail:\n{}", self.text))
    }

    /// The steps that were done, not taken from the cache, by their names.
    fn done(&self) -> Vec<&str> {
        let steps = self.vertexes.values().filter(|it| it.lines.is_some() && !it.cached && !it.name.contains("FROM"));
        let mut names: Vec<&str> = steps.map(|it| it.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if name.ends_with(".sh") { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn request(context: Vec<u8>) -> BuildRequest {
    let mut request = BuildRequest::new(BuildContext::Tar(Box::new(std::io::Cursor::new(context))));
    request.run = docker::HostConfig { network_mode: Some("none".to_owned()), ..docker::HostConfig::default() };
    request
}

impl Drop for Yard {
    fn drop(&mut self) {
        // Without an engine nobody else gives it back.
        Cgroups::detect(&HostFacts::read()).remove_if_empty(&self.cgroup_parent);
    }
}

impl Yard {
    async fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("build-").tempdir_in("/tmp").unwrap();
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

    async fn build(&self, files: &[(&str, &str)]) -> Outcome {
        self.build_with(files, |_| {}).await
    }

    async fn build_with(&self, files: &[(&str, &str)], change: impl FnOnce(&mut BuildRequest)) -> Outcome {
        let mut request = request(archive(files));
        change(&mut request);
        let mut outcome = Outcome::default();
        let mut messages = Box::pin(self.builds.build(request));
        let all = async {
            while let Some(message) = messages.next().await {
                match message {
                    BuildMessage::Text(text) => outcome.text.push_str(&text),
                    BuildMessage::Image(id) => outcome.id = Some(id),
                    BuildMessage::Failed(failure) => outcome.failure = Some(failure),
                    BuildMessage::Vertex(vertex) => drop(outcome.vertexes.insert(vertex.digest.clone(), vertex)),
                    BuildMessage::Warning(warning) => outcome.warnings.push(warning.short),
                    BuildMessage::Log(log) => outcome.log.push_str(&String::from_utf8_lossy(&log.msg)),
                    BuildMessage::Status(_) | BuildMessage::Pull(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("the build ends");
        self.leaves_nothing_half_made();
        outcome
    }

    fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.folder.path().join(folder)).map_or(0, Iterator::count)
    }

    fn leaves_nothing_half_made(&self) {
        assert_eq!(self.count("root/tmp"), 0, "temp folders");
        assert_eq!(self.count("run/builds"), 0, "bundles");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*self.folder.path().to_string_lossy()), "mounts");
    }
}

const APP: &str = "FROM base\nRUN echo installed > /tool && echo working\nCOPY hello.txt /app/\nWORKDIR /app\nCMD [\"cat\", \"hello.txt\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_done_again() {
    let yard = Yard::new().await;
    let first = yard.build_with(&[("Dockerfile", APP), ("hello.txt", "one")], |it| it.tags = vec!["app".into()]).await;
    let first = first.succeeded();
    assert!(first.text.starts_with("Step 1/5 : FROM base\n ---> "), "{}", first.text);
    assert!(
        first.text.contains("Step 2/5 : RUN echo installed > /tool && echo working\n ---> Running in "),
        "{}",
        first.text
    );
    assert!(first.text.contains("\nworking\n ---> Removed intermediate container "), "{}", first.text);
    assert!(first.text.ends_with("\nSuccessfully tagged app:latest\n"), "{}", first.text);
    assert_eq!(first.done().len(), 4);
    let image = yard.images.find("app").unwrap();
    assert_eq!(Some(image.id.to_string()), first.id);
    assert_eq!(image.config.config.cmd.as_deref().unwrap(), ["cat", "hello.txt"]);
    assert_eq!(image.config.config.working_dir.as_deref(), Some("/app"));
    // WORKDIR found /app there already, so it made no layer.
    assert_eq!(image.layers.len(), 3);
    let history: Vec<_> = image.config.history.iter().skip(1).map(|it| it.created_by.as_deref().unwrap()).collect();
    assert_eq!(
        history,
        [
            "RUN /bin/sh -c echo installed > /tool && echo working # buildkit",
            "COPY hello.txt /app/ # buildkit",
            "WORKDIR /app",
            "CMD [\"cat\" \"hello.txt\"]"
        ]
    );

    let second = yard.build(&[("Dockerfile", APP), ("hello.txt", "one")]).await.succeeded();
    assert_eq!(second.done(), Vec::<&str>::new());
    assert_eq!(second.text.matches(" ---> Using cache\n").count(), 4, "{}", second.text);
    assert_eq!(second.id, first.id);

    let third = yard.build(&[("Dockerfile", APP), ("hello.txt", "two")]).await.succeeded();
    assert_eq!(
        third.done(),
        ["[3/5] COPY hello.txt /app/", "[4/5] WORKDIR /app", "[5/5] CMD [\"cat\", \"hello.txt\"]"]
    );
    assert!(third.text.contains(" ---> Cache miss: hello.txt changed (content)\n"), "{}", third.text);
    assert_ne!(third.id, first.id);

    let fresh = yard.build_with(&[("Dockerfile", APP), ("hello.txt", "one")], |it| it.no_cache = true).await;
    assert_eq!(fresh.succeeded().done().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_told_in_dockers_words() {
    let yard = Yard::new().await;
    let outcome = yard.build(&[("Dockerfile", "FROM base\nRUN echo before; exit 3\nRUN echo never\n")]).await;
    assert!(outcome.text.contains("before\n") && !outcome.text.contains("never\n---"), "{}", outcome.text);
    let step = outcome.vertexes.values().find(|it| it.name.contains("exit 3")).unwrap();
    assert!(step.error.contains("non-zero code: 3") && step.lines.is_some_and(|lines| lines.first == 2));
    let failure = outcome.failed();
    assert_eq!(failure.message, "The command '/bin/sh -c echo before; exit 3' returned a non-zero code: 3");
    assert_eq!((failure.code, failure.kind), (Some(3), ErrorKind::System));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_before_anything_is_done() {
    let yard = Yard::new().await;
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("Dockerfile", "FROM base\n\nRUNN x\n")],
            "dockerfile parse error on line 3: unknown instruction: RUNN (did you mean RUN?)",
        ),
        (&[("Dockerfile", " \n")], "the Dockerfile (Dockerfile) cannot be empty"),
        (&[("other", "")], "Cannot locate specified Dockerfile: Dockerfile"),
        (
            &[("Dockerfile", "FROM base\nCOPY nothing /\n")],
            "COPY failed: file not found in build context or excluded by .dockerignore: stat nothing: file does not exist",
        ),
        (
            &[("Dockerfile", "FROM base\nCOPY secret /\n"), ("secret", "x"), (".dockerignore", "secret\n")],
            "COPY failed: file not found in build context or excluded by .dockerignore: stat secret: file does not exist",
        ),
        (
            &[("Dockerfile", "FROM base\nCOPY --chown=nobody-here Dockerfile /\n")],
            "COPY failed: unable to find user nobody-here: no matching entries in passwd file",
        ),
    ];
    for (files, expected) in cases {
        assert_eq!(yard.build(files).await.failed().message, *expected);
    }
    let target = |it: &mut BuildRequest| it.target = Some("x".into());
    let failure = yard.build_with(&[("Dockerfile", "FROM base")], target).await.failed();
    assert_eq!(failure.message, "failed to reach build target x in Dockerfile");
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_copy_from_each_other_and_unneeded_ones_are_left_out() {
    let yard = Yard::new().await;
    let text = "ARG base=base\n\
        FROM $base AS build\nARG version=1\nRUN mkdir /out && echo v$version > /out/app && ls -d /out\n\
        FROM base AS unneeded\nRUN exit 1\n\
        FROM scratch AS files\nCOPY --from=build --chown=7:8 --chmod=600 /out/app /x/\n\
        FROM base\nCOPY --from=files / /\n\
        RUN [ \"$(cat /x/app)\" = v2 ] && [ \"$(stat -c %u:%g:%a /x/app)\" = 7:8:600 ]\n";
    let args = |it: &mut BuildRequest| drop(it.build_args.insert("version".into(), Some("2".into())));
    let outcome = yard.build_with(&[("Dockerfile", text)], args).await.succeeded();
    assert!(!outcome.vertexes.values().any(|it| it.name.contains("exit 1")));
    assert!(outcome.vertexes.values().any(|it| it.name == "[stage-3 2/3] COPY --from=files / /"));
    assert!(outcome.text.starts_with("Step 1/9 : ARG base=base\nStep 2/9 : FROM $base AS build\n"), "{}", outcome.text);

    let other = |it: &mut BuildRequest| drop(it.build_args.insert("version".into(), Some("3".into())));
    let outcome = yard.build_with(&[("Dockerfile", text)], other).await;
    assert!(outcome.text.contains("Cache miss: ARG version: 2 -> 3\n"), "{}", outcome.text);
    assert_eq!(outcome.failed().code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_arrive_as_asked() {
    let yard = Yard::new().await;
    let mut inner = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    header.set_mode(0o640);
    inner.append_data(&mut header, "deep/packed", &b"packed"[..]).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&inner.into_inner().unwrap()).unwrap();
    let text = "FROM base\nENV name=world\nWORKDIR /w/deep\n\
        ADD files.bin /unpacked/\nCOPY files.bin /plain/\n\
        COPY <<EOF <<'RAW' ./\nhello $name\nEOF\nhello $name\nRAW\n\
        COPY src src/*.sh /all/\n\
        RUN <<EOT\n\
        set -e\n\
        [ \"$(cat /unpacked/deep/packed)\" = packed ]\n\
        [ -e /plain/files.bin ]\n\
        [ \"$(cat EOF)\" = 'hello world' ]\n\
        [ \"$(cat RAW)\" = 'hello $name' ]\n\
        [ -x /all/run.sh ]\n\
        [ \"$(cat /all/sub/a)\" = a ]\n\
        [ \"$(stat -c %u /all/sub)\" = 0 ]\n\
        EOT\n\
        RUN <<S\n#!/bin/sh -e\n[ \"$0\" = /dev/pipes/S ]\necho script of $name\nS\n\
        SHELL [\"/bin/sh\", \"-ec\"]\nUSER 5:6\nRUN [ \"$(id -u):$(id -g)\" = 5:6 ] && pwd\n";
    let mut context =
        tar::Builder::new(archive(&[("Dockerfile", text), ("src/sub/a", "a"), ("src/run.sh", "#!/bin/sh\n")]));
    let packed = gzip.finish().unwrap();
    // The archive so far ends in two empty blocks, behind which nothing would be read.
    let ended = context.get_ref().len();
    context.get_mut().truncate(ended - 1024);
    let mut header = tar::Header::new_gnu();
    header.set_size(packed.len() as u64);
    header.set_mode(0o644);
    context.append_data(&mut header, "files.bin", packed.as_slice()).unwrap();
    let context = context.into_inner().unwrap();
    let outcome = yard
        .build_with(&[], |it| it.context = BuildContext::Tar(Box::new(std::io::Cursor::new(context))))
        .await
        .succeeded();
    assert!(outcome.text.contains("\nscript of world\n"), "{}", outcome.text);
    assert!(outcome.log.contains("/w/deep\n"), "{}", outcome.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_ends_the_build_and_leaves_nothing() {
    let yard = Yard::new().await;
    let text = "FROM base\nRUN echo $$ is up; sleep 1000\n";
    let mut messages = Box::pin(yard.builds.build(request(archive(&[("Dockerfile", text)]))));
    let mut log = String::new();
    while !log.contains("is up") {
        match tokio::time::timeout(PATIENCE, messages.next()).await.unwrap() {
            Some(BuildMessage::Log(it)) => log.push_str(&String::from_utf8_lossy(&it.msg)),
            Some(BuildMessage::Failed(failure)) => panic!("{failure:?}"),
            Some(_) => {}
            None => panic!("it was to go on"),
        }
    }
    assert_eq!(yard.count("run/builds"), 1);
    drop(messages);
    let gone = async {
        while yard.count("run/builds") + yard.count("root/tmp") > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("nothing is left");
    yard.leaves_nothing_half_made();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_can_be_seen_and_emptied() {
    let yard = Yard::new().await;
    yard.build(&[("Dockerfile", "FROM base\nRUN echo 12345 > /a\nRUN echo > /b\n")]).await.succeeded();
    let id = yard.build(&[("Dockerfile", "FROM base\nRUN echo 12345 > /a\n")]).await.succeeded().id.unwrap();
    let usage = yard.builds.disk_usage().await.unwrap();
    assert_eq!(usage.len(), 2);
    assert_eq!(usage.iter().filter(|it| it.size == Some(6) && it.shared == Some(true)).count(), 1);

    let untagged = yard.builds.prune(PruneRequest::default()).await.unwrap();
    assert_eq!(untagged.caches_deleted.unwrap().len(), 0, "both images still stand");
    yard.images.remove(&id, Default::default()).await.unwrap();
    let all = yard.builds.prune(PruneRequest { all: true, ..PruneRequest::default() }).await.unwrap();
    assert_eq!(all.caches_deleted.unwrap().len(), 2);
    assert!(yard.builds.disk_usage().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_the_base_run_and_are_gone() {
    let yard = Yard::new().await;
    let base = "FROM base\nONBUILD COPY a /a\nONBUILD RUN cat /a\n";
    yard.build_with(&[("Dockerfile", base)], |it| it.tags = vec!["parent".into()]).await.succeeded();
    let child = [("Dockerfile", "FROM parent\nLABEL x=y\n"), ("a", "from the child\n")];
    let outcome = yard.build_with(&child, |it| it.tags = vec!["child".into()]).await.succeeded();
    assert!(outcome.text.contains("# Executing 2 build triggers\n"), "{}", outcome.text);
    assert!(outcome.text.contains("\nfrom the child\n"), "{}", outcome.text);
    let config = yard.images.find("child").unwrap().config.config;
    assert_eq!((config.on_build, config.labels.unwrap()["x"].as_str()), (None, "y"));
}
