//! Who a process runs as: Docker's `user[:group]` looked up in the container's passwd and group files.
//!
//! The files are the container's, so they are read with bounds, and only if they are files. A number is a number: it is
//! never looked up as a name when it is out of range.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, OFlags, fstat, fstatfs};
use rustix::io::Errno;

use super::path::Inside;
use super::step::During;
use super::{Step, StepError};

/// The largest passwd or group file that is read; a larger one is refused, not cut.
const LARGEST_FILE: u64 = 8 << 20;
/// The largest id, as in Docker: what fits a signed 32-bit number.
const LARGEST_ID: u32 = i32::MAX as u32;

// include/uapi/linux/magic.h
const PROC: u32 = 0x9fa0;
const SYSFS: u32 = 0x6265_6572;

/// A looked-up user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, the primary one first.
    pub groups: Vec<u32>,
    pub home: String,
}

/// The texts to look in.
#[derive(Debug, Default)]
pub(super) struct UserFiles {
    pub passwd: String,
    pub group: String,
}

impl UserFiles {
    /// Reads them from the container; a missing one is empty.
    pub(super) fn read(root: &OwnedFd) -> Result<Self, StepError> {
        Ok(Self { passwd: read(root, "/etc/passwd")?, group: read(root, "/etc/group")? })
    }
}

fn read(root: &OwnedFd, path: &str) -> Result<String, StepError> {
    // looked at before it is opened: opening a device or a file of the kernel's can have effects of its own
    let found = match root.open_inside(Path::new(path), OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        other => other.during(Step::ReadUsers, path)?,
    };
    let stat = fstat(&found).during(Step::ReadUsers, path)?;
    let system = fstatfs(&found).during(Step::ReadUsers, path)?;
    let is_kernels = u32::try_from(system.f_type).is_ok_and(|kind| [PROC, SYSFS].contains(&kind));
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || is_kernels {
        return Err(StepError::new(Step::ReadUsers, Errno::INVAL, path));
    }
    // not blocking, should it be a pipe by now
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = root.open_inside(Path::new(path), flags).during(Step::ReadUsers, path)?;
    let opened = fstat(&file).during(Step::ReadUsers, path)?;
    if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(StepError::new(Step::ReadUsers, Errno::AGAIN, path));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(LARGEST_FILE + 1).read_to_end(&mut bytes).during(Step::ReadUsers, path)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(StepError::new(Step::ReadUsers, Errno::FBIG, path));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A field of a user specification.
enum Named<'a> {
    Number(u32),
    Name(&'a str),
}

/// `None` for digits that are no id.
fn named(field: &str) -> Option<Named<'_>> {
    let digits = field.strip_prefix(['-', '+']).unwrap_or(field);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Named::Name(field));
    }
    field.parse().ok().filter(|id| *id <= LARGEST_ID).map(Named::Number)
}

/// Looks up `specification` (`""` is root) and the additional groups.
pub(super) fn look_up(specification: &str, additional: &[String], files: &UserFiles) -> Result<Identity, StepError> {
    let (user, group) = specification.split_once(':').unwrap_or((specification, ""));
    let (uid, entry) = match named(if user.is_empty() { "0" } else { user }) {
        None => return Err(StepError::refused(Step::UserRange, user)),
        Some(Named::Number(uid)) => (uid, passwd(&files.passwd).find(|entry| entry.uid == uid)),
        Some(Named::Name(name)) => match passwd(&files.passwd).find(|entry| entry.name == name) {
            Some(entry) => (entry.uid, Some(entry)),
            None => return Err(StepError::refused(Step::FindUser, user)),
        },
    };
    let gid = if group.is_empty() { entry.as_ref().map_or(0, |entry| entry.gid) } else { find_group(group, files)? };
    let mut groups = vec![gid];
    if group.is_empty()
        && let Some(entry) = &entry
    {
        groups.extend(
            groups_of(&files.group).filter(|one| one.members.split(',').any(|m| m == entry.name)).map(|g| g.gid),
        );
    }
    for extra in additional {
        groups.push(find_group(extra, files)?);
    }
    let mut seen = std::collections::HashSet::new();
    groups.retain(|gid| seen.insert(*gid));
    let home = entry.map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or("/");
    Ok(Identity { uid, gid, groups, home: home.to_owned() })
}

fn find_group(group: &str, files: &UserFiles) -> Result<u32, StepError> {
    match named(group) {
        None => Err(StepError::refused(Step::UserRange, group)),
        Some(Named::Number(gid)) => Ok(gid),
        Some(Named::Name(name)) => groups_of(&files.group)
            .find(|entry| entry.name == name)
            .map(|entry| entry.gid)
            .ok_or_else(|| StepError::refused(Step::FindGroup, group)),
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// An id of a passwd or group line. One out of range is none: the highest of all means "as before" to the kernel, so
/// that whoever should become it would stay root.
fn id(field: &str) -> Option<u32> {
    field.parse().ok().filter(|id| *id <= LARGEST_ID)
}

/// `name:password:uid:gid:comment:home:shell` lines; others are passed over.
fn passwd(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
        Some(PasswdEntry { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// `name:password:gid:member,member` lines; others are passed over.
fn groups_of(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let gid = id(fields.nth(1)?)?;
        Some(GroupEntry { name, gid, members: fields.next().unwrap_or_default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> UserFiles {
        UserFiles {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n7:x:8:8::/seven:\n"
                .to_owned(),
            group: "root:x:0:root\nwheel:x:10:root,app\napps:x:1001:\naudio:x:29:app\n".to_owned(),
        }
    }

    #[track_caller]
    fn check(specification: &str, expected: Result<(u32, u32, &[u32], &str), &str>) {
        let found = look_up(specification, &[], &files()).map_err(|error| error.to_string());
        let expected = expected
            .map(|(uid, gid, groups, home)| Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() })
            .map_err(str::to_owned);
        assert_eq!(found, expected);
    }

    #[test]
    fn users_as_docker_finds_them() {
        check("", Ok((0, 0, &[0, 10], "/root")));
        check("app", Ok((1000, 1001, &[1001, 10, 29], "/home/app")));
        check("1000", Ok((1000, 1001, &[1001, 10, 29], "/home/app")));
        check("1000:audio", Ok((1000, 29, &[29], "/home/app")));
        check("4321", Ok((4321, 0, &[0], "/")));
        check("4321:5", Ok((4321, 5, &[5], "/")));
        check(":wheel", Ok((0, 10, &[10], "/root")));
        check("7", Ok((7, 0, &[0], "/")));
        check("bob", Err("unable to find user bob: no matching entries in passwd file"));
        check("app:bob", Err("unable to find group bob: no matching entries in group file"));
    }

    #[test]
    fn an_id_that_would_leave_root_as_it_is_is_passed_over() {
        let files = UserFiles {
            passwd: "evil:x:4294967295:0::/:\nnobody:x:7:4294967295::/:\n".to_owned(),
            group: "evil:x:4294967295:\n".to_owned(),
        };
        let words = |specification| look_up(specification, &[], &files).unwrap_err().to_string();
        assert_eq!(words("evil"), "unable to find user evil: no matching entries in passwd file");
        assert_eq!(words("nobody"), "unable to find user nobody: no matching entries in passwd file");
        assert_eq!(words("0:evil"), "unable to find group evil: no matching entries in group file");
    }

    #[test]
    fn a_number_out_of_range_is_never_a_name() {
        for specification in ["4294967296", "2147483648", "-1", "99999999999999999999"] {
            check(specification, Err(&format!("uids and gids must be in range 0-2147483647: {specification}")));
        }
    }

    #[test]
    fn additional_groups_by_name_and_number() {
        let additional = ["audio".to_owned(), "77".to_owned(), "audio".to_owned()];
        assert_eq!(look_up("app:apps", &additional, &files()).unwrap().groups, [1001, 29, 77]);
    }

    #[test]
    fn a_pipe_for_a_file_does_not_hang() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("etc")).unwrap();
        let pipe = temp.path().join("etc/passwd");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o644), 0).unwrap();
        let root: OwnedFd = std::fs::File::open(temp.path()).unwrap().into();
        assert_eq!(UserFiles::read(&root).unwrap_err().step, Step::ReadUsers);
    }
}
