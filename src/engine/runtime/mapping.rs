//! The user namespace of a container, as a descriptor, and who of the host is root in it.
//!
//! A new one is made by a process that does nothing but be in it: its maps have to be written from outside, and it is
//! there until somebody holds the namespace itself.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::step::During;
use super::{Step, StepError};
use crate::engine::oci::{IdRange, NamespacePlan, UserNs};
use crate::sys::process::{Cloned, clone3, exit_now};
use crate::sys::userns;

/// The container's root on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub uid: u32,
    pub gid: u32,
}

/// The namespace that `plan` speaks of. The caller has the host's, is in the container's network namespace where that
/// one decides, and has one thread.
pub(super) fn namespace_of(plan: &NamespacePlan) -> Result<(OwnedFd, Root), StepError> {
    match &plan.user {
        UserNs::Host => Err(StepError::refused(Step::JoinNamespace, "user: it is the host's")),
        UserNs::OfNetwork { uid, gid } => {
            let network = File::open("/proc/self/ns/net").during(Step::JoinNamespace, "net")?;
            let namespace = userns::owner_of(network.as_fd()).during(Step::JoinNamespace, "user")?;
            Ok((namespace, Root { uid: *uid, gid: *gid }))
        }
        UserNs::New { uids, gids } => within(Some((uids, gids)), None),
        UserNs::Joined(path) => {
            let subject = path.display().to_string();
            let namespace = File::open(path).during(Step::JoinNamespace, &subject)?;
            within(None, Some(&namespace.into()))
        }
    }
}

/// Has a process go into a new namespace or into `joined`, looks at it from outside, and ends it.
fn within(maps: Option<(&[IdRange], &[IdRange])>, joined: Option<&OwnedFd>) -> Result<(OwnedFd, Root), StepError> {
    let (end, ends) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during(Step::Clone, "pipe")?;
    let (ready, readies) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during(Step::Clone, "pipe")?;
    let flags = if maps.is_some() { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
    let Cloned::Parent { pid, pidfd } =
        clone3(u64::from(flags.bits().unsigned_abs()), None).during(Step::Clone, "in a user namespace")?
    else {
        drop((ends, ready));
        let is_in = joined.is_none_or(|namespace| setns(namespace, CloneFlags::CLONE_NEWUSER).is_ok());
        let _ = rustix::io::write(&readies, if is_in { b"+" } else { b"-" });
        let _ = rustix::io::read(&end, &mut [0]); // ends with its writer
        exit_now(0)
    };
    drop((end, readies));
    let mut said = [0];
    let looked = match rustix::io::read(&ready, &mut said) {
        Ok(1) if said == *b"+" => look(pid, maps),
        _ => Err(StepError::refused(Step::JoinNamespace, "user: it can't be entered")),
    };
    drop(ends);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED); // it ends by itself
    looked
}

fn look(pid: u32, maps: Option<(&[IdRange], &[IdRange])>) -> Result<(OwnedFd, Root), StepError> {
    let file = |name: &str| format!("/proc/{pid}/{name}");
    if let Some((uids, gids)) = maps {
        for (name, ranges) in [("uid_map", uids), ("gid_map", gids)] {
            fs::write(file(name), text(ranges)).during(Step::JoinNamespace, format!("user: write {name}"))?;
        }
    }
    let root = Root { uid: first(file("uid_map"))?, gid: first(file("gid_map"))? };
    let namespace = File::open(file("ns/user")).during(Step::JoinNamespace, "user")?;
    Ok((namespace.into(), root))
}

/// As the kernel takes it: one range a line.
fn text(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
}

/// Which of the host's ids is 0, by a map that is read with the host's eyes.
pub(super) fn first(map: impl AsRef<Path>) -> Result<u32, StepError> {
    let subject = map.as_ref().display().to_string();
    let text = fs::read_to_string(map.as_ref()).during(Step::JoinNamespace, &subject)?;
    let mut lines = text.lines().map(|line| line.split_whitespace().map(str::parse).collect::<Vec<_>>());
    let first = lines.find_map(|line| if let [Ok(0), Ok(first), _] = *line { Some(first) } else { None });
    first.ok_or_else(|| StepError::refused(Step::JoinNamespace, "user: it has no root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_lines() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        assert_eq!(text(&[range(0, 100_000, 65536), range(65536, 5, 1)]), "0 100000 65536\n65536 5 1\n");
    }

    #[test]
    fn root_is_found_in_a_map() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "         5        9          1\n         0     100000      65536\n").unwrap();
        assert_eq!(first(file.path()), Ok(100_000));
        fs::write(file.path(), "5 9 1\n").unwrap();
        assert!(first(file.path()).unwrap_err().to_string().contains("it has no root"));
    }
}
