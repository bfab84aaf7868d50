//! Whether a bind's source lets mounts travel as asked: only what is mounted as shared can be shared further. Pure.

use std::path::{Path, PathBuf};

/// What the mount that holds a path says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holder {
    at: PathBuf,
    is_shared: bool,
    is_slave: bool,
}

/// Checks one propagation word against `mountinfo`, the text of `/proc/self/mountinfo`; `source` has no links in it.
///
/// # Errors
/// Docker's words.
pub(super) fn check(mountinfo: &str, source: &Path, word: &str) -> Result<(), String> {
    let (needs_shared, needs_either) = (word.ends_with("shared"), word.ends_with("slave"));
    if !needs_shared && !needs_either {
        return Ok(());
    }
    let holder = holder(mountinfo, source);
    let told =
        |what: &str| format!("path {} is mounted on {} but it is not {what}", source.display(), holder.at.display());
    match holder.is_shared || (needs_either && holder.is_slave) {
        true => Ok(()),
        false if needs_shared => Err(told("a shared mount")),
        false => Err(told("a shared or slave mount")),
    }
}

/// The innermost mount at or above `path`; of several on one place, the last.
fn holder(mountinfo: &str, path: &Path) -> Holder {
    let parsed = mountinfo.lines().filter_map(mount);
    let mut best = Holder::default();
    for one in parsed.filter(|one| path.starts_with(&one.at)) {
        if one.at.components().count() >= best.at.components().count() {
            best = one;
        }
    }
    best
}

/// `36 35 98:0 /root /at options shared:1 master:2 - type source options`, as proc(5) has it.
fn mount(line: &str) -> Option<Holder> {
    let mut fields = line.split(' ');
    let at = fields.nth(4)?;
    let optional: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
    let has = |prefix: &str| optional.iter().any(|field| field.starts_with(prefix));
    Some(Holder { at: PathBuf::from(unescaped(at)), is_shared: has("shared:"), is_slave: has("master:") })
}

/// Blanks, tabs, line ends and backslashes stand as octal numbers.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, letter)| path.replace(code, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "20 1 8:1 / / rw - ext4 /dev/a rw\n\
                          21 20 8:2 / /data rw shared:7 - ext4 /dev/b rw\n\
                          22 20 8:3 / /in\\040box rw master:7 - ext4 /dev/c rw\n";

    #[track_caller]
    fn told(source: &str, word: &str, expected: &str) {
        let found = check(MOUNTS, Path::new(source), word);
        assert_eq!(found.err().unwrap_or_default(), expected, "{source} {word}");
    }

    #[test]
    fn only_shared_mounts_are_shared_further() {
        for word in ["", "rprivate", "private"] {
            told("/home", word, "");
        }
        told("/home", "rshared", "path /home is mounted on / but it is not a shared mount");
        told("/home", "slave", "path /home is mounted on / but it is not a shared or slave mount");
        told("/data/x", "rshared", "");
        told("/data", "rslave", "");
        told("/in box/x", "rslave", "");
        told("/in box/x", "shared", "path /in box/x is mounted on /in box but it is not a shared mount");
    }
}
