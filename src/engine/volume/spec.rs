//! Docker's short notations: `-v source:target:mode` and `--volumes-from container:mode`. Pure.

use std::collections::BTreeMap;

use super::mode::Mode;
use super::plan::{MountOrigin, MountRequest, MountSource, clean, config_error, target};
use super::record::check_name;
use crate::engine::EngineError;

/// Reads one of `HostConfig.Binds`.
///
/// # Errors
/// Docker's words (400).
pub fn bind(spec: &str, driver: &str) -> Result<MountRequest, EngineError> {
    let invalid = |reason: String| {
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        EngineError::invalid(format!("invalid volume specification: '{spec}'{reason}"))
    };
    let parts: Vec<&str> = spec.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(invalid(String::new()));
    }
    let (source, path, mode) = match parts[..] {
        [target] => (None, target, ""),
        // `target:mode` is no notation of its own: a second part that is a mode is a mistake.
        [_, mode] if Mode::parse(mode, true).or_else(|| Mode::parse(mode, false)).is_some() => {
            return Err(invalid(String::new()));
        }
        [source, target] => (Some(source), target, ""),
        [source, target, mode] => (Some(source), target, mode),
        _ => return Err(invalid(String::new())),
    };
    let is_bind = source.is_some_and(|source| source.starts_with('/'));
    let kind = if is_bind { "bind" } else { "volume" };
    let read = Mode::parse(mode, is_bind).ok_or_else(|| match Mode::parse(mode, !is_bind) {
        // a mode of the other kind
        Some(_) => {
            let field = if is_bind { "VolumeOptions" } else { "BindOptions" };
            invalid(config_error(kind, &format!("field {field} must not be specified")))
        }
        None => EngineError::invalid(format!("invalid mode: {mode}")),
    })?;
    let target = target(path).map_err(|reason| invalid(config_error(kind, &reason)))?;
    let source = match source {
        Some(path) if is_bind => MountSource::Bind {
            path: clean(path),
            create: true,
            recursive: true,
            propagation: read.propagation.unwrap_or_default(),
            writable_below: false,
        },
        name => {
            if let Some(name) = name {
                check_name(name).map_err(|reason| EngineError::invalid(format!("create {name}: {reason}")))?;
            }
            MountSource::Volume {
                name: name.map(str::to_owned),
                driver: driver.to_owned(),
                options: BTreeMap::new(),
                labels: BTreeMap::new(),
                copy: !read.nocopy,
                subpath: None,
            }
        }
    };
    Ok(MountRequest { target, source, read_only: read.read_only, mode: mode.to_owned(), origin: MountOrigin::Binds })
}

/// Reads one of `HostConfig.VolumesFrom`: the container, and whether its volumes are to be read-only.
///
/// # Errors
/// Docker's words (400).
pub fn volumes_from(spec: &str) -> Result<(&str, bool), EngineError> {
    let (container, mode) = spec.split_once(':').unwrap_or((spec, "rw"));
    if container.is_empty() {
        return Err(EngineError::invalid(format!("malformed volumes-from specification: {spec}")));
    }
    match Mode::parse(mode, false).filter(|mode| !mode.nocopy) {
        Some(mode) => Ok((container, mode.read_only)),
        None => Err(EngineError::invalid(format!("invalid mode: {mode}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_to_take_volumes_from() {
        assert_eq!(volumes_from("db").unwrap(), ("db", false));
        assert_eq!(volumes_from("db:ro").unwrap(), ("db", true));
        assert_eq!(volumes_from("db:rx").unwrap_err().to_string(), "invalid mode: rx");
    }
}
