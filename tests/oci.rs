//! `boxyard oci` from outside: a bundle of the host's busybox through every verb, as containerd calls them.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle and a root for states; what is left in them at the end is removed.
struct Yard(TempDir);

impl Yard {
    fn new(script: &str) -> Self {
        let yard = Self(tempfile::tempdir().unwrap());
        let bin = yard.path().join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for name in ["sh", "sleep", "echo", "cat"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        assert!(yard.call(&["spec", "--bundle", yard.text()]).status.success());
        yard.change(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(["sh", "-c", script]);
        });
        yard
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self) -> &str {
        self.path().to_str().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boxyard"));
        command.args(["oci", "--root", &format!("{}/states", self.text())]).args(words).stdin(Stdio::null());
        command
    }

    fn call(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// The id is the directory's, so that cgroups of tests do not meet.
    fn id(&self) -> String {
        format!("test{}", self.path().file_name().unwrap().to_str().unwrap().replace('.', "-"))
    }

    /// Creates it with its output in a file.
    fn create(&self) {
        let out = fs::File::create(self.path().join("out")).unwrap();
        let status = self
            .command(&["create", "--bundle", self.text(), "--pid-file", &format!("{}/pid", self.text()), &self.id()])
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .status()
            .unwrap();
        assert!(status.success(), "{}", self.output());
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path().join("out")).unwrap()
    }

    #[track_caller]
    fn works(&self, words: &[&str]) -> String {
        let output = self.call(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn fails(&self, words: &[&str]) -> String {
        let output = self.call(words);
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8(output.stderr).unwrap().trim().to_owned()
    }

    fn status(&self) -> String {
        let state: Value = serde_json::from_str(&self.works(&["state", &self.id()])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    /// Waits until the first process is gone.
    fn ends(&self) {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.status() != "stopped" {
            assert!(std::time::Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        let _ = self.call(&["delete", "--force", &self.id()]);
    }
}

#[test]
fn a_container_from_create_to_delete() {
    let yard = Yard::new("echo one; exec sleep 100");
    let id = yard.id();
    yard.create();
    assert_eq!(yard.status(), "created");
    let pid = fs::read_to_string(yard.path().join("pid")).unwrap();
    assert!(Path::new("/proc").join(&pid).exists());
    assert_eq!(yard.output(), "");

    yard.works(&["start", &id]);
    assert_eq!(yard.status(), "running");
    assert_eq!(yard.fails(&["start", &id]), "cannot start an already running container");
    assert_eq!(yard.works(&["exec", "--env", "A=two", &id, "sh", "-c", "echo $A"]), "two\n");
    assert_eq!(yard.call(&["exec", &id, "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(yard.call(&["exec", &id, "nosuch"]).status.code(), Some(255));

    yard.works(&["pause", &id]);
    assert_eq!(yard.status(), "paused");
    assert!(yard.fails(&["exec", &id, "echo"]).contains("cannot exec in a paused container"));
    yard.works(&["resume", &id]);

    let pids: Vec<u32> = serde_json::from_str(&yard.works(&["ps", "--format", "json", &id])).unwrap();
    assert_eq!(pids, [pid.parse::<u32>().unwrap()]);
    let stats: Value = serde_json::from_str(&yard.works(&["events", "--stats", &id])).unwrap();
    assert_eq!((stats["type"].as_str(), stats["data"]["pids"]["current"].as_u64()), (Some("stats"), Some(1)));
    assert!(yard.fails(&["delete", &id]).contains("that is not stopped: running"));

    yard.works(&["kill", &id, "KILL"]);
    yard.ends();
    assert_eq!(yard.fails(&["kill", &id, "TERM"]), "container not running");
    assert_eq!(yard.output(), "one\n");
    yard.works(&["delete", &id]);
    assert_eq!(yard.fails(&["state", &id]), "container does not exist");
    assert_eq!(yard.works(&["list", "-q"]), "");
}

#[test]
fn run_tells_the_programs_status_and_leaves_nothing() {
    let yard = Yard::new("echo out; exit 3");
    let output = yard.call(&["run", "--bundle", yard.text(), &yard.id()]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"out\n".as_slice()));
    assert_eq!(yard.works(&["list", "--format", "json"]), "[]\n");
}

#[test]
fn hooks_run_with_the_state_on_their_input() {
    let yard = Yard::new("true");
    let hook = |name: &str| {
        let script = format!("cat > {}/{name}", yard.text());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    let hooks = json!({"prestart": hook("prestart"), "createRuntime": hook("createRuntime"),
        "createContainer": hook("createContainer"), "poststart": hook("poststart"), "poststop": hook("poststop")});
    yard.change(|config| config["hooks"] = hooks);
    yard.works(&["run", "--bundle", yard.text(), &yard.id()]);
    for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let state: Value = serde_json::from_slice(&fs::read(yard.path().join(name)).unwrap()).unwrap();
        assert_eq!(state["id"].as_str(), Some(yard.id().as_str()), "{name}");
    }
}

/// The bundle's container in a user namespace of its own, whose ids have the bundle's root.
/// Gives the root to those who are root inside.
fn hand_over(yard: &Yard) {
    for path in ["", "bin", "bin/busybox"] {
        std::os::unix::fs::chown(yard.path().join("rootfs").join(path), Some(FIRST_ID), Some(FIRST_ID)).unwrap();
    }
}

fn remap(yard: &Yard) {
    hand_over(yard);
    yard.change(|config| {
        config["root"]["readonly"] = json!(false);
        let map = json!([{"containerID": 0, "hostID": FIRST_ID, "size": 65536}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    });
}

const FIRST_ID: u32 = 100_000;

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_user_namespace_of_its_own_and_a_joined_one() {
    let yard = Yard::new("cat /proc/self/uid_map; echo mine > /file; cat /proc/1/setgroups; exec sleep 100");
    remap(&yard);
    let told = yard.path().join("told");
    let script = format!("cat > {}", told.display());
    yard.change(|config| {
        config["hooks"] =
            json!({"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
    });
    let id = yard.id();
    yard.create();
    assert!(fs::read_to_string(told).unwrap().contains(&id), "hooks outside run for it, too");
    yard.works(&["start", &id]);
    let file = yard.path().join("rootfs/file");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !yard.output().contains("allow") {
        assert!(std::time::Instant::now() < until, "it says {}", yard.output());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(words(&yard.output()), "0 100000 65536 allow");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(file).unwrap()), FIRST_ID);
    assert_eq!(words(&yard.works(&["exec", &id, "cat", "/proc/self/gid_map"])), "0 100000 65536");

    let guest = Yard::new("cat /proc/self/uid_map");
    hand_over(&guest);
    let pid = fs::read_to_string(yard.path().join("pid")).unwrap();
    let namespace = json!({"type": "user", "path": format!("/proc/{pid}/ns/user")});
    guest.change(|config| config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace));
    assert_eq!(words(&guest.works(&["run", "--bundle", guest.text(), &guest.id()])), "0 100000 65536");
    yard.works(&["delete", "--force", &id]);
}

#[test]
fn a_tmpfs_begins_with_what_the_root_has_there() {
    let yard = Yard::new("cat /srv/file; echo x > /srv/more || echo sealed");
    fs::create_dir(yard.path().join("rootfs/srv")).unwrap();
    fs::write(yard.path().join("rootfs/srv/file"), "copied\n").unwrap();
    yard.change(|config| {
        let options = ["rw", "tmpcopyup", "ro"];
        let mount = json!({"destination": "/srv", "type": "tmpfs", "source": "tmpfs", "options": options});
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    assert_eq!(yard.works(&["run", "--bundle", yard.text(), &yard.id()]), "copied\nsealed\n");
    assert!(!yard.path().join("rootfs/srv/more").exists());
}

#[test]
fn failures_are_logged_as_containerd_reads_them() {
    let yard = Yard::new("true");
    yard.change(|config| config["process"]["args"] = json!(["nosuch"]));
    let log = format!("{}/log", yard.text());
    yard.fails(&["--log", &log, "--log-format", "json", "create", "--bundle", yard.text(), &yard.id()]);
    let line: Value = serde_json::from_str(fs::read_to_string(log).unwrap().trim()).unwrap();
    assert_eq!(line["level"].as_str(), Some("error"));
    assert!(line["msg"].as_str().unwrap().contains("exec: \"nosuch\": executable file not found in $PATH"), "{line}");
    assert_eq!(yard.works(&["list", "-q"]), "");
}

#[test]
fn what_a_bundle_asks_for_in_vain_is_named() {
    let yard = Yard::new("true");
    yard.change(|config| config["linux"]["intelRdt"] = json!({"closID": "x"}));
    let words = yard.fails(&["create", "--bundle", yard.text(), &yard.id()]);
    assert!(words.contains("linux.intelRdt is not supported by boxyard"), "{words}");
    fs::write(yard.path().join("config.json"), "{").unwrap();
    assert!(yard.fails(&["create", "--bundle", yard.text(), &yard.id()]).contains("config.json"));
}
