//! What engines ask for.

use std::os::fd::AsFd;
use std::time::Instant;

use jiff::Timestamp;

use super::carrier;
use super::keeper::{Facts, INIT, Keeper, Phase};
use super::member::{self, Member, Wanted};
use super::peer::{Attached, InputState, Patience, Role, frame_header};
use super::reactor::{Interest, Number, Source};
use crate::engine::oci::{ConsoleSize, ProcessPlan};
use crate::engine::shim::logs::{LogStream, LogWriter};
use crate::engine::shim::protocol::{
    Answer, Attach, ExecRequest, Message, Refusal, RefusalKind, ShimEvent, Target, Verb, parse_request,
};
use crate::engine::trace::Mark;
use crate::sys::signal::pidfd_signal;

/// What comes of a request.
enum Outcome {
    Answer(Answer),
    /// The connection carries streams from now on.
    Streams(Answer, Attached),
    Refused(Refusal),
}

impl Keeper {
    /// Takes the requests that are whole on connection `number`.
    pub(super) fn take_requests(&mut self, number: Number, bytes: &[u8]) {
        if let Some(Role::Control { decoder, .. }) = self.peers.get_mut(&number).map(|peer| &mut peer.role) {
            decoder.push(bytes);
        }
        loop {
            let Some(Role::Control { decoder, .. }) = self.peers.get_mut(&number).map(|peer| &mut peer.role) else {
                return;
            };
            let request = match decoder.next_message() {
                Ok(Some(message)) => parse_request(message),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            match request {
                Ok((id, verb)) => self.take_request(number, id, verb),
                Err(error) => {
                    eprintln!("boxyard shim: a connection was closed: {error}");
                    self.remove_peer(number);
                }
            }
        }
    }

    fn take_request(&mut self, number: Number, id: u64, verb: Result<Verb, Refusal>) {
        let is_subscribing = matches!(verb, Ok(Verb::Subscribe));
        match verb.map_or_else(Outcome::Refused, |verb| self.carry_out(number, verb)) {
            Outcome::Answer(answer) => {
                self.say(number, &Message::Ok { id, answer });
                if is_subscribing && let Phase::Over { exit: Some(exit), .. } = &self.phase {
                    let event = ShimEvent::Exited(exit.clone());
                    self.say(number, &Message::Event(event));
                }
            }
            Outcome::Streams(answer, attached) => {
                self.say(number, &Message::Ok { id, answer });
                self.turn_into_streams(number, attached);
            }
            Outcome::Refused(refusal) => self.say(number, &Message::Refused { id, refusal }),
        }
    }

    fn carry_out(&mut self, number: Number, verb: Verb) -> Outcome {
        let done = |outcome: Result<(), Refusal>| match outcome {
            Ok(()) => Outcome::Answer(Answer::Done),
            Err(refusal) => Outcome::Refused(refusal),
        };
        match verb {
            Verb::Hello => Outcome::Answer(Answer::Hello(Box::new(self.hello()))),
            Verb::Start => match self.start() {
                Ok((started_at, trace)) => Outcome::Answer(Answer::Started { started_at, trace }),
                Err(refusal) => Outcome::Refused(refusal),
            },
            Verb::Discard => done(match self.phase {
                Phase::Created { .. } => {
                    self.discard();
                    Ok(())
                }
                _ => Err(state("the container was started")),
            }),
            Verb::Subscribe => {
                if let Some(Role::Control { is_subscribed, .. }) =
                    self.peers.get_mut(&number).map(|peer| &mut peer.role)
                {
                    *is_subscribed = true;
                }
                Outcome::Answer(Answer::Done)
            }
            Verb::Attach(wants) => match self.attach(wants) {
                Ok(attached) if wants.replay => {
                    let from = self.logging.writer.as_ref().map(LogWriter::position);
                    Outcome::Streams(Answer::Attached { from }, attached)
                }
                Ok(attached) => Outcome::Streams(Answer::Done, attached),
                Err(refusal) => Outcome::Refused(refusal),
            },
            Verb::Exec(request) => self.exec(*request),
            Verb::Resize { target, size } => done(self.resize(&target, size)),
            Verb::LastRun(why) => {
                self.ask_for_end(why);
                Outcome::Answer(Answer::Done)
            }
            Verb::SetRestartPolicy(policy) => done(self.set_restart_policy(policy)),
            Verb::Signal { target, signal } => {
                done(self.find(&target).and_then(|number| self.signal_member(number, signal)))
            }
        }
    }

    fn start(&mut self) -> Result<(Timestamp, Vec<Mark>), Refusal> {
        if !matches!(self.phase, Phase::Created { .. }) {
            return Err(state("the container was started already"));
        }
        let Phase::Created { init, ends, .. } = std::mem::replace(&mut self.phase, Phase::Between) else {
            return Err(state("the container was started already"));
        };
        let started = self.let_go(init, ends);
        if started.is_err() {
            self.give_up();
        }
        started
    }

    fn attach(&mut self, wants: Attach) -> Result<Attached, Refusal> {
        let patience = match self.phase {
            Phase::Created { .. } => Patience::Wait,
            Phase::Running { .. } | Phase::Ending { .. } => Patience::Never,
            Phase::Waiting { .. } | Phase::Over { .. } | Phase::Between => {
                return Err(state("the container is not running"));
            }
        };
        Ok(attached(INIT, wants, self.facts.is_terminal, patience))
    }

    fn exec(&mut self, request: ExecRequest) -> Outcome {
        match self.try_exec(&request) {
            Ok((_, pid)) if request.detach => Outcome::Answer(Answer::Exec { pid }),
            Ok((number, pid)) => {
                let ExecRequest { stdin, stdout, stderr, .. } = request;
                let wants = Attach { stdin, stdout, stderr, replay: false };
                Outcome::Streams(Answer::Exec { pid }, attached(number, wants, request.tty, Patience::Wait))
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn try_exec(&mut self, request: &ExecRequest) -> Result<(Number, u32), Refusal> {
        let Phase::Running { .. } = self.phase else { return Err(state("the container is not running")) };
        if self.find(&Target::Exec(request.exec_id.clone())).is_ok() {
            return Err(state("this exec runs already"));
        }
        let wanted = Wanted {
            terminal: request.tty.then(|| request.size.or(request.plan.console_size)),
            stdin: request.stdin && !request.detach,
            stdout: request.stdout && !request.detach,
            stderr: request.stderr && !request.detach,
        };
        self.run_member(&request.plan, wanted, request.exec_id.clone())
    }

    /// Runs a further process of the container; `exec_id` is what engines call it by.
    pub(super) fn run_member(
        &mut self,
        plan: &ProcessPlan,
        wanted: Wanted,
        exec_id: String,
    ) -> Result<(Number, u32), Refusal> {
        let (stdio, ends) =
            member::streams(wanted).map_err(|error| system(format!("make an exec's pipes: {error}")))?;
        let Facts { external, init_pid, cgroup, .. } = &self.facts;
        let running = carrier::exec(external.as_ref(), *init_pid, cgroup, plan, stdio)?;
        let number = self.next_number();
        let member =
            Member::new(Some(exec_id), running.pid, running.pidfd, ends, running.pty_master).and_then(|member| {
                self.reactor.set(Source::End(number), &member.pidfd, Some(Interest::READ))?;
                Ok(member)
            });
        let member = member.map_err(|error| system(format!("watch an exec: {error}")))?;
        self.members.insert(number, member);
        Ok((number, running.pid))
    }

    fn find(&self, target: &Target) -> Result<Number, Refusal> {
        let number = match target {
            Target::Init => Some(INIT),
            Target::Exec(exec_id) => self
                .members
                .iter()
                .find(|(_, member)| member.exec_id.as_ref() == Some(exec_id))
                .map(|(number, _)| *number),
        };
        number.ok_or_else(|| no_target("there is no such exec running"))
    }

    fn resize(&mut self, target: &Target, size: ConsoleSize) -> Result<(), Refusal> {
        let resized = match (&self.phase, target) {
            (Phase::Created { init, .. }, Target::Init) => init.pty_master().map(|master| member::resize(master, size)),
            _ => self.members.get(&self.find(target)?).and_then(|member| member.resize(size)),
        };
        match resized {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(system(format!("resize the terminal: {error}"))),
            None => Err(no_target("it has no terminal")),
        }
    }

    pub(super) fn signal_member(&mut self, number: Number, signal: i32) -> Result<(), Refusal> {
        let member = self.members.get(&number).filter(|member| member.end.is_none());
        let member = member.ok_or_else(|| no_target("the process is not running"))?;
        pidfd_signal(member.pidfd.as_fd(), signal).map_err(|error| match error.raw_os_error() {
            Some(libc::ESRCH) => no_target("the process is not running"),
            _ => system(format!("signal the process: {error}")),
        })
    }

    fn turn_into_streams(&mut self, number: Number, attached: Attached) {
        let Some(peer) = self.peers.get_mut(&number) else {
            // It hung up in this very moment; an exec then runs without anybody.
            return;
        };
        let (member, wants_input, wants_replay) = (attached.member, attached.wants.stdin, attached.wants.replay);
        let rest = match std::mem::replace(&mut peer.role, Role::Attached(attached)) {
            Role::Control { decoder, .. } => decoder.into_rest(),
            Role::Attached(_) => Vec::new(),
        };
        if wants_input && !rest.is_empty() {
            if self.members.contains_key(&member) {
                self.feed(member, &rest);
            } else {
                self.early_input.extend(rest);
            }
        }
        if wants_replay {
            self.send_unfinished_lines(number);
        }
    }

    /// Begins the stream of one who reads the log first with what is in no log yet.
    fn send_unfinished_lines(&mut self, number: Number) {
        let (Some(log), Some(peer)) = (&self.logging.writer, self.peers.get_mut(&number)) else { return };
        let Role::Attached(attached) = &peer.role else { return };
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let line = log.unfinished(stream);
            if attached.gets(stream) && !line.is_empty() {
                let header = frame_header(stream, line.len());
                let head: &[u8] = if attached.is_framed { &header } else { &[] };
                // One that is gone already is noticed at the next turn.
                let _ = peer.outbox.send(&peer.socket, head, line);
            }
        }
    }
}

fn attached(member: Number, wants: Attach, is_terminal: bool, patience: Patience) -> Attached {
    Attached {
        member,
        wants,
        is_framed: !is_terminal,
        patience,
        input: if wants.stdin { InputState::Open } else { InputState::Ended },
        last_progress: Instant::now(),
        is_finishing: false,
    }
}

pub(super) fn state(message: &str) -> Refusal {
    Refusal { kind: RefusalKind::State, code: 0, message: message.to_owned() }
}

fn no_target(message: &str) -> Refusal {
    Refusal { kind: RefusalKind::NoSuchTarget, code: 0, message: message.to_owned() }
}

pub(super) fn system(message: String) -> Refusal {
    Refusal { kind: RefusalKind::System, code: 128, message }
}
