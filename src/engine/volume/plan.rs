//! What a container is to have mounted, from all the ways there are to say it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bollard_stubs::models as docker;
use serde::{Deserialize, Serialize};

use super::point::MountedPoint;
use super::record::check_name;
use super::spec;
use crate::engine::EngineError;

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute.
        path: String,
        /// Whether a missing path is made, as a folder (`-v` and `--mount bind-create-src`).
        create: bool,
        /// Whether mounts below come along.
        recursive: bool,
        /// `rprivate` and so on; empty: `rprivate`.
        propagation: String,
        /// Whether mounts below keep their own access where this one is read-only (`bind-recursive=writable`).
        #[serde(default)]
        writable_below: bool,
    },
    /// A volume of ours.
    Volume {
        /// `None`: an anonymous one is made.
        name: Option<String>,
        /// Empty: `local`.
        driver: String,
        /// What a new one's options are.
        options: BTreeMap<String, String>,
        /// What a new one's labels are.
        labels: BTreeMap<String, String>,
        /// Whether the image's content at the target goes into a volume that is empty.
        copy: bool,
        /// The folder in the volume that is mounted, where not all of it.
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Mount options like `size=65536k` or `exec`.
        options: Vec<String>,
    },
}

/// One mount a container is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRequest {
    /// Where in the container; absolute, cleaned.
    pub target: String,
    /// Where its content comes from.
    pub source: MountSource,
    /// Whether it can't be written.
    pub read_only: bool,
    /// The mode as it was given (`ro,z`), for inspect.
    pub mode: String,
    /// Which of the ways asked for it.
    pub origin: MountOrigin,
}

/// Which of the ways asked for a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MountOrigin {
    /// `HostConfig.Binds` (`-v`).
    Binds,
    /// `HostConfig.Mounts` (`--mount`).
    Mounts,
    /// `HostConfig.Tmpfs`; not among inspect's `Mounts`.
    Tmpfs,
    /// `HostConfig.VolumesFrom`.
    VolumesFrom,
    /// `Config.Volumes`, from the command line or the image.
    Config,
}

/// All the ways a container's mounts are asked for.
#[derive(Debug, Clone, Copy)]
pub struct MountInput<'a> {
    /// The container's configuration, merged with its image's.
    pub config: &'a docker::ContainerConfig,
    /// Its host configuration.
    pub host_config: &'a docker::HostConfig,
    /// For each `VolumesFrom`, in order: the named container's points, and whether they are to be read-only
    /// (see [`super::volumes_from`]).
    pub volumes_from: &'a [(Vec<MountedPoint>, bool)],
}

/// The mounts a container is to have, sorted so that outer targets come before the inner ones. On one target, `-v` and
/// `--mount` win over `--volumes-from`, and all of these over the image's volumes.
///
/// # Errors
/// Docker's words for malformed ones and for two on one target (400).
pub fn mount_requests(input: &MountInput<'_>) -> Result<Vec<MountRequest>, EngineError> {
    let mut by_target: BTreeMap<String, MountRequest> = BTreeMap::new();
    for (points, read_only) in input.volumes_from {
        for request in points.iter().filter_map(|point| borrowed(point, *read_only)) {
            by_target.insert(request.target.clone(), request);
        }
    }
    let explicit = explicit(input.host_config)?;
    let mut seen = BTreeSet::new();
    for request in explicit {
        if !seen.insert(request.target.clone()) {
            return Err(EngineError::invalid(format!("Duplicate mount point: {}", request.target)));
        }
        by_target.insert(request.target.clone(), request);
    }
    for volume in input.config.volumes.iter().flatten() {
        let target = target(volume).map_err(|reason| EngineError::invalid(config_error("volume", &reason)))?;
        by_target.entry(target.clone()).or_insert_with(|| anonymous(target, input.host_config));
    }
    let mut requests: Vec<MountRequest> = by_target.into_values().collect();
    requests.sort_by_key(|request| request.target.split('/').count());
    Ok(requests)
}

/// What `-v`, `--mount` and `--tmpfs` ask for.
fn explicit(host_config: &docker::HostConfig) -> Result<Vec<MountRequest>, EngineError> {
    let driver = host_config.volume_driver.as_deref().unwrap_or_default();
    let binds = host_config.binds.iter().flatten().map(|text| spec::bind(text, driver));
    let mounts = host_config.mounts.iter().flatten().map(mount);
    let tmpfs: BTreeMap<&String, &String> = host_config.tmpfs.iter().flatten().collect();
    let tmpfs = tmpfs.into_iter().map(|(path, options)| {
        let target = target(path).map_err(|reason| EngineError::invalid(config_error("tmpfs", &reason)))?;
        let options: Vec<String> = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        check_tmpfs(&options).map_err(EngineError::invalid)?;
        Ok(MountRequest {
            target,
            source: MountSource::Tmpfs { options },
            read_only: false,
            mode: String::new(),
            origin: MountOrigin::Tmpfs,
        })
    });
    binds.chain(mounts).chain(tmpfs).collect()
}

/// One of `HostConfig.Mounts`.
fn mount(mount: &docker::Mount) -> Result<MountRequest, EngineError> {
    let kind = mount.typ.unwrap_or(docker::MountType::VOLUME);
    let name = kind.to_string();
    let refuse = |reason: &str| EngineError::invalid(config_error(&name, reason));
    let target = target(mount.target.as_deref().unwrap_or_default()).map_err(|reason| refuse(&reason))?;
    let given = mount.source.as_deref().unwrap_or_default();
    let extra = |field: &str| refuse(&format!("field {field} must not be specified"));
    let source = match kind {
        docker::MountType::BIND => {
            if mount.volume_options.is_some() {
                return Err(extra("VolumeOptions"));
            }
            if given.is_empty() {
                return Err(refuse("field Source must not be empty"));
            }
            if !given.starts_with('/') {
                return Err(refuse(&format!("invalid mount path: '{given}' mount path must be absolute")));
            }
            let options = mount.bind_options.clone().unwrap_or_default();
            let propagation = options.propagation.map(|it| it.to_string()).unwrap_or_default();
            let writable_below = options.read_only_non_recursive.unwrap_or_default();
            let read_only_below = options.read_only_force_recursive.unwrap_or_default();
            if writable_below && read_only_below {
                return Err(refuse("ReadOnlyNonRecursive and ReadOnlyForceRecursive exclude each other"));
            }
            if (writable_below || read_only_below) && mount.read_only != Some(true) {
                return Err(refuse("ReadOnlyNonRecursive and ReadOnlyForceRecursive need ReadOnly"));
            }
            MountSource::Bind {
                path: clean(given),
                create: options.create_mountpoint.unwrap_or_default(),
                recursive: !options.non_recursive.unwrap_or_default(),
                propagation,
                writable_below,
            }
        }
        docker::MountType::VOLUME => {
            if mount.bind_options.is_some() {
                return Err(extra("BindOptions"));
            }
            let options = mount.volume_options.clone().unwrap_or_default();
            if let Some(subpath) = options.subpath.as_deref().filter(|subpath| !is_local(subpath)) {
                return Err(refuse(&format!("subpath must be a relative path within the volume: {subpath}")));
            }
            if given.is_empty() && options.subpath.as_deref().is_some_and(|subpath| !subpath.is_empty()) {
                return Err(refuse("must not set Subpath when using anonymous volumes"));
            }
            if !given.is_empty() {
                check_name(given).map_err(|reason| EngineError::invalid(format!("create {given}: {reason}")))?;
            }
            let driver = options.driver_config.unwrap_or_default();
            MountSource::Volume {
                name: (!given.is_empty()).then(|| given.to_owned()),
                driver: driver.name.unwrap_or_default(),
                options: driver.options.unwrap_or_default().into_iter().collect(),
                labels: options.labels.unwrap_or_default().into_iter().collect(),
                copy: !options.no_copy.unwrap_or_default(),
                subpath: options.subpath.filter(|subpath| !subpath.is_empty()),
            }
        }
        docker::MountType::TMPFS => {
            if mount.bind_options.is_some() {
                return Err(extra("BindOptions"));
            }
            if mount.volume_options.is_some() {
                return Err(extra("VolumeOptions"));
            }
            if !given.is_empty() {
                return Err(extra("Source"));
            }
            let options = tmpfs_options(mount.tmpfs_options.as_ref());
            check_tmpfs(&options).map_err(|reason| refuse(&reason))?;
            MountSource::Tmpfs { options }
        }
        docker::MountType::IMAGE => return Err(refuse("mounts of images are not supported")),
        _ => return Err(refuse("mount type unknown")),
    };
    let read_only = mount.read_only.unwrap_or_default();
    Ok(MountRequest { target, source, read_only, mode: String::new(), origin: MountOrigin::Mounts })
}

fn tmpfs_options(options: Option<&docker::MountTmpfsOptions>) -> Vec<String> {
    let Some(options) = options else { return Vec::new() };
    let size = options.size_bytes.filter(|size| *size > 0).map(|size| format!("size={size}"));
    let mode = options.mode.filter(|mode| *mode > 0).map(|mode| format!("mode={mode:o}"));
    let more = options.options.iter().flatten().map(|words| words.join("="));
    size.into_iter().chain(mode).chain(more).collect()
}

/// Whether a path stays below where it starts.
fn is_local(path: &str) -> bool {
    !path.starts_with('/') && !path.split('/').any(|part| part == "..")
}

/// The words a tmpfs takes without a value.
const TMPFS_WORDS: [&str; 32] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
    "bind",
    "rbind",
];

/// The names a tmpfs takes with a value.
const TMPFS_VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

fn check_tmpfs(options: &[String]) -> Result<(), String> {
    let is_known = |option: &str| match option.split_once('=') {
        Some((name, value)) => TMPFS_VALUES.contains(&name) && !value.is_empty(),
        None => TMPFS_WORDS.contains(&option),
    };
    match options.iter().find(|option| !is_known(option)) {
        Some(option) => Err(format!("invalid tmpfs option [{option:?}]")),
        None => Ok(()),
    }
}

/// Another container's mount as ours.
fn borrowed(point: &MountedPoint, read_only: bool) -> Option<MountRequest> {
    let mut request = point.request.clone();
    match &mut request.source {
        MountSource::Volume { name, copy, .. } => {
            *name = Some(point.volume.clone()?);
            *copy = false;
        }
        MountSource::Bind { .. } => {}
        MountSource::Tmpfs { .. } => return None,
    }
    request.read_only |= read_only;
    request.origin = MountOrigin::VolumesFrom;
    Some(request)
}

fn anonymous(target: String, host_config: &docker::HostConfig) -> MountRequest {
    let source = MountSource::Volume {
        name: None,
        driver: host_config.volume_driver.clone().unwrap_or_default(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        copy: true,
        subpath: None,
    };
    MountRequest { target, source, read_only: false, mode: String::new(), origin: MountOrigin::Config }
}

/// Docker's frame for what is wrong with one mount.
pub(super) fn config_error(kind: &str, reason: &str) -> String {
    format!("invalid mount config for type \"{kind}\": {reason}")
}

/// A cleaned target.
pub(super) fn target(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("field Target must not be empty".to_owned());
    }
    if !path.starts_with('/') {
        return Err(format!("invalid mount path: '{path}' mount path must be absolute"));
    }
    match clean(path).as_str() {
        "/" => Err("invalid specification: destination can't be '/'".to_owned()),
        clean => Ok(clean.to_owned()),
    }
}

/// An absolute path without `.`, `..` and doubled or final slashes.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn requests(host_config: docker::HostConfig, volumes: &[&str]) -> Result<Vec<MountRequest>, String> {
        let volumes = volumes.iter().map(|volume| (*volume).to_owned()).collect();
        let config = docker::ContainerConfig { volumes: Some(volumes), ..Default::default() };
        mount_requests(&MountInput { config: &config, host_config: &host_config, volumes_from: &[] })
            .map_err(|error| error.to_string())
    }

    fn binds(list: &[&str]) -> docker::HostConfig {
        let binds = list.iter().map(|bind| (*bind).to_owned()).collect();
        docker::HostConfig { binds: Some(binds), ..Default::default() }
    }

    fn mounts(mount: docker::Mount) -> docker::HostConfig {
        docker::HostConfig { mounts: Some(vec![mount]), ..Default::default() }
    }

    fn refusal(host_config: docker::HostConfig) -> String {
        requests(host_config, &[]).unwrap_err()
    }

    #[test]
    fn short_notation_is_a_path_or_a_volume() {
        let list = requests(binds(&["/src/:/dst/:ro", "data:/data", "/only"]), &[]).unwrap();
        assert_eq!(list.iter().map(|it| it.target.as_str()).collect::<Vec<_>>(), ["/data", "/dst", "/only"]);
        assert!(matches!(&list[0].source, MountSource::Volume { name: Some(name), copy: true, .. } if name == "data"));
        assert!(matches!(&list[1].source, MountSource::Bind { path, create: true, .. } if path == "/src"));
        assert!(list[1].read_only && list[1].mode == "ro");
        assert!(matches!(&list[2].source, MountSource::Volume { name: None, .. }));
    }

    #[test]
    fn refusals_are_dockers_words() {
        assert_eq!(refusal(binds(&["/a:/b:rx"])), "invalid mode: rx");
        assert_eq!(refusal(binds(&["/a:/b:ro:z"])), "invalid volume specification: '/a:/b:ro:z'");
        assert_eq!(refusal(binds(&["/a:ro"])), "invalid volume specification: '/a:ro'");
        assert_eq!(
            refusal(binds(&["/a:b"])),
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": \
             invalid mount path: 'b' mount path must be absolute"
        );
        assert_eq!(
            refusal(binds(&["/a:/"])),
            "invalid volume specification: '/a:/': invalid mount config for type \"bind\": \
             invalid specification: destination can't be '/'"
        );
        assert!(refusal(binds(&["x!:/b"])).starts_with("create x!: \"x!\" includes invalid characters"));
        assert_eq!(refusal(binds(&["/a:/x", "/b:/x/"])), "Duplicate mount point: /x");
        let tmpfs = [("/x".to_owned(), String::new())].into();
        assert_eq!(
            refusal(docker::HostConfig { tmpfs: Some(tmpfs), ..binds(&["/a:/x"]) }),
            "Duplicate mount point: /x"
        );
        let empty =
            docker::Mount { typ: Some(docker::MountType::BIND), target: Some("/x".into()), ..Default::default() };
        assert_eq!(refusal(mounts(empty)), "invalid mount config for type \"bind\": field Source must not be empty");
        let no_target = docker::Mount { typ: Some(docker::MountType::TMPFS), ..Default::default() };
        assert_eq!(
            refusal(mounts(no_target)),
            "invalid mount config for type \"tmpfs\": field Target must not be empty"
        );
    }

    #[test]
    fn image_volumes_give_way_and_outer_targets_come_first() {
        let list = requests(binds(&["/src:/data", "/deep:/data/in/side"]), &["/data", "/data/in"]).unwrap();
        assert_eq!(
            list.iter().map(|it| it.target.as_str()).collect::<Vec<_>>(),
            ["/data", "/data/in", "/data/in/side"]
        );
        assert_eq!(list[0].origin, MountOrigin::Binds);
        assert_eq!(list[1].origin, MountOrigin::Config);
    }

    #[test]
    fn long_notation_has_all_options() {
        let mount = docker::Mount {
            typ: Some(docker::MountType::TMPFS),
            target: Some("/run".into()),
            tmpfs_options: Some(docker::MountTmpfsOptions {
                size_bytes: Some(1024),
                mode: Some(0o1777),
                options: Some(vec![vec!["exec".into()], vec!["uid".into(), "5".into()]]),
            }),
            ..Default::default()
        };
        let list = requests(mounts(mount), &[]).unwrap();
        let options = ["size=1024", "mode=1777", "exec", "uid=5"].map(str::to_owned).to_vec();
        assert_eq!(list[0].source, MountSource::Tmpfs { options });
    }

    #[test]
    fn volumes_of_another_container_are_the_same_volumes() {
        let mine = requests(docker::HostConfig::default(), &["/data"]).unwrap();
        let point = MountedPoint {
            request: mine[0].clone(),
            volume: Some("abc".to_owned()),
            anonymous: true,
            source: Some(PathBuf::from("/v/abc/_data")),
        };
        let list = mount_requests(&MountInput {
            config: &docker::ContainerConfig { volumes: Some(vec!["/data".into()]), ..Default::default() },
            host_config: &docker::HostConfig::default(),
            volumes_from: &[(vec![point], true)],
        })
        .unwrap();
        assert_eq!(list.len(), 1);
        assert!(list[0].read_only);
        assert!(matches!(&list[0].source, MountSource::Volume { name: Some(name), copy: false, .. } if name == "abc"));
    }
}
