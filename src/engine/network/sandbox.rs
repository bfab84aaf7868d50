//! Network namespaces: making one, and doing something in one. Each time on a thread of its own, since a namespace is a
//! property of the thread and a worker of the async runtime must never wake up in another one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::netlink::RouteSocket;

/// `lo` is always the first link of a namespace.
const LOOPBACK: u32 = 1;

/// Makes a namespace with `lo` up. Blocks.
pub fn create() -> io::Result<OwnedFd> {
    on_own_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        RouteSocket::open()?.set_up(LOOPBACK)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    })
}

/// Does `work` in `netns`. Blocks.
pub fn within<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let netns = netns.as_fd();
    on_own_thread(|| {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("boxyard-netns".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
    })
}
