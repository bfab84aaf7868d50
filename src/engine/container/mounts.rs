//! From mounts as they are kept to mounts as the runtime makes them.

use std::path::{Path, PathBuf};

use crate::engine::EngineError;
use crate::engine::oci::{Access, MountFlags, MountKind, MountPlan, Propagation};
use crate::engine::volume::{MountSource, MountedPoint};

/// The plan of one mount point whose content is at `host_path` (`None` for memory).
///
/// # Errors
/// Where a bind has no host path, or an unknown propagation.
pub fn mount_plan(point: &MountedPoint, host_path: Option<PathBuf>) -> Result<MountPlan, EngineError> {
    let request = &point.request;
    let source = || {
        host_path.clone().ok_or_else(|| {
            EngineError::system(format!("mount {}: there is nothing on the host to mount there", request.target))
        })
    };
    let kind = match &request.source {
        MountSource::Tmpfs { options } => MountKind::Tmpfs { options: options.clone() },
        MountSource::Volume { subpath, .. } => MountKind::Bind {
            source: source()?,
            subpath: subpath.as_ref().map(PathBuf::from),
            recursive: true,
            propagation: Propagation::default(),
        },
        MountSource::Bind { recursive, propagation, .. } => MountKind::Bind {
            source: source()?,
            subpath: None,
            recursive: *recursive,
            propagation: Propagation::parse(propagation)
                .ok_or_else(|| EngineError::invalid(format!("invalid propagation mode: {propagation}")))?,
        },
    };
    let is_tmpfs = matches!(kind, MountKind::Tmpfs { .. });
    let flags = MountFlags {
        access: if request.read_only { Access::ReadOnly } else { Access::ReadWrite },
        // Docker's defaults for --tmpfs.
        nosuid: is_tmpfs,
        nodev: is_tmpfs,
        noexec: is_tmpfs && !tmpfs_says(&request.source, "exec"),
        noatime: false,
    };
    Ok(MountPlan { target: PathBuf::from(&request.target), kind, flags })
}

fn tmpfs_says(source: &MountSource, word: &str) -> bool {
    matches!(source, MountSource::Tmpfs { options } if options.iter().any(|option| option == word))
}

/// The binds of the files that Docker gives every container, where the person mounts nothing in their place.
pub fn network_file_plans(files: &[(&str, PathBuf)], points: &[MountedPoint]) -> Vec<MountPlan> {
    let is_taken = |target: &str| points.iter().any(|point| Path::new(&point.request.target) == Path::new(target));
    files
        .iter()
        .map(|(name, path)| (format!("/etc/{name}"), path))
        .filter(|(target, _)| !is_taken(target))
        .map(|(target, path)| MountPlan::bind(path.clone(), target))
        .collect()
}
