//! The places in an image that mounts may and may not go to.
//!
//! An image can hold links where a container's `/proc`, `/sys` and `/dev` belong, or a link into `/proc` where a volume
//! belongs. What is masked and made read-only is named by path; so if these were followed, the masks would land
//! elsewhere than the thing to be masked.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use super::path::{Inside, Leaf, ensure, is_proc};
use super::step::During;
use super::{Step, StepError};

/// Opens the directory `path` of the container, made if it is missing, refused if a link is on the way.
pub(super) fn plain_directory(root: &OwnedFd, path: &Path) -> Result<OwnedFd, StepError> {
    let subject = path.display().to_string();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    match openat2(root, path, flags, Mode::empty(), how) {
        Err(Errno::NOENT) => {
            ensure(root, path, Leaf::Directory)?;
            openat2(root, path, flags, Mode::empty(), how)
        }
        other => other,
    }
    .map_err(|errno| match errno {
        Errno::LOOP | Errno::NOTDIR => StepError::refused(Step::NotADirectory, subject),
        errno => StepError::new(Step::Mount, errno, subject),
    })
}

/// Refuses a mount that got into the container's `/proc` by a link. What names `/proc` openly was judged by its plan.
pub(super) fn refuse_hidden_proc(root: &OwnedFd, named: &Path, target: &OwnedFd) -> Result<(), StepError> {
    let subject = named.display().to_string();
    if named.starts_with("/proc") || !is_proc(target) {
        return Ok(());
    }
    let own = match root.open_inside(Path::new("/proc"), OFlags::PATH) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.during(Step::Mount, &subject)?,
    };
    // another proc file system, say the host's, brought along as a volume, is the person's own affair
    let (own, target) = (fstat(&own).during(Step::Mount, &subject)?, fstat(target).during(Step::Mount, &subject)?);
    if own.st_dev == target.st_dev { Err(StepError::refused(Step::MountInProc, subject)) } else { Ok(()) }
}
