//! Dockerfiles as they are written in the wild, one a folder below `tests/dockerfiles/`: all of them are built by
//! `boxyard build` and told as a whole (configuration, history, files, how the image runs) in the folder's `expected`.
//!
//! A folder holds `context/` with the Dockerfile, and `flags` where the build needs some; `bases/` makes the images that
//! they are FROM, of this machine's own programs and of stand-ins for npm, go, pip and the like. After a change that is
//! meant, `BOXYARD_WRITE_EXPECTED=1 cargo test --test dockerfiles` writes the tellings anew, to be read before they are
//! kept; `BOXYARD_DOCKERFILES=redis,rails` takes only these.
//! `tests/conformance/dockerfiles.sh` compares the same builds with dockerd's.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by its panic

mod support;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use bollard::models::{ContainerCreateBody, ImageConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use support::Yard;

/// What the images are made of: programs that every host has.
const PROGRAMS: [&str; 44] = [
    "sh", "bash", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dirname", "echo", "env", "false", "find",
    "grep", "head", "id", "install", "ln", "ls", "mkdir", "mkfifo", "mktemp", "mv", "readlink", "rm", "rmdir", "sed",
    "sleep", "sort", "stat", "tail", "tar", "tee", "test", "touch", "tr", "true", "uname", "uniq", "wc", "which",
    "xargs", "gzip",
];

/// The fewest that are to be there.
const LEAST: usize = 30;

#[tokio::test]
async fn dockerfiles_from_the_wild_become_what_they_say() {
    let yard = Yard::new();
    let folder = Folder::copied();
    yard.image_of_programs("host:latest", &PROGRAMS).await;
    let bases = Bases::build(&yard, &folder).await;
    let asked = std::env::var("BOXYARD_DOCKERFILES").ok();
    let mut wrong = Vec::new();
    let names = folder.names();
    assert!(names.len() >= LEAST, "{names:?}");
    let is_asked = |name: &&String| match &asked {
        Some(asked) => asked.split(',').any(|one| one == *name),
        None => true,
    };
    for name in names.iter().filter(is_asked) {
        let told = match build(&yard, &folder, name) {
            Ok(()) => tell(&yard, &bases, name).await,
            Err(said) => format!("it does not build:\n{said}"),
        };
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfiles").join(name).join("expected");
        let expected = fs::read_to_string(&place).unwrap_or_default();
        if told == expected {
            continue;
        }
        if std::env::var_os("BOXYARD_WRITE_EXPECTED").is_some() && !told.starts_with("it does not build") {
            fs::write(place, &told).unwrap();
        } else {
            wrong.push(format!("=== {name}\n{}", difference(&expected, &told)));
        }
    }
    yard.leaves_nothing_behind().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `tests/dockerfiles`, copied with the modes that git keeps, whatever the checkout's umask was.
struct Folder(tempfile::TempDir);

impl Folder {
    fn copied() -> Self {
        let copy = tempfile::Builder::new().prefix("dockerfiles-").tempdir_in("/tmp").unwrap();
        copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfiles"), copy.path());
        Self(copy)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "bases");
        names.sort();
        names
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            fs::create_dir(&to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
            copy_tree(&from, &to);
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else {
            fs::copy(&from, &to).unwrap();
            let is_program = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            fs::set_permissions(&to, fs::Permissions::from_mode(if is_program { 0o755 } else { 0o644 })).unwrap();
        }
    }
}

/// Runs `boxyard build`, its steps without a network, in a folder.
fn boxyard_build(yard: &Yard, folder: &Path, words: &[&str], agent: Option<&Path>) -> Result<(), String> {
    let mut command = yard.command();
    command
        .current_dir(folder)
        .args(["build", "--network", "none", "--progress", "plain"])
        .args(words)
        .stdin(Stdio::null());
    if let Some(agent) = agent {
        command.env("SSH_AUTH_SOCK", agent);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if status.success() { Ok(()) } else { Err(said) }
}

fn build(yard: &Yard, folder: &Folder, name: &str) -> Result<(), String> {
    let place = folder.path(name);
    let flags = fs::read_to_string(place.join("flags")).unwrap_or_default();
    let tag = format!("wild/{name}");
    let words: Vec<&str> = ["-t", &tag].into_iter().chain(flags.split_whitespace()).chain(["."]).collect();
    // an agent that nobody talks to: it is there, and that is all the stand-in for git asks
    let socket = place.join("agent.sock");
    let _agent = UnixListener::bind(&socket).unwrap();
    boxyard_build(yard, &place.join("context"), &words, Some(&socket))
}

/// The images that the Dockerfiles are FROM.
struct Bases {
    /// What each file of theirs is, told without its content.
    files: HashSet<String>,
    histories: Vec<Vec<String>>,
}

impl Bases {
    async fn build(yard: &Yard, folder: &Folder) -> Self {
        let mut stages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let tags = fs::read_to_string(folder.path("bases/tags")).unwrap();
        for (stage, tag) in tags.lines().filter_map(|line| line.split_once(' ')) {
            stages.entry(stage.to_owned()).or_default().push(tag.to_owned());
        }
        let (mut files, mut histories) = (HashSet::new(), Vec::new());
        for (stage, tags) in stages {
            let named: Vec<&str> = tags.iter().flat_map(|tag| ["-t", tag.as_str()]).collect();
            let words: Vec<&str> = ["--target", &stage].into_iter().chain(named).chain(["."]).collect();
            if let Err(said) = boxyard_build(yard, &folder.path("bases"), &words, None) {
                panic!("base {stage}: {said}");
            }
            histories.push(history(yard, &tags[0]).await);
            files.extend(export(yard, &tags[0]).await.into_iter().map(|file| file.identity));
        }
        histories.sort_by_key(|history| std::cmp::Reverse(history.len()));
        Self { files, histories }
    }
}

/// The instructions that made an image, first to last; those without a layer in brackets.
async fn history(yard: &Yard, image: &str) -> Vec<String> {
    let mut entries = yard.docker().image_history(image).await.unwrap();
    entries.reverse();
    entries.into_iter().map(|entry| entry.created_by).collect()
}

/// All of an image, in text that is the same on every machine.
async fn tell(yard: &Yard, bases: &Bases, name: &str) -> String {
    let image = format!("wild/{name}");
    let mut text = String::new();
    let inspected = yard.docker().inspect_image(&image).await.unwrap();
    text.push_str("config\n");
    for line in config(inspected.config.unwrap_or_default()) {
        writeln!(text, "  {line}").unwrap();
    }
    text.push_str("history\n");
    let history = history(yard, &image).await;
    let known = bases.histories.iter().find(|base| history.starts_with(base)).map_or(0, Vec::len);
    for line in &history[known..] {
        writeln!(text, "  {}", line.replace('\n', "\\n")).unwrap();
    }
    text.push_str("files\n");
    for file in export(yard, &image).await.into_iter().filter(|file| !bases.files.contains(&file.identity)) {
        writeln!(text, "  {}", file.told).unwrap();
    }
    let ran = yard.cli(&["run", "--rm", "--network", "none", &image]);
    writeln!(text, "exit {}", ran.status.code().unwrap()).unwrap();
    for (stream, bytes) in [("out", &ran.stdout), ("err", &ran.stderr)] {
        for line in String::from_utf8_lossy(bytes).lines() {
            writeln!(text, "  {stream}: {}", line.trim_end()).unwrap();
        }
    }
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    text.replace(&format!("linux/{machine}"), "linux/MACHINE").replace(&format!("={machine}"), "=MACHINE")
}

/// A line for each field that says something, by name.
fn config(config: ImageConfig) -> Vec<String> {
    let serde_json::Value::Object(fields) = serde_json::to_value(config).unwrap() else { panic!("it has fields") };
    let sorted: BTreeMap<String, serde_json::Value> = fields.into_iter().collect();
    let says_nothing = |value: &serde_json::Value| match value {
        serde_json::Value::Null | serde_json::Value::Bool(false) => true,
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(items) => items.is_empty(),
        serde_json::Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    sorted
        .into_iter()
        .filter(|(_, value)| !says_nothing(value))
        .map(|(name, value)| format!("{name} {}", ordered(value)))
        .collect()
}

/// As JSON whose maps are sorted: an image's maps have no order.
fn ordered(value: serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(fields) => {
            let sorted: BTreeMap<String, serde_json::Value> = fields.into_iter().collect();
            serde_json::to_string(&sorted).unwrap()
        }
        other => other.to_string(),
    }
}

struct File {
    path: String,
    /// With its time: whether a base has the same.
    identity: String,
    told: String,
}

/// What only a container's making puts there.
const NOT_THE_IMAGES: [&str; 4] = [".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// The files of an image, by path.
async fn export(yard: &Yard, image: &str) -> Vec<File> {
    let docker = yard.docker();
    let options = CreateContainerOptionsBuilder::default().name("exported").build();
    let config =
        ContainerCreateBody { image: Some(image.to_owned()), cmd: Some(vec!["x".to_owned()]), ..Default::default() };
    docker.create_container(Some(options), config).await.unwrap();
    let mut archive = Vec::new();
    let mut pieces = docker.export_container("exported");
    while let Some(piece) = pieces.next().await {
        archive.extend_from_slice(&piece.unwrap());
    }
    drop(pieces);
    let volumes = bollard::query_parameters::RemoveContainerOptionsBuilder::default().v(true).build();
    docker.remove_container("exported", Some(volumes)).await.unwrap();
    let mut archive = tar::Archive::new(archive.as_slice());
    let mut files: Vec<File> = archive.entries().unwrap().map(|entry| file(entry.unwrap())).collect();
    files.retain(|file| !file.path.is_empty() && !NOT_THE_IMAGES.contains(&file.path.as_str()));
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn file(mut entry: tar::Entry<'_, &[u8]>) -> File {
    let path = entry.path().unwrap().to_string_lossy().trim_start_matches("./").trim_end_matches('/').to_owned();
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let header = entry.header();
    let kind = header.entry_type();
    let letter = match kind {
        tar::EntryType::Directory => 'd',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Link => 'h',
        tar::EntryType::Fifo => 'p',
        _ => '-',
    };
    let owner = format!("{}:{}", header.uid().unwrap(), header.gid().unwrap());
    let mode = if letter == 'l' { 0o777 } else { header.mode().unwrap() & 0o7777 };
    let link = entry.link_name().unwrap().map(|link| format!(" -> {}", link.display())).unwrap_or_default();
    let time = if letter == 'd' { 0 } else { header.mtime().unwrap() };
    let identity = format!("{letter}{mode:o} {owner} {} {path}{link} {time}", content.len());
    let digest = if letter == '-' {
        format!(" {} {}", content.len(), &hex::encode(Sha256::digest(&content))[..8])
    } else {
        String::new()
    };
    File { told: format!("{letter}{mode:04o} {owner} /{path}{link}{digest}"), path, identity }
}

/// The lines that are in one text only.
fn difference(expected: &str, told: &str) -> String {
    if told.starts_with("it does not build") || expected.is_empty() {
        return told.to_owned();
    }
    let (before, after): (HashSet<&str>, HashSet<&str>) = (expected.lines().collect(), told.lines().collect());
    let gone = expected.lines().filter(|line| !after.contains(line)).map(|line| format!("-{line}"));
    let new = told.lines().filter(|line| !before.contains(line)).map(|line| format!("+{line}"));
    gone.chain(new).collect::<Vec<_>>().join("\n")
}
