//! What an attacker holds: an image of his own making, and a shell or perl in a container of it.

use std::path::Path;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{CreateContainerOptionsBuilder, CreateImageOptionsBuilder};
use futures_util::StreamExt;
use tar::{EntryType, Header};

use crate::support::{PATIENCE, Yard};

const PROGRAMS: [&str; 30] = [
    "cat", "chmod", "chroot", "cp", "cut", "dd", "echo", "env", "grep", "head", "id", "kill", "ln", "ls", "mkdir",
    "mknod", "mount", "ps", "pwd", "readlink", "rm", "sh", "sleep", "stat", "test", "touch", "true", "umount",
    "unshare", "wc",
];

/// An image made of busybox and of whatever the attacker adds.
pub struct Image {
    tar: tar::Builder<Vec<u8>>,
}

impl Image {
    /// busybox, a `passwd` and a `group` file.
    pub fn new() -> Self {
        Self::bare()
            .file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n", 0o644)
            .file("etc/group", b"root:x:0:\napp:x:1000:\n", 0o644)
    }

    /// busybox alone.
    pub fn bare() -> Self {
        let places = ["/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"];
        let busybox = places.iter().find(|path| Path::new(path).exists()).expect("a static busybox");
        let image = Self { tar: tar::Builder::new(Vec::new()) };
        let image = image.directory("bin").directory("etc").directory("tmp");
        let image = image.file("bin/busybox", &std::fs::read(busybox).unwrap(), 0o755);
        PROGRAMS.iter().fold(image, |image, program| image.link(&format!("bin/{program}"), "busybox"))
    }

    fn entry(mut self, kind: EntryType, path: &str, mode: u32, fill: impl FnOnce(&mut Header), bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        fill(&mut header);
        self.tar.append_data(&mut header, path, bytes).unwrap();
        self
    }

    pub fn directory(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, 0o755, |_| {}, b"")
    }

    pub fn file(self, path: &str, bytes: &[u8], mode: u32) -> Self {
        self.entry(EntryType::Regular, path, mode, |_| {}, bytes)
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        let mut tar = self.tar;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, path, target).unwrap();
        Self { tar }
    }

    pub fn pipe(self, path: &str) -> Self {
        self.entry(EntryType::Fifo, path, 0o644, |_| {}, b"")
    }

    pub fn device(self, path: &str, major: u32, minor: u32) -> Self {
        let number = |header: &mut Header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        };
        self.entry(EntryType::Char, path, 0o666, number, b"")
    }

    /// Hands it to the engine as `name:latest`.
    pub async fn import(self, yard: &Yard, name: &str) -> String {
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(name).tag("latest").build();
        let body = bollard::body_full(self.tar.into_inner().unwrap().into());
        let docker = yard.docker();
        let mut answers = docker.create_image(Some(options), Some(body), None);
        while let Some(answer) = answers.next().await {
            answer.expect("the image is taken");
        }
        format!("{name}:latest")
    }
}

/// What came of a program: its code and all it wrote.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub code: i64,
    pub output: String,
}

/// A container config that runs `script` in a shell.
pub fn shell(image: &str, script: &str) -> ContainerCreateBody {
    program(image, &["/bin/sh", "-c", script])
}

/// A container config that runs `command`, without a network.
pub fn program(image: &str, command: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        host_config: Some(offline()),
        ..Default::default()
    }
}

pub fn offline() -> HostConfig {
    HostConfig { network_mode: Some("none".to_owned()), ..HostConfig::default() }
}

pub fn privileged() -> HostConfig {
    HostConfig { privileged: Some(true), ..offline() }
}

/// A named volume at `target`.
pub fn volume(name: &str, target: &str) -> HostConfig {
    let mount = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.to_owned()),
        target: Some(target.to_owned()),
        ..Mount::default()
    };
    HostConfig { mounts: Some(vec![mount]), ..offline() }
}

/// Creates and starts it, or gives the engine's words of refusal.
pub async fn start(yard: &Yard, name: &str, config: ContainerCreateBody) -> Result<(), String> {
    let docker = yard.docker();
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let started = async {
        docker.create_container(Some(options), config).await?;
        docker.start_container(name, None).await
    };
    match tokio::time::timeout(PATIENCE, started).await.expect("an answer in time") {
        Ok(()) => Ok(()),
        Err(bollard::errors::Error::DockerResponseServerError { message, .. }) => Err(message),
        Err(error) => panic!("{error}"),
    }
}

/// The same, to its end.
pub async fn run(yard: &Yard, name: &str, config: ContainerCreateBody) -> Result<Outcome, String> {
    start(yard, name, config).await?;
    Ok(Outcome { code: yard.exit_code(name).await, output: yard.log(name).await })
}

/// Runs `script` in a usual container of `image` and compares all that it wrote.
#[track_caller]
pub fn said(outcome: Result<Outcome, String>, expected: &str) {
    assert_eq!(outcome.expect("it runs").output.trim_end(), expected);
}

/// Runs a program beside a container's first one.
pub async fn exec(yard: &Yard, name: &str, options: CreateExecOptions<&str>) -> Result<Outcome, String> {
    let docker = yard.docker();
    let options = CreateExecOptions { attach_stdout: Some(true), attach_stderr: Some(true), ..options };
    let run = async {
        let id = docker.create_exec(name, options).await?.id;
        let mut text = String::new();
        if let StartExecResults::Attached { mut output, .. } = docker.start_exec(&id, None).await? {
            while let Some(piece) = output.next().await {
                text.push_str(&piece?.to_string());
            }
        }
        let code = docker.inspect_exec(&id).await?.exit_code.unwrap_or(-1);
        Ok(Outcome { code, output: text })
    };
    match tokio::time::timeout(PATIENCE, run).await.expect("an answer in time") {
        Ok(outcome) => Ok(outcome),
        Err(bollard::errors::Error::DockerResponseServerError { message, .. }) => Err(message),
        Err(error) => panic!("{error}"),
    }
}

/// Runs a shell script beside a container's first program.
pub async fn exec_shell(yard: &Yard, name: &str, script: &str) -> Outcome {
    let options = CreateExecOptions { cmd: Some(vec!["/bin/sh", "-c", script]), ..Default::default() };
    exec(yard, name, options).await.expect("it runs")
}
