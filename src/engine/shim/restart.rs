//! Restart policies: whether a container that ended is started again, and when. Pure: how long it ran is an argument.
//!
//! The shim applies them, so that containers come back while no engine runs. The engine applies the same rules where no
//! shim can: after the shim itself was killed, after a reboot, and where a restart needs another container's namespaces.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The first pause before a restart (as dockerd's restart manager).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Who ran so long starts over with the first pause.
const LONG_RUN: Duration = Duration::from_secs(10);

/// When a container that ended by itself is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After an exit code other than 0.
    OnFailure {
        /// At most so often; 0 sets no limit.
        limit: u32,
    },
    /// Always, until a person stops it.
    Always,
    /// The same; an engine that opens leaves one alone that a person stopped.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether a container that ended with `code` after `restarts` restarts is to run again.
    pub fn wants_again(self, code: i64, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { limit } => code != 0 && (limit == 0 || restarts < limit),
            Self::Always | Self::UnlessStopped => true,
        }
    }
}

/// How the story of one container's restarts stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Restarts {
    policy: RestartPolicy,
    count: u32,
    pause: Duration,
    last_run: Option<Asked>,
}

/// Why the run under way is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// A person stops the container.
    ToStop,
    /// An engine stops it in order to start it anew.
    ToStartAnew,
}

impl Restarts {
    /// A container with `policy` that was restarted `count` times so far.
    pub fn new(policy: RestartPolicy, count: u32) -> Self {
        Self { policy, count, ..Self::default() }
    }

    /// How often it was restarted.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Why the run under way is the last one; `None` where the policy decides.
    pub fn last_run(&self) -> Option<Asked> {
        self.last_run
    }

    /// Changes the policy for the next end.
    pub fn set_policy(&mut self, policy: RestartPolicy) {
        self.policy = policy;
    }

    /// Makes the next end the last.
    pub fn ask_for_end(&mut self, why: Asked) {
        self.last_run = Some(why);
    }

    /// It ended with `code` after it had run for `ran`: the pause before it is to run again; `None` leaves it be.
    pub fn ended(&mut self, code: i64, ran: Duration) -> Option<Duration> {
        if self.last_run.is_some() || !self.policy.wants_again(code, self.count) {
            return None;
        }
        self.pause = pause_after(self.pause, ran);
        Some(self.pause)
    }

    /// It runs again.
    pub fn started(&mut self) {
        self.count = self.count.saturating_add(1);
    }
}

/// The pause after a run of length `ran` which came after a pause of `last`; that is zero at the first run.
pub fn pause_after(last: Duration, ran: Duration) -> Duration {
    if last.is_zero() || ran >= LONG_RUN {
        return FIRST_PAUSE;
    }
    (last * 2).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn on_failure_counts() {
        let mut restarts = Restarts::new(RestartPolicy::OnFailure { limit: 2 }, 0);
        assert_eq!(restarts.ended(0, SHORT), None, "success is no failure");
        for _ in 0..2 {
            assert!(restarts.ended(1, SHORT).is_some());
            restarts.started();
        }
        assert_eq!((restarts.ended(1, SHORT), restarts.count()), (None, 2));
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_start_over_after_a_long_run() {
        let mut restarts = Restarts::new(RestartPolicy::Always, 0);
        let pauses: Vec<u128> = (0..12).filter_map(|_| restarts.ended(0, SHORT)).map(|it| it.as_millis()).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses.last(), Some(&60_000));
        assert_eq!(restarts.ended(0, Duration::from_secs(10)), Some(FIRST_PAUSE));
    }

    #[test]
    fn a_policy_changes_while_it_runs_and_a_stop_beats_it() {
        let mut restarts = Restarts::new(RestartPolicy::No, 0);
        assert_eq!(restarts.ended(1, SHORT), None);
        restarts.set_policy(RestartPolicy::UnlessStopped);
        assert!(restarts.ended(0, SHORT).is_some());
        restarts.ask_for_end(Asked::ToStop);
        assert_eq!(restarts.ended(137, SHORT), None);
    }
}
