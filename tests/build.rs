//! Builds from Dockerfiles, carried out for real: on an image made of this host's programs, RUN steps without a network.
//!
//! The rooms are opened as the engine opens them, but without its API, so that a test sees the messages themselves.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod build_yard;

use std::io::Write;

use boxyard::engine::ErrorKind;
use boxyard::engine::build::{BuildContext, BuildRequest, PruneRequest};
use build_yard::{Yard, archive};

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
    assert!(first.text.contains("\nworking\nRemoving intermediate container "), "{}", first.text);
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
    assert!(
        step.error.ends_with("did not complete successfully: exit code: 3")
            && step.lines.is_some_and(|lines| lines.first == 2)
    );
    let failure = outcome.failed();
    assert_eq!(failure.message, "The command '/bin/sh -c echo before; exit 3' returned a non-zero code: 3");
    assert_eq!((failure.code, failure.kind), (Some(3), ErrorKind::System));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_build_tells_all_once_it_fails() {
    let yard = Yard::new().await;
    let quiet = |it: &mut BuildRequest| it.quiet = true;
    let outcome = yard.build_with(&[("Dockerfile", "FROM base\nRUN echo before; exit 3\n")], quiet).await;
    assert!(
        outcome.text.starts_with("Step 1/2 : FROM base\n") && outcome.text.contains("\nbefore\n"),
        "{}",
        outcome.text
    );
    assert_eq!(outcome.failed().code, Some(3), "docker build -q exits with the command's code");
    let outcome = yard.build_with(&[("Dockerfile", "FROM base\nRUN echo fine\n")], quiet).await.succeeded();
    assert!(outcome.text.starts_with("sha256:") && outcome.text.lines().count() == 1, "{}", outcome.text);
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
    assert_eq!(failure.message, "failed to reach build target x in Dockerfile; none of its stages has a name");
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
async fn a_stage_has_the_arguments_of_the_one_it_is_from() {
    let yard = Yard::new().await;
    let text = "FROM base AS one\nARG A=1 B=2\nARG UNSET\nENV A=3\n\
        FROM one AS two\nARG B\n\
        FROM two\nRUN [ \"$A-$B\" = 3-2 ] && echo seen\nARG C=$B.c B=4\nRUN [ $C = 2.c ] && [ $B = 4 ]\nONBUILD RUN true\n";
    let built = yard.build_with(&[("Dockerfile", text)], |it| it.tags = vec!["heir".into()]).await.succeeded();
    assert!(built.text.contains("\nseen\n"), "{}", built.text);
    let image = yard.images.find("heir").unwrap();
    let told: Vec<&str> = image.config.history.iter().rev().map(|step| step.created_by.as_deref().unwrap()).collect();
    assert_eq!(
        told[..3],
        [
            "RUN |4 A=3 B=4 UNSET= C=2.c /bin/sh -c [ $C = 2.c ] && [ $B = 4 ] # buildkit",
            "ARG C=2.c B=4",
            "RUN |3 A=3 B=2 UNSET= /bin/sh -c [ \"$A-$B\" = 3-2 ] && echo seen # buildkit",
        ],
        "what is left for other builds has no entry"
    );
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
async fn several_files_go_into_a_folder_that_is_there_but_not_to_one_name() {
    let yard = Yard::new().await;
    let copy =
        |destination: &str| format!("FROM base\nWORKDIR /app\nCOPY a *.txt {destination}\nRUN cat /app/a /app/b.txt\n");
    for destination in ["/app", "../app", "."] {
        let files = [("Dockerfile", &*copy(destination)), ("a", "one"), ("b.txt", "two")];
        // Its last step fails where they are not there.
        yard.build(&files).await.succeeded();
    }
    for destination in ["/new", "/bin/sh"] {
        let files = [("Dockerfile", &*copy(destination)), ("a", "one"), ("b.txt", "two")];
        let expected =
            "When using COPY with more than one source file, the destination must be a directory and end with a /";
        assert_eq!(yard.build(&files).await.failed().message, format!("COPY failed: {expected}"));
    }
    let folders =
        [("Dockerfile", "FROM base\nCOPY x y /new\nRUN cat /new/f /new/g\n"), ("x/f", "three"), ("y/g", "four")];
    assert!(yard.build(&folders).await.succeeded().log.contains("threefour"), "folders' contents become one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_ends_the_build_and_leaves_nothing() {
    let yard = Yard::new().await;
    let text = "FROM base\nRUN echo $$ is up; sleep 1000\n";
    let mut build = yard.begin(&[("Dockerfile", text)], |_| {});
    build.until(|outcome| outcome.log.contains("is up")).await;
    assert_eq!(yard.count("run/builds"), 1);
    drop(build);
    yard.comes_to_rest().await;
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
