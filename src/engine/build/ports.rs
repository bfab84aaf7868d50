//! The ports of EXPOSE: `80`, `53/udp`, `8000-8010`.

use super::plan::PlanError;

/// Each port as `number/protocol`, ranges spread out, in the order given.
pub(super) fn exposed(specs: &[String]) -> Result<Vec<String>, PlanError> {
    let mut ports = Vec::new();
    for spec in specs {
        let (range, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
        // Docker takes `host:container` too, and only looks at the container's side.
        let range = range.rsplit(':').next().unwrap_or(range);
        let protocol = protocol.to_ascii_lowercase();
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(PlanError::new(format!("invalid proto: {protocol}")));
        }
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
            }
            _ => return Err(PlanError::new(format!("invalid containerPort: {range}"))),
        }
    }
    Ok(ports)
}
