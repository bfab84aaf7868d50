//! `--chown`: whom copied files belong to.

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::plan::PlanError;
use super::tree::open_inside;

/// Account files of images are small; a larger one is somebody's attempt to fill our memory.
const MAX_ACCOUNTS: u64 = 4 << 20;

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// The superuser.
    pub(super) const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Whom `user[:group]` means where no name in it has to be looked up; `None` where one has.
pub(super) fn numeric(spec: &str) -> Result<Option<Owner>, PlanError> {
    let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
    let uid = if user.is_empty() { Some(0) } else { number(user, spec)? };
    let gid = if group.is_empty() { uid } else { number(group, spec)? };
    Ok(uid.zip(gid).map(|(uid, gid)| Owner { uid, gid }))
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
        let told = |spec: &str| numeric(spec).map_err(|error| error.message);
        assert_eq!(told("7"), Ok(Some(Owner { uid: 7, gid: 7 })));
        assert_eq!(told(":8"), Ok(Some(Owner { uid: 0, gid: 8 })));
        assert_eq!(told("7:logs"), Ok(None));
        assert_eq!(told("web"), Ok(None));
    }
}
