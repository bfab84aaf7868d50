//! The flags of `run` and `create`, and the container they describe.

use std::collections::HashMap;

use clap::Args;

use super::health::HealthFlags;
use super::words::parse_size;
use crate::client::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountTmpfsOptions, MountType, NetworkingConfig, PortBinding, PortMap, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};

/// What a container shall be.
#[derive(Debug, Clone, Default, Args)]
pub struct CreateFlags {
    /// Name of the container
    #[arg(long)]
    pub name: Option<String>,
    /// Keep its input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Remove it when it ends
    #[arg(long)]
    pub rm: bool,
    /// Publish a port: [[IP:]HOST-PORT:]PORT[/PROTOCOL]
    #[arg(short, long)]
    publish: Vec<String>,
    /// Publish all ports the image exposes
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Expose a port to other containers
    #[arg(long)]
    expose: Vec<String>,
    /// Mount a volume or a folder: NAME-OR-PATH:PATH[:OPTIONS]
    #[arg(short, long)]
    volume: Vec<String>,
    /// Mount with named settings: type=bind,source=/a,target=/b,readonly
    #[arg(long)]
    mount: Vec<String>,
    /// Mount a memory file system: PATH[:OPTIONS]
    #[arg(long)]
    tmpfs: Vec<String>,
    /// Mount what these containers have mounted
    #[arg(long)]
    volumes_from: Vec<String>,
    /// Set a variable: NAME=VALUE, or NAME to hand ours on
    #[arg(short, long)]
    env: Vec<String>,
    /// Read variables from a file
    #[arg(long)]
    env_file: Vec<std::path::PathBuf>,
    /// Label it: KEY=VALUE
    #[arg(short, long)]
    label: Vec<String>,
    /// Where its program starts
    #[arg(short, long)]
    workdir: Option<String>,
    /// As whom its program runs: USER[:GROUP]
    #[arg(short, long)]
    user: Option<String>,
    /// Its host name
    #[arg(short = 'h', long)]
    hostname: Option<String>,
    /// Its network: a name, host, none or container:NAME
    #[arg(long, visible_alias = "net")]
    network: Option<String>,
    /// One more name on its network
    #[arg(long)]
    network_alias: Vec<String>,
    /// Its address on its network
    #[arg(long)]
    ip: Option<String>,
    /// A name for an address: NAME:IP
    #[arg(long)]
    add_host: Vec<String>,
    /// A name server
    #[arg(long)]
    dns: Vec<String>,
    /// Make another container reachable by an alias: NAME:ALIAS
    #[arg(long)]
    link: Vec<String>,
    /// When to start it again: no, always, unless-stopped, on-failure[:TIMES]
    #[arg(long)]
    restart: Option<String>,
    /// Memory limit, like 64m
    #[arg(short, long, value_parser = parse_size)]
    memory: Option<i64>,
    /// Limit of memory and swap together; -1 for no limit on swap
    #[arg(long, allow_hyphen_values = true, value_parser = parse_swap)]
    memory_swap: Option<i64>,
    /// Processors it may use, like 1.5
    #[arg(long)]
    cpus: Option<f64>,
    /// Its weight among others (1024 is usual)
    #[arg(short, long)]
    cpu_shares: Option<i64>,
    /// Processors it may run on, like 0-2,5
    #[arg(long)]
    cpuset_cpus: Option<String>,
    /// How many processes it may have
    #[arg(long, allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Size of /dev/shm
    #[arg(long, value_parser = parse_size)]
    shm_size: Option<i64>,
    /// A limit: NAME=SOFT[:HARD]
    #[arg(long)]
    ulimit: Vec<String>,
    /// A kernel setting of its namespaces: NAME=VALUE
    #[arg(long)]
    sysctl: Vec<String>,
    /// What it runs instead of the image's entrypoint
    #[arg(long)]
    entrypoint: Option<String>,
    /// All rights on this host
    #[arg(long)]
    privileged: bool,
    /// Add a capability
    #[arg(long)]
    cap_add: Vec<String>,
    /// Take a capability away
    #[arg(long)]
    cap_drop: Vec<String>,
    /// Security settings, like seccomp=unconfined
    #[arg(long)]
    security_opt: Vec<String>,
    /// One more group for its program
    #[arg(long)]
    group_add: Vec<String>,
    /// A device: PATH[:PATH[:rwm]]
    #[arg(long)]
    device: Vec<String>,
    /// Let it write to volumes only
    #[arg(long)]
    read_only: bool,
    /// Run a small init that reaps processes and passes signals on
    #[arg(long)]
    init: bool,
    /// Process namespace: host or container:NAME
    #[arg(long)]
    pid: Option<String>,
    /// IPC namespace: host, private, shareable or container:NAME
    #[arg(long)]
    ipc: Option<String>,
    /// Host-name namespace: host
    #[arg(long)]
    uts: Option<String>,
    /// Parent of its cgroup
    #[arg(long)]
    cgroup_parent: Option<String>,
    /// The signal that stops it
    #[arg(long)]
    stop_signal: Option<String>,
    /// Seconds it has to stop
    #[arg(long)]
    stop_timeout: Option<i64>,
    #[command(flatten)]
    health: HealthFlags,
    /// Where its log goes: json-file or none
    #[arg(long)]
    log_driver: Option<String>,
    /// A setting of the log: NAME=VALUE
    #[arg(long)]
    log_opt: Vec<String>,
    /// Platform of the image: OS/ARCH
    #[arg(long)]
    pub platform: Option<String>,
}

impl CreateFlags {
    /// The container these flags describe. `variable` knows our own environment.
    ///
    /// # Errors
    /// What in a flag can't be understood, in a person's words.
    pub fn body(
        &self,
        image: &str,
        command: &[String],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<ContainerCreateBody, String> {
        let (exposed, bindings) = ports(&self.publish, &self.expose)?;
        Ok(ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: some(command.to_vec()),
            entrypoint: self.entrypoint.as_ref().map(|program| vec![program.clone()]),
            hostname: self.hostname.clone(),
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            env: some(self.environment(variable)?),
            labels: Some(pairs(&self.label)).filter(|labels| !labels.is_empty()),
            exposed_ports: some(exposed),
            tty: Some(self.tty),
            open_stdin: Some(self.interactive),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
            healthcheck: self.health.config()?,
            host_config: Some(self.host_config(bindings)?),
            networking_config: self.networking(),
            ..ContainerCreateBody::default()
        })
    }

    fn host_config(&self, bindings: PortMap) -> Result<HostConfig, String> {
        let (volumes, unnamed): (Vec<String>, Vec<String>) =
            self.volume.iter().cloned().partition(|volume| volume.contains(':'));
        let mut mounts = self.mount.iter().map(|text| mount(text)).collect::<Result<Vec<_>, _>>()?;
        mounts.extend(unnamed.into_iter().map(|target| Mount {
            typ: Some(MountType::VOLUME),
            target: Some(target),
            ..Mount::default()
        }));
        #[allow(clippy::cast_possible_truncation)] // a float cast saturates
        let nano_cpus = self.cpus.map(|cpus| (cpus * 1e9).round() as i64);
        Ok(HostConfig {
            auto_remove: Some(self.rm),
            port_bindings: Some(bindings).filter(|bindings| !bindings.is_empty()),
            publish_all_ports: Some(self.publish_all),
            binds: some(volumes.iter().map(|volume| absolute(volume)).collect()),
            mounts: some(mounts),
            tmpfs: some_map(self.tmpfs.iter().map(|text| split(text, ':')).collect()),
            volumes_from: some(self.volumes_from.clone()),
            network_mode: self.network.clone(),
            extra_hosts: some(self.add_host.clone()),
            dns: some(self.dns.clone()),
            links: some(self.link.clone()),
            restart_policy: self.restart.as_deref().map(restart).transpose()?,
            memory: self.memory,
            memory_swap: self.memory_swap,
            nano_cpus,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            pids_limit: self.pids_limit,
            shm_size: self.shm_size,
            ulimits: some(self.ulimit.iter().map(|text| ulimit(text)).collect::<Result<_, _>>()?),
            sysctls: some_map(pairs(&self.sysctl)),
            privileged: Some(self.privileged),
            cap_add: some(self.cap_add.clone()),
            cap_drop: some(self.cap_drop.clone()),
            security_opt: some(self.security_opt.clone()),
            group_add: some(self.group_add.clone()),
            devices: some(self.device.iter().map(|text| device(text)).collect()),
            readonly_rootfs: Some(self.read_only),
            init: self.init.then_some(true),
            pid_mode: self.pid.clone(),
            ipc_mode: self.ipc.clone(),
            uts_mode: self.uts.clone(),
            cgroup_parent: self.cgroup_parent.clone(),
            log_config: (self.log_driver.is_some() || !self.log_opt.is_empty())
                .then(|| HostConfigLogConfig { typ: self.log_driver.clone(), config: some_map(pairs(&self.log_opt)) }),
            ..HostConfig::default()
        })
    }

    fn networking(&self) -> Option<NetworkingConfig> {
        let network = self.network.clone().unwrap_or_else(|| "bridge".to_owned());
        let has_settings = self.ip.is_some() || !self.network_alias.is_empty();
        has_settings.then(|| {
            let settings = EndpointSettings {
                aliases: some(self.network_alias.clone()),
                ipam_config: self
                    .ip
                    .clone()
                    .map(|ip| EndpointIpamConfig { ipv4_address: Some(ip), ..Default::default() }),
                ..EndpointSettings::default()
            };
            NetworkingConfig { endpoints_config: Some(HashMap::from([(network, settings)])) }
        })
    }

    fn environment(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        for path in &self.env_file {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let told = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.extend(told.map(str::to_owned));
        }
        lines.extend(self.env.iter().cloned());
        let whole = |line: String| match line.contains('=') {
            true => Some(line),
            false => variable(&line).map(|value| format!("{line}={value}")),
        };
        Ok(lines.into_iter().filter_map(whole).collect())
    }
}

fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn some_map(map: HashMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then_some(map)
}

fn split(text: &str, at: char) -> (String, String) {
    let (key, value) = text.split_once(at).unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

fn pairs(texts: &[String]) -> HashMap<String, String> {
    texts.iter().map(|text| split(text, '=')).collect()
}

/// A bind whose source is a path relative to here, made absolute: the engine's folder is another one.
fn absolute(volume: &str) -> String {
    match volume.split_once(':') {
        Some((source, rest)) if source.starts_with('.') || source.starts_with('~') => {
            let path = std::path::absolute(source).map(|path| path.display().to_string());
            format!("{}:{rest}", path.unwrap_or_else(|_| source.to_owned()))
        }
        _ => volume.to_owned(),
    }
}

fn parse_swap(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { parse_size(text) }
}

fn restart(text: &str) -> Result<RestartPolicy, String> {
    let (name, times) = text.split_once(':').unwrap_or((text, ""));
    let name = match name {
        "no" | "" => RestartPolicyNameEnum::NO,
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        other => return Err(format!("--restart {other}: one of no, always, unless-stopped, on-failure[:TIMES]")),
    };
    let times = match times {
        "" => None,
        times => Some(times.parse().map_err(|_| format!("--restart {text}: {times:?} is not a number"))?),
    };
    Ok(RestartPolicy { name: Some(name), maximum_retry_count: times })
}

pub(super) fn ulimit(text: &str) -> Result<ResourcesUlimits, String> {
    let bad = || format!("--ulimit {text}: NAME=SOFT[:HARD] is wanted");
    let (name, limits) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| if text == "unlimited" { Ok(-1) } else { text.parse::<i64>().map_err(|_| bad()) };
    Ok(ResourcesUlimits { name: Some(name.to_owned()), soft: Some(number(soft)?), hard: Some(number(hard)?) })
}

fn device(text: &str) -> DeviceMapping {
    let mut parts = text.split(':');
    let on_host = parts.next().unwrap_or_default().to_owned();
    let (inside, rights) = match (parts.next(), parts.next()) {
        (Some(rights), None) if !rights.starts_with('/') => (on_host.clone(), rights.to_owned()),
        (inside, rights) => (inside.map_or_else(|| on_host.clone(), str::to_owned), rights.unwrap_or("rwm").to_owned()),
    };
    DeviceMapping { path_on_host: Some(on_host), path_in_container: Some(inside), cgroup_permissions: Some(rights) }
}

fn mount(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { typ: Some(MountType::VOLUME), ..Mount::default() };
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        match key {
            "type" => {
                mount.typ = Some(match value {
                    "bind" => MountType::BIND,
                    "volume" => MountType::VOLUME,
                    "tmpfs" => MountType::TMPFS,
                    other => return Err(format!("--mount {text}: type {other} is none of bind, volume, tmpfs")),
                });
            }
            "source" | "src" => mount.source = Some(value.to_owned()),
            "target" | "dst" | "destination" => mount.target = Some(value.to_owned()),
            "readonly" | "ro" => mount.read_only = Some(value == "true" || value == "1"),
            "tmpfs-size" => {
                let options = mount.tmpfs_options.get_or_insert_with(MountTmpfsOptions::default);
                options.size_bytes = Some(parse_size(value)?);
            }
            "bind-nonrecursive" => {
                let options = mount.bind_options.get_or_insert_with(MountBindOptions::default);
                options.non_recursive = Some(value == "true" || value == "1");
            }
            other => return Err(format!("--mount {text}: {other} is not known")),
        }
    }
    Ok(mount)
}

/// A range of ports, like 80 or 8000-8010.
fn range(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let bad = || format!("{text:?} is not a port or a range of ports");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first <= last { Ok(first..=last) } else { Err(bad()) }
}

fn ports(published: &[String], exposed: &[String]) -> Result<(Vec<String>, PortMap), String> {
    let mut names: Vec<String> = Vec::new();
    let mut bindings = PortMap::new();
    for text in exposed {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        names.extend(range(ports)?.map(|port| format!("{port}/{protocol}")));
    }
    for text in published {
        let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
        let (rest, inside) = rest.rsplit_once(':').unwrap_or(("", rest));
        let (ip, outside) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((ip, outside)) => (ip, outside.trim_start_matches(':')),
            None => rest.rsplit_once(':').unwrap_or(("", rest)),
        };
        let inside = range(inside).map_err(|why| format!("--publish {text}: {why}"))?;
        let outside: Vec<String> = match outside {
            "" => vec![String::new(); inside.len()],
            outside => {
                range(outside).map_err(|why| format!("--publish {text}: {why}"))?.map(|port| port.to_string()).collect()
            }
        };
        let is_one_for_range = inside.len() == 1 && outside.len() > 1;
        if outside.len() != inside.len() && !is_one_for_range {
            return Err(format!("--publish {text}: the two ranges of ports differ in length"));
        }
        let outside = if is_one_for_range { vec![rest_of_range(rest)] } else { outside };
        for (port, outside) in inside.zip(outside) {
            let name = format!("{port}/{protocol}");
            let binding = PortBinding { host_ip: Some(ip.to_owned()), host_port: Some(outside) };
            bindings.entry(name.clone()).or_default().get_or_insert_default().push(binding);
            names.push(name);
        }
    }
    names.sort();
    names.dedup();
    Ok((names, bindings))
}

/// One port inside and a range outside means any free one of it; the engine takes the range as it is.
fn rest_of_range(rest: &str) -> String {
    rest.rsplit(':').next().unwrap_or(rest).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        flags: CreateFlags,
    }

    fn body(words: &str) -> Result<ContainerCreateBody, String> {
        let line = Line::try_parse_from(["run"].into_iter().chain(words.split_whitespace())).unwrap();
        line.flags.body("x", &[], |name| (name == "OURS").then(|| "1".to_owned()))
    }

    #[test]
    fn ports_are_written_in_many_ways() {
        let check = |text: &str, port: &str, ip: &str, outside: &str| {
            let bindings = body(&format!("-p {text}")).unwrap().host_config.unwrap().port_bindings.unwrap();
            let binding = &bindings[port].as_ref().unwrap()[0];
            assert_eq!((binding.host_ip.as_deref(), binding.host_port.as_deref()), (Some(ip), Some(outside)), "{text}");
        };
        check("8080:80", "80/tcp", "", "8080");
        check("80", "80/tcp", "", "");
        check("127.0.0.1:8080:80/udp", "80/udp", "127.0.0.1", "8080");
        check("127.0.0.1::80", "80/tcp", "127.0.0.1", "");
        check("[::1]:8080:80", "80/tcp", "::1", "8080");
        check("7000-7001:80-81", "81/tcp", "", "7001");
        check("7000-7009:80", "80/tcp", "", "7000-7009");
        assert!(body("-p 1-2:3-5").unwrap_err().contains("differ in length"));
        assert!(body("-p web").unwrap_err().contains("not a port"));
    }

    #[test]
    fn flags_become_a_container() {
        let body = body("-e A=b -e OURS -e THEIRS -m 64m --cpus 1.5 --restart on-failure:3 -v data:/srv -v /cache --label a=b --rm -it").unwrap();
        assert_eq!(body.env.unwrap(), ["A=b", "OURS=1"]);
        let host = body.host_config.unwrap();
        assert_eq!((host.memory, host.nano_cpus, host.auto_remove), (Some(64 << 20), Some(1_500_000_000), Some(true)));
        assert_eq!(host.restart_policy.unwrap().maximum_retry_count, Some(3));
        assert_eq!(host.binds.unwrap(), ["data:/srv"]);
        assert_eq!(host.mounts.unwrap()[0].target.as_deref(), Some("/cache"));
        assert_eq!((body.tty, body.open_stdin), (Some(true), Some(true)));
    }

    #[test]
    fn mounts_have_named_settings() {
        let mount = mount("type=bind,src=/a,dst=/b,readonly").unwrap();
        assert_eq!(
            (mount.typ, mount.source.as_deref(), mount.read_only),
            (Some(MountType::BIND), Some("/a"), Some(true))
        );
        assert!(super::mount("colour=red").unwrap_err().contains("colour is not known"));
    }
}
