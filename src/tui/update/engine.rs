//! What the engine tells: lists, events, measurements.

use super::super::event::Listing;
use super::super::job::Target;
use super::super::model::Model;
use super::super::model::build::Build;
use super::super::model::container::{Container, State};
use super::super::model::objects::{Image, Network, Volume};
use super::super::model::stats::Sample;
use super::{Effect, Refresh};
use crate::client::models as docker;
use docker::EventMessageTypeEnum as Kind;
use std::collections::{BTreeMap, BTreeSet};

/// More changed containers than this at once: the whole list is read instead.
const MANY: usize = 12;

/// Reads again what the events say has changed, and only that.
pub(super) fn happened(model: &mut Model, messages: Vec<docker::EventMessage>) -> Vec<Effect> {
    let mut containers = BTreeSet::new();
    let (mut images, mut volumes, mut networks, mut builds) = (false, false, false, false);
    for message in messages {
        let actor = message.actor.unwrap_or_default();
        let id = actor.id.unwrap_or_default();
        let action = message.action.unwrap_or_default();
        match message.typ {
            Some(Kind::CONTAINER) => {
                if action.starts_with("exec_") || action == "top" || action == "resize" || action == "attach" {
                    continue;
                }
                match action.as_str() {
                    "oom" => {
                        model.out_of_memory.insert(id.clone());
                    }
                    "start" => {
                        model.out_of_memory.remove(&id);
                        if model.logs.container.as_deref() == Some(id.as_str()) {
                            if model.logs.ended.is_some() {
                                model.logs.resume();
                            } else {
                                model.logs.has_restarted = true;
                            }
                        }
                    }
                    _ => {}
                }
                containers.insert(id);
            }
            Some(Kind::IMAGE) => images = true,
            Some(Kind::VOLUME) => volumes = true,
            Some(Kind::BUILDER) => builds = true,
            Some(Kind::NETWORK) => {
                networks = true;
                // A container that joined or left shows it in its own row.
                containers.extend(actor.attributes.unwrap_or_default().remove("container"));
            }
            _ => {}
        }
    }
    let mut effects = Vec::new();
    match containers.len() {
        0 => {}
        1..=MANY => effects.push(Effect::Refresh(Refresh::SomeContainers(containers.iter().cloned().collect()))),
        _ => effects.push(Effect::Refresh(Refresh::Containers)),
    }
    let changes = [
        (images, Refresh::Images),
        (volumes, Refresh::Volumes),
        (networks, Refresh::Networks),
        (builds && model.knows_builds, Refresh::Builds),
    ];
    for (changed, refresh) in changes {
        if changed {
            effects.push(Effect::Refresh(refresh));
        }
    }
    let is_about_subject = match model.subject() {
        super::Subject::Container(id) => containers.contains(&id),
        super::Subject::Image(_) => images,
        super::Subject::Volume(_) => volumes,
        super::Subject::Network(_) => networks,
        _ => false,
    };
    if is_about_subject {
        model.version += 1;
    }
    effects
}

/// Takes a list that was read.
pub(super) fn listed(model: &mut Model, listing: Listing) {
    match listing {
        Listing::Containers(found) => {
            let rows = found.into_iter().map(|summary| row(model, summary)).collect();
            model.containers.set(rows);
            let known: BTreeSet<String> = model.containers.items().iter().map(|c| c.id.clone()).collect();
            model.stats.retain(|id, _| known.contains(id));
        }
        Listing::ContainersPart { asked, found } => {
            let found: Vec<Container> = found.into_iter().map(|summary| row(model, summary)).collect();
            for id in asked.iter().filter(|id| !found.iter().any(|c| c.id == **id)) {
                model.containers.remove(id);
                model.stats.remove(id);
            }
            for container in found {
                model.containers.put(container);
            }
        }
        Listing::Images(images) => model.images.set(images.into_iter().map(Image::from_summary).collect()),
        Listing::Volumes(volumes) => {
            let sizes: BTreeMap<String, Option<u64>> =
                model.volumes.items().iter().map(|volume| (volume.name.clone(), volume.size)).collect();
            let mut rows: Vec<Volume> = volumes.into_iter().map(Volume::from_engine).collect();
            for volume in rows.iter_mut().filter(|volume| volume.size.is_none()) {
                volume.size = sizes.get(&volume.name).copied().flatten();
            }
            model.volumes.set(rows);
        }
        Listing::Networks(networks) => {
            model.networks.set(networks.into_iter().map(Network::from_engine).collect());
        }
        Listing::Builds(found) => {
            // An engine that tells of builds tells of ours too.
            model.knows_builds = true;
            let now = model.now;
            model.builds.set(found.into_iter().map(|entry| Build::from_engine(entry, now)).collect());
        }
        Listing::Usage(usage) => {
            for (name, size, _) in &usage.volumes {
                if let Some(volume) = model.volumes.get_mut(name) {
                    volume.size = Some(*size);
                }
            }
            for (id, size) in &usage.containers {
                if let Some(container) = model.containers.get_mut(id) {
                    container.size = Some(*size);
                }
            }
            for (id, size) in &usage.images {
                if let Some(image) = model.images.get_mut(id) {
                    image.unique = Some(*size);
                }
            }
            model.build_cache = Some(usage.build_cache);
        }
        Listing::Facts(facts) => model.facts = Some(facts),
        Listing::Address(address) => {
            let is_new = model.address.as_ref().is_some_and(|old| *old != address);
            if is_new {
                model.say(super::Weight::Info, format!("the engine is now {}", super::super::text::clean(&address)));
            }
            model.address = Some(address);
        }
    }
    name_users(model);
    awaited(model);
    model.touch();
}

fn row(model: &Model, summary: docker::ContainerSummary) -> Container {
    let mut container = Container::from_summary(summary);
    if let State::Exited { out_of_memory, code: 137 } = &mut container.state {
        *out_of_memory = model.out_of_memory.contains(&container.id);
    }
    if let Some(old) = model.containers.get(&container.id) {
        container.size = container.size.or(old.size);
        if container.state == State::Running {
            (container.cpu, container.memory) = (old.cpu, old.memory);
        }
    }
    container
}

/// Notes at images, volumes and networks which containers use them.
fn name_users(model: &mut Model) {
    let mut images: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut volumes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut networks: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for container in model.containers.items() {
        images.entry(&container.image_id).or_default().push(container.name.clone());
        for volume in &container.volumes {
            volumes.entry(volume).or_default().push(container.name.clone());
        }
        for network in &container.networks {
            networks.entry(network).or_default().push(container.name.clone());
        }
    }
    for image in model.images.items_mut() {
        image.users = images.remove(image.id.as_str()).unwrap_or_default();
    }
    for volume in model.volumes.items_mut() {
        volume.users = volumes.remove(volume.name.as_str()).unwrap_or_default();
    }
    for network in model.networks.items_mut() {
        network.users = networks.remove(network.name.as_str()).unwrap_or_default();
    }
}

/// A container was made and will be listed in a moment: the cursor goes to it then.
pub(super) fn expect(model: &mut Model, made: Target) {
    model.expected = Some(made.id);
    awaited(model);
}

fn awaited(model: &mut Model) {
    if let Some(id) = model.expected.clone()
        && model.containers.select(&id)
    {
        model.expected = None;
        model.pane = super::super::model::Pane::Containers;
    }
}

/// Takes one measurement.
pub(super) fn measured(model: &mut Model, id: String, sample: Sample) {
    let series = model.stats.entry(id.clone()).or_default();
    series.push(sample);
    let point = series.latest().copied().unwrap_or_default();
    if let Some(container) = model.containers.get_mut(&id) {
        container.cpu = point.cpu;
        container.memory = point.memory;
    }
    // Rows that jump each second cannot be read.
    let is_by_load = matches!(model.containers.orders().get(model.containers.order().0), Some(&("cpu" | "memory")));
    if is_by_load && model.now.duration_since(model.arranged).as_secs() >= 3 {
        model.containers.arrange();
        model.arranged = model.now;
    }
    model.touch_soon();
}
