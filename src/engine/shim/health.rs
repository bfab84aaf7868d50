//! Health checks: when to probe, how long a probe may take, and what its results make of the container. Pure: the clock
//! is an argument, probes are somebody else's.
//!
//! ```text
//! Starting --probe succeeds--> Healthy <--succeeds / fails `retries` times in a row--> Unhealthy
//! Starting --fails `retries` times, those in the start period not counted--> Unhealthy
//! ```

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::oci::ProcessPlan;

/// How many results are kept.
const KEPT_RESULTS: usize = 5;
/// How many bytes of a probe's output are kept.
const KEPT_OUTPUT: usize = 4096;

/// A health check, as the shim is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthSpec {
    /// What a probe runs.
    pub plan: ProcessPlan,
    /// How often and how long.
    pub times: HealthTimes,
}

/// The times of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthTimes {
    /// From the start, and from the end of a probe, to the next one.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How long failures do not count, as long as none succeeded.
    pub start_period: Duration,
    /// The interval within that.
    pub start_interval: Duration,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
}

/// Docker's words for a container's health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    /// No probe has succeeded yet.
    #[default]
    Starting,
    /// The last probe succeeded, or not enough have failed since.
    Healthy,
    /// Too many probes failed, or it does not run any more.
    Unhealthy,
}

impl HealthStatus {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// A container's health, as on disk and on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How it is.
    pub status: HealthStatus,
    /// How many probes failed in a row.
    #[serde(default)]
    pub failing_streak: u32,
    /// The last results, oldest first.
    #[serde(default)]
    pub log: Vec<ProbeResult>,
}

impl Health {
    /// Its name in the container's state folder.
    pub const FILE: &'static str = "health.json";

    /// As a further run begins with it: the results of the runs before are kept, as in Docker.
    pub fn anew(self) -> Self {
        Self { status: HealthStatus::Starting, failing_streak: 0, ..self }
    }
}

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit code; -1 where it could not run or took too long.
    pub exit_code: i64,
    /// What it wrote, at most 4096 bytes of it.
    pub output: String,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Begin a probe.
    Probe,
    /// Kill the probe that runs: its time is over.
    Kill,
}

/// The health check of one run of a container.
#[derive(Debug)]
pub struct HealthMonitor {
    times: HealthTimes,
    health: Health,
    started: Instant,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// The next probe begins then.
    Resting { until: Instant },
    /// One runs.
    Probing(Probe),
}

#[derive(Debug)]
struct Probe {
    began: Instant,
    start: Timestamp,
    output: Vec<u8>,
    is_cut: bool,
    is_late: bool,
}

impl HealthMonitor {
    /// A run that began at `now`; `before` is what the runs before it left.
    pub fn new(times: HealthTimes, before: Health, now: Instant) -> Self {
        let mut monitor = Self { times, health: before.anew(), started: now, step: Step::Resting { until: now } };
        monitor.rest(now);
        monitor
    }

    /// How it is.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// When to look at [`due`](Self::due) next; `None` while a probe is being killed.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.step {
            Step::Resting { until } => Some(*until),
            Step::Probing(probe) if probe.is_late => None,
            Step::Probing(probe) => Some(probe.began + self.times.timeout),
        }
    }

    /// What is to be done at `now`, if anything.
    pub fn due(&mut self, now: Instant) -> Option<Todo> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match &mut self.step {
            Step::Resting { .. } => Some(Todo::Probe),
            Step::Probing(probe) => {
                probe.is_late = true;
                Some(Todo::Kill)
            }
        }
    }

    /// What is due has to wait: the container is paused.
    pub fn put_off(&mut self, now: Instant) {
        match &mut self.step {
            Step::Resting { until } => *until = now + self.times.interval,
            Step::Probing(probe) => (probe.began, probe.is_late) = (now, false),
        }
    }

    /// A probe begins.
    pub fn begun(&mut self, now: Instant, start: Timestamp) {
        self.step = Step::Probing(Probe { began: now, start, output: Vec::new(), is_cut: false, is_late: false });
    }

    /// The probe wrote something.
    pub fn wrote(&mut self, bytes: &[u8]) {
        let Step::Probing(probe) = &mut self.step else { return };
        let room = KEPT_OUTPUT.saturating_sub(probe.output.len());
        probe.is_cut |= bytes.len() > room;
        probe.output.extend(bytes.iter().take(room));
    }

    /// The probe ended with `code`; says whether the container's status changed.
    pub fn ended(&mut self, now: Instant, end: Timestamp, code: i64) -> bool {
        let rest = Step::Resting { until: now };
        let Step::Probing(probe) = std::mem::replace(&mut self.step, rest) else { return false };
        let (code, text) = (if probe.is_late { -1 } else { code }, self.text_of(&probe));
        let before = self.health.status;
        self.judge(code == 0, probe.began);
        self.health.log.push(ProbeResult { start: probe.start, end, exit_code: code, output: text });
        let excess = self.health.log.len().saturating_sub(KEPT_RESULTS);
        self.health.log.drain(..excess);
        self.rest(now);
        self.health.status != before
    }

    /// The probe could not even begin.
    pub fn failed(&mut self, now: Instant, at: Timestamp, why: &str) -> bool {
        self.begun(now, at);
        self.wrote(why.as_bytes());
        self.ended(now, at, -1)
    }

    /// The run is over: whatever it was, it is not healthy any more.
    pub fn stopped(mut self) -> Health {
        self.health.status = HealthStatus::Unhealthy;
        self.health
    }

    fn judge(&mut self, is_success: bool, began: Instant) {
        if is_success {
            self.health.failing_streak = 0;
            self.health.status = HealthStatus::Healthy;
            return;
        }
        if self.health.status == HealthStatus::Starting && self.is_start_period(began) {
            return;
        }
        self.health.failing_streak = self.health.failing_streak.saturating_add(1);
        if self.health.failing_streak >= self.times.retries {
            self.health.status = HealthStatus::Unhealthy;
        }
    }

    fn is_start_period(&self, at: Instant) -> bool {
        at.duration_since(self.started) < self.times.start_period
    }

    fn rest(&mut self, now: Instant) {
        let is_starting = self.health.status == HealthStatus::Starting && self.is_start_period(now);
        let pause = if is_starting { self.times.start_interval } else { self.times.interval };
        self.step = Step::Resting { until: now + pause };
    }

    fn text_of(&self, probe: &Probe) -> String {
        let mut text = String::from_utf8_lossy(&probe.output).into_owned();
        if probe.is_cut {
            text.push_str("...");
        }
        if !probe.is_late {
            return text;
        }
        let limit = human(self.times.timeout);
        if text.is_empty() {
            format!("Health check exceeded timeout ({limit})")
        } else {
            format!("Health check exceeded timeout ({limit}): {text}")
        }
    }
}

/// A duration as Go prints it, down to milliseconds: `30s`, `1m30s`, `1.5s`, `200ms`.
fn human(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 {
        return format!("{millis}ms");
    }
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if millis == 0 { String::new() } else { format!(".{millis:03}").trim_end_matches('0').to_owned() };
    match (hours, minutes) {
        (0, 0) => format!("{rest}{fraction}s"),
        (0, minutes) => format!("{minutes}m{rest}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times() -> HealthTimes {
        HealthTimes {
            interval: 10 * SECOND,
            timeout: 3 * SECOND,
            start_period: Duration::ZERO,
            start_interval: 2 * SECOND,
            retries: 3,
        }
    }

    fn wall() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// Lets the time of the next probe come and has it end with `code`; gives the time.
    fn probe(monitor: &mut HealthMonitor, code: i64) -> Instant {
        let now = monitor.deadline().unwrap();
        assert_eq!(monitor.due(now), Some(Todo::Probe));
        monitor.begun(now, wall());
        monitor.ended(now, wall(), code);
        now
    }

    #[test]
    fn three_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let mut monitor = HealthMonitor::new(times(), Health::default(), Instant::now());
        let mut seen = Vec::new();
        for code in [0, 1, 1, 1, 0] {
            probe(&mut monitor, code);
            seen.push((monitor.health().status.word(), monitor.health().failing_streak));
        }
        assert_eq!(seen, [("healthy", 0), ("healthy", 1), ("healthy", 2), ("unhealthy", 3), ("healthy", 0)]);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_and_come_faster() {
        let begin = Instant::now();
        let mut monitor =
            HealthMonitor::new(HealthTimes { start_period: 5 * SECOND, ..times() }, Health::default(), begin);
        let at: Vec<u64> = (0..5).map(|_| probe(&mut monitor, 1).duration_since(begin).as_secs()).collect();
        assert_eq!(at, [2, 4, 6, 16, 26]);
        assert_eq!((monitor.health().status, monitor.health().failing_streak), (HealthStatus::Unhealthy, 3));
    }

    #[test]
    fn a_probe_that_takes_too_long_is_killed_and_told() {
        let mut monitor = HealthMonitor::new(times(), Health::default(), Instant::now());
        let now = monitor.deadline().unwrap();
        monitor.begun(now, wall());
        assert_eq!(monitor.due(now + 2 * SECOND), None);
        assert_eq!(monitor.due(now + 3 * SECOND), Some(Todo::Kill));
        assert_eq!(monitor.deadline(), None, "it is killed once");
        monitor.ended(now + 3 * SECOND, wall(), 137);
        let result = &monitor.health().log[0];
        assert_eq!((result.exit_code, result.output.as_str()), (-1, "Health check exceeded timeout (3s)"));
    }

    #[test]
    fn five_results_of_4096_bytes_are_kept() {
        let mut monitor = HealthMonitor::new(times(), Health::default(), Instant::now());
        for code in 1..=7 {
            let now = monitor.deadline().unwrap();
            monitor.begun(now, wall());
            monitor.wrote(&[b'x'; 3000]);
            monitor.wrote(&[b'x'; 3000]);
            monitor.ended(now, wall(), code);
        }
        let log = &monitor.health().log;
        assert_eq!(log.iter().map(|result| result.exit_code).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        assert!(log.iter().all(|result| result.output.len() == 4096 + 3 && result.output.ends_with("x...")));
    }

    #[test]
    fn a_further_run_starts_over_but_keeps_the_results() {
        let mut monitor = HealthMonitor::new(times(), Health::default(), Instant::now());
        for _ in 0..3 {
            probe(&mut monitor, 1);
        }
        let left = monitor.stopped();
        assert_eq!((left.status, left.failing_streak), (HealthStatus::Unhealthy, 3));
        let next = HealthMonitor::new(times(), left, Instant::now());
        let Health { status, failing_streak, log } = next.health();
        assert_eq!((*status, *failing_streak, log.len()), (HealthStatus::Starting, 0, 3));
    }

    #[test]
    fn a_paused_container_is_not_probed_and_a_probe_in_it_has_its_time_again() {
        let mut monitor = HealthMonitor::new(times(), Health::default(), Instant::now());
        let now = monitor.deadline().unwrap();
        assert_eq!(monitor.due(now), Some(Todo::Probe));
        monitor.put_off(now);
        assert_eq!((monitor.due(now), monitor.deadline()), (None, Some(now + 10 * SECOND)));
        monitor.begun(now, wall());
        let late = now + 3 * SECOND;
        assert_eq!(monitor.due(late), Some(Todo::Kill));
        monitor.put_off(late);
        assert_eq!(monitor.deadline(), Some(late + 3 * SECOND));
    }

    #[test]
    fn durations_read_as_dockers() {
        let check = |millis: u64, expected: &str| assert_eq!(human(Duration::from_millis(millis)), expected);
        check(200, "200ms");
        check(1500, "1.5s");
        check(30_000, "30s");
        check(90_000, "1m30s");
        check(3_600_000, "1h0m0s");
    }
}
