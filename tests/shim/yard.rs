//! A container of the host's own programs, and a shim around it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard_stubs::models::{ContainerConfig, HostConfig};
use boxyard::engine::layer::OverlayStack;
use boxyard::engine::oci::{self, MountPlan, NetNs, Peers, PlanInput, ProcessPlan};
use boxyard::engine::runtime::{Cgroups, HostFacts};
use boxyard::engine::shim::{
    Bundle, ExecRequest, ExitRecord, LogSpec, Shim, ShimBinary, ShimError, ShimSpec, StdinMode, VERSION,
};
use boxyard::engine::store;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Number of the next yard in this process.
static YARDS: AtomicU32 = AtomicU32::new(0);

/// What a test waits for, with an end.
#[track_caller]
pub fn within<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move { tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("nothing happened: {place}")) }
}

/// A bundle, a state folder, a root of the host's programs and a spec to run them.
pub struct Yard {
    pub spec: ShimSpec,
    folder: tempfile::TempDir,
    bundle: PathBuf,
}

/// What came through Docker's frames.
pub struct Output {
    pub stdout: String,
    pub stderr: String,
}

impl Yard {
    /// Whose container runs `script`.
    pub fn new(script: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("boxyard-shim-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["lower/tmp", "lower/proc", "upper", "work", "state"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        // As long as an engine's bundle paths are at most, and longer than a socket's name may be.
        let bundle = at(&"run-root-of-some-length/".repeat(3)).join("c".repeat(64));
        fs::create_dir_all(&bundle).unwrap();
        let number = YARDS.fetch_add(1, Ordering::Relaxed);
        let id = format!("yard-{number}");
        let config = ContainerConfig {
            cmd: Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec()),
            env: Some(vec!["PATH=/usr/bin:/bin".to_owned()]),
            ..ContainerConfig::default()
        };
        let plan = oci::plan(&PlanInput {
            id: &id,
            config: &config,
            host_config: &HostConfig::default(),
            root: OverlayStack { lowers: vec![at("lower")], upper: at("upper"), work: at("work"), is_volatile: false },
            mounts: host_programs(&at("lower")),
            net: NetNs::Fresh,
            cgroup_parent: format!("boxyard-shim-test-{}-{number}", std::process::id()),
            host: &HostFacts::read(),
            peers: Peers::default(),
            user: Default::default(),
        });
        let spec = ShimSpec {
            version: VERSION,
            plan: plan.unwrap(),
            log: LogSpec::json_file(&at("state/it-json.log")),
            stdin: StdinMode::Closed,
            exit_path: at("state/exit.json"),
            dns: None,
            restart: None,
            trace: false,
            health: None,
            runtime: None,
        };
        Self { spec, folder, bundle }
    }

    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    pub async fn try_spawn(&self) -> Result<Shim, ShimError> {
        let binary = ShimBinary::of_file(Path::new(env!("CARGO_BIN_EXE_boxyard"))).unwrap();
        Shim::spawn(&binary, &self.bundle, &self.spec, None).await
    }

    pub async fn spawn(&self) -> Shim {
        self.try_spawn().await.unwrap()
    }

    pub fn exec(&self, exec_id: &str, script: &str) -> ExecRequest {
        self.exec_args(exec_id, &["/bin/sh", "-c", script])
    }

    pub fn exec_args(&self, exec_id: &str, args: &[&str]) -> ExecRequest {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let plan = ProcessPlan { args, tty: false, ..self.spec.plan.process.clone() };
        ExecRequest {
            exec_id: exec_id.to_owned(),
            plan,
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
            detach: false,
            size: None,
        }
    }

    pub fn exit_record(&self) -> Option<ExitRecord> {
        store::read_record(&self.spec.exit_path).unwrap()
    }

    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.spec.log.path).unwrap()
    }

    /// Waits for a file beside the log.
    pub async fn file_appears(&self, name: &str) {
        let path = self.spec.log.path.with_file_name(name);
        within(async {
            while !path.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    fn cgroups(&self) -> Cgroups {
        Cgroups::new(self.spec.plan.cgroup.layout.clone())
    }

    /// Waits for the shim's end and looks for litter.
    pub async fn leaves_nothing_behind(&self, shim: &Shim) {
        within(ended(shim.pid())).await;
        self.is_clean().await;
    }

    pub async fn is_clean(&self) {
        let bundle = Bundle::new(&self.bundle);
        assert_eq!(fs::read_to_string(bundle.complaints()).unwrap(), "", "the shim complained");
        assert!(!bundle.pid().exists() && !self.bundle.join(Bundle::SOCKET).exists());
        assert_eq!(self.cgroups().pids(&self.spec.plan.cgroup.path).unwrap_or_default(), Vec::<u32>::new());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.folder.path().to_str().unwrap()), "{mounts}");
    }

    /// What an engine does when a shim is gone: nobody else kills the container.
    pub async fn clean_up_as_an_engine(&self) {
        self.cgroups().kill_all(&self.spec.plan.cgroup.path).unwrap();
        self.cgroups().remove(&self.spec.plan.cgroup.path).unwrap();
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        let parent = self.spec.plan.cgroup.path.split('/').next().unwrap_or_default();
        // A failed test's container.
        let _ = self.cgroups().kill_all(&self.spec.plan.cgroup.path);
        let removed = self.cgroups().remove(parent);
        if !std::thread::panicking() {
            removed.expect("nothing is left of the cgroups");
        }
    }
}

/// The host's programs and libraries, read-only, so that no test needs an image or a static program.
fn host_programs(lower: &Path) -> Vec<MountPlan> {
    let mut mounts = Vec::new();
    for name in ["usr", "bin", "sbin", "lib", "lib32", "lib64"] {
        let path = Path::new("/").join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), lower.join(name)).unwrap();
            }
            Ok(_) => {
                fs::create_dir(lower.join(name)).unwrap();
                mounts.push(MountPlan::bind(&path, path.to_str().unwrap()).read_only());
            }
            Err(_) => {}
        }
    }
    mounts
}

/// Reads Docker's frames to the end of the stream.
pub async fn frames(mut stream: UnixStream) -> Output {
    let mut bytes = Vec::new();
    // Whoever was cut off may see a reset instead of an end.
    let _ = within(stream.read_to_end(&mut bytes)).await;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut rest = bytes.as_slice();
    while let Some(([kind, 0, 0, 0, length @ ..], after)) = rest.split_first_chunk::<8>() {
        let length = (u32::from_be_bytes(*length) as usize).min(after.len());
        let (content, after) = after.split_at(length);
        match kind {
            1 => stdout.extend_from_slice(content),
            2 => stderr.extend_from_slice(content),
            other => panic!("stream {other}"),
        }
        rest = after;
    }
    Output { stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8(stderr).unwrap() }
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

pub fn kill(pid: u32) {
    kill_process(pid_of(pid), Signal::KILL).unwrap();
}

pub fn signal(pid: u32, signal: i32) {
    kill_process(pid_of(pid), Signal::from_named_raw(signal).unwrap()).unwrap();
}

/// Waits until process `pid` is no more and was waited for.
pub async fn ended(pid: u32) {
    let Ok(pidfd) = pidfd_open(pid_of(pid), PidfdFlags::NONBLOCK) else { return };
    let pidfd: OwnedFd = pidfd;
    boxyard::sys::readiness::readable(pidfd).unwrap().readable().await.unwrap().retain_ready();
    while Path::new(&format!("/proc/{pid}")).exists() {
        tokio::task::yield_now().await;
    }
}
