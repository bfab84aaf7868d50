//! Where each controller's hierarchy is mounted on this host.
//!
//! Read from `/proc/self/mountinfo`; nothing is assumed about names, roots or which controllers share a mount, since
//! hosts exist with every controller by itself and a version 2 tree beside them that owns just one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The mounted cgroup hierarchies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CgroupLayout {
    /// The version 1 hierarchies, in mount order.
    pub v1: Vec<Hierarchy>,
    /// Where the version 2 tree is mounted, if it is.
    pub v2: Option<PathBuf>,
    /// The controllers the version 2 tree's root offers.
    pub v2_controllers: Vec<String>,
}

/// One version 1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers: `cpu`, `cpuacct`; empty for a named one.
    pub controllers: Vec<String>,
    /// The name of one without controllers: `systemd`.
    pub name: Option<String>,
}

/// How the host mixes the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// Only version 1.
    V1,
    /// Only version 2.
    V2,
    /// Version 1 with a version 2 tree beside it.
    Hybrid,
    /// None is mounted.
    Absent,
}

/// Where one controller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller<'a> {
    /// In the version 1 hierarchy mounted here.
    V1(&'a Path),
    /// In the version 2 tree mounted here.
    V2(&'a Path),
    /// Nowhere.
    Absent,
}

/// The controllers a version 1 mount's options can name.
const V1_CONTROLLERS: [&str; 13] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
];

impl CgroupLayout {
    /// Reads the layout from the text of a `mountinfo`; `v2_controllers` is the text of the version 2 root's
    /// `cgroup.controllers`, fetched by path.
    pub fn parse(mountinfo: &str, v2_controllers: impl FnOnce(&Path) -> String) -> Self {
        let mut layout = CgroupLayout::default();
        for line in mountinfo.lines() {
            let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
            let mount = PathBuf::from(unescape(mount.split(' ').nth(4).unwrap_or_default()));
            let mut filesystem = filesystem.split(' ');
            match (filesystem.next(), filesystem.nth(1)) {
                (Some("cgroup2"), _) if layout.v2.is_none() => layout.v2 = Some(mount),
                (Some("cgroup"), Some(options)) => layout.add_v1(mount, options),
                _ => {}
            }
        }
        if let Some(root) = &layout.v2 {
            layout.v2_controllers = v2_controllers(root).split_whitespace().map(str::to_owned).collect();
        }
        layout
    }

    /// The layout of this host, as this process sees it.
    pub fn read() -> Self {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::parse(&mountinfo, |root| std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default())
    }

    fn add_v1(&mut self, mount: PathBuf, options: &str) {
        let controllers: Vec<String> =
            options.split(',').filter(|option| V1_CONTROLLERS.contains(option)).map(str::to_owned).collect();
        let name = options.split(',').find_map(|option| option.strip_prefix("name=")).map(str::to_owned);
        let is_known = self.v1.iter().any(|known| known.controllers == controllers && known.name == name);
        if !is_known && (!controllers.is_empty() || name.is_some()) {
            self.v1.push(Hierarchy { mount, controllers, name });
        }
    }

    /// Where the controller called `name` is.
    pub fn controller(&self, name: &str) -> Controller<'_> {
        let in_v1 = self.v1.iter().find(|hierarchy| hierarchy.controllers.iter().any(|known| known == name));
        if let Some(hierarchy) = in_v1 {
            return Controller::V1(&hierarchy.mount);
        }
        match &self.v2 {
            // the last three have no controller of their own in version 2: every group can count CPU, freeze, and
            // have a device program
            Some(root)
                if self.v2_controllers.iter().any(|known| known == name)
                    || (self.v1.is_empty() && ["cpuacct", "freezer", "devices"].contains(&name)) =>
            {
                Controller::V2(root)
            }
            _ => Controller::Absent,
        }
    }

    /// Whether memory is version 1's.
    pub fn controls_memory_by_v1(&self) -> bool {
        matches!(self.controller("memory"), Controller::V1(_))
    }

    /// How the versions are mixed.
    pub fn mode(&self) -> CgroupMode {
        match (self.v1.iter().any(|hierarchy| !hierarchy.controllers.is_empty()), &self.v2) {
            (true, Some(_)) => CgroupMode::Hybrid,
            (true, None) => CgroupMode::V1,
            (false, Some(_)) => CgroupMode::V2,
            (false, None) => CgroupMode::Absent,
        }
    }

    /// Whether memory and processor time are version 2's: what Docker calls the cgroup version.
    pub fn is_v2(&self) -> bool {
        self.mode() == CgroupMode::V2
    }
}

/// Undoes mountinfo's octal escapes of space, tab, newline and backslash.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_controller_by_itself_and_a_small_v2_tree() {
        let mountinfo = "\
24 1 0:22 / /sys rw - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
35 30 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let layout = CgroupLayout::parse(mountinfo, |_| "hugetlb\n".to_owned());
        assert_eq!(layout.mode(), CgroupMode::Hybrid);
        assert_eq!(layout.controller("cpu"), Controller::V1(Path::new("/sys/fs/cgroup/cpu")));
        assert_eq!(layout.controller("hugetlb"), Controller::V2(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(layout.controller("pids"), Controller::Absent);
        assert_eq!(layout.v1[3].name.as_deref(), Some("systemd"));
    }

    #[test]
    fn only_v2() {
        let mountinfo = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let layout = CgroupLayout::parse(mountinfo, |_| "cpuset cpu io memory pids".to_owned());
        assert_eq!(layout.mode(), CgroupMode::V2);
        assert_eq!(layout.controller("memory"), Controller::V2(Path::new("/sys/fs/cgroup")));
        assert_eq!(layout.controller("devices"), Controller::V2(Path::new("/sys/fs/cgroup")));
        assert_eq!(layout.controller("rdma"), Controller::Absent);
    }
}
