//! `--chown` and `--chmod`: whom copied files belong to, and what may be done with them.

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::state::PlanError;
use super::tree::open_inside;

/// Account files of images are small; a larger one is somebody's attempt to fill our memory.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Whom `user[:group]` means in the root file system `root`. Numbers mean themselves; without a group it is the user's own,
/// and for a number the same number, as in Docker.
pub(super) fn owner(spec: &str, root: BorrowedFd<'_>) -> Result<Owner, PlanError> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let (uid, own_gid) = if let Some(uid) = number(user, spec)? {
        (uid, uid)
    } else if user.is_empty() {
        (0, 0)
    } else {
        let accounts = accounts(root, "etc/passwd")?;
        entry(&accounts, user)
            .and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
            .ok_or_else(|| PlanError::new(format!("unable to find user {user}: no matching entries in passwd file")))?
    };
    let gid = match group {
        None => own_gid,
        Some(group) => match number(group, spec)? {
            Some(gid) => gid,
            None => {
                entry(&accounts(root, "etc/group")?, group).and_then(|fields| fields.get(2)?.parse().ok()).ok_or_else(
                    || PlanError::new(format!("unable to find group {group}: no matching entries in group file")),
                )?
            }
        },
    };
    Ok(Owner { uid, gid })
}

/// A number, which never is a name; too large a one is refused rather than cut off.
fn number(text: &str, spec: &str) -> Result<Option<u32>, PlanError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(number) if number < u32::MAX => Ok(Some(number)),
        _ => Err(PlanError::new(format!("invalid user or group in {spec:?}: {text} is out of range"))),
    }
}

fn accounts(root: BorrowedFd<'_>, path: &str) -> Result<String, PlanError> {
    let refused = |error: &dyn std::error::Error| PlanError::new(format!("read /{path} of the stage: {error}"));
    let file = match open_inside(root, Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT) => return Ok(String::new()),
        Err(errno) => return Err(refused(&errno)),
    };
    let mut text = Vec::new();
    file.take(MAX_ACCOUNTS).read_to_end(&mut text).map_err(|error| refused(&error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn entry<'a>(accounts: &'a str, name: &str) -> Option<Vec<&'a str>> {
    accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name))
}

/// A change of permissions: octal, or symbolic as chmod(1) takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ModeChange {
    /// All bits.
    Octal(u32),
    /// Clauses like `u+x`, in order.
    Symbolic(Vec<Clause>),
}

/// `who`, an operator, and which of `rwxXst`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    who: u32,
    operator: char,
    bits: String,
}

impl ModeChange {
    /// Reads a `--chmod`.
    pub(super) fn parse(text: &str) -> Result<Self, PlanError> {
        let refusal = || {
            PlanError::new(format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            ))
        };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| refusal())?;
            return if mode <= 0o7777 { Ok(Self::Octal(mode)) } else { Err(refusal()) };
        }
        let clauses = text.split(',').map(|clause| {
            let at = clause.find(['+', '-', '=']).ok_or_else(refusal)?;
            let (who, rest) = clause.split_at(at);
            let mut mask = 0;
            for class in who.chars() {
                mask |= match class {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return Err(refusal()),
                };
            }
            let mut rest = rest.chars();
            let operator = rest.next().ok_or_else(refusal)?;
            let bits: String = rest.collect();
            if !bits.chars().all(|bit| "rwxXst".contains(bit)) {
                return Err(refusal());
            }
            Ok(Clause { who: if mask == 0 { 0o7777 } else { mask }, operator, bits })
        });
        clauses.collect::<Result<_, _>>().map(Self::Symbolic)
    }

    /// The permissions that come of `mode`.
    pub(super) fn apply(&self, mode: u32, is_folder: bool) -> u32 {
        let clauses = match self {
            Self::Octal(mode) => return *mode,
            Self::Symbolic(clauses) => clauses,
        };
        clauses.iter().fold(mode, |mode, clause| {
            let mut bits = 0;
            for bit in clause.bits.chars() {
                bits |= match bit {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    'X' if is_folder || mode & 0o111 != 0 => 0o111,
                    's' => 0o6000,
                    't' => 0o1000,
                    _ => 0,
                };
            }
            bits &= clause.who;
            match clause.operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => (mode & !clause.who) | bits,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn owners_by_name_and_number() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n").unwrap();
        std::fs::write(folder.path().join("etc/group"), "root:x:0:\nlogs:x:50:\n").unwrap();
        let root = std::fs::File::open(folder.path()).unwrap();
        let check = |spec: &str| owner(spec, root.as_fd()).map(|it| (it.uid, it.gid)).map_err(|error| error.message);
        assert_eq!(check("web"), Ok((33, 34)));
        assert_eq!(check("web:logs"), Ok((33, 50)));
        assert_eq!(check("7"), Ok((7, 7)));
        assert_eq!(check("7:8"), Ok((7, 8)));
        assert_eq!(check("nobody"), Err("unable to find user nobody: no matching entries in passwd file".into()));
        assert_eq!(check("0:x"), Err("unable to find group x: no matching entries in group file".into()));
        assert!(check("99999999999").is_err());
    }

    #[test]
    fn modes_octal_and_symbolic() {
        for (text, mode, folder, expected) in [
            ("755", 0o600, false, 0o755),
            ("0644", 0o777, true, 0o644),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("go-rwx", 0o755, false, 0o700),
            ("u=rw,g=r,o=", 0o777, false, 0o640),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o644, true, 0o755),
            ("u+s", 0o755, false, 0o4755),
        ] {
            assert_eq!(ModeChange::parse(text).unwrap().apply(mode, folder), expected, "{text}");
        }
        for bad in ["", "9", "77777", "x", "u+q", "rwx"] {
            assert!(ModeChange::parse(bad).is_err(), "{bad}");
        }
    }
}
