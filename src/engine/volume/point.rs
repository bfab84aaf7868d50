//! A container's mount as it stands: what was asked, and what it has become.

use std::path::PathBuf;

use bollard_stubs::models as docker;
use serde::{Deserialize, Serialize};

use super::plan::{MountOrigin, MountRequest, MountSource};
use crate::engine::oci::{Access, MountFlags, MountKind, MountPlan, Propagation};

/// A mount as it stands. The container room keeps it in the container's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedPoint {
    /// What was asked.
    pub request: MountRequest,
    /// The volume it is, where it is one.
    pub volume: Option<String>,
    /// Whether the volume was made for this container and goes with it (`rm -v`, `--rm`).
    pub anonymous: bool,
    /// The folder or file of the host that is bound; `None` for tmpfs.
    pub source: Option<PathBuf>,
}

impl MountedPoint {
    /// The mount as `GET /containers/{id}/json` shows it; `None` for those of `--tmpfs`, which it doesn't show.
    pub fn point(&self) -> Option<docker::MountPoint> {
        let request = &self.request;
        let source = self.source.as_ref().map(|source| source.display().to_string());
        let shown = docker::MountPoint {
            destination: Some(request.target.clone()),
            mode: Some(request.mode.clone()),
            rw: Some(!request.read_only),
            propagation: Some(String::new()),
            source: Some(source.clone().unwrap_or_default()),
            ..Default::default()
        };
        Some(match &request.source {
            MountSource::Tmpfs { .. } if request.origin == MountOrigin::Tmpfs => return None,
            MountSource::Tmpfs { .. } => docker::MountPoint { typ: Some("tmpfs".to_owned()), ..shown },
            MountSource::Bind { propagation, .. } => docker::MountPoint {
                typ: Some("bind".to_owned()),
                propagation: Some(if propagation.is_empty() { "rprivate".to_owned() } else { propagation.clone() }),
                ..shown
            },
            MountSource::Volume { .. } => docker::MountPoint {
                typ: Some("volume".to_owned()),
                name: self.volume.clone(),
                driver: Some("local".to_owned()),
                mode: Some(if request.mode.is_empty() { "z".to_owned() } else { request.mode.clone() }),
                ..shown
            },
        })
    }

    /// What the runtime is to mount.
    pub fn plan(&self) -> MountPlan {
        let access = match (&self.request.source, self.request.read_only) {
            (_, false) => Access::ReadWrite,
            (MountSource::Bind { writable_below: true, .. }, true) => Access::ReadOnlyTop,
            (_, true) => Access::ReadOnly,
        };
        let target = PathBuf::from(&self.request.target);
        let (kind, flags) = match &self.request.source {
            MountSource::Tmpfs { options } => tmpfs(options),
            MountSource::Bind { recursive, propagation, .. } => {
                let kind = MountKind::Bind {
                    source: self.source.clone().unwrap_or_default(),
                    subpath: None,
                    recursive: *recursive,
                    propagation: Propagation::parse(propagation).unwrap_or_default(),
                };
                (kind, MountFlags::default())
            }
            MountSource::Volume { subpath, .. } => {
                let kind = MountKind::Bind {
                    source: self.source.clone().unwrap_or_default(),
                    subpath: subpath.as_ref().map(PathBuf::from),
                    recursive: true,
                    propagation: Propagation::default(),
                };
                (kind, MountFlags { shifted: true, ..MountFlags::default() })
            }
        };
        MountPlan { target, kind, flags: MountFlags { access: stricter(flags.access, access), ..flags } }
    }
}

fn stricter(one: Access, other: Access) -> Access {
    if one == Access::ReadWrite { other } else { one }
}

/// A tmpfs has `nosuid,nodev,noexec` unless told otherwise, as in Docker.
fn tmpfs(options: &[String]) -> (MountKind, MountFlags) {
    let mut flags = MountFlags { nosuid: true, nodev: true, noexec: true, ..MountFlags::default() };
    let mut rest = Vec::new();
    for option in options {
        match option.as_str() {
            "ro" => flags.access = Access::ReadOnly,
            "rw" => flags.access = Access::ReadWrite,
            "suid" => flags.nosuid = false,
            "nosuid" => flags.nosuid = true,
            "dev" => flags.nodev = false,
            "nodev" => flags.nodev = true,
            "exec" => flags.noexec = false,
            "noexec" => flags.noexec = true,
            "noatime" => flags.noatime = true,
            "nodiratime" => flags.nodiratime = true,
            "strictatime" => flags.strictatime = true,
            // what a tmpfs of its own is anyhow: nobody else sees it, so nothing can travel
            "atime" | "diratime" | "relatime" | "norelatime" | "nostrictatime" | "defaults" | "bind" | "rbind" => {}
            word if ["private", "shared", "slave", "unbindable"].iter().any(|kind| word.ends_with(kind)) => {}
            _ => rest.push(option.clone()),
        }
    }
    (MountKind::Tmpfs { options: rest }, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_is_hardened_unless_told_otherwise() {
        let (kind, flags) = tmpfs(&["size=1m".to_owned(), "exec".to_owned()]);
        assert_eq!(kind, MountKind::Tmpfs { options: vec!["size=1m".to_owned()] });
        assert!(flags.nosuid && flags.nodev && !flags.noexec);
    }
}
