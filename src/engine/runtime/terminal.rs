//! The terminal of a process: opened from the container's own devpts, its master handed out.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags, fstat, fstatfs, major, minor};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::mounts::attach;
use super::path::{Inside, Leaf, ensure};
use super::step::During;
use super::{Step, StepError};
use crate::engine::oci::ConsoleSize;

/// `DEVPTS_SUPER_MAGIC` (include/uapi/linux/magic.h).
const DEVPTS: u32 = 0x1cd1;

/// Both ends of a new terminal.
pub(super) struct Terminal {
    /// The end for whoever holds the terminal in hands.
    pub master: OwnedFd,
    /// The end for the process.
    pub slave: OwnedFd,
}

/// Opens a terminal of the container whose root is `root`. A running container could have put anything in the place of
/// its `/dev/pts/ptmx`, so that is checked to be a devpts's master device.
pub(super) fn open(root: &OwnedFd, size: Option<ConsoleSize>) -> Result<Terminal, StepError> {
    let subject = "/dev/pts/ptmx";
    let found =
        root.open_inside(Path::new(subject), OFlags::PATH | OFlags::NOFOLLOW).during(Step::Terminal, subject)?;
    let stat = fstat(&found).during(Step::Terminal, subject)?;
    let system = fstatfs(&found).during(Step::Terminal, subject)?;
    let is_ptmx = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2)
        && u32::try_from(system.f_type).is_ok_and(|kind| kind == DEVPTS);
    if !is_ptmx {
        return Err(StepError::refused(Step::Terminal, "/dev/pts/ptmx: not a terminal master"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = root.open_inside(Path::new(subject), flags | OFlags::NOFOLLOW).during(Step::Terminal, subject)?;
    let opened = fstat(&master).during(Step::Terminal, subject)?;
    if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(StepError::refused(Step::Terminal, "/dev/pts/ptmx: it changed meanwhile"));
    }
    unlockpt(&master).during(Step::Terminal, subject)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .during(Step::Terminal, subject)?;
    if let Some(ConsoleSize { rows, cols }) = size {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).during(Step::Terminal, "size")?;
    }
    Ok(Terminal { master, slave })
}

impl Terminal {
    /// Shows the terminal as `/dev/console`.
    pub(super) fn show_as_console(&self, root: &OwnedFd) -> Result<(), StepError> {
        let subject = "/dev/console";
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = open_tree(self.slave.as_fd(), "", flags).during(Step::Terminal, subject)?;
        // in a volume mounted at /dev it could be a link to what is masked later
        let found = root.open_inside(Path::new(subject), OFlags::PATH | OFlags::NOFOLLOW);
        if found.is_ok_and(|found| is_link(&found)) {
            return Err(StepError::refused(Step::Terminal, "/dev/console: it is a link"));
        }
        let target = ensure(root, Path::new(subject), Leaf::File)?;
        attach(&tree, &target).during(Step::Terminal, subject)
    }
}

fn is_link(file: &OwnedFd) -> bool {
    fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
