//! What a volume is, as kept on disk: `<root>/volumes/<name>/volume.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The label that tells an anonymous volume, as in Docker.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name; for anonymous ones 64 hex digits.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Labels as given.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Options of the driver as given (`type`, `o`, `device`).
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The ID of the container that an anonymous volume was made with and goes with. `None` for any other volume, and
    /// once the container was removed without its volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_for: Option<String>,
}

impl VolumeRecord {
    /// Whether it was made for one container only.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

/// Refuses a name that can't be a volume's, in Docker's words.
pub fn check_name(name: &str) -> Result<(), String> {
    let mut chars = name.chars();
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    if name.len() == 1 {
        return Err("volume name is too short, names should be at least two alphanumeric characters".to_owned());
    }
    let starts_well = chars.next().is_some_and(is_plain);
    if starts_well && chars.all(|c| is_plain(c) || matches!(c, '_' | '.' | '-')) && name.len() <= 255 {
        return Ok(());
    }
    Err(format!(
        "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
         allowed. If you intended to pass a host directory, use absolute path"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["db", "a.b-c_d", "0x"] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["", "a", ".hidden", "../up", "a/b", "ä1"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
