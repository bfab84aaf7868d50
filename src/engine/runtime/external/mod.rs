//! A container carried out by another OCI runtime: `runc`, `crun`, or whatever the person has.
//!
//! The plan becomes a bundle in `<bundle>/oci/`; the runtime makes the container from it and goes, and what it leaves is
//! the caller's child as ours would be, because the caller is its subreaper. So streams, waiting, signals and limits are
//! the same as with our own runtime; only the steps that make, start, enter and clear away a container are the other
//! one's. The caller must have one thread.
//!
//! Absent on purpose: mounts of the host's. The container's root, and what a runtime could not find by a path, are
//! mounted in a namespace that only the runtime's call sees; the container has its own copies by then.

mod call;
mod error;
mod stage;

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

pub use error::ExternalError;

use self::call::{Call, Console, Ends};
use super::cgroup::Cgroups;
use super::{Running, Stdio};
use crate::engine::oci::spec::bundle;
use crate::engine::oci::{ConsoleSize, ExternalRuntime, LaunchPlan, ProcessPlan};
use crate::engine::trace::Trace;

/// How long a runtime may take to make a container.
const CREATE_LIMIT: Duration = Duration::from_secs(45);
/// How long it may take for anything else: less than an engine waits for its shim's answer.
const LIMIT: Duration = Duration::from_secs(15);

/// One container of another runtime.
#[derive(Debug, Clone)]
pub struct External {
    runtime: ExternalRuntime,
    id: String,
    place: PathBuf,
}

/// A container whose first process is set up and waits for [`Waiting::start`].
#[derive(Debug)]
pub struct Waiting {
    container: External,
    /// The process, as the caller's pid namespace counts.
    pub pid: u32,
    pidfd: OwnedFd,
    /// The terminal's master.
    pub pty_master: Option<OwnedFd>,
    /// The stages up to here, where traced.
    pub trace: Trace,
}

impl External {
    /// The container `id` of `runtime`, whose files are below the folder `bundle`.
    pub fn new(runtime: ExternalRuntime, id: &str, bundle: &Path) -> Self {
        Self { runtime, id: id.to_owned(), place: bundle.join("oci") }
    }

    /// Has the runtime make the container; its first process waits. `netns` is what `NetNs::Inherited` stands for.
    ///
    /// # Errors
    /// The step that failed, or the runtime's own words; nothing is left behind then.
    pub fn create(
        self,
        plan: &LaunchPlan,
        stdio: Stdio,
        netns: Option<BorrowedFd<'_>>,
        mut trace: Trace,
    ) -> Result<Waiting, ExternalError> {
        let created = self.try_create(plan, stdio, netns);
        if created.is_err() {
            self.delete();
            let _ = Cgroups::new(plan.cgroup.layout.clone()).remove(&plan.cgroup.path); // the first failure is told
        }
        let (pid, pidfd, pty_master) = created?;
        trace.mark("another runtime made the container");
        Ok(Waiting { container: self, pid, pidfd, pty_master, trace })
    }

    fn try_create(
        &self,
        plan: &LaunchPlan,
        stdio: Stdio,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<(u32, OwnedFd, Option<OwnedFd>), ExternalError> {
        let io = |attempted: &'static str| move |error| ExternalError::io(attempted, &self.place, error);
        self.clear();
        fs::create_dir_all(&self.place).map_err(io("create"))?;
        let console = self.console(&stdio)?;
        let (streams, size) = Ends::of(stdio)?;
        let netns = netns.map(|fd| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()).into());
        stage::with_mounts(plan, &self.place, |mut found| {
            found.netns = netns;
            let mut config = bundle::bundle(plan, &self.runtime, &found);
            if let (Some(process), Some(size)) = (&mut config.process, size) {
                process.console_size = Some(box_of(size));
            }
            self.write("config.json", &config)?;
            let mut call = self.call(&["create", "--bundle"]);
            call.arg(&self.place).arg("--pid-file").arg(self.place.join("pid"));
            self.with_console(&mut call, console.as_ref());
            call.arg(&self.id).run(streams, CREATE_LIMIT)
        })?;
        let (pid, pidfd) = self.process_of("pid")?;
        let master = self.master(console, size.or(plan.process.console_size))?;
        Ok((pid, pidfd, master))
    }

    /// Has the runtime run a further process in the container whose first one is `init`.
    ///
    /// # Errors
    /// The step that failed, or the runtime's own words.
    pub fn exec(&self, init: u32, plan: &ProcessPlan, stdio: Stdio) -> Result<Running, ExternalError> {
        let console = self.console(&stdio)?;
        let (streams, size) = Ends::of(stdio)?;
        let mut process = bundle::process(plan, &stage::user_in(init, plan)?);
        process.console_size = size.map(box_of).or(process.console_size);
        self.write("exec.json", &process)?;
        let mut call = self.call(&["exec", "--detach", "--process"]);
        call.arg(self.place.join("exec.json")).arg("--pid-file").arg(self.place.join("exec.pid"));
        self.with_console(&mut call, console.as_ref());
        call.arg(&self.id).run(streams, LIMIT)?;
        let (pid, pidfd) = self.process_of("exec.pid")?;
        let pty_master = self.master(console, size.or(plan.console_size))?;
        Ok(Running { pid, pidfd, pty_master, trace: Trace::default() })
    }

    /// Has the runtime forget the container, with whatever is left of it. What it refuses is left to the caller, who
    /// kills and removes the cgroup in any case.
    pub fn delete(&self) {
        if self.place.join("state").exists() {
            let _ = self.call(&["delete", "--force"]).arg(&self.id).run(Ends::none(), LIMIT);
        }
        self.clear();
    }

    fn clear(&self) {
        let _ = fs::remove_dir_all(&self.place); // what can't go now goes with the whole bundle
    }

    fn call(&self, words: &[&str]) -> Call {
        Call::new(&self.runtime, &self.place, words)
    }

    fn write(&self, name: &str, value: &impl serde::Serialize) -> Result<(), ExternalError> {
        let path = self.place.join(name);
        let written = serde_json::to_vec(value).map_err(io::Error::other).and_then(|text| fs::write(&path, text));
        written.map_err(|error| ExternalError::io("write", &path, error))
    }

    fn console(&self, stdio: &Stdio) -> Result<Option<Console>, ExternalError> {
        match stdio {
            Stdio::Terminal(_) => Console::listen(&self.place).map(Some),
            Stdio::Fds { .. } => Ok(None),
        }
    }

    fn with_console(&self, call: &mut Call, console: Option<&Console>) {
        if let Some(console) = console {
            call.arg("--console-socket").arg(console.path());
        }
    }

    fn master(&self, console: Option<Console>, size: Option<ConsoleSize>) -> Result<Option<OwnedFd>, ExternalError> {
        let Some(console) = console else { return Ok(None) };
        let master =
            console.receive(LIMIT).map_err(|error| ExternalError::io("receive the terminal at", &self.place, error))?;
        if let Some(ConsoleSize { rows, cols }) = size {
            let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = rustix::termios::tcsetwinsize(&master, size); // some runtimes have done so already
        }
        Ok(Some(master))
    }

    /// The process whose number the runtime left in the file `name`. It is our child, so its number is not given to
    /// another one before we have waited for it.
    fn process_of(&self, name: &str) -> Result<(u32, OwnedFd), ExternalError> {
        let path = self.place.join(name);
        let read = |error| ExternalError::io("read", &path, error);
        let text = fs::read_to_string(&path).map_err(read)?;
        let number: i32 = text.trim().parse().map_err(|_| read(io::ErrorKind::InvalidData.into()))?;
        let pid = Pid::from_raw(number).ok_or_else(|| read(io::ErrorKind::InvalidData.into()))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| ExternalError::io("open the process of", &path, error.into()))?;
        Ok((number.unsigned_abs(), pidfd))
    }
}

impl Waiting {
    /// Lets the process execute its program.
    ///
    /// # Errors
    /// The runtime's own words; the container is then gone, its cgroup may still be there.
    pub fn start(self) -> Result<Running, ExternalError> {
        let Self { container, pid, pidfd, pty_master, mut trace } = self;
        match container.call(&["start"]).arg(&container.id).run(Ends::none(), LIMIT) {
            Ok(()) => {
                trace.mark("another runtime started the program");
                Ok(Running { pid, pidfd, pty_master, trace })
            }
            Err(error) => {
                container.delete();
                Err(error)
            }
        }
    }
}

fn box_of(size: ConsoleSize) -> crate::engine::oci::spec::ConsoleBox {
    crate::engine::oci::spec::ConsoleBox { height: size.rows, width: size.cols }
}
