//! Actions on containers: those that are marked, else the project or the row under the cursor.

use super::global::open;
use super::{Action, Scope};
use crate::tui::effect::{Effect, Refresh};
use crate::tui::form::Form;
use crate::tui::job::{Job, Target};
use crate::tui::model::container::{Container, State};
use crate::tui::model::detail::Tab;
use crate::tui::model::overlay::{Choice, Confirm, Doom, Entry, Menu, Overlay};
use crate::tui::model::{Focus, Model, Pane};
use crate::tui::text;

const fn container(
    name: &'static str,
    keys: &'static [&'static str],
    hint: &'static str,
    help: &'static str,
    ready: fn(&Model) -> Result<(), String>,
    run: fn(&mut Model) -> Vec<Effect>,
) -> Action {
    Action { name, scope: Scope::Containers, keys, hint, help, ready, run }
}

/// See [`super::ACTIONS`].
pub const ACTIONS: &[Action] = &[
    container(
        "container.stop",
        &["s"],
        "stop",
        "Stop: send its stop signal, wait out the grace period, then kill",
        |model| some(model, |c| c.state.is_alive(), "is not running"),
        |model| each(model, |c| c.state.is_alive(), Job::Stop),
    ),
    container(
        "container.start",
        &["S"],
        "start",
        "Start again",
        |model| some(model, |c| !c.state.is_alive(), "is already running"),
        |model| each(model, |c| !c.state.is_alive(), Job::Start),
    ),
    container(
        "container.restart",
        &["r"],
        "restart",
        "Restart",
        |model| some(model, |_| true, ""),
        |model| each(model, |_| true, Job::Restart),
    ),
    container(
        "container.shell",
        &["E"],
        "shell",
        "Open a shell inside it, in the details",
        |model| match model.container() {
            Some(c) if c.state == State::Running => Ok(()),
            Some(c) => Err(format!("{} is not running", c.label)),
            None => Err("no container is selected".to_owned()),
        },
        |model| {
            let Some(id) = model.container().map(|c| c.id.clone()) else { return Vec::new() };
            model.open_tab(Tab::Shell);
            model.focus = Focus::Detail;
            crate::tui::shell::open(model, &id)
        },
    ),
    container(
        "container.remove",
        &["d", "delete"],
        "remove",
        "Remove, after asking",
        |model| some(model, |_| true, ""),
        remove,
    ),
    container(
        "container.pause",
        &["p"],
        "",
        "Pause, or resume what is paused",
        |model| some(model, |c| matches!(c.state, State::Running | State::Paused), "is not running"),
        |model| {
            let paused = targets(model, |c| c.state == State::Paused);
            let running = targets(model, |c| c.state == State::Running);
            let jobs = if running.is_empty() {
                paused.into_iter().map(Job::Unpause).collect::<Vec<_>>()
            } else {
                running.into_iter().map(Job::Pause).collect()
            };
            begin_all(model, jobs)
        },
    ),
    container(
        "container.kill",
        &["K"],
        "",
        "Send a signal: choose which",
        |model| some(model, |c| c.state.is_alive(), "is not running"),
        |model| {
            let targets = targets(model, |c| c.state.is_alive());
            let signals = [
                ("SIGKILL", "end at once"),
                ("SIGTERM", "ask to end"),
                ("SIGINT", "as ctrl-c"),
                ("SIGHUP", "often: read the configuration again"),
                ("SIGQUIT", "often: dump state"),
                ("SIGUSR1", ""),
                ("SIGUSR2", ""),
            ];
            let entries = signals.map(|(signal, hint)| {
                let kill = |target: &Target| Job::Kill { target: target.clone(), signal: signal.to_owned() };
                Entry::new(signal, hint, Choice::Jobs(targets.iter().map(kill).collect()))
            });
            let title = format!("Signal {}", names(&targets));
            open(model, Overlay::Menu(Menu { title, entries: entries.into(), cursor: 0 }))
        },
    ),
    container(
        "container.rename",
        &["R"],
        "",
        "Rename",
        |model| model.container().map(|_| ()).ok_or_else(|| "no container is selected".to_owned()),
        |model| match model.container().map(|c| Target::new(c.id.clone(), c.name.clone())) {
            Some(target) => open(model, Overlay::Form(Form::rename(target))),
            None => Vec::new(),
        },
    ),
    container("container.run", &["n"], "run", "Create and start a container", super::always, |model| {
        if model.containers.is_loaded && model.containers.items().is_empty() && model.images.items().is_empty() {
            return super::objects::first_container(model);
        }
        let form = super::objects::run_form(model, "");
        open(model, Overlay::Form(form))
    }),
    container("container.hide-idle", &["e"], "", "Hide or show containers that do not run", super::always, |model| {
        model.containers.toggle_idle();
        Vec::new()
    }),
    container("container.inspect", &["i"], "", "Open its inspect tab", super::has_subject, |model| {
        model.open_tab(Tab::Inspect);
        model.focus = Focus::Detail;
        Vec::new()
    }),
    container("container.logs", &["m"], "", "Open its logs over the whole screen", super::has_subject, |model| {
        model.open_tab(Tab::Logs);
        model.focus = Focus::Detail;
        model.zoom = crate::tui::model::Zoom::Full;
        Vec::new()
    }),
];

/// Containers an action goes to. From the details it is the one they are about.
fn chosen(model: &Model) -> Vec<&Container> {
    match (model.pane, model.focus) {
        (Pane::Containers, Focus::List) => model.containers.targets(),
        (Pane::Containers, Focus::Detail) => match model.containers.selected_group() {
            Some(group) => model.containers.members(group),
            None => model.containers.selected().into_iter().collect(),
        },
        _ => Vec::new(),
    }
}

fn some(model: &Model, fits: fn(&Container) -> bool, not: &str) -> Result<(), String> {
    let chosen = chosen(model);
    match (chosen.as_slice(), chosen.iter().any(|c| fits(c))) {
        ([], _) => Err("no container is selected".to_owned()),
        (_, true) => Ok(()),
        ([one], false) => Err(format!("{} {not}", one.label)),
        (_, false) => Err(format!("none of them: each {not}")),
    }
}

fn targets(model: &Model, fits: impl Fn(&Container) -> bool) -> Vec<Target> {
    let is_free = |c: &Container| model.works.busy_word(&c.id).is_none();
    chosen(model)
        .into_iter()
        .filter(|c| fits(c) && is_free(c))
        .map(|c| Target::new(c.id.clone(), c.name.clone()))
        .collect()
}

fn each(model: &mut Model, fits: fn(&Container) -> bool, job: fn(Target) -> Job) -> Vec<Effect> {
    let jobs = targets(model, fits).into_iter().map(job).collect();
    begin_all(model, jobs)
}

/// Books jobs and asks for them.
pub(in crate::tui) fn begin_all(model: &mut Model, jobs: Vec<Job>) -> Vec<Effect> {
    jobs.into_iter().map(|job| begin(model, job)).collect()
}

/// Books a job and asks for it.
pub(in crate::tui) fn begin(model: &mut Model, job: Job) -> Effect {
    model.touch();
    Effect::Start(model.works.begin(job.clone(), model.now), job)
}

/// `web`, `web and api`, `web, api and 3 more`.
pub(super) fn names(targets: &[Target]) -> String {
    match targets {
        [] => String::new(),
        [one] => one.name.clone(),
        [one, two] => format!("{} and {}", one.name, two.name),
        [one, two, rest @ ..] => format!("{}, {} and {} more", one.name, two.name, rest.len()),
    }
}

fn remove(model: &mut Model) -> Vec<Effect> {
    let chosen = chosen(model);
    let alive = chosen.iter().filter(|c| c.state.is_alive()).count();
    let lines = chosen.iter().map(|c| {
        let size = c.size.map(|size| format!("  {}", text::size(size))).unwrap_or_default();
        format!("{}  {}  {}{size}", c.name, c.image, c.state.words())
    });
    let lines: Vec<String> = lines.collect();
    let written: u64 = chosen.iter().filter_map(|c| c.size).sum();
    let is_known = chosen.iter().all(|c| c.size.is_some());
    let running = match (alive, chosen.len()) {
        (0, _) => String::new(),
        (1, 1) => "It is running and will be killed. ".to_owned(),
        (n, _) => format!("{n} of them are running and will be killed. "),
    };
    let frees = if is_known {
        format!("Frees {}; images and named volumes stay.", text::size(written))
    } else {
        "What was written in it is lost; images and named volumes stay.".to_owned()
    };
    let targets: Vec<Target> = chosen.iter().map(|c| Target::new(c.id.clone(), c.name.clone())).collect();
    let confirm = Confirm {
        title: format!(
            "Remove {}?",
            if targets.len() == 1 { names(&targets) } else { text::count(targets.len(), "container") }
        ),
        doom: Doom::Containers(targets),
        lines,
        note: format!("{running}{frees}"),
        verb: "remove",
        options: vec![('f', "force: kill what runs", alive > 0), ('v', "with its anonymous volumes", false)],
    };
    let mut effects = vec![Effect::Refresh(Refresh::Usage)];
    effects.extend(ask(model, confirm));
    effects
}

/// Asks, or goes ahead where the configuration says not to ask.
pub(super) fn ask(model: &mut Model, confirm: Confirm) -> Vec<Effect> {
    if model.asks_before_removal {
        return open(model, Overlay::Confirm(confirm));
    }
    begin_all(model, confirm.jobs())
}
