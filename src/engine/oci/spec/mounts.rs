//! The mounts of a bundle: mount(8)'s words as flags, propagation and file system options.

use std::path::{Path, PathBuf};

use super::{Mount, SpecError, invalid, unsupported};
use crate::engine::oci::{Access, MountFlags, MountKind, MountPlan, Propagation};

/// What the words of a mount's options come to.
#[derive(Default)]
struct Options {
    flags: MountFlags,
    bind: Option<Recursion>,
    propagation: Propagation,
    data: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recursion {
    ThisOne,
    AllBelow,
}

pub(super) fn plan(mount: &Mount, bundle: &Path) -> Result<MountPlan, SpecError> {
    if mount.uid_mappings.is_some() || mount.gid_mappings.is_some() {
        return Err(unsupported("mounts.uidMappings", &mount.destination));
    }
    if mount.destination.is_empty() {
        return Err(SpecError::Missing { field: "mounts.destination" });
    }
    let options = options(mount)?;
    // a relative target is one of old bundles, meant from the root
    let target = Path::new("/").join(&mount.destination);
    let kind = match (options.bind, mount.kind.as_str()) {
        (Some(recursion), _) => bind(mount, bundle, recursion, &options)?,
        (None, "bind") => bind(mount, bundle, Recursion::ThisOne, &options)?,
        (None, "") => return Err(SpecError::Missing { field: "mounts.type" }),
        (None, "proc") if options.data.is_empty() => MountKind::Proc,
        (None, "sysfs") => MountKind::Sysfs,
        (None, "mqueue") => MountKind::Mqueue,
        (None, "tmpfs") => MountKind::Tmpfs { options: options.data },
        (None, "cgroup" | "cgroup2") => MountKind::Cgroup,
        (None, kind) => MountKind::Filesystem {
            kind: kind.to_owned(),
            source: if mount.source.is_empty() { kind.to_owned() } else { mount.source.clone() },
            options: options.data,
        },
    };
    Ok(MountPlan { target, kind, flags: options.flags })
}

fn bind(mount: &Mount, bundle: &Path, recursion: Recursion, options: &Options) -> Result<MountKind, SpecError> {
    if let Some(word) = options.data.first() {
        return Err(unsupported("mounts.options of a bind", word));
    }
    if mount.source.is_empty() {
        return Err(invalid("mounts.source", format!("{} is a bind of nothing", mount.destination)));
    }
    Ok(MountKind::Bind {
        source: bundle.join(PathBuf::from(&mount.source)),
        subpath: None,
        recursive: recursion == Recursion::AllBelow,
        propagation: options.propagation,
    })
}

fn options(mount: &Mount) -> Result<Options, SpecError> {
    let mut options = Options::default();
    for word in &mount.options {
        let flags = &mut options.flags;
        match word.as_str() {
            "ro" => flags.access = Access::ReadOnlyTop,
            "rro" => flags.access = Access::ReadOnly,
            "rw" | "rrw" => flags.access = Access::ReadWrite,
            "nosuid" => flags.nosuid = true,
            "suid" => flags.nosuid = false,
            "nodev" => flags.nodev = true,
            "dev" => flags.nodev = false,
            "noexec" => flags.noexec = true,
            "exec" => flags.noexec = false,
            "noatime" => flags.noatime = true,
            "strictatime" => flags.strictatime = true,
            "nodiratime" => flags.nodiratime = true,
            "atime" | "relatime" | "norelatime" | "nostrictatime" | "diratime" => {}
            // what is so anyway
            "defaults" | "async" | "nomand" | "noiversion" | "loud" | "silent" | "nolazytime" => {}
            "bind" => options.bind = Some(Recursion::ThisOne),
            "rbind" => options.bind = Some(Recursion::AllBelow),
            "tmpcopyup" if mount.kind == "tmpfs" => flags.copy_up = true,
            "unbindable" | "runbindable" | "remount" | "idmap" | "ridmap" | "tmpcopyup" => {
                return Err(unsupported("mounts.options", format!("{word} of {}", mount.destination)));
            }
            // labels need SELinux, which refuses itself by name elsewhere
            word if word.starts_with("context=") => return Err(unsupported("mounts.options", word)),
            other => match Propagation::parse(other) {
                Some(propagation) if !other.is_empty() => options.propagation = propagation,
                _ => options.data.push(other.to_owned()),
            },
        }
    }
    Ok(options)
}
