//! `boxyard build` as a person types it, and what builds tell: the classic text beside dockerd's own, BuildKit's messages, the
//! plain display, raw JSON; what comes of a result; what a failure and an interruption leave.
//!
//! `tests/golden/build/*/classic*.txt` is what dockerd 20.10 told of the same Dockerfile, IDs aside. The other files there
//! are ours: `BOXYARD_WRITE_GOLDEN=1 cargo test --test build_verb` writes them anew.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use boxyard::buildkit::{TRACE_ID, decode_aux};
use boxyard::client::build_context::{WholeFolder, folder_body};
use boxyard::client::{BuildCall, BuildRecord, Docker};
use futures_util::StreamExt;
use serde_json::{Value, json};
use support::{PATIENCE, Yard};

async fn yard() -> Yard {
    let yard = Yard::new();
    yard.image_of_programs("base:latest", &["sh", "cat", "sleep", "mkdir"]).await;
    yard
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/build").join(name)
}

/// Compares with a file, or writes it.
fn compare(name: &str, told: &str) {
    let path = golden(name);
    // Why a step is done again is another test's matter.
    let told: String = told.split_inclusive('\n').filter(|line| !line.contains("cache miss: ")).collect();
    if std::env::var_os("BOXYARD_WRITE_GOLDEN").is_some() {
        return fs::write(path, told).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(told == expected, "{}:\n--- expected\n{expected}\n--- told\n{told}", path.display());
}

/// `text` with what no two builds share made equal: IDs, digests, times, sizes.
fn normal(text: &str) -> String {
    let text: String = text.split_inclusive(|c: char| c.is_whitespace()).map(normal_word).collect();
    // Told only where it took longer than 10 ms.
    text.replace(" TIME done\n", " done\n")
}

fn normal_word(word: &str) -> String {
    let bare = word.trim_end();
    let end = &word[bare.len()..];
    let is_hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
    let is_number = |text: &str| text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let has_digit = bare.starts_with(|c: char| c.is_ascii_digit());
    match bare {
        _ if bare.len() == 12 && is_hex(bare) => format!("ID{end}"),
        _ if bare.strip_prefix("sha256:").is_some_and(is_hex) => format!("DIGEST{end}"),
        _ if is_number(bare) || bare.strip_suffix('s').is_some_and(is_number) => format!("TIME{end}"),
        _ if has_digit
            && ["B", "kB"].iter().any(|unit| bare.strip_suffix(unit).is_some_and(|it| it.parse::<f64>().is_ok())) =>
        {
            format!("SIZE{end}")
        }
        _ => word.to_owned(),
    }
}

/// Builds a folder of the goldens over the API.
async fn records(yard: &Yard, folder: &Path, version: &str) -> Vec<BuildRecord> {
    let docker = Docker::connect_with_unix(yard.socket().to_str().unwrap()).unwrap();
    let mut call = BuildCall::default();
    let name = folder.file_name().unwrap().to_str().unwrap();
    call.add("version", version).add("t", name).add("rm", "1").json("buildargs", &HashMap::from([("unused", "1")]));
    call.context(folder_body(folder, WholeFolder));
    let all = docker.build(call).map(Result::unwrap).collect();
    tokio::time::timeout(PATIENCE, all).await.expect("the build ends")
}

/// The classic text of records, as the golden files have it.
fn classic_text(records: &[BuildRecord]) -> String {
    let text = records.iter().map(|record| match (&record.stream, &record.error_detail) {
        (Some(text), _) => text.clone(),
        (None, Some(detail)) => {
            let code = detail.code.map_or("-".to_owned(), |code| code.to_string());
            format!("error {code}: {}\n", detail.message.as_deref().unwrap_or_default())
        }
        (None, None) => String::new(),
    });
    // Why a step is done again is told by us alone.
    let text: String = text.filter(|text| !text.starts_with(" ---> Cache miss: ")).collect();
    normal(&text)
}

/// dockerd's text without the containers it makes for instructions that run nothing; we make none.
fn without_idle_containers(text: &str) -> String {
    let mut runs = false;
    let kept = text.split_inclusive('\n').filter(|line| {
        if let Some((_, instruction)) = line.strip_prefix("Step ").and_then(|rest| rest.split_once(" : ")) {
            runs = instruction.starts_with("RUN");
        }
        runs |= line.starts_with("# Executing");
        let is_container = line.starts_with(" ---> Running in") || line.starts_with("Removing intermediate");
        runs || !is_container
    });
    kept.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_classic_text_is_dockerds() {
    let yard = yard().await;
    for (case, file) in [
        ("stages", "classic.txt"),
        ("stages", "classic-again.txt"),
        ("failing", "classic.txt"),
        ("missing", "classic.txt"),
        ("settings", "classic.txt"),
        ("triggers", "classic.txt"),
    ] {
        let told = classic_text(&records(&yard, &golden(case), "1").await);
        let dockerds = fs::read_to_string(golden(case).join(file)).unwrap();
        let expected = without_idle_containers(&dockerds);
        assert!(told == expected, "{case}/{file}:\n--- dockerd\n{expected}\n--- told\n{told}");
    }
    yard.leaves_nothing_behind().await;
}

/// What a trace says of each step, in the order steps were first told: name, how it went, its parts and its output.
fn trace_text(records: &[BuildRecord]) -> String {
    let mut told: Vec<(String, String)> = Vec::new();
    let mut names = HashMap::new();
    let mut end = String::new();
    let mut say = |digest: &str, line: String| match told.iter_mut().find(|(known, _)| known == digest) {
        Some((_, lines)) => lines.push_str(&line),
        None => told.push((digest.to_owned(), line)),
    };
    for record in records {
        match (record.id.as_deref(), &record.aux) {
            (Some(TRACE_ID), Some(Value::String(aux))) => {
                let update = decode_aux(aux).unwrap();
                for vertex in update.vertexes {
                    let state = match (&vertex.started, &vertex.completed) {
                        (None, _) => "waits",
                        (Some(_), None) => "begins",
                        (Some(_), Some(_)) if vertex.cached => "cached",
                        (Some(_), Some(_)) => "ends",
                    };
                    let lines = vertex.lines.map(|it| format!(" (lines {}-{})", it.first, it.last)).unwrap_or_default();
                    let inputs: Vec<&str> =
                        vertex.inputs.iter().filter_map(|it| names.get(it).map(String::as_str)).collect();
                    let inputs =
                        if inputs.is_empty() { String::new() } else { format!(" after {}", inputs.join(", ")) };
                    let error = if vertex.error.is_empty() { String::new() } else { format!(": {}", vertex.error) };
                    let line = match names.insert(vertex.digest.clone(), vertex.name.clone()) {
                        None => format!("{}{lines}{inputs}\n  {state}{error}\n", vertex.name),
                        Some(_) => format!("  {state}{error}\n"),
                    };
                    say(&vertex.digest, line);
                }
                for status in update.statuses {
                    say(&status.vertex, format!("  part: {}\n", status.name));
                }
                for log in update.logs {
                    say(&log.vertex, format!("  {}> {}\n", log.stream, String::from_utf8_lossy(&log.msg).trim_end()));
                }
                for warning in update.warnings {
                    say(&warning.vertex, format!("  warning {}: {} {}\n", warning.level, warning.short, warning.url));
                }
            }
            (id, Some(aux)) => end.push_str(&format!("{} {aux}\n", id.unwrap_or("-"))),
            (_, None) => end.push_str(&format!("error {}\n", record.failure().unwrap_or("none"))),
        }
    }
    let mut text: String = told.into_iter().map(|(_, lines)| lines).collect();
    text.push_str(&end);
    // Digests in JSON stand in quotes, which are no white space.
    normal(&text.replace('"', " \" ")).replace(" \" ", "\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_is_buildkits() {
    let yard = yard().await;
    for (case, file) in [("linear", "trace.txt"), ("linear", "trace-again.txt"), ("failing", "trace.txt")] {
        let mut told = trace_text(&records(&yard, &golden(case), "2").await);
        if let Some(at) = told.find("boxyard/boxyard/") {
            told.replace_range(at + 16..at + 16 + 12, "REF");
        }
        if let (Some(from), Some(to)) = (told.find("\"image.name\":\""), told.find(&format!("/{case}:latest\""))) {
            told.replace_range(from + 14..to, "REGISTRY");
        }
        compare(&format!("{case}/{file}"), &told);
    }
    yard.leaves_nothing_behind().await;
}

fn run(yard: &Yard, folder: &Path, words: &[&str]) -> Output {
    let all: Vec<&str> = ["build"].into_iter().chain(words.iter().copied()).chain([folder.to_str().unwrap()]).collect();
    yard.cli(&all)
}

/// Builds and gives what was said on standard error.
fn says(yard: &Yard, folder: &Path, words: &[&str]) -> String {
    let output = run(yard, folder, words);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words:?}: {said}");
    said
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_progress_reads_like_buildx() {
    let yard = yard().await;
    compare("linear/plain.txt", &normal(&says(&yard, &golden("linear"), &["--progress=plain"])));
    compare("linear/plain-again.txt", &normal(&says(&yard, &golden("linear"), &[])));
    let failing = run(&yard, &golden("failing"), &[]);
    assert_eq!((failing.status.code(), failing.stdout.as_slice()), (Some(1), &b""[..]));
    compare("failing/plain.txt", &normal(&String::from_utf8(failing.stderr).unwrap()));
    let unparsable = run(&yard, folder_with(&[("Dockerfile", "FROM base\n\nRUNN x\nCMD y\n")]).path(), &[]);
    let said = String::from_utf8(unparsable.stderr).unwrap();
    let end = "Dockerfile:3\n--------------------\n   1 |     FROM base\n   2 |\n   3 | >>> RUNN x\n   4 |     CMD y\n--------------------\n\
        ERROR: dockerfile parse error on line 3: unknown instruction: RUNN (did you mean RUN?)\n";
    assert!(said.ends_with(end), "{said}");
    let terminal = run(&yard, &golden("linear"), &["--progress=tty"]);
    assert!(!terminal.status.success(), "there is no terminal");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_json_is_a_solve_status_a_line() {
    let yard = yard().await;
    let said = says(&yard, &golden("linear"), &["--progress=rawjson"]);
    let updates: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of =
        |list: &str| updates.iter().flat_map(|it| it[list].as_array().cloned().unwrap_or_default()).collect::<Vec<_>>();
    let run = of("vertexes").into_iter().rfind(|it| it["name"] == "[3/4] RUN echo working").unwrap();
    let log = of("logs").into_iter().find(|it| it["vertex"] == run["digest"]).unwrap();
    assert_eq!((&log["stream"], &log["data"]), (&json!(1), &json!("d29ya2luZwo=")));
    assert!(run["started"].is_string() && run["completed"].is_string() && run["cached"].is_null(), "{run}");
    let warning = of("warnings").remove(0);
    assert_eq!(warning["url"], "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/");
    assert_eq!(warning["range"][0]["start"]["line"], 2);
    let quiet = yard.cli(&["build", "-q", golden("linear").to_str().unwrap()]);
    let (id, said) = (String::from_utf8(quiet.stdout).unwrap(), quiet.stderr);
    assert!(id.starts_with("sha256:") && id.trim().len() == 71 && said.is_empty(), "{id}");
    yard.leaves_nothing_behind().await;
}

/// The blob of an archive, as JSON, that is so.
fn blob_of(archive: &Path, is_so: impl Fn(&Value) -> bool) -> Value {
    let bytes = fs::read(archive).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let blobs = archive.entries().unwrap().filter_map(|entry| serde_json::from_reader(entry.unwrap()).ok());
    blobs.into_iter().find(is_so).expect("a blob that is so")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_goes_where_it_is_asked() {
    let yard = yard().await;
    let files = folder_with(&[(
        "Dockerfile",
        "FROM base AS make\nRUN mkdir /out && echo made > /out/file\nFROM scratch\nCOPY --from=make /out /\n",
    )]);
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(home.path().join("there")).unwrap();
    fs::write(home.path().join("there/mine"), "kept").unwrap();
    let (tar, oci) = (format!("type=tar,dest={}", path("x.tar")), format!("type=oci,dest={}", path("oci.tar")));
    let metadata = path("metadata.json");
    let words = ["-t", "made:1", "-o", &path("there"), "-o", &tar, "-o", &oci, "--metadata-file", &metadata];
    says(&yard, files.path(), &[&words[..], &["--annotation", "org.example.a=b"]].concat());
    assert_eq!(fs::read_to_string(home.path().join("there/file")).unwrap(), "made\n");
    assert_eq!(fs::read_to_string(home.path().join("there/mine")).unwrap(), "kept");
    let names = |file: &str| {
        let bytes = fs::read(home.path().join(file)).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names = archive.entries().unwrap().map(|it| it.unwrap().path().unwrap().display().to_string());
        names.collect::<Vec<_>>()
    };
    assert!(names("x.tar").contains(&"file".to_owned()), "{:?}", names("x.tar"));
    assert!(
        names("oci.tar").contains(&"index.json".to_owned()) && !names("oci.tar").contains(&"manifest.json".to_owned())
    );
    let metadata: Value = serde_json::from_str(&fs::read_to_string(metadata).unwrap()).unwrap();
    assert!(metadata["image.name"].as_str().unwrap().ends_with("made:1"), "{metadata}");
    assert_ne!(metadata["containerimage.digest"], metadata["containerimage.config.digest"]);
    let shown = yard.cli(&["builds", "show", metadata["buildx.build.ref"].as_str().unwrap()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("COPY --from=make /out /"), "{shown:?}");
    // Nothing was said of an image here.
    assert!(!yard.cli(&["inspect", "made:1"]).status.success());

    let iid = path("iid");
    says(&yard, files.path(), &["-t", "made:1", "--iidfile", &iid, "--metadata-file", &path("metadata.json")]);
    let id = fs::read_to_string(&iid).unwrap();
    assert_eq!(id, metadata["containerimage.config.digest"], "the same image, as an archive and here");
    let archive = format!("type=docker,dest={}", path("docker.tar"));
    says(&yard, files.path(), &["-t", "made:2", "-o", &archive]);
    let loaded = yard.cli(&["load", "-i", &path("docker.tar")]);
    assert_eq!(String::from_utf8_lossy(&loaded.stdout), "Loaded image: made:2\n");

    for (compression, kind) in [("gzip", "tar+gzip"), ("zstd", "tar+zstd"), ("uncompressed", "tar")] {
        let (file, name) = (format!("{compression}.tar"), format!("packed:{compression}"));
        let output = format!("type=docker,compression={compression},dest={}", path(&file));
        says(&yard, files.path(), &["-t", &name, "-o", &output]);
        let manifest = blob_of(&home.path().join(&file), |blob| blob["layers"][0]["mediaType"].is_string());
        let expected = format!("application/vnd.oci.image.layer.v1.{kind}");
        assert_eq!(manifest["layers"][0]["mediaType"], expected.as_str(), "{compression}");
        let loaded = yard.cli(&["load", "-i", &path(&file)]);
        assert_eq!(String::from_utf8_lossy(&loaded.stdout), format!("Loaded image: {name}\n"));
    }

    let piped = run(&yard, files.path(), &["-o", "-"]);
    assert!(piped.status.success() && tar::Archive::new(piped.stdout.as_slice()).entries().unwrap().count() >= 1);
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_leaves_the_destination_alone() {
    let yard = yard().await;
    let files = folder_with(&[("Dockerfile", "FROM base\nRUN false\n")]);
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (tar, metadata, iid) = (format!("type=tar,dest={}", path("x.tar")), path("metadata.json"), path("iid"));
    fs::write(&iid, "an earlier build's").unwrap();
    let words = ["-o", &path("there"), "-o", &tar, "--load", "--metadata-file", &metadata, "--iidfile", &iid];
    assert_eq!(run(&yard, files.path(), &words).status.code(), Some(1));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is there, not even the old ID");
    for (words, expected) in [
        (&["-o", "type=pigeon,dest=/tmp/x"][..], "output type \"pigeon\" is not supported"),
        (&["-o", "type=oci,compression=estargz,dest=/tmp/x"], "output type oci: compression=estargz (gzip, zstd and"),
        (&["-o", "/nowhere/at/all/x", "--iidfile", &iid], "--iidfile: no image comes of this --output"),
        (&["--squash"], "--squash is not supported"),
        (&["--annotation", "a=b"], "--annotation needs a manifest"),
    ] {
        let refused = run(&yard, files.path(), words);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(expected), "{words:?}: {said}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_goes_to_a_folder_beside_the_result_and_comes_back() {
    let yard = yard().await;
    let files = folder_with(&[("Dockerfile", "FROM base\nRUN cat /proc/uptime > /when\n")]);
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (to, from) = (format!("type=local,dest={}", path("cache")), format!("type=local,src={}", path("cache")));
    let told = says(&yard, files.path(), &["-o", &path("one"), "--cache-to", &to]);
    assert!(!told.contains("warning"), "{told}");
    assert!(yard.cli(&["builder", "prune", "--all", "--force"]).status.success());
    let told = says(&yard, files.path(), &["-o", &path("two"), "--cache-from", &from]);
    assert!(told.contains(" CACHED\n") && !told.contains("warning"), "{told}");
    let when = |name: &str| fs::read_to_string(home.path().join(name).join("when")).unwrap();
    assert_eq!(when("one"), when("two"));
    yard.leaves_nothing_behind().await;
}

/// Runs the verb with this on its standard input.
fn fed(yard: &Yard, words: &[&str], input: &[u8]) -> Output {
    let mut command = yard.command();
    let command = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_comes_from_anywhere() {
    let yard = yard().await;
    let succeeds = |output: Output, text: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(text), "{said}");
    };
    let text = "FROM base\nRUN echo from standard input\n";
    succeeds(fed(&yard, &["build", "-"], text.as_bytes()), "from standard input\n");

    let files =
        folder_with(&[("data", "content\n"), ("sub/Dockerfile.two", "FROM base\nCOPY data /\nRUN cat /data\n")]);
    let folder = files.path().to_str().unwrap();
    let text = "FROM base\nCOPY . /all\nRUN cat /all/data && ! cat /all/.dockerfile*\n";
    succeeds(fed(&yard, &["build", "-f", "-", folder], text.as_bytes()), "content\n");
    let inside = format!("{folder}/sub/Dockerfile.two");
    succeeds(run(&yard, files.path(), &["-f", &inside]), "content\n");
    let elsewhere = folder_with(&[("D", text)]);
    let outside = elsewhere.path().join("D");
    succeeds(run(&yard, files.path(), &["-f", outside.to_str().unwrap(), "--no-cache"]), "content\n");

    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", files.path()).unwrap();
    let tar = tar.into_inner().unwrap();
    succeeds(fed(&yard, &["build", "-f", "sub/Dockerfile.two", "--no-cache", "-"], &tar), "content\n");

    let refused = |output: Output, text: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(text), "{said}");
    };
    refused(fed(&yard, &["build", "-"], b""), "standard input is empty");
    refused(fed(&yard, &["build", "-f", "-", "-"], b""), "can't be both");
    refused(yard.cli(&["build", "/nowhere/at/all"]), "/nowhere/at/all");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_is_called_as_it_was_given() {
    let yard = yard().await;
    let text = "FROM base\nRUN exit 4\n";
    let folder = folder_with(&[]);
    let folder = folder.path().to_str().unwrap();
    let elsewhere = folder_with(&[("My.Dockerfile", text)]);
    let outside = elsewhere.path().join("My.Dockerfile");
    let outside = outside.to_str().unwrap();
    let says = |output: Output, name: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        let place = format!("\n{name}:2\n--------------------\n   1 |     FROM base\n   2 | >>> RUN exit 4\n");
        let loading = format!("load build definition from {name}\n");
        assert!(said.contains(&place) && said.contains(&loading) && !said.contains(".dockerfile."), "{said}");
    };
    says(fed(&yard, &["build", "-f", "-", folder], text.as_bytes()), "Dockerfile");
    says(fed(&yard, &["build", "-"], text.as_bytes()), "Dockerfile");
    let warned = fed(&yard, &["build", "--no-cache-filter=web", "--build-arg=GO=1", "-"], text.as_bytes());
    let warned = String::from_utf8(warned.stderr).unwrap();
    assert!(warned.contains("no stage is called web") && warned.contains("[GO] were not consumed"), "{warned}");
    says(yard.cli(&["build", "-f", outside, folder]), outside);
    let listed = ["builds", "builds show"].map(|verb| yard.cli(&verb.split(' ').collect::<Vec<_>>()).stdout).concat();
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains(outside) && !listed.contains(".dockerfile."), "{listed}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_build_ends_and_leaves_nothing() {
    let yard = yard().await;
    let files = folder_with(&[("Dockerfile", "FROM base\nRUN echo up; exec sleep 1000\n")]);
    let mut command = yard.command();
    let command = command.arg("build").arg(files.path()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.by_ref().map(Result::unwrap).any(|line| line.ends_with(" up")), "the step runs");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.ends_with(" CANCELED")), "{rest:?}");
    // The step is silent, so nothing but the closed connection tells the engine.
    let is_over = || fs::read_dir(yard.root().join("tmp")).unwrap().count() == 0;
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_over() {
        assert!(std::time::Instant::now() < deadline, "the build goes on");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_is_checked_and_nothing_is_built() {
    let yard = Yard::new();
    let check = |text: &str, words: &[&str]| {
        let output = run(&yard, folder_with(&[("Dockerfile", text)]).path(), words);
        let told = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), told, String::from_utf8(output.stderr).unwrap())
    };
    let (code, told, _) = check("FROM base:1 AS One\nCMD [\"x\"]\n", &["--check"]);
    let begin = "Check complete, 1 warning has been found!\n\nWARNING: StageNameCasing - https://";
    assert!(code == 1 && told.starts_with(begin), "{told}");
    let fine = "FROM base:1 AS one\nCMD [\"x\"]\n";
    assert_eq!(check(fine, &["--call", "check"]), (0, "Check complete, no warnings found.\n".into(), String::new()));
    assert_eq!(check(fine, &["--call", "targets"]).1, "TARGET          DESCRIPTION\none (default)\n");
    let json = |text: &str, method: &str| {
        let (code, told, said) = check(text, &["--call", &format!("{method},format=json")]);
        (code, serde_json::from_str::<Value>(&told).unwrap_or_else(|error| panic!("{error}: {told}{said}")))
    };
    let (code, targets) = json("# one is it\nFROM --platform=$BUILDPLATFORM base:1 AS one\n", "targets");
    let expected = json!({
        "name": "one", "default": true, "description": "is it", "base": "base:1", "platform": "$BUILDPLATFORM",
        "location": { "ranges": [{ "start": { "line": 2 }, "end": { "line": 2 } }] },
    });
    assert_eq!((code, &targets["targets"][0]), (0, &expected));
    let (code, found) = json("FROM base:1 AS One\nCMD [\"x\"]\n", "check");
    let found = (&found["warnings"][0]["ruleName"], &found["sources"][0]["filename"]);
    assert_eq!((code, found), (1, (&json!("StageNameCasing"), &json!("Dockerfile"))));
    assert_eq!(json("FROM base:1 AS One\nCMD [\"x\"]\n", "ignorestatus,check").0, 0);
    let (code, failed) = json("FROM base:1\nRUNN x\n", "check");
    let line = &failed["buildError"]["location"]["ranges"][0]["start"]["line"];
    assert_eq!((code, line), (1, &json!(2)), "{failed}");
    let text = "ARG V=1\nFROM base:$V\nRUN --mount=type=secret,id=s x\n";
    let (_, outline) = json(text, "outline");
    let (arguments, secrets) = (&outline["args"][0], &outline["secrets"][0]["name"]);
    assert_eq!((&arguments["name"], &arguments["value"], secrets), (&json!("V"), &json!("1"), &json!("s")));
    let told = fed(&yard, &["build", "--call", "outline", "--build-arg", "V=2", "-"], text.as_bytes());
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("BUILD ARG   VALUE   DESCRIPTION\nV           2\n"), "{told}");
    let (code, _, said) = check("FROM base:1\nRUNN x\n", &["--check"]);
    assert!(code == 1 && said.contains("   2 | >>> RUNN x"), "{said}");
    yard.leaves_nothing_behind().await;
}
