//! Actions on images, volumes, networks and builds.

use super::containers::{ask, begin, names};
use super::global::open;
use super::{Action, Scope, always};
use crate::tui::effect::{Effect, Refresh};
use crate::tui::form::Form;
use crate::tui::job::{Job, PruneKind, Target};
use crate::tui::model::Model;
use crate::tui::model::build::Outcome;
use crate::tui::model::objects::Image;
use crate::tui::model::overlay::{Confirm, Doom, Overlay};
use crate::tui::text;

const fn row(
    scope: Scope,
    name: &'static str,
    keys: &'static [&'static str],
    hint: &'static str,
    help: &'static str,
    ready: fn(&Model) -> Result<(), String>,
    run: fn(&mut Model) -> Vec<Effect>,
) -> Action {
    Action { name, scope, keys, hint, help, ready, run }
}

/// See [`super::ACTIONS`].
pub const IMAGES: &[Action] = &[
    row(Scope::Images, "image.run", &["n"], "run", "Create and start a container of it", always, |model| {
        if model.containers.is_loaded && model.images.is_loaded && model.images.items().is_empty() {
            return first_container(model);
        }
        let image = model.images.selected().and_then(|image| image.tags.first().cloned()).unwrap_or_default();
        let form = run_form(model, &image);
        open(model, Overlay::Form(form))
    }),
    row(
        Scope::Images,
        "image.pull",
        &["u"],
        "pull",
        "Pull it again, to bring it up to date",
        super::has_subject,
        |model| match model.images.selected().and_then(|image| image.tags.first().cloned()) {
            Some(reference) => vec![begin(model, Job::Pull { reference })],
            None => open(model, Overlay::Form(Form::pull(""))),
        },
    ),
    row(
        Scope::Images,
        "image.remove",
        &["d", "delete"],
        "remove",
        "Remove, after asking",
        super::has_subject,
        remove_images,
    ),
    row(Scope::Images, "image.tag", &["t"], "tag", "Give it another name", super::has_subject, |model| {
        match model.images.selected().map(target) {
            Some(target) => open(model, Overlay::Form(Form::tag(target))),
            None => Vec::new(),
        }
    }),
];

/// See [`super::ACTIONS`].
pub const VOLUMES: &[Action] = &[
    row(Scope::Volumes, "volume.create", &["n"], "new", "Create a volume", always, |model| {
        open(model, Overlay::Form(Form::volume()))
    }),
    row(
        Scope::Volumes,
        "volume.remove",
        &["d", "delete"],
        "remove",
        "Remove, after asking",
        super::has_subject,
        |model| {
            let chosen = model.volumes.targets();
            let lines = chosen.iter().map(|volume| {
                let size = volume.size.map_or_else(|| "size unknown".to_owned(), text::size);
                let users = if volume.users.is_empty() {
                    String::new()
                } else {
                    format!("  used by {}", volume.users.join(", "))
                };
                format!("{}  {size}{users}", volume.label)
            });
            let lines = lines.collect();
            let known: Option<u64> = chosen.iter().map(|volume| volume.size).sum();
            let names: Vec<String> = chosen.iter().map(|volume| volume.name.clone()).collect();
            let confirm = Confirm {
                title: match chosen.as_slice() {
                    [one] => format!("Remove volume {}?", one.label),
                    many => format!("Remove {}?", text::count(many.len(), "volume")),
                },
                doom: Doom::Volumes(names),
                lines,
                note: match known {
                    Some(bytes) => format!("The data is lost for good. Frees {}.", text::size(bytes)),
                    None => "The data is lost for good.".to_owned(),
                },
                verb: "remove",
                options: Vec::new(),
            };
            ask(model, confirm)
        },
    ),
];

/// See [`super::ACTIONS`].
pub const NETWORKS: &[Action] = &[
    row(Scope::Networks, "network.create", &["n"], "new", "Create a network", always, |model| {
        open(model, Overlay::Form(Form::network()))
    }),
    row(
        Scope::Networks,
        "network.connect",
        &["c"],
        "connect",
        "Connect a container to it",
        super::has_subject,
        |model| {
            let containers = model.containers.items().iter().map(|c| c.name.clone()).collect();
            match model.networks.selected().map(|n| Target::new(n.id.clone(), n.name.clone())) {
                Some(network) => open(model, Overlay::Form(Form::connect(network, containers))),
                None => Vec::new(),
            }
        },
    ),
    row(
        Scope::Networks,
        "network.remove",
        &["d", "delete"],
        "remove",
        "Remove, after asking",
        |model| match model.networks.targets().as_slice() {
            [] => Err("no network is selected".to_owned()),
            [one] if one.is_predefined() => Err(format!("{} is always there and cannot be removed", one.name)),
            _ => Ok(()),
        },
        |model| {
            let chosen = model.networks.targets().into_iter().filter(|network| !network.is_predefined());
            let chosen: Vec<_> = chosen.cloned().collect();
            let lines = chosen.iter().map(|network| {
                let users = match network.users.as_slice() {
                    [] => "unused".to_owned(),
                    users => format!("used by {}", users.join(", ")),
                };
                format!("{}  {}  {}  {users}", network.name, network.driver, network.subnet)
            });
            let lines = lines.collect();
            let targets: Vec<Target> = chosen.iter().map(|n| Target::new(n.id.clone(), n.name.clone())).collect();
            let confirm = Confirm {
                title: format!("Remove network {}?", names(&targets)),
                doom: Doom::Networks(targets),
                lines,
                note: "Containers on it must be disconnected first.".to_owned(),
                verb: "remove",
                options: Vec::new(),
            };
            ask(model, confirm)
        },
    ),
];

/// See [`super::ACTIONS`].
pub const BUILDS: &[Action] = &[
    row(
        Scope::Builds,
        "build.open",
        &["n"],
        "new build",
        "Open the build workbench",
        always,
        crate::tui::workbench::enter,
    ),
    row(
        Scope::Builds,
        "build.forget",
        &["d", "delete"],
        "forget",
        "Take it off the list; its image stays",
        super::has_subject,
        |model| {
            let finished = model.builds.selected().filter(|b| b.outcome != Outcome::Running).map(|b| b.id.clone());
            if let Some(id) = finished {
                model.builds.remove(&id);
                return vec![Effect::ForgetBuild(id)];
            }
            Vec::new()
        },
    ),
];

fn target(image: &Image) -> Target {
    Target::new(image.tags.first().cloned().unwrap_or_else(|| image.id.clone()), image.name.clone())
}

fn remove_images(model: &mut Model) -> Vec<Effect> {
    let chosen = model.images.targets();
    let lines = chosen.iter().map(|image| {
        let users = match image.users.as_slice() {
            [] => String::new(),
            users => format!("  used by {}", users.join(", ")),
        };
        let others = image.tags.len().saturating_sub(1);
        let others =
            if others > 0 { format!("  (keeps {})", text::count(others, "other name")) } else { String::new() };
        format!("{}  {}{users}{others}", image.name, text::size(image.size))
    });
    let lines = lines.collect();
    let unique: u64 =
        chosen.iter().map(|image| if image.tags.len() > 1 { 0 } else { image.unique.unwrap_or(image.size) }).sum();
    let is_exact = chosen.iter().all(|image| image.unique.is_some());
    let targets: Vec<Target> = chosen.into_iter().map(target).collect();
    let amount = text::size(unique);
    let confirm = Confirm {
        title: match targets.as_slice() {
            [one] => format!("Remove image {}?", one.name),
            many => format!("Remove {}?", text::count(many.len(), "image")),
        },
        doom: Doom::Images(targets),
        lines,
        note: if is_exact {
            format!("Frees {amount}.")
        } else {
            format!("Frees up to {amount}; layers that others share stay.")
        },
        verb: "remove",
        options: vec![('f', "force: even if stopped containers use it", false)],
    };
    ask(model, confirm)
}

/// The run form, with what is known here as suggestions.
pub(super) fn run_form(model: &Model, image: &str) -> Form {
    let images = model.images.items().iter().flat_map(|image| image.tags.iter().cloned()).collect();
    let mut networks = vec!["bridge".to_owned()];
    networks.extend(model.networks.items().iter().map(|n| n.name.clone()).filter(|name| name != "bridge"));
    Form::run(image, images, networks)
}

/// The one key from an empty machine to something that runs.
pub(super) fn first_container(model: &mut Model) -> Vec<Effect> {
    match model.facts.as_ref().is_some_and(|facts| facts.is_boxyard) {
        true => vec![begin(model, Job::FirstContainer)],
        false => {
            let form = run_form(model, "");
            open(model, Overlay::Form(form))
        }
    }
}

/// What a prune concerns, for its menu entry.
pub(super) fn prune_size(model: &Model, kind: PruneKind) -> String {
    match kind {
        PruneKind::BuildCache => model.build_cache.map(text::size).unwrap_or_default(),
        _ => {
            let (lines, bytes) = doomed(model, kind);
            match (lines.len(), bytes) {
                (0, _) => "none".to_owned(),
                (n, Some(bytes)) if bytes > 0 => format!("{n}, {}", text::size(bytes)),
                (n, _) => n.to_string(),
            }
        }
    }
}

/// What a prune would take, and the bytes it frees where they are known.
fn doomed(model: &Model, kind: PruneKind) -> (Vec<String>, Option<u64>) {
    match kind {
        PruneKind::Containers => {
            let gone: Vec<_> = model.containers.items().iter().filter(|c| !c.state.is_alive()).collect();
            let lines = gone.iter().map(|c| format!("{}  {}  {}", c.name, c.image, c.state.words())).collect();
            (lines, gone.iter().map(|c| c.size).sum())
        }
        PruneKind::DanglingImages | PruneKind::UnusedImages => {
            let is_all = kind == PruneKind::UnusedImages;
            let gone: Vec<_> = model
                .images
                .items()
                .iter()
                .filter(|image| image.users.is_empty() && (is_all || image.tags.is_empty()))
                .collect();
            let lines = gone.iter().map(|image| format!("{}  {}", image.name, text::size(image.size))).collect();
            (lines, gone.iter().map(|image| image.unique).sum())
        }
        PruneKind::Volumes => {
            let gone: Vec<_> = model.volumes.items().iter().filter(|volume| volume.users.is_empty()).collect();
            let lines =
                gone.iter().map(|v| format!("{}  {}", v.label, v.size.map(text::size).unwrap_or_default())).collect();
            (lines, gone.iter().map(|volume| volume.size).sum())
        }
        PruneKind::Networks => {
            let gone = model.networks.items().iter().filter(|n| n.users.is_empty() && !n.is_predefined());
            (gone.map(|n| format!("{}  {}  {}", n.name, n.driver, n.subnet)).collect(), None)
        }
        PruneKind::BuildCache => (Vec::new(), model.build_cache),
    }
}

/// Asks before a prune, naming what would go.
pub(in crate::tui) fn ask_prune(model: &mut Model, kind: PruneKind) -> Vec<Effect> {
    let (lines, bytes) = doomed(model, kind);
    if lines.is_empty() && kind != PruneKind::BuildCache {
        model.say(crate::tui::model::work::Weight::Info, format!("no {} to prune", kind.plural()));
        return Vec::new();
    }
    let confirm = Confirm {
        title: match kind {
            PruneKind::BuildCache => "Prune the build cache?".to_owned(),
            _ => format!("Prune {}?", text::count(lines.len(), kind.noun())),
        },
        doom: Doom::Prune(kind),
        lines,
        note: match (kind, bytes) {
            (PruneKind::Volumes, Some(bytes)) => format!("Their data is lost for good. Frees {}.", text::size(bytes)),
            (PruneKind::Volumes, None) => "Their data is lost for good.".to_owned(),
            (_, Some(bytes)) if bytes > 0 => format!("Frees {}.", text::size(bytes)),
            _ => String::new(),
        },
        verb: "prune",
        options: Vec::new(),
    };
    let mut effects = ask(model, confirm);
    effects.push(Effect::Refresh(Refresh::Usage));
    effects
}
