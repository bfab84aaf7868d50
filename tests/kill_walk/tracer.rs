//! A debugger that kills: it follows a process's threads from system call to system call and sends SIGKILL right before
//! the chosen one of those that change the world.
//!
//! A system call that was only entered has no effect yet, so point N is "everything up to N-1 has happened, N has not".
//! Which calls count is a matter of taste; reads, waits and memory do not.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::PATIENCE;

/// Whose steps are counted, and who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The engine, all of its threads.
    Engine,
    /// The shims that the engine starts while it is followed.
    Shim,
    /// A shim that runs, followed itself.
    LiveShim,
}

/// A thread that follows an engine, or a live shim, until that is dead.
pub struct Tracer {
    leader: Pid,
    thread: JoinHandle<Vec<&'static str>>,
}

impl Tracer {
    /// Follows process `leader` from now on; kills the victim right before its `at`-th step, if one is given.
    pub fn follow(leader: u32, victim: Victim, at: Option<usize>) -> Self {
        let (ready, is_ready) = mpsc::channel();
        let leader = Pid::from_raw(i32::try_from(leader).unwrap());
        let thread = std::thread::spawn(move || Trace::new(leader, victim, at).run(&ready));
        is_ready.recv_timeout(PATIENCE).expect("every thread of the process is followed");
        Self { leader, thread }
    }

    /// Kills the followed process, if it still lives, and names the steps that were taken.
    pub fn end(self) -> Vec<&'static str> {
        if !self.thread.is_finished() {
            let _ = kill(self.leader, Signal::SIGKILL);
        }
        self.thread.join().expect("the tracer ends with the process")
    }
}

struct Trace {
    leader: Pid,
    victim: Victim,
    at: Option<usize>,
    /// Followed threads that have not stopped for the first time.
    fresh: HashSet<Pid>,
    /// The process of each thread.
    groups: HashMap<Pid, Pid>,
    steps: Vec<&'static str>,
}

impl Trace {
    fn new(leader: Pid, victim: Victim, at: Option<usize>) -> Self {
        Self { leader, victim, at, fresh: HashSet::new(), groups: HashMap::new(), steps: Vec::new() }
    }

    fn run(mut self, ready: &mpsc::Sender<()>) -> Vec<&'static str> {
        self.seize_all();
        let mut told = false;
        loop {
            // Only what this thread follows: other threads of the test wait for their own children.
            let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => status,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return self.steps,
            };
            if let Some(thread) = status.pid() {
                self.fresh.remove(&thread);
            }
            let signal = match status {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) if pid == self.leader => return self.steps,
                WaitStatus::Stopped(_, signal) => Some(signal),
                WaitStatus::PtraceSyscall(pid) => {
                    // What it still does of its own accord, like waiting for the disk, is no step of what is tried.
                    if told {
                        self.step(pid);
                    }
                    None
                }
                WaitStatus::PtraceEvent(..) => None,
                _ => continue,
            };
            if let Some(thread) = status.pid() {
                // A thread that has just been killed can't be resumed any more.
                let _ = ptrace::syscall(thread, signal);
            }
            if self.fresh.is_empty() && !told {
                told = ready.send(()).is_ok();
            }
        }
    }

    fn seize_all(&mut self) {
        let mut options = Options::PTRACE_O_TRACESYSGOOD;
        match self.victim {
            Victim::Engine => options |= Options::PTRACE_O_TRACECLONE,
            Victim::Shim => options |= Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEVFORK,
            // It has one thread; what it clones is the container's.
            Victim::LiveShim => {}
        }
        let mut seized = HashSet::new();
        loop {
            let before = seized.len();
            for entry in fs::read_dir(format!("/proc/{}/task", self.leader)).unwrap().flatten() {
                let thread = Pid::from_raw(entry.file_name().to_string_lossy().parse().unwrap());
                // A thread of a followed thread is followed already.
                if seized.insert(thread) && ptrace::seize(thread, options).is_ok() {
                    self.fresh.insert(thread);
                }
            }
            if seized.len() == before {
                break;
            }
        }
        self.fresh.retain(|thread| ptrace::interrupt(*thread).is_ok());
        assert!(!self.fresh.is_empty(), "the process can be followed");
    }

    fn step(&mut self, thread: Pid) {
        let Some(name) = changing_call(thread) else { return };
        let group = *self.groups.entry(thread).or_insert_with(|| process_of(thread).unwrap_or(thread));
        if (group == self.leader) == (self.victim == Victim::Shim) {
            return;
        }
        self.steps.push(name);
        if self.at == Some(self.steps.len()) {
            let _ = kill(group, Signal::SIGKILL);
        }
    }
}

fn process_of(thread: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    group.trim().parse().ok().map(Pid::from_raw)
}

/// The name of the call that `thread` is entering, if it is one that changes something.
fn changing_call(thread: Pid) -> Option<&'static str> {
    const NOT_YET: u64 = (-(libc::ENOSYS as i64)) as u64;
    let registers = ptrace::getregs(thread).ok()?;
    if registers.rax != NOT_YET {
        return None;
    }
    let number = i64::try_from(registers.orig_rax).ok()?;
    let makes = |flags: u64| flags & (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) as u64 != 0;
    match number {
        // Wake-ups of event loops are eight bytes; words on standard error are nobody's state.
        libc::SYS_write | libc::SYS_sendto => (registers.rdx > 8 && registers.rdi > 2)
            .then_some(if number == libc::SYS_write { "write" } else { "sendto" }),
        libc::SYS_openat => makes(registers.rdx).then_some("openat"),
        libc::SYS_clone => (registers.rdi & libc::CLONE_VFORK as u64 != 0).then_some("vfork"),
        libc::SYS_writev => Some("writev"),
        libc::SYS_sendmsg => Some("sendmsg"),
        libc::SYS_connect => Some("connect"),
        libc::SYS_bind => Some("bind"),
        libc::SYS_mkdir | libc::SYS_mkdirat => Some("mkdir"),
        libc::SYS_rmdir => Some("rmdir"),
        libc::SYS_unlink | libc::SYS_unlinkat => Some("unlink"),
        libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2 => Some("rename"),
        libc::SYS_link | libc::SYS_linkat => Some("link"),
        libc::SYS_symlink | libc::SYS_symlinkat => Some("symlink"),
        libc::SYS_mknod | libc::SYS_mknodat => Some("mknod"),
        libc::SYS_chmod | libc::SYS_fchmod | libc::SYS_fchmodat => Some("chmod"),
        libc::SYS_mount => Some("mount"),
        libc::SYS_umount2 => Some("umount"),
        libc::SYS_fsmount => Some("fsmount"),
        libc::SYS_move_mount => Some("move_mount"),
        libc::SYS_open_tree => Some("open_tree"),
        libc::SYS_mount_setattr => Some("mount_setattr"),
        libc::SYS_unshare => Some("unshare"),
        libc::SYS_setns => Some("setns"),
        libc::SYS_kill => Some("kill"),
        libc::SYS_pidfd_send_signal => Some("pidfd_send_signal"),
        libc::SYS_clone3 => Some("clone3"),
        libc::SYS_fork | libc::SYS_vfork => Some("fork"),
        _ => None,
    }
}
