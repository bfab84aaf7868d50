//! The same verbs where the containers' ids are not the host's (`--userns-remap`).

use serde_json::{Value, json};

use crate::api::{call, exec, get, post, run, tools};
use crate::support::Yard;

const REMAP: [&str; 2] = ["--userns-remap", "300000+65536"];

fn process_ids(yard: &Yard) -> Vec<Vec<String>> {
    let top = get(yard, "/containers/web/top?ps_args=-o%20pid,uid,comm").json();
    serde_json::from_value(top["Processes"].clone()).unwrap()
}

#[tokio::test]
async fn figures_changes_and_archives_are_there() {
    let yard = Yard::serving(&REMAP);
    tools(&yard).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("host"), "host's").unwrap();
    let change = json!({
        "Env": ["A=1"],
        "HostConfig": {"Memory": 64 << 20, "Binds": ["vol:/vol", format!("{}:/bound:ro", folder.path().display())]},
    });
    run(&yard, "web", "echo x >/new; rm /etc/group; echo v >/vol/v; touch /ready; sleep 600", change);
    while exec(&yard, "web", &["ls", "/ready"], json!({})).1 != 0 {}

    let first = process_ids(&yard).into_iter().find(|row| row[2] == "sh").unwrap();
    assert_eq!(first[1], "300000", "the host's number of the containers' root");
    let stats = get(&yard, "/containers/web/stats?stream=false&one-shot=true").json();
    assert_eq!(stats["memory_stats"]["limit"], json!(64 << 20));
    assert!(stats["pids_stats"]["current"].as_u64().unwrap() >= 1);
    let changes = get(&yard, "/containers/web/changes").json();
    for change in [json!({"Path": "/new", "Kind": 1}), json!({"Path": "/etc/group", "Kind": 2})] {
        assert!(changes.as_array().unwrap().contains(&change), "{change} in {changes}");
    }
    assert_eq!(exec(&yard, "web", &["stat", "-c", "%u:%g", "/vol", "/vol/v"], json!({})).0, "0:0\n0:0\n");

    let owners = |path: &str| -> Vec<(String, u64)> {
        let answer = get(&yard, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let mut archive = tar::Archive::new(&*answer.body);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.path().unwrap().to_string_lossy().into_owned(), entry.header().uid().unwrap())
        });
        entries.collect()
    };
    let has_root = |list: Vec<(String, u64)>, name: &str| {
        assert!(list.iter().any(|(entry, owner)| entry.ends_with(name) && *owner == 0), "{name} in {list:?}");
    };
    has_root(owners("/containers/web/export"), "new");
    has_root(owners("/containers/web/archive?path=/new"), "new");
    has_root(owners("/containers/web/archive?path=/vol"), "v");
    assert_eq!(call(&yard, "POST", "/containers/web/kill", None).status, 204);
    crate::api::ended(&yard, "web");
    has_root(owners("/containers/web/archive?path=/new"), "new");
    has_root(owners("/containers/web/archive?path=/vol"), "v");

    let made = post(&yard, "/commit?container=web&repo=made&changes=ENV%20B=2", &json!({}));
    assert_eq!(made.status, 201, "{}", made.text());
    let script = "cat /new; [ -e /etc/group ] || echo gone; echo $A$B; stat -c %u /new";
    crate::api::run_out(&yard, "again", script, json!({"Image": "made"}));
    let log = get(&yard, "/containers/again/logs?stdout=1").text();
    assert!(log.contains("x\n") && log.contains("gone\n") && log.contains("12\n") && log.ends_with("0\n"), "{log:?}");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn its_shim_restarts_it_with_the_same_ids_while_no_engine_runs() {
    let mut yard = Yard::serving(&REMAP);
    tools(&yard).await;
    let script = "cat /proc/self/uid_map >>/vol/runs; touch /vol/ready; while [ ! -e /vol/go ]; do sleep 0.05; done; \
                  rm /vol/go; exit 1";
    let change = json!({"HostConfig": {
        "Binds": ["vol:/vol"], "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
    }});
    run(&yard, "web", script, change);
    let volume = yard.root().join("volumes/vol/_data");
    let runs = || std::fs::read_to_string(volume.join("runs")).unwrap_or_default().matches("300000").count();
    let wait_for = |count: usize| {
        let begin = std::time::Instant::now();
        while runs() < count {
            assert!(begin.elapsed() < crate::support::PATIENCE, "run {count} of the container");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    wait_for(1);
    yard.kill_engine();
    std::fs::write(volume.join("go"), "").unwrap();
    wait_for(2);
    yard.start_engine();
    let shown: Value = get(&yard, "/containers/web/json").json();
    assert_eq!((&shown["State"]["Status"], &shown["RestartCount"]), (&json!("running"), &json!(1)));
    assert_eq!(exec(&yard, "web", &["id", "-u"], json!({})).0, "0\n");
    let pid = shown["State"]["Pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t300000\t"), "{status}");
    yard.leaves_nothing_behind().await;
}
