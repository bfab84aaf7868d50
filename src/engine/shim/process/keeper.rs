//! The loop: what the shim keeps, and what it does when something happens.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::Prepared;
use super::carrier::{self, Init};
use super::checkup::Checkup;
use super::ending::LOG_LIMIT;
use super::logging::Logging;
use super::member::{End, Ends, Member};
use super::oom::OomWatch;
use super::peer::{Peer, Role, Subscribed};
use super::reactor::{Interest, Number, Reactor, Ready, Source};
use crate::engine::network::dns;
use crate::engine::oci::{CgroupPlan, PidNs};
use crate::engine::runtime::external::External;
use crate::engine::shim::health::Health;
use crate::engine::shim::protocol::{Answer, Hello, Message, RunningExec, ShimEvent, encode};
use crate::engine::shim::restart::{Asked, Restarts};
use crate::engine::shim::spec::{self, Bundle, ExitRecord, ProcessIdentity, StdinMode};
use crate::engine::store;
use crate::sys::memory;

/// The container's first process among the members.
pub(super) const INIT: Number = 0;
/// How long a container that was made but not started waits for an engine after its own has gone.
const ABANDONED_LIMIT: Duration = Duration::from_secs(10);
/// How many bytes one read of a stream takes at most; a pipe holds as many.
const READ_SIZE: usize = 64 << 10;
/// After so long without an event the shim is idle, as most are most of the time.
const REST_AFTER: Duration = Duration::from_secs(1);
/// One that is never idle gives its memory back so often all the same.
const REST_AT_LEAST: Duration = Duration::from_secs(2);
/// Who writes so much right after its start is no program that says a word and ends.
const FLOOD: usize = 64 << 10;
/// And so soon after its container was let go, with all that only a start needs.
const REST_AFTER_START: Duration = Duration::from_millis(50);
/// An engine that lets so many bytes of replies and events lie is not coming back.
const CONTROL_LIMIT: u64 = 4 << 20;

/// How far the container is.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its first process is set up and waits. Since `alone_since` no engine is connected.
    Created { init: Init, ends: Ends, alone_since: Option<Instant> },
    /// It runs.
    Running { started_at: Timestamp, since: Instant },
    /// Its first process is dead; what it wrote is being read, at most until `deadline`.
    Ending { started_at: Timestamp, ran: Duration, end: End, finished_at: Timestamp, deadline: Instant },
    /// It ended so and is started again at `until`.
    Waiting { exit: ExitRecord, until: Instant },
    /// It is on record (if it ever ran), and who is still connected gets the rest.
    Over { exit: Option<ExitRecord>, since: Instant },
    /// Between two others, while one is turned into the other.
    Between,
}

/// A shim.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) reactor: Reactor,
    pub(super) bundle: Bundle,
    pub(super) identity: ProcessIdentity,
    pub(super) facts: Facts,
    pub(super) listener: Option<UnixListener>,
    signals: SignalFd,
    pub(super) phase: Phase,
    /// The container's processes that are our children, but for a first one that was not started yet.
    pub(super) members: HashMap<Number, Member>,
    pub(super) peers: HashMap<Number, Peer>,
    /// Input for the first process that came before it was there.
    pub(super) early_input: Vec<u8>,
    last_number: Number,
    pub(super) logging: Logging,
    dns: Option<dns::Server>,
    /// The network namespace, for the next run.
    pub(super) netns: Option<OwnedFd>,
    /// `None` where restarts are the engine's.
    pub(super) restarts: Option<Restarts>,
    /// The health check, if it has one.
    pub(super) checkup: Option<Checkup>,
    pub(super) oom: Option<OomWatch>,
    /// How many OOM kills of this run were told.
    pub(super) oom_kills: u64,
    /// Whether an engine was told how the container ended, and keeps it.
    pub(super) is_end_known: bool,
    pub(super) buffer: Vec<u8>,
    /// Something happened since memory was given back.
    is_warm: bool,
    /// When to give memory back in any case, for those that never are idle.
    rests_at: Instant,
    /// How much more the container may write before what only a start needs is given back; zero once it is.
    start_lasts: usize,
}

/// What remains of the spec once the container is made.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) init_pid: u32,
    pub(super) is_terminal: bool,
    pub(super) stdin: StdinMode,
    pub(super) exit_path: std::path::PathBuf,
    pub(super) cgroup: CgroupPlan,
    /// The container as its runtime knows it, where that is not ours.
    pub(super) external: Option<External>,
    /// Whether processes of the container can outlive its first one.
    pub(super) has_foreign_pids: bool,
}

impl Facts {
    /// A file without a name, for what an attacher does not take; it is on the disk that the log is on.
    pub(super) fn spill_file(&self) -> io::Result<File> {
        tempfile::tempfile_in(self.exit_path.parent().unwrap_or(Path::new("/")))
    }
}

impl Keeper {
    /// Takes over a container that waits, and introduces itself on `control`.
    pub(super) fn new(bundle: Bundle, prepared: Prepared, control: UnixStream) -> io::Result<Self> {
        let Prepared { identity, signals, listener, mut init, ends, logging, dns, netns, spec } = prepared;
        let external = carrier::external(&spec, &bundle);
        // Results of earlier runs that can't be read are not worth a start.
        let before = store::read_record(&spec.exit_path.with_file_name(Health::FILE)).ok().flatten();
        let checkup = spec.health.map(|health| Checkup::new(health, before));
        let restarts = spec.restart.map(|restart| Restarts::new(restart.policy, restart.count));
        let trace = init.take_trace();
        let facts = Facts {
            init_pid: init.pid(),
            external,
            is_terminal: spec.plan.process.tty,
            stdin: spec.stdin,
            exit_path: spec.exit_path,
            cgroup: spec.plan.cgroup,
            has_foreign_pids: spec.plan.namespaces.pid != PidNs::Private,
        };
        let mut keeper = Self {
            reactor: Reactor::new()?,
            bundle,
            identity,
            facts,
            listener: Some(listener),
            signals,
            phase: Phase::Created { init, ends, alone_since: None },
            members: HashMap::new(),
            peers: HashMap::new(),
            early_input: Vec::new(),
            last_number: INIT,
            logging,
            dns,
            netns,
            restarts,
            checkup,
            oom: None,
            oom_kills: 0,
            is_end_known: false,
            buffer: vec![0; READ_SIZE],
            is_warm: true,
            rests_at: Instant::now() + REST_AFTER,
            start_lasts: FLOOD,
        };
        if let Some(listener) = &keeper.listener {
            keeper.reactor.set(Source::Listener, listener, Some(Interest::READ))?;
        }
        keeper.reactor.set(Source::Signals, &keeper.signals, Some(Interest::READ))?;
        keeper.watch_dns()?;
        control.set_nonblocking(true)?;
        let number = keeper.next_number();
        // Whoever made the container wants to know all that happens to it, without asking.
        keeper.peers.insert(number, Peer::control(control, Subscribed::Yes));
        let mut hello = keeper.hello();
        hello.trace = trace;
        keeper.say(number, &Message::Ok { id: 0, answer: Answer::Hello(Box::new(hello)) });
        Ok(keeper)
    }

    pub(super) fn next_number(&mut self) -> Number {
        self.last_number = self.last_number.wrapping_add(1).max(INIT + 1);
        self.last_number
    }

    /// Runs until the container is over and everybody was told.
    ///
    /// # Errors
    /// What makes the loop impossible; the container is then left to the engine.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            self.settle()?;
            if self.is_done() {
                return Ok(());
            }
            let limit = self.next_timeout(Instant::now());
            let rest_after = self.is_warm.then_some(REST_AFTER);
            let ready = self.reactor.wait(limit.into_iter().chain(rest_after).min())?;
            if ready.is_empty() || self.rests_at <= Instant::now() {
                self.rest();
            }
            for ready in ready {
                self.is_warm = true;
                self.react(ready)?;
            }
            self.check_deadlines(Instant::now())?;
        }
    }

    /// A start is over: what it took is given back soon, also if the container is never silent from now on.
    pub(super) fn rest_soon(&mut self) {
        self.rests_at = Instant::now() + REST_AFTER_START;
        self.start_lasts = FLOOD;
    }

    /// The container wrote `count` bytes. One that writes so much right away lasts, and its shim gets small first.
    pub(super) fn rest_before_flood(&mut self, count: usize) {
        if self.start_lasts > 0 {
            self.start_lasts = self.start_lasts.saturating_sub(count);
            if self.start_lasts == 0 {
                self.rests_at = Instant::now();
            }
        }
    }

    /// Nothing happened for a while, or very much: gives back the memory that the last events took.
    fn rest(&mut self) {
        self.rests_at = Instant::now() + REST_AT_LEAST;
        self.start_lasts = 0;
        if std::mem::take(&mut self.is_warm) {
            self.buffer = vec![0; READ_SIZE];
            if let Some(log) = &mut self.logging.writer {
                log.rest();
            }
            memory::forget_code();
            memory::trim();
        }
    }

    fn react(&mut self, ready: Ready) -> io::Result<()> {
        match ready.source {
            Source::Listener => self.accept(),
            Source::Signals => self.take_signals()?,
            Source::Connection(number) => self.peer_is_ready(number, ready),
            Source::End(_) => self.reap(),
            Source::Output(number, stream) => drop(self.read_output(number, stream)),
            Source::Input(number) => self.write_input(number, ready),
            Source::Oom => self.hear_of_oom(),
            Source::Log => self.log_is_ready(),
            Source::Dns(number) => {
                if let (Some(dns), Ok(fd)) = (&mut self.dns, i32::try_from(number)) {
                    dns.ready(fd);
                    self.watch_dns()?;
                }
            }
        }
        Ok(())
    }

    /// Brings what is waited for in line with what the last events changed.
    fn settle(&mut self) -> io::Result<()> {
        self.take_left_behind_input();
        self.settle_ending();
        self.drop_finished_peers();
        let Self { reactor, peers, members, .. } = self;
        for (number, peer) in peers.iter() {
            let takes_input = peer
                .attached()
                .and_then(|attached| members.get(&attached.member))
                .is_some_and(|member| member.stdin.has_room());
            reactor.set(Source::Connection(*number), &peer.socket, peer.interest(takes_input))?;
        }
        self.settle_members()?;
        self.settle_log()?;
        if let Phase::Created { alone_since, .. } = &mut self.phase {
            let is_alone = !self.peers.values().any(|peer| matches!(peer.role, Role::Control { .. }));
            *alone_since = if is_alone { alone_since.or_else(|| Some(Instant::now())) } else { None };
        }
        Ok(())
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        // Whatever went wrong was the connecting side's doing, or is told again at the next round.
        if let Ok((socket, _)) = listener.accept()
            && socket.set_nonblocking(true).is_ok()
        {
            let number = self.next_number();
            self.peers.insert(number, Peer::control(socket, Subscribed::No));
        }
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
            match signal {
                Some(Signal::SIGCHLD) => self.reap(),
                Some(signal @ (Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)) => match &self.phase {
                    Phase::Created { .. } => self.discard(),
                    Phase::Waiting { .. } => self.ask_for_end(Asked::ToStop),
                    _ => drop(self.signal_member(INIT, signal as i32)),
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for every child that has ended: the container's, the compressor, and strangers that became ours.
    pub(super) fn reap(&mut self) {
        // The runtime itself waits for a first process that fails to start.
        if matches!(self.phase, Phase::Created { .. }) {
            return;
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let Ok(pid) = u32::try_from(pid.as_raw_nonzero().get()) else { continue };
            if self.logging.reaped(pid, status.exit_status() == Some(0)) {
                continue;
            }
            if let Some(end) = end_of(status) {
                self.process_ended(pid, end);
            }
        }
    }

    fn process_ended(&mut self, pid: u32, end: End) {
        let Some((number, member)) = self.members.iter_mut().find(|(_, member)| member.pid == pid) else { return };
        let number = *number;
        member.end = Some(end);
        // It stays readable for ever, so it must go; that it can't only costs a turn of the loop.
        let _ = self.reactor.set(Source::End(number), &member.pidfd, None);
        if number == INIT { self.begin_ending(end) } else { self.exec_ended(number, end) }
    }

    fn next_timeout(&self, now: Instant) -> Option<Duration> {
        let deadline = match &self.phase {
            Phase::Created { alone_since, .. } => alone_since.map(|since| since + ABANDONED_LIMIT),
            // First the output may take its time, then the log.
            Phase::Ending { deadline, .. } if now < *deadline => Some(*deadline),
            Phase::Ending { deadline, .. } => Some(*deadline + LOG_LIMIT),
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Over { .. } => Some(now + Duration::from_secs(1)),
            Phase::Running { .. } | Phase::Between => None,
        };
        let first = deadline.into_iter().chain(self.next_impatience(now)).min();
        let own = first.map(|deadline| deadline.saturating_duration_since(now));
        let dns = self.dns.as_ref().and_then(dns::Server::next_timeout);
        let probe = self.checkup.as_ref().and_then(Checkup::deadline);
        let probe = probe.map(|deadline| deadline.saturating_duration_since(now));
        own.into_iter().chain(dns).chain(probe).min()
    }

    fn check_deadlines(&mut self, now: Instant) -> io::Result<()> {
        if let Phase::Created { alone_since: Some(since), .. } = &self.phase
            && now >= *since + ABANDONED_LIMIT
        {
            self.discard();
        }
        if let Phase::Waiting { until, .. } = &self.phase
            && now >= *until
        {
            self.restart();
        }
        self.check_health(now);
        if let Some(dns) = &mut self.dns
            && dns.next_timeout() == Some(Duration::ZERO)
        {
            dns.expire();
            self.watch_dns()?;
        }
        Ok(())
    }

    fn watch_dns(&mut self) -> io::Result<()> {
        let Some(dns) = &self.dns else { return Ok(()) };
        for (fd, interest) in dns.poll_fds() {
            let interest = match interest {
                dns::Interest::Read => Interest::READ,
                dns::Interest::Write => Interest::WRITE,
            };
            let number = Number::try_from(fd.as_raw_fd()).map_err(io::Error::other)?;
            self.reactor.renew(Source::Dns(number), fd, interest)?;
        }
        Ok(())
    }

    pub(super) fn hello(&self) -> Hello {
        let (started_at, exit) = match &self.phase {
            Phase::Running { started_at, .. } | Phase::Ending { started_at, .. } => (Some(*started_at), None),
            Phase::Waiting { exit, .. } => (exit.started_at, None),
            Phase::Over { exit, .. } => (exit.as_ref().and_then(|exit| exit.started_at), exit.clone()),
            Phase::Created { .. } | Phase::Between => (None, None),
        };
        let exec = |member: &Member| Some(RunningExec { exec_id: member.exec_id.clone()?, pid: member.pid });
        Hello {
            version: spec::VERSION,
            shim: self.identity,
            init_pid: self.facts.init_pid,
            started_at,
            exit,
            execs: self.members.values().filter_map(exec).collect(),
            restarts: self.restart_count(),
            between_runs: match &self.phase {
                Phase::Waiting { exit, .. } => Some(exit.clone()),
                _ => None,
            },
            oom_killed: self.oom_kills > 0,
            trace: Vec::new(),
            health: self.checkup.as_ref().map(|checkup| checkup.health().clone()),
        }
    }

    /// Sends `message` to a control connection, or lets it wait there.
    pub(super) fn say(&mut self, number: Number, message: &Message) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let is_sent = peer.outbox.send(&peer.socket, &encode(message), &[]).is_ok();
        if !is_sent || peer.outbox.len() > CONTROL_LIMIT {
            self.remove_peer(number);
        }
    }

    /// Sends `event` to everybody who wants to know.
    pub(super) fn announce(&mut self, event: &ShimEvent) {
        let message = Message::Event(event.clone());
        let subscribers: Vec<Number> = self
            .peers
            .iter()
            .filter(|(_, peer)| matches!(peer.role, Role::Control { is_subscribed: true, .. }))
            .map(|(number, _)| *number)
            .collect();
        for number in subscribers {
            self.say(number, &message);
        }
    }

    /// Whether anybody is told of events.
    pub(super) fn has_subscribers(&self) -> bool {
        self.peers.values().any(|peer| matches!(peer.role, Role::Control { is_subscribed: true, .. }))
    }

    pub(super) fn remove_peer(&mut self, number: Number) {
        if let Some(peer) = self.peers.remove(&number) {
            // Closing it would do as well; this keeps the set's own list right.
            let _ = self.reactor.set(Source::Connection(number), &peer.socket, None);
        }
    }
}

fn end_of(status: WaitStatus) -> Option<End> {
    if let Some(signal) = status.terminating_signal() {
        return Some(End { code: 128 + i64::from(signal), signal: Some(signal) });
    }
    status.exit_status().map(|code| End { code: i64::from(code), signal: None })
}
