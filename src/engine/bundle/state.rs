//! What lasts of a container between calls: a directory below `--root` with its state and, until it is started, the
//! socket at which its first process waits.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failure::{Attempt, Failure};
use crate::engine::oci::spec::{Hook, Process, VERSION};
use crate::engine::oci::{CgroupPlan, SeccompPlan};
use crate::engine::runtime::Cgroups;

/// The name of the socket.
const DOOR: &str = "start";

/// A container, as written to `state.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub id: String,
    /// Its first process, and when that began (ticks since boot), which tells it from a later one of the same number.
    pub pid: u32,
    pub pid_start_time: u64,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339.
    pub created: String,
    pub annotations: BTreeMap<String, String>,
    pub cgroup: CgroupPlan,
    /// Its first process, from which those of `exec` take what they are not told.
    pub process: Process,
    pub seccomp: SeccompPlan,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// The directory of one container.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// Where the container `id` has its directory.
    pub(super) fn of(root: &Path, id: &str) -> Self {
        Self(root.join(id))
    }

    /// Makes the directory, which is also what makes the id taken.
    pub(super) fn make(&self) -> Result<(), Failure> {
        let parent = self.0.parent().unwrap_or(&self.0);
        fs::create_dir_all(parent).attempt(parent.display())?;
        match fs::create_dir(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Failure::new("container with given ID already exists"))
            }
            other => other.attempt(self.0.display()),
        }?;
        fs::set_permissions(&self.0, std::os::unix::fs::PermissionsExt::from_mode(0o711)).attempt(self.0.display())
    }

    /// Removes it; success if it was not there.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).attempt(self.0.display()),
            _ => Ok(()),
        }
    }

    /// Reads the state.
    pub(super) fn read(&self) -> Result<State, Failure> {
        let text = match fs::read(self.0.join("state.json")) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Failure::does_not_exist()),
            other => other.attempt(self.0.display())?,
        };
        serde_json::from_slice(&text).attempt(format_args!("{}/state.json", self.0.display()))
    }

    /// Writes the state, whole or not at all.
    pub(super) fn write(&self, state: &State) -> Result<(), Failure> {
        let text = serde_json::to_vec(state).attempt("state.json")?;
        write_whole(&self.0.join("state.json"), &text)
    }

    /// The socket at which the first process will wait, listening.
    pub(super) fn open_door(&self) -> Result<OwnedFd, Failure> {
        let (_directory, address) = self.door()?;
        let door = seqpacket()?;
        bind(&door, &address).and_then(|()| listen(&door, 8)).attempt("make the start socket")?;
        Ok(door)
    }

    /// Connects to the first process, which waits to be started; the next one to try finds no socket.
    pub(super) fn knock(&self) -> Result<OwnedFd, Failure> {
        let (_directory, address) = self.door()?;
        let connected = seqpacket()?;
        connect(&connected, &address).attempt("cannot start a container that has stopped")?;
        self.close_door(); // it can start only once anyway
        Ok(connected)
    }

    /// Takes the socket away, as the container is started.
    pub(super) fn close_door(&self) {
        let _ = fs::remove_file(self.0.join(DOOR)); // gone already is as good
    }

    /// The address by way of a descriptor: a socket's path has 108 bytes at most, and roots may be deep.
    fn door(&self) -> Result<(OwnedFd, SocketAddrUnix), Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.0, flags, Mode::empty()).attempt(self.0.display())?;
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{DOOR}", directory.as_raw_fd())).attempt(DOOR)?;
        Ok((directory, address))
    }

    /// What the container is doing now.
    pub(super) fn status(&self, state: &State) -> Status {
        if !state.is_alive() {
            Status::Stopped
        } else if self.0.join(DOOR).exists() {
            Status::Created
        } else if state.is_frozen() {
            Status::Paused
        } else {
            Status::Running
        }
    }
}

fn seqpacket() -> Result<OwnedFd, Failure> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).attempt("socket")
}

/// Writes a file beside its place and renames it there.
pub(super) fn write_whole(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).attempt(path.display())
}

impl State {
    /// Whether the first process is there still; a zombie is not.
    pub(super) fn is_alive(&self) -> bool {
        process_start_time(self.pid) == Some(self.pid_start_time)
    }

    fn is_frozen(&self) -> bool {
        let layout = &self.cgroup.layout;
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let v2 = layout.v2.as_ref().map(|root| read(root.join(&self.cgroup.path).join("cgroup.freeze")));
        let v1 = layout.v1.iter().find(|one| one.controllers.iter().any(|name| name == "freezer"));
        let v1 = v1.map(|one| read(one.mount.join(&self.cgroup.path).join("freezer.state")));
        v2.is_some_and(|text| text.trim() == "1") || v1.is_some_and(|text| matches!(text.trim(), "FROZEN" | "FREEZING"))
    }

    /// This host's cgroups.
    pub(super) fn cgroups(&self) -> Cgroups {
        Cgroups::new(self.cgroup.layout.clone())
    }

    /// The state as the specification has it, for hooks and for `state`.
    pub(super) fn told(&self, status: &str) -> Value {
        let mut told = json!({
            "ociVersion": VERSION,
            "id": self.id,
            "pid": if status == "stopped" { 0 } else { self.pid },
            "status": status,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "created": self.created,
        });
        if let (Some(fields), false) = (told.as_object_mut(), self.annotations.is_empty()) {
            fields.insert("annotations".to_owned(), json!(self.annotations));
        }
        if let Some(fields) = told.as_object_mut() {
            fields.insert("owner".to_owned(), json!(""));
        }
        told
    }
}

/// When the process began, in ticks since boot; `None` if it is gone or a zombie.
pub(super) fn process_start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name, in parentheses, may hold anything
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
