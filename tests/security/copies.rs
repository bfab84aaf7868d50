//! `docker cp` into and out of a container that does not want it to end well.

use std::io::{Read, Write};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use futures_util::StreamExt;

use crate::attack::{Image, program, run, shell, start};
use crate::images::{Outside, SECRET};
use crate::support::Yard;

fn archive(name: &str, text: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    tar.into_inner().unwrap()
}

async fn put(yard: &Yard, name: &str, path: &str, archive: Vec<u8>) -> Result<(), String> {
    let options = UploadToContainerOptionsBuilder::default().path(path).build();
    let docker = yard.docker();
    let sent = docker.upload_to_container(name, Some(options), bollard::body_full(archive.into()));
    tokio::time::timeout(crate::support::PATIENCE, sent).await.expect("an answer").map_err(|error| error.to_string())
}

/// All that `docker cp container:path -` gives, as text.
async fn get(yard: &Yard, name: &str, path: &str) -> String {
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let docker = yard.docker();
    let mut pieces = docker.download_from_container(name, Some(options));
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = tokio::time::timeout(crate::support::PATIENCE, pieces.next()).await.expect("an answer")
    {
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// CVE-2018-15664, CVE-2026-41568, CVE-2026-42306: the path is swapped between being looked at and being used.
#[tokio::test]
async fn a_path_that_is_swapped_meanwhile_never_leads_out() {
    let yard = Yard::new();
    let outside = Outside::new();
    let image = yard.image_of_programs("perl:latest", &["perl", "sh", "sleep", "mkdir"]).await;
    // renameat2 with RENAME_EXCHANGE: at every moment there is something under the name
    let swap = r#"my $out = shift; my ($one, $other) = ("/trap/a", "/trap/b"); mkdir "/trap"; mkdir $one;
        open F, ">", "$one/secret"; print F "own"; close F; symlink $out, $other; $| = 1; print "ready\n";
        while (1) { syscall(316, -100, $one, -100, $other, 2) == 0 or die "$!\n" }"#;
    let path = outside.path().display().to_string();
    start(&yard, "swapper", program(&image, &["perl", "-e", swap, &path])).await.unwrap();
    yard.log_until("swapper", "ready").await;
    let (mut taken, mut rounds) = (0, 0);
    // as long as it takes to have met both of them often
    while rounds < 120 || ((taken < 10 || rounds - taken < 10) && rounds < 3000) {
        for trap in ["/trap/a", "/trap/a/."] {
            let _ = put(&yard, "swapper", trap, archive(&format!("evil{rounds}"), "from the container")).await;
        }
        let text = get(&yard, "swapper", "/trap/a/secret").await;
        assert!(!text.contains(SECRET), "round {rounds} read the host's file");
        (taken, rounds) = (taken + usize::from(text.contains("own")), rounds + 1);
        assert!(!get(&yard, "swapper", "/trap/a/.").await.contains(SECRET), "round {rounds} read the host's folder");
        outside.is_untouched();
    }
    println!("{taken} of {rounds} rounds found the container's own file");
    assert!(taken > 0 && taken < rounds, "it was swapped: {}", yard.log("swapper").await);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn links_of_a_container_lead_nowhere_in_a_copy() {
    let yard = Yard::new();
    let outside = Outside::new();
    let path = outside.path().display().to_string();
    let image = outside.image_of_links().link("init", "/proc/1/root").link("cwd", "/proc/self/cwd");
    let image = image.import(&yard, "links").await;
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    run(&yard, "down", shell(&image, "true")).await.unwrap();
    for container in ["up", "down"] {
        for link in ["/out", "/climb", "/magic", "/init", "/cwd"] {
            let below = format!("{link}{}", if link.len() > 4 && link != "/climb" { path.as_str() } else { "" });
            let _ = put(&yard, container, &below, archive("evil", "x")).await;
            let _ = put(&yard, container, link, archive(&format!("{}/evil", path.trim_start_matches('/')), "x")).await;
            let text = get(&yard, container, &format!("{below}/secret")).await;
            assert!(!text.contains(SECRET), "{container}:{below}");
            outside.is_untouched();
        }
    }
    yard.leaves_nothing_behind().await;
}

/// What is unpacked brings links of its own along.
#[tokio::test]
async fn an_archive_cannot_write_through_its_own_links() {
    let yard = Yard::new();
    let outside = Outside::new();
    let image = Image::new().import(&yard, "usual").await;
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    run(&yard, "down", shell(&image, "true")).await.unwrap();
    let path = outside.path().display().to_string();
    let entry = |kind: tar::EntryType, link: Option<&str>, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_size(text.len() as u64);
        if let Some(link) = link {
            header.set_link_name_literal(link).unwrap();
        }
        header
    };
    let hostile = |name: &[u8], text: &str, links: &[(&str, tar::EntryType, &str)]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, target) in links {
            let mut header = entry(*kind, Some(target), "");
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, std::io::empty()).unwrap();
        }
        let mut header = entry(tar::EntryType::Regular, None, text);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
        tar.into_inner().unwrap()
    };
    let (symbolic, hard) = (tar::EntryType::Symlink, tar::EntryType::Link);
    let up = format!("../../../../../../..{path}/evil");
    for container in ["up", "down"] {
        for bytes in [
            hostile(b"link/evil", "x", &[("link", symbolic, &path)]),
            hostile(b"link/link2/evil", "x", &[("link", symbolic, "/"), ("link/link2", symbolic, &path)]),
            hostile(b"secret", "x", &[("secret", symbolic, &format!("{path}/secret"))]),
            hostile(b"hard", "x", &[("hard", hard, &format!("{path}/secret"))]),
            hostile(b"hard", "x", &[("hard", hard, &format!("../../../../..{path}/secret"))]),
            hostile(up.as_bytes(), "x", &[]),
            hostile(format!("{path}/evil").as_bytes(), "x", &[]),
        ] {
            let _ = put(&yard, container, "/tmp", bytes).await;
            outside.is_untouched();
        }
    }
    yard.leaves_nothing_behind().await;
}

/// CVE-2019-14271, CVE-2026-41567: programs and libraries of the container were loaded by the one who copies.
#[tokio::test]
async fn a_copy_runs_nothing_of_the_container() {
    let yard = Yard::new();
    let mut image = Image::new().directory("lib").directory("usr/bin").directory("sbin");
    for name in ["tar", "gzip", "unpigz", "pigz", "gunzip", "xz", "unxz", "zstd", "bzip2", "docker-untar"] {
        for folder in ["usr/bin", "sbin"] {
            image = image.file(&format!("{folder}/{name}"), b"#!/bin/sh\necho > /ran\ncat\n", 0o755);
        }
    }
    for library in ["lib/libnss_files.so.2", "lib/libc.so.6", "lib/ld-linux-x86-64.so.2"] {
        image = image.file(library, b"\x7fELF not really", 0o755);
    }
    let image = image.import(&yard, "trojans").await;
    start(&yard, "up", shell(&image, "sleep 600")).await.unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&archive("packed", "unpacked in the engine")).unwrap();
    put(&yard, "up", "/tmp", packed.finish().unwrap()).await.unwrap();
    assert!(get(&yard, "up", "/tmp/packed").await.contains("unpacked in the engine"));
    put(&yard, "up", "/tmp", archive("plain", "plain")).await.unwrap();
    let output = crate::attack::exec_shell(&yard, "up", "ls /ran 2>/dev/null; ls /tmp").await.output;
    assert_eq!(output, "packed\nplain\n");
    yard.leaves_nothing_behind().await;
}

/// Files that hold whoever opens them.
#[tokio::test]
async fn a_pipe_or_a_device_does_not_hold_a_copy() {
    let yard = Yard::new();
    let image = Image::new().directory("odd").pipe("odd/pipe").device("odd/zero", 1, 5).device("odd/mem", 1, 1);
    let image = image.import(&yard, "odd").await;
    let config = ContainerCreateBody { ..shell(&image, "sleep 600") };
    start(&yard, "up", config).await.unwrap();
    let bytes = get(&yard, "up", "/odd").await;
    let mut archive = tar::Archive::new(bytes.as_bytes());
    let mut names: Vec<String> = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(content.is_empty());
        names.push(entry.path().unwrap().display().to_string());
    }
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    yard.leaves_nothing_behind().await;
}
