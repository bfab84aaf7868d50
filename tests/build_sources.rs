//! Everything a build reads: COPY and ADD with all their flags, downloads, git repositories, contexts of all kinds.
//!
//! Built through the Engine API, as docker's own client asks; what arrived is looked at by RUN steps. Servers are threads
//! of the test on the yard's loopback. The stories with git repositories need the git program and pass without a look
//! where it is missing.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::query_parameters::BuildImageOptionsBuilder;
use futures_util::StreamExt;
use support::Yard;

const PROGRAMS: &[&str] = &["sh", "cat", "ls", "stat", "readlink", "mkdir", "test", "chmod"];

/// A file of a context: path, content, mode.
type File<'a> = (&'a str, &'a [u8], u32);

fn archive(files: &[File<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// An engine with an image `base`, and a server.
struct Place {
    yard: Yard,
    server: Server,
}

impl Place {
    async fn new() -> Self {
        let yard = Yard::new();
        yard.image_of_programs("base", PROGRAMS).await;
        let server = Server::start(yard.listen());
        Self { yard, server }
    }

    /// Builds; the text, or the error behind the text.
    async fn ask(&self, body: Option<Vec<u8>>, remote: &str, dockerfile: &str) -> Result<String, String> {
        let docker = self.yard.docker();
        let mut options = BuildImageOptionsBuilder::default().networkmode("none").rm(true).dockerfile(dockerfile);
        if !remote.is_empty() {
            options = options.remote(remote);
        }
        let body = bollard::body_full(body.unwrap_or_default().into());
        let mut answers = docker.build_image(options.build(), None, Some(body));
        let mut text = String::new();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => {
                    text.push_str(answer.stream.as_deref().unwrap_or_default());
                    if let Some(error) = answer.error_detail {
                        return Err(error.message.unwrap_or_default());
                    }
                }
                Err(bollard::errors::Error::DockerStreamError { error }) => return Err(error),
                Err(bollard::errors::Error::DockerResponseServerError { message, .. }) => return Err(message),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(text)
    }

    async fn build(&self, dockerfile: &str, files: &[File<'_>]) -> Result<String, String> {
        let dockerfile = dockerfile.replace("SERVER", &self.server.url);
        let mut all = vec![("Dockerfile", dockerfile.as_bytes(), 0o644)];
        all.extend_from_slice(files);
        self.ask(Some(archive(&all)), "", "Dockerfile").await
    }

    /// Builds `steps` on the base, then `checks` as a shell script of which each line has to hold.
    async fn check(&self, steps: &str, files: &[File<'_>], checks: &str) {
        let text = format!("FROM base\n{steps}\nRUN <<CHECK\nset -ex\n{checks}\nCHECK\n");
        if let Err(error) = self.build(&text, files).await {
            panic!("{error}\n{text}");
        }
    }

    async fn refused(&self, steps: &str, files: &[File<'_>]) -> String {
        self.build(&format!("FROM base\n{steps}\n"), files).await.expect_err("it was to fail")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_keep_parents_leave_out_and_set_owners_and_modes() {
    let place = Place::new().await;
    let files: &[File<'_>] = &[
        ("a/b/one.txt", b"1", 0o644),
        ("a/b/two.md", b"2", 0o600),
        ("a/c/three.txt", b"3", 0o755),
        ("four.txt", b"4", 0o644),
        ("passwd", b"root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n", 0o644),
        ("group", b"root:x:0:\nlogs:x:50:\n", 0o644),
    ];
    let steps = "COPY passwd group /etc/\n\
        COPY --parents a/b/one.txt four.txt /p/\n\
        COPY --parents a/./**/*.txt /q/\n\
        COPY --exclude=*.md --exclude=**/three* a /r/\n\
        COPY --exclude=four* *.txt /s/\n\
        COPY --chmod=u=rwX,go=rX a /m/\n\
        COPY --chmod=0751 four.txt /o/p/\n\
        COPY --chown=web:logs a/b /w/\n\
        COPY --chown=web four.txt /w/\n\
        ARG who=7\nCOPY --chown=$who:8 four.txt /n/\n\
        COPY [\"four.txt\", \"/with space/\"]\n\
        COPY *.nothing /none/\n";
    let checks = "[ \"$(cat /p/a/b/one.txt /p/four.txt)\" = 14 ]\n\
        [ \"$(cat /q/b/one.txt /q/c/three.txt)\" = 13 ] && [ ! -e /q/b/two.md ] && [ ! -e /q/a ]\n\
        [ -e /r/b/one.txt ] && [ ! -e /r/b/two.md ] && [ ! -e /r/c/three.txt ]\n\
        [ ! -e /s/four.txt ]\n\
        [ \"$(stat -c %a /m/b/two.md /m/c/three.txt /m/b)\" = \"$(printf '644\\n755\\n755')\" ]\n\
        [ \"$(stat -c %a /o/p/four.txt /o/p)\" = \"$(printf '751\\n751')\" ]\n\
        [ \"$(stat -c %u:%g /w/one.txt)\" = 33:50 ] && [ \"$(stat -c %u:%g /w/four.txt)\" = 33:34 ]\n\
        [ \"$(stat -c %u:%g /n/four.txt)\" = 7:8 ]\n\
        [ \"$(stat -c %Y /p/four.txt)\" = 1000000000 ]\n\
        [ -e '/with space/four.txt' ] && [ ! -e /none ]";
    place.check(steps, files, checks).await;
    assert_eq!(
        place.refused("COPY --parents a/nothing /x/", files).await,
        "COPY failed: file not found in build context or excluded by .dockerignore: stat a/nothing: file does not exist"
    );
    assert_eq!(
        place.refused("COPY https://host/x /x/", files).await,
        "dockerfile parse error on line 2: source can't be a URL for COPY: https://host/x"
    );
    place.yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_copy_does_not_care_what_is_below() {
    let place = Place::new().await;
    let files: &[File<'_>] = &[("f", b"linked", 0o644)];
    let text = |below: &str| {
        format!(
            "FROM base\nRUN mkdir -p /t /real && chmod 1777 /t && echo {below} > /below\n\
             COPY --link f /t/sub/\nCOPY --link --chown=5:6 f /mine/\n\
             RUN [ \"$(stat -c %a /t)\" = 1777 ] && [ \"$(cat /t/sub/f /below)\" = \"linked{below}\" ] \
             && [ \"$(stat -c %u:%g /mine/f /mine)\" = \"$(printf '5:6\\n5:6')\" ]\n"
        )
    };
    let first = place.build(&text("one"), files).await.unwrap();
    assert!(!first.contains("Using cache"), "{first}");
    let second = place.build(&text("two"), files).await.unwrap();
    let link = second.split("Step 3/5").nth(1).unwrap();
    assert!(link.starts_with(" : COPY --link f /t/sub/\n ---> Using cache\n"), "{second}");
    assert_eq!(second.matches("Using cache").count(), 2, "{second}");
    // The same file to another place is another layer, and a changed one, too.
    let changed = place.build(&text("two"), &[("f", b"linked", 0o600)]).await.unwrap();
    assert!(!changed.split("Step 3/5").nth(1).unwrap().contains("Using cache"), "{changed}");
    place.yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_arrive_as_docker_has_them() {
    let place = Place::new().await;
    let date = ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT");
    let packed = gzip(&archive(&[("in/f", b"packed", 0o640)]));
    place.server.serve("/f.txt", Page::of(b"hello").with(date));
    place.server.serve("/", Page::of(b"named").with(("Content-Disposition", "attachment; filename=\"got.txt\"")));
    place.server.serve("/moved", Page { status: 302, ..Page::of(b"") }.with(("Location", "/f.txt")));
    place.server.serve("/p.tgz", Page::of(&packed));
    place.server.serve("/broken", Page { status: 500, ..Page::of(b"out of\n order") });
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let steps = format!(
        "ADD SERVER/f.txt /d/\nADD SERVER/ /d/\nADD SERVER/moved /e/renamed\nADD SERVER/p.tgz /d/\n\
         ADD --unpack SERVER/p.tgz /u/\nADD --unpack=false p.tgz /k/\nADD p.tgz /l/\n\
         ADD --checksum={digest} --chmod=644 --chown=1:2 SERVER/f.txt /c/"
    );
    let checks = "[ \"$(cat /d/f.txt /d/got.txt /e/renamed)\" = hellonamedhello ]\n\
        [ \"$(stat -c '%a %u %Y' /d/f.txt)\" = '600 0 1445412480' ] && [ \"$(stat -c %Y /d/got.txt)\" = 0 ]\n\
        [ -e /d/p.tgz ] && [ \"$(cat /u/in/f)\" = packed ] && [ -e /k/p.tgz ] && [ \"$(cat /l/in/f)\" = packed ]\n\
        [ \"$(stat -c '%a %u %g' /c/f.txt)\" = '644 1 2' ]";
    place.check(&steps, &[("p.tgz", &packed, 0o644)], checks).await;

    // What a checksum names is not asked for again, neither where it is kept nor where the step is known.
    let asked = place.server.asked("/f.txt");
    let again = place.build(&format!("FROM base\nADD --checksum={digest} --chmod=644 SERVER/f.txt /c/\n"), &[]).await;
    assert!(!again.unwrap().contains("Using cache"));
    let again = place.build(&format!("FROM base\nADD --checksum={digest} --chmod=644 SERVER/f.txt /c/\n"), &[]).await;
    assert!(again.unwrap().contains("Using cache"));
    assert_eq!(place.server.asked("/f.txt"), asked);

    let wrong = format!("sha256:{}", "0".repeat(64));
    let url = &place.server.url;
    let cases = [
        (
            "ADD SERVER/missing /",
            format!("ADD failed: failed to GET {url}/missing with status 404 Not Found: no such page"),
        ),
        (
            "ADD SERVER/broken /",
            format!("ADD failed: failed to GET {url}/broken with status 500 Internal Server Error: out of order"),
        ),
        (
            &format!("ADD --checksum={wrong} SERVER/f.txt /"),
            format!("ADD failed: digest mismatch for {url}/f.txt: expected {wrong}, got {digest}"),
        ),
    ];
    for (step, expected) in cases {
        assert_eq!(place.refused(step, &[]).await, expected);
    }
    let nobody = place.refused("ADD http://127.0.0.1:1/x /", &[]).await;
    assert!(nobody.starts_with("ADD failed: failed to GET http://127.0.0.1:1/x: "), "{nobody}");
    place.yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_did_not_change_is_not_sent_again() {
    let place = Place::new().await;
    let date = ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT");
    let page = |tag: &str, body: &str| Page::of(body.as_bytes()).with(("ETag", tag));
    place.server.serve("/tagged", page("\"1\"", "one"));
    place.server.serve("/dated", Page::of(b"dated").with(date));
    place.server.serve("/plain", Page::of(b"plain"));
    let add = "ADD SERVER/tagged SERVER/dated SERVER/plain /d/";
    let check = |tagged: &str| format!("[ \"$(cat /d/tagged /d/dated /d/plain)\" = {tagged}datedplain ]");
    let sent = || ["/tagged", "/dated", "/plain"].map(|path| place.server.sent(path));
    place.check(add, &[], &check("one")).await;
    assert_eq!(sent(), [1, 1, 1]);
    // Once more, and where the step has to be done anew: only what its server can't recognise is sent.
    let again = place.build(&format!("FROM base\n{add}\n"), &[]).await.unwrap();
    assert!(again.contains("Using cache"), "{again}");
    assert_eq!(sent(), [1, 1, 2]);
    place
        .check(&format!("RUN true\n{add}"), &[], &format!("{}\n[ $(stat -c %Y /d/dated) = 1445412480 ]", check("one")))
        .await;
    assert_eq!(sent(), [1, 1, 3]);
    // Another content, another name for it.
    place.server.serve("/tagged", page("\"2\"", "two"));
    place.check(add, &[], &check("two")).await;
    assert_eq!(sent(), [2, 1, 4]);
    place.yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_are_added_by_branch_tag_and_commit() {
    let place = Place::new().await;
    let Some(repository) = Repository::new() else { return };
    repository.commit("sub/a.txt", "one");
    repository.git(&["tag", "v1"]);
    let second = repository.commit("sub/a.txt", "two");
    place.server.folder("/it.git/", &repository.published());
    let steps = format!(
        "ADD SERVER/it.git /all/\nADD SERVER/it.git#v1:sub /tag/\nADD SERVER/it.git?ref={second}&subdir=sub /commit/\n\
         ADD --keep-git-dir=true SERVER/it.git#main /git/\nADD --checksum={second} --chown=3:4 SERVER/it.git /sum/"
    );
    let checks = "[ \"$(cat /all/sub/a.txt /tag/a.txt /commit/a.txt /sum/sub/a.txt)\" = twoonetwotwo ]\n\
        [ ! -e /all/.git ] && [ -e /git/.git ] && [ \"$(stat -c %a:%u /all/sub/a.txt)\" = 644:0 ]\n\
        [ \"$(stat -c %u:%g /sum/sub/a.txt)\" = 3:4 ] && [ \"$(stat -c %Y /all/sub/a.txt)\" = 1000000000 ]";
    place.check(&steps, &[], checks).await;

    let text = "FROM base\nADD SERVER/it.git#main:sub /x/\nRUN cat /x/a.txt\n";
    place.build(text, &[]).await.unwrap();
    assert!(place.build(text, &[]).await.unwrap().matches("Using cache").count() == 2);
    repository.commit("sub/a.txt", "three");
    place.server.folder("/it.git/", &repository.published());
    let third = place.build(text, &[]).await.unwrap();
    assert!(third.contains("three") && third.contains("Cache miss: "), "{third}");

    let url = &place.server.url;
    let refused = place.refused("ADD SERVER/it.git#nothing /x/", &[]).await;
    assert_eq!(
        refused,
        format!(
            "ADD failed: repository {url}/it.git does not contain ref nothing: name a branch, a tag or a commit of it"
        )
    );
    let refused = place.refused("ADD SERVER/it.git#main:nowhere /x/", &[]).await;
    assert_eq!(refused, format!("ADD failed: {url}/it.git has no folder \"nowhere\""));
    let refused = place.refused("ADD SERVER/none.git /x/", &[]).await;
    assert!(refused.starts_with(&format!("ADD failed: failed to fetch {url}/none.git: git ls-remote: ")), "{refused}");
    let refused = place.refused("ADD --checksum=0000000 SERVER/it.git#main /x/", &[]).await;
    assert!(refused.starts_with("ADD failed: expected checksum to match 0000000, got "), "{refused}");
    place.yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_come_from_urls_and_repositories() {
    let place = Place::new().await;
    let text = b"FROM base\nCOPY f /\nRUN [ \"$(cat /f)\" = from-afar ]\n";
    let files: &[File<'_>] = &[("Dockerfile", text, 0o644), ("f", b"from-afar", 0o644)];
    let tar = archive(files);
    place.server.serve("/context.tar", Page::of(&tar));
    place.server.serve("/context.tgz", Page::of(&gzip(&tar)));
    place.server.serve("/Dockerfile", Page::of(b"FROM base\nRUN echo alone\n"));
    for path in ["/context.tar", "/context.tgz"] {
        place.ask(None, &format!("{}{path}", place.server.url), "Dockerfile").await.unwrap();
    }
    let alone = place.ask(None, &format!("{}/Dockerfile", place.server.url), "Dockerfile").await.unwrap();
    assert!(alone.contains("\nalone\n"), "{alone}");
    let missing = place.ask(None, &format!("{}/nothing", place.server.url), "Dockerfile").await.unwrap_err();
    let expected =
        format!("unable to prepare context: failed to GET {}/nothing with status 404 Not Found", place.server.url);
    assert!(missing.starts_with(&expected), "{missing}");
    let no_url = place.ask(None, "nonsense", "Dockerfile").await.unwrap_err();
    assert!(no_url.starts_with("unable to prepare context: \"nonsense\" is no URL"), "{no_url}");

    let elsewhere = Folder::new(&[("My.Dockerfile", "FROM base\nCOPY f /\nRUN cat /f; exit 3\n")]);
    let own = format!("{}/My.Dockerfile", elsewhere.path());
    let url = format!("{}/context.tar", place.server.url);
    let output = place.yard.cli(&["build", "--network", "none", "-f", &own, &url]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("from-afar") && said.contains(&format!("\n{own}:3\n")), "{said}");

    if let Some(repository) = Repository::new() {
        repository.commit("deep/Dockerfile", std::str::from_utf8(text).unwrap());
        repository.commit("deep/f", "from-afar");
        repository.git(&["branch", "other"]);
        place.server.folder("/it.git/", &repository.published());
        let url = format!("{}/it.git#other:deep", place.server.url);
        place.ask(None, &url, "Dockerfile").await.unwrap();
        let url = format!("{}/it.git?branch=other&subdir=deep", place.server.url);
        place.ask(None, &url, "Dockerfile").await.unwrap();
        place.ask(None, &format!("{}/it.git", place.server.url), "deep/Dockerfile").await.unwrap_err();
    }
    place.yard.leaves_nothing_behind().await;
}

/// A folder of the client's, and its builds by `boxyard build`.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let it = Self { folder: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(path, content)| it.write(path, content));
        it
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn write(&self, path: &str, content: &str) {
        let at = self.folder.path().join(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, content).unwrap();
    }

    fn build(&self, place: &Place, arguments: &[&str]) -> Result<String, String> {
        let words = [&["build", "--network=none", "--progress=plain"], arguments, &[self.path()]].concat();
        let output = place.yard.cli(&words);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(said) } else { Err(said) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_kept_between_builds_and_steps_see_what_is_not_ignored() {
    let place = Place::new().await;
    let text = "FROM base\nCOPY . /x/\nRUN ls -R /x; cat /x/src/a\n";
    let folder = Folder::new(&[
        ("deploy/Dockerfile", text),
        (".dockerignore", "*\n!src\n"),
        ("src/a", "first"),
        ("src/deep/b", "b"),
        ("target/big", "big"),
    ]);
    let dockerfile = format!("{}/deploy/Dockerfile", folder.path());
    let arguments = ["-f", dockerfile.as_str()];
    let first = folder.build(&place, &arguments).unwrap();
    assert!(first.contains("first"), "{first}");
    assert!(!first.contains("big") && !first.contains(" deploy\n") && !first.contains(".dockerignore\n"), "{first}");
    let kept = || std::fs::read_dir(place.yard.root().join("build/contexts")).unwrap().count();
    assert_eq!(kept(), 1);

    let second = folder.build(&place, &arguments).unwrap();
    assert!(!second.contains("first"), "it is cached: {second}");
    folder.write("src/a", "second");
    std::fs::remove_dir_all(folder.folder.path().join("src/deep")).unwrap();
    let third = folder.build(&place, &arguments).unwrap();
    assert!(third.contains("second") && !third.contains("/x/src/deep"), "{third}");
    assert_eq!(kept(), 1);

    let other = Folder::new(&[("D", "FROM base\nRUN cat /nothing || echo from elsewhere\nCOPY src/a /\n")]);
    let said = folder.build(&place, &["-f", &format!("{}/D", other.path())]).unwrap();
    assert!(said.contains("from elsewhere"), "{said}");
    let missing = folder.build(&place, &[]).unwrap_err();
    assert!(missing.contains("Dockerfile"), "{missing}");
    place.yard.leaves_nothing_behind().await;
}

/// An OCI layout with one image, of one file.
fn layout(folder: &Folder, tag: &str) -> String {
    use boxyard::engine::layer::Digest;
    let blob = |content: &[u8]| {
        let digest = Digest::of(content);
        let at = folder.folder.path().join("blobs/sha256");
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join(digest.hex()), content).unwrap();
        format!("\"digest\":\"{digest}\",\"size\":{}", content.len())
    };
    let layer = archive(&[("from-layout", b"laid out", 0o644)]);
    let config = format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{{\"Env\":[\"LAID=out\"]}},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{}\"]}}}}",
        Digest::of(&layer)
    );
    let (layer, config) = (blob(&layer), blob(config.as_bytes()));
    let kind = "application/vnd.oci.image";
    let manifest = format!(
        "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"{kind}.config.v1+json\",{config}}},\"layers\":[{{\"mediaType\":\"{kind}.layer.v1.tar\",{layer}}}]}}"
    );
    let manifest = blob(manifest.as_bytes());
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"{kind}.manifest.v1+json\",{manifest},\"annotations\":{{\"org.opencontainers.image.ref.name\":\"{tag}\"}}}}]}}"
    );
    folder.write("index.json", &index);
    folder.write("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    folder.path().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stand_for_folders_images_layouts_and_urls() {
    let place = Place::new().await;
    let context = Folder::new(&[(
        "Dockerfile",
        "FROM nothing-by-that-name AS first\nRUN exit 1\n\
         FROM base AS build\nRUN exit 1\n\
         FROM files\nCOPY --from=build /bin/sh /replaced\nCOPY --from=1 /bin/sh /by-number\n\
         FROM scratch AS all\nCOPY --from=laid /from-layout /\nCOPY --from=web in-tar /\nCOPY --from=2 / /\n\
         FROM mine\nCOPY --from=all / /\nCOPY --from=files a /again\n\
         RUN cat /from-layout /in-tar /a /again && test -e /replaced && test -e /by-number && test ! -e /ignored\n",
    )]);
    let files = Folder::new(&[("a", "from the folder\n"), ("ignored", "x"), (".dockerignore", "ignored\n")]);
    let oci = Folder::new(&[]);
    let path = layout(&oci, "v1");
    place.server.serve("/c.tar", Page::of(&gzip(&archive(&[("in-tar", b"from the web\n", 0o644)]))));
    let named = [
        format!("files={}", files.path()),
        "build=docker-image://base".to_owned(),
        "mine=docker-image://base:latest".to_owned(),
        format!("laid=oci-layout://{path}:v1"),
        format!("web={}/c.tar", place.server.url),
    ];
    let mut arguments = Vec::new();
    for name in &named {
        arguments.extend(["--build-context", name.as_str()]);
    }
    let said = context.build(&place, &arguments).unwrap_or_else(|error| panic!("{error}"));
    for words in ["laid out", "from the web", "from the folder"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = context.build(&place, &["--target", "build", "--build-context", "build=docker-image://base"]).unwrap();
    assert!(said.contains("[build 1/1] FROM named context build") && !said.contains("exit 1"), "{said}");
    let said =
        context.build(&place, &["--target", "0", "--build-context", &format!("first={}", files.path())]).unwrap();
    assert!(said.contains("[first 1/1] FROM named context first") && !said.contains("exit 1"), "{said}");
    let from_layout = Folder::new(&[("Dockerfile", "FROM laid\nENV x=$LAID\nCOPY Dockerfile /\n")]);
    from_layout.build(&place, &["--build-context", &format!("laid=oci-layout://{path}")]).unwrap();
    let missing = from_layout.build(&place, &["--build-context", &format!("laid=oci-layout://{path}:v2")]).unwrap_err();
    assert!(missing.contains("build context laid: the OCI layout has no v2; it has v1"), "{missing}");
    let missing = from_layout.build(&place, &["--build-context", "laid=/nowhere/at/all"]).unwrap_err();
    assert!(missing.contains("--build-context laid=/nowhere/at/all"), "{missing}");
    place.yard.leaves_nothing_behind().await;
}

/// An answer of the server.
#[derive(Clone)]
struct Page {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Page {
    fn of(body: &[u8]) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_vec() }
    }

    fn with(mut self, (name, value): (&str, &str)) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

#[derive(Default)]
struct Pages {
    pages: HashMap<String, Page>,
    asked: HashMap<String, usize>,
    /// How often the content went along.
    sent: HashMap<String, usize>,
}

/// A server of pages; ends with the value.
struct Server {
    url: String,
    pages: Arc<Mutex<Pages>>,
    has_ended: Arc<AtomicBool>,
}

impl Server {
    fn start(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let pages = Arc::new(Mutex::new(Pages::default()));
        let has_ended = Arc::new(AtomicBool::new(false));
        let (of_thread, end) = (Arc::clone(&pages), Arc::clone(&has_ended));
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let pages = Arc::clone(&of_thread);
                        std::thread::spawn(move || drop(answer(stream, &pages)));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self { url, pages, has_ended }
    }

    fn serve(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().pages.insert(path.to_owned(), page);
    }

    /// Serves the files of a folder below `prefix`, as they are now.
    fn folder(&self, prefix: &str, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                self.folder(&format!("{path}/"), &entry.path());
            } else {
                self.serve(&path, Page::of(&std::fs::read(entry.path()).unwrap()));
            }
        }
    }

    fn asked(&self, path: &str) -> usize {
        self.pages.lock().unwrap().asked.get(path).copied().unwrap_or(0)
    }

    fn sent(&self, path: &str) -> usize {
        self.pages.lock().unwrap().sent.get(path).copied().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }
}

fn answer(mut stream: std::net::TcpStream, pages: &Mutex<Pages>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(support::PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
    let wishes: Vec<String> = lines.map_while(|line| line.ok().filter(|line| !line.is_empty())).collect();
    let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let page = {
        let mut pages = pages.lock().unwrap();
        *pages.asked.entry(path.clone()).or_default() += 1;
        pages.pages.get(&path).cloned()
    };
    let mut page = page.unwrap_or_else(|| Page { status: 404, ..Page::of(b"no such page") });
    let is_known = |(name, value): &(String, String)| {
        let asks = match name.as_str() {
            "ETag" => "if-none-match",
            "Last-Modified" => "if-modified-since",
            _ => return false,
        };
        wishes.iter().any(|wish| wish.to_lowercase() == format!("{asks}: {}", value.to_lowercase()))
    };
    if page.headers.iter().any(is_known) {
        (page.status, page.body) = (304, Vec::new());
    } else {
        *pages.lock().unwrap().sent.entry(path).or_default() += 1;
    }
    let mut head =
        format!("HTTP/1.1 {} x\r\nContent-Length: {}\r\nConnection: close\r\n", page.status, page.body.len());
    for (name, value) in &page.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&page.body)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let _ = stream.read(&mut [0; 1]);
    Ok(())
}

/// A git repository; `None` where the git program is missing.
struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    fn new() -> Option<Self> {
        if Command::new("git").arg("--version").output().is_err() {
            eprintln!("git is missing: what needs a repository is not looked at");
            return None;
        }
        let it = Self { folder: tempfile::tempdir().unwrap() };
        it.git(&["init", "--quiet", "--initial-branch=main"]);
        Some(it)
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.folder.path())
            .args(["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .env("GIT_COMMITTER_DATE", "1000000000 +0000")
            .env("GIT_AUTHOR_DATE", "1000000000 +0000")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits a file; answers the commit.
    fn commit(&self, path: &str, content: &str) -> String {
        let at = self.folder.path().join(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, content).unwrap();
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", path]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// What a plain file server has to hold of it.
    fn published(&self) -> PathBuf {
        self.git(&["update-server-info"]);
        self.folder.path().join(".git")
    }
}
