//! Options of the `local` driver: a volume that is a device, another folder, memory or a network share. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::mount::MountFlags;

/// What is mounted as a volume's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// Nothing: the volume is a folder of the engine's.
    None,
    /// Another folder of the host (`o=bind`).
    Folder(PathBuf),
    /// A file system.
    FileSystem {
        /// `tmpfs`, `nfs`, `ext4` and so on.
        kind: String,
        /// What it is made from.
        device: String,
        /// Flags of mount(2).
        flags: MountFlags,
        /// The rest of the options.
        data: String,
    },
}

/// Reads driver options.
///
/// # Errors
/// Docker's words, without the `create x: ` before them.
pub fn read(options: &BTreeMap<String, String>) -> Result<Device, String> {
    let known = ["type", "o", "device", "size"];
    if let Some(key) = options.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("invalid option: \"{key}\""));
    }
    if options.get("size").is_some_and(|size| !size.is_empty()) {
        return Err("quota size requested but no quota support".to_owned());
    }
    let value = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let (kind, words, device) = (value("type"), value("o"), value("device"));
    if kind.is_empty() && words.is_empty() && device.is_empty() {
        return Ok(Device::None);
    }
    for (key, given) in [("device", device), ("type", kind)] {
        if given.is_empty() {
            return Err(format!("missing required option: \"{key}\""));
        }
    }
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    let mut is_bind = kind == "bind";
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match word {
            "bind" | "rbind" => is_bind = true,
            "ro" => flags |= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "rw" | "defaults" | "suid" | "dev" | "exec" | "atime" => {}
            other => data.push(other),
        }
    }
    if is_bind {
        return Ok(Device::Folder(PathBuf::from(device)));
    }
    Ok(Device::FileSystem { kind: kind.to_owned(), device: device.to_owned(), flags, data: data.join(",") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &[(&str, &str)]) -> Result<Device, String> {
        read(&list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn options_are_read() {
        assert_eq!(check(&[]), Ok(Device::None));
        assert_eq!(
            check(&[("type", "none"), ("o", "bind"), ("device", "/srv")]),
            Ok(Device::Folder(PathBuf::from("/srv")))
        );
        assert_eq!(
            check(&[("type", "tmpfs"), ("o", "size=10m,nosuid,uid=5"), ("device", "tmpfs")]),
            Ok(Device::FileSystem {
                kind: "tmpfs".into(),
                device: "tmpfs".into(),
                flags: MountFlags::NOSUID,
                data: "size=10m,uid=5".into()
            })
        );
    }

    #[test]
    fn refusals_are_dockers_words() {
        assert_eq!(check(&[("colour", "red")]), Err("invalid option: \"colour\"".into()));
        assert_eq!(check(&[("type", "tmpfs")]), Err("missing required option: \"device\"".into()));
        assert_eq!(check(&[("device", "x")]), Err("missing required option: \"type\"".into()));
    }
}
