//! One run of the container after the other: letting a first process go, and restarting it by the policy.
//!
//! Between two runs the network namespace, the resolver, the log and the bundle stay; processes, cgroup, mounts and
//! streams are made anew from `shim.json`, which an engine keeps up to date with changed limits.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::carrier::{self, Init};
use super::keeper::{INIT, Keeper, Phase};
use super::member::{Ends, Member};
use super::oom::OomWatch;
use super::peer::{InputState, Role};
use super::reactor::{Interest, Source};
use super::requests::{state, system};
use super::stdio_of;
use crate::engine::shim::protocol::{Refusal, ShimEvent};
use crate::engine::shim::restart::{Asked, RestartPolicy};
use crate::engine::shim::spec::{Decided, ExitRecord, RestartNote, ShimSpec, StdinMode};
use crate::engine::store;
use crate::engine::trace::{Mark, Trace};

impl Keeper {
    /// Lets a first process that waits run its program.
    pub(super) fn let_go(&mut self, init: Init, ends: Ends) -> Result<(Timestamp, Vec<Mark>), Refusal> {
        self.watch_oom();
        let started_at = Timestamp::now();
        let mut running = init.start()?;
        let trace = running.trace.hand_over();
        let member = Member::new(None, running.pid, running.pidfd, ends, running.pty_master).and_then(|member| {
            self.reactor.set(Source::End(INIT), &member.pidfd, Some(Interest::READ))?;
            Ok(member)
        });
        let mut member = member.map_err(|error| {
            // Its handles are gone, and with them any way to know it; the cgroup still has it.
            self.kill_group();
            system(format!("watch the container's first process: {error}"))
        })?;
        member.stdin.ends_with_attacher = self.facts.stdin == StdinMode::Once;
        self.members.insert(INIT, member);
        self.phase = Phase::Running { started_at, since: Instant::now() };
        self.rest_soon();
        let early = std::mem::take(&mut self.early_input);
        self.feed(INIT, &early);
        self.begin_checkup();
        Ok((started_at, trace))
    }

    /// A run is over and on record: the policy says how it goes on.
    pub(super) fn after_run(&mut self, mut exit: ExitRecord, ran: Duration) {
        let pause = self.restarts.as_mut().and_then(|restarts| restarts.ended(exit.code, ran));
        exit.restarts = self.restart_count();
        match pause {
            Some(pause) => self.wait_for_restart(exit, pause),
            None => self.finish(exit),
        }
    }

    fn wait_for_restart(&mut self, exit: ExitRecord, pause: Duration) {
        self.part_with_attachers();
        self.drop_run();
        self.announce(&ShimEvent::Restarting(exit.clone()));
        self.phase = Phase::Waiting { exit, until: Instant::now() + pause };
    }

    /// Lets go of what belonged to one run only.
    fn drop_run(&mut self) {
        self.kill_group();
        self.drop_cgroup();
        if let Some(member) = self.members.remove(&INIT) {
            for (source, fd) in member.open_streams(INIT) {
                let _ = self.reactor.set(source, fd, None);
            }
            let _ = self.reactor.set(Source::End(INIT), &member.pidfd, None);
        }
    }

    /// The next run has attachers of its own: these get what is theirs and go, and what they type reaches nobody.
    fn part_with_attachers(&mut self) {
        for peer in self.peers.values_mut() {
            if let Role::Attached(attached) = &mut peer.role
                && attached.member == INIT
            {
                attached.is_finishing = true;
                attached.input = InputState::Ended;
            }
        }
    }

    /// The pause is over.
    pub(super) fn restart(&mut self) {
        let Phase::Waiting { exit, .. } = std::mem::replace(&mut self.phase, Phase::Between) else { return };
        match self.try_restart() {
            Ok(started_at) => {
                let restarts = self.restart_count();
                self.announce(&ShimEvent::Restarted { pid: self.facts.init_pid, started_at, restarts });
            }
            Err(refusal) => {
                self.kill_group();
                let error = Some(refusal.message);
                self.finish(ExitRecord { code: refusal.code, signal: None, error, ..exit });
            }
        }
    }

    fn try_restart(&mut self) -> Result<Timestamp, Refusal> {
        let path = self.bundle.spec();
        let spec: ShimSpec = store::read_record(&path)
            .map_err(|error| system(error.to_string()))?
            .ok_or_else(|| system(format!("{} is missing", path.display())))?;
        self.logging.reopen(&spec.log).map_err(|error| system(format!("open the log: {error}")))?;
        let (stdio, ends) = stdio_of(&spec).map_err(|error| system(format!("make the container's pipes: {error}")))?;
        let netns = self.netns.as_ref().map(AsFd::as_fd);
        let init = carrier::create(&spec, &self.bundle, stdio, netns, Trace::default())?;
        self.facts.init_pid = init.pid();
        if let Some(restarts) = &mut self.restarts {
            restarts.started();
        }
        self.note_restart(&spec);
        self.let_go(init, ends).map(|(started_at, _)| started_at)
    }

    fn note_restart(&self, spec: &ShimSpec) {
        let note = RestartNote { count: self.restart_count() };
        if let Err(error) = store::write_volatile_record(&spec.restart_note(), &note) {
            eprintln!("boxyard shim: {error}");
        }
    }

    pub(super) fn restart_count(&self) -> u32 {
        self.restarts.map_or(0, |restarts| restarts.count())
    }

    /// What is on record for the end that is the last.
    pub(super) fn decided(&self) -> Decided {
        match &self.restarts {
            None => Decided::NotHere,
            Some(restarts) if restarts.last_run() == Some(Asked::ToStop) => Decided::StoppedByPerson,
            Some(_) => Decided::LeftAlone,
        }
    }

    /// Somebody wants no further run.
    pub(super) fn ask_for_end(&mut self, why: Asked) {
        if let Some(restarts) = &mut self.restarts {
            restarts.ask_for_end(why);
        }
        if let Phase::Waiting { .. } = &self.phase
            && let Phase::Waiting { exit, .. } = std::mem::replace(&mut self.phase, Phase::Between)
        {
            self.finish(exit);
        }
    }

    pub(super) fn set_restart_policy(&mut self, policy: RestartPolicy) -> Result<(), Refusal> {
        let restarts = self.restarts.as_mut();
        restarts.ok_or_else(|| state("this container's restarts are its engine's"))?.set_policy(policy);
        Ok(())
    }

    fn watch_oom(&mut self) {
        self.oom_kills = 0;
        self.oom = OomWatch::new(&self.facts.cgroup);
        if let Some(oom) = &self.oom
            && self.reactor.set(Source::Oom, oom, Some(Interest::READ)).is_err()
        {
            self.oom = None;
        }
    }

    /// The OOM killer may have been at work.
    pub(super) fn hear_of_oom(&mut self) {
        let Some(oom) = &self.oom else { return };
        oom.clear();
        let kills = self.count_oom_kills();
        // Version 1 tells before it kills, so its count may still be the old one; version 2's file has other news, too.
        if kills > self.oom_kills || self.facts.cgroup.layout.controls_memory_by_v1() {
            self.oom_kills = kills.max(1);
            self.announce(&ShimEvent::Oom);
        }
    }

    pub(super) fn drop_oom_watch(&mut self) {
        if let Some(oom) = self.oom.take() {
            let _ = self.reactor.set(Source::Oom, &oom, None);
        }
    }
}
