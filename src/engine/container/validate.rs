//! What a creation or an update may not ask for, refused in Docker's words before anything is made.

use bollard_stubs::models as docker;

use super::log_options;
use super::signal::parse_signal;
use crate::engine::EngineError;
use crate::engine::runtimes::BUILT_IN;

/// The smallest memory limit (Docker's `linuxMinMemory`).
const MINIMUM_MEMORY: i64 = 6 * 1024 * 1024;

/// Checks what concerns the container itself.
///
/// # Errors
/// 400 with Docker's words.
pub fn config(config: &docker::ContainerConfig) -> Result<(), EngineError> {
    if let Some(folder) = config.working_dir.as_ref().filter(|folder| !folder.is_empty() && !folder.starts_with('/')) {
        return Err(EngineError::invalid(format!(
            "the working directory '{folder}' is invalid, it needs to be an absolute path"
        )));
    }
    if let Some(entry) = config.env.iter().flatten().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        return Err(EngineError::invalid(format!("invalid environment variable: {entry}")));
    }
    if let Some(signal) = config.stop_signal.as_ref().filter(|signal| !signal.is_empty()) {
        parse_signal(signal)?;
    }
    if let Some(check) = &config.healthcheck {
        healthcheck(check)?;
    }
    for port in config.exposed_ports.iter().flatten() {
        exposed_port(port)?;
    }
    Ok(())
}

/// Checks where and within which limits it runs. `cpus` is how many the host has.
///
/// # Errors
/// 400 with Docker's words.
pub fn host_config(
    config: &docker::ContainerConfig,
    host: &docker::HostConfig,
    cpus: usize,
) -> Result<(), EngineError> {
    resources(host, cpus)?;
    restart_policy(host.restart_policy.as_ref())?;
    let restarts =
        host.restart_policy.as_ref().and_then(|policy| policy.name).is_some_and(|name| {
            !matches!(name, docker::RestartPolicyNameEnum::EMPTY | docker::RestartPolicyNameEnum::NO)
        });
    if host.auto_remove == Some(true) && restarts {
        return Err(EngineError::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    namespaces(config, host)?;
    host.log_config.as_ref().map_or(Ok(()), log_options::validate)?;
    for (port, bindings) in host.port_bindings.iter().flatten() {
        exposed_port(port)?;
        for binding in bindings.iter().flatten() {
            host_port(binding)?;
        }
    }
    network_mode(config, host)
}

/// Checks what a container with a user namespace can't have.
///
/// # Errors
/// 400 with Docker's words.
pub fn user_namespace(host: &docker::HostConfig) -> Result<(), EngineError> {
    if host.userns_mode.as_deref() == Some("host") {
        return Ok(());
    }
    let refused = if host.privileged == Some(true) {
        "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when \
         running privileged mode"
    } else if host.network_mode.as_deref() == Some("host") {
        "cannot share the host's network namespace when user namespaces are enabled"
    } else if host.pid_mode.as_deref() == Some("host") {
        "cannot share the host PID namespace when user namespaces are enabled"
    } else {
        return Ok(());
    };
    Err(EngineError::invalid(refused))
}

/// Checks that a container with a user namespace runs under our own runtime.
///
/// # Errors
/// 400 with the ways out.
pub fn own_runtime(host: &docker::HostConfig) -> Result<(), EngineError> {
    let name = host.runtime.as_deref().unwrap_or_default();
    if ["", BUILT_IN].contains(&name) || host.userns_mode.as_deref() == Some("host") {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "runtime \"{name}\" can't be used with --userns-remap: only the built-in one gives containers ids of their own here; \
         use --runtime {BUILT_IN}, or --userns host for this container"
    )))
}

fn healthcheck(check: &docker::HealthConfig) -> Result<(), EngineError> {
    let at_least_a_millisecond = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ];
    for (name, value) in at_least_a_millisecond {
        if value.is_some_and(|value| value != 0 && value < 1_000_000) {
            return Err(EngineError::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if check.retries.is_some_and(|retries| retries < 0) {
        return Err(EngineError::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

/// `80`, `80/tcp`, `53/udp`, `8000-8010/sctp`.
fn exposed_port(text: &str) -> Result<(), EngineError> {
    let refuse = || EngineError::invalid(format!("invalid port specification: \"{text}\""));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str()) {
        return Err(refuse());
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(()),
        _ => Err(refuse()),
    }
}

fn host_port(binding: &docker::PortBinding) -> Result<(), EngineError> {
    let text = binding.host_port.as_deref().unwrap_or_default();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let is_port = |text: &str| text.is_empty() || text.parse::<u16>().is_ok();
    if !is_port(first) || !is_port(last) {
        return Err(EngineError::invalid(format!("invalid port specification: \"{text}\"")));
    }
    let address = binding.host_ip.as_deref().unwrap_or_default();
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(EngineError::invalid(format!("invalid IP address in port binding: {address}")));
    }
    Ok(())
}

/// The combinations of network mode and other options that can't both be had.
fn network_mode(config: &docker::ContainerConfig, host: &docker::HostConfig) -> Result<(), EngineError> {
    let mode = host.network_mode.as_deref().unwrap_or_default();
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if mode.strip_prefix("container:").is_some_and(str::is_empty) {
        return Err(EngineError::invalid("invalid container format container:<name|id>"));
    }
    if mode.starts_with("container:") {
        let clashes = [
            (filled(&config.hostname), "conflicting options: hostname and the network mode"),
            (
                any(&host.links),
                "conflicting options: container type network can't be used with links. This would result in undefined behavior",
            ),
            (any(&host.dns), "conflicting options: dns and the network mode"),
            (any(&host.extra_hosts), "conflicting options: custom host-to-IP mapping and the network mode"),
            (
                host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty())
                    || host.publish_all_ports == Some(true),
                "conflicting options: port publishing and the container type network mode",
            ),
            (any(&config.exposed_ports), "conflicting options: port exposing and the container type network mode"),
        ];
        if let Some((_, words)) = clashes.iter().find(|(clash, _)| *clash) {
            return Err(EngineError::invalid(*words));
        }
    }
    if mode == "host" && any(&host.links) {
        return Err(EngineError::invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ));
    }
    if host.uts_mode.as_deref() == Some("host") && filled(&config.hostname) {
        return Err(EngineError::invalid("conflicting options: hostname and the UTS mode"));
    }
    Ok(())
}

/// The combinations of other namespaces that can't be had.
fn namespaces(config: &docker::ContainerConfig, host: &docker::HostConfig) -> Result<(), EngineError> {
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if host.uts_mode.as_deref() == Some("host") && filled(&config.domainname) {
        return Err(EngineError::invalid("conflicting options: domainname and the UTS mode"));
    }
    for (kind, mode) in [("PID", &host.pid_mode), ("IPC", &host.ipc_mode)] {
        if mode.as_deref().and_then(|mode| mode.strip_prefix("container:")).is_some_and(str::is_empty) {
            return Err(EngineError::invalid(format!("invalid {kind} mode: container:")));
        }
    }
    Ok(())
}

/// Checks what a container asks of a network.
///
/// # Errors
/// 400, naming the field.
pub fn endpoint(asked: &docker::EndpointSettings) -> Result<(), EngineError> {
    let Some(addresses) = &asked.ipam_config else { return Ok(()) };
    if addresses.ipv6_address.as_ref().is_some_and(|text| !text.is_empty()) {
        return Err(EngineError::invalid("IPAMConfig.IPv6Address is not supported: the networks have no IPv6"));
    }
    if addresses.link_local_ips.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(EngineError::invalid("IPAMConfig.LinkLocalIPs is not supported"));
    }
    Ok(())
}

/// Checks the limits, also those of an update.
///
/// # Errors
/// 400 with Docker's words.
pub fn resources(host: &docker::HostConfig, cpus: usize) -> Result<(), EngineError> {
    let memory = host.memory.unwrap_or_default();
    let swap = host.memory_swap.unwrap_or_default();
    let reservation = host.memory_reservation.unwrap_or_default();
    let nano_cpus = host.nano_cpus.unwrap_or_default();
    let (period, quota) = (host.cpu_period.unwrap_or_default(), host.cpu_quota.unwrap_or_default());
    let refuse = |words: &str| Err(EngineError::invalid(words));
    if memory != 0 && memory < MINIMUM_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap != 0 && swap != -1 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if reservation > 0 && reservation < MINIMUM_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > memory {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if let Some(swappiness) = host.memory_swappiness.filter(|value| !(-1..=100).contains(value)) {
        return Err(EngineError::invalid(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )));
    }
    if nano_cpus > 0 && period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if nano_cpus > 0 && quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let (rt_period, rt_runtime) =
        (host.cpu_realtime_period.unwrap_or_default(), host.cpu_realtime_runtime.unwrap_or_default());
    if rt_period != 0 && rt_runtime > rt_period {
        return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    let most = i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if nano_cpus < 0 || nano_cpus > most {
        return Err(EngineError::invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    if period != 0 && !(1000..=1_000_000).contains(&period) {
        return refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if quota > 0 && quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if host.blkio_weight.is_some_and(|weight| weight > 0 && !(10..=1000).contains(&weight)) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    let rates = [
        ("BlkioDeviceReadBps", &host.blkio_device_read_bps),
        ("BlkioDeviceWriteBps", &host.blkio_device_write_bps),
        ("BlkioDeviceReadIOps", &host.blkio_device_read_iops),
        ("BlkioDeviceWriteIOps", &host.blkio_device_write_iops),
    ];
    for (name, devices) in rates {
        if let Some(rate) = devices.iter().flatten().filter_map(|device| device.rate).find(|rate| *rate < 0) {
            return Err(EngineError::invalid(format!("{name}: rate {rate} is negative")));
        }
    }
    if host.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        return Err(EngineError::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj.unwrap_or_default()
        )));
    }
    if host.shm_size.is_some_and(|size| size < 0) {
        return refuse("SHM size can not be less than 0");
    }
    Ok(())
}

/// Refuses real-time budgets where no group of the host's gives any. With version 2 they are discarded with a warning.
///
/// # Errors
/// 400 with the field's name.
pub fn realtime(host: &docker::HostConfig, is_v2: bool) -> Result<(), EngineError> {
    let has_parent = host.cgroup_parent.as_ref().is_some_and(|parent| !parent.is_empty());
    if is_v2 || has_parent || host.cpu_realtime_runtime.unwrap_or_default() == 0 {
        return Ok(());
    }
    Err(EngineError::invalid(
        "CpuRealtimeRuntime: the group of all containers has no real-time budget; name one that has by CgroupParent",
    ))
}

/// Checks a restart policy.
///
/// # Errors
/// 400 with Docker's words.
pub fn restart_policy(policy: Option<&docker::RestartPolicy>) -> Result<(), EngineError> {
    let Some(policy) = policy else { return Ok(()) };
    let count = policy.maximum_retry_count.unwrap_or_default();
    if count < 0 {
        return Err(EngineError::invalid("invalid restart policy: maximum retry count cannot be negative"));
    }
    if count > 0 && policy.name != Some(docker::RestartPolicyNameEnum::ON_FAILURE) {
        return Err(EngineError::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(host: &docker::HostConfig) -> String {
        host_config(&docker::ContainerConfig::default(), host, 2)
            .map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn limits_that_make_no_sense_are_told() {
        let base = docker::HostConfig::default;
        assert_eq!(refusal(&base()), "fine");
        assert_eq!(
            refusal(&docker::HostConfig { memory: Some(1024), ..base() }),
            "Minimum memory limit allowed is 6MB"
        );
        assert_eq!(
            refusal(&docker::HostConfig { nano_cpus: Some(3_000_000_000), ..base() }),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
        assert_eq!(
            refusal(&docker::HostConfig { memory_swap: Some(1 << 30), ..base() }),
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        );
    }

    #[test]
    fn a_container_that_removes_itself_has_no_restart_policy() {
        let always =
            docker::RestartPolicy { name: Some(docker::RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
        let host = docker::HostConfig { auto_remove: Some(true), restart_policy: Some(always), ..Default::default() };
        assert_eq!(refusal(&host), "can't create 'AutoRemove' container with restart policy");
    }

    #[test]
    fn other_runtimes_know_no_shifted_layers() {
        let host = |runtime: &str, userns: &str| docker::HostConfig {
            runtime: Some(runtime.to_owned()),
            userns_mode: Some(userns.to_owned()),
            ..Default::default()
        };
        assert!(own_runtime(&host("boxyard", "")).is_ok() && own_runtime(&host("runc", "host")).is_ok());
        let refused = own_runtime(&host("runc", "")).unwrap_err();
        assert!(refused.message().contains("--runtime boxyard"), "{refused}");
    }

    #[test]
    fn ports_are_numbers_with_a_protocol() {
        for good in ["80", "80/tcp", "53/udp", "8000-8010/tcp"] {
            assert!(exposed_port(good).is_ok(), "{good}");
        }
        for bad in ["", "0", "70000/tcp", "80/icmp", "10-5", "http"] {
            assert!(exposed_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_relative_working_directory_is_refused() {
        let asked = docker::ContainerConfig { working_dir: Some("src".to_owned()), ..Default::default() };
        assert!(config(&asked).unwrap_err().message().contains("needs to be an absolute path"));
    }
}
