//! `docker ps`: which containers are shown, and how.

use std::collections::HashMap;
use std::sync::Arc;

use bollard_stubs::models as docker;
use jiff::Timestamp;

use super::live::Container;
use super::merge::{command_line, command_text};
use super::options::ListContainers;
use super::record::ContainerRecord;
use super::remove::written_bytes;
use super::room::Room;
use super::status::status_text;
use crate::engine::EngineError;
use crate::engine::filters::Filters;
use crate::engine::image::ImageId;
use crate::engine::network::ports::summaries;

const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const STATES: &[&str] = &["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// Filters whose values name other objects, looked up once.
#[derive(Default)]
struct Resolved {
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    ancestors: Option<Vec<ImageId>>,
    exit_codes: Vec<i64>,
    networks: Vec<String>,
}

impl Room {
    /// `GET /containers/json`.
    pub async fn list(&self, options: ListContainers) -> Result<Vec<docker::ContainerSummary>, EngineError> {
        let filters = &options.filters;
        let resolved = self.resolve(filters)?;
        let shows_all = options.all || options.limit.is_some() || filters.has("status");
        let mut shown = Vec::new();
        for container in self.index.all() {
            let record = container.record();
            if !shows_all && !record.state.is_running() {
                continue;
            }
            if matches(&record, filters, &resolved) {
                shown.push((container, record));
            }
            if options.limit.is_some_and(|limit| shown.len() >= limit) {
                break;
            }
        }
        let now = Timestamp::now();
        let mut names = HashMap::new();
        let mut summaries = Vec::with_capacity(shown.len());
        for (container, record) in shown {
            let image = names
                .entry((record.image, record.config.image.clone()))
                .or_insert_with(|| self.image_name(&record))
                .clone();
            let mut summary = summary(&record, image, now);
            if options.size {
                let (written, whole) = self.sizes(&container, &record).await?;
                (summary.size_rw, summary.size_root_fs) = (Some(written), Some(whole));
            }
            summaries.push(summary);
        }
        Ok(summaries)
    }

    fn resolve(&self, filters: &Filters) -> Result<Resolved, EngineError> {
        filters.accept(FILTERS)?;
        for status in filters.get("status") {
            if !STATES.contains(&status.as_str()) {
                return Err(EngineError::invalid(format!("invalid filter 'status={status}'")));
            }
        }
        for health in filters.get("health") {
            if !["none", "starting", "healthy", "unhealthy"].contains(&health.as_str()) {
                return Err(EngineError::invalid(format!("invalid filter 'health={health}'")));
            }
        }
        filters.flag("is-task")?;
        let created = |name: &str| match filters.get(name) {
            [] => Ok(None),
            [one, ..] => self.index.find(one).map(|container| Some(container.record().created)),
        };
        let exit_codes = filters
            .get("exited")
            .iter()
            .map(|code| code.parse().map_err(|_| EngineError::invalid(format!("invalid filter 'exited=[{code}]'"))))
            .collect::<Result<_, _>>()?;
        let ancestors = filters.has("ancestor").then(|| {
            let ids = filters.get("ancestor").iter().filter_map(|name| self.rooms.images.find(name).ok());
            ids.map(|image| image.id).collect()
        });
        let names = filters.get("network").iter();
        let networks = names
            .map(|name| self.rooms.networks.find(name).map_or_else(|_| name.clone(), |found| found.name))
            .collect();
        Ok(Resolved { before: created("before")?, since: created("since")?, ancestors, exit_codes, networks })
    }

    /// The name it was made by, as long as that still means the same image; else the image's ID.
    pub fn image_name(&self, record: &ContainerRecord) -> String {
        let name = record.config.image.clone().unwrap_or_default();
        let Some(id) = &record.image else { return name };
        match self.rooms.images.find(&name) {
            Ok(image) if image.id == *id => name,
            _ => id.to_string(),
        }
    }

    /// What it wrote, and that with its image. Walks the disk.
    pub async fn sizes(&self, container: &Arc<Container>, record: &ContainerRecord) -> Result<(i64, i64), EngineError> {
        let upper = container.folder.upper();
        let written = Self::blocking(move || Ok(written_bytes(&upper))).await?;
        let image = record.image.as_ref().and_then(|id| self.rooms.images.get(id)).map_or(0, |image| image.size);
        Ok((written, written.saturating_add(i64::try_from(image).unwrap_or(i64::MAX))))
    }
}

fn matches(record: &ContainerRecord, filters: &Filters, resolved: &Resolved) -> bool {
    let code = record.state.exit().map(|exit| exit.code);
    let is_stopped = !record.state.is_running();
    let exited =
        resolved.exit_codes.is_empty() || (is_stopped && code.is_some_and(|code| resolved.exit_codes.contains(&code)));
    let health = record.health().unwrap_or("none");
    let ancestor =
        resolved.ancestors.as_ref().is_none_or(|ids| record.image.as_ref().is_some_and(|image| ids.contains(image)));
    let network = resolved.networks.is_empty()
        || record.networks.iter().any(|(name, place)| {
            let id = place.endpoint.as_ref().map_or("", |endpoint| endpoint.network_id.as_str());
            resolved.networks.iter().any(|wanted| wanted == name || (!id.is_empty() && id.starts_with(wanted.as_str())))
        });
    filters.prefix("id", &record.id)
        && (filters.pattern("name", &record.name) || filters.pattern("name", &format!("/{}", record.name)))
        && filters.labels(&record.labels())
        && filters.exact("status", record.state.word())
        && filters.exact("health", health)
        && filters.flag("is-task").ok().flatten() != Some(true)
        && resolved.before.is_none_or(|before| record.created < before)
        && resolved.since.is_none_or(|since| record.created > since)
        && exited
        && ancestor
        && network
        && volume_matches(record, filters)
        && port_matches(filters, "publish", &published_ports(record))
        && port_matches(filters, "expose", &record.exposed_ports())
}

fn volume_matches(record: &ContainerRecord, filters: &Filters) -> bool {
    !filters.has("volume")
        || record.mounts.iter().any(|point| {
            let source = point.source.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
            filters.get("volume").iter().any(|wanted| {
                point.volume.as_deref() == Some(wanted) || *wanted == source || *wanted == point.request.target
            })
        })
}

fn published_ports(record: &ContainerRecord) -> Vec<String> {
    let live = record.endpoints().flat_map(|endpoint| &endpoint.ports).map(|port| port.container.to_string());
    let asked = record.host_config.port_bindings.iter().flatten().map(|(port, _)| port.clone());
    live.chain(asked).collect()
}

/// `80`, `80/tcp` or `8000-8010/tcp` against ports like `80/tcp`.
fn port_matches(filters: &Filters, name: &str, have: &[String]) -> bool {
    let parse = |text: &str| -> Option<(u16, u16, String)> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        Some((first.parse().ok()?, last.parse().ok()?, protocol.to_ascii_lowercase()))
    };
    !filters.has(name)
        || filters.get(name).iter().filter_map(|wanted| parse(wanted)).any(|(first, last, protocol)| {
            have.iter()
                .filter_map(|port| parse(port))
                .any(|(port, end, kind)| kind == protocol && port <= last && end >= first)
        })
}

fn summary(record: &ContainerRecord, image: String, now: Timestamp) -> docker::ContainerSummary {
    let networks = record.networks.iter().map(|(name, place)| (name.clone(), settings(place))).collect();
    let published: Vec<_> = record.endpoints().flat_map(|endpoint| &endpoint.ports).collect();
    // A container that does not run listens nowhere.
    let exposed = if record.state.is_running() { record.exposed_ports() } else { Vec::new() };
    docker::ContainerSummary {
        id: Some(record.id.clone()),
        names: Some(vec![format!("/{}", record.name)]),
        image: Some(image),
        image_id: Some(record.image.as_ref().map(ToString::to_string).unwrap_or_default()),
        command: Some(command_text(&command_line(&record.config))),
        created: Some(record.created.as_second()),
        ports: Some(summaries(&exposed, published)),
        labels: Some(record.labels()),
        state: Some(record.state.summary()),
        status: Some(status_text(&record.state, record.health(), now)),
        host_config: Some(docker::ContainerSummaryHostConfig {
            network_mode: Some(record.network_mode().to_owned()),
            annotations: record.host_config.annotations.clone(),
        }),
        network_settings: Some(docker::ContainerSummaryNetworkSettings { networks: Some(networks) }),
        mounts: Some(record.mounts.iter().filter_map(crate::engine::volume::MountedPoint::point).collect()),
        ..Default::default()
    }
}

/// A network place as the API shows it: what it has while it runs, over what was asked.
pub fn settings(place: &super::record::NetworkPlace) -> docker::EndpointSettings {
    let asked = &place.asked;
    let mut shown = match &place.endpoint {
        Some(endpoint) => endpoint.settings(),
        None => docker::EndpointSettings {
            mac_address: Some(asked.mac_address.clone().unwrap_or_default()),
            aliases: asked.aliases.clone(),
            gw_priority: Some(0),
            network_id: Some(asked.network_id.clone().unwrap_or_default()),
            endpoint_id: Some(String::new()),
            gateway: Some(String::new()),
            ip_address: Some(String::new()),
            ip_prefix_len: Some(0),
            ipv6_gateway: Some(String::new()),
            global_ipv6_address: Some(String::new()),
            global_ipv6_prefix_len: Some(0),
            ..Default::default()
        },
    };
    shown.ipam_config.clone_from(&asked.ipam_config);
    shown.links.clone_from(&asked.links);
    shown.driver_opts.clone_from(&asked.driver_opts);
    shown
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::record::VERSION;
    use super::super::state::State;
    use super::super::state::tests::{at, exited, running};
    use super::*;

    pub fn record(name: &str, state: State) -> ContainerRecord {
        ContainerRecord {
            version: VERSION,
            id: format!("{name:0<64}"),
            name: name.to_owned(),
            created: at("2026-01-01T00:00:00Z"),
            image: None,
            top: None,
            config: docker::ContainerConfig {
                image: Some("busybox".to_owned()),
                cmd: Some(vec!["sh".to_owned()]),
                exposed_ports: Some(vec!["80/tcp".to_owned()]),
                labels: Some(HashMap::from([("tier".to_owned(), "web".to_owned())])),
                ..Default::default()
            },
            host_config: docker::HostConfig::default(),
            networks: Default::default(),
            mounts: Vec::new(),
            state,
            restart_count: 0,
            last_exit: None,
            is_stopped_by_person: false,
            terminal: None,
            health: None,
        }
    }

    #[test]
    fn filters_choose_as_docker_does() {
        let web = record("web", exited(3));
        let check = |name: &str, value: &str, expected: bool| {
            let filters = Filters::default().with(name, value);
            let codes = filters.get("exited").iter().filter_map(|code| code.parse().ok()).collect();
            let resolved = Resolved { exit_codes: codes, ..Resolved::default() };
            assert_eq!(matches(&web, &filters, &resolved), expected, "{name}={value}");
        };
        check("name", "we", true);
        check("name", "^/web$", true);
        check("name", "^eb", false);
        check("id", "web0", true);
        check("label", "tier=web", true);
        check("label", "tier=db", false);
        check("status", "exited", true);
        check("status", "running", false);
        check("exited", "3", true);
        check("exited", "0", false);
        check("expose", "80", true);
        check("expose", "8000-9000/tcp", false);
        check("health", "none", true);
    }

    #[test]
    fn a_row_says_what_docker_ps_shows() {
        let row = summary(&record("web", running()), "busybox".to_owned(), at("2026-01-01T00:00:05Z"));
        assert_eq!(row.names, Some(vec!["/web".to_owned()]));
        assert_eq!(row.status.as_deref(), Some("Up 5 seconds"));
        assert_eq!(row.ports.map(|ports| ports.len()), Some(1));
        assert_eq!(row.command.as_deref(), Some("sh"));
    }
}
