//! Hearing of the kernel's OOM killer when it strikes, not only afterwards.
//!
//! Version 1 signals an eventfd that was registered for `memory.oom_control`; version 2 changes `memory.events`, which
//! inotify tells. Both only say that something happened; how many were killed is in the file.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

use crate::engine::oci::CgroupPlan;
use crate::engine::runtime::{Cgroups, OomSource};

/// What becomes readable when the OOM killer was at work in a cgroup.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
}

impl OomWatch {
    /// Watches the cgroup of `plan`; `None` where the memory controller is absent or refuses.
    pub fn new(plan: &CgroupPlan) -> Option<Self> {
        let watched = match Cgroups::new(plan.layout.clone()).oom_source(&plan.path)? {
            OomSource::V1(folder) => register(&folder),
            OomSource::V2(events) => watch(&events),
        };
        // Without it an OOM kill is still told at the end, by the kernel's count.
        watched.ok().map(|fd| Self { fd })
    }

    /// Takes what there is to read, so that it is silent until the next kill.
    pub fn clear(&self) {
        let mut bytes = [0; 4096];
        while rustix::io::read(&self.fd, &mut bytes).is_ok_and(|count| count > 0) {}
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn register(folder: &Path) -> io::Result<OwnedFd> {
    let signalled = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = File::open(folder.join("memory.oom_control"))?;
    let wish = format!("{} {}", signalled.as_raw_fd(), control.as_raw_fd());
    fs::write(folder.join("cgroup.event_control"), wish)?;
    Ok(signalled)
}

fn watch(events: &Path) -> io::Result<OwnedFd> {
    let watching = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watching, events, inotify::WatchFlags::MODIFY)?;
    Ok(watching)
}
