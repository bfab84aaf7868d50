//! User namespace remapping for the whole engine: which of the host's ids the containers' ids become.
//!
//! What is on the disk (layers, volumes, what containers write) always has the containers' own ids, root being 0: a
//! container sees it through id-mapped mounts. So one state root serves with remapping and without.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Whose subordinate ids `default` means.
const DEFAULT_USER: &str = "boxyard";

/// The fewest ids that do: those of a Debian or Alpine image go up to `nobody`, 65534.
const FEWEST: u32 = 65_536;

/// What an id that is not mapped looks like (`/proc/sys/kernel/overflowuid`'s default).
const OVERFLOW: u32 = 65_534;

/// A run of the host's ids; the containers' id 0 is its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The host's id of the containers' id 0.
    pub first: u32,
    /// How many ids.
    pub count: u32,
}

impl IdRange {
    /// The host's id of a container's; one beyond the range stays nobody's.
    pub fn outside(self, id: u32) -> u32 {
        if id < self.count { self.first + id } else { OVERFLOW }
    }

    /// A container's id for one of the host's; `nobody` where it has none.
    pub fn inside(self, id: u32) -> u32 {
        id.checked_sub(self.first).filter(|id| *id < self.count).unwrap_or(OVERFLOW)
    }

    /// As the kernel reads it from `uid_map` and `gid_map`.
    pub fn map(self) -> String {
        format!("0 {} {}\n", self.first, self.count)
    }
}

/// Users and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// User ids.
    pub uid: IdRange,
    /// Group ids.
    pub gid: IdRange,
}

/// Why the engine can't remap as it was told.
#[derive(Debug, thiserror::Error)]
pub enum RemapError {
    /// The setting is no user, group or range.
    #[error("userns-remap {setting:?}: neither default, nor USER[:GROUP], nor FIRST+COUNT")]
    Unreadable {
        /// As it was given.
        setting: String,
    },
    /// A range of FIRST+COUNT that no host has, or that has the host's root in it.
    #[error(
        "userns-remap {setting:?}: the range must begin above 0, have {FEWEST} ids at least and end below 4294967295"
    )]
    OutOfBounds {
        /// As it was given.
        setting: String,
    },
    /// No line for this name, or none that is long enough.
    #[error("userns-remap: {name} has no {FEWEST} ids in {file}; give it some: echo {name}:100000:65536 >> {file}")]
    NoRange {
        /// The user or group.
        name: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// The file can't be read.
    #[error("userns-remap: read {file}: {source}")]
    File {
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
        /// The disk's refusal.
        source: io::Error,
    },
}

impl Shift {
    /// From a setting: `default`, `USER[:GROUP]` with the ranges of `/etc/subuid` and `/etc/subgid`, or `FIRST+COUNT`.
    ///
    /// # Errors
    /// [`RemapError`], with the way out.
    pub fn from_setting(setting: &str) -> Result<Self, RemapError> {
        let read = |file: &'static str| match fs::read_to_string(Path::new(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other.map_err(|source| RemapError::File { file, source }),
        };
        Self::parse(setting, &read("/etc/subuid")?, &read("/etc/subgid")?)
    }

    fn parse(setting: &str, subuid: &str, subgid: &str) -> Result<Self, RemapError> {
        if let Some((first, count)) = setting.split_once('+') {
            let unreadable = |_| RemapError::Unreadable { setting: setting.to_owned() };
            let (first, count) = (first.parse().map_err(unreadable)?, count.parse().map_err(unreadable)?);
            let range = sound(IdRange { first, count })
                .ok_or_else(|| RemapError::OutOfBounds { setting: setting.to_owned() })?;
            return Ok(Self { uid: range, gid: range });
        }
        let setting = if setting == "default" { DEFAULT_USER } else { setting };
        let (user, group) = setting.split_once(':').unwrap_or((setting, setting));
        if user.is_empty() || group.is_empty() || group.contains(':') {
            return Err(RemapError::Unreadable { setting: setting.to_owned() });
        }
        let range = |name: &str, text: &str, file| {
            range_of(name, text).ok_or_else(|| RemapError::NoRange { name: name.to_owned(), file })
        };
        Ok(Self { uid: range(user, subuid, "/etc/subuid")?, gid: range(group, subgid, "/etc/subgid")? })
    }
}

/// The first line of `name:first:count` that is long enough (subuid(5)).
fn range_of(name: &str, text: &str) -> Option<IdRange> {
    text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split_once(':')).find_map(
        |(first, count)| sound(IdRange { first: first.trim().parse().ok()?, count: count.trim().parse().ok()? }),
    )
}

/// A range that ends below the id that means "none", and does not begin with the host's root.
fn sound(range: IdRange) -> Option<IdRange> {
    let ends = range.first.checked_add(range.count).is_some_and(|end| end < u32::MAX);
    (ends && range.first > 0 && range.count >= FEWEST).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "alice:100000:65536\nboxyard:200000:10\nboxyard:300000:65536\n1000:500000:65536\n";

    fn first(setting: &str) -> Result<(u32, u32), String> {
        let shift = Shift::parse(setting, SUBUID, "staff:700000:65536\nboxyard:800000:65536\n");
        shift.map(|shift| (shift.uid.first, shift.gid.first)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_names_ranges() {
        assert_eq!(first("default"), Ok((300_000, 800_000)));
        assert_eq!(first("alice:staff"), Ok((100_000, 700_000)));
        assert_eq!(first("1000:staff"), Ok((500_000, 700_000)));
        assert_eq!(first("231072+65536"), Ok((231_072, 231_072)));
    }

    #[test]
    fn a_missing_range_is_told_with_the_way_out() {
        let told =
            "userns-remap: alice has no 65536 ids in /etc/subgid; give it some: echo alice:100000:65536 >> /etc/subgid";
        assert_eq!(first("alice"), Err(told.to_owned()));
        assert!(first("0+65536").unwrap_err().contains("must begin above 0"));
        assert!(first(":").unwrap_err().contains("neither default"));
        assert!(first("1+x").unwrap_err().contains("neither default"));
    }

    #[test]
    fn ids_go_both_ways() {
        let range = IdRange { first: 100_000, count: 65_536 };
        assert_eq!((range.outside(0), range.inside(100_033)), (100_000, 33));
        assert_eq!((range.outside(70_000), range.inside(0), range.inside(165_536)), (65_534, 65_534, 65_534));
    }
}
