//! `docker cp` by its endpoints: what a path is, archives out and in, links, volumes, what may not be written.

use std::os::unix::fs::symlink;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::api::{Answer, call, create, ended, exec, run, run_out, tools};
use crate::support::Yard;

fn stat(yard: &Yard, name: &str, path: &str) -> Result<Value, u16> {
    let answer = call(yard, "HEAD", &format!("/containers/{name}/archive?path={path}"), None);
    let Some(header) = answer.header("X-Docker-Container-Path-Stat") else { return Err(answer.status) };
    let bytes = base64::engine::general_purpose::STANDARD.decode(header).unwrap();
    Ok(serde_json::from_slice(&bytes).unwrap())
}

/// The archive of a path: names with their content or link target.
fn out(yard: &Yard, name: &str, path: &str) -> Result<Vec<(String, String)>, (u16, String)> {
    let answer = call(yard, "GET", &format!("/containers/{name}/archive?path={path}"), None);
    if answer.status != 200 {
        return Err(answer.refusal());
    }
    let mut found = Vec::new();
    for entry in tar::Archive::new(&*answer.body).entries().unwrap() {
        let mut entry = entry.unwrap();
        let content = if let Some(link) = entry.link_name().unwrap() {
            format!("-> {}", link.display())
        } else {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        found.push((String::from_utf8_lossy(&entry.path_bytes()).into_owned(), content));
    }
    found.sort();
    Ok(found)
}

fn archive(entries: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if content.is_some() { 0o640 } else { 0o755 });
        header.set_entry_type(if content.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        header.set_uid(1000);
        header.set_gid(100);
        header.set_mtime(978_307_200);
        let content = content.unwrap_or_default();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn put(yard: &Yard, name: &str, path: &str, archive: &[u8]) -> Answer {
    call(yard, "PUT", &format!("/containers/{name}/archive?path={path}"), Some(("application/x-tar", archive)))
}

fn refusal(yard: &Yard, name: &str, path: &str) -> (u16, String) {
    put(yard, name, path, &archive(&[("file", Some("x"))])).refusal()
}

/// An image with links to everywhere, and a folder of the host.
async fn yard_with_links() -> (Yard, tempfile::TempDir) {
    let yard = Yard::new();
    tools(&yard).await;
    run_out(
        &yard,
        "base",
        "mkdir -p /data/sub /d; echo one >/data/one; ln -s /data /dlink; ln -s dlink/sub /chain; ln -s /no/such /broken; \
         ln -s ../../../../etc /up; ln -s l2 /l1; ln -s l1 /l2; ln -s /vol /vlink; ln -s /bound /blink; \
         ln -s /etc/made /dangling; ln -s one /data/rel",
        json!({}),
    );
    let made = crate::api::post(&yard, "/commit?container=base&repo=links", &json!({}));
    assert_eq!(made.status, 201, "{}", made.text());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("host"), "host's\n").unwrap();
    symlink("/data/one", folder.path().join("out")).unwrap();
    (yard, folder)
}

fn mounts(folder: &tempfile::TempDir, more: Value) -> Value {
    let mut host_config = json!({"NetworkMode": "none", "Binds": [
        "files:/vol", format!("{}:/bound:ro", folder.path().display()),
    ]});
    for (key, value) in more.as_object().unwrap() {
        host_config[key] = value.clone();
    }
    json!({"Image": "links", "HostConfig": host_config})
}

#[tokio::test]
async fn a_path_is_told_with_its_link_followed_inside() {
    let (yard, folder) = yard_with_links().await;
    create(&yard, "rest", "sleep 600", mounts(&folder, json!({})));
    run(&yard, "live", "sleep 600", mounts(&folder, json!({})));
    for name in ["rest", "live"] {
        let check = |path: &str, expected: &str, target: &str| {
            let found = stat(&yard, name, path).unwrap_or_else(|status| panic!("{name}:{path}: {status}"));
            assert_eq!(
                (found["name"].as_str(), found["linkTarget"].as_str()),
                (Some(expected), Some(target)),
                "{path}"
            );
        };
        check("/", "/", "");
        check("/.", ".", "");
        check("/data", "data", "");
        check("/data/", "data", "");
        check("/data/.", ".", "");
        check("/dlink", "dlink", "/data");
        check("/dlink/", "dlink", "");
        check("/dlink/one", "one", "");
        check("/chain", "chain", "/data/sub");
        check("/broken", "broken", "/no/such");
        check("/up", "up", "/etc");
        check("/../../data/rel", "rel", "/data/one");
        check("/vlink", "vlink", "/vol");
        check("/blink/host", "host", "");
        check("/bound/out", "out", "/data/one");
        assert_eq!(stat(&yard, name, "/l1"), Err(500), "links in a circle");
        assert_eq!(stat(&yard, name, "/no/such"), Err(404));
        assert_eq!(stat(&yard, name, ""), Err(400));
        assert_eq!(stat(&yard, name, "/data").unwrap()["mode"], json!(0x8000_0000_u32 | 0o755));
        assert_eq!(stat(&yard, name, "/dlink").unwrap()["mode"], json!(0x0800_0000 | 0o777));
    }
    assert_eq!(stat(&yard, "nope", "/"), Err(404));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn archives_come_out_of_root_volumes_and_binds_alike() {
    let (yard, folder) = yard_with_links().await;
    create(&yard, "rest", "sleep 600", mounts(&folder, json!({})));
    run(&yard, "live", "echo v >/vol/v; touch /vol/ready; sleep 600", mounts(&folder, json!({})));
    while exec(&yard, "live", &["ls", "/vol/ready"], json!({})).1 != 0 {}
    for name in ["rest", "live"] {
        let names = |path: &str| -> Vec<String> {
            out(&yard, name, path).unwrap().into_iter().map(|(entry, _)| entry).collect()
        };
        assert_eq!(names("/data"), ["data/", "data/one", "data/rel", "data/sub/"]);
        assert_eq!(names("/data/."), ["./", "./one", "./rel", "./sub/"]);
        assert_eq!(names("/dlink/."), ["./", "./one", "./rel", "./sub/"]);
        assert_eq!(out(&yard, name, "/dlink").unwrap(), [("dlink".to_owned(), "-> /data".to_owned())]);
        assert_eq!(out(&yard, name, "/vlink/v").unwrap(), [("v".to_owned(), "v\n".to_owned())]);
        assert_eq!(out(&yard, name, "/blink/host").unwrap(), [("host".to_owned(), "host's\n".to_owned())]);
        let all = out(&yard, name, "/.").unwrap();
        for expected in ["./data/one", "./vol/v", "./bound/host"] {
            assert!(all.iter().any(|(entry, _)| entry == expected), "{expected} of {name}");
        }
        let is_kernels = |entry: &str| {
            ["proc/", "sys/", "dev/"].iter().any(|at| {
                entry.strip_prefix("./").and_then(|entry| entry.strip_prefix(at)).is_some_and(|rest| !rest.is_empty())
            })
        };
        assert!(!all.iter().any(|(entry, _)| is_kernels(entry)), "the kernel's files are no files of the container's");
        assert_eq!(
            out(&yard, name, "/no/such"),
            Err((404, format!("Could not find the file /no/such in container {name}")))
        );
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn archives_go_in_where_links_lead_inside() {
    let (yard, folder) = yard_with_links().await;
    create(&yard, "rest", "sleep 600", mounts(&folder, json!({})));
    run(&yard, "live", "sleep 600", mounts(&folder, json!({})));
    for name in ["rest", "live"] {
        for (path, file) in [("/", "top"), ("/dlink", "data"), ("/vlink", "volume"), ("/up/", "etc"), ("/chain", "sub")]
        {
            let answer = put(&yard, name, path, &archive(&[(&format!("{file}-{name}"), Some(file))]));
            assert_eq!(answer.status, 200, "{name}:{path}: {}", answer.text());
        }
        let missing = (404, format!("Could not find the file /no/such in container {name}"));
        assert_eq!(refusal(&yard, name, "/no/such"), missing);
        assert_eq!(refusal(&yard, name, "/data/one"), (400, "extraction point is not a directory".to_owned()));
        assert_eq!(refusal(&yard, name, ""), (400, "bad parameter: path cannot be empty".to_owned()));
        for path in ["/bound", "/blink", "/bound/"] {
            assert_eq!(refusal(&yard, name, path), (403, "mounted volume is marked read-only".to_owned()), "{path}");
        }
        assert_eq!(put(&yard, name, "/d", b"garbage").status, 400);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "a read-only bind stays as it is");
    crate::api::start(&yard, "rest");
    for name in ["rest", "live"] {
        let script = format!(
            "stat -c '%u:%g %a %Y' /top-{name}; cat /top-{name} /data/data-{name} /vol/volume-{name} /etc/etc-{name} \
             /data/sub/sub-{name}"
        );
        let said = exec(&yard, name, &["sh", "-c", &script], json!({}));
        assert_eq!(said, ("1000:100 640 978307200\ntopdatavolumeetcsub".to_owned(), 0), "{name}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_folder_and_a_file_replace_one_another_unless_told_not_to() {
    let (yard, _folder) = yard_with_links().await;
    run(&yard, "web", "sleep 600", json!({}));
    let kinds = || exec(&yard, "web", &["stat", "-c", "%F", "/d/a", "/d/b"], json!({})).0;
    assert_eq!(exec(&yard, "web", &["mkdir", "/d"], json!({})).1, 0);
    let (one, other) = (archive(&[("a", None), ("b", Some("x"))]), archive(&[("a", Some("x")), ("b", None)]));
    assert_eq!(put(&yard, "web", "/d", &one).status, 200);
    assert_eq!(kinds(), "directory\nregular file\n");
    assert_eq!(put(&yard, "web", "/d", &other).status, 200);
    assert_eq!(kinds(), "regular file\ndirectory\n");
    let kept = put(&yard, "web", "/d&noOverwriteDirNonDir=true", &one).refusal();
    assert_eq!(kept.0, 400);
    assert!(kept.1.contains("cannot overwrite"), "{}", kept.1);
    assert_eq!(kinds(), "regular file\ndirectory\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_read_only_root_takes_nothing_but_into_its_volumes() {
    let (yard, folder) = yard_with_links().await;
    let change = json!({"ReadonlyRootfs": true, "Tmpfs": {"/scratch": ""}});
    create(&yard, "web", "sleep 600", mounts(&folder, change));
    let root = (403, "container rootfs is marked read-only".to_owned());
    let volume = (403, "mounted volume is marked read-only".to_owned());
    let file = archive(&[("file", Some("x"))]);
    let check = |tmpfs: u16| {
        for path in ["/", "/data", "/dlink"] {
            assert_eq!(refusal(&yard, "web", path), root, "{path}");
        }
        assert_eq!(refusal(&yard, "web", "/bound"), volume);
        for path in ["/vol", "/vlink"] {
            assert_eq!(put(&yard, "web", path, &file).status, 200, "{path}");
        }
        assert_eq!(put(&yard, "web", "/scratch", &file).status, tmpfs);
    };
    check(403);
    crate::api::start(&yard, "web");
    check(200);
    assert_eq!(call(&yard, "POST", "/containers/web/kill", None).status, 204);
    ended(&yard, "web");
    check(403);
    yard.leaves_nothing_behind().await;
}
