//! One call of a runtime's command line: its global flags, its streams, its end and, failing, its own words.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::ExternalError;
use crate::engine::oci::{ConsoleSize, ExternalRuntime};
use crate::engine::runtime::Stdio;
use crate::engine::runtime::process::DEFAULT_PATH;

/// The most that is read of a runtime's log.
const LONGEST_LOG: usize = 64 << 10;

/// The streams of a call. What a runtime starts inherits them, so they are the container's.
pub(super) struct Ends(Option<[OwnedFd; 3]>);

impl Ends {
    /// Those of `stdio`, or none and the size where it is a terminal, which the runtime makes.
    pub(super) fn of(stdio: Stdio) -> Result<(Self, Option<ConsoleSize>), ExternalError> {
        Ok(match stdio {
            Stdio::Fds { stdin, stdout, stderr } => (Self(Some([stdin, stdout, stderr])), None),
            Stdio::Terminal(size) => (Self::none(), size),
        })
    }

    /// None: what the runtime says for itself is kept for its failure.
    pub(super) fn none() -> Self {
        Self(None)
    }
}

/// A command line of a runtime.
pub(super) struct Call {
    command: Command,
    name: String,
    path: PathBuf,
    verb: String,
    place: PathBuf,
}

impl Call {
    /// The verb `words` of `runtime`, whose states and log are kept in `place`.
    pub(super) fn new(runtime: &ExternalRuntime, place: &Path, words: &[&str]) -> Self {
        let mut command = Command::new(&runtime.path);
        command.env_clear().env("PATH", DEFAULT_PATH).current_dir("/");
        command.arg("--root").arg(place.join("state"));
        command.arg("--log").arg(place.join("log.json")).args(["--log-format", "json"]).args(words);
        Self {
            command,
            name: runtime.name.clone(),
            path: runtime.path.clone(),
            verb: words.first().copied().unwrap_or_default().to_owned(),
            place: place.to_owned(),
        }
    }

    pub(super) fn arg(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(word);
        self
    }

    /// Carries it out, at most for `limit`.
    pub(super) fn run(&mut self, ends: Ends, limit: Duration) -> Result<(), ExternalError> {
        let (log, said) = (self.place.join("log.json"), self.place.join("said"));
        // only this call's words are wanted in it
        let _ = fs::remove_file(&log);
        let [stdin, stdout, stderr] = match ends.0 {
            Some(ends) => ends.map(std::process::Stdio::from),
            None => {
                let words = File::create(&said).map_err(|error| ExternalError::io("create", &said, error))?;
                [std::process::Stdio::null(), std::process::Stdio::null(), words.into()]
            }
        };
        let spawned = self.command.stdin(stdin).stdout(stdout).stderr(stderr).spawn();
        // our copies of the streams' ends go now, else nobody would see the container close its own
        self.command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        self.command.stderr(std::process::Stdio::null());
        let mut child = spawned.map_err(|source| ExternalError::Missing {
            name: self.name.clone(),
            path: self.path.clone(),
            source,
        })?;
        let status = wait(&mut child, limit).map_err(|error| ExternalError::io("wait for", &self.path, error))?;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(ExternalError::Refused {
                verb: self.verb.clone(),
                message: complaint(&log)
                    .or_else(|| last_line(&said))
                    .unwrap_or_else(|| format!("{} {}: {status}", self.name, self.verb)),
            }),
            None => {
                Err(ExternalError::Late { name: self.name.clone(), verb: self.verb.clone(), seconds: limit.as_secs() })
            }
        }
    }
}

/// Waits for its end; `None` where it took too long and was killed.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    if readable(&pidfd, limit)? {
        return child.wait().map(Some);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn readable(fd: impl AsFd, limit: Duration) -> io::Result<bool> {
    let until = Instant::now() + limit;
    loop {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

/// The last error in a runtime's log, one JSON object a line.
fn complaint(log: &Path) -> Option<String> {
    let text = read_end(log)?;
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut last = None;
    for line in lines {
        let Some(message) = line.get("msg").and_then(|message| message.as_str()) else { continue };
        let level = line.get("level").and_then(|level| level.as_str()).unwrap_or_default().to_lowercase();
        if ["error", "fatal", "panic"].contains(&level.as_str()) {
            return Some(message.trim().to_owned());
        }
        last.get_or_insert_with(|| message.trim().to_owned());
    }
    last
}

fn last_line(path: &Path) -> Option<String> {
    let text = read_end(path)?;
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn read_end(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let end = bytes.get(bytes.len().saturating_sub(LONGEST_LOG)..).unwrap_or_default();
    Some(String::from_utf8_lossy(end).into_owned())
}

/// Where a runtime hands a terminal's master over.
pub(super) struct Console {
    listener: UnixListener,
    folder: File,
    path: PathBuf,
}

impl Console {
    const NAME: &str = "console.sock";

    /// Listens in `place`.
    pub(super) fn listen(place: &Path) -> Result<Self, ExternalError> {
        let path = place.join(Self::NAME);
        let make = || {
            let folder = File::open(place)?;
            let _ = fs::remove_file(&path);
            // a socket's path may have 107 bytes at most (unix(7)); through the folder's descriptor any place fits
            let listener = UnixListener::bind(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), Self::NAME))?;
            Ok((folder, listener))
        };
        let (folder, listener) = make().map_err(|error| ExternalError::io("listen at", &path, error))?;
        Ok(Self { listener, folder, path })
    }

    /// The path for the runtime.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}/{}", std::process::id(), self.folder.as_raw_fd(), Self::NAME).into()
    }

    /// What was handed over.
    pub(super) fn receive(self, limit: Duration) -> io::Result<OwnedFd> {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        if !readable(&self.listener, limit)? {
            return Err(late());
        }
        let (socket, _) = self.listener.accept()?;
        if !readable(&socket, limit)? {
            return Err(late());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 4096];
        recvmsg(&socket, &mut [io::IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        descriptor.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_the_complaint() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log.json");
        let text = r#"{"level":"warning","msg":"something","time":"x"}
{"level":"error","msg":"runc create failed: no","time":"x"}
{"level":"info","msg":"bye"}
half a li"#;
        fs::write(&log, text).unwrap();
        assert_eq!(complaint(&log).as_deref(), Some("runc create failed: no"));
        fs::write(&log, r#"{"level":"warning","msg":"only this"}"#).unwrap();
        assert_eq!(complaint(&log).as_deref(), Some("only this"));
        assert_eq!(complaint(&folder.path().join("none")), None);
    }

    #[test]
    fn a_call_tells_its_failure_and_its_lateness() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("runtime");
        let runtime = |text: &str| {
            fs::write(&script, text).unwrap();
            fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            ExternalRuntime {
                name: "x".to_owned(),
                path: "/bin/sh".into(),
                annotations: Default::default(),
                seccomp: None,
                init: None,
            }
        };
        let mut call = Call::new(&runtime(""), folder.path(), &["start"]);
        // the shell knows no --root, and says so
        let refused = call.run(Ends::none(), Duration::from_secs(20)).unwrap_err();
        assert!(matches!(&refused, ExternalError::Refused { verb, .. } if verb == "start"), "{refused}");
        let missing = ExternalRuntime { path: "/no/such/runtime".into(), ..runtime("") };
        let missing = Call::new(&missing, folder.path(), &["start"]).run(Ends::none(), Duration::ZERO).unwrap_err();
        assert!(matches!(missing, ExternalError::Missing { .. }), "{missing}");
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        assert!(wait(&mut child, Duration::from_millis(1)).unwrap().is_none());
    }
}
