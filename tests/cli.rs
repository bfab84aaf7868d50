//! The command line, as a person types it: with an engine that runs, and without one.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod support;

use std::os::unix::process::CommandExt;
use std::process::{Output, Stdio};

use support::Yard;

fn run(yard: &Yard, words: &[&str]) -> Output {
    yard.cli(words)
}

fn says(yard: &Yard, words: &[&str]) -> String {
    let output = run(yard, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn run_gives_output_and_exit_code() {
    let yard = Yard::new();
    yard.host_image().await;
    let output = run(&yard, &["run", "--rm", "host", "sh", "-c", "echo out; echo err >&2; exit 5"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(says(&yard, &["ps", "-aq"]), "");

    assert_eq!(run(&yard, &["run", "--rm", "host", "nonsense"]).status.code(), Some(127));
    assert_eq!(run(&yard, &["run", "--pull", "never", "nowhere"]).status.code(), Some(125));

    let id = says(&yard, &["run", "-d", "--name", "web", "-e", "A=b", "host", "sleep", "60"]);
    assert_eq!(says(&yard, &["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"]), format!("{} web\n", id.trim()));
    assert_eq!(says(&yard, &["exec", "web", "sh", "-c", "echo $A"]), "b\n");
    assert_eq!(says(&yard, &["stop", "-t", "0", "web"]), "web\n");
    assert_eq!(says(&yard, &["rm", "web"]), "web\n");
    let refusal = run(&yard, &["rm", "web"]);
    assert_eq!(refusal.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&refusal.stderr), "boxyard: No such container: web\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_is_its_own_engine_where_none_runs() {
    let mut yard = Yard::new();
    yard.host_image().await;
    yard.stop_engine();
    says(&yard, &["run", "-d", "--name", "web", "host", "sh", "-c", "echo alive; sleep 60"]);
    assert_eq!(says(&yard, &["ps", "--format", "{{.Names}}"]), "web\n");
    assert_eq!(says(&yard, &["logs", "web"]), "alive\n");
    yard.start_engine();
    assert_eq!(says(&yard, &["ps", "--format", "{{.Names}}"]), "web\n");
    yard.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_engine_on_the_same_root_is_told_who_the_first_is() {
    let yard = Yard::new();
    let refused = run(&yard, &["serve"]);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(words.contains("the engine runs already") && words.contains("pid "), "{words}");
    yard.leaves_nothing_behind().await;
}

#[test]
fn without_root_it_says_what_to_do_before_touching_anything() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    // A copy where nobody can reach it: the build folder may be closed to other users.
    let binary = folder.path().join("boxyard");
    std::fs::copy(env!("CARGO_BIN_EXE_boxyard"), &binary).unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for words in [&["serve"][..], &["ps"], &[]] {
        let mut command = std::process::Command::new(&binary);
        command.args(words).env("BOXYARD_ROOT", &root).env("BOXYARD_RUN", folder.path().join("run"));
        let output = command.env_remove("DOCKER_HOST").uid(65534).gid(65534).stdin(Stdio::null()).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains("sudo boxyard"), "{words}");
        assert!(!root.exists(), "something was touched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_made_once_and_goes_without_a_trace() {
    let yard = Yard::new();
    let home = tempfile::tempdir().unwrap();
    let demo = |flag: &str| {
        let output =
            yard.command().args(["demo", flag]).env("HOME", home.path()).env_remove("XDG_DATA_HOME").output().unwrap();
        assert!(output.status.success(), "demo {flag}: {}", String::from_utf8_lossy(&output.stderr));
    };
    demo("--no-screen");
    demo("--no-screen");
    assert_eq!(says(&yard, &["ps", "--format", "{{.Names}}"]).lines().count(), 2);
    yard.log_until("shop-worker-1", "waiting for orders").await;
    yard.log_until("shop-web-1", "GET /").await;
    let sample = home.path().join(".local/share/boxyard/demo");
    let built = says(&yard, &["build", "-q", "-t", "hello", sample.to_str().unwrap()]);
    assert!(built.starts_with("sha256:"), "{built}");

    demo("--clean");
    assert_eq!(says(&yard, &["ps", "-aq"]), "");
    assert_eq!(says(&yard, &["images", "-q"]), "");
    assert_eq!(says(&yard, &["volume", "ls", "-q"]), "");
    assert!(!sample.exists());
    yard.leaves_nothing_behind().await;
}

#[test]
fn lint_tells_fixes_and_exits_for_ci() {
    let folder = tempfile::tempdir().unwrap();
    let lint = |words: &[&str], input: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_boxyard"));
        let command = command.arg("lint").args(words).current_dir(folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), told, String::from_utf8(output.stderr).unwrap())
    };
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();

    assert_eq!(lint(&[], "").0, 2, "there is no ./Dockerfile");
    assert_eq!(lint(&["--format", "carrier-pigeon"], "").0, 2);
    write("Dockerfile", "FROM alpine:3.20 AS Base\nEXPOSE 80/TCP\nCOPY a.log /srv/\n");
    write(".dockerignore", "*.log\n");
    let (code, told, _) = lint(&[], "");
    let rules: Vec<&str> = told.lines().filter_map(|line| line.split_once('[')?.1.split(']').next()).collect();
    assert_eq!((code, rules), (1, vec!["StageNameCasing", "ExposeProtoCasing", "CopyIgnoredFile"]), "{told}");
    assert_eq!(lint(&["--fail-on", "error"], "").0, 0);
    assert_eq!(lint(&["--severity", "error"], "").0, 0);
    assert_eq!(lint(&["--ignore", "copyignoredfile", "--fix"], "").0, 0);
    let fixed = std::fs::read_to_string(folder.path().join("Dockerfile")).unwrap();
    assert_eq!(fixed, "FROM alpine:3.20 AS base\nEXPOSE 80/tcp\nCOPY a.log /srv/\n");

    let (code, told, _) = lint(&["-", "--format", "json"], "FROM debian\n");
    let found: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &found[0]["rule"], &found[0]["severity"]), (1, &"UntaggedBase".into(), &"advice".into()));
    let (code, told, _) = lint(&["-", "--format", "sarif"], "# hadolint ignore=DL3006\nFROM debian\n");
    let log: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &log["runs"][0]["results"]), (0, &serde_json::json!([])));
    let (code, told, said) = lint(&["-", "--fix"], "FROM alpine:3.20\nEXPOSE 80/TCP\n");
    assert_eq!((code, told.as_str(), said.as_str()), (0, "FROM alpine:3.20\nEXPOSE 80/tcp\n", "1 fixed\n"));
}
