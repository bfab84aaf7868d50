//! Restart policies: whether a container that ended is started again, and when. Pure.

use std::time::Duration;

use bollard_stubs::models::{RestartPolicy, RestartPolicyNameEnum};

/// The first pause before a restart (as dockerd's restart manager).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Who ran so long starts over with the first pause.
const LONG_RUN: Duration = Duration::from_secs(10);

/// How a container ended, as far as its policy asks.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its exit code.
    pub code: i64,
    /// How long it had run.
    pub ran: Duration,
    /// How often it was restarted so far.
    pub restarts: u32,
    /// The pause before the last restart; zero before the first.
    pub last_pause: Duration,
    /// Whether a person ended it.
    pub is_stopped_by_person: bool,
}

/// The pause after which to start it again; `None` leaves it be.
pub fn restart_after(policy: Option<&RestartPolicy>, ended: Ended) -> Option<Duration> {
    let policy = policy?;
    let limit = policy.maximum_retry_count.unwrap_or_default();
    let again = match policy.name? {
        RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED => true,
        RestartPolicyNameEnum::ON_FAILURE => ended.code != 0 && (limit == 0 || i64::from(ended.restarts) < limit),
        RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO => false,
    };
    if !again || ended.is_stopped_by_person {
        return None;
    }
    if ended.last_pause.is_zero() || ended.ran >= LONG_RUN {
        return Some(FIRST_PAUSE);
    }
    Some((ended.last_pause * 2).min(LONGEST_PAUSE))
}

/// Whether a stopped container is to be started when its engine opens. Unlike dockerd, which opens once a boot, an
/// engine of ours opens with every screen: so what a person stopped stays stopped under every policy.
pub fn starts_with_engine(policy: Option<&RestartPolicy>, exit_code: i64, is_stopped_by_person: bool) -> bool {
    if is_stopped_by_person {
        return false;
    }
    match policy.and_then(|policy| policy.name) {
        Some(RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED) => true,
        Some(RestartPolicyNameEnum::ON_FAILURE) => exit_code != 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: RestartPolicyNameEnum, count: i64) -> RestartPolicy {
        RestartPolicy { name: Some(name), maximum_retry_count: Some(count) }
    }

    fn ended(code: i64) -> Ended {
        Ended { code, ran: Duration::ZERO, restarts: 0, last_pause: Duration::ZERO, is_stopped_by_person: false }
    }

    #[test]
    fn on_failure_counts() {
        let policy = policy(RestartPolicyNameEnum::ON_FAILURE, 2);
        assert_eq!(restart_after(Some(&policy), ended(0)), None);
        assert!(restart_after(Some(&policy), Ended { restarts: 1, ..ended(1) }).is_some());
        assert_eq!(restart_after(Some(&policy), Ended { restarts: 2, ..ended(1) }), None);
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_start_over_after_a_long_run() {
        let always = policy(RestartPolicyNameEnum::ALWAYS, 0);
        let mut pause = Duration::ZERO;
        let mut all = vec![];
        for _ in 0..12 {
            pause = restart_after(Some(&always), Ended { last_pause: pause, ..ended(0) }).unwrap();
            all.push(pause.as_millis());
        }
        assert_eq!(all[..4], [100, 200, 400, 800]);
        assert_eq!(all.last(), Some(&60_000));
        let long = Ended { last_pause: pause, ran: Duration::from_secs(11), ..ended(0) };
        assert_eq!(restart_after(Some(&always), long), Some(FIRST_PAUSE));
    }

    #[test]
    fn what_a_person_stopped_stays_stopped() {
        let always = policy(RestartPolicyNameEnum::ALWAYS, 0);
        assert_eq!(restart_after(Some(&always), Ended { is_stopped_by_person: true, ..ended(137) }), None);
        assert!(!starts_with_engine(Some(&always), 137, true));
        assert!(starts_with_engine(Some(&always), 0, false));
        assert!(!starts_with_engine(None, 1, false));
    }
}
