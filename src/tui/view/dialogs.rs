//! Questions, menus, forms and progress: what lies over the screen.

use super::paint::Paint;
use super::pickers;
use crate::tui::event::Part;
use crate::tui::form::{Field, Form, Value};
use crate::tui::job::WorkId;
use crate::tui::model::overlay::{Confirm, Doom, Menu, Overlay};
use crate::tui::model::work::Weight;
use crate::tui::text::{elapsed, left, percent, right, size, width, wrap};
use crate::tui::theme::Role;
use ratatui::layout::Rect;

pub(super) fn draw(paint: &mut Paint<'_>, overlay: &Overlay) {
    match overlay {
        Overlay::Help(picker) => pickers::help(paint, picker),
        Overlay::Palette(picker) => pickers::palette(paint, picker),
        Overlay::Confirm(confirm) => question(paint, confirm),
        Overlay::Menu(menu) => choices(paint, menu),
        Overlay::Form(form) => fields(paint, form),
        Overlay::Work(id) => work(paint, *id),
        Overlay::Activity { top } => activity(paint, *top),
    }
}

/// Keys at the foot of a dialog.
fn keys(paint: &mut Paint<'_>, inner: Rect, keys: &[(&str, &str)]) {
    let y = inner.bottom().saturating_sub(1);
    let mut x = inner.x;
    for (key, word) in keys {
        x = paint.put(x, y, inner.right(), key, Role::Key);
        x = paint.put(x + 1, y, inner.right(), word, Role::Hint) + 3;
    }
}

fn question(paint: &mut Paint<'_>, confirm: &Confirm) {
    const LISTED: usize = 8;
    let columns =
        confirm.lines.iter().map(|line| width(line)).max().unwrap_or(0).max(width(&confirm.title) + 2).clamp(44, 76);
    let note = if confirm.note.is_empty() { Vec::new() } else { wrap(&confirm.note, columns) };
    let listed = confirm.lines.len().min(LISTED);
    let more = confirm.lines.len() - listed;
    let rows = 1
        + listed
        + usize::from(more > 0)
        + usize::from(listed > 0)
        + note.len()
        + usize::from(!note.is_empty())
        + confirm.options.len()
        + usize::from(!confirm.options.is_empty())
        + 1;
    let is_grave = !matches!(confirm.doom, Doom::Quit);
    let border = if is_grave { Role::DialogDanger } else { Role::DialogBorder };
    let inner = paint.dialog(columns as u16 + 4, rows as u16 + 2, &confirm.title, border);
    let mut y = inner.y + 1;
    for line in confirm.lines.iter().take(LISTED) {
        let (name, rest) = line.split_once("  ").unwrap_or((line, ""));
        let x = paint.put(inner.x, y, inner.right(), name, Role::Text);
        paint.put(x + 2, y, inner.right(), rest, Role::Dim);
        y += 1;
    }
    if more > 0 {
        paint.put(inner.x, y, inner.right(), &format!("and {more} more"), Role::Dim);
        y += 1;
    }
    y += u16::from(listed > 0);
    for line in &note {
        paint.put(inner.x, y, inner.right(), line, Role::Warn);
        y += 1;
    }
    y += u16::from(!note.is_empty());
    for (key, label, on) in &confirm.options {
        let check = if *on { paint.glyphs().checked } else { paint.glyphs().unchecked };
        let x = paint.put(inner.x, y, inner.right(), &key.to_string(), Role::Key);
        let x = paint.put(x + 1, y, inner.right(), check, if *on { Role::Accent } else { Role::Dim });
        paint.put(x + 1, y, inner.right(), label, if *on { Role::Text } else { Role::Dim });
        y += 1;
    }
    keys(paint, inner, &[("y", confirm.verb), ("n", "keep")]);
}

fn choices(paint: &mut Paint<'_>, menu: &Menu) {
    let label = menu.entries.iter().map(|entry| width(&entry.label)).max().unwrap_or(0);
    let hint = menu.entries.iter().map(|entry| width(&entry.hint)).max().unwrap_or(0);
    let columns = (label + hint + 8).max(width(&menu.title) + 4).clamp(24, 76);
    let inner = paint.dialog(columns as u16 + 4, menu.entries.len() as u16 + 2, &menu.title, Role::DialogBorder);
    let height = usize::from(inner.height).max(1);
    let top = (menu.cursor + 1).saturating_sub(height);
    for (row, (at, entry)) in menu.entries.iter().enumerate().skip(top).take(height).enumerate() {
        let y = inner.y + row as u16;
        if at < 9 {
            paint.put(inner.x, y, inner.right(), &(at + 1).to_string(), Role::Faint);
        }
        let x =
            paint.put(inner.x + 3, y, inner.right(), &left(&entry.label, label, paint.glyphs().ellipsis), Role::Text);
        paint.put(x + 2, y, inner.right(), &entry.hint, Role::Dim);
        if at == menu.cursor {
            let line = Rect { x: inner.x - 1, y, width: inner.width + 2, height: 1 };
            paint.tint(line, paint.style(Role::Selected));
        }
    }
}

fn fields(paint: &mut Paint<'_>, form: &Form) {
    let errors = form.fields.iter().filter(|field| field.error.is_some()).count();
    let suggestions: Vec<String> = form
        .fields
        .get(form.focus)
        .filter(|field| !is_empty(field))
        .map(|field| field.matches().into_iter().take(4).map(str::to_owned).collect())
        .unwrap_or_default();
    let rows = form.fields.len() + errors + suggestions.len() + 3;
    let inner = paint.dialog(76, rows as u16 + 2, &form.title, Role::DialogBorder);
    let label = form.fields.iter().map(|field| width(field.label)).max().unwrap_or(0) as u16;
    let (start, end) = (inner.x + label + 2, inner.right());
    let mut y = inner.y + 1;
    for (at, field) in form.fields.iter().enumerate() {
        let has_focus = at == form.focus;
        let role = if has_focus { Role::Accent } else { Role::Dim };
        paint.put_right(inner.x, y, inner.x + label, field.label, role);
        value(paint, field, start, y, end, has_focus);
        y += 1;
        if let Some(error) = &field.error {
            let text = format!("{} {error}", paint.glyphs().failed);
            paint.put(start, y, end, &text, Role::Bad);
            y += 1;
        }
        if has_focus {
            for suggestion in &suggestions {
                paint.put(start, y, end, suggestion, Role::Dim);
                y += 1;
            }
        }
    }
    let tab = if suggestions.is_empty() { "next field" } else { "complete" };
    keys(paint, inner, &[("enter", form.submit), ("tab", tab), ("space", "change"), ("esc", "leave")]);
}

fn is_empty(field: &Field) -> bool {
    matches!(&field.value, Value::Text { input, .. } if input.text().is_empty())
}

fn value(paint: &mut Paint<'_>, field: &Field, x: u16, y: u16, end: u16, has_focus: bool) {
    let style = paint.style(if has_focus { Role::InputFocus } else { Role::Input });
    match &field.value {
        Value::Text { input, .. } => {
            paint.tint(Rect { x, y, width: end.saturating_sub(x), height: 1 }, style);
            if input.text().is_empty() {
                let faint = style.patch(ratatui::style::Style { fg: paint.style(Role::Dim).fg, ..Default::default() });
                paint.text(x + 1, y, end, field.example, faint);
            }
            if has_focus {
                paint.input(x + 1, y, end, input, style);
            } else if !input.text().is_empty() {
                paint.text(x + 1, y, end, input.text(), style);
            }
        }
        Value::Choice { options, at } => {
            let text = options.get(*at).map_or("", String::as_str);
            let shown = if has_focus && options.len() > 1 { format!(" < {text} > ") } else { format!(" {text} ") };
            paint.text(
                x,
                y,
                end,
                &shown,
                if has_focus { style } else { paint.style(Role::Text).patch(paint.style(Role::Dialog)) },
            );
        }
        Value::Toggle(on) => {
            let check = if *on { paint.glyphs().checked } else { paint.glyphs().unchecked };
            let word = if *on { "yes" } else { "no " };
            let plain = paint.style(Role::Dialog);
            let at = paint.text(x, y, end, &format!(" {check} {word} "), if has_focus { style } else { plain });
            paint.put(at + 1, y, end, field.example, Role::Faint);
        }
    }
}

fn work(paint: &mut Paint<'_>, id: WorkId) {
    const LAYERS: usize = 16;
    let model = paint.model;
    let Some(work) = model.works.running.get(&id) else { return };
    let progress = &work.progress;
    let parts = progress.parts.len().min(LAYERS);
    let more = progress.parts.len() - parts;
    let rows = parts + usize::from(more > 0) + usize::from(parts > 0) + 5;
    let title = work.job.title();
    let inner = paint.dialog(78, rows as u16 + 2, &title, Role::DialogBorder);
    let end = inner.right();
    let millis = model.now.duration_since(work.since).as_millis().max(0) as u64;
    let mut y = inner.y + 1;
    if progress.total > 0 {
        let share = progress.done as f64 / progress.total as f64;
        let x = paint.bar(inner.x, y, 30, share, Role::Busy) + 1;
        let speed = progress.done as f64 / (millis.max(1) as f64 / 1000.0);
        let left_over = (progress.total.saturating_sub(progress.done) as f64 / speed.max(1.0)) as u64;
        let text = format!(
            "{:>4}  {} of {}  {}/s  {} left",
            percent((share * 100.0).floor()),
            size(progress.done),
            size(progress.total),
            size(speed as u64),
            elapsed(left_over * 1000)
        );
        paint.put(x, y, end, &text, Role::Text);
    } else {
        let x = paint.put(inner.x, y, end, paint.spinner(), Role::Busy);
        let note = if progress.note.is_empty() { "asking" } else { progress.note.as_str() };
        let x = paint.put(x + 1, y, end, note, Role::Text);
        paint.put(x + 2, y, end, &elapsed(millis), Role::Faint);
    }
    y += 2;
    for part in progress.parts.iter().take(LAYERS) {
        layer(paint, inner, y, part);
        y += 1;
    }
    if more > 0 {
        paint.put(inner.x, y, end, &format!("and {more} more"), Role::Faint);
    }
    let cancel = if work.is_cancelling { "cancelling" } else { "cancel" };
    keys(paint, inner, &[("esc", "go on in the background"), ("x", cancel)]);
}

fn layer(paint: &mut Paint<'_>, inner: Rect, y: u16, part: &Part) {
    let end = inner.right();
    let glyphs = paint.glyphs();
    let is_done = matches!(part.state.as_str(), "Pull complete" | "Already exists");
    let (glyph, role) = match part.state.as_str() {
        _ if is_done => (glyphs.done, Role::Ok),
        "Waiting" | "Pulling fs layer" => (glyphs.waiting, Role::Faint),
        _ => (paint.spinner(), Role::Busy),
    };
    let x = paint.put(inner.x, y, end, glyph, role);
    let x = paint.put(x + 1, y, end, &left(&part.name, 13, glyphs.ellipsis), Role::Dim);
    let x = paint.put(x + 1, y, end, &left(&part.state, 19, glyphs.ellipsis), Role::Text);
    if part.total > 0 && !is_done {
        let x = paint.bar(x + 1, y, 16, part.done as f64 / part.total as f64, Role::Busy);
        let text = format!("{} of {}", right(&size(part.done), 7, ""), size(part.total));
        paint.put(x + 1, y, end, &text, Role::Dim);
    } else if part.total > 0 {
        paint.put(x + 18, y, end, &right(&size(part.total), 7, ""), Role::Dim);
    }
}

fn activity(paint: &mut Paint<'_>, top: usize) {
    let model = paint.model;
    let screen = paint.buffer.area;
    let columns = screen.width.saturating_sub(8).min(100);
    let inner = paint.dialog(columns, screen.height.saturating_sub(4).min(30), "Activity", Role::DialogBorder);
    let end = inner.right();
    let mut y = inner.y;
    for work in model.works.running.values() {
        let x = paint.put(inner.x, y, end, paint.spinner(), Role::Busy);
        let millis = model.now.duration_since(work.since).as_millis().max(0) as u64;
        let x = paint.put(x + 1, y, end, &work.job.title(), Role::Text);
        paint.put(x + 2, y, end, &format!("{}  {}", elapsed(millis), work.progress.note), Role::Dim);
        y += 1;
    }
    let last = inner.bottom().saturating_sub(1);
    for message in model.works.messages.iter().rev().skip(top) {
        if y >= last {
            break;
        }
        let (glyph, role) = weight(paint, message.weight);
        let time = message.at.to_zoned(model.zone.clone()).strftime("%H:%M:%S").to_string();
        let x = paint.put(inner.x, y, end, &time, Role::Faint);
        let x = paint.put(x + 2, y, end, glyph, role);
        let x = paint.put(x + 1, y, end, &message.text, Role::Text);
        paint.put(x + 2, y, end, &message.why, Role::Dim);
        y += 1;
    }
    if model.works.messages.is_empty() && model.works.running.is_empty() {
        paint.put(inner.x, y, end, "Nothing has happened yet.", Role::Dim);
    }
    keys(paint, inner, &[("esc", "close"), ("^x", "cancel the work under way")]);
}

/// The glyph and role of a message.
pub(super) fn weight(paint: &Paint<'_>, weight: Weight) -> (&'static str, Role) {
    let glyphs = paint.glyphs();
    match weight {
        Weight::Good => (glyphs.done, Role::Ok),
        Weight::Info => (glyphs.info, Role::Info),
        Weight::Warning => (glyphs.warning, Role::Warn),
        Weight::Bad => (glyphs.failed, Role::Bad),
    }
}
