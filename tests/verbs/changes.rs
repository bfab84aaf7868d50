//! `docker diff`: what a container changed, and nothing else.

use serde_json::{Value, json};

use crate::api::{create, get, run_out, tools};
use crate::support::Yard;

fn diff(yard: &Yard, name: &str) -> Vec<String> {
    let changes = get(yard, &format!("/containers/{name}/changes")).json();
    let list = changes.as_array().cloned().unwrap_or_default();
    let line = |change: &Value| {
        let kind = ["C", "A", "D"][change["Kind"].as_u64().unwrap() as usize];
        format!("{kind} {}", change["Path"].as_str().unwrap())
    };
    list.iter().map(line).collect()
}

#[tokio::test]
async fn additions_changes_deletions_and_renames() {
    let yard = Yard::new();
    tools(&yard).await;
    // an image with something to change
    run_out(
        &yard,
        "base",
        "mkdir -p /d/sub /gone /same/in /opaque; echo x >/d/file; echo x >/d/sub/deep; echo x >/d/old; echo x >/gone/x; \
         echo x >/opaque/one; echo x >/opaque/two; ln -s file /d/link",
        json!({}),
    );
    let made = crate::api::post(&yard, "/commit?container=base&repo=changed", &json!({}));
    assert_eq!(made.status, 201, "{}", made.text());
    let folder = tempfile::tempdir().unwrap();
    let change = json!({"Image": "changed", "Volumes": {"/vol": {}}, "HostConfig": {
        "Binds": [format!("{}:/bound", folder.path().display())], "Tmpfs": {"/scratch": ""},
    }});
    run_out(
        &yard,
        "web",
        "echo y >>/d/file; rm /d/sub/deep; mv /d/old /d/new; rm -r /gone; chmod 700 /d/sub; touch /vol/x /bound/x \
         /scratch/x; rm -r /same; mkdir -p /same/in; rm -r /opaque; mkdir /opaque; echo z >/opaque/one; echo z >/opaque/z; \
         ln -s /nowhere /link; touch /etc/hosts",
        change,
    );
    let expected = [
        "A /bound",
        "C /d",
        "C /d/file",
        "A /d/new",
        "D /d/old",
        "C /d/sub",
        "D /d/sub/deep",
        "D /gone",
        "A /link",
        "C /opaque",
        "C /opaque/one",
        "D /opaque/two",
        "A /opaque/z",
        "A /scratch",
        "A /vol",
    ];
    let found: Vec<String> = diff(&yard, "web").into_iter().filter(|line| !line.contains(".dockerenv")).collect();
    assert_eq!(found, expected);
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn no_change_is_null() {
    let yard = Yard::new();
    tools(&yard).await;
    run_out(&yard, "quiet", "true", json!({}));
    create(&yard, "new", "true", json!({"Volumes": {"/deep/er/vol": {}}}));
    for name in ["quiet", "new"] {
        assert_eq!(get(&yard, &format!("/containers/{name}/changes")).json(), json!(null), "{name}");
    }
    assert_eq!(get(&yard, "/containers/nope/changes").refusal(), (404, "No such container: nope".to_owned()));
    yard.leaves_nothing_behind().await;
}
