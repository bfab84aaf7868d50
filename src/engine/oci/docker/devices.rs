//! The devices of a container and the rules of its device cgroup.

use bollard_stubs::models as docker;

use crate::engine::EngineError;
use crate::engine::oci::launch::{USUAL_DEVICES, usual_devices};
use crate::engine::oci::{DeviceAccess, DeviceKind, DevicePlan, DeviceRule};

/// What every container may use besides: console, ptmx, and all terminals of a devpts.
const TERMINALS: [(u32, Option<u32>); 3] = [(5, Some(1)), (5, Some(2)), (136, None)];

/// The nodes in `/dev`.
pub(super) fn plan(host_config: &docker::HostConfig) -> Result<Vec<DevicePlan>, EngineError> {
    if host_config.privileged == Some(true) {
        return Ok(vec![DevicePlan::AllOfHost]);
    }
    usual_devices().map(Ok).chain(host_config.devices.iter().flatten().map(of_host)).collect()
}

fn of_host(device: &docker::DeviceMapping) -> Result<DevicePlan, EngineError> {
    let path = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
    let source = path(&device.path_on_host).unwrap_or_default();
    let target = path(&device.path_in_container).unwrap_or_else(|| source.clone());
    let letters = path(&device.cgroup_permissions).unwrap_or_else(|| "rwm".to_owned());
    let access = DeviceAccess::parse(&letters);
    let Some(access) = access.filter(|_| source.starts_with('/') && target.starts_with('/')) else {
        return Err(EngineError::invalid(format!("invalid device specification: {source}:{target}:{letters}")));
    };
    Ok(DevicePlan::Host { source: source.into(), target: target.into(), access })
}

/// Denies all, then allows what every container may use and what was asked for.
pub(super) fn rules(host_config: &docker::HostConfig, is_privileged: bool) -> Result<Vec<DeviceRule>, EngineError> {
    let rule = |allow, kind, major, minor, access| DeviceRule { allow, kind, major, minor, access };
    if is_privileged {
        return Ok(vec![rule(true, DeviceKind::Any, None, None, DeviceAccess::ALL)]);
    }
    let mut rules = vec![
        rule(false, DeviceKind::Any, None, None, DeviceAccess::ALL),
        rule(true, DeviceKind::Char, None, None, DeviceAccess::MKNOD),
        rule(true, DeviceKind::Block, None, None, DeviceAccess::MKNOD),
    ];
    let usual = USUAL_DEVICES.iter().map(|(_, major, minor)| (*major, Some(*minor)));
    let allowed = usual.chain(TERMINALS);
    rules.extend(allowed.map(|(major, minor)| rule(true, DeviceKind::Char, Some(major), minor, DeviceAccess::ALL)));
    for text in host_config.device_cgroup_rules.iter().flatten() {
        let parsed = parse_rule(text);
        rules.push(parsed.ok_or_else(|| EngineError::invalid(format!("invalid device cgroup rule format: '{text}'")))?);
    }
    Ok(rules)
}

/// `c 1:3 rwm`, `a *:* rwm`.
fn parse_rule(text: &str) -> Option<DeviceRule> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let &[kind, numbers, access] = words.as_slice() else { return None };
    let kind = match kind {
        "a" => DeviceKind::Any,
        "b" => DeviceKind::Block,
        "c" => DeviceKind::Char,
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let (major, minor) = numbers.split_once(':')?;
    Some(DeviceRule {
        allow: true,
        kind,
        major: number(major)?,
        minor: number(minor)?,
        access: DeviceAccess::parse(access)?,
    })
}
