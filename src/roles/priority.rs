//! Who goes first on a busy machine: the threads that answer requests, before the engine's own long work and before the
//! shims and containers it starts by the dozen. They have little to do, and somebody waits for it.
//!
//! All of it is a wish. Without the right to it (CAP_SYS_NICE) every thread is as good as any other, and all works.

use std::fs;

use nix::unistd::{getpid, getsid};
use rustix::process::{Pid, getpriority_process, setpriority_process};

/// The priority of threads that answer: nine times the weight of a usual one (sched(7)).
const FIRST: i32 = -10;
/// Where the kernel groups processes by session (sched(7), "autogroup"), the whole engine weighs no more than one shim;
/// unless its session has a priority of its own.
const AUTOGROUP: &str = "/proc/self/autogroup";

/// The priority that this process was given.
#[derive(Debug, Clone, Copy)]
pub struct Usual(i32);

impl Usual {
    /// The priority of the calling thread, which nobody has changed yet.
    pub fn of_this_thread() -> Self {
        Self(getpriority_process(None).unwrap_or(0))
    }

    /// Gives the calling thread the usual priority: a thread begins with that of the one which started it.
    pub fn take(self) {
        let _ = setpriority_process(None, self.0);
    }
}

/// Lets the threads that this process has now go first, unless it was told to stand back. Later ones take the usual.
pub fn answers_go_first() {
    if getpriority_process(None).is_ok_and(|given| given > 0) {
        return;
    }
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let number = thread.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let _ = setpriority_process(number, FIRST);
    }
    // Service managers and our own verbs give it a session. It takes none by itself: whoever started it from a script
    // signals the script's group, and is to reach it. (rustix's getsid panics where its leader is in an outer pid namespace.)
    if getsid(None) == Ok(getpid()) {
        let _ = fs::write(AUTOGROUP, FIRST.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_threads_take_the_usual() {
        std::thread::spawn(|| {
            let usual = Usual::of_this_thread();
            let started = std::thread::spawn(move || {
                let _ = setpriority_process(None, FIRST);
                std::thread::spawn(move || {
                    usual.take();
                    getpriority_process(None).unwrap()
                })
                .join()
            });
            assert_eq!(started.join().unwrap().unwrap(), usual.0);
        })
        .join()
        .unwrap();
    }
}
