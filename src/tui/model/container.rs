//! A container as the list shows it.

use super::table::{Item, Order};
use crate::client::models as docker;
use crate::tui::text::{clean, short_id};
use docker::{ContainerSummaryHealthStatusEnum as HealthStatus, ContainerSummaryStateEnum as StateEnum};
use std::cmp::Ordering;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited { code: i64, out_of_memory: bool },
    Dead,
}

impl State {
    /// Whether it has processes.
    pub fn is_alive(self) -> bool {
        matches!(self, State::Running | State::Paused | State::Restarting)
    }

    /// The state in a word or two.
    pub fn words(self) -> String {
        let words = match self {
            State::Created => "created",
            State::Running => "running",
            State::Paused => "paused",
            State::Restarting => "restarting",
            State::Removing => "removing",
            State::Dead => "dead",
            State::Exited { out_of_memory: true, code } => return format!("{code} out of mem"),
            State::Exited { code: 0, .. } => "exited",
            State::Exited { code: 126, .. } => "126 not runnable",
            State::Exited { code: 127, .. } => "127 no command",
            State::Exited { code: 137, .. } => "137 killed",
            State::Exited { code: 139, .. } => "139 crashed",
            State::Exited { code: 143, .. } => "143 terminated",
            State::Exited { code, .. } => return format!("exited {code}"),
        };
        words.to_owned()
    }

    fn rank(self) -> u8 {
        match self {
            State::Restarting => 0,
            State::Running => 1,
            State::Paused => 2,
            State::Removing => 3,
            State::Created => 4,
            State::Exited { .. } => 5,
            State::Dead => 6,
        }
    }
}

/// A container's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The name inside its compose project, else its name.
    pub label: String,
    pub project: Option<String>,
    pub image: String,
    pub image_id: String,
    pub command: String,
    pub state: State,
    /// Docker's sentence, e.g. `Up 3 minutes (healthy)`.
    pub status: String,
    pub health: Option<&'static str>,
    /// Unix seconds.
    pub created: i64,
    /// `8080→80`, published ports only.
    pub ports: Vec<String>,
    pub networks: Vec<String>,
    /// Names of its volumes.
    pub volumes: Vec<String>,
    /// Latest measurement, for the list and its order: share of a core in percent, bytes.
    pub cpu: f64,
    pub memory: u64,
    /// Bytes it has written, where they were asked for.
    pub size: Option<u64>,
}

impl Container {
    /// Reads the engine's summary.
    pub fn from_summary(summary: docker::ContainerSummary) -> Container {
        let labels = summary.labels.unwrap_or_default();
        let names = summary.names.unwrap_or_default();
        let id = summary.id.unwrap_or_default();
        // A linked container also carries names like /other/alias; its own has no further slash.
        let name = names.iter().map(|n| n.trim_start_matches('/')).find(|n| !n.contains('/')).unwrap_or("");
        let name = if name.is_empty() { short_id(&id).to_owned() } else { clean(name) };
        let project = labels.get("com.docker.compose.project").map(|p| clean(p)).filter(|p| !p.is_empty());
        let number = labels.get("com.docker.compose.container-number").map(String::as_str);
        let label = match (&project, labels.get("com.docker.compose.service")) {
            (Some(_), Some(service)) => match number {
                None | Some("1") => clean(service),
                Some(number) => format!("{}-{}", clean(service), clean(number)),
            },
            _ => name.clone(),
        };
        let status = clean(&summary.status.unwrap_or_default());
        let health = summary.health.and_then(|health| match health.status? {
            HealthStatus::HEALTHY => Some("healthy"),
            HealthStatus::UNHEALTHY => Some("unhealthy"),
            HealthStatus::STARTING => Some("starting"),
            _ => None,
        });
        let mut ports: Vec<String> = summary.ports.unwrap_or_default().iter().filter_map(published).collect();
        ports.sort();
        ports.dedup();
        let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let mut networks: Vec<String> = networks.into_keys().map(|name| clean(&name)).collect();
        networks.sort();
        Container {
            name,
            label,
            project,
            image: image_name(&summary.image.unwrap_or_default()),
            image_id: summary.image_id.unwrap_or_default(),
            command: clean(&summary.command.unwrap_or_default()),
            state: state(summary.state, &status),
            health: health.or_else(|| health_in(&status)),
            status,
            created: summary.created.unwrap_or_default(),
            ports,
            networks,
            volumes: summary.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.name).collect(),
            cpu: 0.0,
            memory: 0,
            size: summary.size_rw.and_then(|size| u64::try_from(size).ok()),
            id,
        }
    }
}

fn health_in(status: &str) -> Option<&'static str> {
    [("(healthy)", "healthy"), ("(unhealthy)", "unhealthy"), ("(health: starting)", "starting")]
        .into_iter()
        .find(|(mark, _)| status.contains(mark))
        .map(|(_, word)| word)
}

/// An image's name as people write it: ids shortened, the default registry left out.
pub fn image_name(name: &str) -> String {
    let name = clean(name);
    if let Some(id) = name.strip_prefix("sha256:") {
        return short_id(id).to_owned();
    }
    let name = name.strip_prefix("docker.io/library/").or_else(|| name.strip_prefix("docker.io/")).unwrap_or(&name);
    name.split('@').next().unwrap_or(name).to_owned()
}

fn published(port: &docker::PortSummary) -> Option<String> {
    let public = port.public_port?;
    let protocol = port.typ.map(|t| t.to_string()).unwrap_or_else(|| "tcp".to_owned());
    let protocol = if protocol == "tcp" { String::new() } else { format!("/{protocol}") };
    Some(format!("{public}→{}{protocol}", port.private_port))
}

fn state(state: Option<StateEnum>, status: &str) -> State {
    match state {
        Some(StateEnum::CREATED) => State::Created,
        Some(StateEnum::RUNNING | StateEnum::STOPPING) => State::Running,
        Some(StateEnum::PAUSED) => State::Paused,
        Some(StateEnum::RESTARTING) => State::Restarting,
        Some(StateEnum::REMOVING) => State::Removing,
        Some(StateEnum::DEAD) => State::Dead,
        Some(StateEnum::EXITED | StateEnum::EMPTY) | None => {
            let code = status.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code);
            State::Exited { code: code.and_then(|code| code.parse().ok()).unwrap_or(0), out_of_memory: false }
        }
    }
}

impl Item for Container {
    fn key(&self) -> &str {
        &self.id
    }
    fn title(&self) -> &str {
        &self.label
    }
    fn haystack(&self) -> String {
        format!("{} {} {} {}", self.name, self.image, self.state.words(), self.ports.join(" "))
    }
    fn group(&self) -> Option<&str> {
        self.project.as_deref()
    }
    fn is_active(&self) -> bool {
        self.state.is_alive()
    }
}

/// How containers can be ordered.
pub const ORDERS: &[Order<Container>] = &[
    Order { name: "name", compare: |a, b| a.label.cmp(&b.label) },
    Order { name: "state", compare: |a, b| a.state.rank().cmp(&b.state.rank()) },
    Order { name: "newest", compare: |a, b| b.created.cmp(&a.created) },
    Order { name: "cpu", compare: |a, b| b.cpu.partial_cmp(&a.cpu).unwrap_or(Ordering::Equal) },
    Order { name: "memory", compare: |a, b| b.memory.cmp(&a.memory) },
    Order { name: "image", compare: |a, b| a.image.cmp(&b.image) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_becomes_a_row() {
        let summary: docker::ContainerSummary = serde_json::from_value(serde_json::json!({
            "Id": "abc", "Names": ["/other/db", "/shop-web-1"], "Image": "docker.io/library/nginx:1.27",
            "State": "exited", "Status": "Exited (3) 2 minutes ago",
            "Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web",
                       "com.docker.compose.container-number": "1"},
            "Ports": [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                      {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                      {"PrivatePort": 9, "Type": "udp"}],
        }))
        .unwrap();
        let row = Container::from_summary(summary);
        assert_eq!(
            (row.name.as_str(), row.label.as_str(), row.project.as_deref()),
            ("shop-web-1", "web", Some("shop"))
        );
        assert_eq!(row.state, State::Exited { code: 3, out_of_memory: false });
        assert_eq!(row.image, "nginx:1.27");
        assert_eq!(row.ports, ["8080→80"]);
    }

    #[test]
    fn a_container_without_names_has_its_short_id() {
        let summary = docker::ContainerSummary { id: Some("0123456789abcdef".into()), ..Default::default() };
        assert_eq!(Container::from_summary(summary).name, "0123456789ab");
    }
}
