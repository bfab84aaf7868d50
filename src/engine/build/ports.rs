//! The ports of EXPOSE: `80`, `53/udp`, `8000-8010`.

use super::plan::PlanError;
use crate::dockerfile::nearest;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Each port as `number/protocol`, ranges spread out, in the order given.
pub(super) fn exposed(specs: &[String]) -> Result<Vec<String>, PlanError> {
    let mut ports = Vec::new();
    for spec in specs {
        let (range, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
        // Docker takes `host:container` too, and only looks at the container's side.
        let range = range.rsplit(':').next().unwrap_or(range);
        let protocol = protocol.to_ascii_lowercase();
        let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol };
        if !PROTOCOLS.contains(&protocol.as_str()) {
            let near = nearest(&protocol, PROTOCOLS);
            let near =
                near.map_or_else(|| "; known are tcp, udp and sctp".to_owned(), |it| format!(" (did you mean {it}?)"));
            return Err(PlanError::new(format!("invalid proto: {protocol}{near}")));
        }
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().ok();
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
            }
            _ => {
                let why = match spec.starts_with('#') {
                    true => "; a comment needs a line of its own",
                    false => "; a port is a number up to 65535, or two with - between them",
                };
                return Err(PlanError::new(format!("invalid containerPort: {range}{why}")));
            }
        }
    }
    Ok(ports)
}
