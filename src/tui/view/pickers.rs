//! Help and palette: the actions table as lists to search and run from.

use super::footer::label;
use super::paint::Paint;
use crate::tui::actions::{Action, Scope, scopes};
use crate::tui::model::overlay::Picker;
use crate::tui::text::{left, right, width};
use crate::tui::theme::Role;
use crate::tui::update::listed;
use ratatui::layout::Rect;

/// A line of a picker.
enum Line {
    Heading(Scope),
    /// An action and its place among those that can be chosen.
    Entry(usize, &'static Action),
}

pub(super) fn help(paint: &mut Paint<'_>, picker: &Picker) {
    let screen = paint.buffer.area;
    let rows = screen.height.saturating_sub(4);
    let inner = paint.dialog(screen.width.saturating_sub(6).min(96), rows, "Keys", Role::DialogBorder);
    let actions = listed(paint.model, picker.query.text(), true);
    let mut lines = Vec::new();
    let mut scope = None;
    for (at, action) in actions.into_iter().enumerate() {
        // Ranked by a query, actions of one scope are not together: no headings then.
        if picker.query.text().is_empty() && scope != Some(action.scope) {
            scope = Some(action.scope);
            lines.push(Line::Heading(action.scope));
        }
        lines.push(Line::Entry(at, action));
    }
    draw(paint, inner, picker, &lines, true);
}

pub(super) fn palette(paint: &mut Paint<'_>, picker: &Picker) {
    let screen = paint.buffer.area;
    let actions = listed(paint.model, picker.query.text(), false);
    let rows = (actions.len() as u16 + 4).clamp(6, 18).min(screen.height.saturating_sub(4));
    let inner = paint.dialog(
        screen.width.saturating_sub(6).min(84),
        rows.max(14.min(screen.height - 2)),
        "Command",
        Role::DialogBorder,
    );
    let lines: Vec<Line> = actions.into_iter().enumerate().map(|(at, action)| Line::Entry(at, action)).collect();
    draw(paint, inner, picker, &lines, false);
}

fn draw(paint: &mut Paint<'_>, inner: Rect, picker: &Picker, lines: &[Line], is_help: bool) {
    let end = inner.right();
    let x = paint.put(inner.x, inner.y, end, if is_help { "/ " } else { ": " }, Role::Accent);
    let style = paint.style(Role::Text).patch(paint.style(Role::Dialog));
    paint.input(x, inner.y, end, &picker.query, style);
    if picker.query.text().is_empty() {
        paint.put(x + 1, inner.y, end, "type to search, enter runs", Role::Faint);
    }
    let list = Rect { y: inner.y + 2, height: inner.height.saturating_sub(2), ..inner };
    let height = usize::from(list.height).max(1);
    let chosen = lines.iter().position(|line| matches!(line, Line::Entry(at, _) if *at == picker.cursor)).unwrap_or(0);
    let top = chosen.saturating_sub(height / 2).min(lines.len().saturating_sub(height));
    let active = scopes(paint.model);
    for (row, line) in lines.iter().skip(top).take(height).enumerate() {
        let y = list.y + row as u16;
        match line {
            Line::Heading(scope) => {
                let role = if active.contains(scope) { Role::TitleFocus } else { Role::Dim };
                paint.put(list.x, y, end, scope.title(), role);
            }
            Line::Entry(at, action) => {
                entry(paint, list, y, action, *at == picker.cursor, active.contains(&action.scope))
            }
        }
    }
    if lines.is_empty() {
        paint.put(list.x, list.y, end, "no action is called that", Role::Dim);
    }
    paint.scrollbar(inner.right() + 1, list.y, list.height, top, lines.len(), paint.style(Role::DialogBorder));
}

fn entry(paint: &mut Paint<'_>, list: Rect, y: u16, action: &'static Action, is_chosen: bool, counts_here: bool) {
    let model = paint.model;
    let end = list.right();
    let keys: Vec<String> = model.keymap.keys(action.name).iter().take(2).map(|key| label(&key.to_string())).collect();
    let keys = right(&keys.join(" "), 12, "");
    let why = if counts_here { (action.ready)(model).err() } else { None };
    let is_off = why.is_some();
    let x = paint.put(list.x, y, end, &keys, if is_off { Role::HintOff } else { Role::Key });
    let name = left(action.name, 22.max(width(action.name)), "");
    let x = paint.put(x + 2, y, end, &name, if is_off { Role::HintOff } else { Role::Text });
    match why {
        Some(why) => paint.put(x + 1, y, end, &why, Role::Warn),
        None => paint.put(x + 1, y, end, action.help, Role::Dim),
    };
    if is_chosen {
        let line = Rect { x: list.x - 1, y, width: list.width + 2, height: 1 };
        paint.tint(line, paint.style(Role::Selected));
    }
}
