//! A user namespace for a container and the network namespace that belongs to it.
//!
//! Only a process of one thread can be in another user namespace, and the engine has many. So a short-lived process of
//! ours goes into one, makes the network namespace there and waits while the engine takes that. Whoever has the network
//! namespace finds the user namespace by it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::ShimBinary;
use crate::engine::EngineError;
use crate::engine::remap::Shift;
use crate::engine::runtime::raise_loopback;
use crate::sys::spawn::Streams;

/// What the process says when its namespaces are there; anything else is why they are not.
const READY: &[u8] = b"+";

/// A new network namespace with `lo` up, owned by a new user namespace in which containers have the ids of `shift`; or by
/// that of the process `of`, which has them already.
///
/// # Errors
/// What the kernel refused.
pub async fn user_sandbox(binary: &ShimBinary, shift: Shift, of: Option<u32>) -> Result<OwnedFd, EngineError> {
    let binary = binary.clone();
    let made = tokio::task::spawn_blocking(move || make(&binary, shift, of)).await;
    let made = made.map_err(|error| EngineError::system(format!("make a user namespace: {error}")))?;
    made.map_err(|error| EngineError::system(format!("make a user namespace: {error}{}", advice())))
}

/// The settings that forbid it.
fn advice() -> &'static str {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    if most.trim() == "0" { "; sysctl user.max_user_namespaces is 0" } else { "" }
}

fn make(binary: &ShimBinary, shift: Shift, of: Option<u32>) -> io::Result<OwnedFd> {
    let (held, holds) = io::pipe()?;
    let (mut answer, answers) = io::pipe()?;
    let null = File::open("/dev/null")?;
    let number = of.map(|pid| pid.to_string());
    let args: Vec<&str> = match &number {
        Some(pid) => vec!["shim", "--user-namespace-of", pid],
        None => vec!["shim", "--user-namespace"],
    };
    let streams = Streams { stdin: held.as_fd(), stdout: answers.as_fd(), stderr: null.as_fd() };
    let pid = binary.spawn(&args, streams)?;
    drop((held, answers));
    let taken = take(pid, &mut answer, shift, of);
    drop(holds); // it ends now
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
    taken
}

fn take(pid: u32, answer: &mut impl Read, shift: Shift, of: Option<u32>) -> io::Result<OwnedFd> {
    let mut said = [0; 256];
    let count = answer.read(&mut said)?;
    let said = said.get(..count).unwrap_or_default();
    if said != READY {
        return Err(io::Error::other(String::from_utf8_lossy(said).into_owned()));
    }
    if of.is_none() {
        fs::write(format!("/proc/{pid}/uid_map"), shift.uid.map())?;
        fs::write(format!("/proc/{pid}/gid_map"), shift.gid.map())?;
    }
    Ok(File::open(format!("/proc/{pid}/ns/net"))?.into())
}

/// The process: goes into the user namespace, makes the network's, waits until standard input ends.
pub(super) fn hold(of: Option<u32>) -> io::Result<()> {
    let entered = enter(of);
    let mut stdout = io::stdout();
    match &entered {
        Ok(()) => stdout.write_all(READY)?,
        Err(error) => stdout.write_all(error.to_string().as_bytes())?,
    }
    stdout.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn enter(of: Option<u32>) -> io::Result<()> {
    match of {
        Some(pid) => {
            setns(File::open(format!("/proc/{pid}/ns/user"))?, CloneFlags::CLONE_NEWUSER)?;
            unshare(CloneFlags::CLONE_NEWNET)?;
        }
        None => unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?,
    }
    raise_loopback().map_err(|error| io::Error::other(error.to_string()))
}
