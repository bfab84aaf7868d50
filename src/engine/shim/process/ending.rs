//! How it ends: the log is whole, the record is written, then everybody is told, and last the record is on disk for good.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::keeper::{INIT, Keeper, Phase};
use super::member::End;
use super::peer::Role;
use super::reactor::{Number, Source};
use super::streams::Read;
use crate::engine::runtime::Cgroups;
use crate::engine::shim::logs::LogStream;
use crate::engine::shim::protocol::ShimEvent;
use crate::engine::shim::spec::{Bundle, ExitRecord};
use crate::engine::store;

/// How long output may still come after the first process is dead. Nobody of a private pid namespace is left to write
/// by then; elsewhere somebody may have handed the pipe to a process that is not ours to kill.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long the log may then take to get to the disk, where the container does not wait for that.
pub(super) const LOG_LIMIT: Duration = Duration::from_secs(10);
/// How long whoever waits for the rest of the output may take nothing before we go.
const LINGER_LIMIT: Duration = Duration::from_secs(600);
/// The same for an engine with its last events.
const CONTROL_LINGER_LIMIT: Duration = Duration::from_secs(10);

impl Keeper {
    /// The first process is dead.
    pub(super) fn begin_ending(&mut self, end: End) {
        let Phase::Running { started_at, since } = self.phase else { return };
        let now = Instant::now();
        let (deadline, ran) = (now + DRAIN_LIMIT, now.duration_since(since));
        self.end_checkup();
        // The kernel's word on a kill for want of memory may still lie in the descriptor.
        self.hear_of_oom_at_end();
        self.phase = Phase::Ending { started_at, ran, end, finished_at: Timestamp::now(), deadline };
        if self.facts.has_foreign_pids {
            self.kill_group();
        }
    }

    /// Goes on with an ending as far as it goes.
    pub(super) fn settle_ending(&mut self) {
        let Phase::Ending { started_at, ran, end, finished_at, deadline } = self.phase else { return };
        // Nobody is left to be stalled by a slow attacher, so all goes to their queues: at most what a pipe holds.
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            while self.read_output(INIT, stream) == Read::Bytes {}
        }
        let is_drained = self.members.get(&INIT).is_none_or(super::member::Member::is_drained);
        if !is_drained && Instant::now() < deadline {
            return;
        }
        self.reap();
        self.end_execs();
        if !self.log_is_whole(finished_at) && Instant::now() < deadline + LOG_LIMIT {
            return;
        }
        let exit = ExitRecord {
            code: end.code,
            signal: end.signal,
            oom_killed: self.count_oom_kills() > 0,
            started_at: Some(started_at),
            finished_at,
            error: self.logging.writer.as_ref().and_then(|log| log.error()).map(str::to_owned),
            decided: self.decided(),
            restarts: self.restart_count(),
        };
        self.after_run(exit, ran);
    }

    /// The container is over: `exit` is the last word.
    pub(super) fn finish(&mut self, mut exit: ExitRecord) {
        exit.decided = self.decided();
        if let Err(error) = store::write_volatile_record(&self.facts.exit_path, &exit) {
            // The engine hears it all the same, and this is where it looks when it does not.
            eprintln!("boxyard shim: {error}");
        }
        self.leave_bundle();
        self.is_end_known = self.has_subscribers();
        self.announce(&ShimEvent::Exited(exit.clone()));
        self.finish_attachers_of(INIT);
        self.phase = Phase::Over { exit: Some(exit), since: Instant::now() };
    }

    /// An exec's process is dead.
    pub(super) fn exec_ended(&mut self, number: Number, end: End) {
        // What it wrote is in the pipe by now. Children of it may still hold the other end; nobody waits for them.
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            while self.read_output(number, stream) == Read::Bytes {}
        }
        let Some(member) = self.members.remove(&number) else { return };
        for (source, fd) in member.open_streams(number) {
            let _ = self.reactor.set(source, fd, None);
        }
        // First the news, then the end of the streams: whoever sees that end asks for the code next.
        if let Some(exec_id) = member.exec_id {
            self.announce(&ShimEvent::ExecExited { exec_id, code: end.code });
        }
        self.probe_ended(number, end.code);
        self.finish_attachers_of(number);
    }

    /// Execs that are not waited for yet died with the container.
    fn end_execs(&mut self) {
        let execs: Vec<Number> = self.members.keys().copied().filter(|number| *number != INIT).collect();
        for number in execs {
            if let Some(member) = self.members.get(&number) {
                let _ = self.reactor.set(Source::End(number), &member.pidfd, None);
            }
            self.exec_ended(number, End { code: 137, signal: Some(libc::SIGKILL) });
        }
    }

    /// A container that nobody will start is thrown away.
    pub(super) fn discard(&mut self) {
        // Dropping what was created kills it.
        drop(std::mem::replace(&mut self.phase, Phase::Between));
        self.give_up();
    }

    /// There is no container (any more) and no record to leave.
    pub(super) fn give_up(&mut self) {
        self.leave_bundle();
        self.finish_attachers_of(INIT);
        self.phase = Phase::Over { exit: None, since: Instant::now() };
    }

    /// Gives cgroup, socket and pid file back, so that the container can be started anew from here on.
    fn leave_bundle(&mut self) {
        self.drop_cgroup();
        if let Some(listener) = self.listener.take() {
            let _ = self.reactor.set(Source::Listener, &listener, None);
        }
        for file in [self.bundle.folder().join(Bundle::SOCKET), self.bundle.pid()] {
            // An engine may have removed the whole bundle already.
            let _ = std::fs::remove_file(file);
        }
    }

    pub(super) fn kill_group(&self) {
        let cgroup = &self.facts.cgroup;
        if let Err(error) = Cgroups::new(cgroup.layout.clone()).kill_all(&cgroup.path) {
            eprintln!("boxyard shim: {error}");
        }
    }

    /// How many of this run's processes the OOM killer took.
    pub(super) fn count_oom_kills(&self) -> u64 {
        let cgroup = &self.facts.cgroup;
        Cgroups::new(cgroup.layout.clone()).oom_kills(&cgroup.path).unwrap_or(0)
    }

    fn hear_of_oom_at_end(&mut self) {
        let kills = self.count_oom_kills();
        if kills > 0 && self.oom_kills == 0 {
            self.oom_kills = kills;
            self.announce(&ShimEvent::Oom);
        }
    }

    /// Removes the cgroup of a run that is over, and what another runtime remembers of it.
    pub(super) fn drop_cgroup(&mut self) {
        self.drop_oom_watch();
        if let Some(external) = &self.facts.external {
            external.delete();
        }
        let cgroup = &self.facts.cgroup;
        if let Err(error) = Cgroups::new(cgroup.layout.clone()).remove(&cgroup.path) {
            eprintln!("boxyard shim: {error}");
        }
    }

    fn finish_attachers_of(&mut self, number: Number) {
        for peer in self.peers.values_mut() {
            if let Role::Attached(attached) = &mut peer.role
                && attached.member == number
            {
                attached.is_finishing = true;
            }
        }
    }

    /// Lets go of attachers that have everything, and at the end of whoever takes nothing.
    pub(super) fn drop_finished_peers(&mut self) {
        let now = Instant::now();
        let over_since = match self.phase {
            Phase::Over { since, .. } => Some(since),
            _ => None,
        };
        let done: Vec<Number> = self
            .peers
            .iter()
            .filter(|(_, peer)| match &peer.role {
                Role::Attached(attached) => {
                    attached.is_finishing
                        && (peer.outbox.is_empty() || now.duration_since(attached.last_progress) > LINGER_LIMIT)
                }
                Role::Control { .. } => over_since
                    .is_some_and(|since| peer.outbox.is_empty() || now.duration_since(since) > CONTROL_LINGER_LIMIT),
            })
            .map(|(number, _)| *number)
            .collect();
        for number in done {
            self.remove_peer(number);
        }
    }

    /// Whether there is nothing left to do.
    pub(super) fn is_done(&mut self) -> bool {
        let is_done = matches!(self.phase, Phase::Over { .. }) && self.peers.is_empty();
        if is_done
            && !self.is_end_known
            && let Phase::Over { exit: Some(_), .. } = self.phase
        {
            // An engine that was told has the end in its own record and the disk keep that. Without one, nobody has to wait
            // for the disk; the next engine treats a record that a power loss took as it treats a container that the power
            // loss ended.
            let _ = store::sync_record(&self.facts.exit_path);
        }
        if is_done {
            self.abandon_compression();
        }
        is_done
    }
}
