//! Stories of containers whose ids are not the host's (`--userns-remap`), told from inside, from outside and from disk.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::HostConfig;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CommitContainerOptionsBuilder, CreateContainerOptionsBuilder,
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::StreamExt;
use support::Yard;

const REMAP: [&str; 2] = ["--userns-remap", "300000+65536"];

async fn exec(yard: &Yard, container: &str, user: &str, script: &str) -> String {
    let docker = yard.docker();
    let options = CreateExecOptions {
        cmd: Some(vec!["sh", "-c", script]),
        user: Some(user),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    let exec = docker.create_exec(container, options).await.unwrap().id;
    let mut said = String::new();
    if let StartExecResults::Attached { mut output, .. } = docker.start_exec(&exec, None).await.unwrap() {
        while let Some(piece) = output.next().await {
            said.push_str(&piece.unwrap().to_string());
        }
    }
    said
}

fn with_binds(binds: &[&str]) -> HostConfig {
    HostConfig { binds: Some(binds.iter().map(|bind| (*bind).to_owned()).collect()), ..Default::default() }
}

/// An archive of one file that belongs to user 7 and group 8.
fn archive(name: &str, text: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_uid(7);
    header.set_gid(8);
    archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    archive.into_inner().unwrap()
}

#[tokio::test]
async fn root_inside_is_nobody_outside() {
    let yard = Yard::serving(&REMAP);
    let script = "cat /proc/self/uid_map /proc/self/gid_map; stat -c '%n %u:%g' / /etc/hosts /dev /dev/null /data; \
                  echo to-null > /dev/null; echo x > /made; echo x > /data/made; echo said > /dev/stdout; echo done; sleep 600";
    yard.run_with("web", script, with_binds(&["vol:/data"])).await;
    yard.log_until("web", "done").await;
    let log = yard.log("web").await;
    assert_eq!(log.matches("300000      65536").count(), 2, "{log}");
    for line in ["/ 0:0", "/etc/hosts 0:0", "/dev 0:0", "/dev/null 0:0", "/data 0:0", "said"] {
        assert!(log.lines().any(|said| said == line), "{line:?} in {log}");
    }

    let state = yard.docker().inspect_container("web", None).await.unwrap();
    let pid = state.state.unwrap().pid.unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t300000\t300000\t300000\t300000"), "{status}");
    for namespace in ["user", "pid", "mnt", "net", "ipc", "uts"] {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).unwrap();
        assert_ne!(of("self"), of(&pid.to_string()), "{namespace}");
    }
    // on the disk everything has the container's ids
    let id = state.id.unwrap();
    let upper = yard.root().join("containers").join(id).join("upper");
    let volume = yard.root().join("volumes/vol/_data");
    for file in [upper.join("made"), volume.join("made")] {
        let found = fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.gid()), (0, 0), "{}", file.display());
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn exec_and_copies_have_the_containers_ids() {
    let yard = Yard::serving(&REMAP);
    yard.run("web", "echo ready; sleep 600").await;
    yard.log_until("web", "ready").await;
    let docker = yard.docker();

    let said = exec(&yard, "web", "0", "id; cat /proc/self/uid_map; echo again > /dev/stderr").await;
    assert!(said.starts_with("uid=0") && said.contains("300000") && said.contains("again"), "{said}");
    assert!(exec(&yard, "web", "1000:1000", "id; echo again > /dev/stdout").await.contains("uid=1000 gid=1000"));
    let refused = exec(&yard, "web", "0", "echo x > /proc/sys/kernel/hostname").await;
    assert!(refused.contains("ead-only") || refused.contains("denied"), "{refused}");

    let into = UploadToContainerOptionsBuilder::default().path("/").build();
    docker.upload_to_container("web", Some(into), bollard::body_full(archive("gift", "hello").into())).await.unwrap();
    assert_eq!(exec(&yard, "web", "0", "stat -c %u:%g /gift").await, "7:8\n");
    assert_eq!(owner_in_archive(&yard, "web", "/gift").await, (7, 8));
    docker.stop_container("web", None).await.unwrap();
    assert_eq!(owner_in_archive(&yard, "web", "/gift").await, (7, 8));
    yard.leaves_nothing_behind().await;
}

async fn owner_in_archive(yard: &Yard, container: &str, path: &str) -> (u64, u64) {
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let docker = yard.docker();
    let pieces: Vec<Bytes> =
        docker.download_from_container(container, Some(options)).map(|piece| piece.unwrap()).collect().await;
    let mut archive = tar::Archive::new(Cursor::new(pieces.concat()));
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    (entry.header().uid().unwrap(), entry.header().gid().unwrap())
}

#[tokio::test]
async fn commits_and_builds_keep_the_containers_ids() {
    let yard = Yard::serving(&REMAP);
    yard.run("maker", "echo x > /made").await;
    assert_eq!(yard.exit_code("maker").await, 0);
    let docker = yard.docker();
    let into = UploadToContainerOptionsBuilder::default().path("/").build();
    docker.upload_to_container("maker", Some(into), bollard::body_full(archive("gift", "hello").into())).await.unwrap();
    let options = CommitContainerOptionsBuilder::default().container("maker").repo("made").build();
    docker.commit_container(options, bollard::models::ContainerConfig::default()).await.unwrap();

    let dockerfile = "FROM made\nRUN cat /proc/self/uid_map > /map && stat -c %u:%g / /gift > /owners\n";
    let options = BuildImageOptionsBuilder::default().t("built").build();
    let context = bollard::body_full(archive("Dockerfile", dockerfile).into());
    let steps: Vec<_> = docker.build_image(options, None, Some(context)).collect().await;
    assert!(steps.iter().all(Result::is_ok), "{steps:?}");

    let config = bollard::models::ContainerCreateBody {
        image: Some("built".to_owned()),
        cmd: Some(["sh", "-c", "cat /map /owners; stat -c %u:%g /made /gift /map"].map(str::to_owned).to_vec()),
        ..Default::default()
    };
    let name = CreateContainerOptionsBuilder::default().name("reader").build();
    docker.create_container(Some(name), config).await.unwrap();
    docker.start_container("reader", None).await.unwrap();
    assert_eq!(yard.exit_code("reader").await, 0);
    let log = yard.log("reader").await;
    assert!(log.contains("300000"), "{log}");
    assert!(log.ends_with("0:0\n7:8\n0:0\n7:8\n0:0\n"), "{log}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn what_needs_the_hosts_namespaces_is_refused_in_dockers_words() {
    let yard = Yard::serving(&REMAP);
    let info = yard.docker().info().await.unwrap();
    assert!(info.security_options.unwrap().contains(&"name=userns".to_owned()));
    let refusals = [
        (HostConfig { privileged: Some(true), ..Default::default() }, "privileged mode is incompatible"),
        (HostConfig { network_mode: Some("host".into()), ..Default::default() }, "share the host's network namespace"),
        (HostConfig { pid_mode: Some("host".into()), ..Default::default() }, "share the host PID namespace"),
    ];
    let image = yard.host_image().await;
    for (host_config, words) in refusals {
        let config = bollard::models::ContainerCreateBody {
            image: Some(image.clone()),
            host_config: Some(host_config),
            ..Default::default()
        };
        let none: Option<bollard::query_parameters::CreateContainerOptions> = None;
        let refused = yard.docker().create_container(none, config).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    let host_config = HostConfig { userns_mode: Some("host".into()), privileged: Some(true), ..Default::default() };
    yard.run_with("host", "cat /proc/self/uid_map", host_config).await;
    assert_eq!(yard.exit_code("host").await, 0);
    assert!(yard.log("host").await.contains("4294967295"));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn one_state_root_serves_with_and_without() {
    let mut yard = Yard::new();
    let script = "cat /proc/self/uid_map; stat -c %u:%g / /data /data/made /made; echo x > /made; echo x > /data/made";
    yard.run_with("web", script, with_binds(&["vol:/data"])).await;
    yard.exit_code("web").await;
    for serve in [&REMAP[..], &[]] {
        yard.serve_with(serve);
        yard.docker().start_container("web", None).await.unwrap();
        assert_eq!(yard.exit_code("web").await, 0);
        let log = yard.log("web").await;
        assert!(log.ends_with("0:0\n0:0\n0:0\n0:0\n"), "{log}");
    }
    assert!(yard.log("web").await.contains("300000"));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn namespaces_of_another_container_come_with_its_users() {
    let yard = Yard::serving(&REMAP);
    yard.run("first", "echo ready; sleep 600").await;
    yard.log_until("first", "ready").await;
    let of = |host_config| ("cat /proc/self/uid_map; ls /proc/self/ns >/dev/null && echo fine", host_config);
    let shared = |field: &str| {
        let mode = Some("container:first".to_owned());
        match field {
            "net" => HostConfig { network_mode: mode, ..Default::default() },
            "pid" => HostConfig { pid_mode: mode, ..Default::default() },
            _ => HostConfig { ipc_mode: mode, ..Default::default() },
        }
    };
    for field in ["net", "pid", "ipc"] {
        let (script, host_config) = of(shared(field));
        yard.run_with(field, script, host_config).await;
        assert_eq!(yard.exit_code(field).await, 0, "{field}");
        assert!(yard.log(field).await.contains("fine"), "{field}");
    }
    for (name, mode) in [("off", "none"), ("on", "bridge")] {
        let host_config = HostConfig { network_mode: Some(mode.to_owned()), ..Default::default() };
        yard.run_with(name, "ls /sys/class/net", host_config).await;
        assert_eq!(yard.exit_code(name).await, 0);
        assert_eq!(yard.log(name).await.contains("eth0"), mode == "bridge");
    }
    yard.leaves_nothing_behind().await;
}
