//! The one thing the runtime does to a network: raise `lo` in a namespace made fresh by the clone.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::step::During;
use super::{Step, StepError};

/// Raises `lo` in this process's network namespace.
///
/// # Errors
/// The kernel's answer.
pub fn raise_loopback() -> Result<(), StepError> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .during(Step::JoinNamespace, "net")?;
    match crate::sys::rights::raise_interface(&socket, c"lo") {
        Ok(()) | Err(Errno::NODEV) => Ok(()),
        Err(errno) => Err(StepError::new(Step::JoinNamespace, errno, "net: raise lo")),
    }
}
