//! Making a container: everything is checked and put on disk, nothing runs yet.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use bollard_stubs::models as docker;
use jiff::Timestamp;

use super::archive::mark_name;
use super::live::Container;
use super::merge::{merge_image, split_body};
use super::names::{invented_name, valid_name};
use super::record::{ContainerRecord, Folder, NetworkPlace, VERSION};
use super::room::Room;
use super::state::State;
use super::validate;
use crate::engine::EngineError;
use crate::engine::image::{Image, host_architecture};
use crate::engine::layer::detached_root;
use crate::engine::network::NetworkMode;
use crate::engine::network::files::extra_host;
use crate::engine::oci;
use crate::engine::runtime::HostFacts;
use crate::engine::runtimes::BUILT_IN;
use crate::engine::store::write_volatile_record;
use crate::engine::volume::{MountInput, MountSource, MountedPoint, mount_requests, volumes_from};

/// `/dev/shm` where nothing is asked for (Docker's default).
const SHM_SIZE: i64 = 64 << 20;

impl Room {
    /// Makes a container; answers its ID and what should be told to the person.
    pub async fn create(
        self: &Arc<Self>,
        name: Option<&str>,
        body: docker::ContainerCreateBody,
        platform: Option<&str>,
    ) -> Result<docker::ContainerCreateResponse, EngineError> {
        let (config, host_config, endpoints) = split_body(body);
        let reference = config.image.clone().unwrap_or_default();
        let image = self.rooms.images.find(&reference)?;
        let mut warnings = platform_warning(&image, &reference, platform)?;
        let mut config = merge_image(config, &image.config.config)?;
        let cpus = usize::try_from(self.rooms.host.cpus).unwrap_or(1);
        validate::config(&config)?;
        validate::host_config(&config, &host_config, cpus)?;
        self.rooms.runtimes.check(host_config.runtime.as_deref().unwrap_or_default())?;
        endpoints.values().try_for_each(validate::endpoint)?;
        self.validate_links(&host_config)?;
        if self.rooms.instance.remap().is_some() {
            validate::user_namespace(&host_config)?;
            validate::own_runtime(&host_config)?;
        }
        for extra in host_config.extra_hosts.iter().flatten() {
            extra_host(extra)?;
        }
        let host_config = with_defaults(host_config, self.rooms.host.cgroups.is_v2());
        // what a start would refuse without asking the kernel is refused here
        oci::check(&config, &host_config, &self.rooms.host)?;
        validate::realtime(&host_config, self.rooms.host.cgroups.is_v2())?;
        warnings.extend(discarded(&host_config, &self.rooms.host));
        let networks = self.places(&config, &host_config, endpoints)?;

        let id = new_id()?;
        let given = name.filter(|name| !name.is_empty()).map(valid_name).transpose()?;
        let name = self.reserve_name(given, &id)?;
        if config.hostname.as_ref().is_none_or(String::is_empty) {
            config.hostname = Some(match NetworkMode::parse(host_config.network_mode.as_deref().unwrap_or_default()) {
                NetworkMode::Host => self.rooms.host.hostname.clone(),
                NetworkMode::Container(_) => String::new(),
                _ => id.get(..12).unwrap_or(&id).to_owned(),
            });
        }
        let mut record = ContainerRecord {
            version: VERSION,
            id: id.clone(),
            name: name.clone(),
            created: Timestamp::now(),
            image: Some(image.id),
            top: image.top,
            config,
            host_config,
            networks,
            mounts: Vec::new(),
            state: State::Created { failure: None },
            restart_count: 0,
            last_exit: None,
            is_stopped_by_person: false,
            terminal: None,
            health: None,
        };
        let made = match self.realise_mounts(&record).await {
            Ok(points) => {
                record.mounts = points;
                self.keep(record.clone()).await
            }
            Err(error) => Err(error),
        };
        match made {
            Ok(container) => {
                container.publish(&self.rooms.events, "create", []);
                Ok(docker::ContainerCreateResponse { id, warnings })
            }
            Err(error) => {
                // Of several volumes some may have been made.
                let unmade = id.clone();
                if let Err(error) = self.rooms.volumes.remove_orphans(move |id| id != unmade).await {
                    tracing::warn!(%error, "volumes of a container that could not be made are left");
                }
                self.index.release(&name, &id);
                Err(error)
            }
        }
    }

    /// The containers that `--link` names must be there.
    fn validate_links(&self, host_config: &docker::HostConfig) -> Result<(), EngineError> {
        for link in host_config.links.iter().flatten() {
            let target = link.split(':').next().unwrap_or(link).trim_start_matches('/');
            self.index.find(target).map_err(|error| {
                EngineError::invalid(format!("could not get container for {target}: {}", error.message()))
            })?;
        }
        Ok(())
    }

    fn reserve_name(&self, given: Option<&str>, id: &str) -> Result<String, EngineError> {
        if let Some(name) = given {
            self.index.reserve(name, id)?;
            return Ok(name.to_owned());
        }
        let mut refusal = EngineError::system("no free name was found");
        for attempt in 0..64 {
            let name = invented_name(random_number()?, attempt);
            match self.index.reserve(&name, id) {
                Ok(()) => return Ok(name),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// The networks it will be on: the mode's own one, with the others it was asked to join.
    fn places(
        &self,
        config: &docker::ContainerConfig,
        host_config: &docker::HostConfig,
        mut asked: HashMap<String, docker::EndpointSettings>,
    ) -> Result<BTreeMap<String, NetworkPlace>, EngineError> {
        let mode = host_config.network_mode.as_deref().unwrap_or_default();
        if config.network_disabled == Some(true) {
            return Ok(BTreeMap::new());
        }
        let primary = match NetworkMode::parse(mode) {
            NetworkMode::Container(_) => {
                if asked.is_empty() {
                    return Ok(BTreeMap::new());
                }
                return Err(EngineError::invalid(
                    "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
                ));
            }
            NetworkMode::Bridge => "bridge".to_owned(),
            NetworkMode::Host => "host".to_owned(),
            NetworkMode::None => "none".to_owned(),
            NetworkMode::Network(name) => name,
        };
        // "default" stands for the mode's own network.
        let own = asked.remove(&primary).or_else(|| asked.remove("default")).unwrap_or_default();
        let canonical =
            |name: &str| self.rooms.networks.find(name).map_or_else(|_| name.to_owned(), |found| found.name);
        let mut places = BTreeMap::from([(canonical(&primary), NetworkPlace { asked: own, endpoint: None })]);
        for (name, settings) in asked {
            places.entry(canonical(&name)).or_insert(NetworkPlace { asked: settings, endpoint: None });
        }
        if matches!(primary.as_str(), "host" | "none") && places.len() > 1 {
            return Err(EngineError::invalid(format!(
                "container cannot be connected to network endpoints: {}",
                places.keys().cloned().collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(places)
    }

    async fn realise_mounts(&self, record: &ContainerRecord) -> Result<Vec<MountedPoint>, EngineError> {
        let mut borrowed = Vec::new();
        for entry in record.host_config.volumes_from.iter().flatten() {
            let (name, is_read_only) = volumes_from(entry)?;
            // a 404 here would read as a missing image
            let other = self.index.find(name).map_err(|error| EngineError::invalid(error.message()))?.record();
            borrowed.push((other.mounts.clone(), is_read_only));
        }
        let input = MountInput { config: &record.config, host_config: &record.host_config, volumes_from: &borrowed };
        self.rooms.volumes.realise(&record.id, mount_requests(&input)?).await
    }

    /// Puts a container on disk, whole, and lets everybody see it.
    async fn keep(&self, record: ContainerRecord) -> Result<Arc<Container>, EngineError> {
        let folder = self.folder_of(&record.id);
        let (root, place, filled) = (Arc::clone(&self.rooms.root), folder.state.clone(), record.clone());
        let turn = self.folders.acquire().await; // nobody closes it
        Self::blocking(move || {
            let temp = root.temp_dir("container").map_err(disk("create the container's folder"))?;
            fill(temp.path(), &filled)?;
            fs::rename(temp.keep(), place).map_err(disk("create the container's folder"))
        })
        .await?;
        drop(turn);
        let container = Container::new(record.clone(), folder.clone(), &self.syncs);
        if let Err(error) = self.copy_image_content(&container, &record).await {
            let root = Arc::clone(&self.rooms.root);
            // What can't be thrown away now is a folder without a container's name; the next start finds and removes it.
            let _ = Self::blocking(move || root.discard(&folder.state).map(drop).map_err(disk("discard"))).await;
            return Err(error);
        }
        container.sync_soon();
        self.index.add(Arc::clone(&container));
        Ok(container)
    }

    /// Copies what the image has at a volume's target into volumes that are new.
    async fn copy_image_content(&self, container: &Container, record: &ContainerRecord) -> Result<(), EngineError> {
        let wants_copy = |point: &MountedPoint| matches!(point.request.source, MountSource::Volume { copy: true, .. });
        if !record.mounts.iter().any(wants_copy) || record.top.is_none() {
            return Ok(());
        }
        let stack = self.stack_of(container, record)?;
        let root = Self::blocking(move || Ok(detached_root(&stack)?)).await?;
        self.rooms.volumes.copy_up(&record.mounts, root).await
    }
}

fn fill(folder: &Path, record: &ContainerRecord) -> Result<(), EngineError> {
    let names = Folder { state: folder.to_owned(), bundle: folder.to_owned() };
    let make =
        |path: &Path, mode| DirBuilder::new().mode(mode).create(path).map_err(disk("create the container's folder"));
    make(&names.upper(), 0o755)?;
    make(&names.work(), 0o700)?;
    let mut mark = fs::OpenOptions::new();
    mark.write(true).create_new(true).mode(0o755);
    mark.open(names.upper().join(mark_name())).map_err(disk("create the container's folder"))?;
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o711))
        .map_err(disk("create the container's folder"))?;
    write_volatile_record(&names.record(), record)
        .map_err(|error| EngineError::system(error.to_string()).because(error))
}

/// A disk's refusal, told at the door.
pub fn disk(attempted: &'static str) -> impl Fn(std::io::Error) -> EngineError {
    move |error| EngineError::system(format!("{attempted}: {error}")).because(error)
}

/// A random ID whose beginning is no number, since it becomes a host name (a number there is taken for an address).
pub fn new_id() -> Result<String, EngineError> {
    loop {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|error| EngineError::system(format!("get random bytes: {error}")))?;
        let id = hex::encode(bytes);
        if !id.bytes().take(12).all(|byte| byte.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

fn random_number() -> Result<u64, EngineError> {
    getrandom::u64().map_err(|error| EngineError::system(format!("get random bytes: {error}")))
}

/// What Docker fills in, so that inspect tells what is in force.
fn with_defaults(mut host: docker::HostConfig, is_v2: bool) -> docker::HostConfig {
    let fill = |text: &mut Option<String>, value: &str| {
        if text.as_ref().is_none_or(String::is_empty) {
            *text = Some(value.to_owned());
        }
    };
    fill(&mut host.network_mode, "bridge");
    if host.network_mode.as_deref() == Some("default") {
        host.network_mode = Some("bridge".to_owned());
    }
    fill(&mut host.ipc_mode, "private");
    fill(&mut host.runtime, BUILT_IN);
    if host.shm_size.is_none_or(|size| size == 0) {
        host.shm_size = Some(SHM_SIZE);
    }
    if host.cgroupns_mode.is_none_or(|mode| mode == docker::HostConfigCgroupnsModeEnum::EMPTY) {
        use docker::HostConfigCgroupnsModeEnum::{HOST, PRIVATE};
        host.cgroupns_mode = Some(if is_v2 && host.privileged != Some(true) { PRIVATE } else { HOST });
    }
    let log = host.log_config.get_or_insert_default();
    fill(&mut log.typ, "json-file");
    log.config.get_or_insert_default();
    let policy = host.restart_policy.get_or_insert_default();
    if policy.name.is_none_or(|name| name == docker::RestartPolicyNameEnum::EMPTY) {
        policy.name = Some(docker::RestartPolicyNameEnum::NO);
    }
    policy.maximum_retry_count.get_or_insert(0);
    if host.memory.unwrap_or_default() > 0 && host.memory_swap.unwrap_or_default() == 0 {
        host.memory_swap = host.memory.map(|memory| memory.saturating_mul(2));
    }
    host
}

/// What is asked for and can't be had here, or should be thought over: Docker's warnings.
pub(super) fn discarded(host: &docker::HostConfig, facts: &HostFacts) -> Vec<String> {
    let (is_v2, has_apparmor) = (facts.cgroups.is_v2(), facts.has_apparmor);
    let mut warnings = Vec::new();
    let mut warn = |text: &str| warnings.push(text.to_owned());
    match (host.oom_kill_disable, is_v2) {
        (Some(true), true) => warn("Your kernel does not support OomKillDisable. OomKillDisable discarded."),
        (Some(true), false) if host.memory.unwrap_or_default() == 0 => warn(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system \
             running out of resources.",
        ),
        _ => {}
    }
    if is_v2 && host.memory_swappiness.is_some_and(|value| value >= 0) {
        warn(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory \
             swappiness discarded.",
        );
    }
    if !facts.has_io_weight && host.blkio_weight.unwrap_or_default() != 0 {
        warn("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.");
    }
    if !facts.has_io_weight && host.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty()) {
        warn(
            "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
        );
    }
    if is_v2 && (host.cpu_realtime_period.unwrap_or_default(), host.cpu_realtime_runtime.unwrap_or_default()) != (0, 0)
    {
        warn("Your kernel does not support CPU real-time scheduler. CPU real-time period/runtime discarded.");
    }
    if host.network_mode.as_deref() == Some("host")
        && host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty())
    {
        warn("Published ports are discarded when using host network mode");
    }
    for option in host.security_opt.iter().flatten() {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        if name == "label" && value != "disable" {
            warn(&format!("SELinux is not supported: security option {option} discarded."));
        }
        if name == "apparmor" && value != "unconfined" && !has_apparmor {
            warn(&format!("AppArmor is not enabled on this host: security option {option} discarded."));
        }
    }
    warnings
}

/// Says so where the image is made for another processor; refuses where a certain one was asked for.
fn platform_warning(image: &Image, reference: &str, platform: Option<&str>) -> Result<Vec<String>, EngineError> {
    let have = format!("{}/{}", image.config.os, image.config.architecture);
    let (os, processor) = ("linux", host_architecture());
    match platform.filter(|platform| !platform.is_empty()) {
        Some(wanted) => {
            let mut parts = wanted.split('/');
            let (wanted_os, wanted_processor) = (parts.next().unwrap_or(os), parts.next().unwrap_or(processor));
            if have == format!("{wanted_os}/{wanted_processor}") {
                return Ok(Vec::new());
            }
            Err(EngineError::not_found(format!(
                "image with reference {reference} was found but its platform ({have}) does not match the specified \
                 platform ({wanted})"
            )))
        }
        None if image.config.architecture.is_empty() || image.config.architecture == processor => Ok(Vec::new()),
        None => Ok(vec![format!(
            "The requested image's platform ({have}) does not match the detected host platform ({os}/{processor}) and \
             no specific platform was requested"
        )]),
    }
}
