//! Actions of the details: scrolling, logs, searches.

use super::{Action, Scope, always};
use crate::tui::effect::Effect;
use crate::tui::form::Form;
use crate::tui::form::input::Input;
use crate::tui::model::detail::Tab;
use crate::tui::model::log::Window;
use crate::tui::model::overlay::{Choice, Entry, Menu, Overlay};
use crate::tui::model::work::Weight;
use crate::tui::model::{Focus, Model, Typing, Zoom};

const fn row(
    scope: Scope,
    name: &'static str,
    keys: &'static [&'static str],
    hint: &'static str,
    help: &'static str,
    run: fn(&mut Model) -> Vec<Effect>,
) -> Action {
    Action { name, scope, keys, hint, help, ready: always, run }
}

/// See [`super::ACTIONS`].
pub const DETAIL: &[Action] = &[
    row(Scope::Detail, "detail.down", &["j", "down"], "", "Scroll down", |model| scroll(model, 1)),
    row(Scope::Detail, "detail.up", &["k", "up"], "", "Scroll up", |model| scroll(model, -1)),
    row(Scope::Detail, "detail.page-down", &["pgdn", "ctrl-f", "space"], "", "Scroll down a page", |model| {
        page(model, 1, 1)
    }),
    row(Scope::Detail, "detail.page-up", &["pgup", "ctrl-b"], "", "Scroll up a page", |model| page(model, -1, 1)),
    row(Scope::Detail, "detail.half-page-down", &["ctrl-d"], "", "Scroll down half a page", |model| page(model, 1, 2)),
    row(Scope::Detail, "detail.half-page-up", &["ctrl-u"], "", "Scroll up half a page", |model| page(model, -1, 2)),
    row(Scope::Detail, "detail.top", &["g", "home"], "", "Go to the beginning", |model| {
        if is_log(model) {
            model.logs.to_top()
        } else {
            model.doc.top = 0
        }
        Vec::new()
    }),
    row(Scope::Detail, "detail.bottom", &["G", "end"], "", "Go to the end; a log follows again", |model| {
        if is_log(model) {
            model.logs.to_bottom()
        } else {
            model.doc.to_bottom()
        }
        Vec::new()
    }),
    row(Scope::Detail, "detail.left", &["h", "left"], "", "Scroll left", |model| sideways(model, -8)),
    row(Scope::Detail, "detail.right", &["l", "right"], "", "Scroll right", |model| sideways(model, 8)),
    row(Scope::Detail, "detail.zoom", &["enter", "z"], "zoom", "Fill the screen, or give it back", |model| {
        model.zoom = if model.zoom == Zoom::Full { Zoom::Normal } else { Zoom::Full };
        Vec::new()
    }),
    row(Scope::Detail, "detail.back", &["esc"], "back", "Drop the search, then go back to the lists", |model| {
        let has_search =
            if is_log(model) { model.logs.search.take().is_some() } else { model.doc.search.take().is_some() };
        if !has_search {
            if model.zoom == Zoom::Full {
                model.zoom = Zoom::Normal;
            }
            model.focus = Focus::List;
        }
        Vec::new()
    }),
];

/// See [`super::ACTIONS`].
pub const LOGS: &[Action] = &[
    row(Scope::Logs, "logs.follow", &["f"], "follow", "Follow the end, or stand still", |model| {
        if model.logs.is_following {
            model.logs.is_following = false
        } else {
            model.logs.to_bottom()
        }
        Vec::new()
    }),
    row(
        Scope::Logs,
        "logs.search",
        &["/"],
        "search",
        "Search; small letters match large ones, re: begins a pattern",
        search,
    ),
    row(Scope::Logs, "logs.next", &["n"], "next", "Go to the next hit", |model| hit(model, true)),
    row(Scope::Logs, "logs.previous", &["N"], "", "Go to the hit before", |model| hit(model, false)),
    row(Scope::Logs, "logs.wrap", &["w"], "wrap", "Wrap long lines, or scroll sideways", |model| {
        model.logs.wraps = !model.logs.wraps;
        (model.logs.left, model.logs.skip) = (0, 0);
        Vec::new()
    }),
    row(
        Scope::Logs,
        "logs.timestamps",
        &["t"],
        "times",
        "Change how times are shown: none, clock, full, age",
        |model| {
            model.logs.stamps = model.logs.stamps.next();
            Vec::new()
        },
    ),
    row(Scope::Logs, "logs.range", &["a"], "range", "Choose how much of the past is read", |model| {
        let windows = [
            ("last 200 lines", Window::Tail(200)),
            ("last 2,000 lines", Window::Tail(2_000)),
            ("last 20,000 lines", Window::Tail(20_000)),
            ("last minute", Window::Since(60)),
            ("last 10 minutes", Window::Since(600)),
            ("last hour", Window::Since(3_600)),
            ("last day", Window::Since(86_400)),
            ("everything (the newest 200,000 are kept)", Window::All),
        ];
        let cursor = windows.iter().position(|(_, window)| *window == model.logs.window).unwrap_or(1);
        let entries = windows.map(|(label, window)| Entry::new(label, "", Choice::LogWindow(window)));
        model.overlays.push(Overlay::Menu(Menu { title: "Read".to_owned(), entries: entries.into(), cursor }));
        Vec::new()
    }),
    row(Scope::Logs, "logs.save", &["ctrl-s"], "", "Save the lines that are kept to a file", |model| {
        let name = model.subject_name();
        model.overlays.push(Overlay::Form(Form::save_log(&format!("{name}.log"))));
        Vec::new()
    }),
    row(Scope::Logs, "logs.clear", &["x"], "", "Clear the view; new lines go on", |model| {
        let epoch = model.logs.buffer.mark();
        model.logs.buffer = crate::tui::model::log::LogBuffer::new();
        model.logs.after = epoch.or(model.logs.after);
        (model.logs.top, model.logs.skip) = (0, 0);
        Vec::new()
    }),
    row(Scope::Logs, "logs.copy", &["y"], "", "Copy the lines in view to the clipboard", |model| {
        let last = model.logs.top + model.logs.height as u64;
        let lines = (model.logs.top..last).filter_map(|number| model.logs.buffer.get(number));
        let text: String = lines.map(|line| crate::tui::ansi::plain(&line.text).into_owned() + "\n").collect();
        model.say(Weight::Good, "the lines in view were copied");
        vec![Effect::Copy(text)]
    }),
];

/// See [`super::ACTIONS`].
pub const DOCUMENT: &[Action] = &[
    row(Scope::Document, "document.search", &["/"], "search", "Search in the text", search),
    row(Scope::Document, "document.next", &["n"], "next", "Go to the next hit", |model| hit(model, true)),
    row(Scope::Document, "document.previous", &["N"], "", "Go to the hit before", |model| hit(model, false)),
    row(Scope::Document, "document.copy", &["y"], "copy", "Copy the whole text to the clipboard", |model| {
        let Some(Ok(doc)) = &model.doc.doc else { return Vec::new() };
        let text = doc.plain();
        model.say(Weight::Good, "the text was copied");
        vec![Effect::Copy(text)]
    }),
];

fn is_log(model: &Model) -> bool {
    model.tab() == Some(Tab::Logs)
}

/// Scrolls the open tab by rows.
pub(in crate::tui) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    if is_log(model) {
        model.logs.scroll(by);
    } else {
        model.doc.scroll(by);
    }
    Vec::new()
}

fn page(model: &mut Model, sign: isize, part: isize) -> Vec<Effect> {
    let rows = (isize::from(model.layout.body().height as i16) / part - isize::from(part == 1)).max(1);
    scroll(model, sign * rows)
}

fn sideways(model: &mut Model, by: isize) -> Vec<Effect> {
    if is_log(model) {
        if !model.logs.wraps {
            model.logs.left = model.logs.left.saturating_add_signed(by);
        }
    } else {
        model.doc.left = model.doc.left.saturating_add_signed(by);
    }
    Vec::new()
}

fn search(model: &mut Model) -> Vec<Effect> {
    let old = if is_log(model) { model.logs.search.as_ref() } else { model.doc.search.as_ref() };
    let input = Input::from(old.map_or("", |search| search.typed.as_str()));
    model.typing = Some(Typing::Search { input });
    Vec::new()
}

fn hit(model: &mut Model, is_down: bool) -> Vec<Effect> {
    let log = is_log(model);
    let has_search = if log { model.logs.search.is_some() } else { model.doc.search.is_some() };
    if !has_search {
        return search(model);
    }
    let found = if log { model.logs.next_hit(is_down) } else { model.doc.next_hit(is_down) };
    if !found {
        model.say(Weight::Info, "no hit");
    }
    Vec::new()
}
