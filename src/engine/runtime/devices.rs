//! Device nodes: which ones, from the plan and the host's `/dev`, and making them in the container.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, makedev, mknodat, symlinkat};
use rustix::io::Errno;

use super::path::{Inside, Leaf, ensure};
use super::step::During;
use super::{Step, StepError};
use crate::engine::oci::{DeviceAccess, DeviceKind, DevicePlan, DeviceRule, MountKind, MountPlan};

/// Below the host's `/dev`: not devices of the host, but file systems and links of its own.
const NOT_DEVICES: [&str; 7] = ["pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts"];

/// Every container's links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// One node to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub path: PathBuf,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// What a plan's devices come to on this host.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The rules that let the container use those of the host's that were asked for.
    pub rules: Vec<DeviceRule>,
}

/// Looks up the host's devices that the plan names.
pub(super) fn gather(plan: &[DevicePlan]) -> Result<Gathered, StepError> {
    let mut gathered = Gathered::default();
    for device in plan {
        match device {
            DevicePlan::Node { path, kind, major, minor, mode, uid, gid } => gathered.nodes.push(Node {
                path: path.clone(),
                kind: *kind,
                major: *major,
                minor: *minor,
                mode: *mode,
                uid: *uid,
                gid: *gid,
            }),
            DevicePlan::Host { source, target, access } => gathered.add_host(source, target, *access)?,
            DevicePlan::AllOfHost => gathered.add_all_below(Path::new("/dev"), Path::new("/dev")),
        }
    }
    Ok(gathered)
}

impl Gathered {
    fn add_host(&mut self, source: &Path, target: &Path, access: DeviceAccess) -> Result<(), StepError> {
        let subject = source.display().to_string();
        let found = fs::metadata(source).during(Step::FindDevice, &subject)?;
        let before = self.nodes.len();
        if found.is_dir() {
            self.add_all_below(source, target);
        } else {
            self.nodes.extend(node(&found, target));
        }
        let added = self.nodes.get(before..).unwrap_or_default();
        if added.is_empty() {
            return Err(StepError::new(Step::FindDevice, Errno::NODEV, subject));
        }
        self.rules.extend(added.iter().map(|node| DeviceRule {
            allow: true,
            kind: node.kind,
            major: Some(node.major),
            minor: Some(node.minor),
            access,
        }));
        Ok(())
    }

    /// Adds what can be read; devices come and go.
    fn add_all_below(&mut self, source: &Path, target: &Path) {
        for entry in fs::read_dir(source).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Ok(found) = entry.metadata() else { continue };
            let is_none = NOT_DEVICES.iter().any(|none| Path::new("/dev").join(none) == entry.path());
            if is_none || found.is_symlink() {
                continue;
            }
            if found.is_dir() {
                self.add_all_below(&entry.path(), &target.join(name));
            } else {
                let node = node(&found, &target.join(name));
                self.nodes.extend(node.filter(|node| self.nodes.iter().all(|known| known.path != node.path)));
            }
        }
    }
}

fn node(found: &fs::Metadata, path: &Path) -> Option<Node> {
    let kind = match found.file_type() {
        kind if kind.is_char_device() => DeviceKind::Char,
        kind if kind.is_block_device() => DeviceKind::Block,
        _ => return None,
    };
    Some(Node {
        path: path.to_owned(),
        kind,
        major: rustix::fs::major(found.rdev()),
        minor: rustix::fs::minor(found.rdev()),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    })
}

/// Makes the nodes in `dev`, a `/dev` that is mounted nowhere yet; `uid` and `gid` are the container's root on the host.
/// For a container with a user namespace: nobody can make a device from inside of one.
pub(super) fn make_in(dev: &OwnedFd, nodes: &[Node], uid: u32, gid: u32) -> Result<(), StepError> {
    for node in nodes {
        let Ok(inside) = node.path.strip_prefix("/dev") else {
            let subject = format!("{}: with a user namespace, devices can be in /dev alone", node.path.display());
            return Err(StepError::refused(Step::MakeDevice, subject));
        };
        let path = Path::new("/").join(inside);
        let owner = Node { uid: uid.saturating_add(node.uid), gid: gid.saturating_add(node.gid), ..node.clone() };
        make_node(&Node { path, ..owner }, dev)?;
    }
    Ok(())
}

/// Makes the nodes and, in a `/dev` of our own, the usual links.
pub(super) fn make(nodes: &[Node], mounts: &[MountPlan], root: &OwnedFd) -> Result<(), StepError> {
    let at_dev = mounts.iter().find(|mount| mount.target == Path::new("/dev"));
    if at_dev.is_some_and(|mount| matches!(mount.kind, MountKind::Bind { .. })) {
        return Ok(()); // the person brought a /dev along, with what is in it
    }
    for node in nodes {
        make_node(node, root)?;
    }
    if at_dev.is_some() {
        make_links(root)?;
    }
    Ok(())
}

fn make_node(node: &Node, root: &OwnedFd) -> Result<(), StepError> {
    let subject = node.path.display().to_string();
    let (Some(parent), Some(name)) = (node.path.parent(), node.path.file_name()) else {
        return Err(StepError::new(Step::MakeDevice, Errno::INVAL, subject));
    };
    let directory = ensure(root, parent, Leaf::Directory)?;
    let kind = if node.kind == DeviceKind::Block { FileType::BlockDevice } else { FileType::CharacterDevice };
    let number = makedev(node.major, node.minor);
    match mknodat(&directory, name, kind, Mode::from_raw_mode(node.mode), number) {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&directory, name, AtFlags::empty()).during(Step::MakeDevice, &subject)?;
            mknodat(&directory, name, kind, Mode::from_raw_mode(node.mode), number)
                .during(Step::MakeDevice, &subject)?;
        }
        other => other.during(Step::MakeDevice, &subject)?,
    }
    if (node.uid, node.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        chownat(&directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .during(Step::MakeDevice, &subject)?;
    }
    Ok(())
}

fn make_links(root: &OwnedFd) -> Result<(), StepError> {
    let directory = root.open_inside(Path::new("/dev"), OFlags::PATH).during(Step::MakeDevice, "/dev")?;
    // not every kernel has it
    let core = root.open_inside(Path::new("/proc/kcore"), OFlags::PATH).is_ok().then_some(("core", "/proc/kcore"));
    for (name, target) in LINKS.iter().copied().chain(core) {
        match symlinkat(target, &directory, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            other => other.during(Step::MakeDevice, format!("/dev/{name}"))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_device_brings_its_rule() {
        let plan = DevicePlan::Host {
            source: "/dev/null".into(),
            target: "/dev/nothing".into(),
            access: DeviceAccess::parse("r").unwrap(),
        };
        let gathered = gather(&[plan]).unwrap();
        assert_eq!((gathered.nodes[0].major, gathered.nodes[0].minor), (1, 3));
        assert_eq!(gathered.rules[0].access.letters(), "r");
    }

    #[test]
    fn a_missing_host_device_is_named() {
        let plan = DevicePlan::Host { source: "/dev/none".into(), target: "/dev/x".into(), access: DeviceAccess::ALL };
        let words = gather(&[plan]).unwrap_err().to_string();
        let expected =
            "error gathering device information while adding custom device \"/dev/none\": no such file or directory";
        assert_eq!(words, expected);
    }
}
