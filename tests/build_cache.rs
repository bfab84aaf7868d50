//! The build cache and what is remembered of builds: why a step is done again, what is kept and what goes, which builds ran,
//! and that the same input gives the same image anywhere.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod build_yard;

use boxyard::buildkit::{BuildState, BuildStepState};
use boxyard::engine::build::{BuildContext, BuildRequest, PruneRequest};
use boxyard::engine::filters::Filters;
use boxyard::engine::image::{HostImage, Reference};
use build_yard::{Outcome, Yard};
use futures_util::StreamExt;

/// The reasons told in the classic text, in the order of the steps.
fn misses(outcome: &Outcome) -> Vec<&str> {
    outcome.text.lines().filter_map(|line| line.strip_prefix(" ---> Cache miss: ")).collect()
}

fn tagged(request: &mut BuildRequest) {
    request.tags = vec!["app".to_owned()];
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_names_what_differs() {
    let yard = Yard::new().await;
    let file = "FROM base\nARG V=1\nRUN echo $V > /v\nCOPY a b /app/\nRUN echo end > /end\n";
    let files = |dockerfile, a, b| [("Dockerfile", dockerfile), ("a", a), ("b", b)];
    let first = yard.build_with(&files(file, "1", "2"), tagged).await.succeeded();
    assert_eq!(misses(&first), Vec::<&str>::new(), "nothing was ever done");

    let content = yard.build_with(&files(file, "1", "3"), tagged).await.succeeded();
    assert_eq!(misses(&content), ["b changed (content)", "a step before it changed: COPY a b /app/"]);

    let argument = |request: &mut boxyard::engine::build::BuildRequest| {
        tagged(request);
        request.build_args.insert("V".into(), Some("2".into()));
    };
    let argument = yard.build_with(&files(file, "1", "2"), argument).await.succeeded();
    // The argument is in the environment of every RUN below it; COPY only sees that the layers below it are others.
    assert_eq!(misses(&argument), ["ARG V: 1 -> 2", "a step before it changed: ARG V=1", "ARG V: 1 -> 2"]);

    let edited = file.replace("RUN echo $V > /v", "RUN echo v$V > /v");
    let edited = yard.build_with(&files(&edited, "1", "2"), tagged).await.succeeded();
    assert_eq!(
        misses(&edited),
        [
            "instruction changed (was: RUN echo $V > /v)",
            "a step before it changed: RUN echo v$V > /v",
            "a step before it changed: RUN echo v$V > /v"
        ]
    );

    let inserted = file.replace("COPY a b", "RUN echo new > /new\nCOPY a b");
    let inserted = yard.build_with(&files(&inserted, "1", "2"), tagged).await.succeeded();
    assert_eq!(misses(&inserted)[..2], ["the instruction is new", "a step before it changed: RUN echo new > /new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_base_image_is_told_by_its_digests() {
    let yard = Yard::new().await;
    let files = [("Dockerfile", "FROM base\nRUN echo a > /a\n")];
    yard.build(&files).await.succeeded();
    let old = yard.images.find("base").unwrap().id;
    let host = HostImage {
        reference: Some(Reference::parse("base").unwrap().or_latest()),
        programs: vec!["sh".to_owned(), "cat".to_owned()],
        ..HostImage::default()
    };
    yard.images.from_host(host).await.unwrap();
    let new = yard.images.find("base").unwrap().id;
    assert_ne!(old, new);
    let again = yard.build(&files).await.succeeded();
    let short = |id: boxyard::engine::image::ImageId| id.hex().chars().take(12).collect::<String>();
    let expected = format!("base image base changed (sha256:{} -> sha256:{})", short(old), short(new));
    assert_eq!(misses(&again), [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_can_be_left_out_in_some_stages() {
    let yard = Yard::new().await;
    let files = [(
        "Dockerfile",
        "FROM base AS one\nRUN echo 1 > /one\nFROM base AS two\nRUN echo 2 > /two\nFROM base\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
    )];
    yard.build(&files).await.succeeded();
    let again = yard.build_with(&files, |request| request.no_cache_filter = vec!["two".into()]).await.succeeded();
    assert_eq!(again.done(), ["[two 2/2] RUN echo 2 > /two"]);
    let none = yard.build_with(&files, |request| request.no_cache_filter = vec!["nobody".into()]).await.succeeded();
    assert_eq!(none.done(), Vec::<&str>::new());
}

/// As the classic builder has it: an image that carries no records says by its history what was done.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_records_is_a_cache_beyond_what_it_copied() {
    let yard = Yard::new().await;
    let dockerfile =
        "FROM base\nWORKDIR /w\nCOPY a /new/folder/\nRUN cat /new/folder/a > /b\nENV C=1\nRUN echo $C > /d\n";
    let files = |a: &'static str| [("Dockerfile", dockerfile), ("a", a)];
    // Long ago, so that the folder that COPY makes has another time now.
    let long_ago = |request: &mut BuildRequest| {
        request.tags = vec!["app".into()];
        request.build_args.insert("SOURCE_DATE_EPOCH".into(), Some("1000000000".into()));
    };
    let past = yard.build_with(&files("A"), long_ago).await.succeeded().id.unwrap();
    let layers = |id: &str| yard.images.find(id).unwrap().layers;
    let forget = PruneRequest { all: true, ..PruneRequest::default() };
    yard.builds.prune(forget.clone()).await.unwrap();
    let from_app = |request: &mut BuildRequest| request.cache_from = vec!["app".into()];
    let again = yard.build_with(&files("A"), from_app).await.succeeded();
    // Settings cost nothing and are made anew.
    assert_eq!(again.done(), ["[2/6] WORKDIR /w", "[3/6] COPY a /new/folder/", "[5/6] ENV C=1"], "{}", again.text);
    assert_eq!(layers(again.id.as_ref().unwrap()), layers(&past));

    yard.builds.prune(forget).await.unwrap();
    let other = yard.build_with(&files("B"), from_app).await.succeeded();
    assert_eq!(other.done().len(), 5, "{}", other.text);
    assert_ne!(layers(other.id.as_ref().unwrap()), layers(&past));
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_takes_what_its_filters_and_limits_say() {
    let yard = Yard::new().await;
    let id = yard.build(&[("Dockerfile", "FROM base\nRUN echo 12345 > /a\nRUN echo 1234567 > /b\n")]).await.id.unwrap();
    yard.images.remove(&id, Default::default()).await.unwrap();
    let rows = yard.builds.disk_usage().await.unwrap();
    let of = |text: &str| rows.iter().find(|row| row.description.as_deref() == Some(text)).unwrap().clone();
    let (a, b) = (of("RUN echo 12345 > /a"), of("RUN echo 1234567 > /b"));
    assert_eq!(b.parents.as_deref(), Some(&[a.id.clone().unwrap()][..]));
    assert_eq!((a.size, b.size, a.in_use, b.shared), (Some(6), Some(8), Some(false), Some(false)));
    assert!(a.last_used_at.is_some() && a.usage_count == Some(0));

    let pruned = |request: PruneRequest| {
        let builds = yard.builds.clone();
        async move { builds.prune(request).await.map(|answer| answer.caches_deleted.unwrap()) }
    };
    let filter = |name: &str, value: &str| PruneRequest {
        all: true,
        filters: Filters::default().with(name, value),
        ..PruneRequest::default()
    };
    assert_eq!(pruned(filter("unused-for", "1h")).await.unwrap(), Vec::<String>::new());
    assert_eq!(pruned(filter("until", "1h")).await.unwrap(), Vec::<String>::new());
    assert_eq!(pruned(filter("type", "exec.cachemount")).await.unwrap(), Vec::<String>::new());
    assert_eq!(pruned(filter("inuse", "true")).await.unwrap(), Vec::<String>::new());
    assert_eq!(pruned(filter("nonsense", "1")).await.unwrap_err().message(), "invalid filter 'nonsense'");
    assert_eq!(pruned(PruneRequest { all: true, reserved: 14, ..PruneRequest::default() }).await.unwrap().len(), 0);
    // What stands on another one goes first, though both were used at the same time.
    let one = pruned(PruneRequest { all: true, max_used: Some(8), ..PruneRequest::default() }).await.unwrap();
    assert_eq!(one, [b.id.unwrap()]);
    assert_eq!(pruned(filter("id", &a.id.clone().unwrap()[..8])).await.unwrap(), [a.id.unwrap()]);
    assert!(yard.builds.disk_usage().await.unwrap().is_empty());
    assert_eq!(yard.count("root/layers"), 1, "only the base's layer stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_are_remembered_with_their_steps() {
    let yard = Yard::new().await;
    let good = [("Dockerfile", "FROM base\nRUN echo hello\n")];
    yard.build_with(&good, tagged).await.succeeded();
    yard.build_with(&good, tagged).await.succeeded();
    yard.build(&[("Dockerfile", "FROM base\nRUN echo trouble && exit 3\nRUN echo never\n")]).await.failed();
    let [failed, second, first] = yard.builds.history().try_into().unwrap();
    assert_eq!((first.state, first.counts()), (BuildState::Succeeded, (2, 0)));
    assert_eq!((second.name(), second.counts()), ("app", (2, 1)));
    assert_eq!(second.image, first.image);
    assert_eq!(failed.state, BuildState::Failed);
    assert!(failed.error.as_ref().unwrap().contains("returned a non-zero code: 3"), "{:?}", failed.error);
    let states: Vec<BuildStepState> = failed.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [BuildStepState::Done, BuildStepState::Failed, BuildStepState::Cancelled]);
    let log = String::from_utf8(yard.builds.log(&failed.id[..8]).await.unwrap()).unwrap();
    assert!(log.contains("Step 2/3 : RUN echo trouble && exit 3\n") && log.contains("\ntrouble\n"), "{log}");

    // A quiet build is remembered as loudly as any.
    yard.build_with(&good, |request| request.quiet = true).await.succeeded();
    let quiet = yard.builds.history().remove(0);
    assert!(String::from_utf8(yard.builds.log(&quiet.id).await.unwrap()).unwrap().contains("RUN echo hello"));

    let mut running = Box::pin(yard.builds.build({
        let context = build_yard::archive(&[("Dockerfile", "FROM base\nRUN echo begun && sleep 60\n")]);
        let mut request = build_yard::request(context);
        assert!(matches!(request.context, BuildContext::Tar(_)));
        request.tags = vec!["slow".into()];
        request
    }));
    while yard.builds.history()[0].steps.get(1).is_none_or(|step| step.state != BuildStepState::Running) {
        assert!(running.next().await.is_some());
    }
    let live = yard.builds.history().remove(0);
    assert_eq!((live.name(), live.state), ("slow", BuildState::Running));
    assert!(yard.builds.forget(&live.id).await.is_err(), "it runs");
    drop(running);
    yard.comes_to_rest().await;
    let ended = async {
        while yard.builds.past(&live.id).unwrap().state == BuildState::Running {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(build_yard::PATIENCE, ended).await.unwrap();
    assert_eq!(yard.builds.past(&live.id).unwrap().state, BuildState::Cancelled);
    yard.builds.forget(&live.id).await.unwrap();
    assert_eq!(yard.builds.history().len(), 4);
}

/// A context whose files are of the time `mtime`.
fn aged(files: &[(&str, &str)], mtime: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(mtime);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Builds on an engine of its own and gives the image's ID, and the digest of the manifest that `save` writes.
async fn reproduced(mtime: u64) -> (String, String) {
    let yard = Yard::new().await;
    let dockerfile = "FROM base AS made\nRUN mkdir -p /x/y && echo made > /x/y/file && echo top > /x/top\n\
        FROM scratch\nLABEL b=2 a=1\nENV A=1\nCOPY --from=made /x /x\nCOPY a b /app/\nWORKDIR /work/dir\nCMD [\"x\"]\n";
    let files = [("Dockerfile", dockerfile), ("a", "A"), ("b", "B")];
    let context = BuildContext::Tar(Box::new(std::io::Cursor::new(aged(&files, mtime))));
    let outcome = yard
        .build_with(&[], |request| {
            request.context = context;
            request.no_cache = true;
            request.tags = vec!["same".into()];
            request.build_args.insert("SOURCE_DATE_EPOCH".into(), Some("1700000000".into()));
        })
        .await
        .succeeded();
    assert!(!outcome.text.contains("[Warning]"), "{}", outcome.text);
    let image = yard.images.find("same").unwrap();
    assert_eq!(image.config.created.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert!(image.config.history.iter().all(|step| step.created.as_deref() == Some("2023-11-14T22:13:20Z")));
    let mut saved = Vec::new();
    let mut stream = yard.images.save(&["same".to_owned()]).unwrap();
    while let Some(chunk) = stream.next().await {
        saved.extend_from_slice(&chunk.unwrap());
    }
    let mut index = String::new();
    let mut seen = 0;
    for entry in tar::Archive::new(saved.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.ends_with("index.json") {
            std::io::Read::read_to_string(&mut entry, &mut index).unwrap();
            continue;
        }
        if path.starts_with("blobs") && entry.header().entry_type().is_file() {
            let mut blob = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut blob).unwrap();
            // Layers are tars in here; everything else is JSON.
            if blob.get(257..262) == Some(b"ustar") {
                for file in tar::Archive::new(blob.as_slice()).entries().unwrap() {
                    let file = file.unwrap();
                    assert!(file.header().mtime().unwrap() <= 1_700_000_000, "{:?}", file.path());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 5, "the layers were looked at");
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    (outcome.id.unwrap(), index["manifests"][0]["digest"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_input_gives_the_same_image_on_two_engines() {
    let first = reproduced(1_750_000_000).await;
    let second = reproduced(1_760_000_000).await;
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_date_that_is_none_is_refused() {
    let yard = Yard::new().await;
    let epoch = |text: &str| {
        let text = text.to_owned();
        move |request: &mut boxyard::engine::build::BuildRequest| {
            request.build_args.insert("SOURCE_DATE_EPOCH".into(), Some(text));
        }
    };
    let files = [("Dockerfile", "FROM base\nRUN echo a > /a\n")];
    let refused = yard.build_with(&files, epoch("yesterday")).await.failed();
    assert_eq!(refused.message, "invalid SOURCE_DATE_EPOCH: \"yesterday\" is no number of seconds since 1970");
    // Another date means other times in the layers.
    let first = yard.build_with(&files, epoch("1000")).await.succeeded();
    let second = yard.build_with(&files, epoch("2000")).await.succeeded();
    assert_eq!(misses(&second), ["SOURCE_DATE_EPOCH: 1000 -> 2000"]);
    assert_ne!(first.id, second.id);
    assert_eq!(yard.build_with(&files, epoch("1000")).await.succeeded().id, first.id);
}
