//! `docker commit` and `docker export`.

use serde_json::{Value, json};

use crate::api::{call, create, exec, get, post, run, run_out, tools};
use crate::support::Yard;

fn commit(yard: &Yard, query: &str) -> Result<Value, (u16, String)> {
    let made = post(yard, &format!("/commit?container=web&repo=made{query}"), &json!({}));
    if made.status != 201 {
        return Err(made.refusal());
    }
    Ok(get(yard, "/images/made/json").json())
}

/// As a client writes it into a query.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn the_image_has_the_files_and_the_configuration() {
    let yard = Yard::new();
    tools(&yard).await;
    let change = json!({
        "Env": ["A=1"], "Labels": {"l": "1"}, "ExposedPorts": {"70/tcp": {}}, "WorkingDir": "/etc", "User": "0:0",
        "StopSignal": "USR1", "Healthcheck": {"Test": ["CMD", "true"]}, "Volumes": {"/vol": {}},
    });
    run(&yard, "web", "echo x >/new; rm /etc/passwd; echo v >/vol/v; mkdir -p /d/e; touch /ready; sleep 600", change);
    while exec(&yard, "web", &["ls", "/ready"], json!({})).1 != 0 {}
    let image = commit(&yard, &format!("&author={}&comment=why", encoded("Me <me@x>"))).unwrap();
    assert_eq!((&image["Author"], &image["Comment"]), (&json!("Me <me@x>"), &json!("why")));
    let config = &image["Config"];
    assert_eq!(config["Cmd"][0], "sh");
    for (key, value) in [("User", json!("0:0")), ("WorkingDir", json!("/etc")), ("StopSignal", json!("USR1"))] {
        assert_eq!(config[key], value);
    }
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "true"]));
    assert_eq!((&config["Labels"]["l"], &config["ExposedPorts"]), (&json!("1"), &json!({"70/tcp": {}})));
    assert_eq!(config["Volumes"], json!({"/vol": {}}));
    assert!(config["Env"].as_array().unwrap().contains(&json!("A=1")));
    let state = get(&yard, "/containers/web/json").json()["State"].clone();
    assert_eq!(state["Status"], "running", "it runs on after the pause");

    let script = "cat /new; ls /vol; ls -d /d/e; [ -e /etc/passwd ] || echo gone";
    run_out(&yard, "again", script, json!({"Image": "made"}));
    let log = String::from_utf8(get(&yard, "/containers/again/logs?stdout=1").body).unwrap();
    assert!(log.contains("x\n") && log.contains("/d/e\n") && log.contains("gone\n"), "{log:?}");
    assert!(!log.contains("v\n"), "volumes are no part of an image");
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn changes_are_instructions() {
    let yard = Yard::new();
    tools(&yard).await;
    create(&yard, "web", "true", json!({"Env": ["A=1"], "WorkingDir": "/srv", "Labels": {"l": "1"}}));
    let with = |changes: &[&str]| {
        let query: String = changes.iter().map(|change| format!("&changes={}", encoded(change))).collect();
        commit(&yard, &query).map(|image| image["Config"].clone())
    };
    let config = with(&[
        "CMD [\"a\",\"b\"]",
        "ENTRYPOINT run it",
        "CMD [\"a\",\"b\"]",
        "ENV B=2 C=\"x $A\"",
        "EXPOSE 80 90-91/udp",
        "LABEL a=b \"c d\"='e f'",
        "ONBUILD RUN x",
        "USER app:users",
        "VOLUME /v1 /v2",
        "WORKDIR rel",
        "HEALTHCHECK --interval=5s --timeout=3s --retries=2 --start-period=1s CMD echo ok",
        "STOPSIGNAL SIGHUP",
    ])
    .unwrap();
    assert_eq!(config["Cmd"], json!(["a", "b"]));
    assert_eq!(config["Entrypoint"], json!(["/bin/sh", "-c", "run it"]));
    let env = config["Env"].as_array().unwrap();
    assert!(env.contains(&json!("B=2")) && env.contains(&json!("C=x 1")) && env.contains(&json!("A=1")), "{env:?}");
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "90/udp": {}, "91/udp": {}}));
    assert_eq!(config["Labels"], json!({"a": "b", "c d": "e f", "l": "1"}));
    assert_eq!((&config["OnBuild"], &config["User"]), (&json!(["RUN x"]), &json!("app:users")));
    assert_eq!((&config["Volumes"], &config["WorkingDir"]), (&json!({"/v1": {}, "/v2": {}}), &json!("/srv/rel")));
    assert_eq!(
        config["Healthcheck"],
        json!({
            "Test": ["CMD-SHELL", "echo ok"], "Interval": 5_000_000_000_i64, "Timeout": 3_000_000_000_i64,
            "StartPeriod": 1_000_000_000, "Retries": 2,
        })
    );
    assert_eq!(config["StopSignal"], "SIGHUP");
    assert_eq!(with(&["ENTRYPOINT [\"/e\"]"]).unwrap().get("Cmd").unwrap_or(&json!(null)), &json!(null));

    let refused = |change: &str| with(&[change]).unwrap_err();
    for (change, words) in [
        ("RUN x", "run is not a valid change command"),
        ("nonsense", "nonsense is not a valid change command"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV", "ENV requires at least one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("USER", "USER requires exactly one argument"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK x", "Unknown type \"X\" in HEALTHCHECK (try CMD)"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ] {
        assert_eq!(refused(change), (400, words.to_owned()), "{change}");
    }
    assert_eq!(post(&yard, "/commit?container=nope", &json!({})).refusal(), (404, "No such container: nope".into()));
    yard.leaves_nothing_behind().await;
}

#[tokio::test]
async fn an_export_is_the_root_without_its_mounts() {
    let yard = Yard::new();
    tools(&yard).await;
    let script = "echo x >/new; ln -s /new /link; echo v >/vol/v; touch /ready; sleep 600";
    run(&yard, "web", script, json!({"Volumes": {"/vol": {}}}));
    while exec(&yard, "web", &["ls", "/ready"], json!({})).1 != 0 {}
    let archive = get(&yard, "/containers/web/export");
    assert_eq!(archive.status, 200);
    let mut names = Vec::new();
    for entry in tar::Archive::new(&*archive.body).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().to_string_lossy().into_owned());
    }
    for name in ["new", "link", "vol/"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    for prefix in ["vol/v", "proc/", "sys/", "dev/"] {
        assert!(!names.iter().any(|found| found.starts_with(prefix) && found != prefix), "{prefix} in {names:?}");
    }
    assert_eq!(get(&yard, "/containers/nope/export").status, 404);
    assert_eq!(call(&yard, "POST", "/containers/web/kill", None).status, 204);
    yard.leaves_nothing_behind().await;
}
