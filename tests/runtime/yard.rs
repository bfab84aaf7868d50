//! A small root file system and a plan to run programs in it.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use bollard_stubs::models::{ContainerConfig, HostConfig};
use boxyard::engine::layer::OverlayStack;
use boxyard::engine::oci::{self, LaunchPlan, NetNs, Peers, PlanInput, ProcessPlan};
use boxyard::engine::runtime::{self, Cgroups, ExecTarget, HostFacts, Running, Stdio, StepError};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// What busybox is called by in the yard.
const PROGRAMS: [&str; 27] = [
    "cat", "chmod", "dd", "echo", "env", "grep", "head", "hostname", "id", "kill", "ls", "mkdir", "mknod", "mount",
    "ps", "pwd", "readlink", "sh", "sleep", "stat", "stty", "test", "touch", "true", "tty", "unshare", "wc",
];

/// A root made of busybox, its own cgroup, and a plan.
pub struct Yard {
    pub plan: LaunchPlan,
    pub temp: tempfile::TempDir,
}

/// What a program wrote and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub output: String,
    pub code: i32,
}

impl Yard {
    pub fn new(name: &str) -> Self {
        Self::with(name, &HostConfig::default())
    }

    pub fn with(name: &str, host_config: &HostConfig) -> Self {
        let temp = tempfile::Builder::new().prefix("boxyard-runtime-").tempdir().expect("a temporary directory");
        let at = |name: &str| temp.path().join(name);
        for directory in ["lower/bin", "lower/etc", "lower/tmp", "upper", "work"] {
            fs::create_dir_all(at(directory)).expect("a directory");
        }
        fs::copy(busybox(), at("lower/bin/busybox")).expect("busybox");
        for program in PROGRAMS {
            std::os::unix::fs::symlink("busybox", at("lower/bin").join(program)).expect("a link");
        }
        fs::write(at("lower/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
            .expect("passwd");
        fs::write(at("lower/etc/group"), "root:x:0:\napp:x:1000:\naudio:x:29:app\n").expect("group");
        let stack =
            OverlayStack { lowers: vec![at("lower")], upper: at("upper"), work: at("work"), is_volatile: false };
        Self { plan: plan(name, stack, host_config), temp }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn cgroups(&self) -> Cgroups {
        Cgroups::new(self.plan.cgroup.layout.clone())
    }

    /// Runs a shell script as the container's first process to its end.
    pub fn sh(&self, script: &str) -> Outcome {
        let mut plan = self.plan.clone();
        plan.process.args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self.run(&plan).expect("the container runs")
    }

    pub fn run(&self, plan: &LaunchPlan) -> Result<Outcome, StepError> {
        let (output, stdio) = piped();
        let created = runtime::create(plan, stdio, None)?;
        let running = created.start();
        let outcome = running.map(|running| finish(&running, output));
        self.cgroups().remove(&plan.cgroup.path).expect("the cgroup goes");
        outcome
    }

    /// Starts a shell script and leaves it running.
    pub fn start(&self, script: &str) -> (Running, OwnedFd) {
        let mut plan = self.plan.clone();
        plan.process.args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let (output, stdio) = piped();
        (runtime::create(&plan, stdio, None).expect("created").start().expect("started"), output)
    }

    /// Runs a shell script beside the first process.
    pub fn exec(&self, running: &Running, script: &str) -> Result<Outcome, StepError> {
        let args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self.exec_plan(running, &ProcessPlan { args, ..self.plan.process.clone() })
    }

    pub fn exec_plan(&self, running: &Running, plan: &ProcessPlan) -> Result<Outcome, StepError> {
        let (output, stdio) = piped();
        let target = ExecTarget { pid: running.pid, cgroup: &self.plan.cgroup };
        runtime::exec(target, plan, stdio).map(|running| finish(&running, output))
    }

    /// Ends what runs and takes its cgroup away.
    pub fn end(&self, running: &Running) -> i32 {
        self.cgroups().kill_all(&self.plan.cgroup.path).expect("killed");
        let code = wait(running);
        self.cgroups().remove(&self.plan.cgroup.path).expect("the cgroup goes");
        code
    }
}

fn busybox() -> &'static Path {
    const PLACES: [&str; 3] = ["/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"];
    PLACES.iter().map(Path::new).find(|path| path.exists()).expect("a static busybox (Debian: busybox-static)")
}

pub fn piped() -> (OwnedFd, Stdio) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let stdin = fs::File::open("/dev/null").expect("/dev/null").into();
    let stderr = write.try_clone().expect("a copy");
    (read, Stdio::Fds { stdin, stdout: write, stderr })
}

/// Reads to the end, then waits.
pub fn finish(running: &Running, output: OwnedFd) -> Outcome {
    let mut text = String::new();
    fs::File::from(output).read_to_string(&mut text).expect("output");
    Outcome { output: text, code: wait(running) }
}

/// Waits and gives the status as a shell would: 128 and the signal for a killed one.
pub fn wait(running: &Running) -> i32 {
    let status = waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED).expect("a child").expect("ended");
    status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal)).expect("a status")
}

/// Reads a line of a running program.
pub fn line(output: &OwnedFd) -> String {
    let mut line = String::new();
    let mut byte = [0];
    while rustix::io::read(output, &mut byte).expect("output") == 1 && byte != *b"\n" {
        line.push(char::from(byte[0]));
    }
    line
}

/// Reads a terminal until `end` has come.
pub fn read_until(master: &OwnedFd, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        match rustix::io::read(master, &mut byte) {
            Ok(1) => text.push(char::from(byte[0])),
            other => panic!("{other:?} after {text:?}"),
        }
    }
    text
}

/// Types into a terminal.
pub fn type_into(master: &OwnedFd, text: &str) {
    fs::File::from(master.try_clone().expect("a copy")).write_all(text.as_bytes()).expect("typed");
}

/// The plan of a container of ours, as Docker's configs make it.
fn plan(name: &str, stack: OverlayStack, host_config: &HostConfig) -> LaunchPlan {
    let config = ContainerConfig {
        cmd: Some(vec!["/bin/true".to_owned()]),
        env: Some(vec!["PATH=/bin".to_owned()]),
        hostname: Some("yard".to_owned()),
        ..ContainerConfig::default()
    };
    let input = PlanInput {
        id: name,
        config: &config,
        host_config,
        root: stack,
        mounts: Vec::new(),
        net: NetNs::Fresh,
        cgroup_parent: format!("boxyard-test-{}", std::process::id()),
        host: &HostFacts::read(),
        peers: Peers::default(),
        user: Default::default(),
    };
    oci::plan(&input).expect("a plan")
}

impl Drop for Yard {
    fn drop(&mut self) {
        let parent = self.plan.cgroup.path.split('/').next().unwrap_or_default();
        if std::thread::panicking() {
            let _ = self.cgroups().kill_all(parent); // what a failed story left running
        }
        self.cgroups().remove(parent).expect("nothing is left of the cgroups");
    }
}
