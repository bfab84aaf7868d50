//! Facts of this host, read once when the engine opens and passed to whoever plans.

use std::fs;
use std::path::Path;

use crate::engine::oci::CapSet;
use crate::engine::oci::seccomp::FilterCache;
use crate::engine::runtime::cgroup::{CgroupLayout, Controller};

/// What this host is and what it allows us.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// Its name.
    pub hostname: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// `uname -m`: `x86_64`, `aarch64`.
    pub machine: String,
    /// The distribution in words, from os-release.
    pub operating_system: String,
    /// The distribution's `VERSION_ID`.
    pub os_version: String,
    /// Processors online.
    pub cpus: u32,
    /// The processors online as a list, `0-3`.
    pub cpu_list: String,
    /// The memory nodes online as a list, `0`.
    pub memory_nodes: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of swap.
    pub swap: u64,
    /// Where the cgroup hierarchies are.
    pub cgroups: CgroupLayout,
    /// What this process may do and pass on: its permitted and bounding capabilities.
    pub capabilities: CapSet,
    /// Whether the kernel loads system call filters.
    pub has_seccomp: bool,
    /// Whether AppArmor is in force.
    pub has_apparmor: bool,
    /// Whether disks can be shared out by weight (`BlkioWeight`).
    pub has_io_weight: bool,
    /// Whether IPv4 is forwarded.
    pub ipv4_forwarding: bool,
    /// `thermal_throttle` directories, hidden from containers.
    pub thermal_throttles: Vec<String>,
    /// System call filters compiled for this host's kernel so far.
    pub filters: FilterCache,
}

impl HostFacts {
    /// Reads them. What cannot be read stays empty or zero.
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        let text = |word: &std::ffi::CStr| word.to_string_lossy().into_owned();
        let os_release =
            ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| read(path)).unwrap_or_default();
        let meminfo = read("/proc/meminfo").unwrap_or_default();
        let status = read("/proc/self/status").unwrap_or_default();
        let capability_mask =
            |name| field(&status, name).and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0);
        let cpu_list = trimmed("/sys/devices/system/cpu/online");
        let cgroups = CgroupLayout::read();
        Self {
            hostname: text(uname.nodename()),
            kernel_release: text(uname.release()),
            kernel_version: text(uname.version()),
            machine: text(uname.machine()),
            operating_system: assignment(&os_release, "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            os_version: assignment(&os_release, "VERSION_ID").unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get().try_into().unwrap_or(u32::MAX)),
            cpu_list,
            memory_nodes: trimmed("/sys/devices/system/node/online"),
            memory: kilobytes(&meminfo, "MemTotal:"),
            swap: kilobytes(&meminfo, "SwapTotal:"),
            capabilities: CapSet::from_bits(capability_mask("CapPrm:") & capability_mask("CapBnd:")),
            has_seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            has_apparmor: trimmed("/sys/module/apparmor/parameters/enabled") == "Y",
            has_io_weight: has_io_weight(&cgroups),
            cgroups,
            ipv4_forwarding: trimmed("/proc/sys/net/ipv4/ip_forward") == "1",
            thermal_throttles: thermal_throttles(),
            filters: FilterCache::default(),
        }
    }

    /// The kernel's version as numbers: `(6, 1)` for 6.1.0-13-amd64.
    pub fn kernel(&self) -> (u32, u32) {
        let mut numbers =
            self.kernel_release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The files of weights are in every group but the root; these are in the root where the same part of the kernel is
/// there: CFQ or BFQ for version 1, the cost model or BFQ for version 2.
fn has_io_weight(cgroups: &CgroupLayout) -> bool {
    let has = |root: &Path, files: &[&str]| files.iter().any(|file| root.join(file).exists());
    match (cgroups.controller("blkio"), cgroups.controller("io")) {
        (Controller::V1(root), _) => has(root, &["blkio.leaf_weight", "blkio.bfq.io_service_bytes"]),
        (_, Controller::V2(root)) => has(root, &["io.cost.qos"]) || Path::new("/sys/module/bfq").exists(),
        _ => false,
    }
}

fn trimmed(path: &str) -> String {
    read(path).unwrap_or_default().trim().to_owned()
}

/// The first word after the line's `name`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.split_whitespace().next())
}

fn kilobytes(meminfo: &str, name: &str) -> u64 {
    field(meminfo, name).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The value of a shell-like `NAME="value"` line.
fn assignment(text: &str, name: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(|value| value.trim_matches('"').to_owned())
}

fn thermal_throttles() -> Vec<String> {
    let Ok(cpus) = fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    let mut paths: Vec<String> = cpus
        .flatten()
        .map(|cpu| cpu.path().join("thermal_throttle"))
        .filter(|path| path.is_dir())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_this_host() {
        let host = HostFacts::read();
        assert!(host.memory > 0 && host.cpus > 0 && !host.hostname.is_empty());
        assert!(host.kernel() >= (5, 12), "{}", host.kernel_release);
    }

    #[test]
    fn os_release_lines() {
        let text = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=12\n";
        assert_eq!(assignment(text, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(assignment(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(assignment(text, "ID"), None);
    }
}
