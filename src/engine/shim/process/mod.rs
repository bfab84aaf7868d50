//! The shim process: one thread, one `epoll` loop, one container.
//!
//! Its life: it waits for the word to begin, reads `shim.json`, listens, has the runtime make the container's first process (which waits), says so
//! on the connection it was born with, and from then on reacts. It ends when its container is over and everybody was told; or when
//! nobody starts the container and the engine that made it is gone. It never waits but in `epoll`, with two exceptions
//! that are the point of it: the runtime's steps and writing to the log's page cache.

mod carrier;
mod checkup;
mod ending;
mod keeper;
mod logging;
mod member;
mod oom;
mod outbox;
mod peer;
mod reactor;
mod requests;
mod runs;
mod streams;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::fs::Mode;

use self::keeper::Keeper;
use self::logging::Logging;
use self::member::{Ends, Wanted};
use super::errand;
use super::logs::{self, Compression};
use super::protocol::{Message, Refusal, RefusalKind, encode};
use super::spec::{Bundle, ProcessIdentity, ShimSpec, StdinMode};
use crate::engine::network::dns;
use crate::engine::runtime::Stdio;
use crate::engine::store;
use crate::engine::trace::{self, Trace};
use crate::sys::memory;

/// What `boxyard shim` was asked to be.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    /// The shim of the container whose bundle is `bundle`. Descriptor 0 is its first connection.
    Keep { bundle: PathBuf },
    /// Makes a network namespace that belongs to a user namespace: a new one, or that of a process.
    UserNamespace { of: Option<u32> },
    /// A shim's child that compresses a log: from descriptor 0 to descriptor 1.
    Compress,
    /// A shim's child that writes a log: what comes from descriptor 0.
    Log,
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Option<Task> {
    let mut bundle = None;
    while let Some(arg) = args.next() {
        match arg.to_str()? {
            "--compress" => return Some(Task::Compress),
            "--log" => return Some(Task::Log),
            "--user-namespace" => return Some(Task::UserNamespace { of: None }),
            "--user-namespace-of" => {
                return Some(Task::UserNamespace { of: Some(args.next()?.to_str()?.parse().ok()?) });
            }
            "--bundle" => bundle = Some(PathBuf::from(args.next()?)),
            _ => return None,
        }
    }
    Some(Task::Keep { bundle: bundle? })
}

/// Is the shim that `args` (after `shim`) describe; returns when its container is over and everybody was told.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let outcome = match parse(args) {
        Some(Task::Keep { bundle }) => keep(&bundle),
        Some(Task::Compress) => compress(),
        Some(Task::Log) => {
            memory::stay_small();
            io::stdin().as_fd().try_clone_to_owned().and_then(|pipe| logs::keep(File::from(pipe)))
        }
        Some(Task::UserNamespace { of }) => super::userns::hold(of),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "this verb is the engine's own; nobody else calls it")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("boxyard shim: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How much a compressor stands back.
const COMPRESSOR_NICE: i32 = 10;

fn compress() -> io::Result<()> {
    let (input, output) = (io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?);
    // The container and the engine come first.
    let _ = rustix::process::nice(COMPRESSOR_NICE);
    Compression::run(&File::from(input), &File::from(output))
}

fn keep(bundle: &Path) -> io::Result<()> {
    memory::stay_small();
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    detach()?;
    let signals = take_signals()?;
    let here = trace::now();
    let Some(netns) = errand::receive(&control)? else { return Ok(()) };
    let bundle = Bundle::new(bundle);
    match bring_up(&bundle, signals, netns, here) {
        Ok(prepared) => Keeper::new(bundle, prepared, control)?.run(),
        Err(refusal) => {
            let _ = std::fs::remove_file(bundle.folder().join(Bundle::SOCKET));
            let _ = std::fs::remove_file(bundle.pid());
            // An engine that is gone does not miss it.
            let _ = (&control).write_all(&encode(&Message::Refused { id: 0, refusal }));
            Ok(())
        }
    }
}

/// A container that waits for its start, and all the loop needs.
struct Prepared {
    identity: ProcessIdentity,
    signals: SignalFd,
    listener: UnixListener,
    init: carrier::Init,
    ends: Ends,
    logging: Logging,
    dns: Option<dns::Server>,
    netns: Option<OwnedFd>,
    spec: ShimSpec,
}

fn bring_up(bundle: &Bundle, signals: SignalFd, netns: Option<OwnedFd>, here: u64) -> Result<Prepared, Refusal> {
    let told = trace::now();
    let because = |what: &'static str| move |error: io::Error| refusal(format!("{what}: {error}"));
    let spec: ShimSpec = store::read_record(&bundle.spec())
        .map_err(|error| refusal(error.to_string()))?
        .ok_or_else(|| refusal(format!("{} is missing", bundle.spec().display())))?;
    let mut trace = Trace::new("shim", spec.trace);
    trace.mark_at("exec, runtime, arguments", here);
    trace.mark_at("its container is decided", told);
    trace.mark("read shim.json");
    let identity = ProcessIdentity::of(std::process::id()).ok_or_else(|| refusal("read /proc/self/stat".to_owned()))?;
    let listener = listen(bundle).map_err(because("listen on the shim's socket"))?;
    store::write_volatile_record(&bundle.pid(), &identity).map_err(|error| refusal(error.to_string()))?;
    trace.mark("socket, pid file");
    let logging =
        Logging::open(&spec.log).map_err(|error| refusal(format!("open log {}: {error}", spec.log.path.display())))?;
    let dns = match (&spec.dns, &netns) {
        (Some(config), Some(netns)) => {
            let bound = dns::Server::bind(netns.as_fd(), config.clone());
            Some(bound.map_err(because("listen for the container's name lookups"))?)
        }
        _ => None,
    };
    trace.mark("log, resolver");
    let (stdio, ends) = stdio_of(&spec).map_err(because("make the container's pipes"))?;
    let init = carrier::create(&spec, bundle, stdio, netns.as_ref().map(AsFd::as_fd), trace)?;
    Ok(Prepared { identity, signals, listener, init, ends, logging, dns, netns, spec })
}

fn refusal(message: String) -> Refusal {
    Refusal { kind: RefusalKind::Create, code: 128, message }
}

fn stdio_of(spec: &ShimSpec) -> io::Result<(Stdio, Ends)> {
    let process = &spec.plan.process;
    member::streams(Wanted {
        terminal: process.tty.then_some(process.console_size),
        stdin: spec.stdin != StdinMode::Closed,
        stdout: true,
        stderr: true,
    })
}

/// Own session, no terminal, nobody's working folder, and whatever the container leaves behind is ours to reap.
fn detach() -> io::Result<()> {
    // The engine's spawn has made it a session leader already; by hand it may not be one.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // Any process ID says yes; its own reads best.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}

/// SIGCHLD tells of processes that nobody waits for otherwise; requests to end go on to the container. All others have
/// their default, but for SIGPIPE, which Rust ignores.
fn take_signals() -> io::Result<SignalFd> {
    let mut mine = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        mine.add(signal);
    }
    mine.thread_block()?;
    Ok(SignalFd::with_flags(&mine, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Listens in the bundle; only our own user may connect.
fn listen(bundle: &Bundle) -> io::Result<UnixListener> {
    let folder = File::open(bundle.folder())?;
    // A socket's path may have 107 bytes at most (unix(7)); through the folder's descriptor any bundle fits.
    let path = PathBuf::from(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), Bundle::SOCKET));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&path);
    rustix::process::umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_are_understood() {
        let parse = |line: &str| super::parse(line.split(' ').map(OsString::from));
        assert_eq!(parse("--bundle /run/b"), Some(Task::Keep { bundle: "/run/b".into() }));
        assert_eq!(parse("--compress"), Some(Task::Compress));
        assert_eq!(parse("--log"), Some(Task::Log));
        assert_eq!(parse("--bundle"), None);
        assert_eq!(parse("--magic"), None);
    }
}
