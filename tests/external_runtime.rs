//! Containers of our engine under runtimes of others: what a person sees is what they see under ours.
//!
//! Each story is told under `boxyard oci`, which is always there and speaks runc's command line, and under runc and crun
//! where they are installed. crun refuses hosts with cgroups of both versions; there its own
//! refusal is what has to be told.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by its panic

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ExecConfig, HostConfig, Mount, MountType, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{RestartContainerOptionsBuilder, StopContainerOptionsBuilder};
use futures_util::{Future, StreamExt};
use support::Yard;
use tempfile::TempDir;

/// The runtimes to try, and a yard for one of them.
struct Cast {
    /// Holds the link that makes our own binary a runtime.
    folder: TempDir,
}

impl Cast {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("runtime-").tempdir_in("/tmp").unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_boxyard"), folder.path().join("boxyard-oci")).unwrap();
        Self { folder }
    }

    fn yard(&self) -> Yard {
        let setting = format!("self={}", self.folder.path().join("boxyard-oci").display());
        // a few bytes for the length of a test
        Yard::serving(Box::leak(Box::new(["--add-runtime", Box::leak(setting.into_boxed_str())])))
    }

    fn runtimes() -> Vec<&'static str> {
        let mut runtimes = vec!["self"];
        for name in ["runc", "crun"] {
            match installed(name) {
                Some(_) if name == "crun" && crun_refuses_this_host() => {
                    eprintln!("crun refuses hosts of both cgroup versions")
                }
                Some(_) => runtimes.push(name),
                None => eprintln!("{name} is not installed: this is not tried under it"),
            }
        }
        runtimes
    }

    /// Tells a story under each runtime, in a yard of its own.
    async fn each<F: Future<Output = ()>>(story: impl Fn(&'static str, std::rc::Rc<Yard>) -> F) {
        for runtime in Self::runtimes() {
            println!("under {runtime}");
            let cast = Self::new();
            let yard = std::rc::Rc::new(cast.yard());
            story(runtime, std::rc::Rc::clone(&yard)).await;
            let yard = std::rc::Rc::into_inner(yard).expect("the story is over");
            yard.leaves_nothing_behind().await;
        }
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Version 1 hierarchies beside a version 2 one that has controllers.
fn crun_refuses_this_host() -> bool {
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").unwrap_or_default();
    !controllers.trim().is_empty()
}

fn under(runtime: &str) -> HostConfig {
    HostConfig { runtime: Some(runtime.to_owned()), network_mode: Some("none".to_owned()), ..HostConfig::default() }
}

/// Runs a further process and gives its output and exit code.
async fn exec(yard: &Yard, name: &str, config: ExecConfig) -> (String, i64) {
    let docker = yard.docker();
    let config = ExecConfig { attach_stdout: Some(true), attach_stderr: Some(true), ..config };
    let id = docker.create_exec(name, config).await.unwrap().id;
    let started = docker.start_exec(&id, None::<StartExecOptions>).await.unwrap();
    let StartExecResults::Attached { output, .. } = started else { panic!("it is attached") };
    let pieces: Vec<LogOutput> = output.map(|piece| piece.unwrap()).collect().await;
    let code = docker.inspect_exec(&id).await.unwrap().exit_code.unwrap();
    (pieces.iter().map(ToString::to_string).collect(), code)
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

#[tokio::test]
async fn output_exit_code_and_rights_are_as_under_ours() {
    Cast::each(async |runtime, yard: std::rc::Rc<Yard>| {
        let script = "echo out; echo err >&2; id -u; cat /proc/self/status; exit 7";
        yard.run_with("theirs", script, under(runtime)).await;
        yard.run_with("ours", script, under("boxyard")).await;
        assert_eq!((yard.exit_code("theirs").await, yard.exit_code("ours").await), (7, 7), "{runtime}");
        let (theirs, ours) = (yard.log("theirs").await, yard.log("ours").await);
        assert!(theirs.contains("out\n") && theirs.contains("err\n"), "{runtime}: {theirs}");
        for line in ["CapEff:", "CapPrm:", "CapBnd:", "CapInh:", "NoNewPrivs:", "Seccomp:", "Umask:"] {
            let of = |log: &str| log.lines().find(|found| found.starts_with(line)).unwrap_or_default().to_owned();
            assert_eq!(of(&theirs), of(&ours), "{runtime}");
        }
        let shown = yard.docker().inspect_container("theirs", None).await.unwrap();
        assert_eq!(shown.host_config.unwrap().runtime.as_deref(), Some(runtime));
    })
    .await;
}

#[tokio::test]
async fn a_terminal_input_and_further_processes() {
    Cast::each(async |runtime, yard: std::rc::Rc<Yard>| {
        let image = yard.host_image().await;
        let config = ContainerCreateBody {
            image: Some(image),
            tty: Some(true),
            cmd: words(&["sh", "-c", "echo term is $TERM; exec sleep 1000"]),
            host_config: Some(under(runtime)),
            ..Default::default()
        };
        let options = bollard::query_parameters::CreateContainerOptionsBuilder::default().name("web").build();
        yard.docker().create_container(Some(options), config).await.unwrap();
        yard.docker().start_container("web", None).await.unwrap();
        yard.log_until("web", "term is xterm").await;

        let config = |cmd: &[&str]| ExecConfig { cmd: words(cmd), ..Default::default() };
        let said = exec(&yard, "web", config(&["sh", "-c", "echo inside; exit 4"])).await;
        assert_eq!(said, ("inside\n".to_owned(), 4), "{runtime}");
        let (said, _) = exec(&yard, "web", ExecConfig { user: Some("7:8".to_owned()), ..config(&["id"]) }).await;
        assert!(said.starts_with("uid=7 gid=8"), "{runtime}: {said}");
        let terminal = ExecConfig { tty: Some(true), ..config(&["sh", "-c", "ls -l /proc/self/fd/0; exit 5"]) };
        let (said, code) = exec(&yard, "web", terminal).await;
        assert!(said.contains("/dev/pts/") && code == 5, "{runtime}: {said}");

        let missing = yard.docker().create_exec("web", config(&["nosuch"])).await.unwrap().id;
        let missing = yard.docker().start_exec(&missing, None::<StartExecOptions>).await;
        let words = match missing {
            Err(error) => error.to_string(),
            Ok(StartExecResults::Attached { mut output, .. }) => format!("{:?}", output.next().await),
            Ok(StartExecResults::Detached) => String::new(),
        };
        assert!(words.contains("not found"), "{runtime}: {words}");

        let pids = yard.docker().top_processes("web", None).await.unwrap().processes.unwrap();
        assert!(pids.iter().flatten().any(|word| word.contains("sleep 1000")), "{runtime}: {pids:?}");
        yard.docker().pause_container("web").await.unwrap();
        yard.docker().unpause_container("web").await.unwrap();
        let options = StopContainerOptionsBuilder::default().t(0).build();
        yard.docker().stop_container("web", Some(options)).await.unwrap();
        assert_eq!(yard.exit_code("web").await, 137, "{runtime}");
    })
    .await;
}

#[tokio::test]
async fn limits_mounts_and_restarts() {
    Cast::each(async |runtime, yard: std::rc::Rc<Yard>| {
        let script = "echo kept > /data/file; while read -r a b c d; do [ $b = /tmp/scratch ] && echo $c; done </proc/mounts; exit 3";
        let mounts = vec![Mount {
            target: Some("/data".to_owned()),
            source: Some("data".to_owned()),
            typ: Some(MountType::VOLUME),
            ..Default::default()
        }];
        let policy = RestartPolicy { name: Some(RestartPolicyNameEnum::ON_FAILURE), maximum_retry_count: Some(2) };
        let host_config = HostConfig {
            mounts: Some(mounts),
            tmpfs: Some(HashMap::from([("/tmp/scratch".to_owned(), "size=1m".to_owned())])),
            memory: Some(64 << 20),
            pids_limit: Some(50),
            readonly_rootfs: Some(true),
            restart_policy: Some(policy),
            annotations: Some(HashMap::from([("org.example.a".to_owned(), "b".to_owned())])),
            ..under(runtime)
        };
        let id = yard.run_with("again", script, host_config.clone()).await;
        yard.exit_code("again").await;
        let ended = loop {
            let shown = yard.docker().inspect_container("again", None).await.unwrap();
            if shown.state.as_ref().unwrap().status == Some(bollard::models::ContainerStateStatusEnum::EXITED) {
                break shown;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!((ended.restart_count, ended.state.unwrap().exit_code), (Some(2), Some(3)), "{runtime}");
        assert_eq!(yard.log("again").await, "tmpfs\n".repeat(3), "{runtime}");
        let written = HostConfig { restart_policy: None, ..host_config };
        yard.run_with("reader", "cat /data/file; echo x >/y || exec sleep 1000", written).await;
        yard.log_until("reader", "kept").await;
        let bundle = yard.run_root().join("containers");
        let config = std::fs::read_dir(&bundle)
            .unwrap()
            .find_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("oci/config.json")).ok());
        let config: serde_json::Value = serde_json::from_str(&config.expect("the bundle is there")).unwrap();
        assert_eq!(config["annotations"]["org.example.a"], "b", "{runtime}");
        assert_eq!(config["linux"]["resources"]["memory"]["limit"], 64 << 20);
        assert!(!bundle.join(id).join("oci").exists(), "{runtime}: what has ended leaves nothing in the run root");
        let options = RestartContainerOptionsBuilder::default().t(0).build();
        yard.docker().restart_container("reader", Some(options)).await.unwrap();
        yard.docker().kill_container("reader", None).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn names_and_networks_are_the_engines() {
    Cast::each(async |runtime, yard: std::rc::Rc<Yard>| {
        let bridged = |runtime| HostConfig { network_mode: None, ..under(runtime) };
        yard.run_with("web", "cat /proc/net/dev; cat /etc/hosts; echo; exec sleep 1000", bridged(runtime)).await;
        yard.log_until("web", "eth0").await;
        let joined = HostConfig { network_mode: Some("container:web".to_owned()), ..under(runtime) };
        yard.run_with("guest", "cat /proc/net/dev", joined).await;
        assert_eq!(yard.exit_code("guest").await, 0);
        assert!(yard.log("guest").await.contains("eth0"), "{runtime}");
    })
    .await;
}

#[tokio::test]
async fn containers_outlive_the_engine_under_any_runtime() {
    for runtime in Cast::runtimes() {
        let cast = Cast::new();
        let mut yard = cast.yard();
        yard.run_with("web", "echo one; exec sleep 1000", under(runtime)).await;
        yard.log_until("web", "one").await;
        yard.kill_engine();
        yard.start_engine();
        let (said, code) = exec(&yard, "web", ExecConfig { cmd: words(&["echo", "two"]), ..Default::default() }).await;
        assert_eq!((said.as_str(), code), ("two\n", 0), "{runtime}");
        yard.leaves_nothing_behind().await;
    }
}

/// Its shim is all that a runtime of others leaves to look after its container.
#[tokio::test]
async fn a_killed_shim_is_a_dead_container_under_any_runtime() {
    Cast::each(async |runtime, yard: std::rc::Rc<Yard>| {
        let id = yard.run_with("orphan", "echo up; exec sleep 1000", under(runtime)).await;
        yard.log_until("orphan", "up").await;
        let pid = yard.docker().inspect_container("orphan", None).await.unwrap().state.unwrap().pid.unwrap();
        let note = std::fs::read(yard.run_root().join("containers").join(&id).join("shim.pid")).unwrap();
        let note: serde_json::Value = serde_json::from_slice(&note).unwrap();
        let shim = nix::unistd::Pid::from_raw(i32::try_from(note["pid"].as_i64().unwrap()).unwrap());
        nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGKILL).unwrap();

        let is_over = |found: &bollard::models::ContainerInspectResponse| {
            found.state.as_ref().is_some_and(|state| state.running == Some(false))
        };
        let state = yard.until("orphan", is_over).await.state.unwrap();
        assert_eq!(state.exit_code, Some(255), "{runtime}");
        assert!(state.error.is_some_and(|error| error.contains("shim")), "{runtime}");
        // its end is certain when it is told; the kernel, and whoever inherited it, need a moment more
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let until = std::time::Instant::now() + support::PATIENCE;
        while !stat().is_empty() && !stat().contains(") Z ") {
            assert!(std::time::Instant::now() < until, "{runtime}: its process lives on: {}", stat());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        yard.docker().start_container("orphan", None).await.unwrap();
        let again = |found: &bollard::models::ContainerInspectResponse| {
            found.state.as_ref().is_some_and(|state| state.running == Some(true))
        };
        yard.until("orphan", again).await;
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_missing_has_dockers_code_and_words() {
    Cast::each(async |runtime, yard: std::rc::Rc<Yard>| {
        let image = yard.host_image().await;
        let config = ContainerCreateBody {
            image: Some(image),
            cmd: words(&["nosuch"]),
            host_config: Some(under(runtime)),
            ..Default::default()
        };
        let options = bollard::query_parameters::CreateContainerOptionsBuilder::default().name("none").build();
        yard.docker().create_container(Some(options), config).await.unwrap();
        let refused = yard.docker().start_container("none", None).await.unwrap_err().to_string();
        assert!(refused.contains("OCI runtime create failed") && refused.contains("not found"), "{runtime}: {refused}");
        let shown = yard.docker().inspect_container("none", None).await.unwrap();
        assert_eq!(shown.state.unwrap().exit_code, Some(127), "{runtime}");
    })
    .await;
}

#[tokio::test]
async fn unknown_runtimes_are_refused_and_missing_ones_named() {
    let cast = Cast::new();
    let program = cast.folder.path().join("boxyard-oci");
    let yard = cast.yard();
    let info = yard.docker().info().await.unwrap();
    assert_eq!(info.default_runtime.as_deref(), Some("boxyard"));
    let runtimes = info.runtimes.unwrap();
    assert_eq!(runtimes["self"].path.as_deref().map(Path::new), Some(program.as_path()));
    assert!(runtimes.contains_key("boxyard"));

    let image = yard.host_image().await;
    let config = |runtime: &str| ContainerCreateBody {
        image: Some(image.clone()),
        cmd: words(&["true"]),
        host_config: Some(under(runtime)),
        ..Default::default()
    };
    let refused = yard.docker().create_container(None, config("kata")).await.unwrap_err().to_string();
    assert!(refused.contains("unknown or invalid runtime name: kata"), "{refused}");

    let id = yard.docker().create_container(None, config("self")).await.unwrap().id;
    std::fs::remove_file(&program).unwrap();
    let refused = yard.docker().start_container(&id, None).await.unwrap_err().to_string();
    assert!(refused.contains(program.to_str().unwrap()) && refused.contains("--add-runtime self=PATH"), "{refused}");
    yard.leaves_nothing_behind().await;
}
