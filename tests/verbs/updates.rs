//! `docker update` of limits and restart policy, and mounts that are another container's.

use serde_json::{Value, json};

use crate::api::{Answer, call, create, exec, get, post, run, tools};
use crate::support::Yard;

fn update(yard: &Yard, name: &str, body: &Value) -> Answer {
    post(yard, &format!("/containers/{name}/update"), body)
}

/// What the container's cgroup says, of version 1 or 2.
fn limit(yard: &Yard, v1: &str, v2: &str) -> String {
    let script = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
    exec(yard, "web", &["sh", "-c", &script], json!({})).0.trim().to_owned()
}

#[tokio::test]
async fn limits_and_policy_change_while_it_runs() {
    let yard = Yard::new();
    tools(&yard).await;
    run(&yard, "web", "sleep 600", json!({"HostConfig": {"Memory": 64 << 20}}));
    let body = json!({
        "Memory": 128 << 20, "MemorySwap": 256 << 20, "NanoCpus": 500_000_000, "PidsLimit": 77, "CpuShares": 512,
        "CpusetCpus": "0", "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    });
    let answer = update(&yard, "web", &body);
    assert_eq!((answer.status, &answer.json()["Warnings"]), (200, &json!([])), "{}", answer.text());
    assert_eq!(limit(&yard, "memory/memory.limit_in_bytes", "memory.max"), (128 << 20).to_string());
    assert!(limit(&yard, "cpu/cpu.cfs_quota_us", "cpu.max").starts_with("50000"));
    assert_eq!(limit(&yard, "pids/pids.max", "pids.max"), "77");
    let shown = get(&yard, "/containers/web/json").json()["HostConfig"].clone();
    for (key, value) in body.as_object().unwrap() {
        assert_eq!(&shown[key], value, "{key}");
    }
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn a_refused_update_changes_nothing() {
    let yard = Yard::new();
    tools(&yard).await;
    run(&yard, "web", "sleep 600", json!({"HostConfig": {"Memory": 64 << 20, "NanoCpus": 500_000_000}}));
    let shown = || get(&yard, "/containers/web/json").json()["HostConfig"].clone();
    let id = get(&yard, "/containers/web/json").json()["Id"].as_str().unwrap().to_owned();
    let before = shown();
    let conflict = format!("Cannot update container {id}: ");
    for (body, words) in [
        (json!({"Memory": 1 << 20}), "Minimum memory limit allowed is 6MB".to_owned()),
        (json!({"CpuQuota": 10_000}), format!("{conflict}Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")),
        (json!({"CpuPeriod": 50_000}), format!("{conflict}Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")),
        (
            json!({"Memory": 512 << 20}),
            format!("{conflict}Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"),
        ),
        (json!({"BlkioWeight": 5}), "Range of blkio weight is from 10 to 1000".to_owned()),
        (
            json!({"RestartPolicy": {"Name": "bogus"}}),
            "invalid restart policy: unknown policy 'bogus'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'".to_owned(),
        ),
        (
            json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'".to_owned(),
        ),
    ] {
        assert_eq!(update(&yard, "web", &body).refusal(), (400, words), "{body}");
    }
    // of several limits one can't be had: none is taken
    let answer =
        update(&yard, "web", &json!({"CpuShares": 700, "PidsLimit": 5, "CpusetMems": "0", "CpusetCpus": "4095"}));
    assert_ne!(answer.status, 200);
    assert_eq!(limit(&yard, "pids/pids.max", "pids.max"), "max");
    assert_eq!(shown(), before);
    assert_eq!(update(&yard, "nope", &json!({})).refusal(), (404, "No such container: nope".to_owned()));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn real_time_without_a_budget_is_refused_by_name() {
    let yard = Yard::new();
    tools(&yard).await;
    let body = json!({
        "Image": "tools", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "CpuRealtimeRuntime": 1000},
    });
    let answer = post(&yard, "/containers/create", &body);
    let told = answer.text();
    assert!(
        answer.status == 400 && told.contains("CpuRealtimeRuntime") || told.contains("real-time scheduler"),
        "{told}"
    );
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn volumes_come_from_another_container() {
    let yard = Yard::new();
    tools(&yard).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("host"), "host's").unwrap();
    let binds = json!(["named:/named", format!("{}:/bound", folder.path().display())]);
    create(&yard, "data", "true", json!({"Volumes": {"/own": {}}, "HostConfig": {"Binds": binds}}));
    let from = |name: &str, list: Value| {
        run(
            &yard,
            name,
            "echo x >/named/x; echo $?; ls /bound; ls -d /own; sleep 600",
            json!({"HostConfig": {"VolumesFrom": list}}),
        );
        let mounts = get(&yard, &format!("/containers/{name}/json")).json()["Mounts"].clone();
        let mut shown: Vec<(String, bool)> = mounts
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| (mount["Destination"].as_str().unwrap().to_owned(), mount["RW"].as_bool().unwrap()))
            .collect();
        shown.sort();
        shown
    };
    let all = |rw| ["/bound", "/named", "/own"].map(|target| (target.to_owned(), rw)).to_vec();
    assert_eq!(from("writes", json!(["data"])), all(true));
    assert_eq!(from("reads", json!(["data:ro"])), all(false));
    let refused = exec(&yard, "reads", &["sh", "-c", "echo y >/named/y"], json!({}));
    assert!(refused.0.contains("ead-only"), "{}", refused.0);
    assert_eq!(exec(&yard, "writes", &["sh", "-c", "echo y >/named/y; cat /bound/host"], json!({})).0, "host's");
    assert_eq!(exec(&yard, "reads", &["cat", "/named/y"], json!({})).0, "y\n");
    let body = |list: Value| json!({"Image": "tools", "Cmd": ["true"], "HostConfig": {"VolumesFrom": list}});
    let unknown = post(&yard, "/containers/create", &body(json!(["nope"]))).refusal();
    assert_eq!(unknown, (400, "No such container: nope".to_owned()));
    assert_eq!(post(&yard, "/containers/create", &body(json!(["data:x"]))).refusal().0, 400);
    assert_eq!(call(&yard, "DELETE", "/volumes/named", None).status, 409, "in use");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    let yard = Yard::new();
    tools(&yard).await;
    let refused = |host_config: Value, endpoint: Value| {
        let body = json!({
            "Image": "tools", "Cmd": ["true"], "HostConfig": host_config,
            "NetworkingConfig": {"EndpointsConfig": {"bridge": endpoint}},
        });
        let (status, words) = post(&yard, "/containers/create", &body).refusal();
        assert_eq!(status, 400, "{words}");
        words
    };
    let image = json!({"Mounts": [{"Type": "image", "Source": "tools", "Target": "/x"}]});
    assert!(refused(image, json!({})).contains("images"));
    assert!(refused(json!({}), json!({"DriverOpts": {"a": "b"}})).contains("DriverOpts"));
    assert!(refused(json!({}), json!({"GwPriority": 5})).contains("GwPriority"));
    yard.leaves_nothing_behind().await;
}
