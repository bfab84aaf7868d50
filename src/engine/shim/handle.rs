//! An engine's end of a shim.
//!
//! One connection per shim carries requests, replies and events; a task of ours owns it. Every attach and every exec
//! with streams has a connection of its own, because that one turns raw. The handle never blocks a container: what the
//! shim has to say queues in memory here, in messages of a few hundred bytes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::binary::ShimBinary;
use super::driver::{Command, Driver, Shared, ShimEvents};
use super::errand;
use super::error::ShimError;
use super::logs::LogPosition;
use super::protocol::{self, Answer, Attach, ExecRequest, Hello, Message, Request, ShimEvent, Target, Verb};
use super::restart::{Asked, RestartPolicy};
use super::spec::{Bundle, ExitRecord, ProcessIdentity, ShimSpec};
use crate::engine::oci::ConsoleSize;
use crate::engine::store;
use crate::engine::trace::Mark;
use crate::sys::readiness;
use crate::sys::spawn::Streams;

/// How long a shim may take to set a container up. Mounts on slow disks are the longest part of it.
const CREATE_LIMIT: Duration = Duration::from_secs(60);
/// How long any other answer may take: the shim's loop never waits for anything.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A live shim; clones are the same one. Dropping every clone leaves shim and container alone.
#[derive(Debug, Clone)]
pub struct Shim {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    bundle: Bundle,
    hello: Arc<Hello>,
}

/// A container that was let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its first process as the host sees it.
    pub pid: u32,
    /// When.
    pub started_at: Timestamp,
    /// The stages from the request on, where traced.
    pub trace: Vec<Mark>,
}

/// An exec that runs.
#[derive(Debug)]
pub struct ExecStarted {
    /// The process as the host sees it.
    pub pid: u32,
    /// Its streams; `None` if detached. Ends after the last byte of output.
    pub io: Option<UnixStream>,
    /// Gets its exit code; it is known at the latest when `io` ends. An error means that the shim is gone.
    pub exit: oneshot::Receiver<i64>,
}

/// A shim on its way that waits to hear which container it is to keep. Dropped, it ends by itself.
#[derive(Debug)]
pub struct Summoned {
    bundle: Bundle,
    connection: std::os::unix::net::UnixStream,
    launched: JoinHandle<Result<(), ShimError>>,
}

impl Summoned {
    /// Has the shim set the container up and waits until its first process waits for [`Shim::start`]. `netns` is what
    /// `NetNs::Inherited` in the plan stands for.
    ///
    /// # Errors
    /// [`ShimError::Create`] with the step that failed; nothing is left then but the files of the bundle.
    pub async fn entrust(self, spec: &ShimSpec, netns: Option<OwnedFd>) -> Result<Shim, ShimError> {
        let Self { bundle, connection, launched } = self;
        launched
            .await
            .map_err(|error| ShimError::System { message: format!("spawn the container's shim: {error}") })??;
        let (place, spec) = (bundle.spec(), spec.clone());
        tokio::task::spawn_blocking(move || store::write_volatile_record(&place, &spec))
            .await
            .map_err(|error| ShimError::System { message: format!("write the shim's orders: {error}") })??;
        errand::send(&connection, netns.as_ref().map(AsFd::as_fd))
            .map_err(ShimError::io("give orders to the shim of", bundle.folder()))?;
        drop(netns);
        let mut connection = into_tokio(connection).map_err(ShimError::io("connect", bundle.folder()))?;
        let hello = match within(CREATE_LIMIT, read_answer(&mut connection, &bundle)).await? {
            Answer::Hello(hello) => hello,
            _ => return Err(ShimError::Confused),
        };
        Ok(Shim::drive(connection, bundle, *hello))
    }
}

impl Shim {
    /// Sends for a shim for the container of `bundle`, a folder that is there. It comes while the caller goes on; what
    /// it is to do is said by [`Summoned::entrust`].
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn summon(binary: &ShimBinary, bundle: &Path) -> Result<Summoned, ShimError> {
        let bundle = Bundle::new(bundle);
        let (connection, theirs) =
            std::os::unix::net::UnixStream::pair().map_err(ShimError::io("connect", bundle.folder()))?;
        let (binary, place) = (binary.clone(), bundle.clone());
        let launched = tokio::task::spawn_blocking(move || {
            launch(&binary, &place, &theirs.into())?.reap_when_it_ends();
            Ok(())
        });
        Ok(Summoned { bundle, connection, launched })
    }

    /// Starts a shim that is not waited for beforehand: [`Shim::summon`] and [`Summoned::entrust`].
    ///
    /// # Errors
    /// As these.
    pub async fn spawn(
        binary: &ShimBinary,
        bundle: &Path,
        spec: &ShimSpec,
        netns: Option<OwnedFd>,
    ) -> Result<Self, ShimError> {
        Self::summon(binary, bundle)?.entrust(spec, netns).await
    }

    /// Finds the live shim of `bundle`; `None` where there is none (any more).
    ///
    /// # Errors
    /// [`ShimError`] where there is one that does not answer as it should.
    pub async fn connect(bundle: &Path) -> Result<Option<Self>, ShimError> {
        let bundle = Bundle::new(bundle);
        let Some(identity) = store::read_record::<ProcessIdentity>(&bundle.pid())? else { return Ok(None) };
        if !identity.is_alive() {
            return Ok(None);
        }
        let Some(mut connection) = dial(&bundle)? else { return Ok(None) };
        let answer = within(ANSWER_LIMIT, ask_alone(&mut connection, &bundle, Verb::Hello)).await;
        match answer {
            Ok(Answer::Hello(hello)) if hello.shim == identity => {
                let shim = Self::drive(connection, bundle, *hello);
                shim.ask_done(Verb::Subscribe).await?;
                Ok(Some(shim))
            }
            // It ended between the look at its number and its answer.
            Err(ShimError::Gone { .. }) => Ok(None),
            Ok(_) => Err(ShimError::Confused),
            Err(error) => Err(error),
        }
    }

    fn drive(connection: UnixStream, bundle: Bundle, hello: Hello) -> Self {
        let shared = Arc::new(Shared::new(hello.exit.clone()));
        let (commands, inbox) = mpsc::unbounded_channel();
        tokio::spawn(Driver::new(connection, Arc::clone(&shared), inbox, hello.shim).run());
        Self { shared, commands, bundle, hello: Arc::new(hello) }
    }

    /// The shim's process ID.
    pub fn pid(&self) -> u32 {
        self.hello.shim.pid
    }

    /// The process ID of the container's first process as the host sees it.
    pub fn init_pid(&self) -> u32 {
        self.hello.init_pid
    }

    /// What the shim said of itself when this engine met it: how far the container was, which execs were running.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Lets the container's first process run its program.
    ///
    /// # Errors
    /// [`ShimError::Start`] with Docker's words and exit code; shim and container are then gone.
    pub async fn start(&self) -> Result<Started, ShimError> {
        match self.ask(Verb::Start).await? {
            Answer::Started { started_at, trace } => Ok(Started { pid: self.init_pid(), started_at, trace }),
            _ => Err(ShimError::Confused),
        }
    }

    /// Throws away a container that was created but shall not be started after all; the shim ends.
    ///
    /// # Errors
    /// [`ShimError::State`] if it was started.
    pub async fn discard(&self) -> Result<(), ShimError> {
        self.ask_done(Verb::Discard).await
    }

    /// The container's streams as raw bytes: output in Docker's frames (none on a terminal), input as it is; shutting
    /// the write half down is the end of input. Output begins with what the container writes after this call.
    ///
    /// Whoever attaches before the start is waited for when slow, as the reader of a pipe is (`docker run x | y` loses
    /// nothing); whoever attaches later and falls a megabyte behind is cut off, so that no watcher stalls a container.
    ///
    /// # Errors
    /// [`ShimError`] where the shim is gone or the container has ended.
    pub async fn attach(&self, attach: Attach) -> Result<UnixStream, ShimError> {
        self.attach_from(attach).await.map(|(connection, _)| connection)
    }

    /// As [`attach`](Self::attach). With `replay`, says up to where the log has what came before: read up to there, log
    /// and stream together have every byte once. `None` without a log.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub async fn attach_from(&self, attach: Attach) -> Result<(UnixStream, Option<LogPosition>), ShimError> {
        let mut connection = self.dial()?;
        match within(ANSWER_LIMIT, ask_alone(&mut connection, &self.bundle, Verb::Attach(attach))).await? {
            Answer::Done => Ok((connection, None)),
            Answer::Attached { from } => Ok((connection, from)),
            _ => Err(ShimError::Confused),
        }
    }

    /// Runs one more process in the container.
    ///
    /// # Errors
    /// [`ShimError::Start`] with Docker's words and exit code, [`ShimError::State`] where the container does not run.
    pub async fn exec(&self, request: ExecRequest) -> Result<ExecStarted, ShimError> {
        let (detach, exit) = (request.detach, self.shared.expect_exec(&request.exec_id));
        let exec_id = request.exec_id.clone();
        let outcome = async {
            let mut connection = self.dial()?;
            let verb = Verb::Exec(Box::new(request));
            match within(ANSWER_LIMIT, ask_alone(&mut connection, &self.bundle, verb)).await? {
                Answer::Exec { pid } => Ok((pid, (!detach).then_some(connection))),
                _ => Err(ShimError::Confused),
            }
        };
        match outcome.await {
            Ok((pid, io)) => Ok(ExecStarted { pid, io, exit }),
            Err(error) => {
                self.shared.forget_exec(&exec_id);
                Err(error)
            }
        }
    }

    /// Tells the terminal of `target` its size.
    ///
    /// # Errors
    /// [`ShimError::NoSuchTarget`] where it has none or is not there.
    pub async fn resize(&self, target: Target, size: ConsoleSize) -> Result<(), ShimError> {
        self.ask_done(Verb::Resize { target, size }).await
    }

    /// Sends `signal` (the kernel's number) to `target`.
    ///
    /// # Errors
    /// [`ShimError::NoSuchTarget`] where it is not there (any more).
    pub async fn signal(&self, target: Target, signal: i32) -> Result<(), ShimError> {
        self.ask_done(Verb::Signal { target, signal }).await
    }

    /// Makes the run under way the last one: the restart policy does not apply at its end.
    ///
    /// # Errors
    /// [`ShimError`] where the shim is gone or too old to know restart policies.
    pub async fn last_run(&self, why: Asked) -> Result<(), ShimError> {
        self.ask_done(Verb::LastRun(why)).await
    }

    /// Changes the restart policy for the next end.
    ///
    /// # Errors
    /// [`ShimError::State`] where the shim does not apply one.
    pub async fn set_restart_policy(&self, policy: RestartPolicy) -> Result<(), ShimError> {
        self.ask_done(Verb::SetRestartPolicy(policy)).await
    }

    /// What happens from now on. How it ended (`Exited` or `Gone`) comes even if that was before this call.
    pub fn subscribe(&self) -> ShimEvents {
        self.shared.subscribe()
    }

    /// Waits for the container's end.
    ///
    /// # Errors
    /// [`ShimError::Gone`] where the shim died without an exit record.
    pub async fn wait(&self) -> Result<ExitRecord, ShimError> {
        let mut events = self.subscribe();
        while let Some(event) = events.next().await {
            if let ShimEvent::Exited(record) = event {
                return Ok(record);
            }
        }
        Err(gone(&self.bundle))
    }

    fn dial(&self) -> Result<UnixStream, ShimError> {
        dial(&self.bundle)?.ok_or_else(|| gone(&self.bundle))
    }

    async fn ask(&self, verb: Verb) -> Result<Answer, ShimError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command { verb, reply }).map_err(|_| gone(&self.bundle))?;
        within(ANSWER_LIMIT, async { answer.await.map_err(|_| gone(&self.bundle))?.map_err(ShimError::from) }).await
    }

    async fn ask_done(&self, verb: Verb) -> Result<(), ShimError> {
        self.ask(verb).await.map(|_| ())
    }
}

/// A shim as our child: somebody has to wait on it.
struct Child {
    pid: u32,
    pidfd: OwnedFd,
}

impl Child {
    fn reap_when_it_ends(self) {
        tokio::spawn(async move {
            match readiness::readable(self.pidfd) {
                Ok(pidfd) => {
                    // The first readiness is the end; an error means that the reactor is going, and so are we.
                    let _ = pidfd.readable().await;
                    let _ =
                        waitid(WaitId::PidFd(pidfd.get_ref().as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
                }
                Err(error) => tracing::warn!(pid = self.pid, %error, "a shim can't be waited for"),
            }
        });
    }
}

fn launch(binary: &ShimBinary, bundle: &Bundle, control: &OwnedFd) -> Result<Child, ShimError> {
    let complaints =
        std::fs::File::create(bundle.complaints()).map_err(ShimError::io("create", bundle.complaints()))?;
    let folder = bundle.folder().to_str().ok_or_else(|| ShimError::System {
        message: format!("spawn the container's shim: {} is not UTF-8", bundle.folder().display()),
    })?;
    let null = std::fs::File::open("/dev/null").map_err(ShimError::io("open", "/dev/null"))?;
    // The shim finds its control connection as descriptor 0.
    let streams = Streams { stdin: control.as_fd(), stdout: null.as_fd(), stderr: complaints.as_fd() };
    let spawned = binary.spawn(&["shim", "--bundle", folder], streams).and_then(|pid| {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Child { pid, pidfd: pidfd_open(raw, PidfdFlags::NONBLOCK)? })
    });
    spawned.map_err(ShimError::io("spawn the shim of", bundle.folder()))
}

/// Connects to the shim of a bundle; `None` where nobody listens.
fn dial(bundle: &Bundle) -> Result<Option<UnixStream>, ShimError> {
    let attempt = || {
        // A socket's path may have 107 bytes at most (unix(7)); through the folder's descriptor any bundle fits.
        let folder = std::fs::File::open(bundle.folder())?;
        let path = format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), Bundle::SOCKET);
        into_tokio(std::os::unix::net::UnixStream::connect(path)?)
    };
    match attempt() {
        Ok(connection) => Ok(Some(connection)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(ShimError::io("connect to the shim of", bundle.folder())(error)),
    }
}

fn into_tokio(connection: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    connection.set_nonblocking(true)?;
    UnixStream::from_std(connection)
}

/// Sends the only request of a connection and reads its answer, not a byte further.
async fn ask_alone(connection: &mut UnixStream, bundle: &Bundle, verb: Verb) -> Result<Answer, ShimError> {
    connection.write_all(&protocol::encode(&Request { id: 0, verb })).await.map_err(|error| lost(bundle, error))?;
    read_answer(connection, bundle).await
}

async fn read_answer(connection: &mut UnixStream, bundle: &Bundle) -> Result<Answer, ShimError> {
    let length = connection.read_u32().await.map_err(|error| lost(bundle, error))? as usize;
    if length > protocol::MAX_MESSAGE {
        return Err(protocol::ProtocolError::TooLong { length }.into());
    }
    let mut message = vec![0; length];
    connection.read_exact(&mut message).await.map_err(|error| lost(bundle, error))?;
    match serde_json::from_slice(&message).map_err(protocol::ProtocolError::from)? {
        Message::Ok { answer, .. } => Ok(answer),
        Message::Refused { refusal, .. } => Err(refusal.into()),
        Message::Event(_) => Err(ShimError::Confused),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, ShimError>>) -> Result<T, ShimError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(ShimError::Timeout { seconds: limit.as_secs() }))
}

fn lost(bundle: &Bundle, error: io::Error) -> ShimError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => gone(bundle),
        _ => ShimError::io("talk to the shim of", bundle.folder())(error),
    }
}

/// The shim is no more; what it complained about last may say why.
fn gone(bundle: &Bundle) -> ShimError {
    let complaint = std::fs::read_to_string(bundle.complaints()).unwrap_or_default();
    ShimError::Gone { complaint: complaint.trim().chars().take(2000).collect() }
}
