//! `posix_spawn(3)` in a new session, with chosen standard streams.
//!
//! `std::process::Command` can't call `setsid` without `pre_exec`, which forks; a child that is to survive the
//! terminal's SIGHUP and SIGINT needs its own session from its first instruction. glibc carries this out with
//! `vfork` semantics, so it is safe in a process with threads and costs nothing for a large one.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// The standard streams of a new process; each must be above 2 in the caller.
#[derive(Debug, Clone, Copy)]
pub struct Streams<'a> {
    /// Its descriptor 0.
    pub stdin: BorrowedFd<'a>,
    /// Its descriptor 1.
    pub stdout: BorrowedFd<'a>,
    /// Its descriptor 2.
    pub stderr: BorrowedFd<'a>,
}

/// Runs `program` (a path, not searched for) in a new session with an empty signal mask and default dispositions, and
/// returns its process ID; the caller has to wait on it. Other descriptors reach it only if they lack close-on-exec.
///
/// # Errors
/// The kernel's refusal, that of `execve(2)` included.
pub fn spawn_session(program: &CStr, args: &[CString], env: &[CString], streams: Streams<'_>) -> io::Result<u32> {
    let argv: Vec<*mut libc::c_char> = pointers(args);
    let envp: Vec<*mut libc::c_char> = pointers(env);
    let mut actions = FileActions::new()?;
    for (number, stream) in [(0, streams.stdin), (1, streams.stdout), (2, streams.stderr)] {
        actions.dup2(stream, number)?;
    }
    let attributes = Attributes::new_session()?;
    let mut pid: libc::pid_t = 0;
    // SAFETY: every pointer is to a live object for the length of the call: `program`, `args` and `env` are NUL-terminated
    // strings borrowed by this function, `argv` and `envp` end in a null pointer (see `pointers`), and the two posix_spawn
    // objects were initialised by their `new`. The call only reads them and writes `pid`.
    let result = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr(),
            envp.as_ptr(),
        )
    };
    check(result)?;
    u32::try_from(pid).map_err(io::Error::other)
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: init writes a whole object into the place we give it, or fails.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: init succeeded, so the object is initialised.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn dup2(&mut self, from: BorrowedFd<'_>, to: libc::c_int) -> io::Result<()> {
        // SAFETY: the object is initialised; the descriptor is only a number here and is open until the spawn, as the
        // borrow that `Streams` holds outlives it.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from.as_raw_fd(), to) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: the object is initialised and not used after this.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new_session() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: init writes a whole object into the place we give it, or fails.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: init succeeded, so the object is initialised.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let flags =
            libc::c_int::from(libc::POSIX_SPAWN_SETSID) | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        let flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
        let mut none = MaybeUninit::uninit();
        let mut all = MaybeUninit::uninit();
        // SAFETY: sigemptyset and sigfillset write a whole set; the attribute object is initialised and copies the sets.
        unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigfillset(all.as_mut_ptr());
            check(libc::posix_spawnattr_setflags(&raw mut attributes.0, flags))?;
            check(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, none.as_ptr()))?;
            check(libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, all.as_ptr()))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the object is initialised and not used after this.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_child_has_its_own_session_and_the_given_streams() {
        let (mut reader, writer) = io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        // Fields 4 to 6 of its stat are parent, process group and session.
        let args = ["cat", "/proc/self/stat"].map(|arg| CString::new(arg).unwrap());
        let streams = Streams { stdin: null.as_fd(), stdout: writer.as_fd(), stderr: null.as_fd() };
        let pid = spawn_session(c"/bin/cat", &args, &[], streams).unwrap();
        drop(writer);
        let mut stat = String::new();
        reader.read_to_string(&mut stat).unwrap();
        let fields: Vec<&str> = stat.split(' ').collect();
        assert_eq!((fields[0], fields[4], fields[5]), (&*pid.to_string(), &*pid.to_string(), &*pid.to_string()));
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
    }

    #[test]
    fn a_missing_program_is_told() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let streams = Streams { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd() };
        let error = spawn_session(c"/no/such/program", &[], &[], streams).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
