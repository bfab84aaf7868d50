//! `--init`: a first process that does what an init must, so that the program need not.
//!
//! The program runs as its child; signals sent to the first process are passed on to it, orphans are reaped, and the
//! program's status becomes the container's. It has the rights of the program, no more, and its filter.

use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use rustix::process::{Pid, WaitOptions, WaitStatus, kill_process, setpgid, wait};

use std::ffi::CString;

use super::step::During;
use super::{Step, StepError};
use crate::sys::command_line;
use crate::sys::process::{close_descriptors, exit_now, fork, reset_signals};

/// Shows this process, which began as a copy of the shim, as the init that it is going to be. To be called while the
/// host's `/proc` is in sight.
pub(super) fn be_seen(program: &[String]) {
    let words = ["/sbin/docker-init", "--"].into_iter().chain(program.iter().map(String::as_str));
    let words: Vec<CString> = words.filter_map(|word| CString::new(word).ok()).collect();
    let _ = command_line::show(&words); // a kernel that can't leaves what was there
}

/// Goes on as the program's process; the calling process stays behind as its init and never returns.
pub(super) fn become_child_of_init() -> Result<(), StepError> {
    // from here on none is lost: the init takes them from its queue
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).during(Step::Clone, "signals")?;
    match fork().during(Step::Clone, "program")? {
        Some(program) => watch(program),
        None => {
            lead_a_group();
            reset_signals();
            Ok(())
        }
    }
}

/// Makes the program the foreground group of its terminal, if it has one, as if it had been started by a shell.
fn lead_a_group() {
    let _ = setpgid(None, None); // it is no leader yet, so this cannot fail
    let stdin = std::io::stdin();
    let _ = rustix::termios::tcsetpgrp(stdin.as_fd(), rustix::process::getpid()); // without a terminal there is none
}

/// Passes signals on and reaps until the program has ended, and ends like it.
fn watch(program: Pid) -> ! {
    let _ = rustix::thread::set_name(c"docker-init"); // what people look for in ps
    let _ = close_descriptors(3, u32::MAX); // the conversation with the parent among them: the program has it
    loop {
        match SigSet::all().wait() {
            Ok(Signal::SIGCHLD) => reap(program),
            Ok(signal) => pass_on(program, signal),
            Err(_) => {} // interrupted
        }
    }
}

fn pass_on(program: Pid, signal: Signal) {
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
        let _ = kill_process(program, signal); // it may be gone, and is reaped next then
    }
}

fn reap(program: Pid) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == program {
            exit_now(code(status));
        }
    }
}

/// As a shell tells it: 128 and the signal for a killed one.
fn code(status: WaitStatus) -> i32 {
    status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1)
}
