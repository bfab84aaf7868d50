//! Which engine on this host: the names it gives to kernel objects.
//!
//! Two engines on two state roots must not disturb each other, so bridge names, nft tables and cgroup parents derive
//! from the root. The default root has the plain names; any other root adds six hex digits of its path's hash.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::build::Budget;
use super::remap::Shift;

/// The state root that has the plain names.
pub const DEFAULT_ROOT: &str = "/var/lib/boxyard";
/// Where sockets and the live containers' bundles are by default.
pub const DEFAULT_RUN: &str = "/run/boxyard";

/// An engine's identity on this host: its two roots and the tag its kernel objects carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    root: PathBuf,
    run: PathBuf,
    tag: Option<String>,
    remap: Option<Shift>,
    build_cache: Budget,
}

impl Instance {
    /// The instance whose state is at `root` and whose run files are at `run`, both absolute.
    pub fn new(root: &Path, run: &Path) -> Self {
        let tag = (root != Path::new(DEFAULT_ROOT)).then(|| {
            let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
            hex::encode(&hash[..3])
        });
        Self { root: root.to_owned(), run: run.to_owned(), tag, remap: None, build_cache: Budget::default() }
    }

    /// The same, its containers having these ids of the host.
    #[must_use]
    pub fn with_remap(self, remap: Option<Shift>) -> Self {
        Self { remap, ..self }
    }

    /// The same, its build cache having these limits.
    #[must_use]
    pub fn with_build_cache(self, build_cache: Budget) -> Self {
        Self { build_cache, ..self }
    }

    /// What its build cache may keep (`--build-cache`).
    pub fn build_cache(&self) -> Budget {
        self.build_cache
    }

    /// The ids its containers have on the host, where they are others than inside (`--userns-remap`).
    pub fn remap(&self) -> Option<Shift> {
        self.remap
    }

    /// The state root: images, layers, containers, volumes.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run root: sockets and bundles of live containers; gone after a reboot.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The engine's own API socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("engine.sock")
    }

    /// The link name of the default bridge; at most 15 bytes, as the kernel wants (IFNAMSIZ).
    pub fn default_bridge(&self) -> String {
        match &self.tag {
            None => "boxyard0".to_owned(),
            Some(tag) => format!("bx{tag}"),
        }
    }

    /// The prefix of every other link this engine makes on the host side; at most 6 bytes long.
    pub fn link_prefix(&self) -> String {
        match &self.tag {
            None => "by".to_owned(),
            Some(tag) => tag.clone(),
        }
    }

    /// The name of this engine's nft table (the same in families ip and ip6).
    pub fn nft_table(&self) -> String {
        self.suffixed("boxyard")
    }

    /// The cgroup, relative to each hierarchy's mount, under which all containers of this engine live.
    pub fn cgroup_parent(&self) -> String {
        self.suffixed("boxyard")
    }

    fn suffixed(&self, name: &str) -> String {
        match &self.tag {
            None => name.to_owned(),
            Some(tag) => format!("{name}-{tag}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_roots_share_no_name() {
        let plain = Instance::new(Path::new(DEFAULT_ROOT), Path::new(DEFAULT_RUN));
        let other = Instance::new(Path::new("/tmp/yard"), Path::new("/tmp/yard-run"));
        assert_eq!(plain.default_bridge(), "boxyard0");
        assert_ne!(plain.default_bridge(), other.default_bridge());
        assert_ne!(plain.nft_table(), other.nft_table());
        assert_ne!(plain.cgroup_parent(), other.cgroup_parent());
        assert!(other.default_bridge().len() <= 15);
    }
}
