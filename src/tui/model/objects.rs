//! Images, volumes and networks as their lists show them.

use super::container::image_name;
use super::table::{Item, Order};
use crate::client::models as docker;
use crate::tui::text::{clean, short_id};

/// An image's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub id: String,
    /// Its first tag, or `<none>` with the short id.
    pub name: String,
    pub tags: Vec<String>,
    /// Unix seconds.
    pub created: i64,
    pub size: u64,
    /// Bytes no other image shares; `None`: not known.
    pub unique: Option<u64>,
    /// Names of the containers that use it, running or not.
    pub users: Vec<String>,
}

impl Image {
    /// Reads the engine's summary.
    pub fn from_summary(summary: docker::ImageSummary) -> Image {
        let tags: Vec<String> =
            summary.repo_tags.iter().filter(|tag| !tag.starts_with("<none>")).map(|tag| image_name(tag)).collect();
        let digest = summary.repo_digests.iter().find(|digest| !digest.starts_with("<none>"));
        let name = match (tags.first(), digest) {
            (Some(tag), _) => tag.clone(),
            (None, Some(digest)) => {
                format!("{}@{}", image_name(digest), short_id(digest.rsplit('@').next().unwrap_or("")))
            }
            (None, None) => format!("<none> {}", short_id(&summary.id)),
        };
        Image {
            name,
            tags,
            created: summary.created,
            size: summary.size.max(0) as u64,
            unique: (summary.shared_size >= 0).then(|| (summary.size - summary.shared_size).max(0) as u64),
            users: Vec::new(),
            id: summary.id,
        }
    }
}

impl Item for Image {
    fn key(&self) -> &str {
        &self.id
    }
    fn title(&self) -> &str {
        &self.name
    }
    fn haystack(&self) -> String {
        format!("{} {}", self.tags.join(" "), short_id(&self.id))
    }
}

/// How images can be ordered.
pub const IMAGE_ORDERS: &[Order<Image>] = &[
    Order { name: "name", compare: |a, b| a.tags.is_empty().cmp(&b.tags.is_empty()).then_with(|| a.name.cmp(&b.name)) },
    Order { name: "size", compare: |a, b| b.size.cmp(&a.size) },
    Order { name: "newest", compare: |a, b| b.created.cmp(&a.created) },
];

/// A volume's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    pub name: String,
    /// What the list shows: anonymous volumes by their first digits.
    pub label: String,
    pub driver: String,
    pub mountpoint: String,
    pub size: Option<u64>,
    /// Names of the containers that mount it.
    pub users: Vec<String>,
}

impl Volume {
    /// Reads the engine's volume.
    pub fn from_engine(volume: docker::Volume) -> Volume {
        let usage = volume.usage_data.filter(|usage| usage.size >= 0);
        let is_anonymous = volume.name.len() == 64 && volume.name.bytes().all(|b| b.is_ascii_hexdigit());
        let label = if is_anonymous { format!("{} (anonymous)", short_id(&volume.name)) } else { clean(&volume.name) };
        Volume {
            label,
            driver: clean(&volume.driver),
            mountpoint: clean(&volume.mountpoint),
            size: usage.map(|usage| usage.size as u64),
            users: Vec::new(),
            name: volume.name,
        }
    }
}

impl Item for Volume {
    fn key(&self) -> &str {
        &self.name
    }
    fn title(&self) -> &str {
        &self.label
    }
    fn haystack(&self) -> String {
        format!("{} {}", self.name, self.driver)
    }
}

/// How volumes can be ordered.
pub const VOLUME_ORDERS: &[Order<Volume>] = &[
    Order { name: "name", compare: |a, b| a.label.cmp(&b.label) },
    Order { name: "size", compare: |a, b| b.size.cmp(&a.size) },
    Order { name: "unused first", compare: |a, b| a.users.len().cmp(&b.users.len()) },
];

/// A network's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub subnet: String,
    pub is_internal: bool,
    /// Names of the containers on it.
    pub users: Vec<String>,
}

impl Network {
    /// Reads the engine's network.
    pub fn from_engine(network: docker::NetworkSummary) -> Network {
        let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let subnet = configs.into_iter().find_map(|config| config.subnet).unwrap_or_default();
        Network {
            id: network.id.unwrap_or_default(),
            name: clean(&network.name.unwrap_or_default()),
            driver: clean(&network.driver.unwrap_or_default()),
            subnet: clean(&subnet),
            is_internal: network.internal.unwrap_or(false),
            users: Vec::new(),
        }
    }

    /// Networks every engine has, that cannot be removed.
    pub fn is_predefined(&self) -> bool {
        matches!(self.name.as_str(), "bridge" | "host" | "none")
    }
}

impl Item for Network {
    fn key(&self) -> &str {
        &self.id
    }
    fn title(&self) -> &str {
        &self.name
    }
    fn haystack(&self) -> String {
        format!("{} {} {}", self.name, self.driver, self.subnet)
    }
}

/// How networks can be ordered.
pub const NETWORK_ORDERS: &[Order<Network>] = &[
    Order { name: "name", compare: |a, b| a.name.cmp(&b.name) },
    Order { name: "driver", compare: |a, b| a.driver.cmp(&b.driver) },
    Order { name: "containers", compare: |a, b| b.users.len().cmp(&a.users.len()) },
];
