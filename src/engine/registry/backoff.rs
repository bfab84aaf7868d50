//! How long to wait before a registry is asked again. Pure: chance and the registry's wish are arguments.

use std::time::Duration;

/// How often something is tried without getting any further.
pub(super) const ATTEMPTS: u32 = 6;
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// A registry's `Retry-After` is obeyed up to this; beyond it the operation fails and says so.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The pause after the attempt numbered `attempt` (from 0) failed: doubling, and with `chance` (0 to 255) up to half
/// more, so that many clients do not come back together. A `Retry-After` is the least.
pub(super) fn pause(attempt: u32, chance: u8, retry_after: Option<Duration>) -> Duration {
    let doubled = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
    let jittered = doubled + doubled.mul_f64(f64::from(chance) / 512.0);
    retry_after.map_or(jittered, |least| jittered.max(least))
}

/// Waits out [`pause`].
pub(super) async fn wait(attempt: u32, retry_after: Option<Duration>) {
    let mut chance = [0];
    // Without chance the pause is only less spread.
    let _ = getrandom::fill(&mut chance);
    tokio::time::sleep(pause(attempt, chance[0], retry_after)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_end() {
        assert_eq!(pause(0, 0, None), Duration::from_millis(200));
        assert_eq!(pause(2, 0, None), Duration::from_millis(800));
        assert_eq!(pause(40, 0, None), LONGEST);
        assert!(pause(0, 255, None) < Duration::from_millis(300));
        assert_eq!(pause(0, 0, Some(Duration::from_secs(3))), Duration::from_secs(3));
    }
}
