//! Keys, mouse, paste and resize.

use super::super::actions::lists_on_table as on_table;
use super::super::keys::Key;
use super::super::layout::Spot;
use super::super::model::detail::Tab;
use super::super::model::overlay::Overlay;
use super::super::model::{Focus, Model, Pane, Screen, Typing};
use super::super::{actions, shell, workbench};
use super::{Effect, overlays};
use crossterm::event::{Event as Input, KeyCode, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Size;

/// Rows a turn of the wheel scrolls.
const WHEEL: isize = 3;

pub(super) fn input(model: &mut Model, input: Input) -> Vec<Effect> {
    match &input {
        Input::Resize(width, height) => {
            model.size = Size::new(*width, *height);
            model.touch();
            return Vec::new();
        }
        Input::FocusGained | Input::FocusLost => return Vec::new(),
        _ => {}
    }
    if model.overlays.is_empty() && model.typing.is_none() {
        let taken = match model.screen {
            Screen::Workbench => workbench::input(model, &input),
            Screen::Main if shell::has_keys(model) => shell::input(model, &input),
            Screen::Main => None,
        };
        if let Some(effects) = taken {
            model.touch();
            return effects;
        }
    }
    match input {
        Input::Key(event) => match Key::of(&event) {
            Some(key) => pressed(model, key),
            None => Vec::new(),
        },
        Input::Paste(text) => {
            pasted(model, &text);
            Vec::new()
        }
        Input::Mouse(event) => mouse(model, event),
        _ => Vec::new(),
    }
}

fn pressed(model: &mut Model, key: Key) -> Vec<Effect> {
    model.touch();
    if !model.overlays.is_empty() {
        return overlays::key(model, key);
    }
    if model.typing.is_some() {
        typed(model, key);
        return Vec::new();
    }
    match model.keymap.action(&actions::scopes(model), key) {
        Some(action) => actions::run(model, action),
        None => Vec::new(),
    }
}

/// A key into the footer's line: filter or search.
fn typed(model: &mut Model, key: Key) {
    let Some(mut typing) = model.typing.take() else { return };
    match &mut typing {
        Typing::Filter { input, before } => match key.code {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                let before = std::mem::take(before);
                on_table!(model, table => table.set_filter(before));
                return;
            }
            KeyCode::Down => on_table!(model, table => table.step(1)),
            KeyCode::Up => on_table!(model, table => table.step(-1)),
            _ => {
                if input.key(key) {
                    let text = input.text().to_owned();
                    on_table!(model, table => table.set_filter(text));
                }
            }
        },
        Typing::Search { input } => match key.code {
            KeyCode::Esc => return,
            KeyCode::Enter => {
                let text = input.text().to_owned();
                let found = match model.tab() {
                    Some(Tab::Logs) => model.logs.search(&text),
                    _ => model.doc.search(&text),
                };
                if !found {
                    model.say(super::Weight::Info, format!("no hit for {text}"));
                }
                return;
            }
            _ => {
                input.key(key);
            }
        },
    }
    model.typing = Some(typing);
}

fn pasted(model: &mut Model, text: &str) {
    model.touch();
    match (model.overlays.last_mut(), &mut model.typing) {
        (Some(Overlay::Form(form)), _) => form.paste(text),
        (Some(Overlay::Help(picker) | Overlay::Palette(picker)), _) => {
            picker.query.insert(&crate::tui::text::clean(text));
        }
        (None, Some(Typing::Filter { input, .. } | Typing::Search { input })) => {
            input.insert(&crate::tui::text::clean(text));
        }
        _ => {}
    }
}

fn mouse(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    let spot = model.layout.at(event.column, event.row);
    let wheel = match event.kind {
        MouseEventKind::ScrollDown => WHEEL,
        MouseEventKind::ScrollUp => -WHEEL,
        MouseEventKind::Down(MouseButton::Left) => 0,
        _ => return Vec::new(),
    };
    model.touch();
    if !model.overlays.is_empty() {
        return overlays::mouse(model, event, wheel);
    }
    if model.screen != Screen::Main {
        return Vec::new();
    }
    if wheel != 0 {
        return match spot {
            Spot::Row(pane, _) | Spot::PaneTitle(pane) => {
                let held = std::mem::replace(&mut model.pane, pane);
                on_table!(model, table => table.scroll(wheel));
                model.pane = held;
                Vec::new()
            }
            Spot::Detail | Spot::Tab(_) => actions::detail_scroll(model, wheel),
            Spot::Elsewhere => Vec::new(),
        };
    }
    model.typing = None;
    match spot {
        Spot::PaneTitle(pane) => model.open_pane(pane),
        Spot::Row(pane, row) => return clicked(model, pane, row),
        Spot::Tab(tab) => {
            model.open_tab(tab);
            model.focus = Focus::Detail;
        }
        Spot::Detail => model.focus = Focus::Detail,
        Spot::Elsewhere => {}
    }
    Vec::new()
}

/// A click on a row selects it; on the selected project it folds.
fn clicked(model: &mut Model, pane: Pane, row: usize) -> Vec<Effect> {
    let was_here = model.pane == pane && model.focus == Focus::List;
    model.open_pane(pane);
    let (before, after) = on_table!(model, table => {
        let before = table.cursor();
        let at = table.offset + row;
        if at < table.rows().len() {
            table.jump(at);
        }
        (before, table.cursor())
    });
    if pane == Pane::Containers
        && was_here
        && before == after
        && model.containers.cursor() == model.containers.offset + row
    {
        let group = model.containers.selected_group().map(str::to_owned);
        if let Some(group) = group {
            model.containers.toggle_fold(&group);
        }
    }
    Vec::new()
}
