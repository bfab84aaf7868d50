//! Linux capabilities as a set: names, numbers, and the fourteen a container has by default.

use serde::{Deserialize, Serialize};

/// Names without `CAP_`, at the index that is their kernel number (include/uapi/linux/capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container's root may do unless told otherwise: Docker's fourteen.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities, one bit each, numbered as the kernel numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapSet(u64);

impl CapSet {
    /// The empty set.
    pub const EMPTY: CapSet = CapSet(0);

    /// Every capability this program knows.
    pub const ALL: CapSet = CapSet((1 << NAMES.len()) - 1);

    /// The set with these bits, as in `/proc/self/status`.
    pub const fn from_bits(bits: u64) -> Self {
        CapSet(bits)
    }

    /// The bits, as `capset(2)` wants them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Docker's default set.
    pub fn docker_default() -> Self {
        DEFAULT_CAPABILITIES.iter().filter_map(|name| Self::parse(name)).fold(CapSet::EMPTY, CapSet::union)
    }

    /// The set of the one capability called `name`, in any case, with or without `CAP_`; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        NAMES.iter().position(|known| *known == bare).map(|number| CapSet(1 << number))
    }

    /// Whether every capability of `other` is in this set.
    pub const fn contains(self, other: CapSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it has the capability called `name`.
    pub fn has(self, name: &str) -> bool {
        Self::parse(name).is_some_and(|one| self.contains(one))
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: CapSet) -> Self {
        CapSet(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: CapSet) -> Self {
        CapSet(self.0 & !other.0)
    }

    /// What both sets have.
    #[must_use]
    pub const fn intersect(self, other: CapSet) -> Self {
        CapSet(self.0 & other.0)
    }

    /// The names with `CAP_`, in the kernel's order; bits beyond the known ones are left out.
    pub fn names(self) -> Vec<String> {
        let with_bit = |number: usize| self.0 >> number & 1 == 1;
        NAMES
            .iter()
            .enumerate()
            .filter(|(number, _)| with_bit(*number))
            .map(|(_, name)| format!("CAP_{name}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_dockers() {
        assert_eq!(CapSet::docker_default().bits(), 0xa804_25fb);
        assert_eq!(CapSet::docker_default().names().len(), 14);
    }

    #[test]
    fn names_are_read_in_any_form() {
        assert_eq!(CapSet::parse("net_admin"), CapSet::parse("CAP_NET_ADMIN"));
        assert_eq!(CapSet::parse("NET_ADMIN"), Some(CapSet::from_bits(1 << 12)));
        assert_eq!(CapSet::parse("CHECKPOINT_RESTORE"), Some(CapSet::from_bits(1 << 40)));
        assert_eq!(CapSet::parse("CAP_FLY"), None);
    }
}
