//! Cgroups: where the hierarchies are, a container's place in them, its limits and what it uses.
//!
//! Version 1, version 2 and mixtures: which controller is where is found out for each one. On a mixed host the
//! version 2 tree is used as well, even if it owns no controller, since it freezes, kills and lists a whole group at
//! once. What to write is decided in [`limits`] without touching anything; here it is written.

mod devices;
mod layout;
mod limits;
mod read;
mod stats;

pub use layout::{CgroupLayout, CgroupMode, Controller, Hierarchy};
pub use stats::{BlkioEntry, BlkioStats, CgroupStats, CpuStats, MemoryStats, PidsStats, SchedulerStats};

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};

use super::HostFacts;
use crate::engine::oci::Limits;
use limits::Write;

/// How long freezing, killing and removing wait for the kernel.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a parent may go between its making and its child's: with the last container of others that share it.
const PARENT_RACES: usize = 8;

/// A cgroup that could not be made, limited, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("{attempted} {}: {source}", path.display())]
pub struct CgroupError {
    /// What was attempted.
    pub attempted: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

/// This host's cgroup hierarchies. Paths in its methods are relative to each hierarchy's mount.
#[derive(Debug, Clone)]
pub struct Cgroups {
    layout: CgroupLayout,
}

impl Cgroups {
    /// The hierarchies of a host whose facts were read.
    pub fn detect(host: &HostFacts) -> Self {
        Self::new(host.cgroups.clone())
    }

    /// The hierarchies at `layout`.
    pub fn new(layout: CgroupLayout) -> Self {
        Self { layout }
    }

    /// Makes `path` in every hierarchy, with its missing parents, and applies `limits`. Where that fails, nothing is left.
    pub fn create(&self, path: &str, limits: &Limits) -> Result<(), CgroupError> {
        let made = self.make_unified(path).and_then(|()| self.make_rest(path, limits));
        if made.is_err() {
            let _ = self.remove(path); // the first failure is the one to tell
        }
        made
    }

    /// What [`create`](Self::create) does after [`make_unified`](Self::make_unified), for a caller who does something in
    /// between; he removes what is there of it when this fails.
    pub fn make_rest(&self, path: &str, limits: &Limits) -> Result<(), CgroupError> {
        beside_others(|| self.make_v1(path))?;
        self.update(path, limits)
    }

    /// Makes `path` in the version 2 tree, if there is one.
    pub fn make_unified(&self, path: &str) -> Result<(), CgroupError> {
        let Some(root) = &self.layout.v2 else { return Ok(()) };
        beside_others(|| {
            let wanted = self.delegated_controllers();
            delegate(root, &wanted);
            make_directory(root, Path::new(path), &|_| Ok(()))?;
            // those on the way too, which another container may have made a moment ago and not seen to yet
            let above: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
            for group in above.iter().rev().filter(|group| !group.as_os_str().is_empty()) {
                delegate(&root.join(group), &wanted);
            }
            Ok(())
        })
    }

    fn make_v1(&self, path: &str) -> Result<(), CgroupError> {
        for hierarchy in &self.layout.v1 {
            let is_cpuset = hierarchy.controllers.iter().any(|name| name == "cpuset");
            make_directory(&hierarchy.mount, Path::new(path), &|directory| {
                if is_cpuset { inherit_cpuset(directory) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    /// The controllers that version 2 groups must hand down for our limits, as `cgroup.subtree_control` wants them.
    fn delegated_controllers(&self) -> Vec<&str> {
        let ours = ["cpuset", "cpu", "io", "memory", "pids"];
        ours.into_iter().filter(|name| self.layout.v2_controllers.iter().any(|offered| offered == name)).collect()
    }

    /// Changes limits of a cgroup in use.
    pub fn update(&self, path: &str, limits: &Limits) -> Result<(), CgroupError> {
        let mut later: Option<Write> = None;
        for write in limits::writes(&self.layout, path, limits) {
            let result = write.apply();
            match result {
                // raising memory beyond memory+swap is refused until that is raised too, so try once more after it
                Err(error) if write.may_wait() && error.source.raw_os_error() == Some(libc::EINVAL) => {
                    later = Some(write);
                }
                other => other?,
            }
        }
        later.map_or(Ok(()), |write| write.apply())?;
        match (&limits.devices, self.layout.controller("devices")) {
            (Some(rules), Controller::V2(root)) => self.replace_device_program(&root.join(path), rules),
            _ => Ok(()),
        }
    }

    fn replace_device_program(
        &self,
        directory: &Path,
        rules: &[crate::engine::oci::DeviceRule],
    ) -> Result<(), CgroupError> {
        let failed = |errno: rustix::io::Errno| CgroupError {
            attempted: "attach device rules to",
            path: directory.to_owned(),
            source: errno.into(),
        };
        let cgroup = open_directory(directory).map_err(failed)?;
        crate::sys::bpf::replace_device_program(cgroup.as_fd(), &devices::program(rules)).map_err(failed)
    }

    /// The version 2 directory, for `CLONE_INTO_CGROUP`; `None` where there is no version 2 tree.
    pub fn unified_dir(&self, path: &str) -> Result<Option<OwnedFd>, CgroupError> {
        let Some(directory) = self.layout.v2.as_ref().map(|root| root.join(path)) else { return Ok(None) };
        match open_directory(&directory) {
            Ok(cgroup) => Ok(Some(cgroup)),
            Err(errno) => Err(CgroupError { attempted: "open", path: directory, source: errno.into() }),
        }
    }

    /// Moves the calling process, which must have one thread, into `path` in the version 1 hierarchies; it was cloned
    /// into the version 2 group.
    ///
    /// For a thread that moves nobody but itself, the kernel (since Linux 5.4) needs not keep all others from making and
    /// ending threads. Getting them to stop takes an RCU grace period: 6 ms on an idle machine, 20 ms on a busy one.
    pub fn enter_v1(&self, path: &str) -> Result<(), CgroupError> {
        let places = self.layout.v1.iter().map(|hierarchy| hierarchy.mount.join(path).join("tasks"));
        places.into_iter().try_for_each(|tasks| write_file(&tasks, "0"))
    }

    /// Stops every process in it; returns when they stand still.
    pub fn freeze(&self, path: &str) -> Result<(), CgroupError> {
        match self.freezer(path) {
            Freezer::V2(directory) => {
                write_file(&directory.join("cgroup.freeze"), "1")?;
                wait_for(&directory.join("cgroup.events"), |events| events.lines().any(|line| line == "frozen 1"))
            }
            Freezer::V1(directory) => {
                let state = directory.join("freezer.state");
                write_file(&state, "FROZEN")?;
                wait_for(&state, |now| now.trim() == "FROZEN")
            }
            Freezer::Absent => Err(no_freezer(path)),
        }
    }

    /// Lets them go on. Of a group that is gone nobody stands still: frozen processes die of SIGKILL, too, and whoever
    /// kills them and thaws the rest may find it removed.
    pub fn thaw(&self, path: &str) -> Result<(), CgroupError> {
        let thawed = match self.freezer(path) {
            Freezer::V2(directory) => write_file(&directory.join("cgroup.freeze"), "0"),
            Freezer::V1(directory) => write_file(&directory.join("freezer.state"), "THAWED"),
            Freezer::Absent => Err(no_freezer(path)),
        };
        match thawed {
            Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
            other => other,
        }
    }

    fn freezer(&self, path: &str) -> Freezer {
        let v2 = self.layout.v2.as_ref().map(|root| root.join(path)).filter(|at| at.join("cgroup.freeze").exists());
        match (v2, self.layout.controller("freezer")) {
            (Some(directory), _) => Freezer::V2(directory),
            (None, Controller::V1(mount)) => Freezer::V1(mount.join(path)),
            (None, _) => Freezer::Absent,
        }
    }

    /// Kills every process in it, frozen ones too.
    pub fn kill_all(&self, path: &str) -> Result<(), CgroupError> {
        if let Some(kill) = self.layout.v2.as_ref().map(|root| root.join(path).join("cgroup.kill"))
            && kill.exists()
        {
            return write_file(&kill, "1");
        }
        let until = Instant::now() + PATIENCE;
        loop {
            // a killed process that is frozen by version 1 dies only once it is thawed
            let is_frozen = self.freeze(path).is_ok();
            let pids = self.pids(path)?;
            for pid in pids.iter().filter_map(|pid| i32::try_from(*pid).ok()).filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL); // gone already is as good
            }
            if is_frozen {
                self.thaw(path)?;
            }
            if pids.is_empty() || Instant::now() > until {
                return Ok(());
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// The processes in it and below it, as this process's namespace counts.
    pub fn pids(&self, path: &str) -> Result<Vec<u32>, CgroupError> {
        let with_tasks = ["pids", "freezer", "memory", "cpuacct"];
        let v1 = with_tasks.iter().find_map(|name| match self.layout.controller(name) {
            Controller::V1(mount) => Some(mount.to_owned()),
            _ => None,
        });
        let Some(root) = self.layout.v2.clone().or(v1) else { return Ok(Vec::new()) };
        let mut pids = Vec::new();
        collect_pids(&root.join(path), &mut pids)?;
        pids.sort_unstable();
        Ok(pids)
    }

    /// What it uses now.
    pub fn stats(&self, path: &str) -> Result<CgroupStats, CgroupError> {
        read::stats(&self.layout, path)
    }

    /// How many of its processes the OOM killer took.
    pub fn oom_kills(&self, path: &str) -> Result<u64, CgroupError> {
        let events = match self.layout.controller("memory") {
            Controller::V1(mount) => mount.join(path).join("memory.oom_control"),
            Controller::V2(root) => root.join(path).join("memory.events"),
            Controller::Absent => return Ok(0),
        };
        Ok(read::keyed(&read_file(&events)?).get("oom_kill").copied().unwrap_or(0))
    }

    /// Where the kernel tells of OOM kills; `None` without a memory controller.
    pub fn oom_source(&self, path: &str) -> Option<OomSource> {
        match self.layout.controller("memory") {
            Controller::V1(mount) => Some(OomSource::V1(mount.join(path))),
            Controller::V2(root) => Some(OomSource::V2(root.join(path).join("memory.events"))),
            Controller::Absent => None,
        }
    }

    /// Whether its processes stand still.
    pub fn is_frozen(&self, path: &str) -> bool {
        let (file, frozen) = match self.freezer(path) {
            Freezer::V2(directory) => (directory.join("cgroup.freeze"), "1"),
            Freezer::V1(directory) => (directory.join("freezer.state"), "FROZEN"),
            Freezer::Absent => return false,
        };
        read_file(&file).is_ok_and(|state| state.trim() == frozen)
    }

    /// Removes it from every hierarchy where nothing is in it or below it.
    pub fn remove_if_empty(&self, path: &str) {
        let roots = self.layout.v1.iter().map(|hierarchy| &hierarchy.mount).chain(&self.layout.v2);
        // A refusal says that it is in use, or was not there.
        roots.for_each(|root| drop(fs::remove_dir(root.join(path))));
    }

    /// Removes it from every hierarchy, with what is below; waits a while for processes that are ending. Success if
    /// it was not there.
    pub fn remove(&self, path: &str) -> Result<(), CgroupError> {
        let until = Instant::now() + PATIENCE;
        let roots = self.layout.v1.iter().map(|hierarchy| &hierarchy.mount).chain(&self.layout.v2);
        let results: Vec<_> = roots.map(|root| remove_directory(&root.join(path), until)).collect();
        results.into_iter().collect() // every one is tried, the first failure is told
    }
}

/// Where the kernel tells of OOM kills in a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OomSource {
    /// The cgroup's folder in the memory hierarchy, which has `memory.oom_control` and `cgroup.event_control`.
    V1(PathBuf),
    /// The file `memory.events`.
    V2(PathBuf),
}

enum Freezer {
    V1(PathBuf),
    V2(PathBuf),
    Absent,
}

fn no_freezer(path: &str) -> CgroupError {
    let source = io::Error::new(io::ErrorKind::Unsupported, "no freezer cgroup is mounted");
    CgroupError { attempted: "freeze", path: PathBuf::from(path), source }
}

fn open_directory(directory: &Path) -> Result<OwnedFd, rustix::io::Errno> {
    rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Tries again where a parent went away meanwhile.
fn beside_others(mut make: impl FnMut() -> Result<(), CgroupError>) -> Result<(), CgroupError> {
    let mut made = make();
    for _ in 0..PARENT_RACES {
        match &made {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => made = make(),
            _ => break,
        }
    }
    made
}

/// Makes `root/path`; `prepare` is called on each directory on the way that was missing.
fn make_directory(
    root: &Path,
    path: &Path,
    prepare: &dyn Fn(&Path) -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    let directory = root.join(path);
    let failed = |source| CgroupError { attempted: "make", path: directory.clone(), source };
    match fs::create_dir(&directory) {
        Ok(()) => prepare(&directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let Some(parent) = parent else { return Err(failed(error)) };
            make_directory(root, parent, prepare)?;
            fs::create_dir(&directory).or_else(if_exists).map_err(failed)?;
            prepare(&directory)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Another container may have made the same parent meanwhile.
fn if_exists(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// A version 1 cpuset takes no process before it has processors and memory nodes: its parent's. A parent without any is
/// one that another container made a moment ago; it gets them first.
fn inherit_cpuset(directory: &Path) -> Result<(), CgroupError> {
    let Some(parent) = directory.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if !read_file(&directory.join(file))?.trim().is_empty() {
            continue;
        }
        if read_file(&parent.join(file))?.trim().is_empty() {
            inherit_cpuset(parent)?;
        }
        write_file(&directory.join(file), read_file(&parent.join(file))?.trim())?;
    }
    Ok(())
}

/// Hands controllers down to the groups below `directory`. One that cannot be handed down is left out: a limit that
/// needs it then fails by its own name, and a container without limits does not fail at all.
fn delegate(directory: &Path, controllers: &[&str]) {
    let control = directory.join("cgroup.subtree_control");
    let present = fs::read_to_string(&control).unwrap_or_default();
    for controller in controllers.iter().filter(|name| !present.split_whitespace().any(|known| known == **name)) {
        if let Err(error) = fs::write(&control, format!("+{controller}")) {
            tracing::debug!(%controller, directory = %directory.display(), %error, "cgroup controller not delegated");
        }
    }
}

fn collect_pids(directory: &Path, pids: &mut Vec<u32>) -> Result<(), CgroupError> {
    let text = match read_file(&directory.join("cgroup.procs")) {
        // a threaded group lists its processes at its domain's root only
        Err(error) if error.source.raw_os_error() == Some(libc::EOPNOTSUPP) => String::new(),
        other => other?,
    };
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for below in subdirectories(directory) {
        match collect_pids(&below, pids) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {} // removed meanwhile
            other => other?,
        }
    }
    Ok(())
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn remove_directory(directory: &Path, until: Instant) -> Result<(), CgroupError> {
    let mut pause = Duration::from_micros(200);
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until => {
                for below in subdirectories(directory) {
                    remove_directory(&below, until)?;
                }
                sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(source) => return Err(CgroupError { attempted: "remove", path: directory.to_owned(), source }),
        }
    }
}

fn wait_for(file: &Path, is_reached: impl Fn(&str) -> bool) -> Result<(), CgroupError> {
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    while !is_reached(&read_file(file)?) {
        if Instant::now() > until {
            let source = io::Error::from(io::ErrorKind::TimedOut);
            return Err(CgroupError { attempted: "wait for", path: file.to_owned(), source });
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}

fn write_file(file: &Path, text: &str) -> Result<(), CgroupError> {
    // no O_CREAT: a missing control file must say so
    let result = fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut opened| io::Write::write_all(&mut opened, text.as_bytes()));
    result.map_err(|source| CgroupError { attempted: "write", path: file.to_owned(), source })
}

fn read_file(file: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(file).map_err(|source| CgroupError { attempted: "read", path: file.to_owned(), source })
}
