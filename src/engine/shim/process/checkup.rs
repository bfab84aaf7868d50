//! The container's health check: probes are processes of the container that nobody attaches to.

use std::time::Instant;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};

use super::keeper::{Keeper, Phase};
use super::member::Wanted;
use super::reactor::Number;
use crate::engine::runtime::Cgroups;
use crate::engine::shim::health::{Health, HealthMonitor, HealthSpec, Todo};
use crate::engine::shim::protocol::ShimEvent;
use crate::engine::store;

/// A health check and how it stands.
#[derive(Debug)]
pub(super) struct Checkup {
    spec: HealthSpec,
    /// While the container runs.
    monitor: Option<HealthMonitor>,
    /// The probe that runs.
    probe: Option<Number>,
    /// As last written.
    health: Health,
}

impl Checkup {
    /// `before` is what the container's earlier runs left.
    pub(super) fn new(spec: HealthSpec, before: Option<Health>) -> Self {
        Self { spec, monitor: None, probe: None, health: before.map_or_else(Health::default, Health::anew) }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.monitor.as_ref().and_then(HealthMonitor::deadline)
    }

    /// Takes what the probe wrote; says whether `number` is the probe.
    pub(super) fn takes(&mut self, number: Number, bytes: &[u8]) -> bool {
        let is_probe = self.probe == Some(number);
        if is_probe && let Some(monitor) = &mut self.monitor {
            monitor.wrote(bytes);
        }
        is_probe
    }
}

impl Keeper {
    /// A run has begun.
    pub(super) fn begin_checkup(&mut self) {
        let Some(checkup) = &mut self.checkup else { return };
        checkup.monitor = Some(HealthMonitor::new(checkup.spec.times, checkup.health.clone(), Instant::now()));
        checkup.probe = None;
        self.publish_health();
    }

    /// A run is over; a probe of it ends with it and tells nothing.
    pub(super) fn end_checkup(&mut self) {
        let Some(checkup) = &mut self.checkup else { return };
        checkup.probe = None;
        if let Some(monitor) = checkup.monitor.take() {
            checkup.health = monitor.stopped();
            self.write_health();
        }
    }

    /// Does what the health check has to do at `now`.
    pub(super) fn check_health(&mut self, now: Instant) {
        let Some(monitor) = self.checkup.as_mut().and_then(|checkup| checkup.monitor.as_mut()) else { return };
        let Some(todo) = monitor.due(now) else { return };
        let cgroup = &self.facts.cgroup;
        if Cgroups::new(cgroup.layout.clone()).is_frozen(&cgroup.path) {
            return monitor.put_off(now);
        }
        match todo {
            Todo::Probe => self.probe(now),
            Todo::Kill => {
                if let Some(probe) = self.checkup.as_ref().and_then(|checkup| checkup.probe) {
                    self.kill_session(probe);
                }
            }
        }
    }

    fn probe(&mut self, now: Instant) {
        let Phase::Running { .. } = self.phase else { return };
        let Some(plan) = self.checkup.as_ref().map(|checkup| checkup.spec.plan.clone()) else { return };
        let wanted = Wanted { terminal: None, stdin: false, stdout: true, stderr: true };
        let exec_id = match random_id() {
            Ok(exec_id) => exec_id,
            Err(error) => return eprintln!("boxyard shim: name a health check's probe: {error}"),
        };
        let begun = self.run_member(&plan, wanted, exec_id.clone());
        let pid = begun.as_ref().ok().map(|(_, pid)| *pid);
        self.announce(&ShimEvent::Probing { exec_id, pid });
        let Some(checkup) = &mut self.checkup else { return };
        let Some(monitor) = &mut checkup.monitor else { return };
        match begun {
            Ok((number, _)) => {
                checkup.probe = Some(number);
                monitor.begun(now, Timestamp::now());
            }
            Err(refusal) => {
                monitor.failed(now, Timestamp::now(), &refusal.message);
                self.publish_health();
            }
        }
    }

    /// Kills a process and what it started in its session's first group, such as what its shell runs.
    fn kill_session(&self, number: Number) {
        let member = self.members.get(&number).filter(|member| member.end.is_none());
        // As long as it is not waited for, its number and its group's are nobody else's.
        if let Some(pid) = member.and_then(|member| Pid::from_raw(i32::try_from(member.pid).ok()?)) {
            // It may have ended this moment; its end is told in any case.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// If it was a probe that has ended, judges it.
    pub(super) fn probe_ended(&mut self, number: Number, code: i64) {
        let Some(checkup) = self.checkup.as_mut().filter(|checkup| checkup.probe == Some(number)) else { return };
        checkup.probe = None;
        if let Some(monitor) = &mut checkup.monitor {
            monitor.ended(Instant::now(), Timestamp::now(), code);
            self.publish_health();
        }
    }

    fn publish_health(&mut self) {
        let Some(checkup) = &mut self.checkup else { return };
        if let Some(monitor) = &checkup.monitor {
            checkup.health.clone_from(monitor.health());
        }
        self.write_health();
        if let Some(checkup) = &self.checkup {
            self.announce(&ShimEvent::Health(checkup.health.clone()));
        }
    }

    fn write_health(&self) {
        let Some(checkup) = &self.checkup else { return };
        let path = self.facts.exit_path.with_file_name(Health::FILE);
        if let Err(error) = store::write_volatile_record(&path, &checkup.health) {
            eprintln!("boxyard shim: {error}");
        }
    }
}

/// As engines name execs: 64 hex digits.
fn random_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}
