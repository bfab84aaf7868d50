//! Showing images: list with Docker's filters, inspect, history.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bollard_stubs::models as docker;
use jiff::Timestamp;

use crate::engine::error::EngineError;
use crate::engine::filters::Filters;
use crate::engine::layer::ChainId;

use super::pattern::glob;
use super::store::Shared;
use super::{HistoryEntry, Image, ImageId, Images, ListImages, Reference};

const KNOWN_FILTERS: &[&str] = &["dangling", "label", "label!", "before", "since", "reference", "until"];

impl Images {
    /// Lists images, newest first.
    ///
    /// # Errors
    /// `InvalidParameter` for a filter that does not exist.
    pub fn list(&self, list: &ListImages) -> Result<Vec<docker::ImageSummary>, EngineError> {
        let filters = Filters::from(list.filters.clone());
        filters.accept(KNOWN_FILTERS)?;
        let dangling = filters.flag("dangling")?;
        let until = filters.instant("until", Timestamp::now())?;
        let bound = |key| -> Result<Option<Timestamp>, EngineError> {
            filters.get(key).first().map(|name| self.shared.find(name).map(|image| created(&image))).transpose()
        };
        let (before, since) = (bound("before")?, bound("since")?);

        let (images, mut names) = self.shared.snapshot();
        let parents: HashSet<ImageId> = images.iter().filter_map(|image| image.parent).collect();
        let no_labels = HashMap::new();
        let mut shown = Vec::new();
        for image in &images {
            let own = names.remove(&image.id).unwrap_or_default();
            let is_dangling = !own.iter().any(|name| name.digest().is_none());
            let made = created(image);
            // Steps of a build that others stand on are shown only on demand.
            let is_hidden = !list.all && own.is_empty() && parents.contains(&image.id);
            let fits = !is_hidden
                && dangling.is_none_or(|wanted| wanted == is_dangling)
                && until.is_none_or(|until| made <= until)
                && before.is_none_or(|before| made < before)
                && since.is_none_or(|since| made > since)
                && filters.labels(image.config.config.labels.as_ref().unwrap_or(&no_labels));
            if !fits {
                continue;
            }
            let own = match filters.get("reference") {
                [] => own,
                patterns => {
                    let own: Vec<Reference> = own.into_iter().filter(|name| fits_pattern(name, patterns)).collect();
                    if own.is_empty() {
                        continue;
                    }
                    own
                }
            };
            shown.push((made, self.summary(image, &own)));
        }
        shown.sort_by(|(one, _), (other, _)| other.cmp(one));
        let mut shown: Vec<docker::ImageSummary> = shown.into_iter().map(|(_, summary)| summary).collect();
        if list.shared_size {
            self.fill_shared_sizes(&mut shown, &images);
        }
        Ok(shown)
    }

    /// Everything known of one image.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn inspect(&self, name: &str) -> Result<docker::ImageInspect, EngineError> {
        let image = self.shared.find(name)?;
        let names = self.shared.names_of(&image.id);
        let (tags, digests) = split_names(&names);
        let config = &image.config;
        Ok(docker::ImageInspect {
            id: Some(image.id.to_string()),
            repo_tags: Some(tags),
            repo_digests: Some(digests),
            comment: Some(comment_of(&image)),
            created: config.created.clone(),
            author: Some(config.author.clone().unwrap_or_default()),
            config: Some(config.config.clone()),
            architecture: Some(config.architecture.clone()),
            variant: config.variant.clone(),
            os: Some(if config.os.is_empty() { "linux".to_owned() } else { config.os.clone() }),
            os_version: config.os_version.clone(),
            size: Some(signed(image.size)),
            graph_driver: Some(self.driver_data(&image)),
            root_fs: Some(docker::ImageInspectRootFs {
                typ: "layers".to_owned(),
                layers: Some(config.rootfs.diff_ids.iter().map(ToString::to_string).collect()),
            }),
            metadata: Some(docker::ImageInspectMetadata {
                last_tag_time: Some(image.tagged_at.clone().unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned())),
            }),
            ..docker::ImageInspect::default()
        })
    }

    /// How an image came to be, newest step first.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn history(&self, name: &str) -> Result<Vec<docker::ImageHistoryResponseItem>, EngineError> {
        let image = self.shared.find(name)?;
        let mut layers = image.layers.iter();
        let fallback = HistoryEntry::default();
        let mut steps: Vec<docker::ImageHistoryResponseItem> = Vec::new();
        // An image without a history still has layers to show.
        let entries: Vec<&HistoryEntry> = match image.config.history.as_slice() {
            [] => image.layers.iter().map(|_| &fallback).collect(),
            entries => entries.iter().collect(),
        };
        for entry in entries {
            let layer = if entry.empty_layer { None } else { layers.next() };
            let size = layer.and_then(|chain| self.layers().get(chain)).map_or(0, |layer| layer.size);
            steps.push(docker::ImageHistoryResponseItem {
                id: "<missing>".to_owned(),
                created: entry.created.as_deref().and_then(parse_time).unwrap_or_default().as_second(),
                created_by: entry.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size: signed(size),
                comment: entry.comment.clone().unwrap_or_default(),
            });
        }
        steps.reverse();
        // The newest step is the image itself; steps of ours that are images of their own are named too.
        let mut next = Some(Arc::clone(&image));
        for step in &mut steps {
            let Some(named) = next else { break };
            step.id = named.id.to_string();
            step.tags = self.tags_of(&named.id);
            next = named.parent.and_then(|parent| self.shared.index().images.get(&parent).cloned());
        }
        Ok(steps)
    }

    fn summary(&self, image: &Image, names: &[Reference]) -> docker::ImageSummary {
        let (repo_tags, repo_digests) = split_names(names);
        docker::ImageSummary {
            id: image.id.to_string(),
            parent_id: image.parent.map(|parent| parent.to_string()).unwrap_or_default(),
            repo_tags,
            repo_digests,
            created: created(image).as_second(),
            size: signed(image.size),
            shared_size: -1,
            labels: image.config.config.labels.clone().unwrap_or_default(),
            containers: i64::try_from(self.shared.users_of(&image.id).len()).unwrap_or(i64::MAX),
            manifests: None,
            descriptor: None,
        }
    }

    /// Bytes of an image's layers that another image has too.
    fn fill_shared_sizes(&self, shown: &mut [docker::ImageSummary], images: &[Arc<Image>]) {
        let mut owners: HashMap<ChainId, u32> = HashMap::new();
        for chain in images.iter().flat_map(|image| &image.layers) {
            *owners.entry(*chain).or_default() += 1;
        }
        for summary in shown {
            let Some(image) = images.iter().find(|image| image.id.to_string() == summary.id) else { continue };
            let shared = image.layers.iter().filter(|chain| owners.get(chain).is_some_and(|count| *count > 1));
            summary.shared_size =
                signed(shared.filter_map(|chain| self.layers().get(chain)).map(|layer| layer.size).sum());
        }
    }

    fn driver_data(&self, image: &Image) -> docker::DriverData {
        let lowers = image.top.and_then(|top| self.layers().lowers(&top).ok()).unwrap_or_default();
        let mut dirs = lowers.iter().map(|dir| dir.display().to_string());
        let mut data = HashMap::new();
        if let Some(upper) = dirs.next() {
            data.insert("UpperDir".to_owned(), upper);
        }
        let rest: Vec<String> = dirs.collect();
        if !rest.is_empty() {
            data.insert("LowerDir".to_owned(), rest.join(":"));
        }
        docker::DriverData { name: "overlay2".to_owned(), data }
    }
}

impl Shared {
    /// All images, and the names of each.
    pub fn snapshot(&self) -> (Vec<Arc<Image>>, HashMap<ImageId, Vec<Reference>>) {
        let index = self.index();
        let mut names: HashMap<ImageId, Vec<Reference>> = HashMap::new();
        for (name, id) in &index.names {
            names.entry(*id).or_default().push(name.clone());
        }
        (index.images.values().cloned().collect(), names)
    }
}

/// When an image was made; the epoch where it does not say.
pub(super) fn created(image: &Image) -> Timestamp {
    image.config.created.as_deref().and_then(parse_time).unwrap_or_default()
}

fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// What was said at commit or import: the configuration's comment, else the last step's.
fn comment_of(image: &Image) -> String {
    let last = image.config.history.last().and_then(|step| step.comment.clone());
    image.config.comment.clone().filter(|comment| !comment.is_empty()).or(last).unwrap_or_default()
}

fn split_names(names: &[Reference]) -> (Vec<String>, Vec<String>) {
    let (digests, tags): (Vec<&Reference>, Vec<&Reference>) = names.iter().partition(|name| name.digest().is_some());
    let shown = |names: Vec<&Reference>| names.into_iter().map(Reference::familiar).collect();
    (shown(tags), shown(digests))
}

/// Docker's `reference` filter: a shell pattern over the familiar name, with or without the tag.
fn fits_pattern(name: &Reference, patterns: &[String]) -> bool {
    let (whole, bare) = (name.familiar(), name.familiar_name());
    patterns.iter().any(|pattern| glob(pattern, &whole) || glob(pattern, &bare))
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
