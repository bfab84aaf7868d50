//! From a set-up process to its program: identity, limits, rights, and exec. The same for a container's first process
//! and for an exec.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::mem::forget;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, fchown, fstat, major, minor};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{DumpableBehavior, Resource, Rlimit as Limit, set_dumpable_behavior, setrlimit, setsid, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, configure_capability_in_ambient_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::path::{Inside, Leaf, ensure};
use super::step::During;
use super::talk::{Message, Talk};
use super::terminal::Terminal;
use super::user::{Identity, UserFiles, look_up};
use super::{Stdio, Step, StepError, reaper, start};
use crate::engine::oci::spec::Hook;
use crate::engine::oci::{CapSet, ConsoleSize, LaunchPlan, ProcessPlan, Rlimit, SeccompPlan};
use crate::engine::trace::Trace;
use crate::sys::{process as sys, rights};

/// Where programs are looked for when the environment does not say: Docker's default.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Cuts what ties a fresh clone to its parent: signals, session, mask, limits.
pub(super) fn leave_parent(plan: &ProcessPlan) -> Result<(), StepError> {
    sys::reset_signals();
    // nobody in the container may look into this process before it is the container's program
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during(Step::Clone, "")?;
    setsid().during(Step::Clone, "session")?;
    umask(Mode::empty());
    plan.rlimits.iter().try_for_each(set_rlimit)
}

/// Puts the descriptors into place and closes all others but the conversation's. Returns the terminal's size, if there
/// is to be one, which takes its place once it is opened.
pub(super) fn take_stdio(stdio: Stdio, preserved: u32, talk: &Talk) -> Result<Option<Option<ConsoleSize>>, StepError> {
    let wants = match stdio {
        Stdio::Terminal(size) => Some(size),
        Stdio::Fds { stdin, stdout, stderr } => {
            // beyond 2 first, so that none of them is overwritten by another
            let beyond = 3 + preserved.cast_signed();
            let away = |fd: &OwnedFd| fcntl_dupfd_cloexec(fd, beyond).during(Step::Stdio, "stdio");
            let (input, output, messages) = (away(&stdin)?, away(&stdout)?, away(&stderr)?);
            dup2_stdin(&input).during(Step::Stdio, "stdin")?;
            dup2_stdout(&output).during(Step::Stdio, "stdout")?;
            dup2_stderr(&messages).during(Step::Stdio, "stderr")?;
            forget((stdin, stdout, stderr, input, output, messages)); // closed with all the others below
            None
        }
    };
    let (spared, first) = (talk.number(), 3 + preserved);
    if spared > first {
        sys::close_descriptors(first, spared - 1).during(Step::CloseDescriptors, "")?;
    }
    sys::close_descriptors(spared + 1, u32::MAX).during(Step::CloseDescriptors, "")?;
    Ok(wants)
}

/// Writes what goes through this process's own `/proc`, while that is the host's.
pub(super) fn write_own_proc(plan: &ProcessPlan) -> Result<(), StepError> {
    if plan.init {
        reaper::be_seen(&plan.args);
    }
    if let Some(score) = plan.oom_score_adj {
        std::fs::write("/proc/self/oom_score_adj", score.to_string()).during(Step::OomScore, score.to_string())?;
    }
    match &plan.apparmor {
        // an init of ours stays what it is: see `become_program`
        Some(profile) if !plan.init => confine(profile, "exec", "exec"),
        _ => Ok(()),
    }
}

/// Puts this thread under the AppArmor profile: `current`ly with the word `changeprofile`, or when it `exec`utes.
fn confine(profile: &str, when: &str, word: &str) -> Result<(), StepError> {
    let paths = ["apparmor/", ""].map(|of| format!("/proc/thread-self/attr/{of}{when}"));
    let path = paths.iter().find(|path| Path::new(path).exists()).unwrap_or(&paths[1]);
    std::fs::write(path, format!("{word} {profile}")).during(Step::Apparmor, profile)
}

fn set_rlimit(limit: &Rlimit) -> Result<(), StepError> {
    let number = |value: u64| (value != u64::MAX).then_some(value);
    let subject = || {
        let word = |value: u64| number(value).map_or("unlimited".to_owned(), |value| value.to_string());
        format!("{}={}:{}", limit.name, word(limit.soft), word(limit.hard))
    };
    let Some(resource) = resource(&limit.name) else {
        return Err(StepError::new(Step::Rlimit, Errno::INVAL, subject()));
    };
    setrlimit(resource, Limit { current: number(limit.soft), maximum: number(limit.hard) })
        .during(Step::Rlimit, subject())
}

/// The kernel's resource for a name as in `--ulimit`.
fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// What a missing working directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingDirectory {
    /// It is made, as for a container's first process.
    Make,
    /// The process cannot run, as for an exec.
    Refuse,
}

/// All that must be known before the process waits for its start.
pub(super) struct Prepared {
    identity: Identity,
    args: Vec<CString>,
    env: Vec<CString>,
    path: String,
}

/// The plan with the variables of `env_from` among the others; `None` where it has none. The host must be in sight.
pub(super) fn with_read_variables(plan: &LaunchPlan) -> Result<Option<LaunchPlan>, StepError> {
    if plan.process.env_from.is_empty() {
        return Ok(None);
    }
    let mut whole = plan.clone();
    for variable in std::mem::take(&mut whole.process.env_from) {
        let value = std::fs::read(&variable.source).during(Step::OpenSource, &variable.name)?;
        let value = String::from_utf8(value).map_err(|_| Errno::ILSEQ).during(Step::OpenSource, &variable.name)?;
        let name = format!("{}=", variable.name);
        whole.process.env.retain(|entry| !entry.starts_with(&name));
        whole.process.env.push(name + &value);
    }
    Ok(Some(whole))
}

impl Prepared {
    /// Looks up the user in the container, makes and enters the working directory, joins a keyring called after
    /// `name`.
    pub(super) fn new(
        plan: &ProcessPlan,
        name: &str,
        root: &OwnedFd,
        missing: MissingDirectory,
    ) -> Result<Self, StepError> {
        let identity = look_up(&plan.user, &plan.additional_groups, &UserFiles::read(root)?)?;
        enter_directory(&plan.cwd, root, missing)?;
        if !plan.shares_keyring {
            join_keyring(name)?;
        }
        let mut env = plan.env.clone();
        if !env.iter().any(|entry| entry.strip_prefix("HOME=").is_some_and(|home| !home.is_empty())) {
            env.retain(|entry| entry != "HOME=");
            env.push(format!("HOME={}", identity.home));
        }
        let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH).to_owned();
        let args = c_strings(&plan.args)?;
        if args.is_empty() {
            return Err(StepError::refused(Step::ProgramNotInPath, ""));
        }
        Ok(Self { identity, args, env: c_strings(&env)?, path })
    }

    /// Reports that all is set, waits for the start, gives up rights and executes the program.
    pub(super) fn run(
        self,
        plan: &ProcessPlan,
        terminal: Option<Terminal>,
        talk: &Talk,
        trace: &mut Trace,
    ) -> Result<Infallible, StepError> {
        self.run_with(plan, terminal, talk, &[], trace)
    }

    /// The same, with hooks before the program.
    pub(super) fn run_with(
        self,
        plan: &ProcessPlan,
        terminal: Option<Terminal>,
        talk: &Talk,
        hooks: &[Hook],
        trace: &mut Trace,
    ) -> Result<Infallible, StepError> {
        let master = terminal.map(take_terminal).transpose()?;
        give_stdio_to(&self.identity)?;
        talk.send_marks(trace);
        talk.send(&Message::Ready, master.as_ref().map(AsFd::as_fd))?;
        drop(master);
        let Some(door) = await_start(talk)? else {
            trace.mark("start is heard");
            return self.become_program(plan, talk, hooks, trace);
        };
        // whether the program is there is told to the one who goes away, as runc does
        find_program(&self.args, &self.path)?;
        talk.send(&Message::Ready, None)?;
        let caller = start::await_caller(&door)?;
        drop(door);
        let error = match self.become_program(plan, &caller, hooks, trace) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let _ = caller.send(&Message::Failed(error), None); // nobody else is there to be told
        sys::exit_now(1)
    }

    fn become_program(
        self,
        plan: &ProcessPlan,
        talk: &Talk,
        hooks: &[Hook],
        trace: &mut Trace,
    ) -> Result<Infallible, StepError> {
        if !hooks.is_empty() {
            let state = super::hooks::state_inside("", "created");
            hooks.iter().try_for_each(|hook| super::hooks::run_hook(hook, &state))?;
        }
        // without no_new_privs, only a privileged process may load a filter
        if !plan.no_new_privileges {
            load_filter(&plan.seccomp)?;
            trace.mark("seccomp filter");
        }
        umask(Mode::from_raw_mode(plan.umask.unwrap_or(0o022)));
        become_user(&self.identity, plan)?;
        if plan.no_new_privileges {
            set_no_new_privs(true).during(Step::NoNewPrivileges, "")?;
            load_filter(&plan.seccomp)?;
            trace.mark("seccomp filter");
        }
        sys::close_on_exec_from(3 + plan.preserve_fds).during(Step::CloseDescriptors, "")?;
        if plan.init {
            // an init that never executes anything would never come under its profile
            plan.apparmor.iter().try_for_each(|profile| confine(profile, "current", "changeprofile"))?;
            reaper::become_child_of_init()?;
        }
        trace.mark("identity, capabilities");
        talk.send_marks(trace);
        Err(execute(&self.args, &self.env, &self.path))
    }
}

/// Waits until the parent says start; a socket comes back if somebody else will.
fn await_start(talk: &Talk) -> Result<Option<OwnedFd>, StepError> {
    match talk.receive()? {
        Some((Message::Start, _)) => Ok(None),
        Some((Message::StartLater, Some(door))) => Ok(Some(door)),
        Some(_) => Err(StepError::new(Step::Talk, Errno::PROTO, "")),
        None => Err(StepError::new(Step::Talk, Errno::PIPE, "")),
    }
}

/// Makes the terminal this process's own, as standard input, output and messages. Returns the master.
fn take_terminal(terminal: Terminal) -> Result<OwnedFd, StepError> {
    let Terminal { master, slave } = terminal;
    rustix::process::ioctl_tiocsctty(&slave).during(Step::Terminal, "controlling")?;
    dup2_stdin(&slave).during(Step::Stdio, "stdin")?;
    dup2_stdout(&slave).during(Step::Stdio, "stdout")?;
    dup2_stderr(&slave).during(Step::Stdio, "stderr")?;
    Ok(master)
}

/// Lets the user open its input and output again by `/dev/stdout` and the like.
fn give_stdio_to(identity: &Identity) -> Result<(), StepError> {
    let (input, output, messages) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for descriptor in [input.as_fd(), output.as_fd(), messages.as_fd()] {
        let stat = fstat(descriptor).during(Step::Stdio, "stdio")?;
        let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
        if is_null || stat.st_uid == identity.uid {
            continue;
        }
        // the group stays: a terminal's is tty, and who else's descriptor it is must keep their own
        match fchown(descriptor, Some(Uid::from_raw(identity.uid)), None) {
            // a descriptor of something that has no owner, or is read-only, stays as it is
            Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => {}
            other => other.during(Step::Stdio, "stdio")?,
        }
    }
    Ok(())
}

/// Gives input and output to the host's `uid` and `gid`, who are root in a user namespace: from inside of it, root has
/// no rights over what belongs to somebody of the host.
pub(super) fn give_to_root(stdio: &Stdio, uid: u32, gid: u32) -> Result<(), StepError> {
    match stdio {
        Stdio::Fds { stdin, stdout, stderr } => give([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()], uid, gid),
        Stdio::Terminal(_) => Ok(()),
    }
}

/// The same once they are in their places.
pub(super) fn give_streams_to_root(uid: u32, gid: u32) -> Result<(), StepError> {
    let (input, output, messages) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    give([input.as_fd(), output.as_fd(), messages.as_fd()], uid, gid)
}

fn give(descriptors: [BorrowedFd<'_>; 3], uid: u32, gid: u32) -> Result<(), StepError> {
    for descriptor in descriptors {
        let stat = fstat(descriptor).during(Step::Stdio, "stdio")?;
        if matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket) {
            match fchown(descriptor, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
                Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => {}
                other => other.during(Step::Stdio, "stdio")?,
            }
        }
    }
    Ok(())
}

/// Becomes root in the user namespace that this process has just joined.
pub(super) fn become_root() -> Result<(), StepError> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_groups(&[]).during(Step::SetUser, "root")?;
    set_thread_res_gid(gid, gid, gid).during(Step::SetUser, "root")?;
    set_thread_res_uid(uid, uid, uid).during(Step::SetUser, "root")
}

fn enter_directory(cwd: &str, root: &OwnedFd, missing: MissingDirectory) -> Result<(), StepError> {
    let cwd = if cwd.is_empty() { "/" } else { cwd };
    let in_words = |error: StepError| StepError { step: Step::WorkingDirectory, subject: cwd.to_owned(), ..error };
    let directory = match missing {
        MissingDirectory::Make => ensure(root, Path::new(cwd), Leaf::Directory).map_err(in_words)?,
        MissingDirectory::Refuse => {
            root.open_inside(Path::new(cwd), OFlags::PATH).during(Step::WorkingDirectory, cwd)?
        }
    };
    rustix::process::fchdir(&directory).during(Step::WorkingDirectory, cwd)?;
    // a directory of the host's, reached through a descriptor that leaked, has no path from our root
    let now = rustix::process::getcwd(Vec::new()).during(Step::WorkingDirectory, cwd)?;
    if now.to_bytes().first() == Some(&b'/') {
        Ok(())
    } else {
        Err(StepError::refused(Step::WorkingDirectoryOutside, cwd))
    }
}

fn join_keyring(name: &str) -> Result<(), StepError> {
    let name = CString::new(format!("_ses.{name}")).unwrap_or_default();
    match rights::join_new_session_keyring(&name) {
        // a kernel without keyrings has none to protect; over quota (of the real user) runc goes on as well
        Ok(()) | Err(Errno::NOSYS | Errno::DQUOT) => Ok(()),
        other => other.during(Step::Keyring, ""),
    }
}

fn load_filter(plan: &SeccompPlan) -> Result<(), StepError> {
    match plan {
        SeccompPlan::Unconfined => Ok(()),
        SeccompPlan::Filter(filter) => rights::load_seccomp_filter(filter.instructions()).during(Step::Seccomp, ""),
    }
}

/// Changes user, groups and capabilities, for good.
fn become_user(identity: &Identity, plan: &ProcessPlan) -> Result<(), StepError> {
    let held = capabilities(None).during(Step::Capabilities, "")?.permitted;
    let wanted = CapabilitySet::from_bits_retain(plan.capabilities.bits()).intersection(held);
    drop_bounding(plan.capabilities)?;
    set_keep_capabilities(true).during(Step::Capabilities, "")?;
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let who = || format!("{}:{}", identity.uid, identity.gid);
    set_thread_groups(&groups).during(Step::SetUser, who())?;
    set_thread_res_gid(gid, gid, gid).during(Step::SetUser, who())?;
    set_thread_res_uid(uid, uid, uid).during(Step::SetUser, who())?;
    set_keep_capabilities(false).during(Step::Capabilities, "")?;
    let of = |set: CapSet| CapabilitySet::from_bits_retain(set.bits()).intersection(held);
    let sets = match plan.sets {
        Some(sets) => CapabilitySets {
            effective: of(sets.effective),
            permitted: of(sets.permitted),
            inheritable: of(sets.inheritable),
        },
        None => {
            CapabilitySets { effective: wanted, permitted: wanted, inheritable: of(plan.ambient).intersection(wanted) }
        }
    };
    // the kernel lets only those be ambient
    let ambient = of(plan.ambient).intersection(sets.permitted).intersection(sets.inheritable);
    set_capabilities(None, sets).during(Step::Capabilities, "")?;
    clear_ambient_capability_set().during(Step::Capabilities, "ambient")?;
    for one in ambient.iter() {
        configure_capability_in_ambient_set(one, true).during(Step::Capabilities, "ambient")?;
    }
    Ok(())
}

fn drop_bounding(keep: CapSet) -> Result<(), StepError> {
    for number in 0..u64::BITS {
        if keep.contains(CapSet::from_bits(1 << number)) {
            continue;
        }
        match rights::drop_from_bounding_set(number) {
            Ok(()) => {}
            Err(Errno::INVAL) => break, // beyond this kernel's last capability
            other => other.during(Step::Capabilities, "bounding")?,
        }
    }
    Ok(())
}

/// Executes the program; returns only with why it could not.
fn execute(args: &[CString], env: &[CString], path: &str) -> StepError {
    let Some(program) = args.first() else { return StepError::refused(Step::ProgramNotInPath, "") };
    let name = program.to_string_lossy().into_owned();
    if name.contains('/') {
        return match try_execute(program, args, env) {
            (Errno::NOENT | Errno::NOTDIR, false) => StepError::new(Step::ProgramNotFound, Errno::NOENT, name),
            (Errno::ACCESS, true) if Path::new(&name).is_dir() => StepError::new(Step::Exec, Errno::ISDIR, name),
            (errno, _) => StepError::new(Step::Exec, errno, name),
        };
    }
    for directory in path.split(':') {
        let candidate = format!("{}/{name}", if directory.is_empty() { "." } else { directory });
        let Ok(candidate) = CString::new(candidate) else { continue };
        match try_execute(&candidate, args, env) {
            // missing, not for us to look at, or not executable: as a shell does, the next one may be
            (Errno::ACCESS | Errno::NOENT | Errno::NOTDIR, false) | (Errno::ACCESS, true) => {}
            (errno, _) => return StepError::new(Step::Exec, errno, candidate.to_string_lossy()),
        }
    }
    StepError::new(Step::ProgramNotInPath, Errno::NOENT, name)
}

/// Whether there is a program to execute, as far as can be told before becoming the user.
fn find_program(args: &[CString], path: &str) -> Result<(), StepError> {
    let name = args.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let is_file = |candidate: &str| rustix::fs::stat(candidate);
    if name.contains('/') {
        return match is_file(&name) {
            Err(Errno::NOENT | Errno::NOTDIR) => Err(StepError::new(Step::ProgramNotFound, Errno::NOENT, name)),
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                Err(StepError::new(Step::Exec, Errno::ISDIR, name))
            }
            Ok(found) if found.st_mode & 0o111 == 0 => Err(StepError::new(Step::Exec, Errno::ACCESS, name)),
            _ => Ok(()),
        };
    }
    let mut places =
        path.split(':').map(|directory| format!("{}/{name}", if directory.is_empty() { "." } else { directory }));
    // what the user may not look at is left to exec
    let is_there = |place: String| !matches!(is_file(&place), Err(Errno::NOENT | Errno::NOTDIR));
    if places.any(is_there) { Ok(()) } else { Err(StepError::new(Step::ProgramNotInPath, Errno::NOENT, name)) }
}

/// Why it could not, and whether the file itself is there (else its interpreter may be what is missing).
fn try_execute(program: &CStr, args: &[CString], env: &[CString]) -> (Errno, bool) {
    let Err(errno) = nix::unistd::execve(program, args, env);
    (Errno::from_raw_os_error(errno as i32), rustix::fs::stat(program).is_ok())
}

fn c_strings(words: &[String]) -> Result<Vec<CString>, StepError> {
    let to_c = |word: &String| {
        CString::new(word.as_str()).map_err(|_| StepError::new(Step::Exec, Errno::INVAL, word.replace('\0', "\\0")))
    };
    words.iter().map(to_c).collect()
}
