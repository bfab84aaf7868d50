//! The health flags of `run` and `create`.

use clap::Args;

use crate::client::models::HealthConfig;

/// How its health is checked.
#[derive(Debug, Clone, Default, Args)]
pub struct HealthFlags {
    /// Command that checks its health
    #[arg(long)]
    health_cmd: Option<String>,
    /// Time between two checks (30s)
    #[arg(long, value_parser = nanoseconds)]
    health_interval: Option<i64>,
    /// How long a check may take (30s)
    #[arg(long, value_parser = nanoseconds)]
    health_timeout: Option<i64>,
    /// How long it may take to get ready: failures do not count yet
    #[arg(long, value_parser = nanoseconds)]
    health_start_period: Option<i64>,
    /// Time between two checks until it is ready (5s)
    #[arg(long, value_parser = nanoseconds)]
    health_start_interval: Option<i64>,
    /// How many failures in a row make it unhealthy (3)
    #[arg(long)]
    health_retries: Option<i64>,
    /// Check nothing, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthFlags {
    /// What differs from the image's check; `None` leaves it to the image.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub fn config(&self) -> Result<Option<HealthConfig>, String> {
        let asked = HealthConfig {
            test: self.health_cmd.as_ref().map(|command| vec!["CMD-SHELL".to_owned(), command.clone()]),
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
            retries: self.health_retries,
        };
        let is_asked = asked != HealthConfig::default();
        match (self.no_healthcheck, is_asked) {
            (true, true) => Err("--no-healthcheck conflicts with --health-* options".to_owned()),
            (true, false) => Ok(Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..asked })),
            (false, is_asked) => Ok(is_asked.then_some(asked)),
        }
    }
}

/// `90s`, `1m30s`, `500ms` in the API's unit.
fn nanoseconds(text: &str) -> Result<i64, String> {
    let duration: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text}: not a duration, as 30s or 1m30s"))?;
    i64::try_from(duration.as_nanos()).map_err(|_| format!("{text}: too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_nanoseconds() {
        assert_eq!(nanoseconds("1m30s"), Ok(90_000_000_000));
        assert_eq!(nanoseconds("500ms"), Ok(500_000_000));
        assert!(nanoseconds("soon").is_err());
    }

    #[test]
    fn flags_become_a_check_or_none() {
        assert_eq!(HealthFlags::default().config(), Ok(None));
        let flags = HealthFlags { health_cmd: Some("true".to_owned()), health_retries: Some(2), ..Default::default() };
        let check = flags.config().unwrap().unwrap();
        assert_eq!(
            (check.test.unwrap().join(" "), check.retries, check.interval),
            ("CMD-SHELL true".into(), Some(2), None)
        );
        let none = HealthFlags { no_healthcheck: true, ..Default::default() };
        assert_eq!(none.config().unwrap().unwrap().test.unwrap(), ["NONE"]);
        assert!(HealthFlags { no_healthcheck: true, ..flags }.config().is_err());
    }
}
