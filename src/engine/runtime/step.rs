//! What the runtime was doing when it failed, on what, and the kernel's answer.
//!
//! Errors of a container's first process cross a socket as this struct; the words are put together by whoever shows
//! them, so one place decides how a failure reads.

use std::fmt;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A failed step of creating or starting a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// What was attempted.
    pub step: Step,
    /// The kernel's answer; 0 where it is not the kernel that refused.
    pub errno: i32,
    /// On what: a path, a program, a limit, a user.
    pub subject: String,
}

/// What was attempted. The names are part of the protocol between shim and engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Making the process.
    Clone,
    /// Talking with the process while it sets itself up.
    Talk,
    /// Making or limiting the cgroup.
    Cgroup,
    /// Moving the process into the cgroup.
    AttachCgroup,
    /// Joining a namespace.
    JoinNamespace,
    /// Making a namespace.
    Unshare,
    /// Opening the source of a bind.
    OpenSource,
    /// Mounting.
    Mount,
    /// Making a mount's target.
    MakeTarget,
    /// Changing the root.
    PivotRoot,
    /// Looking at a host device.
    FindDevice,
    /// Making a device node or a link in `/dev`.
    MakeDevice,
    /// Hiding a path.
    Mask,
    /// Making a path read-only.
    MakeReadonly,
    /// Setting a kernel parameter.
    Sysctl,
    /// Setting host or domain name.
    Hostname,
    /// Setting a resource limit.
    Rlimit,
    /// A mount of the kernel's belongs on a directory, and the image has something else there.
    NotADirectory,
    /// A mount would go into the container's `/proc`.
    MountInProc,
    /// Setting the OOM score.
    OomScore,
    /// Making the session keyring.
    Keyring,
    /// Making the terminal.
    Terminal,
    /// Handing over input and output.
    Stdio,
    /// Reading the container's passwd or group file.
    ReadUsers,
    /// Looking up the user.
    FindUser,
    /// Looking up a group.
    FindGroup,
    /// A user or group number out of range.
    UserRange,
    /// Becoming the user.
    SetUser,
    /// Making or entering the working directory.
    WorkingDirectory,
    /// The working directory lies outside of the container.
    WorkingDirectoryOutside,
    /// Limiting capabilities.
    Capabilities,
    /// Giving up on new privileges.
    NoNewPrivileges,
    /// Setting the security profile.
    Apparmor,
    /// Loading the system call filter.
    Seccomp,
    /// Running a hook.
    Hook,
    /// Closing what must not leak.
    CloseDescriptors,
    /// The program is in no directory of PATH.
    ProgramNotInPath,
    /// The program's path leads nowhere.
    ProgramNotFound,
    /// Executing the program.
    Exec,
}

impl StepError {
    /// `step` failed on `subject` with the kernel's `errno`.
    pub fn new(step: Step, errno: Errno, subject: impl Into<String>) -> Self {
        Self { step, errno: errno.raw_os_error(), subject: subject.into() }
    }

    /// `step` failed on `subject` without the kernel saying so.
    pub fn refused(step: Step, subject: impl Into<String>) -> Self {
        Self { step, errno: 0, subject: subject.into() }
    }

    /// The exit status Docker gives for it: 127 for a missing program, 126 for one that cannot run as told, else 128.
    pub fn exit_code(&self) -> i64 {
        match self.step {
            Step::ProgramNotInPath | Step::ProgramNotFound => 127,
            Step::Exec if self.errno == Errno::NOENT.raw_os_error() => 127,
            Step::Exec | Step::WorkingDirectory | Step::FindUser | Step::FindGroup | Step::UserRange => 126,
            _ => 128,
        }
    }

    /// The words for Docker's clients, which look for phrases in them to tell exit codes apart.
    pub fn docker_message(&self) -> String {
        if self.is_found_by_daemon() {
            return self.to_string();
        }
        format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: \
             unable to start container process: {self}: unknown"
        )
    }

    /// The same for a process run in a running container.
    pub fn docker_exec_message(&self) -> String {
        if self.is_found_by_daemon() {
            return self.to_string();
        }
        format!("OCI runtime exec failed: exec failed: unable to start container process: {self}: unknown")
    }

    /// What Docker's daemon finds before it asks a runtime, and so says without the runtime's preamble.
    fn is_found_by_daemon(&self) -> bool {
        matches!(self.step, Step::FindUser | Step::FindGroup | Step::UserRange | Step::FindDevice)
    }

    /// What could help, where that can be known.
    pub fn advice(&self) -> Option<&'static str> {
        if self.errno == 0 {
            return None; // it was not the kernel that refused, and 0 is no errno to ask about
        }
        let errno = Errno::from_raw_os_error(self.errno);
        match (self.step, errno) {
            (Step::Rlimit, Errno::PERM) => {
                Some("raising a hard limit needs CAP_SYS_RESOURCE, which this engine does not have")
            }
            (Step::OomScore, Errno::ACCESS) => {
                Some("lowering the OOM score needs CAP_SYS_RESOURCE, which this engine does not have")
            }
            _ => None,
        }
    }

    /// The kernel's answer in words.
    fn reason(&self) -> String {
        let text = std::io::Error::from_raw_os_error(self.errno).to_string();
        text.split(" (os error").next().unwrap_or_default().to_lowercase()
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        let verb = match self.step {
            Step::FindUser => return write!(f, "unable to find user {subject}: no matching entries in passwd file"),
            Step::FindGroup => return write!(f, "unable to find group {subject}: no matching entries in group file"),
            Step::UserRange => return write!(f, "uids and gids must be in range 0-2147483647: {subject}"),
            Step::ProgramNotInPath => {
                return write!(f, "exec: {subject:?}: executable file not found in $PATH");
            }
            Step::ProgramNotFound => return write!(f, "exec: {subject:?}: stat {subject}: {}", self.reason()),
            Step::Exec if [Errno::NOEXEC, Errno::NOENT].iter().any(|errno| errno.raw_os_error() == self.errno) => {
                return write!(f, "exec {subject}: {}", self.reason());
            }
            Step::Exec => return write!(f, "exec: {subject:?}: {}", self.reason()),
            Step::WorkingDirectory => {
                return write!(f, "chdir to cwd ({subject:?}) set in config.json failed: {}", self.reason());
            }
            Step::WorkingDirectoryOutside => {
                return write!(f, "current working directory {subject} is outside of container mount namespace root");
            }
            Step::NotADirectory => return write!(f, "{subject} must be mounted on ordinary directory"),
            Step::MountInProc => {
                return write!(f, "\"{subject}\" cannot be mounted because it is inside /proc");
            }
            Step::FindDevice => {
                return write!(
                    f,
                    "error gathering device information while adding custom device {subject:?}: {}",
                    self.reason()
                );
            }
            Step::Clone => "create process",
            Step::Talk => "set up process",
            Step::Cgroup => "cgroup",
            Step::AttachCgroup => "join cgroup",
            Step::JoinNamespace => "join namespace",
            Step::Unshare => "make namespace",
            Step::OpenSource => "bind source",
            Step::Mount => "mount",
            Step::MakeTarget => "make mount point",
            Step::PivotRoot => "change root to",
            Step::MakeDevice => "make device",
            Step::Mask => "mask",
            Step::MakeReadonly => "make read-only",
            Step::Sysctl => "set sysctl",
            Step::Hostname => "set hostname",
            Step::Rlimit => "set rlimit",
            Step::OomScore => "set oom_score_adj",
            Step::Keyring => "make session keyring",
            Step::Terminal => "make terminal",
            Step::Stdio => "set up",
            Step::ReadUsers => "read",
            Step::SetUser => "become user",
            Step::Capabilities => "limit capabilities",
            Step::NoNewPrivileges => "set no_new_privs",
            Step::Apparmor => "set AppArmor profile",
            Step::Seccomp => "load seccomp filter",
            Step::Hook => "error running hook",
            Step::CloseDescriptors => "close descriptors",
        };
        f.write_str(verb)?;
        if !subject.is_empty() {
            write!(f, " {subject}")?;
        }
        if self.errno != 0 {
            write!(f, ": {}", self.reason())?;
        }
        match self.advice() {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StepError {}

/// Names the step and the object on which a system call failed.
pub(crate) trait During<T> {
    /// Turns the errno into a [`StepError`].
    fn during(self, step: Step, subject: impl AsRef<str>) -> Result<T, StepError>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, step: Step, subject: impl AsRef<str>) -> Result<T, StepError> {
        self.map_err(|errno| StepError::new(step, errno, subject.as_ref()))
    }
}

impl<T> During<T> for Result<T, nix::errno::Errno> {
    fn during(self, step: Step, subject: impl AsRef<str>) -> Result<T, StepError> {
        self.map_err(|errno| StepError::new(step, Errno::from_raw_os_error(errno as i32), subject.as_ref()))
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, step: Step, subject: impl AsRef<str>) -> Result<T, StepError> {
        self.map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            StepError::new(step, errno, subject.as_ref())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: StepError, code: i64, words: &str) {
        assert_eq!((error.exit_code(), error.to_string().as_str()), (code, words));
    }

    #[test]
    fn failures_read_as_docker_says_them() {
        check(StepError::new(Step::Mount, Errno::PERM, "/proc"), 128, "mount /proc: operation not permitted");
        let missing = StepError::new(Step::ProgramNotInPath, Errno::NOENT, "foo");
        check(missing, 127, "exec: \"foo\": executable file not found in $PATH");
        let nowhere = StepError::new(Step::ProgramNotFound, Errno::NOENT, "/bin/foo");
        check(nowhere, 127, "exec: \"/bin/foo\": stat /bin/foo: no such file or directory");
        check(StepError::new(Step::Exec, Errno::ACCESS, "/etc"), 126, "exec: \"/etc\": permission denied");
        check(StepError::new(Step::Exec, Errno::NOEXEC, "/x"), 126, "exec /x: exec format error");
        let user = StepError::refused(Step::FindUser, "bob");
        check(user, 126, "unable to find user bob: no matching entries in passwd file");
    }

    #[test]
    fn a_missing_privilege_is_named() {
        let error = StepError::new(Step::Rlimit, Errno::PERM, "nofile=9:9");
        assert!(error.to_string().contains("CAP_SYS_RESOURCE"), "{error}");
    }

    #[test]
    fn a_refusal_of_our_own_has_words_too() {
        let error = StepError::refused(Step::Terminal, "/dev/pts/ptmx: not a terminal master");
        check(error, 128, "make terminal /dev/pts/ptmx: not a terminal master");
    }

    #[test]
    fn it_survives_the_pipe() {
        let error = StepError::new(Step::Mount, Errno::PERM, "/proc");
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<StepError>(&text).unwrap(), error);
    }
}
