//! Actions of whichever list has the keys.

use super::{Action, Scope, always};
use crate::tui::effect::Effect;
use crate::tui::form::input::Input;
use crate::tui::model::overlay::{Choice, Entry, Menu, Overlay};
use crate::tui::model::table::{Item, Table};
use crate::tui::model::{Focus, Model, Pane, Typing};

/// Calls one expression on the table of the pane in use.
macro_rules! on_table {
    ($model:expr, $table:ident => $body:expr) => {
        match $model.pane {
            Pane::Containers => {
                let $table = &mut $model.containers;
                $body
            }
            Pane::Images => {
                let $table = &mut $model.images;
                $body
            }
            Pane::Volumes => {
                let $table = &mut $model.volumes;
                $body
            }
            Pane::Networks => {
                let $table = &mut $model.networks;
                $body
            }
            Pane::Builds => {
                let $table = &mut $model.builds;
                $body
            }
        }
    };
}
pub(in crate::tui) use on_table;

const fn list(
    name: &'static str,
    keys: &'static [&'static str],
    hint: &'static str,
    help: &'static str,
    run: fn(&mut Model) -> Vec<Effect>,
) -> Action {
    Action { name, scope: Scope::List, keys, hint, help, ready: always, run }
}

/// See [`super::ACTIONS`].
pub const ACTIONS: &[Action] = &[
    list("list.down", &["j", "down"], "", "Move down", |model| step(model, 1)),
    list("list.up", &["k", "up"], "", "Move up", |model| step(model, -1)),
    list("list.page-down", &["pgdn", "ctrl-f"], "", "Move down a page", |model| page(model, 1, 1)),
    list("list.page-up", &["pgup", "ctrl-b"], "", "Move up a page", |model| page(model, -1, 1)),
    list("list.half-page-down", &["ctrl-d"], "", "Move down half a page", |model| page(model, 1, 2)),
    list("list.half-page-up", &["ctrl-u"], "", "Move up half a page", |model| page(model, -1, 2)),
    list(
        "list.top",
        &["g", "home"],
        "",
        "Go to the first row",
        |model| on_table!(model, table => { table.jump(0); Vec::new() }),
    ),
    list(
        "list.bottom",
        &["G", "end"],
        "",
        "Go to the last row",
        |model| on_table!(model, table => { table.jump(usize::MAX); Vec::new() }),
    ),
    list("list.left", &["h", "left"], "", "Go to the list before", |model| neighbour(model, -1)),
    list("list.right", &["l", "right"], "", "Go to the next list", |model| neighbour(model, 1)),
    list("list.open", &["enter"], "open", "Open the details; fold or unfold a project", open),
    list("list.filter", &["/"], "filter", "Filter the list: fuzzy words, !without, re:pattern", |model| {
        let before = on_table!(model, table => table.filter().to_owned());
        model.typing = Some(Typing::Filter { input: Input::from(before.as_str()), before });
        Vec::new()
    }),
    list(
        "list.mark",
        &["space"],
        "",
        "Mark the row; actions then go to all marked rows",
        |model| on_table!(model, table => { table.toggle_mark(); Vec::new() }),
    ),
    list(
        "list.mark-all",
        &["*"],
        "",
        "Mark all rows, or none",
        |model| on_table!(model, table => { table.toggle_all_marks(); Vec::new() }),
    ),
    list("list.clear", &["esc"], "", "Drop marks, then the filter, then messages", clear),
    list("list.order", &["o"], "", "Choose the order; choosing it again turns it around", |model| {
        let (order, is_reversed) = on_table!(model, table => table.order());
        let names = on_table!(model, table => table.orders());
        let entries = names.iter().enumerate().map(|(at, name)| {
            let hint = match at == order {
                true if is_reversed => "reversed",
                true => "in use",
                false => "",
            };
            Entry::new(*name, hint, Choice::Order(at))
        });
        let menu = Menu { title: "Order by".to_owned(), entries: entries.collect(), cursor: order };
        model.overlays.push(Overlay::Menu(menu));
        Vec::new()
    }),
    list("list.copy", &["y"], "", "Copy a name or id to the clipboard", copy),
    list("list.detail-down", &["shift-down", "alt-j"], "", "Scroll the details down", |model| {
        crate::tui::actions::detail::scroll(model, 1)
    }),
    list("list.detail-up", &["shift-up", "alt-k"], "", "Scroll the details up", |model| {
        crate::tui::actions::detail::scroll(model, -1)
    }),
];

fn step(model: &mut Model, by: isize) -> Vec<Effect> {
    on_table!(model, table => { table.step(by); Vec::new() })
}

fn page(model: &mut Model, sign: isize, part: usize) -> Vec<Effect> {
    fn by<T: Item>(table: &Table<T>, sign: isize, part: usize) -> isize {
        sign * (table.height / part).max(1) as isize
    }
    on_table!(model, table => {
        let by = by(table, sign, part);
        { table.step(by); Vec::new() }
    })
}

fn neighbour(model: &mut Model, by: isize) -> Vec<Effect> {
    let at = model.pane.index() as isize + by;
    if let Some(pane) = usize::try_from(at).ok().and_then(|at| Pane::ALL.get(at)) {
        model.open_pane(*pane);
    } else if by > 0 {
        model.focus = Focus::Detail;
    }
    Vec::new()
}

fn open(model: &mut Model) -> Vec<Effect> {
    let group =
        if model.pane == Pane::Containers { model.containers.selected_group().map(str::to_owned) } else { None };
    match group {
        Some(group) => model.containers.toggle_fold(&group),
        None => model.focus = Focus::Detail,
    }
    Vec::new()
}

fn clear(model: &mut Model) -> Vec<Effect> {
    let has_marks = on_table!(model, table => !table.marks().is_empty());
    let has_filter = on_table!(model, table => !table.filter().is_empty());
    if has_marks {
        on_table!(model, table => table.clear_marks());
    } else if has_filter {
        on_table!(model, table => table.set_filter(String::new()));
    } else {
        model.works.dismiss(model.now);
    }
    Vec::new()
}

fn copy(model: &mut Model) -> Vec<Effect> {
    let mut facts: Vec<(&str, String)> = Vec::new();
    match model.pane {
        Pane::Containers => {
            if let Some(container) = model.containers.selected() {
                facts.push(("name", container.name.clone()));
                facts.push(("id", container.id.clone()));
                facts.push(("image", container.image.clone()));
                facts.push(("command", container.command.clone()));
                facts.push(("shell command", format!("docker exec -it {} sh", container.name)));
            }
        }
        Pane::Images => {
            if let Some(image) = model.images.selected() {
                facts.extend(image.tags.iter().map(|tag| ("name", tag.clone())));
                facts.push(("id", image.id.clone()));
            }
        }
        Pane::Volumes => {
            if let Some(volume) = model.volumes.selected() {
                facts.push(("name", volume.name.clone()));
                facts.push(("mountpoint", volume.mountpoint.clone()));
            }
        }
        Pane::Networks => {
            if let Some(network) = model.networks.selected() {
                facts.push(("name", network.name.clone()));
                facts.push(("id", network.id.clone()));
                facts.push(("subnet", network.subnet.clone()));
            }
        }
        Pane::Builds => {
            if let Some(build) = model.builds.selected() {
                facts.push(("tag", build.tag.clone()));
            }
        }
    }
    facts.retain(|(_, value)| !value.is_empty());
    if !facts.is_empty() {
        let entries = facts.into_iter().map(|(label, value)| {
            let shown = crate::tui::text::cut(&value, 48, model.glyphs.ellipsis);
            Entry::new(label, shown, Choice::Copy(value))
        });
        let menu = Menu { title: "Copy".to_owned(), entries: entries.collect(), cursor: 0 };
        model.overlays.push(Overlay::Menu(menu));
    }
    Vec::new()
}
