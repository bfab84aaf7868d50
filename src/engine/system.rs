//! What concerns the engine as a whole: `docker info`, `docker version`, `docker system df`.

use std::collections::HashMap;

use bollard_stubs::models as docker;
use jiff::Timestamp;
use serde::Serialize;

use super::EngineError;
use super::door::Engine;
use super::image::ListImages;
use super::image::host_architecture;
use super::runtimes::BUILT_IN;

/// The newest API version this engine speaks.
pub const API_VERSION: &str = "1.51";
/// The oldest one.
pub const MIN_API_VERSION: &str = "1.24";

impl Engine {
    /// Facts and counts, for `docker info`.
    pub async fn info(&self) -> docker::SystemInfo {
        let host = self.host();
        let counts = self.containers().counts();
        let count = |number: usize| Some(i64::try_from(number).unwrap_or(i64::MAX));
        let is_v2 = host.cgroups.is_v2();
        let images =
            self.images().list(&ListImages { all: true, ..ListImages::default() }).map_or(0, |images| images.len());
        let mut security = Vec::new();
        if host.has_apparmor {
            security.push("name=apparmor".to_owned());
        }
        if host.has_seccomp {
            security.push("name=seccomp,profile=builtin".to_owned());
        }
        if is_v2 {
            security.push("name=cgroupns".to_owned());
        }
        if self.instance().remap().is_some() {
            security.push("name=userns".to_owned());
        }
        let mut warnings =
            if host.ipv4_forwarding { Vec::new() } else { vec!["WARNING: IPv4 forwarding is disabled".to_owned()] };
        warnings.extend(self.networks().warnings().await);
        docker::SystemInfo {
            id: Some(self.instance().nft_table()),
            containers: count(counts.running + counts.paused + counts.stopped),
            containers_running: count(counts.running),
            containers_paused: count(counts.paused),
            containers_stopped: count(counts.stopped),
            images: count(images),
            driver: Some("overlay2".to_owned()),
            driver_status: Some(vec![
                vec!["Supports d_type".to_owned(), "true".to_owned()],
                vec!["Using metacopy".to_owned(), "false".to_owned()],
                vec!["Native Overlay Diff".to_owned(), "true".to_owned()],
            ]),
            docker_root_dir: Some(self.instance().root().to_string_lossy().into_owned()),
            plugins: Some(docker::PluginsInfo {
                volume: Some(vec!["local".to_owned()]),
                network: Some(["bridge", "host", "null"].map(str::to_owned).to_vec()),
                authorization: None,
                log: Some(["json-file", "none"].map(str::to_owned).to_vec()),
            }),
            memory_limit: Some(true),
            swap_limit: Some(true),
            cpu_cfs_period: Some(true),
            cpu_cfs_quota: Some(true),
            cpu_shares: Some(true),
            cpu_set: Some(true),
            pids_limit: Some(true),
            oom_kill_disable: Some(!is_v2),
            ipv4_forwarding: Some(host.ipv4_forwarding),
            debug: Some(false),
            nfd: Some(
                std::fs::read_dir("/proc/self/fd").map_or(0, |entries| i64::try_from(entries.count()).unwrap_or(0)),
            ),
            n_goroutines: Some(0),
            system_time: Some(Timestamp::now().to_string()),
            logging_driver: Some("json-file".to_owned()),
            cgroup_driver: Some(docker::SystemInfoCgroupDriverEnum::CGROUPFS),
            cgroup_version: Some(if is_v2 {
                docker::SystemInfoCgroupVersionEnum::_2
            } else {
                docker::SystemInfoCgroupVersionEnum::_1
            }),
            n_events_listener: Some(0),
            kernel_version: Some(host.kernel_release.clone()),
            operating_system: Some(host.operating_system.clone()),
            os_version: Some(host.os_version.clone()),
            os_type: Some("linux".to_owned()),
            architecture: Some(host.machine.clone()),
            ncpu: Some(host.cpus.into()),
            mem_total: i64::try_from(host.memory).ok(),
            index_server_address: Some("https://index.docker.io/v1/".to_owned()),
            registry_config: Some(docker::RegistryServiceConfig {
                insecure_registry_cidrs: Some(vec!["127.0.0.0/8".to_owned()]),
                index_configs: Some(HashMap::new()),
                mirrors: None,
            }),
            http_proxy: Some(String::new()),
            https_proxy: Some(String::new()),
            no_proxy: Some(String::new()),
            name: Some(host.hostname.clone()),
            labels: Some(Vec::new()),
            experimental_build: Some(false),
            server_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            runtimes: Some(self.runtimes().shown()),
            default_runtime: Some(BUILT_IN.to_owned()),
            swarm: Some(docker::SwarmInfo {
                local_node_state: Some(docker::LocalNodeState::INACTIVE),
                control_available: Some(false),
                ..Default::default()
            }),
            // Containers live on without the engine, always.
            live_restore_enabled: Some(true),
            init_binary: Some(String::new()),
            security_options: Some(security),
            warnings: Some(warnings),
            ..Default::default()
        }
    }

    /// Versions, for `docker version`.
    pub fn version(&self) -> docker::SystemVersion {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let kernel = self.host().kernel_release.clone();
        let details = HashMap::from(
            [
                ("ApiVersion", API_VERSION),
                ("MinAPIVersion", MIN_API_VERSION),
                ("Arch", host_architecture()),
                ("Os", "linux"),
                ("KernelVersion", kernel.as_str()),
                ("GitCommit", ""),
                ("GoVersion", ""),
                ("BuildTime", ""),
                ("Experimental", "false"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        docker::SystemVersion {
            platform: Some(docker::SystemVersionPlatform { name: "Boxyard".to_owned() }),
            components: Some(vec![docker::SystemVersionComponents {
                name: "Engine".to_owned(),
                version: version.clone(),
                details: Some(details),
            }]),
            version: Some(version),
            api_version: Some(API_VERSION.to_owned()),
            min_api_version: Some(MIN_API_VERSION.to_owned()),
            git_commit: Some(String::new()),
            go_version: Some(String::new()),
            os: Some("linux".to_owned()),
            arch: Some(host_architecture().to_owned()),
            kernel_version: Some(kernel),
            experimental: Some(false),
            build_time: Some(String::new()),
        }
    }

    /// What occupies the disk, for `docker system df`. Walks the disk.
    ///
    /// # Errors
    /// The disk's refusal.
    pub async fn disk_usage(&self) -> Result<docker::SystemDataUsageResponse, EngineError> {
        let images = self.images().list(&ListImages { shared_size: true, ..ListImages::default() })?;
        let containers = self.containers().usage().await?;
        let volumes = self.volumes().usage().await?;
        let caches = self.builds().disk_usage().await?;

        let used_images: i64 = images.iter().filter(|image| image.containers > 0).count().try_into().unwrap_or(0);
        let image_bytes = images.iter().map(|image| image.size - image.shared_size.max(0)).sum::<i64>()
            + images.iter().map(|image| image.shared_size.max(0)).max().unwrap_or(0);
        let free_images = images
            .iter()
            .filter(|image| image.containers <= 0)
            .map(|image| image.size - image.shared_size.max(0))
            .sum();

        let is_active = |container: &&docker::ContainerSummary| {
            use docker::ContainerSummaryStateEnum::{PAUSED, RESTARTING, RUNNING};
            matches!(container.state, Some(RUNNING | PAUSED | RESTARTING))
        };
        let container_bytes = |container: &docker::ContainerSummary| container.size_rw.unwrap_or(0);

        let volume_bytes = |volume: &docker::Volume| volume.usage_data.as_ref().map_or(0, |usage| usage.size.max(0));
        let is_used = |volume: &&docker::Volume| volume.usage_data.as_ref().is_some_and(|usage| usage.ref_count > 0);

        let cache_bytes = |cache: &docker::BuildCache| cache.size.unwrap_or(0);
        let cache_in_use = |cache: &&docker::BuildCache| cache.in_use == Some(true);
        Ok(docker::SystemDataUsageResponse {
            image_usage: Some(docker::ImagesDiskUsage {
                active_count: Some(used_images),
                total_count: length(&images),
                reclaimable: Some(free_images),
                total_size: Some(image_bytes),
                items: Some(values(&images)),
            }),
            container_usage: Some(docker::ContainersDiskUsage {
                active_count: i64::try_from(containers.iter().filter(is_active).count()).ok(),
                total_count: length(&containers),
                reclaimable: Some(containers.iter().filter(|one| !is_active(one)).map(container_bytes).sum()),
                total_size: Some(containers.iter().map(container_bytes).sum()),
                items: Some(values(&containers)),
            }),
            volume_usage: Some(docker::VolumesDiskUsage {
                active_count: i64::try_from(volumes.iter().filter(is_used).count()).ok(),
                total_count: length(&volumes),
                reclaimable: Some(volumes.iter().filter(|one| !is_used(one)).map(volume_bytes).sum()),
                total_size: Some(volumes.iter().map(volume_bytes).sum()),
                items: Some(values(&volumes)),
            }),
            build_cache_usage: Some(docker::BuildCacheDiskUsage {
                active_count: i64::try_from(caches.iter().filter(cache_in_use).count()).ok(),
                total_count: length(&caches),
                reclaimable: Some(caches.iter().filter(|one| !cache_in_use(one)).map(cache_bytes).sum()),
                total_size: Some(caches.iter().map(cache_bytes).sum()),
                items: Some(values(&caches)),
            }),
        })
    }
}

fn length<T>(list: &[T]) -> Option<i64> {
    i64::try_from(list.len()).ok()
}

fn values<T: Serialize>(list: &[T]) -> Vec<serde_json::Value> {
    list.iter().filter_map(|one| serde_json::to_value(one).ok()).collect()
}
