//! Hostile Dockerfiles and contexts: what a build from a stranger would try on the host.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::StreamExt;
use tar::EntryType;

use crate::attack::Image;
use crate::images::{Outside, SECRET};
use crate::support::Yard;

/// What came of a build: whether it went well, and all that was said.
struct Built {
    is_good: bool,
    said: String,
}

impl Built {
    fn of(output: &Output) -> Self {
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains(SECRET), "the build read the host's file:\n{said}");
        Self { is_good: output.status.success(), said }
    }

    #[track_caller]
    fn is_fine(&self) {
        assert!(self.is_good, "{}", self.said);
    }

    #[track_caller]
    fn fails_with(&self, words: &str) {
        assert!(!self.is_good && self.said.contains(words), "a failure with {words:?}:\n{}", self.said);
    }
}

fn folder(dockerfile: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    folder
}

fn command(yard: &Yard, context: &Path, flags: &[&str]) -> Command {
    let mut command = yard.command();
    command.args(["build", "--network=none", "--progress=plain", "--no-cache"]).args(flags).arg(context);
    command.stdin(Stdio::null());
    command
}

/// Builds a folder by `boxyard build`. No build may tell what is in the host's file.
fn build_folder(yard: &Yard, context: &Path, flags: &[&str]) -> Built {
    Built::of(&command(yard, context, flags).output().unwrap())
}

fn build(yard: &Yard, dockerfile: &str, flags: &[&str]) -> Built {
    build_folder(yard, folder(dockerfile).path(), flags)
}

/// A tar of an attacker's: names and link targets are taken literally.
struct Hostile(tar::Builder<Vec<u8>>);

impl Hostile {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: EntryType, name: &str, target: &str, bytes: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        if !target.is_empty() {
            header.set_link_name_literal(target).unwrap();
        }
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        self.entry(EntryType::Regular, name, "", text.as_bytes())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Builds a tar as docker's own client sends it.
async fn build_tar(yard: &Yard, tar: Vec<u8>) -> Built {
    let options = BuildImageOptionsBuilder::default().networkmode("none").nocache(true).build();
    let docker = yard.docker();
    let mut answers = docker.build_image(options, None, Some(bollard::body_full(tar.into())));
    let (mut said, mut is_good) = (String::new(), true);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => {
                said.push_str(&answer.stream.unwrap_or_default());
                if let Some(error) = answer.error_detail {
                    is_good = false;
                    said.push_str(&error.message.unwrap_or_default());
                }
            }
            Err(error) => {
                is_good = false;
                said.push_str(&error.to_string());
            }
        }
    }
    assert!(!said.contains(SECRET), "the build read the host's file:\n{said}");
    Built { is_good, said }
}

/// CVE-2024-23651: a cache's folder is swapped for a link while it is being mounted for another build.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_23651_a_cache_swapped_while_it_is_mounted_never_leads_out() {
    let yard = Yard::new();
    let outside = Outside::new();
    yard.image_of_programs("perl", &["perl", "sh", "cat", "touch", "ls"]).await;
    // renameat2 with RENAME_EXCHANGE: at every moment there is something under each name
    let swap = format!(
        "FROM perl\nRUN --mount=type=cache,id=trap,target=/c perl -e '\
           for my $n (\"absolute\", \"climbing\") {{ mkdir \"/c/$n\"; open F, \">\", \"/c/$n/secret\"; print F \"its-own-file\"; close F }} \
           symlink \"{0}\", \"/c/absolute.\"; symlink \"../../../../../../../../../..{0}\", \"/c/climbing.\"; \
           open F, \">\", \"/c/ready\"; close F; \
           while (! -e \"/c/stop\") {{ for my $n (\"absolute\", \"climbing\") {{ \
             syscall(316, -100, \"/c/$n\", -100, \"/c/$n.\", 2) == 0 or die \"$!\" }} }}'\n",
        outside.path().display()
    );
    let swap = folder(&swap);
    let mut swapper = command(&yard, swap.path(), &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let data = Trap::found(&yard);
    let (mut rounds, mut own) = (0, 0);
    // as long as it takes to have met both of them
    while rounds < 12 || ((own < 2 || rounds - own < 2) && rounds < 200) {
        let name = if rounds % 2 == 0 { "absolute" } else { "climbing" };
        let look = format!(
            "FROM perl\nRUN --mount=type=cache,id=trap,target=/in,source=/{name} cat /in/secret; touch /in/evil{rounds}; ls -A /in\n"
        );
        let built = build(&yard, &look, &[]);
        own += usize::from(built.said.contains("its-own-file"));
        rounds += 1;
        outside.is_untouched();
    }
    fs::write(data.0.join("stop"), "").unwrap();
    assert!(swapper.wait().unwrap().success());
    assert!(own > 0 && own < rounds, "it was swapped: {own} of {rounds}");
    yard.leaves_nothing_behind().await;
}

/// The data folder of the one cache there is.
struct Trap(PathBuf);

impl Trap {
    fn found(yard: &Yard) -> Self {
        let end = std::time::Instant::now() + crate::support::PATIENCE;
        loop {
            let folders = fs::read_dir(yard.root().join("build/mounts")).into_iter().flatten().flatten();
            let found = folders.map(|entry| entry.path().join("data")).find(|data| data.join("ready").exists());
            if let Some(found) = found {
                return Self(found);
            }
            assert!(std::time::Instant::now() < end, "the cache was never made");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// CVE-2024-23652: after the step the place that was made for a mount is removed, where a link now leads to the host.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_23652_clearing_a_mounts_place_follows_no_link() {
    let yard = Yard::new();
    let outside = tempfile::Builder::new().prefix("outside-").tempdir_in("/tmp").unwrap();
    let at = |path: &str| outside.path().join(path);
    fs::create_dir_all(at("folder/deep")).unwrap();
    fs::write(at("folder/file"), "").unwrap();
    yard.image_of_programs("base", &["sh", "mkdir", "rm", "mv", "ln", "ls", "test"]).await;
    // Where a layer has removed /x, the place is made among the step's own changes, so that /x can be moved away.
    let steps = [
        "--mount=type=tmpfs,target=/x/folder/deep",
        "--mount=type=bind,source=Dockerfile,target=/x/folder/file",
        "--mount=type=cache,target=/x/folder/deep",
        "--mount=type=secret,id=none,target=/x/folder/file --mount=type=tmpfs,target=/x/folder/deep",
    ];
    for mounts in steps {
        let text = format!(
            "FROM base\nRUN mkdir -p /x/y\nRUN rm -r /x\n\
             RUN {mounts} mv /x /elsewhere && ln -s {0} /x && test -d /x/ -o -L /x\n",
            outside.path().display()
        );
        build(&yard, &text, &[]).is_fine();
        assert!(at("folder/deep").is_dir() && at("folder/file").is_file(), "{mounts} removed a file of the host");
    }
    yard.leaves_nothing_behind().await;
}

/// CVE-2024-23653: all rights without leave.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_23653_no_rights_without_leave() {
    let yard = Yard::new();
    yard.image_of_programs("base", &["sh", "mkdir", "mount", "grep", "ls", "cat"]).await;
    let refusals = [
        ("RUN --security=insecure", "--allow security.insecure"),
        ("RUN --network=host", "--allow network.host"),
        ("ONBUILD RUN --security=insecure", "--allow security.insecure"),
    ];
    for (at, (step, leave)) in refusals.into_iter().enumerate() {
        let first = format!("FROM base\n{step} mkdir /m && mount -t tmpfs none /m\n");
        if !step.starts_with("ONBUILD") {
            build(&yard, &first, &[]).fails_with(leave);
            let other = if leave.ends_with("host") { "security.insecure" } else { "network.host" };
            build(&yard, &first, &["--allow", other]).fails_with(leave);
            // By docker's own client there is no leave to give.
            build_tar(&yard, Hostile::new().file("Dockerfile", &first).bytes()).await.fails_with(leave);
            continue;
        }
        // A base image cannot bring it along.
        let tag = format!("trigger{at}");
        build(&yard, &first, &["-t", &tag]).is_fine();
        build(&yard, &format!("FROM {tag}\n"), &[]).fails_with(leave);
    }
    // What a step may do is not what a variable says.
    build(&yard, "FROM base\nARG mode=insecure\nRUN --security=$mode true\n", &[])
        .fails_with("--allow security.insecure");
    let held = "FROM base\nRUN ! mkdir /m 2>/dev/null || ! mount -t tmpfs none /m 2>/dev/null; \
        grep CapEff /proc/self/status; grep Seccomp: /proc/self/status\n";
    let built = build(&yard, held, &["--allow", "security.insecure"]);
    assert!(built.said.contains("00000000a80425fb") && built.said.contains("Seccomp:\t2"), "{}", built.said);
    yard.leaves_nothing_behind().await;
}

/// Links in the place that is copied from, be it a stage, an image or the context.
#[tokio::test(flavor = "multi_thread")]
async fn links_of_a_source_lead_nowhere_in_a_copy() {
    let yard = Yard::new();
    let outside = Outside::new();
    let path = outside.path().display().to_string();
    outside.image_of_links().import(&yard, "links").await;
    let words = ["/out/secret", "/climb/secret", &format!("/magic{path}/secret"), "/file", "/out/*", "/climb/"];
    for word in words {
        for flags in ["", "--link ", "--parents "] {
            let copied = build(
                &yard,
                &format!("FROM links\nCOPY {flags}--from=links {word} /got/\nRUN cat /got/* /got/*/*; true\n"),
                &[],
            );
            let staged = format!(
                "FROM links AS stage\nFROM links\nCOPY {flags}--from=stage {word} /got/\nRUN cat /got/*; true\n"
            );
            let _ = (copied, build(&yard, &staged, &[]));
        }
        let bound = format!("FROM links\nRUN --mount=type=bind,from=links,source={word},target=/b cat /b /b/*; true\n");
        build(&yard, &bound, &[]);
    }
    // The same links in a folder of the client's, and in a tar.
    let context = folder("");
    let links =
        [("out", path.clone()), ("climb", format!("../../../../../../..{path}")), ("file", format!("{path}/secret"))];
    for (name, target) in &links {
        symlink(target, context.path().join(name)).unwrap();
    }
    for word in
        ["out/secret", "climb/secret", "file", "out/*", "../../../../..//tmp/*/secret", "/proc/self/root/etc/passwd"]
    {
        let text = format!("FROM links\nCOPY {word} /got/\nRUN cat /got/* /got/*/*; true\n");
        fs::write(context.path().join("Dockerfile"), &text).unwrap();
        build_folder(&yard, context.path(), &[]);
        let named = format!("FROM links\nCOPY --from=named {word} /got/\nRUN cat /got/* /got/*/*; true\n");
        fs::write(context.path().join("Dockerfile"), &named).unwrap();
        build_folder(&yard, context.path(), &["--build-context", &format!("named={}", context.path().display())]);
        let tar = links.iter().fold(Hostile::new(), |tar, (name, target)| tar.link(name, target));
        build_tar(&yard, tar.file("Dockerfile", &text).bytes()).await;
    }
    outside.is_untouched();
    yard.leaves_nothing_behind().await;
}

/// Links in the place that is copied to, and in that of WORKDIR.
#[tokio::test(flavor = "multi_thread")]
async fn links_of_a_destination_lead_nowhere() {
    let yard = Yard::new();
    let outside = Outside::new();
    let path = outside.path().display().to_string();
    outside.image_of_links().import(&yard, "links").await;
    let context = folder("");
    fs::write(context.path().join("evil"), "from the build").unwrap();
    fs::create_dir(context.path().join("tree")).unwrap();
    fs::write(context.path().join("tree/secret"), "from the build").unwrap();
    fs::write(context.path().join("a.tar"), Hostile::new().file("secret", "from the build").file("evil", "x").bytes())
        .unwrap();
    for to in ["/out/", "/out", "/climb/", "/out/secret", "/file", &format!("/magic{path}/")] {
        for step in [
            "COPY evil",
            "COPY --link evil",
            "COPY tree/",
            "ADD a.tar",
            "COPY --chown=7:7 --chmod=777 tree",
            "COPY --parents tree/secret",
        ] {
            fs::write(context.path().join("Dockerfile"), format!("FROM links\n{step} {to}\n")).unwrap();
            build_folder(&yard, context.path(), &[]);
            outside.is_untouched();
        }
        for more in ["WORKDIR new/deep", "RUN touch evil", "RUN --mount=type=tmpfs,target=made touch made/evil"] {
            build(&yard, &format!("FROM links\nWORKDIR {to}\n{more}\n"), &[]);
            outside.is_untouched();
        }
    }
    let mode = fs::metadata(outside.path()).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&mode), 0, "nobody gave the host's folder away");
    yard.leaves_nothing_behind().await;
}

/// Archives: the context itself, and what ADD unpacks.
#[tokio::test(flavor = "multi_thread")]
async fn archives_cannot_reach_out_of_their_folder() {
    let yard = Yard::new();
    let outside = Outside::new();
    let path = outside.path().display().to_string();
    Image::new().import(&yard, "base").await;
    let up = format!("../../../../../../../../..{path}");
    let hostile = || {
        [
            Hostile::new().file(&format!("{up}/evil"), "x"),
            Hostile::new().file(&format!("{path}/evil"), "x"),
            Hostile::new().link("l", &path).file("l/evil", "x"),
            Hostile::new().link("l", &up).file("l/secret", "x"),
            Hostile::new().link("a", "/").link("a/b", &path).file("a/b/evil", "x"),
            Hostile::new().hard_link("h", &format!("{path}/secret")).file("h", "x"),
            Hostile::new().hard_link("h", &format!("{up}/secret")),
            Hostile::new().link("s", &format!("{path}/secret")).hard_link("h", "s").file("h", "x"),
            Hostile::new().link("d", &path).hard_link("h", "d/secret"),
        ]
    };
    for tar in hostile() {
        let context = folder("FROM base\nADD a.tar /in/\nRUN cat /in/* /in/*/* 2>/dev/null; true\n");
        fs::write(context.path().join("a.tar"), tar.bytes()).unwrap();
        build_folder(&yard, context.path(), &[]);
        outside.is_untouched();
    }
    for tar in hostile() {
        let text = "FROM base\nCOPY . /in/\nRUN cat /in/* /in/*/* 2>/dev/null; true\n";
        build_tar(&yard, tar.file("Dockerfile", text).bytes()).await;
        outside.is_untouched();
    }
    // What the engine itself reads of a context is the context's.
    let file = format!("{path}/secret");
    build_tar(&yard, Hostile::new().link("Dockerfile", &file).bytes()).await.fails_with("");
    build_tar(&yard, Hostile::new().link("d", &path).link("Dockerfile", "d/secret").bytes()).await.fails_with("");
    let ignored = Hostile::new().link(".dockerignore", &file).file("Dockerfile", "FROM base\nCOPY . /in/\n");
    build_tar(&yard, ignored.bytes()).await;
    yard.leaves_nothing_behind().await;
}

/// Names that git could take for options or for other ways of fetching, and repositories that want to run something.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_repositories_run_nothing() {
    let yard = Yard::new();
    Image::new().import(&yard, "base").await;
    let traces = tempfile::tempdir().unwrap();
    let touch = format!("touch {}/evil", traces.path().display());
    let local = traces.path().join("local.git");
    fs::create_dir(&local).unwrap();
    let words = [
        format!("ssh://-oProxyCommand={touch}/x.git"),
        format!("git@-oProxyCommand={touch}:x.git"),
        format!("https://127.0.0.1:1/x.git#--upload-pack={touch}"),
        format!("git://127.0.0.1:1/x.git#--exec={touch}:sub"),
        format!("ext::sh -c {touch}% .git"),
        format!("file://{}", local.display()),
        format!("https://127.0.0.1:1/x.git#main:../../../..{}", traces.path().display()),
    ];
    for word in &words {
        let quoted = word.replace('"', "");
        let built = build(&yard, &format!("FROM base\nADD [\"{quoted}\", \"/x/\"]\n"), &[]);
        assert!(!built.is_good, "{word}: {}", built.said);
        let context = yard.cli(&["build", "--network=none", word]);
        assert!(!context.status.success(), "{word}");
        let left: Vec<_> = fs::read_dir(traces.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["local.git"], "{word} ran something");
    }
    yard.leaves_nothing_behind().await;
}

/// Users and groups of the image are looked up in files of the image, of a size that can be read.
#[tokio::test(flavor = "multi_thread")]
async fn owners_are_looked_up_in_the_image_alone() {
    let yard = Yard::new();
    let outside = Outside::new();
    fs::write(outside.file(), SECRET).unwrap();
    Image::bare()
        .link("etc/passwd", "/proc/1/root/etc/passwd")
        .link("etc/group", "/proc/1/root/etc/group")
        .import(&yard, "linked")
        .await;
    build(&yard, "FROM linked\nCOPY --chown=daemon Dockerfile /x\n", &[]).fails_with("unable to find user daemon");
    build(&yard, "FROM linked\nCOPY --chown=0:daemon Dockerfile /x\n", &[]).fails_with("unable to find group daemon");
    Image::bare().pipe("etc/passwd").pipe("etc/group").import(&yard, "pipes").await;
    build(&yard, "FROM pipes\nCOPY --chown=app:app Dockerfile /x\n", &[]).fails_with("app");
    yard.leaves_nothing_behind().await;
}
