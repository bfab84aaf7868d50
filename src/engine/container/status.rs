//! The `STATUS` column of `docker ps`: how long a container is up, or how and when it ended.

use std::time::Duration;

use jiff::Timestamp;

use super::state::State;

/// The text at `now`; `health` is `None` without a health check, else Docker's word (`starting`, `healthy`, `unhealthy`).
pub fn status_text(state: &State, health: Option<&str>, now: Timestamp) -> String {
    let since = |then: Timestamp| human_duration(Duration::try_from(now.duration_since(then)).unwrap_or_default());
    match state {
        State::Created { .. } => "Created".to_owned(),
        State::Running(alive) => match health {
            None => format!("Up {}", since(alive.started_at)),
            Some("starting") => format!("Up {} (health: starting)", since(alive.started_at)),
            Some(health) => format!("Up {} ({health})", since(alive.started_at)),
        },
        State::Paused(alive) => format!("Up {} (Paused)", since(alive.started_at)),
        State::Restarting { exit } => format!("Restarting ({}) {} ago", exit.code, since(exit.finished_at)),
        State::Removing { .. } => "Removal In Progress".to_owned(),
        State::Exited { exit } => format!("Exited ({}) {} ago", exit.code, since(exit.finished_at)),
        State::Dead { .. } => "Dead".to_owned(),
    }
}

/// A duration in one unit, roughly, as Docker's clients and server print it.
pub fn human_duration(duration: Duration) -> String {
    const HOUR: u64 = 3600;
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + HOUR / 2) / HOUR;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / HOUR / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{at, exited, running};
    use super::super::state::{Alive, State};
    use super::*;

    #[test]
    fn durations_read_as_dockers() {
        let check = |seconds: u64, expected: &str| assert_eq!(human_duration(Duration::from_secs(seconds)), expected);
        check(0, "Less than a second");
        check(1, "1 second");
        check(59, "59 seconds");
        check(60, "About a minute");
        check(119, "About a minute");
        check(120, "2 minutes");
        check(59 * 60, "59 minutes");
        check(3600, "About an hour");
        check(2 * 3600, "2 hours");
        check(47 * 3600, "47 hours");
        check(48 * 3600, "2 days");
        check(14 * 24 * 3600, "2 weeks");
        check(61 * 24 * 3600, "2 months");
        check(3 * 365 * 24 * 3600, "3 years");
    }

    #[test]
    fn every_state_has_its_text() {
        let now = at("2026-01-01T00:03:00Z");
        assert_eq!(status_text(&running(), None, now), "Up 3 minutes");
        assert_eq!(status_text(&running(), Some("starting"), now), "Up 3 minutes (health: starting)");
        assert_eq!(status_text(&running(), Some("healthy"), now), "Up 3 minutes (healthy)");
        assert_eq!(status_text(&exited(137), None, now), "Exited (137) 2 minutes ago");
        assert_eq!(status_text(&State::Created { failure: None }, None, now), "Created");
        let paused = State::Paused(Alive { pid: 1, started_at: at("2026-01-01T00:02:00Z"), oom_killed: false });
        assert_eq!(status_text(&paused, None, now), "Up About a minute (Paused)");
    }
}
